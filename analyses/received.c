// The attention that positions of a prompt receive; see received.h. Sums are kept a head, since heads
// are on different threads, and added in the order of heads: O(n_head n_token).
#include "analyses/received.h"

#include <stdlib.h>

#include "analyses/watched.h"
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
    const hs_seq seq = {.tokens = p->tokens, .n = p->n_token};
    return hs_watched_run(model, HS_PATTERN, layer, (hs_hook){.tile = add_tile, .ctx = s}, &seq, 1);
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
