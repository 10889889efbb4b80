// Edits that compare the prompt with itself without a span, on whole models: what they write is what
// their papers' formulas make of two plain runs, and a row that is decoded is the row of a prefill.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/editing.h"
#include "model/core/prng.h"
#include "tests/lib/edited.h"

enum {
    N_PROMPT = 29,
    N = LAW_T,
    FROM = 4,
    TO = 13,
    SEED = 21
}; // rows from N_PROMPT on are decoded

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// ---- runs ---------------------------------------------------------------------------------------

static int cap_rows(void *ctx, const hs_site *site, const hs_view *view) {
    cap *c = ctx;
    return c->tap.rows(c, site, view, false);
}

// What is watched.
static const uint64_t seen = HS_BIT(HS_Z) | HS_BIT(HS_MLP_OUT) | HS_BIT(HS_RESID_MID) |
                             HS_BIT(HS_RESID_POST) | HS_BIT(HS_LNF_NORMALIZED) | HS_BIT(HS_LOGITS);

static void watch(hs_hooks *hooks, cap *c, const hs_dims *dims) {
    uint64_t mask[CAP_LAYERS + 1];
    for (int l = 0; l <= dims->n_layer; l++) {
        mask[l] = 0;
        for (int p = 0; p < HS_N_POINT; p++)
            if ((hs_point_infos[p].scope == HS_SCOPE_MODEL) == (l == dims->n_layer))
                mask[l] |= HS_BIT(p) & dims->points & seen;
    }
    must(hs_hooks_add(hooks, &(hs_hook){.points = mask, .rows = cap_rows, .ctx = c}));
}

// Rows of the prompt and those after it under a spec. step 0: all rows in one evaluation; else the
// prompt, then so many rows at a time. Two sequences are run, the second a row shorter.
static void run_edited(cap *c, const hs_model *m, const char *spec, int64_t step, int64_t block) {
    const hs_dims dims = hs_dims_of(m);
    const hs_span span = {"doc", FROM, TO};
    int32_t ids[2][LAW_N_CTX];
    hs_prompts *prompts;
    hs_editing *e;
    hs_hooks *hooks;
    const hs_context_opts opts = {
        .kv_capacity = step ? N : 0, .n_slot = step ? 2 : 0, .row_block = block};
    must(hs_prompts_open(&prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < 2; i++) {
        law_tokens(ids[i], N, SEED + (uint64_t)i);
        must(hs_prompts_add_tokens(prompts, i ? "b" : "a", ids[i], N_PROMPT - i, 0, 0, NULL));
    }
    const hs_editing_opts editing = {.model = m, .prompts = prompts, .spans = {&span, 1}};
    must(hs_editing_open(&e, &editing, &spec, 1));
    must(hs_hooks_open(&hooks, &dims));
    must(hs_editing_hook(e, hooks, 0, 1));
    cap_open(c, m, N);
    watch(hooks, c, &dims);
    hs_context *x = law_context(m, opts, hs_hooks_tap(hooks));
    must(hs_editing_aim(e, (hs_editing_seq[]){{0, 0, 1}, {1, 0, 1}}, 2));
    for (int64_t at = 0, n; at < N; at += n) {
        n = !step ? N : !at ? N_PROMPT : N - at < step ? N - at : step;
        const int64_t less = at + n == N; // of the shorter one
        const hs_seq seq[] = {{ids[0] + at, n, 0, 0, 0}, {ids[1] + at, n - less, 1, 0, 0}};
        law_eval(x, &(hs_batch){.seq = seq, .n_seq = n > less ? 2 : 1, .logits = HS_LOGITS_ALL});
    }
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_editing_close(e);
    hs_prompts_close(prompts);
}

// The prompt of sequence 0 unedited, without its span when `cut`.
static void run_plain(cap *c, const hs_model *m, bool cut) {
    int32_t ids[N_PROMPT], left[N_PROMPT];
    int64_t n = 0;
    law_tokens(ids, N_PROMPT, SEED);
    for (int i = 0; i < N_PROMPT; i++)
        if (!cut || i < FROM || i >= TO) left[n++] = ids[i];
    cap_open(c, m, n);
    hs_context *x = law_context(m, (hs_context_opts){0}, &c->tap);
    law_eval_one(x, left, n, HS_LOGITS_ALL);
    hs_context_close(x);
}

static void same(const cap *a, const cap *b) {
    cap_same(a, 0, b, 0, 0, N, seen);
    cap_same(a, 1, b, 1, 0, N - 1, seen);
}

static bool same_logits(const cap *a, const cap *b) {
    const int l = (int)a->cfg->n_layer;
    return !memcmp(law_row(a, l, HS_LOGITS, 0), law_row(b, l, HS_LOGITS, 0),
                   (size_t)N * LAW_N_VOCAB * sizeof(float));
}

// ---- vhr ----------------------------------------------------------------------------------------

// The upper half of a layer's heads, outliers kept: appends "+L0H1" of each.
static void upper_half(char *out, size_t size, const cap *with, const cap *without, int layer) {
    const int n = (int)with->cfg->n_head, d = (int)with->cfg->d_head;
    const float *a = law_row(with, layer, HS_Z, N_PROMPT - 1);
    const float *b = law_row(without, layer, HS_Z, N_PROMPT - 1 - (TO - FROM));
    double vhd[CAP_HEADS] = {0};
    for (int i = 0; i < n * d; i++) vhd[i / d] += pow((double)a[i] - (double)b[i], 2);
    for (int h = 0; h < n; h++) {
        int above = 0;
        for (int i = 0; i < n; i++) above += vhd[i] > vhd[h];
        const size_t len = strlen(out);
        if (above < n / 2) snprintf(out + len, size - len, "%sL%dH%d", len ? "+" : "", layer, h);
    }
}

static void vhr_scales_the_heads_that_move(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap with, without, vhr, scale, plain;
        char heads[400] = "", spec[500];
        run_plain(&with, m, false);
        run_plain(&without, m, true);
        for (int l = 0; l < with.cfg->n_layer; l++)
            upper_half(heads, sizeof heads, &with, &without, l);
        snprintf(spec, sizeof spec, "scale:%s,by=1.7,prompts=a", heads);
        run_edited(&vhr, m, "vhr:L*,span=doc,alpha=1.7,outliers=keep,prompts=a", 0, 0);
        run_edited(&scale, m, spec, 0, 0);
        run_edited(&plain, m, "vhr:L*,span=doc,alpha=1", 0, 0);
        same(&vhr, &scale);
        assert_false(same_logits(&vhr, &plain));
        cap *const all[] = {&with, &without, &vhr, &scale, &plain};
        for (int k = 0; k < 5; k++) cap_close(all[k]);
        hs_model_close(m);
    }
}

// ---- vista --------------------------------------------------------------------------------------

static double length_of(const double *x, int d) {
    double sum = 0;
    for (int i = 0; i < d; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

// The formulas, of one row.
static void steered(double *y, const float *x, const float *with, const float *without, int d,
                    const char *rule, double lambda) {
    double h[512], v[512], dot = 0;
    for (int i = 0; i < d; i++) h[i] = (double)x[i], v[i] = (double)with[i] - (double)without[i];
    const double h_length = length_of(h, d), v_length = length_of(v, d);
    for (int i = 0; i < d; i++) dot += h[i] * v[i] / h_length / v_length;
    if (!strcmp(rule, "code")) lambda *= 1 + fmax(0, -dot);
    for (int i = 0; i < d; i++)
        y[i] = strcmp(rule, "paper") ? h[i] / h_length + lambda * v[i] / v_length
                                     : h[i] + lambda * v[i];
    const double length = length_of(y, d);
    for (int i = 0; i < d; i++) y[i] *= h_length / length;
}

// One layer is steered, so that what reaches it is that of the plain run.
static void check_steer(const hs_model *m, const cap *plain, const cap *with, const cap *without,
                        const char *rule, int layer) {
    const enum hs_point point = strcmp(rule, "paper") ? HS_MLP_OUT : HS_RESID_POST;
    const int d = (int)plain->cfg->d_model;
    char spec[200];
    double want[512];
    cap c;
    snprintf(spec, sizeof spec, "vista:steer,span=doc,lambda=0.4,rule=%s,layers=%d", rule, layer);
    run_edited(&c, m, spec, 0, 0);
    for (int r = 0; r < N; r++) {
        steered(want, law_row(plain, layer, point, r),
                law_row(with, layer, HS_RESID_POST, N_PROMPT - 1),
                law_row(without, layer, HS_RESID_POST, N_PROMPT - 1 - (TO - FROM)), d, rule, 0.4);
        for (int i = 0; i < d; i++) {
            const double got = (double)law_row(&c, layer, point, r)[i];
            if (fabs(got - want[i]) > 1e-6 * (1 + fabs(want[i])))
                fail_msg("%s row %d: %.9g, not %.9g", spec, r, got, want[i]);
        }
    }
    assert_false(same_logits(&c, plain));
    cap_close(&c);
}

static void vista_steers(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain, with, without;
        run_edited(&plain, m, "scale:L*,by=1", 0, 0);
        run_plain(&with, m, false);
        run_plain(&without, m, true);
        for (int l = 0; l < plain.cfg->n_layer; l++) {
            check_steer(m, &plain, &with, &without, "paper", l);
            if (plain.cfg->mlp == HS_MLP_NONE) continue;
            check_steer(m, &plain, &with, &without, "code", l);
            check_steer(m, &plain, &with, &without, "simple", l);
        }
        cap_close(&plain);
        cap_close(&with);
        cap_close(&without);
        hs_model_close(m);
    }
}

// Rows that leave a layer, as the engine's last ones: its logits are then the lens's.
static int early_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                      float *out) {
    const cap *c = ((const cap *const *)ctx)[0];
    const int early = *((const int *const *)ctx)[1];
    const cap_tensor *t = &c->at[0][early][HS_RESID_POST];
    assert_true(point == HS_RESID_POST && layer == c->cfg->n_layer - 1);
    memcpy(out, t->data + row0 * t->width, (size_t)(n * t->width) * sizeof *out);
    return HS_OK;
}

static void run_lens(cap *c, const hs_model *m, const cap *plain, int layer) {
    const void *ctx[] = {plain, &layer};
    const hs_ref ref = {.ctx = ctx, .n_row = N, .rows = early_rows};
    char spec[100];
    snprintf(spec, sizeof spec, "freeze:resid_post:%d", (int)plain->cfg->n_layer - 1);
    edited_run(c, m, &(edited){.spec = {spec}, .ref = &ref, .points = HS_BIT(HS_LOGITS)}, SEED, N);
}

static void check_mix(const hs_model *m, const cap *plain, int w) {
    const int last = (int)plain->cfg->n_layer - 1;
    const int64_t n = (int64_t)N * LAW_N_VOCAB;
    double *mean = calloc((size_t)n, sizeof *mean);
    char spec[100];
    cap c;
    assert_non_null(mean);
    for (int l = last - w; l < last; l++) {
        run_lens(&c, m, plain, l);
        for (int64_t i = 0; i < n; i++)
            mean[i] += (double)law_row(&c, last + 1, HS_LOGITS, 0)[i] / w;
        cap_close(&c);
    }
    snprintf(spec, sizeof spec, "vista:mix,w=%d,gamma=0.4", w);
    run_edited(&c, m, spec, 0, 0);
    const float *got = law_row(&c, last + 1, HS_LOGITS, 0);
    const float *was = law_row(plain, last + 1, HS_LOGITS, 0);
    for (int64_t i = 0; i < n; i++) {
        const double want = 0.6 * (double)was[i] + 0.4 * mean[i];
        if (fabs((double)got[i] - want) > 2e-5 * (1 + fabs(want)))
            fail_msg("%s, row %d: %g, not %g", spec, (int)(i / LAW_N_VOCAB), (double)got[i], want);
    }
    assert_false(same_logits(&c, plain));
    cap_close(&c);
    free(mean);
}

static void vista_mixes_what_the_lens_reads(void **state) {
    (void)state;
    int norms[3] = {0};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain;
        run_edited(&plain, m, "scale:L*,by=1", 0, 0);
        norms[plain.cfg->norm]++;
        for (int w = 1; w < plain.cfg->n_layer && plain.cfg->norm != HS_NORM_NONE; w++)
            check_mix(m, &plain, w);
        cap_close(&plain);
        hs_model_close(m);
    }
    assert_true(norms[HS_NORM_RMS] && norms[HS_NORM_LAYER]);
}

// ---- contrast -----------------------------------------------------------------------------------

static void run_tokens(cap *c, const hs_model *m, const int32_t *ids, int64_t n) {
    cap_open(c, m, n);
    hs_context *x = law_context(m, (hs_context_opts){0}, &c->tap);
    law_eval_one(x, ids, n, HS_LOGITS_ALL);
    hs_context_close(x);
}

// Mean attention on a position from the prompt's rows after the span.
static double received(const cap *c, int layer, int pos) {
    double sum = 0;
    for (int h = 0; h < c->cfg->n_head; h++)
        for (int r = TO; r < N_PROMPT; r++)
            sum += (double)c->at[0][layer][HS_PATTERN].data[(h * N + r) * N + pos];
    return sum;
}

// The other version's tokens; how many come before row r of the prompt as it is, to be subtracted.
static int other_version(int32_t *out, const int32_t *ids, const cap *plain, const char *word) {
    int n = 0;
    for (int i = 0; i < N; i++) {
        int above = 0;
        if (i >= FROM && i < TO && !strcmp(word, "without")) continue;
        for (int j = FROM; j < TO; j++) above += received(plain, 1, j) > received(plain, 1, i);
        if (i >= FROM && i < TO && !strcmp(word, "outliers") && above >= 3) continue;
        out[n++] = ids[i];
    }
    hs_prng random = hs_prng_seed(5 * UINT64_C(0x9E3779B97F4A7C15));
    for (int left = TO - FROM; left > 1 && !strcmp(word, "shuffled"); left--) {
        int32_t *a = &out[FROM + hs_prng_below(&random, (uint64_t)left)],
                *b = &out[FROM + left - 1];
        const int32_t token = *a;
        *a = *b;
        *b = token;
    }
    return N - n;
}

static void check_contrast(const hs_model *m, const char *word, const char *more, double own,
                           double by, double beta) {
    int32_t ids[N], other[N];
    char spec[200];
    cap plain, without, c;
    law_tokens(ids, N, SEED);
    run_tokens(&plain, m, ids, N);
    const int less = other_version(other, ids, &plain, word);
    run_tokens(&without, m, other, N - less);
    snprintf(spec, sizeof spec, "contrast:%s,span=doc%s,beta=%g", word, more, beta);
    run_edited(&c, m, spec, 0, 0);
    const int top = (int)plain.cfg->n_layer;
    int cut = 0;
    for (int r = 0; r < N; r++) {
        const float *l = law_row(&plain, top, HS_LOGITS, r), *got = law_row(&c, top, HS_LOGITS, r);
        double most = -INFINITY;
        for (int i = 0; i < LAW_N_VOCAB; i++) most = fmax(most, (double)l[i]);
        for (int i = 0; i < LAW_N_VOCAB; i++) {
            const bool gone = beta > 0 && (double)l[i] < log(beta) + most;
            double want = (double)l[i];
            if (r >= TO)
                want = gone ? -INFINITY
                            : own * want +
                                  by * (double)law_row(&without, top, HS_LOGITS, r - less)[i];
            cut += r >= TO && gone;
            if (got[i] != (float)want)
                fail_msg("%s row %d: %.9g, not %.9g", spec, r, (double)got[i], want);
        }
    }
    assert_int_equal(cut > 0, beta > 0);
    cap_close(&plain);
    cap_close(&without);
    cap_close(&c);
}

static void contrasts_are_their_formulas(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        check_contrast(m, "without", "", 2, -1, 0);
        check_contrast(m, "without", ",alpha=0.5", 1.5, -0.5, 0.5);
        check_contrast(m, "outliers", ",k=3,layer=1,alpha=2", 3, -2, 0.1);
        check_contrast(m, "outliers", ",k=3,layer=-2,alpha=-0.25", 0.75, 0.25, 0);
        check_contrast(m, "shuffled", ",seed=5,alpha=3", 1, 3, 0.3);
        hs_model_close(m);
    }
}

// What follows is told anew: another choice, or one that begins like the one before; and two
// sequences of one prompt have a branch each. More rows than a branch has room for at first.
static void what_follows_may_change(void **state) {
    (void)state;
    enum { MORE = LAW_N_CTX - N_PROMPT };
    static const char *const spec = "contrast:without,span=4:13,beta=0";
    hs_model *m = law_model(1);
    const hs_dims dims = hs_dims_of(m);
    int32_t ids[LAW_N_CTX], next[2][MORE];
    hs_prompts *prompts;
    hs_editing *e;
    hs_hooks *hooks;
    cap c, whole;
    must(hs_prompts_open(&prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    law_tokens(ids, LAW_N_CTX, SEED);
    must(hs_prompts_add_tokens(prompts, "a", ids, N_PROMPT, 0, 0, NULL));
    const hs_editing_opts editing = {.model = m, .prompts = prompts};
    must(hs_editing_open(&e, &editing, &spec, 1));
    must(hs_hooks_open(&hooks, &dims));
    must(hs_editing_hook(e, hooks, 0, 1));
    cap_open(&c, m, LAW_N_CTX);
    watch(hooks, &c, &dims);
    hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = LAW_N_CTX, .n_slot = 2},
                                hs_hooks_tap(hooks));
    const hs_editing_seq aim[] = {{0, 0, 1}, {0, 0, 1}};
    must(hs_editing_aim(e, aim, 2));
    hs_seq seq[] = {{ids, N_PROMPT, 0, 0, 0}, {ids, N_PROMPT, 1, 0, 0}};
    law_eval(x, &(hs_batch){.seq = seq, .n_seq = 2, .logits = HS_LOGITS_LAST});
    for (int round = 0; round < 3; round++) {
        for (int s = 0; s < 2; s++) {
            memcpy(next[s], ids + N_PROMPT, sizeof next[s]);
            next[s][round] = (next[s][round] + 1 + s) % LAW_N_VOCAB;
            seq[s] = (hs_seq){next[s], round < 2 ? 7 : MORE, s, 0, 0};
            hs_context_truncate(x, s, N_PROMPT);
        }
        must(hs_editing_aim(e, aim, 2));
        const bool last = round == 1; // rows before it changed without being asked for
        const enum hs_logits logits = last ? HS_LOGITS_LAST : HS_LOGITS_ALL;
        law_eval(x, &(hs_batch){.seq = seq, .n_seq = 2, .logits = logits});
        for (int s = 0; s < 2; s++) {
            int32_t all[LAW_N_CTX], left[LAW_N_CTX];
            const int n = N_PROMPT + (int)seq[s].n, top = dims.n_layer;
            cap without;
            memcpy(all, ids, sizeof all);
            memcpy(all + N_PROMPT, next[s], sizeof next[s]);
            memcpy(left, all, FROM * sizeof *left);
            memcpy(left + FROM, all + TO, (size_t)(LAW_N_CTX - TO) * sizeof *left);
            run_tokens(&whole, m, all, n);
            run_tokens(&without, m, left, n - (TO - FROM));
            for (int r = last ? n - 1 : N_PROMPT; r < n; r++)
                for (int i = 0; i < LAW_N_VOCAB; i++) {
                    const double with = (double)law_row(&whole, top, HS_LOGITS, r)[i];
                    const int at = r - (TO - FROM);
                    const double other = (double)law_row(&without, top, HS_LOGITS, at)[i];
                    const float got = c.at[s][top][HS_LOGITS].data[r * LAW_N_VOCAB + i];
                    assert_true(got == (float)(2 * with - other));
                }
            cap_close(&whole);
            cap_close(&without);
        }
    }
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_editing_close(e);
    hs_prompts_close(prompts);
    cap_close(&c);
    hs_model_close(m);
}

// ---- all of them --------------------------------------------------------------------------------

static const char *const specs[] = {
    "vhr:L*,span=doc",
    "vhr:L*,span=doc,rows=last,keep=1",
    "vista:steer,span=doc,rule=paper",
    "vista:steer,span=doc,pos=2:",
    "vista:mix,w=1",
    "contrast:without,span=doc,beta=0",
    "contrast:outliers,span=doc,k=3,layer=0,alpha=2",
    "contrast:shuffled,span=doc",
};

// Models without MLPs, or without norms, have no place for some.
static bool has_place(const hs_model *m, const char *spec) {
    const hs_config *c = hs_model_config(m);
    if (!strncmp(spec, "vista:mix", 9)) return c->norm != HS_NORM_NONE;
    return strncmp(spec, "vista", 5) || strstr(spec, "paper") || c->mlp != HS_MLP_NONE;
}

static void decoding_is_prefill(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            cap whole, cut;
            if (!has_place(m, specs[k])) continue;
            run_edited(&whole, m, specs[k], 0, 0);
            const int64_t cuts[][2] = {{1, 0}, {5, 0}, {0, 16}};
            for (int j = 0; j < 3; j++) {
                run_edited(&cut, m, specs[k], cuts[j][0], cuts[j][1]);
                same(&whole, &cut);
                cap_close(&cut);
            }
            cap_close(&whole);
        }
        hs_model_close(m);
    }
}

static const char *const identities[] = {
    "vhr:L*,span=doc,alpha=1",
    "vista:steer,span=doc,lambda=0",
    "vista:steer,span=doc,lambda=0,rule=paper",
    "vista:mix,w=1,gamma=0",
    "contrast:without,span=doc,alpha=0,beta=0",
    "contrast:shuffled,span=doc,alpha=0,beta=0",
};

static void strength_0_is_the_model(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain, with;
        run_edited(&plain, m, "scale:L*,by=1", 0, 0);
        for (size_t k = 0; k < sizeof identities / sizeof *identities; k++) {
            if (!has_place(m, identities[k])) continue;
            run_edited(&with, m, identities[k], 0, 0);
            same(&plain, &with);
            cap_close(&with);
        }
        cap_close(&plain);
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vhr_scales_the_heads_that_move),
        cmocka_unit_test(vista_steers),
        cmocka_unit_test(vista_mixes_what_the_lens_reads),
        cmocka_unit_test(contrasts_are_their_formulas),
        cmocka_unit_test(what_follows_may_change),
        cmocka_unit_test(decoding_is_prefill),
        cmocka_unit_test(strength_0_is_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
