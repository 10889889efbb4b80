// A tap that compares what passes with a golden file; see golden.h.
#include "tests/lib/golden.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct expected {
    const float *data;
    int64_t n, per_row, seen;
    double largest, worst;
};

struct golden {
    hs_ckpt *file;
    int64_t n_tokens;
    int n_layer;
    struct expected at[HS_N_POINT][8]; // by layer, the model's own at 0
};

static void load(struct golden *g) {
    for (int p = 0; p < HS_N_POINT; p++)
        for (int l = 0; l < g->n_layer; l++) {
            char name[96];
            const char *form = hs_point_infos[p].name, *hole = strstr(form, "%d");
            if (!hole && l > 0) break;
            if (hole)
                snprintf(name, sizeof name, "%.*s%d%s", (int)(hole - form), form, l, hole + 2);
            else
                snprintf(name, sizeof name, "%s", form);
            const hs_tensor *t = hs_ckpt_find(g->file, name);
            if (!t) continue;
            struct expected *e = &g->at[p][l];
            assert_int_equal(t->view.dtype, HS_F32);
            e->data = t->view.data;
            e->n = hs_view_count(&t->view);
            e->per_row = e->n / g->n_tokens;
            for (int64_t i = 0; i < e->n; i++)
                e->largest = fmax(e->largest, fabs((double)e->data[i]));
        }
}

static void compare(struct expected *e, int64_t at, const float *got, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - (double)e->data[at + i]);
        if (!(d <= e->worst)) e->worst = d; // a NaN sticks
    }
    e->seen += n;
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *v, bool write) {
    struct golden *g = ctx;
    struct expected *e = &g->at[site->point][site->layer < 0 ? 0 : site->layer];
    assert_false(write);
    if (!e->data) return HS_OK;
    assert_int_equal(site->n_row, v->shape[0]);
    assert_int_equal(hs_view_count(v), site->n_row * e->per_row);
    for (int64_t r = 0; r < site->n_row; r++)
        compare(e, (site->row0 + r) * e->per_row, (const float *)v->data + r * v->stride[0],
                e->per_row);
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    struct golden *g = ctx;
    struct expected *e = &g->at[t->point][t->layer];
    (void)worker;
    assert_false(write);
    for (int64_t r = 0; r < t->n_row && e->data; r++) {
        const int64_t row = (t->head * g->n_tokens + t->row0 + r) * g->n_tokens;
        compare(e, row, t->row + r * t->ld, t->n_key);
        for (int64_t k = t->n_key; k < g->n_tokens; k++) assert_true(e->data[row + k] == 0);
        e->seen += g->n_tokens - t->n_key;
    }
    return HS_OK;
}

static void report(const struct golden *g, const char *model, double room) {
    for (int p = 0; p < HS_N_POINT; p++)
        for (int l = 0; l < g->n_layer; l++) {
            const struct expected *e = &g->at[p][l];
            if (!e->data) continue;
            const double limit = p == HS_PATTERN ? 1e-5 : room * e->largest;
            if (e->seen != e->n)
                fail_msg("%s: %s of layer %d: %lld of %lld numbers seen", model,
                         hs_point_infos[p].alias, l, (long long)e->seen, (long long)e->n);
            if (!(e->worst <= limit))
                fail_msg("%s: %s of layer %d differs by %g, the limit is %g", model,
                         hs_point_infos[p].alias, l, e->worst, limit);
        }
}

static int32_t *read_tokens(const hs_ckpt *file, int64_t *n) {
    const hs_tensor *t = hs_ckpt_find(file, "tokens");
    int32_t *ids;
    assert_non_null(t);
    assert_int_equal(t->view.dtype, HS_I64);
    *n = t->view.shape[0];
    assert_int_equal(hs_alloc(&ids, (size_t)*n, sizeof *ids), HS_OK);
    for (int64_t i = 0; i < *n; i++) {
        int64_t id;
        memcpy(&id, (const char *)t->view.data + i * (int64_t)sizeof id, sizeof id);
        ids[i] = (int32_t)id;
    }
    return ids;
}

// A model, ready to run the tokens of a golden file, and what the file expects.
struct side {
    hs_model *m;
    hs_context *x;
    int32_t *ids;
    struct golden g;
};

static void open_side(struct side *s, const char *model, const char *golden,
                      const hs_model_opts *opts, int64_t row_block) {
    *s = (struct side){0};
    if (hs_ckpt_open(&s->g.file, golden, true)) fail_msg("%s", hs_errmsg());
    if (hs_model_open(&s->m, model, opts)) fail_msg("%s", hs_errmsg());
    if (hs_context_open(&s->x, s->m, &(hs_context_opts){.row_block = row_block}))
        fail_msg("%s", hs_errmsg());
    s->ids = read_tokens(s->g.file, &s->g.n_tokens);
    s->g.n_layer = (int)hs_model_config(s->m)->n_layer;
    assert_true(s->g.n_layer <= 8);
    load(&s->g);
}

static void close_side(struct side *s) {
    free(s->ids);
    hs_context_close(s->x);
    hs_model_close(s->m);
    hs_ckpt_close(s->g.file);
}

void golden_check(const char *model, const char *golden, enum hs_weight_mode weights,
                  int64_t row_block, int64_t n_ctx) {
    golden_check_as(model, golden,
                    &(hs_model_opts){.dev = {.threads = 1}, .weights = weights, .n_ctx = n_ctx},
                    row_block);
}

void golden_check_as(const char *model, const char *golden, const hs_model_opts *opts,
                     int64_t row_block) {
    struct side s;
    open_side(&s, model, golden, opts, row_block);
    const hs_config *c = hs_model_config(s.m);
    uint64_t read[9] = {0};
    uint8_t tiles[8 * 64];
    assert_true(c->n_layer * c->n_head <= (int64_t)sizeof tiles);
    memset(tiles, HS_TILE_READ_PATTERN, sizeof tiles);
    for (int64_t l = 0; l <= c->n_layer; l++) read[l] = ~HS_BIT(HS_SCORES);
    const hs_tap tap = {
        .ctx = &s.g, .read = read, .tile_want = tiles, .rows = on_rows, .tile = on_tile};
    hs_context_set_tap(s.x, &tap);
    const hs_seq seq = {.tokens = s.ids, .n = s.g.n_tokens};
    if (hs_context_eval(s.x, &(hs_batch){.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_ALL}))
        fail_msg("%s", hs_errmsg());
    report(&s.g, model, 5e-5);
    close_side(&s);
}

// ---- gradients ----------------------------------------------------------------------------------

struct measure {
    const int32_t *ids;
    int64_t n;
    bool diff;
    int64_t answer[2];
};

static int seed(void *ctx, const hs_site *site, const hs_view *logits) {
    const struct measure *m = ctx;
    const int64_t n_vocab = logits->shape[1];
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t pos = site->row0 + r;
        float *x = (float *)logits->data + r * logits->stride[0];
        double sum = 0;
        for (int64_t v = 0; v < n_vocab; v++) sum += exp((double)x[v]);
        for (int64_t v = 0; v < n_vocab; v++) {
            const bool next = pos + 1 < m->n && v == m->ids[pos + 1];
            const double nll = pos + 1 < m->n ? (exp((double)x[v]) / sum - next) : 0;
            const int diff = pos + 1 < m->n ? 0 : (v == m->answer[0]) - (v == m->answer[1]);
            x[v] = (float)(m->diff ? diff : nll / (double)(m->n - 1));
        }
    }
    return HS_OK;
}

void golden_gradients(const char *model, const char *golden, const hs_model_opts *opts,
                      int64_t row_block) {
    struct side s;
    open_side(&s, model, golden, opts, row_block);
    struct measure measure = {.ids = s.ids, .n = s.g.n_tokens};
    const hs_tensor *answer = hs_ckpt_find(s.g.file, "answer");
    if (answer) memcpy(measure.answer, answer->view.data, sizeof measure.answer);
    measure.diff = answer != NULL;
    uint64_t read[9] = {0};
    for (int l = 0; l <= s.g.n_layer; l++) read[l] = hs_backward_points(s.m);
    const hs_tap tap = {.ctx = &s.g, .read = read, .rows = on_rows};
    const hs_backward job = {.seed = seed, .ctx = &measure, .grads = &tap};
    const hs_batch batch = {.seq = &(hs_seq){.tokens = s.ids, .n = s.g.n_tokens}, .n_seq = 1};
    if (hs_context_backward(s.x, &batch, &job)) fail_msg("%s", hs_errmsg());
    report(&s.g, model, opts->dev.precision == HS_PREC_F64 ? 5e-6 : 5e-5);
    close_side(&s);
}
