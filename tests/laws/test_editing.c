// Laws of edited runs: what prompts are edited with does not depend on how they are batched, on
// threads or on who else is edited; a run patched with itself, or frozen, is the run to the bit.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/editing.h"
#include "analyses/reference.h"
#include "tests/lib/laws.h"

enum { N_PROMPT = 4, N_SPEC = 4 };
static const int lengths[N_PROMPT] = {LAW_T, 17, 1, 33};

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static hs_prompts *some_prompts(void) {
    hs_prompts *p;
    must(hs_prompts_open(&p, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N_PROMPT; i++) {
        int32_t ids[LAW_T];
        char id[2] = {(char)('a' + i), 0};
        law_tokens(ids, lengths[i], 10 + (uint64_t)i);
        must(hs_prompts_add_tokens(p, id, ids, lengths[i], 0, 0, NULL));
    }
    return p;
}

// ---- logits of all prompts under specs ----------------------------------------------------------

typedef struct logits {
    float *row[N_PROMPT]; // [length][LAW_N_VOCAB]
} logits;

struct sink {
    logits *to;
    int64_t ord[N_PROMPT]; // of the batch's sequences, -1: not kept
};

static int keep_logits(void *ctx, const hs_site *site, const hs_view *view) {
    struct sink *s = ctx;
    if (s->ord[site->seq] < 0) return HS_OK;
    float *to = s->to->row[s->ord[site->seq]] + site->row0 * LAW_N_VOCAB;
    for (int64_t r = 0; r < site->n_row; r++)
        memcpy(to + r * LAW_N_VOCAB, (const float *)view->data + r * view->stride[0],
               LAW_N_VOCAB * sizeof *to);
    return HS_OK;
}

// Prompts in batches of `batch`, each edited by the specs of its bits in `edited`.
static logits run_specs(const hs_model *m, const hs_prompts *prompts, const char *const *spec,
                        int n_spec, int batch, unsigned edited) {
    const hs_dims dims = hs_dims_of(m);
    uint64_t points[CAP_LAYERS + 1] = {0};
    logits out;
    struct sink sink = {.to = &out};
    hs_editing *e;
    hs_hooks *hooks;
    points[dims.n_layer] = HS_BIT(HS_LOGITS);
    for (int i = 0; i < N_PROMPT; i++) {
        out.row[i] = calloc((size_t)lengths[i] * LAW_N_VOCAB, sizeof(float));
        assert_non_null(out.row[i]);
    }
    must(hs_editing_open(&e, &(hs_editing_opts){.model = m, .prompts = prompts}, spec, n_spec));
    must(hs_hooks_open(&hooks, &dims));
    must(hs_editing_hook(e, hooks, 0, n_spec));
    must(hs_hooks_add(hooks, &(hs_hook){.points = points, .rows = keep_logits, .ctx = &sink}));
    hs_context *x = law_context(m, (hs_context_opts){0}, hs_hooks_tap(hooks));
    for (int first = 0; first < N_PROMPT; first += batch) {
        hs_seq seq[N_PROMPT];
        hs_editing_seq aim[N_PROMPT];
        int n = 0;
        for (; n < batch && first + n < N_PROMPT; n++) {
            const hs_prompt *p = hs_prompts_at(prompts, first + n);
            seq[n] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
            aim[n] = (hs_editing_seq){first + n, 0, edited >> (first + n) & 1 ? n_spec : 0};
            sink.ord[n] = first + n;
        }
        must(hs_editing_aim(e, aim, n));
        law_eval(x, &(hs_batch){.seq = seq, .n_seq = n, .logits = HS_LOGITS_ALL});
    }
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_editing_close(e);
    return out;
}

static bool same_prompt(const logits *a, const logits *b, int i) {
    return !memcmp(a->row[i], b->row[i], (size_t)lengths[i] * LAW_N_VOCAB * sizeof(float));
}

static int count_same(const logits *a, const logits *b) {
    int n = 0;
    for (int i = 0; i < N_PROMPT; i++) n += same_prompt(a, b, i);
    return n;
}

static void free_logits(logits *l) {
    for (int i = 0; i < N_PROMPT; i++) free(l->row[i]);
}

static const unsigned all = (1u << N_PROMPT) - 1;

// ---- laws ---------------------------------------------------------------------------------------

// Every way to refer to unedited runs, with several of them at once.
static void batches_do_not_matter(void **state) {
    (void)state;
    static const char *const specs[][N_SPEC] = {
        {"ablate:L0H0,mode=mean"},
        {"ablate:L0,mode=mean,by=position"},
        {"ablate:L1H*,mode=mean,reference=prompt"},
        {"ablate:L1H0,mode=resample,seed=3"},
        {"ablate:L0H1,mode=resample,from=a"},
        {"patch:z+pattern,from=prompt:a"},
        {"patch:v+attn_scores:1,from=prompt:3,prompts=1+2+3,heads=L1G0"},
        {"scale:L0H*,by=3", "freeze:attn_out:0+pattern:1,prompts=0+2", "ablate:L1,mode=resample"},
        {"ablate:L0H0,mode=mean", "ablate:L1H1,mode=resample", "scale:L1H0,by=2",
         "ablate:L0H1,mode=uniform"},
    };
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        hs_prompts *p = some_prompts();
        logits plain = run_specs(m, p, NULL, 0, N_PROMPT, 0);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            int n = 0;
            while (n < N_SPEC && specs[k][n]) n++;
            logits one = run_specs(m, p, specs[k], n, 1, all);
            logits two = run_specs(m, p, specs[k], n, N_PROMPT, all);
            logits some = run_specs(m, p, specs[k], n, 3, 5);
            if (count_same(&one, &two) != N_PROMPT)
                fail_msg("model %d: %s depends on the batch", i, specs[k][0]);
            for (int q = 0; q < N_PROMPT; q++)
                if (!same_prompt(&some, 5 >> q & 1 ? &one : &plain, q))
                    fail_msg("model %d: %s: prompt %d depends on the others", i, specs[k][0], q);
            if (same_prompt(&one, &plain, 1)) fail_msg("%s changed nothing", specs[k][0]);
            free_logits(&one);
            free_logits(&two);
            free_logits(&some);
        }
        free_logits(&plain);
        hs_prompts_close(p);
        hs_model_close(m);
    }
}

static bool leaves_logits(const hs_model *m, const char *const *spec, int n) {
    hs_prompts *p = some_prompts();
    logits plain = run_specs(m, p, NULL, 0, N_PROMPT, 0);
    logits with = run_specs(m, p, spec, n, N_PROMPT, all);
    const bool same = count_same(&plain, &with) == N_PROMPT;
    free_logits(&plain);
    free_logits(&with);
    hs_prompts_close(p);
    return same;
}

// A prompt that is patched with itself, at every point there is, one by one and all together; frozen
// in the same way.
static void patched_with_itself_is_itself(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_dims dims = hs_dims_of(m);
        char every[512] = "", spec[2 * N_PROMPT][600];
        for (int p = 0; p < HS_N_POINT; p++) {
            const char *name = hs_point_infos[p].alias;
            if (!(dims.points & HS_BIT(p)) || !hs_point_infos[p].writable) continue;
            snprintf(every + strlen(every), sizeof every - strlen(every), "%s%s", *every ? "+" : "",
                     name);
            snprintf(spec[0], sizeof spec[0], "freeze:%s", name);
            snprintf(spec[1], sizeof spec[1], "patch:%s,from=prompt:b,prompts=b", name);
            if (!leaves_logits(m, (const char *const[]){spec[0], spec[1]}, 2))
                fail_msg("model %d: %s changed logits", i, name);
        }
        for (int k = 0; k < N_PROMPT; k++)
            snprintf(spec[k], sizeof spec[k], "patch:%s,from=prompt:%d,prompts=%d", every, k, k);
        snprintf(spec[N_PROMPT], sizeof spec[N_PROMPT], "freeze:%s", every);
        const char *const specs[] = {spec[0], spec[1], spec[2], spec[3], spec[4]};
        if (!leaves_logits(m, specs, N_PROMPT + 1)) fail_msg("model %d: %s", i, every);
        hs_model_close(m);
    }
}

// What is frozen behind an edit hides it, in front of it does not; to the bit in f32, which is what
// references hold.
static void freezing_hides_what_lies_before(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = law_model(i);
        assert_true(leaves_logits(
            m, (const char *const[]){"ablate:L0", "freeze:blocks.0.hook_resid_post"}, 2));
        assert_true(
            leaves_logits(m, (const char *const[]){"temper:L1H*,t=3", "freeze:pattern:1"}, 2));
        assert_false(leaves_logits(
            m, (const char *const[]){"ablate:L1", "freeze:blocks.0.hook_resid_post"}, 2));
        assert_false(
            leaves_logits(m, (const char *const[]){"freeze:pattern:1", "ablate:L1H0,mode=bos"}, 2));
        hs_model_close(m);
    }
}

// The same prompts in one call, and in a call each: means are sums in the same order.
static void means_do_not_depend_on_batches(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i += 3) {
        hs_model *m = law_model(i);
        const hs_dims dims = hs_dims_of(m);
        enum { N = 9 }; // more rows than one row block has
        int32_t ids[N][LAW_T];
        hs_prompt prompt[N];
        hs_unedited seq[N];
        uint64_t points[CAP_LAYERS + 1] = {0};
        hs_mean *mean[2];
        float a[LAW_T][256], b[LAW_T][256];
        must(hs_points_select(points, &dims, "z,resid_post,embed"));
        for (int rows = 0; rows <= LAW_T; rows += LAW_T) {
            for (int k = 0; k < 2; k++) must(hs_mean_open(&mean[k], &dims, points, rows));
            for (int k = 0; k < N; k++) {
                law_tokens(ids[k], LAW_T, (uint64_t)k);
                prompt[k] = (hs_prompt){.id = "p", .tokens = ids[k], .n_token = LAW_T - k % 3};
                seq[k] = (hs_unedited){.prompt = &prompt[k], .mean = mean[0]};
            }
            must(hs_unedited_run(m, seq, N, NULL));
            for (int k = 0; k < N; k++) {
                seq[k].mean = mean[1];
                must(hs_unedited_run(m, &seq[k], 1, NULL));
            }
            const int n = rows ? rows : 1;
            const hs_ref ra = hs_mean_ref(mean[0]), rb = hs_mean_ref(mean[1]);
            assert_true(ra.n_row == (rows ? rows : INT64_MAX));
            for (int l = 0; l < dims.n_layer; l++)
                for (int z = 0; z < 2; z++) {
                    const enum hs_point point = z ? HS_Z : HS_RESID_POST;
                    const int64_t width = z ? dims.n_head * dims.d_head : dims.d_model;
                    assert_true(width <= 256);
                    for (int r = 0; r < n; r++) {
                        must(ra.rows(ra.ctx, point, l, r, 1, a[r]));
                        must(rb.rows(rb.ctx, point, l, r, 1, b[r]));
                        assert_memory_equal(a[r], b[r], (size_t)width * sizeof(float));
                    }
                }
            hs_mean_close(mean[0]);
            hs_mean_close(mean[1]);
        }
        hs_model_close(m);
    }
}

static void resampling_goes_by_the_seed(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    hs_prompts *p = some_prompts();
    logits first = {0};
    int changed = 0;
    for (int seed = 0; seed < 6; seed++) {
        char spec[64];
        const char *const specs[] = {spec};
        snprintf(spec, sizeof spec, "ablate:L*H*,mode=resample,seed=%d", seed);
        logits a = run_specs(m, p, specs, 1, 2, all), b = run_specs(m, p, specs, 1, 4, all);
        assert_int_equal(count_same(&a, &b), N_PROMPT);
        if (seed)
            changed += N_PROMPT - count_same(&a, &first);
        else
            first = run_specs(m, p, specs, 1, 1, all);
        free_logits(&a);
        free_logits(&b);
    }
    assert_true(changed >= N_PROMPT);
    free_logits(&first);
    hs_prompts_close(p);
    hs_model_close(m);
}

// A prompt never stands in for itself.
static void resampling_takes_others(void **state) {
    (void)state;
    hs_model *m = law_model(2);
    hs_prompts *p = some_prompts();
    logits plain = run_specs(m, p, NULL, 0, N_PROMPT, 0);
    for (int seed = 0; seed < 20; seed++) {
        char spec[64];
        const char *const specs[] = {spec};
        snprintf(spec, sizeof spec, "ablate:L*H*,mode=resample,seed=%d", seed);
        logits with = run_specs(m, p, specs, 1, N_PROMPT, all);
        assert_int_equal(count_same(&with, &plain), 0);
        free_logits(&with);
    }
    free_logits(&plain);
    hs_prompts_close(p);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_do_not_matter),
        cmocka_unit_test(patched_with_itself_is_itself),
        cmocka_unit_test(freezing_hides_what_lies_before),
        cmocka_unit_test(means_do_not_depend_on_batches),
        cmocka_unit_test(resampling_goes_by_the_seed),
        cmocka_unit_test(resampling_takes_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
