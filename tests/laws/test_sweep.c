// The sweep against plain evaluations of the same edits, to the bit: every op and kind of unit,
// positions with shared prefixes, chunks of any size, threads, joint sets; the toy model's ablation
// numbers; the race against the full sweep.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/lawsweep.h"

enum { ALL = (1 << HS_N_EFFECT) - 1 };

// ---- results ------------------------------------------------------------------------------------

static struct results swept(const struct work *w) {
    struct results r = {.n_value = w->units.n};
    if (hs_sweep(&w->opts, all_prompts, N_PROMPT, take_result, &r)) fail_msg("%s", hs_errmsg());
    assert_int_equal(r.n, N_PROMPT);
    return r;
}

static void same_value(double a, double b, const char *spec, int64_t ord, int effect) {
    if (memcmp(&a, &b, sizeof a) && !(isnan(a) && isnan(b)))
        fail_msg("%s, prompt %d, %s: %.17g and %.17g", spec, (int)ord, hs_effects[effect].name, a,
                 b);
}

static void same_results(const struct results *a, const struct results *b, const char *what) {
    for (int i = 0; i < N_PROMPT; i++)
        for (int e = 0; e < HS_N_EFFECT; e++) {
            same_value(a->base[i][e], b->base[i][e], what, i, e);
            for (int64_t u = 0; u < a->n_value; u++)
                same_value(a->value[i][u * HS_N_EFFECT + e], b->value[i][u * HS_N_EFFECT + e], what,
                           i, e);
        }
}

// ---- plain evaluations --------------------------------------------------------------------------

struct logits {
    int64_t n_vocab;
    float *row;
};

static int keep_logits(void *ctx, const hs_site *site, const hs_view *view) {
    struct logits *l = ctx;
    memcpy(l->row + site->row0 * l->n_vocab, view->data,
           (size_t)(site->n_row * l->n_vocab) * sizeof *l->row);
    return HS_OK;
}

// All logits of a prompt that runs alone, from its first token to its last, under specs.
static struct logits plain_logits(const struct work *w, int64_t ord, const char *const *specs,
                                  int n) {
    const hs_prompt *p = hs_prompts_at(w->prompts, ord);
    const hs_dims dims = hs_dims_of(w->model);
    uint64_t points[CAP_LAYERS + 1] = {0};
    struct logits l = {dims.n_vocab, calloc((size_t)(p->n_token * dims.n_vocab), sizeof(float))};
    hs_editing *editing;
    hs_hooks *hooks;
    points[dims.n_layer] = HS_BIT(HS_LOGITS);
    if (hs_editing_open(&editing, &(hs_editing_opts){.model = w->model, .prompts = w->prompts},
                        specs, n))
        fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_hooks_open(&hooks, &dims), HS_OK);
    assert_int_equal(hs_editing_hook(editing, hooks, 0, n), HS_OK);
    assert_int_equal(
        hs_hooks_add(hooks, &(hs_hook){.points = points, .rows = keep_logits, .ctx = &l}), HS_OK);
    if (hs_editing_aim(editing, &(hs_editing_seq){ord, 0, n}, 1)) fail_msg("%s", hs_errmsg());
    hs_context *x = law_context(w->model, (hs_context_opts){0}, hs_hooks_tap(hooks));
    law_eval_one(x, p->tokens, p->n_token, HS_LOGITS_ALL);
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_editing_close(editing);
    return l;
}

static double lse_of(const struct work *w, const float *row, int64_t n) {
    double lse;
    assert_int_equal(
        hs_model_backend(w->model)->log_sum_exp(hs_model_dev(w->model), &lse, row, n, 1, n), HS_OK);
    return lse;
}

static void plain(double out[HS_N_EFFECT], const struct work *w, int64_t ord,
                  const char *const *specs, int n) {
    const hs_prompt *p = hs_prompts_at(w->prompts, ord);
    const hs_answer a = w->answer[ord];
    struct logits base = plain_logits(w, ord, NULL, 0), l = plain_logits(w, ord, specs, n);
    double sum[3] = {0};
    for (int64_t t = 0; t + 1 < p->n_token; t++) {
        const float *x = l.row + t * l.n_vocab, *y = base.row + t * l.n_vocab;
        const double lse = lse_of(w, x, l.n_vocab), lse_base = lse_of(w, y, l.n_vocab);
        double kl, jsd;
        assert_int_equal(hs_model_backend(w->model)->divergence(hs_model_dev(w->model), &kl, &jsd,
                                                                y, l.n_vocab, &lse_base, x,
                                                                l.n_vocab, &lse, 1, l.n_vocab),
                         HS_OK);
        sum[HS_EFFECT_NLL] += lse - (double)x[p->tokens[t + 1]];
        if (!memcmp(x, y, (size_t)l.n_vocab * sizeof *x)) continue;
        sum[HS_EFFECT_KL] += kl;
        sum[HS_EFFECT_JSD] += jsd;
    }
    for (int e = 0; e < 3; e++) out[e] = sum[e] / (double)(p->n_token - 1);
    const float *end = l.row + a.end * l.n_vocab;
    out[HS_EFFECT_LOGIT_DIFF] = (double)end[a.answer] - (double)end[a.wrong];
    const hs_ids right = hs_answer_right(&a), wrong = hs_answer_wrong(&a);
    const double lse = lse_of(w, end, l.n_vocab);
    double p_right = 0, p_wrong = 0;
    float most = -INFINITY;
    for (int64_t i = 0; i < right.n; i++) {
        p_right += exp((double)end[right.at[i]] - lse);
        most = fmaxf(most, end[right.at[i]]);
    }
    for (int64_t i = 0; i < wrong.n; i++) p_wrong += exp((double)end[wrong.at[i]] - lse);
    out[HS_EFFECT_PROB] = p_right;
    out[HS_EFFECT_PROB_DIFF] = p_right - p_wrong;
    out[HS_EFFECT_ACCURACY] = 1;
    for (int64_t i = 0; i < l.n_vocab; i++)
        if (end[i] > most) out[HS_EFFECT_ACCURACY] = 0;
    free(base.row);
    free(l.row);
}

static void same_as_plain(const struct work *w, const struct results *r) {
    for (int64_t u = 0; u < w->units.n; u++) {
        hs_buf spec = {0};
        assert_int_equal(hs_sweep_spec(&spec, &w->opts, &w->units.at[u]), HS_OK);
        const char *specs[] = {spec.data};
        for (int64_t i = 0; i < N_PROMPT; i++) {
            double expected[HS_N_EFFECT], base[HS_N_EFFECT];
            plain(base, w, i, NULL, 0);
            plain(expected, w, i, specs, 1);
            for (int e = 0; e < HS_N_EFFECT; e++) {
                same_value(r->base[i][e], base[e], "unedited", i, e);
                same_value(r->value[i][u * HS_N_EFFECT + e], expected[e], spec.data, i, e);
            }
        }
        hs_buf_free(&spec);
    }
}

// ---- laws ---------------------------------------------------------------------------------------

struct what {
    const char *units, *op, *args;
    bool mlp; // only where there is one
};
static const struct what whats[] = {
    {"all", "zero", NULL, false},
    {"L*H1", "mean", NULL, false},
    {"L0-1H*", "resample", NULL, false},
    {"L*H0", "uniform", NULL, false},
    {"L1-2H2", "bos", NULL, false},
    {"L*H3", "temper:@,t=2", NULL, false},
    {"L*G0", "zero", NULL, false},
    {"L*", "zero", NULL, false},
    {"L*M", "mean", "reference=prompt", true},
    {"L2H*", "zero", "pos=-1", false},
    {"L*H0", "mean", "pos=3:", false},
    {"L0-1H1", "uniform", "pos=2:4,prompts=1+2", false},
};

static void a_sweep_is_its_edits(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_MODEL; m++)
        for (size_t k = 0; k < sizeof whats / sizeof *whats; k++) {
            hs_model *model = law_model(m);
            struct work w;
            if (whats[k].mlp && !(hs_dims_of(model).points & HS_BIT(HS_MLP_OUT))) {
                hs_model_close(model);
                continue;
            }
            open_work(&w, model, whats[k].units, ALL);
            w.opts.op = whats[k].op;
            w.opts.op_args = whats[k].args;
            struct results r = swept(&w);
            same_as_plain(&w, &r);
            free_results(&r);
            close_work(&w);
        }
}

// However the work is cut, and on however many threads.
static void cuts_change_nothing(void **state) {
    (void)state;
    static const struct what cut[] = {{"all", "mean", NULL, false},
                                      {"all", "zero", "pos=3:", false},
                                      {"L*", "resample", NULL, false}};
    static const int64_t memory[] = {1, 20000, 300000};
    for (int m = 0; m < LAW_N_MODEL; m++)
        for (size_t k = 0; k < sizeof cut / sizeof *cut; k++) {
            struct work w;
            open_work(&w, law_model(m), cut[k].units, ALL);
            w.opts.op = cut[k].op;
            w.opts.op_args = cut[k].args;
            struct results whole = swept(&w);
            for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
                w.opts.memory = memory[i];
                struct results r = swept(&w);
                same_results(&r, &whole, "cut");
                free_results(&r);
            }
            close_work(&w);
            const rand_spec spec = law_spec(m);
            const hs_model_opts one = {.dev = {.threads = 1, .precision = law_precision(m)}};
            open_work(&w, law_open(&spec, &one), cut[k].units, ALL);
            w.opts.op = cut[k].op;
            w.opts.op_args = cut[k].args;
            struct results r = swept(&w);
            same_results(&r, &whole, "one thread");
            free_results(&r);
            free_results(&whole);
            close_work(&w);
        }
}

static void prompts_do_not_know_each_other(void **state) {
    (void)state;
    struct work w;
    open_work(&w, law_model(0), "all", ALL);
    struct results all = swept(&w), r = {.n_value = w.units.n};
    const int64_t some[] = {1, 3};
    if (hs_sweep(&w.opts, some, 2, take_result, &r)) fail_msg("%s", hs_errmsg());
    assert_int_equal(r.n, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(r.ord[i], some[i]);
        assert_memory_equal(r.value[some[i]], all.value[some[i]],
                            (size_t)w.units.n * HS_N_EFFECT * sizeof(double));
    }
    free_results(&all);
    free_results(&r);
    close_work(&w);
}

static void ablating_nothing_is_the_baseline(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_MODEL; m++) {
        struct work w;
        open_work(&w, law_model(m), "all", ALL);
        w.opts.op = "scale:@,by=1";
        struct results r = swept(&w);
        for (int i = 0; i < N_PROMPT; i++)
            for (int64_t u = 0; u < w.units.n; u++)
                for (int e = 0; e < HS_N_EFFECT; e++)
                    same_value(r.value[i][u * HS_N_EFFECT + e], r.base[i][e], "by=1", i, e);
        free_results(&r);
        close_work(&w);
    }
}

static void joint_sets_are_lists_of_edits(void **state) {
    (void)state;
    enum { N_STEP = 5 };
    static const char *const args[] = {NULL, "pos=4:"};
    for (int m = 0; m < LAW_N_MODEL; m++)
        for (int k = 0; k < 2; k++) {
            struct work w;
            open_work(&w, law_model(m), "all", ALL);
            w.opts.op = "mean";
            w.opts.op_args = args[k];
            const int64_t n = w.units.n, steps[N_STEP] = {0, 1, 2, 5, n};
            int64_t *order = calloc((size_t)n, sizeof *order);
            for (int64_t i = 0; i < n; i++) order[i] = (i * 7 + n - 1) % n; // from the top layer
            struct results r = {.n_value = N_STEP};
            const hs_sweep_joint joint = {order, steps, N_STEP};
            if (hs_sweep_joint_run(&w.opts, &joint, all_prompts, N_PROMPT, take_result, &r))
                fail_msg("%s", hs_errmsg());
            char **specs = calloc((size_t)n, sizeof *specs);
            hs_buf spec = {0};
            for (int64_t i = 0; i < n; i++) {
                hs_buf_clear(&spec);
                assert_int_equal(hs_sweep_spec(&spec, &w.opts, &w.units.at[order[i]]), HS_OK);
                specs[i] = strdup(spec.data);
            }
            for (int i = 0; i < N_PROMPT; i++)
                for (int s = 0; s < N_STEP; s++) {
                    double expected[HS_N_EFFECT];
                    plain(expected, &w, i, (const char *const *)specs, (int)steps[s]);
                    for (int e = 0; e < HS_N_EFFECT; e++)
                        same_value(r.value[i][s * HS_N_EFFECT + e], expected[e], "joint", i, e);
                }
            for (int64_t i = 0; i < n; i++) free(specs[i]);
            free(specs);
            free(order);
            hs_buf_free(&spec);
            free_results(&r);
            close_work(&w);
        }
}

// ---- the toy model ------------------------------------------------------------------------------

// Mean nll of queries 9 .. 15 of the prompt under a spec (NULL: none).
static double toy_nll(const struct work *w, const char *spec) {
    const hs_prompt *p = hs_prompts_at(w->prompts, 0);
    struct logits l = plain_logits(w, 0, &spec, spec != NULL);
    double sum = 0;
    for (int64_t t = 9; t <= 15; t++) {
        const float *x = l.row + t * l.n_vocab;
        sum += lse_of(w, x, l.n_vocab) - (double)x[p->tokens[t + 1]];
    }
    free(l.row);
    return sum / 7;
}

static void the_toy_model(void **state) {
    (void)state;
    static const struct {
        int unit;
        const char *op;
        double change;
    } table[] = {{0, "zero", 2.604862},    {0, "uniform", 2.782415}, {1, "zero", 0},
                 {1, "uniform", 0},        {1, "mean", 0},           {2, "zero", 2.213131},
                 {2, "uniform", 2.604862}, {2, "mean", 2.441156},    {3, "zero", -0.000007},
                 {3, "uniform", 0}};
    hs_model *model;
    if (hs_model_open(&model, "tests/golden/data/closed/ind2", NULL)) fail_msg("%s", hs_errmsg());
    const hs_dims dims = hs_dims_of(model);
    struct work w = {.model = model};
    assert_int_equal(hs_units_parse(&w.units, &dims, "all", 1u << HS_UNIT_HEAD), HS_OK);
    assert_int_equal(hs_prompts_open(&w.prompts, NULL, HS_BOS_AUTO, dims.n_vocab), HS_OK);
    const int32_t ids[] = {0, 1, 6, 3, 8, 5, 2, 7, 4, 1, 6, 3, 8, 5, 2, 7, 4};
    assert_int_equal(hs_prompts_add_tokens(w.prompts, NULL, ids, 17, 1, 8, NULL), HS_OK);
    const double base = toy_nll(&w, NULL);
    assert_true(fabs(base - 0.000387) < 6e-7);
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        w.opts = (hs_sweep_opts){.model = model,
                                 .prompts = w.prompts,
                                 .answers = w.answer,
                                 .units = &w.units,
                                 .op = table[k].op,
                                 .effects = 1u << HS_EFFECT_NLL};
        hs_buf spec = {0};
        assert_int_equal(hs_sweep_spec(&spec, &w.opts, &w.units.at[table[k].unit]), HS_OK);
        const double change = toy_nll(&w, spec.data) - base;
        if (fabs(change - table[k].change) > 6e-7) fail_msg("%s: %.7f", spec.data, change);
        // What the sweep says of all positions is what they say one by one.
        struct results r = {.n_value = 4};
        double sum = 0;
        if (hs_sweep(&w.opts, all_prompts, 1, take_result, &r)) fail_msg("%s", hs_errmsg());
        const char *specs[] = {spec.data};
        struct logits l = plain_logits(&w, 0, specs, 1);
        for (int64_t t = 0; t < 16; t++)
            sum += lse_of(&w, l.row + t * l.n_vocab, l.n_vocab) -
                   (double)l.row[t * l.n_vocab + ids[t + 1]];
        same_value(r.value[0][table[k].unit * HS_N_EFFECT], sum / 16, spec.data, 0, 0);
        assert_true(isnan(r.value[0][HS_EFFECT_KL]));
        free(l.row);
        free_results(&r);
        hs_buf_free(&spec);
    }
    close_work(&w);
}

// ---- the race -----------------------------------------------------------------------------------

// Without a limit, everything that is close is measured to the end: the full sweep's units.
static void a_race_ends_as_the_sweep_does(void **state) {
    (void)state;
    enum { K = 3, MOST = 12 };
    static const enum hs_effect effects[] = {HS_EFFECT_NLL, HS_EFFECT_JSD, HS_EFFECT_LOGIT_DIFF};
    for (int m = 0; m < LAW_N_SPEC; m++)
        for (int k = 0; k < 3; k++) {
            const enum hs_effect e = effects[k];
            struct work w;
            hs_race_unit unit[MOST];
            hs_race_report report;
            double mean[MOST] = {0};
            open_work(&w, law_model(m), "all", ALL);
            struct results r = swept(&w);
            if (hs_sweep_race(&w.opts, e, &(hs_race_opts){.k = K}, all_prompts, N_PROMPT, unit,
                              &report))
                fail_msg("%s", hs_errmsg());
            assert_true(w.units.n == MOST && report.edits <= report.full);
            for (int u = 0; u < MOST; u++)
                for (int i = 0; i < N_PROMPT; i++)
                    mean[u] += (r.value[i][u * HS_N_EFFECT + e] - r.base[i][e]) / N_PROMPT;
            for (int u = 0; u < MOST; u++) {
                int above = 0;
                for (int v = 0; v < MOST; v++)
                    above += hs_effects[e].harm * (mean[v] - mean[u]) > 0;
                assert_int_equal(unit[u].in, above < K);
                if (unit[u].n == N_PROMPT) assert_true(fabs(unit[u].mean - mean[u]) < 1e-12);
            }
            free_results(&r);
            close_work(&w);
        }
}

static int one_token(void *ctx, const hs_sweep_result *r) {
    assert_true(isnan(r->base[HS_EFFECT_NLL]) && isnan(r->value[HS_EFFECT_NLL]));
    assert_true(!isnan(r->base[HS_EFFECT_PROB]));
    ++*(int *)ctx;
    return HS_OK;
}

// Nothing is scored on one token: no number, and no race.
static void one_token_has_no_loss(void **state) {
    (void)state;
    const int32_t id = 7;
    const int64_t ord = 0;
    struct work w;
    hs_race_unit unit[12];
    hs_race_report report;
    int n = 0;
    open_work(&w, law_model(0), "all", ALL);
    hs_prompts_close(w.prompts);
    assert_int_equal(hs_prompts_open(&w.prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB), HS_OK);
    assert_int_equal(hs_prompts_add_tokens(w.prompts, "short", &id, 1, 0, 0, NULL), HS_OK);
    w.opts.prompts = w.prompts;
    w.answer[0].end = 0;
    if (hs_sweep(&w.opts, &ord, 1, one_token, &n)) fail_msg("%s", hs_errmsg());
    assert_int_equal(n, 1);
    assert_int_equal(
        hs_sweep_race(&w.opts, HS_EFFECT_NLL, &(hs_race_opts){.k = 3}, &ord, 1, unit, &report),
        HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "nll is undefined on prompt 'short'"));
    close_work(&w);
}

static int stop(void *ctx, const hs_sweep_result *r) {
    (void)r;
    ++*(int *)ctx;
    return HS_ESTOP;
}

static void whoever_takes_results_may_stop(void **state) {
    (void)state;
    struct work w;
    int n = 0;
    open_work(&w, law_model(0), "all", ALL);
    assert_int_equal(hs_sweep(&w.opts, all_prompts, N_PROMPT, stop, &n), HS_ESTOP);
    assert_int_equal(n, 1);
    close_work(&w);
}

// ---- refusals -----------------------------------------------------------------------------------

static void refuses(struct work *w, const char *op, const char *args, int rc, const char *says) {
    struct results r = {.n_value = w->units.n};
    w->opts.op = op;
    w->opts.op_args = args;
    const int got = hs_sweep(&w->opts, all_prompts, N_PROMPT, take_result, &r);
    if (got != rc || !strstr(hs_errmsg(), says)) fail_msg("%s: %d '%s'", op, got, hs_errmsg());
    assert_int_equal(r.n, 0);
}

static void bad_sweeps_say_why(void **state) {
    (void)state;
    struct work w;
    open_work(&w, law_model(0), "all", ALL);
    refuses(&w, "nothing", NULL, HS_ENOTFOUND, "zero, mean, resample, uniform, bos");
    refuses(&w, "zero", "pos=7:", HS_ERANGE, "");
    refuses(&w, "zero", "pos=30", HS_ERANGE, "prompt");
    refuses(&w, "mean", "mode=zero", HS_EARG, "mode");
    w.answer[2].wrong = -1;
    refuses(&w, "zero", NULL, HS_EARG, "prompt '2' says no \"wrong\"");
    close_work(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sweep_is_its_edits),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(prompts_do_not_know_each_other),
        cmocka_unit_test(ablating_nothing_is_the_baseline),
        cmocka_unit_test(joint_sets_are_lists_of_edits),
        cmocka_unit_test(the_toy_model),
        cmocka_unit_test(a_race_ends_as_the_sweep_does),
        cmocka_unit_test(one_token_has_no_loss),
        cmocka_unit_test(whoever_takes_results_may_stop),
        cmocka_unit_test(bad_sweeps_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
