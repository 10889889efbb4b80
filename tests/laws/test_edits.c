// Laws 6 and 7 and what follows from them: a real edit changes the logits, an identity does not, to
// the bit; what an edit is not about keeps its bits; and what is edited holds the numbers that it
// should, on every family and container, in f32 and f64.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tests/lib/edited.h"

// Layer 1 of 3 is edited: there are layers before and after it.
enum { LAYER = 1, SEED = 1 };

// A model, its unedited run, and an edited one.
typedef struct world {
    hs_model *m;
    const hs_config *c;
    cap plain, with;
} world;

static void open_world(world *w, int i) {
    w->m = law_model(i);
    w->c = hs_model_config(w->m);
    law_run(&w->plain, w->m, (hs_context_opts){0}, SEED, LAW_T);
}

static void close_world(world *w) {
    cap_close(&w->plain);
    hs_model_close(w->m);
}

static bool has_mlp(const world *w) {
    return w->c->mlp != HS_MLP_NONE;
}

// Runs `spec`, the unedited run being what edits take values from.
static void edit(world *w, const char *spec) {
    const hs_ref ref = edited_ref(&w->plain, LAW_T);
    edited_run(&w->with, w->m, &(edited){.spec = {spec}, .ref = &ref}, SEED, LAW_T);
}

static bool same_logits(const cap *a, int sa, const cap *b, int sb) {
    const int l = (int)a->cfg->n_layer;
    const cap_tensor *ta = &a->at[sa][l][HS_LOGITS], *tb = &b->at[sb][l][HS_LOGITS];
    assert_non_null(ta->data);
    assert_non_null(tb->data);
    return !memcmp(ta->data, tb->data, (size_t)(LAW_T * ta->width) * sizeof *ta->data);
}

static bool leaves_logits(world *w, const char *spec) {
    edit(w, spec);
    const bool same = same_logits(&w->plain, 0, &w->with, 0);
    cap_close(&w->with);
    return same;
}

static void near(double have, double want, double scale) {
    if (fabs(have - want) > 1e-5 * (scale + fabs(want))) fail_msg("%.9g is not %.9g", have, want);
}

// ---- laws 6 and 7 -------------------------------------------------------------------------------

static void identities_leave_the_logits(void **state) {
    (void)state;
    static const char *const specs[] = {
        "scale:L*H*,by=1",
        "scale:L*G*+L*,by=1",
        "temper:L*",
        "temper:L1H0,t=1,log=0,pos=3:9",
        "ablate:L*H*,mode=resample,from=0", // what is replaced by itself
        "ablate:L*,mode=resample,from=0",
        "ablate:L0H*,mode=uniform,pos=0", // row 0 sees one key
        "ablate:L0H*,mode=bos,pos=0",
        "temper:L*,t=3,pos=0",
    };
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++)
            if (!leaves_logits(&w, specs[k])) fail_msg("model %d: %s changed logits", i, specs[k]);
        close_world(&w);
    }
}

static void identities_of_mlps(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        if (has_mlp(&w)) {
            assert_true(leaves_logits(&w, "scale:L*M+L*N*,by=1"));
            assert_true(leaves_logits(&w, "ablate:L*M,mode=resample,from=0"));
            assert_true(leaves_logits(&w, "ablate:L*N*,mode=resample,from=0"));
            assert_false(leaves_logits(&w, "ablate:L1M"));
            assert_false(leaves_logits(&w, "ablate:L0N1-5"));
            assert_false(leaves_logits(&w, "scale:L2M,by=1.01"));
        }
        close_world(&w);
    }
}

static void edits_change_the_logits(void **state) {
    (void)state;
    static const char *const specs[] = {
        "scale:L1H0,by=0.5",
        "scale:L0,by=1.01",
        "ablate:L0H1",
        "ablate:L1G0",
        "ablate:L0",
        "ablate:L0H0,pos=3",
        "ablate:L0H0,mode=uniform",
        "ablate:L1H*,mode=bos",
        "temper:L1H2,t=2",
        "temper:L1H2,log=0.3",
        "ablate:L2H0,pos=-1",
    };
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++)
            if (leaves_logits(&w, specs[k])) fail_msg("model %d: %s changed nothing", i, specs[k]);
        close_world(&w);
    }
}

// ---- what an edit is not about ------------------------------------------------------------------

// Points of a layer that come before the edit of its heads.
static const uint64_t before_scores = HS_BIT(HS_RESID_PRE) | HS_BIT(HS_Q) | HS_BIT(HS_K) |
                                      HS_BIT(HS_V);

static const float *map_row(const cap *c, enum hs_point p, int64_t head, int64_t row) {
    return c->at[0][LAYER][p].data + (head * c->t_max + row) * c->t_max;
}

// Rows of other heads in the edited layer, and all layers before it.
static void others_kept(const world *w, int head) {
    const int64_t d = w->c->d_head;
    for (int64_t r = 0; r < LAW_T; r++)
        for (int h = 0; h < w->c->n_head; h++) {
            if (h == head) continue;
            assert_memory_equal(law_row(&w->plain, LAYER, HS_Z, r) + h * d,
                                law_row(&w->with, LAYER, HS_Z, r) + h * d,
                                (size_t)d * sizeof(float));
            assert_memory_equal(map_row(&w->plain, HS_PATTERN, h, r),
                                map_row(&w->with, HS_PATTERN, h, r),
                                (size_t)(r + 1) * sizeof(float));
        }
    for (int p = 0; p < HS_N_POINT; p++) {
        const cap_tensor *a = &w->plain.at[0][0][p], *b = &w->with.at[0][0][p];
        const bool map = p == HS_SCORES || p == HS_PATTERN || p == HS_ROW_STATS;
        if (a->data && !map)
            assert_memory_equal(a->data, b->data, (size_t)(LAW_T * a->width) * sizeof(float));
        if (a->data && HS_BIT(p) & before_scores)
            assert_memory_equal(w->plain.at[0][LAYER][p].data, w->with.at[0][LAYER][p].data,
                                (size_t)(LAW_T * a->width) * sizeof(float));
    }
}

static void other_heads_keep_their_bits(void **state) {
    (void)state;
    static const char *const specs[] = {"scale:L1H2,by=3", "ablate:L1H2", "temper:L1H2,t=2",
                                        "ablate:L1H2,mode=uniform", "ablate:L1H2,mode=bos"};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            edit(&w, specs[k]);
            others_kept(&w, 2);
            cap_close(&w.with);
        }
        close_world(&w);
    }
}

// Rows before the first edited one see nothing of it; the edited row is another.
static void rows_before_keep_their_bits(void **state) {
    (void)state;
    static const char *const specs[] = {"scale:L1H2,by=3,pos=20",
                                        "ablate:L1+L2,pos=-21", // the same row
                                        "temper:L1,t=2,pos=20:30",
                                        "ablate:L1H*,mode=uniform,pos=20:25+40"};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            edit(&w, specs[k]);
            cap_same(&w.plain, 0, &w.with, 0, 0, 20, LAW_ALL);
            const size_t bytes = (size_t)w.c->n_vocab * sizeof(float);
            assert_memory_not_equal(law_row(&w.plain, (int)w.c->n_layer, HS_LOGITS, 20),
                                    law_row(&w.with, (int)w.c->n_layer, HS_LOGITS, 20), bytes);
            cap_close(&w.with);
        }
        close_world(&w);
    }
}

#define MIXED                                                                                      \
    "scale:L0H1,by=2,pos=3:9", "temper:L1,t=0.7,log=0.1",                                          \
        "ablate:L1H0-1,mode=uniform,pos=5:", "ablate:L2H3,mode=mean", "ablate:L2G0,mode=resample"

// The sequences around an edited one are as if nothing were edited, and it is as if alone.
static void sequences_do_not_see_each_others_edits(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        cap alone, plain;
        open_world(&w, i);
        const hs_ref ref = edited_ref(&w.plain, LAW_T);
        edited e = {.spec = {MIXED}, .ref = &ref};
        edited_run(&alone, w.m, &e, SEED, LAW_T);
        assert_false(same_logits(&alone, 0, &w.plain, 0));
        e.around = 2;
        edited_run(&w.with, w.m, &e, SEED, LAW_T);
        edited_run(&plain, w.m, &(edited){.spec = {"temper:L0"}, .around = 2}, SEED, LAW_T);
        for (int s = 0; s < 5; s++)
            if (s == 2)
                cap_same(&alone, 0, &w.with, 2, 0, LAW_T, LAW_ALL);
            else
                cap_same(&plain, s, &w.with, s, 0, LAW_T, LAW_ALL);
        cap_close(&alone);
        cap_close(&plain);
        cap_close(&w.with);
        close_world(&w);
    }
}

// Neither the height of tiles and blocks, nor rows coming one after another change a bit.
static void cuts_do_not_matter(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        cap whole;
        open_world(&w, i);
        const hs_ref ref = edited_ref(&w.plain, LAW_T);
        const edited cuts[] = {{.spec = {MIXED}, .ref = &ref, .tile_rows = 3},
                               {.spec = {MIXED}, .ref = &ref, .opts.row_block = 7},
                               {.spec = {MIXED}, .ref = &ref, .step = 1},
                               {.spec = {MIXED}, .ref = &ref, .step = 13, .around = 1}};
        edited_run(&whole, w.m, &(edited){.spec = {MIXED}, .ref = &ref}, SEED, LAW_T);
        for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
            edited_run(&w.with, w.m, &cuts[k], SEED, LAW_T);
            cap_same(&whole, 0, &w.with, cuts[k].around, 0, LAW_T, LAW_ALL);
            cap_close(&w.with);
        }
        cap_close(&whole);
        close_world(&w);
    }
}

static void threads_do_not_matter(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        cap with[2];
        world w;
        open_world(&w, i);
        const hs_ref ref = edited_ref(&w.plain, LAW_T);
        for (int k = 0; k < 2; k++) {
            const rand_spec s = law_spec(i);
            hs_model *m = law_open(
                &s, &(hs_model_opts){.dev = {.threads = k ? 5 : 1, .precision = law_precision(i)}});
            edited_run(&with[k], m, &(edited){.spec = {MIXED}, .ref = &ref, .tile_rows = 4}, SEED,
                       LAW_T);
            with[k].cfg = w.c; // outlives the model
            hs_model_close(m);
        }
        cap_same(&with[0], 0, &with[1], 0, 0, LAW_T, LAW_ALL);
        for (int k = 0; k < 2; k++) cap_close(&with[k]);
        close_world(&w);
    }
}

// ---- the numbers --------------------------------------------------------------------------------

// Number k of a row of the edited layer.
static double number(const cap *c, enum hs_point p, int64_t row, int64_t k) {
    return (double)law_row(c, LAYER, p, row)[k];
}

// Calls check for every row of `spec` on every model.
static void on_every_row(const char *spec, bool mlps, void (*check)(const world *, int64_t row)) {
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        if (!mlps || has_mlp(&w)) {
            edit(&w, spec);
            for (int64_t r = 0; r < LAW_T; r++) check(&w, r);
            cap_close(&w.with);
        }
        close_world(&w);
    }
}

// Without a head, attn_out lacks what the head alone adds.
static void zero_row(const world *w, int64_t r) {
    const int64_t d = w->c->d_model, dh = w->c->d_head;
    for (int64_t k = 0; k < w->c->n_head * dh; k++)
        assert_true(number(&w->with, HS_Z, r, k) ==
                    (k / dh == 2 ? 0 : number(&w->plain, HS_Z, r, k)));
    for (int64_t k = 0; k < d; k++)
        near(number(&w->with, HS_ATTN_OUT, r, k),
             number(&w->plain, HS_ATTN_OUT, r, k) - number(&w->plain, HS_RESULT, r, 2 * d + k), 1);
}
static void zero_takes_a_head_out(void **state) {
    (void)state;
    on_every_row("ablate:L1H2", false, zero_row);
}

// A head of uniform attention gives the mean of the values that it sees, of its KV head.
static void uniform_row(const world *w, int64_t r) {
    const int64_t dh = w->c->d_head, kv = 2 / (w->c->n_head / w->c->n_kv_head);
    for (int64_t j = 0; j <= r; j++)
        assert_true(map_row(&w->with, HS_PATTERN, 2, r)[j] == (float)(1.0 / (double)(r + 1)));
    for (int64_t k = 0; k < dh; k++) {
        double mean = 0;
        for (int64_t j = 0; j <= r; j++)
            mean += number(&w->with, HS_V, j, kv * dh + k) / (double)(r + 1);
        near(number(&w->with, HS_Z, r, 2 * dh + k), mean, 1);
    }
    const cap_tensor *stats = &w->with.at[0][LAYER][HS_ROW_STATS];
    near((double)stats->data[(2 * HS_N_STAT + HS_STAT_ENTROPY) * LAW_N_CTX + r], log((double)r + 1),
         1);
}
static void uniform_is_the_mean_of_values(void **state) {
    (void)state;
    on_every_row("ablate:L1H2,mode=uniform", false, uniform_row);
}

static void bos_row(const world *w, int64_t r) {
    const int64_t dh = w->c->d_head, kv = 2 / (w->c->n_head / w->c->n_kv_head);
    for (int64_t k = 0; k < dh; k++)
        near(number(&w->with, HS_Z, r, 2 * dh + k), number(&w->with, HS_V, 0, kv * dh + k), 0);
    const cap_tensor *stats = &w->with.at[0][LAYER][HS_ROW_STATS];
    assert_true(stats->data[(2 * HS_N_STAT + HS_STAT_FIRST) * LAW_N_CTX + r] == 1);
    assert_true(stats->data[(2 * HS_N_STAT + HS_STAT_DISTANCE) * LAW_N_CTX + r] == (float)r);
}
static void bos_is_the_first_value(void **state) {
    (void)state;
    on_every_row("ablate:L1H2,mode=bos", false, bos_row);
}

// The pattern is the softmax of the unedited scores times (1 + c ln(i + 1)) / t.
static void temper_row(const world *w, int64_t r) {
    const double factor = (1 + 0.25 * log((double)r + 1)) / 1.75;
    const float *s = map_row(&w->plain, HS_SCORES, 2, r), *a = map_row(&w->with, HS_PATTERN, 2, r);
    double sum = 0;
    for (int64_t j = 0; j <= r; j++) sum += exp(factor * (double)s[j]);
    for (int64_t j = 0; j <= r; j++) near((double)a[j], exp(factor * (double)s[j]) / sum, 1);
}
static void temper_divides_the_scores(void **state) {
    (void)state;
    on_every_row("temper:L1H2,t=1.75,log=0.25", false, temper_row);
}

// A source of four rows begins anew after its last; here the source is the run itself.
static void resampled_rows_begin_anew(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        world w;
        open_world(&w, i);
        const hs_ref ref = edited_ref(&w.plain, 4);
        edited_run(&w.with, w.m, &(edited){.spec = {"ablate:L1H1+L1G0,mode=resample"}, .ref = &ref},
                   SEED, LAW_T);
        const int64_t group = w.c->n_head / w.c->n_kv_head * w.c->d_head;
        const int64_t to = group > 2 * w.c->d_head ? group : 2 * w.c->d_head;
        for (int64_t r = 0; r < LAW_T; r++)
            for (int64_t k = 0; k < w.c->n_head * w.c->d_head; k++)
                assert_true(number(&w.with, HS_Z, r, k) ==
                            number(&w.plain, HS_Z, k < to ? r % 4 : r, k));
        cap_close(&w.with);
        close_world(&w);
    }
}

static void layer_row(const world *w, int64_t r) {
    for (int64_t k = 0; k < w->c->d_model; k++)
        assert_true(number(&w->with, HS_RESID_POST, r, k) == number(&w->plain, HS_RESID_PRE, r, k));
}
static void without_a_layer_the_residual_passes(void **state) {
    (void)state;
    on_every_row("ablate:L1", false, layer_row);
}

static void scaled_row(const world *w, int64_t r) {
    for (int64_t k = 0; k < w->c->d_model; k++)
        assert_true(number(&w->with, HS_MLP_OUT, r, k) ==
                    (double)(-2.5f * (float)number(&w->plain, HS_MLP_OUT, r, k)));
}
static void scaled_mlps(void **state) {
    (void)state;
    on_every_row("scale:L1M,by=-2.5", true, scaled_row);
}

static void neuron_row(const world *w, int64_t r) {
    for (int64_t k = 0; k < w->c->d_ff; k++)
        assert_true(number(&w->with, HS_MLP_POST, r, k) ==
                    (k == 3 || k == 9 ? 0 : number(&w->plain, HS_MLP_POST, r, k)));
}
static void neurons_taken_out(void **state) {
    (void)state;
    on_every_row("ablate:L1N3+L1N9", true, neuron_row);
}

// ---- specs against models -----------------------------------------------------------------------

static void edits_without_effect_are_errors(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        world w;
        open_world(&w, i);
        assert_int_equal(edited_try(w.m, "ablate:L3H0", LAW_T), HS_ERANGE);
        assert_int_equal(edited_try(w.m, "ablate:L0H4", LAW_T), HS_ERANGE);
        assert_int_equal(edited_try(w.m, "scale:L0H0,pos=41", LAW_T), HS_ERANGE);
        assert_int_equal(edited_try(w.m, "scale:L0H0,pos=40", LAW_T), HS_OK);
        assert_int_equal(edited_try(w.m, "ablate:L0M", LAW_T), has_mlp(&w) ? HS_OK : HS_ERANGE);
        assert_int_equal(edited_try(w.m, "ablate:L0N39", LAW_T), has_mlp(&w) ? HS_OK : HS_ERANGE);
        assert_int_equal(edited_try(w.m, "ablate:L0N40", LAW_T), HS_ERANGE);
        close_world(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_leave_the_logits),
        cmocka_unit_test(identities_of_mlps),
        cmocka_unit_test(edits_change_the_logits),
        cmocka_unit_test(other_heads_keep_their_bits),
        cmocka_unit_test(rows_before_keep_their_bits),
        cmocka_unit_test(sequences_do_not_see_each_others_edits),
        cmocka_unit_test(cuts_do_not_matter),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(zero_takes_a_head_out),
        cmocka_unit_test(uniform_is_the_mean_of_values),
        cmocka_unit_test(bos_is_the_first_value),
        cmocka_unit_test(temper_divides_the_scores),
        cmocka_unit_test(resampled_rows_begin_anew),
        cmocka_unit_test(without_a_layer_the_residual_passes),
        cmocka_unit_test(scaled_mlps),
        cmocka_unit_test(neurons_taken_out),
        cmocka_unit_test(edits_without_effect_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
