// Position ids of a tap's choosing: those that stay change no bit; a run whose rows sit further
// along rotates, and adds learned positions, as the rows there do; rows in any blocks, batches and
// steps agree; keys that nobody looks at might as well not be there; ids that no model has are told.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/rope.h"
#include "tests/lib/laws.h"

enum { SEED = 1, SHIFT = 7, N = 23, CUT = 5, CUT_END = 11 };

static int stay(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq;
    for (int64_t i = 0; i < n; i++) assert_int_equal(id[i], row0 + i);
    return HS_OK;
}

static int shift(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq, (void)row0;
    for (int64_t i = 0; i < n; i++) id[i] += SHIFT;
    return HS_OK;
}

// Pairs share a position, as in a made-up grid; of the sequence in the middle only.
static int pairs(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    const int *only = ctx;
    for (int64_t i = 0; i < n && (!only || seq == *only); i++) id[i] = (int32_t)((row0 + i) / 2);
    return HS_OK;
}

static int leap(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq, (void)row0;
    for (int64_t i = 0; i < n; i++)
        if (id[i] >= CUT) id[i] += CUT_END - CUT;
    return HS_OK;
}

typedef int (*ids_fn)(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id);

// A tap over a capture's.
typedef struct moved {
    cap *c;
    ids_fn ids;
    int only;
    hs_tap tap;
} moved;

static int m_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    const moved *m = ctx;
    return m->c->tap.rows(m->c, s, v, write);
}
static int m_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    const moved *m = ctx;
    return m->c->tap.tile(m->c, t, write, worker);
}
static int m_ids(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    moved *m = ctx;
    return m->ids(m->only < 0 ? NULL : &m->only, seq, row0, n, id);
}

static void open_moved(moved *m, cap *c, const hs_model *model, ids_fn ids, int only) {
    cap_open(c, model, LAW_N_CTX);
    *m = (moved){.c = c, .ids = ids, .only = only, .tap = c->tap};
    m->tap.ctx = m;
    m->tap.rows = m_rows;
    m->tap.tile = m_tile;
    m->tap.layer_done = NULL;
    m->tap.positions = m_ids;
}

// Tokens [from, from + n) of the seed as a prompt.
static void run_ids(cap *c, const hs_model *model, hs_context_opts opts, ids_fn ids, int64_t from,
                    int64_t n, int64_t step) {
    int32_t token[LAW_N_CTX];
    moved m;
    open_moved(&m, c, model, ids, -1);
    if (step) opts.kv_capacity = LAW_N_CTX;
    hs_context *x = law_context(model, opts, &m.tap);
    law_tokens(token, LAW_N_CTX, SEED);
    for (int64_t at = 0; at < n; at += step ? step : n)
        law_eval_one(x, token + from + at,
                     !step           ? n
                     : n - at < step ? n - at
                                     : step,
                     HS_LOGITS_ALL);
    hs_context_close(x);
}

static void ids_that_stay(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain, with;
        law_run(&plain, m, (hs_context_opts){0}, SEED, LAW_T);
        for (int64_t step = 0; step < 8; step += 7) {
            run_ids(&with, m, (hs_context_opts){0}, stay, 0, LAW_T, step);
            cap_same(&plain, 0, &with, 0, 0, LAW_T, LAW_ALL);
            cap_close(&with);
        }
        cap_close(&plain);
        hs_model_close(m);
    }
}

// The first layer's queries and keys go by token and position alone.
static void further_along(void **state) {
    (void)state;
    static const enum hs_point points[] = {HS_EMBED, HS_POS_EMBED, HS_RESID_PRE,
                                           HS_ROT_Q, HS_ROT_K,     HS_Q};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const int n_layer = (int)hs_model_config(m)->n_layer;
        cap plain, with;
        law_run(&plain, m, (hs_context_opts){0}, SEED, N + SHIFT);
        run_ids(&with, m, (hs_context_opts){0}, shift, SHIFT, N, 0);
        for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
            const int layer = hs_point_infos[points[k]].scope == HS_SCOPE_MODEL ? n_layer : 0;
            const cap_tensor *a = &plain.at[0][layer][points[k]];
            const cap_tensor *b = &with.at[0][layer][points[k]];
            assert_true(!a->data == !b->data);
            if (a->data)
                assert_memory_equal(a->data + SHIFT * a->width, b->data,
                                    (size_t)(N * a->width) * sizeof(float));
        }
        cap_close(&plain);
        cap_close(&with);
        hs_model_close(m);
    }
}

static void any_blocks_and_steps(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap whole, plain, with;
        run_ids(&whole, m, (hs_context_opts){0}, pairs, 0, LAW_T, 0);
        law_run(&plain, m, (hs_context_opts){0}, SEED, LAW_T);
        const int l = (int)hs_model_config(m)->n_layer;
        if (hs_model_config(m)->pos != HS_POS_NONE)
            assert_memory_not_equal(law_row(&whole, l, HS_LOGITS, LAW_T - 1),
                                    law_row(&plain, l, HS_LOGITS, LAW_T - 1),
                                    (size_t)LAW_N_VOCAB * sizeof(float));
        for (int64_t step = 0; step < 5; step++) {
            run_ids(&with, m, (hs_context_opts){.row_block = step ? 0 : 3}, pairs, 0, LAW_T, step);
            cap_same(&whole, 0, &with, 0, 0, LAW_T, LAW_ALL);
            cap_close(&with);
        }
        cap_close(&whole);
        cap_close(&plain);
        hs_model_close(m);
    }
}

// Each sequence of a batch has ids of its own.
static void in_a_batch(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap whole, plain, with;
        int32_t token[LAW_N_CTX];
        moved tap;
        law_tokens(token, LAW_N_CTX, SEED);
        run_ids(&whole, m, (hs_context_opts){0}, pairs, 0, LAW_T, 0);
        law_run(&plain, m, (hs_context_opts){0}, SEED, LAW_T);
        open_moved(&tap, &with, m, pairs, 1);
        hs_context *x = law_context(m, (hs_context_opts){.row_block = 30}, &tap.tap);
        const hs_seq one = {.tokens = token, .n = LAW_T}, seq[] = {one, one, one};
        law_eval(x, &(hs_batch){.seq = seq, .n_seq = 3, .logits = HS_LOGITS_ALL});
        for (int s = 0; s < 3; s++)
            cap_same(s == 1 ? &whole : &plain, 0, &with, s, 0, LAW_T, LAW_ALL);
        hs_context_close(x);
        cap_close(&whole);
        cap_close(&plain);
        cap_close(&with);
        hs_model_close(m);
    }
}

// ---- rows that nobody looks at ------------------------------------------------------------------

static int hide(void *ctx, const hs_tile *t, bool write, int worker) {
    const moved *m = ctx;
    if (!write) return m->c->tap.tile(m->c, t, write, worker);
    for (int64_t r = 0; r < t->n_row; r++)
        for (int64_t k = CUT; t->row0 + r >= CUT_END && k < CUT_END; k++)
            t->row[r * t->ld + k] = -INFINITY;
    return HS_OK;
}

// Tokens before and after the cut as a prompt, its ids leaping over the gap, against the whole
// prompt, in which what comes after the gap does not look at it.
static void as_if_not_there(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        const double tol = law_precision(i) == HS_PREC_F64 ? 1e-6 : 2e-4;
        int32_t all[LAW_N_CTX], some[LAW_N_CTX];
        cap hidden, leaps;
        moved a, b;
        law_tokens(all, LAW_N_CTX, SEED);
        memcpy(some, all, CUT * sizeof *some);
        memcpy(some + CUT, all + CUT_END, (LAW_T - CUT_END) * sizeof *some);
        open_moved(&a, &hidden, m, stay, -1);
        a.tap.tile = hide;
        uint64_t write[CAP_LAYERS + 1] = {0};
        for (int l = 0; l < c->n_layer; l++) write[l] = HS_BIT(HS_SCORES);
        memset(hidden.tiles, HS_TILE_WRITE_SCORES, sizeof hidden.tiles);
        for (int l = 0; l < c->n_layer; l++) hidden.read[l] = 0;
        a.tap.write = write;
        hs_context *x = law_context(m, (hs_context_opts){0}, &a.tap);
        law_eval_one(x, all, LAW_T, HS_LOGITS_ALL);
        hs_context_close(x);
        open_moved(&b, &leaps, m, leap, -1);
        x = law_context(m, (hs_context_opts){0}, &b.tap);
        law_eval_one(x, some, LAW_T - (CUT_END - CUT), HS_LOGITS_ALL);
        hs_context_close(x);
        for (int64_t r = CUT; r < LAW_T - (CUT_END - CUT); r++)
            for (int v = 0; v < LAW_N_VOCAB; v++) {
                const float want = law_row(&hidden, (int)c->n_layer, HS_LOGITS,
                                           r + CUT_END - CUT)[v];
                const float have = law_row(&leaps, (int)c->n_layer, HS_LOGITS, r)[v];
                if (fabs((double)(want - have)) > tol) fail_msg("%g is not %g", have, want);
            }
        cap_close(&hidden);
        cap_close(&leaps);
        hs_model_close(m);
    }
}

// ---- lengths and errors -------------------------------------------------------------------------

// Scalings that go by the length go by the largest id, and by that of earlier rows, too.
static void lengths(void **state) {
    (void)state;
    rand_spec s = rand_default("llama", false);
    s.n_ctx = 24;
    s.more = ", \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 4.0}";
    hs_model *m = law_open(&s, &(hs_model_opts){.dev = {.threads = 2}, .n_ctx = LAW_N_CTX});
    const hs_config *c = hs_model_config(m);
    const ids_fn ids[] = {pairs, shift};
    const int64_t end[] = {LAW_T / 2 + 1, LAW_T + SHIFT}, half = c->rope_dim / 2;
    for (int k = 0; k < 2; k++) {
        double freq[64], turn[128];
        cap have;
        run_ids(&have, m, (hs_context_opts){0}, ids[k], 0, LAW_T, 0);
        hs_rope_freqs_f64(c, end[k], freq);
        for (int64_t r = 0; r < LAW_T; r++) {
            const float *q = law_row(&have, 0, HS_Q, r), *rot = law_row(&have, 0, HS_ROT_Q, r);
            hs_rope_row_f64(c, freq, k ? r + SHIFT : r / 2, turn);
            for (int64_t i = 0; i < half; i++) {
                const double a = (double)q[i], b = (double)q[half + i];
                assert_true(fabs((double)rot[i] - (a * turn[i] - b * turn[half + i])) < 1e-4);
                assert_true(fabs((double)rot[half + i] - (b * turn[i] + a * turn[half + i])) <
                            1e-4);
            }
        }
        cap_close(&have);
    }
    hs_model_close(m);
}

static int backwards(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq;
    for (int64_t i = 0; i < n; i++) id[i] = (int32_t)(LAW_T - row0 - i);
    return HS_OK;
}

static void lengths_of_earlier_rows(void **state) {
    (void)state;
    rand_spec s = rand_default("llama", false);
    s.n_ctx = 24;
    s.more = ", \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 4.0}";
    hs_model *m = law_open(&s, &(hs_model_opts){.dev = {.threads = 2}, .n_ctx = LAW_N_CTX});
    cap whole, steps;
    run_ids(&whole, m, (hs_context_opts){0}, backwards, 0, LAW_T, 0);
    run_ids(&steps, m, (hs_context_opts){0}, backwards, 0, LAW_T, 5);
    cap_same(&whole, 0, &steps, 0, 0, LAW_T, LAW_ALL);
    cap_close(&whole);
    cap_close(&steps);
    hs_model_close(m);
}

static int below(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq;
    for (int64_t i = 0; i < n; i++) id[i] = row0 + i == 3 ? -1 : 0;
    return HS_OK;
}
static int beyond(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq;
    for (int64_t i = 0; i < n; i++) id[i] = row0 + i == 3 ? LAW_N_CTX : LAW_N_CTX - 1;
    return HS_OK;
}
static int fails(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    (void)ctx, (void)seq, (void)row0, (void)n, (void)id;
    return hs_fail(HS_ESTOP, "no");
}

static void ids_that_no_model_has(void **state) {
    (void)state;
    const ids_fn bad[] = {below, beyond, fails};
    const char *const says[] = {"position -1 for row 3: the model's context has 96",
                                "position 96 for row 3", "no"};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        int32_t token[LAW_N_CTX];
        law_tokens(token, LAW_N_CTX, SEED);
        for (int k = 0; k < 3; k++) {
            hs_tap tap = {.positions = bad[k]};
            hs_context *x = law_context(m, (hs_context_opts){0}, &tap);
            const hs_seq seq = {.tokens = token, .n = 3};
            hs_batch batch = {.seq = &seq, .n_seq = 1};
            if (k < 2) law_eval(x, &batch); // the row is not there yet
            batch.seq = &(hs_seq){.tokens = token, .n = 4};
            assert_int_equal(hs_context_eval(x, &batch), k < 2 ? HS_ERANGE : HS_ESTOP);
            assert_non_null(strstr(hs_errmsg(), says[k]));
            hs_context_close(x);
        }
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_that_stay),           cmocka_unit_test(further_along),
        cmocka_unit_test(any_blocks_and_steps),    cmocka_unit_test(in_a_batch),
        cmocka_unit_test(as_if_not_there),         cmocka_unit_test(lengths),
        cmocka_unit_test(lengths_of_earlier_rows), cmocka_unit_test(ids_that_no_model_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
