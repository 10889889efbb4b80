// Laws of gradients through edited runs, on random small models of every family: with keys masked,
// activations changed on the way, and a number that depends on activations instead of logits,
// gradients are what finite differences of the same edited run say, in double; and f32 has them
// within rounding.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/backward.h"
#include "model/core/prng.h"
#include "model/elem.h"
#include "model/model_internal.h" // the last residual with all its digits
#include "tests/lib/laws.h"

enum { T = 23, SINK = 2, RECENT = 5 };

static double random_at(int64_t a, int64_t b) {
    hs_prng g = hs_prng_seed((uint64_t)(a * 100003 + b));
    return (double)(float)hs_prng_normal(&g);
}

// What is done to the run: keys are masked in all heads but the last of each layer; every other
// number of z is what another run might have said; on request something is added to what enters
// layer 1; and one number of the run, at one of its points, is moved by a step before that. What is
// left alone keeps its digits, so that differences do too.
struct edits {
    bool adds;
    const hs_config *cfg;
    uint64_t write[CAP_LAYERS + 1];
    uint8_t tiles[CAP_LAYERS * 16];
    hs_tap tap;
    enum hs_point point; // of the number that is moved
    int layer;
    int64_t pos, at;
    double by, was, is;
};

static int on_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    struct edits *e = ctx;
    float *x = v->data;
    const int64_t width = hs_view_count(v) / s->n_row;
    assert_true(write);
    if (s->point == e->point && s->layer == e->layer && s->row0 <= e->pos &&
        e->pos < s->row0 + s->n_row) {
        float *number = x + (e->pos - s->row0) * width + e->at;
        e->was = (double)*number;
        *number = (float)(e->was + e->by);
        e->is = (double)*number;
    }
    for (int64_t i = 0; i < s->n_row * width; i++) {
        const float other = (float)random_at(s->layer, s->row0 * width + i);
        if (s->point == HS_Z && i % 2) x[i] = other;
        if (s->point == HS_RESID_PRE && s->layer == 1 && e->adds) x[i] += other;
    }
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    (void)ctx, (void)worker;
    assert_true(write && t->point == HS_SCORES);
    for (int64_t r = 0; r < t->n_row; r++)
        for (int64_t k = SINK; k <= t->row0 + r - RECENT; k++) t->row[r * t->ld + k] = -INFINITY;
    return HS_OK;
}

static void edits_of(struct edits *e, const hs_model *m) {
    const hs_config *c = hs_model_config(m);
    memset(e, 0, sizeof *e);
    e->cfg = c;
    e->layer = -1;
    for (int64_t l = 0; l < c->n_layer; l++) {
        e->write[l] = HS_BIT(HS_SCORES) | HS_BIT(HS_Z) | HS_BIT(HS_RESID_PRE);
        for (int64_t h = 0; h + 1 < c->n_head; h++)
            e->tiles[l * c->n_head + h] = HS_TILE_WRITE_SCORES;
    }
    e->tap = (hs_tap){
        .ctx = e, .write = e->write, .tile_want = e->tiles, .rows = on_rows, .tile = on_tile};
}

// M = sum of weights times the last residual.
static double measured(hs_context *x) {
    const double *resid = x->resid;
    double sum = 0;
    for (int64_t i = 0; i < T * x->model->cfg.d_model; i++) sum += random_at(-7, i) * resid[i];
    return sum;
}

// The gradients' own part: M's, and that nothing goes back through what was replaced.
static int on_grads(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    cap *c = ctx;
    float *x = v->data;
    const int64_t n = hs_view_count(v), width = n / s->n_row;
    if (!write) return c->tap.rows(c->tap.ctx, s, v, write);
    for (int64_t i = 0; i < n; i++) {
        if (s->point == HS_Z && i % 2) x[i] = 0;
        if (s->point == HS_RESID_POST && s->layer == c->cfg->n_layer - 1) {
            assert_true(x[i] == 0);
            x[i] = (float)random_at(-7, s->row0 * width + i);
        }
    }
    return HS_OK;
}

static void gradients(cap *grads, const hs_model *m, int64_t row_block, bool once) {
    const int64_t n_layer = hs_model_config(m)->n_layer;
    int32_t ids[T];
    uint64_t write[CAP_LAYERS + 1] = {0};
    struct edits e;
    edits_of(&e, m);
    law_tokens(ids, T, 3);
    cap_open(grads, m, LAW_N_CTX);
    for (int64_t l = 0; l < n_layer; l++) write[l] = HS_BIT(HS_Z) | HS_BIT(HS_RESID_POST);
    hs_tap tap = grads->tap;
    tap.ctx = grads;
    tap.write = write;
    tap.rows = on_grads;
    const hs_batch batch = {.seq = &(hs_seq){.tokens = ids, .n = T}, .n_seq = 1};
    const hs_backward job = {.grads = &tap, .edits = &e.tap, .once = once};
    hs_context *x = law_context(m, (hs_context_opts){.row_block = row_block}, NULL);
    if (hs_context_backward(x, &batch, &job)) fail_msg("%s", hs_errmsg());
    hs_context_close(x);
}

// ---- finite differences -------------------------------------------------------------------------

static double moved(hs_context *x, struct edits *e, double by) {
    int32_t ids[T];
    law_tokens(ids, T, 3);
    e->by = by;
    law_eval_one(x, ids, T, HS_LOGITS_NONE);
    return measured(x);
}

static double difference(hs_context *x, struct edits *e) {
    const double h = 0x1p-9;
    double d[2];
    for (int i = 0; i < 2; i++) {
        const double up = moved(x, e, h * (i + 1)), top = e->is;
        const double down = moved(x, e, -h * (i + 1)), bottom = e->is;
        d[i] = (up - down) / (top - bottom);
    }
    return (4 * d[0] - d[1]) / 3;
}

static double largest(const cap_tensor *t) {
    double most = 0;
    for (int64_t i = 0; i < T * t->width; i++) most = fmax(most, fabs((double)t->data[i]));
    return most;
}

static void check_point(hs_context *x, struct edits *e, const cap_tensor *t) {
    const double most = largest(t);
    hs_prng rng = hs_prng_seed((uint64_t)(e->layer * 100 + (int)e->point));
    const uint64_t before = e->write[e->layer];
    e->write[e->layer] |= HS_BIT(e->point);
    for (int i = 0; i < 3; i++) {
        e->pos = (int64_t)hs_prng_below(&rng, T);
        e->at = (int64_t)hs_prng_below(&rng, (uint64_t)t->width);
        const double got = (double)t->data[e->pos * t->width + e->at], want = difference(x, e);
        if (fabs(got - want) > 2e-6 * most)
            fail_msg("%s of layer %d at %lld: %.9g, by finite differences %.9g; largest %.3g",
                     hs_point_infos[e->point].alias, e->layer, (long long)e->pos, got, want, most);
    }
    e->write[e->layer] = before;
}

static void finite_differences(void **state) {
    static const enum hs_point points[] = {HS_RESID_PRE, HS_Q,       HS_K,        HS_V,
                                           HS_Z,         HS_MLP_PRE, HS_RESID_MID};
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        const rand_spec spec = law_spec(i);
        hs_model *m = law_open(&spec,
                               &(hs_model_opts){.dev = {.threads = 2, .precision = HS_PREC_F64}});
        cap grads;
        struct edits e;
        gradients(&grads, m, 0, false);
        edits_of(&e, m);
        hs_context *x = law_context(m, (hs_context_opts){0}, &e.tap);
        for (size_t p = 0; p < sizeof points / sizeof *points; p++)
            for (e.layer = 0; e.layer < hs_model_config(m)->n_layer; e.layer++) {
                const cap_tensor *t = &grads.at[0][e.layer][points[p]];
                if (!(hs_backward_points(m) & HS_BIT(points[p]))) continue;
                e.point = points[p];
                assert_non_null(t->data);
                check_point(x, &e, t);
            }
        hs_context_close(x);
        cap_close(&grads);
        hs_model_close(m);
    }
}

// ---- f32, row blocks, once ----------------------------------------------------------------------

static void compare(const cap *a, const cap *b, double room) {
    for (int l = 0; l <= a->cfg->n_layer; l++)
        for (int p = 0; p < HS_N_POINT; p++) {
            const cap_tensor *x = &a->at[0][l][p], *y = &b->at[0][l][p];
            if (!x->data) continue;
            const double most = largest(y);
            for (int64_t i = 0; i < T * x->width; i++)
                if (!(fabs((double)x->data[i] - (double)y->data[i]) <= room * most))
                    fail_msg("%s of layer %d: %.9g and %.9g of %.3g", hs_point_infos[p].alias, l,
                             (double)x->data[i], (double)y->data[i], most);
        }
}

static void single_precision(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        const rand_spec spec = law_spec(i);
        const hs_dev_opts dev[] = {{.threads = 2}, {.threads = 2, .precision = HS_PREC_F64}};
        cap grads[4];
        hs_model *m = law_open(&spec, &(hs_model_opts){.dev = dev[0]});
        hs_model *truth = law_open(&spec, &(hs_model_opts){.dev = dev[1]});
        gradients(&grads[0], m, 0, false);
        gradients(&grads[1], truth, 0, false);
        gradients(&grads[2], m, 6, false);
        gradients(&grads[3], m, 0, true);
        compare(&grads[0], &grads[1], hs_model_config(m)->norm == HS_NORM_NONE ? 1e-4 : 2e-5);
        compare(&grads[2], &grads[0], 0);
        compare(&grads[3], &grads[0], 0);
        for (int k = 0; k < 4; k++) cap_close(&grads[k]);
        hs_model_close(m);
        hs_model_close(truth);
    }
}

// ---- the run ------------------------------------------------------------------------------------

static const uint64_t in_layers = LAW_ALL &
                                  ~(HS_BIT(HS_EMBED) | HS_BIT(HS_POS_EMBED) | HS_BIT(HS_LOGITS) |
                                    HS_BIT(HS_LNF_SCALE) | HS_BIT(HS_LNF_NORMALIZED));

struct edited_cap {
    struct edits *edits;
    cap *cap;
};

static int both_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    const struct edited_cap *b = ctx;
    return write ? on_rows(b->edits, s, v, write) : b->cap->tap.rows(b->cap, s, v, write);
}

static int both_tiles(void *ctx, const hs_tile *t, bool write, int worker) {
    const struct edited_cap *b = ctx;
    return write ? on_tile(b->edits, t, write, worker) : b->cap->tap.tile(b->cap, t, write, worker);
}

// The edited run as any evaluation has it.
static void plain_run(cap *c, struct edits *e, hs_context *x, const hs_batch *batch) {
    uint8_t tiles[sizeof e->tiles];
    struct edited_cap b = {e, c};
    hs_tap tap = c->tap;
    for (size_t i = 0; i < sizeof tiles; i++) tiles[i] = c->tiles[i] | e->tiles[i];
    tap.ctx = &b;
    tap.write = e->write;
    tap.tile_want = tiles;
    tap.rows = both_rows;
    tap.tile = both_tiles;
    tap.layer_done = NULL;
    hs_context_set_tap(x, &tap);
    law_eval(x, batch);
}

// Layers that run again show what the edited run itself has.
static void values_of_a_run(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++)
        for (int once = 0; once < 2; once++) {
            hs_model *m = law_model(i);
            struct edits e;
            cap values, plain;
            int32_t ids[T];
            edits_of(&e, m);
            e.adds = true;
            law_tokens(ids, T, 3);
            const hs_batch batch = {.seq = &(hs_seq){.tokens = ids, .n = T}, .n_seq = 1};
            cap_open(&values, m, LAW_N_CTX);
            const hs_backward job = {.values = &values.tap, .edits = &e.tap, .once = once};
            hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
            if (hs_context_backward(x, &batch, &job)) fail_msg("%s", hs_errmsg());
            cap_open(&plain, m, LAW_N_CTX);
            plain_run(&plain, &e, x, &batch);
            cap_same(&values, 0, &plain, 0, 0, T, in_layers);
            cap_close(&values);
            cap_close(&plain);
            hs_context_close(x);
            hs_model_close(m);
        }
}

// ---- what is refused ----------------------------------------------------------------------------

static void patterns_are_refused(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    struct edits e;
    int32_t ids[T];
    edits_of(&e, m);
    law_tokens(ids, T, 3);
    e.tiles[1] = HS_TILE_WRITE_PATTERN;
    const hs_batch batch = {.seq = &(hs_seq){.tokens = ids, .n = T}, .n_seq = 1};
    hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
    assert_int_equal(hs_context_backward(x, &batch, &(hs_backward){.edits = &e.tap}), HS_EARG);
    hs_context_close(x);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(single_precision),
        cmocka_unit_test(values_of_a_run),
        cmocka_unit_test(patterns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
