// The attention that positions of a prompt receive; see received.h. Sums are kept a head, since heads
// are on different threads, and added in the order of heads: O(n_head n_token).
#include "analyses/received.h"

#include <stdlib.h>

#include "hooks/hooks.h"
#include "model/context.h"
#include "model/core/mem.h"

struct sums {
    int64_t row0, n_token;
    double *of; // [n_head][n_token]
};

static int add_tile(void *ctx, const hs_tile *t, int worker) {
    const struct sums *s = ctx;
    double *of = s->of + t->head * s->n_token;
    (void)worker;
    for (int64_t r = 0; r < t->n_row; r++)
        for (int64_t k = 0; t->row0 + r >= s->row0 && k <= t->row0 + r; k++)
            of[k] += (double)t->row[r * t->ld + k];
    return HS_OK;
}

static int run(const hs_model *model, const hs_prompt *p, int layer, struct sums *s) {
    const hs_dims dims = hs_dims_of(model);
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[layer] = HS_BIT(HS_PATTERN);
    rc = hs_hooks_open(&hooks, &dims);
    if (!rc) rc = hs_hooks_add(hooks, &(hs_hook){.points = points, .tile = add_tile, .ctx = s});
    if (!rc) rc = hs_context_open(&context, model, NULL);
    if (!rc) {
        const hs_seq seq = {.tokens = p->tokens, .n = p->n_token};
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = hs_context_eval(context, &(hs_batch){.seq = &seq, .n_seq = 1, .layer_to = layer + 1});
    }
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(points);
    return rc;
}

int hs_received(const hs_model *model, const hs_prompt *p, int layer, int64_t row0, double *out) {
    const int64_t n_head = hs_model_config(model)->n_head, n = p->n_token;
    struct sums s = {.row0 = row0, .n_token = n};
    int rc = hs_alloc(&s.of, (size_t)n_head * (size_t)n, sizeof *s.of);
    if (!rc) rc = run(model, p, layer, &s);
    for (int64_t k = 0; k < n && !rc; k++) {
        out[k] = 0;
        for (int64_t h = 0; h < n_head; h++)
            out[k] += s.of[h * n + k] / (double)(n_head * (n - row0));
    }
    free(s.of);
    return rc;
}
