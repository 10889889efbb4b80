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
#include "tests/lib/laws.h"

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

// ---- all of them --------------------------------------------------------------------------------

static const char *const specs[] = {
    "vhr:L*,span=doc",
    "vhr:L*,span=doc,rows=last,keep=1",
};

static void decoding_is_prefill(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            cap whole, cut;
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
    "vhr:L*,span=doc,prompts=b,alpha=1",
};

static void strength_0_is_the_model(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain, with;
        run_edited(&plain, m, "scale:L*,by=1", 0, 0);
        for (size_t k = 0; k < sizeof identities / sizeof *identities; k++) {
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
        cmocka_unit_test(decoding_is_prefill),
        cmocka_unit_test(strength_0_is_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
