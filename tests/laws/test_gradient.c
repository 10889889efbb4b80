// First-order estimates of a sweep: exact where the model is linear, tangents of the exact sweep
// where it is not, sums of what their parts are, and the same bits in any chunk on any number of
// threads. The toy model's gate gradients.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/backward.h"
#include "tests/lib/lawsweep.h"

enum {
    NLL = 1 << HS_EFFECT_NLL,
    DIFF = 1 << HS_EFFECT_LOGIT_DIFF,
    PROBS = 1 << HS_EFFECT_PROB_DIFF
};

// ---- results ------------------------------------------------------------------------------------

typedef int (*sweep_fn)(const hs_sweep_opts *, const int64_t *, int64_t, hs_sweep_fn, void *);

static struct results run(const struct work *w, sweep_fn sweep, const char *op, const char *args) {
    struct results r = {.n_value = w->units.n};
    hs_sweep_opts o = w->opts;
    o.op = op;
    o.op_args = args;
    if (sweep(&o, all_prompts, N_PROMPT, take_result, &r)) fail_msg("%s", hs_errmsg());
    assert_int_equal(r.n, N_PROMPT);
    assert_memory_equal(r.ord, all_prompts, sizeof r.ord);
    return r;
}

// The change that unit u makes on prompt i.
static double change(const struct results *r, int i, int64_t u, int effect) {
    return r->value[i][u * HS_N_EFFECT + effect] - r->base[i][effect];
}

static double most(const struct results *r, int effect) {
    double x = 0;
    for (int i = 0; i < N_PROMPT; i++)
        for (int64_t u = 0; u < r->n_value; u++) x = fmax(x, fabs(change(r, i, u, effect)));
    return x;
}

static void close_to(double got, double want, double room, const char *what) {
    if (!(fabs(got - want) <= room)) fail_msg("%s: %.9g, not %.9g +- %.2g", what, got, want, room);
}

enum { N_MEASURED = 3 };
static const int effects[N_MEASURED] = {HS_EFFECT_NLL, HS_EFFECT_LOGIT_DIFF, HS_EFFECT_PROB_DIFF};

static bool same(const struct results *a, const struct results *b) {
    bool equal = !memcmp(a->base, b->base, sizeof a->base);
    for (int i = 0; i < N_PROMPT; i++) {
        equal &= !memcmp(a->value[i], b->value[i],
                         (size_t)a->n_value * HS_N_EFFECT * sizeof(double));
        for (size_t k = 0; k < N_MEASURED; k++)
            equal &= !memcmp(a->at[i][effects[k]], b->at[i][effects[k]],
                             (size_t)(a->n_value * prompt_tokens[i]) * sizeof(double));
    }
    return equal;
}

// ---- what estimates are -------------------------------------------------------------------------

// The last layer of a model without norms is linear in every z, and so is a difference of logits.
static void exact_where_linear(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        if (law_spec(i).family[0] != 'a') continue;
        struct work w;
        static const char *const ops[] = {"zero", "mean", "resample", "scale:@,by=-2"};
        static const char *const args[] = {NULL, "pos=0+3:-2"};
        open_work(&w, law_model(i), "L2H*,L2G*,L2", DIFF);
        for (size_t op = 0; op < sizeof ops / sizeof *ops; op++)
            for (size_t a = 0; a < 2; a++) {
                struct results want = run(&w, hs_sweep, ops[op], args[a]);
                struct results got = run(&w, hs_sweep_gradient, ops[op], args[a]);
                const double room = 2e-5 * (1 + most(&want, HS_EFFECT_LOGIT_DIFF));
                assert_true(most(&want, HS_EFFECT_LOGIT_DIFF) > 0.01);
                for (int p = 0; p < N_PROMPT; p++) {
                    assert_true(isnan(got.base[p][HS_EFFECT_NLL]));
                    assert_true(got.base[p][HS_EFFECT_LOGIT_DIFF] ==
                                want.base[p][HS_EFFECT_LOGIT_DIFF]);
                    for (int64_t u = 0; u < w.units.n; u++)
                        close_to(change(&got, p, u, HS_EFFECT_LOGIT_DIFF),
                                 change(&want, p, u, HS_EFFECT_LOGIT_DIFF), room, ops[op]);
                }
                free_results(&want);
                free_results(&got);
            }
        close_work(&w);
    }
}

// Where it is not, small edits of either sign leave the tangent.
static void tangents(void **state) {
    (void)state;
    for (int i = LAW_N_SPEC; i < LAW_N_MODEL; i++) {
        struct work w;
        const bool mlp = law_spec(i).family[0] != 'a';
        open_work(&w, law_model(i), mlp ? "L*H*,L*G*,L*,L*M,L1N3" : "L*H*,L*G*,L*",
                  NLL | DIFF | PROBS);
        struct results up = run(&w, hs_sweep, "scale:@,by=1.0005", NULL);
        struct results down = run(&w, hs_sweep, "scale:@,by=0.9995", NULL);
        struct results got = run(&w, hs_sweep_gradient, "scale:@,by=1.0005", NULL);
        for (size_t k = 0; k < N_MEASURED; k++)
            for (int p = 0; p < N_PROMPT; p++)
                for (int64_t u = 0; u < w.units.n; u++) {
                    char name[HS_UNIT_NAME];
                    const int e = effects[k];
                    assert_true(up.base[p][e] == got.base[p][e]);
                    close_to(change(&got, p, u, e),
                             (change(&up, p, u, e) - change(&down, p, u, e)) / 2,
                             2e-3 * most(&got, e), hs_unit_name(name, &w.units.at[u]));
                }
        free_results(&up);
        free_results(&down);
        free_results(&got);
        close_work(&w);
    }
}

// What the units [from, to) of a kind and layer do together.
static double sum_of(const struct work *w, const struct results *r, int p, int effect,
                     enum hs_unit_kind kind, int layer, int64_t from, int64_t to) {
    double sum = 0;
    for (int64_t u = 0; u < w->units.n; u++) {
        const hs_unit *at = &w->units.at[u];
        if (at->kind == kind && at->layer == layer && at->index >= from && at->index < to)
            sum += change(r, p, u, effect);
    }
    return sum;
}

// Estimates are linear: groups are the sums of their heads, a layer that of all heads and what the
// bias and the MLP do; halving is half of ablating; positions add up.
static void parts_add_up(void **state) {
    (void)state;
    struct work w;
    open_work(&w, law_model(LAW_N_SPEC), "L*H*,L*G*,L*,L*M", NLL | DIFF | PROBS); // without biases
    const hs_dims dims = hs_dims_of(w.model);
    const int64_t group = dims.n_head / dims.n_kv_head;
    struct results zero = run(&w, hs_sweep_gradient, "zero", NULL);
    struct results half = run(&w, hs_sweep_gradient, "scale:@,by=0.5", NULL);
    struct results head = run(&w, hs_sweep_gradient, "zero", "pos=0:4");
    struct results tail = run(&w, hs_sweep_gradient, "zero", "pos=4:");
    for (size_t k = 0; k < N_MEASURED; k++)
        for (int p = 0; p < N_PROMPT; p++)
            for (int64_t u = 0; u < w.units.n; u++) {
                const hs_unit *at = &w.units.at[u];
                const int e = effects[k];
                const double room = 1e-6 * most(&zero, e), all = change(&zero, p, u, e);
                close_to(change(&half, p, u, e), all / 2, room, "half");
                close_to(change(&head, p, u, e) + change(&tail, p, u, e), all, room, "positions");
                if (at->kind == HS_UNIT_GROUP)
                    close_to(sum_of(&w, &zero, p, e, HS_UNIT_HEAD, at->layer, at->index * group,
                                    (at->index + 1) * group),
                             all, room, "group");
                if (at->kind == HS_UNIT_LAYER)
                    close_to(sum_of(&w, &zero, p, e, HS_UNIT_HEAD, at->layer, 0, 100) +
                                 sum_of(&w, &zero, p, e, HS_UNIT_MLP, at->layer, 0, 1),
                             all, room, "layer");
            }
    free_results(&zero), free_results(&half), free_results(&head), free_results(&tail);
    close_work(&w);
}

// So are units those of all positions, to the rounding of one addition; each position is what an edit
// there alone is said to do, which where the model is linear is what it does.
static void positions_add_up(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        struct work w;
        open_work(&w, law_model(i), "L*H*,L*G*,L*", NLL | DIFF | PROBS);
        const bool linear = law_spec(i).family[0] == 'a';
        const hs_dims dims = hs_dims_of(w.model);
        struct results all = run(&w, hs_sweep_gradient, "mean", NULL);
        struct results here = run(&w, hs_sweep_gradient, "mean", "pos=3");
        struct results exact = run(&w, hs_sweep, "mean", "pos=3");
        for (size_t k = 0; k < N_MEASURED; k++)
            for (int p = 0; p < N_PROMPT; p++)
                for (int64_t u = 0; u < w.units.n; u++) {
                    const int e = effects[k];
                    const int64_t n = prompt_tokens[p];
                    const double *at = all.at[p][e] + u * n, *alone = here.at[p][e] + u * n;
                    double sum = 0;
                    for (int64_t t = 0; t < n; t++) {
                        sum += at[t];
                        assert_true(alone[t] == (t == 3 ? at[t] : 0));
                    }
                    close_to(sum, change(&all, p, u, e), 1e-12 * (1 + fabs(all.base[p][e])), "sum");
                    if (linear && e == HS_EFFECT_LOGIT_DIFF &&
                        w.units.at[u].layer == dims.n_layer - 1)
                        close_to(at[3], change(&exact, p, u, e), 2e-5 * (1 + most(&exact, e)),
                                 "exact");
                }
        assert_true(most(&here, HS_EFFECT_NLL) > 0);
        assert_null(exact.at[0][HS_EFFECT_NLL]);
        free_results(&all), free_results(&here), free_results(&exact);
        close_work(&w);
    }
}

// Of neurons the sums alone are kept.
static void positions_of_none(void **state) {
    (void)state;
    struct work w;
    open_work(&w, law_model(0), "L1N3", NLL);
    struct results r = run(&w, hs_sweep_gradient, "zero", NULL);
    assert_null(r.at[0][HS_EFFECT_NLL]);
    assert_true(most(&r, HS_EFFECT_NLL) > 0);
    free_results(&r);
    close_work(&w);
}

static void chunks_and_threads(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        const rand_spec spec = law_spec(i);
        struct work w, one;
        open_work(&w, law_model(i), "L*H*,L*", NLL | DIFF | PROBS);
        open_work(&one, law_open(&spec, &(hs_model_opts){.dev = {.threads = 1}}), "L*H*,L*",
                  NLL | DIFF | PROBS);
        struct results a = run(&w, hs_sweep_gradient, "mean", NULL);
        struct results b = run(&one, hs_sweep_gradient, "mean", NULL);
        w.opts.memory = 1; // a prompt at a time
        struct results c = run(&w, hs_sweep_gradient, "mean", NULL);
        assert_true(same(&a, &b));
        assert_true(same(&a, &c));
        free_results(&a), free_results(&b), free_results(&c);
        close_work(&w);
        close_work(&one);
    }
}

// ---- the toy model ------------------------------------------------------------------------------

static const int32_t toy[] = {0, 1, 6, 3, 8, 5, 2, 7, 4, 1, 6, 3, 8, 5, 2, 7, 4};
enum { TOY_T = 17, TOY_HEADS = 2, TOY_LAYERS = 2 };

struct gates {
    cap values;
    double nll, gate[TOY_LAYERS][TOY_HEADS];
};

// Mean nll of the rows that it is shown.
static int toy_seed(void *ctx, const hs_site *site, const hs_view *logits) {
    struct gates *g = ctx;
    for (int64_t r = 0; r < site->n_row; r++) {
        float *x = (float *)logits->data + r * logits->stride[0];
        const int32_t next = toy[site->row0 + r + 1];
        double sum = 0;
        for (int64_t v = 0; v < logits->shape[1]; v++) sum += exp((double)x[v]);
        g->nll += (log(sum) - (double)x[next]) / 7;
        for (int64_t v = 0; v < logits->shape[1]; v++)
            x[v] = (float)((exp((double)x[v]) / sum - (v == next)) / 7);
    }
    return HS_OK;
}

static int toy_grads(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct gates *g = ctx;
    (void)write;
    for (int64_t i = 0; i < hs_view_count(view); i++)
        g->gate[site->layer][i % (TOY_HEADS * view->shape[2]) / view->shape[2]] +=
            (double)((float *)view->data)[i] *
            (double)g->values.at[0][site->layer][HS_Z]
                .data[site->row0 * TOY_HEADS * view->shape[2] + i];
    return HS_OK;
}

// d nll / d xi where every z of a head is multiplied by xi, at 1.
static void gates_of_the_toy_model(void **state) {
    (void)state;
    const double want[TOY_LAYERS][TOY_HEADS] = {{-0.000142, 0}, {-0.003854, NAN}};
    const int64_t rows[] = {9, 10, 11, 12, 13, 14, 15};
    uint64_t z[CAP_LAYERS + 1] = {HS_BIT(HS_Z), HS_BIT(HS_Z)};
    struct gates g = {0};
    hs_model *m;
    if (hs_model_open(&m, "tests/golden/data/closed/ind2", NULL)) fail_msg("%s", hs_errmsg());
    cap_open(&g.values, m, TOY_T);
    hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
    const hs_batch batch = {.seq = &(hs_seq){.tokens = toy, .n = TOY_T},
                            .n_seq = 1,
                            .logit_row = rows,
                            .n_logit_row = 7};
    const hs_tap grads = {.ctx = &g, .read = z, .rows = toy_grads};
    const hs_backward job = {.seed = toy_seed, .ctx = &g, .values = &g.values.tap, .grads = &grads};
    if (hs_context_backward(x, &batch, &job)) fail_msg("%s", hs_errmsg());
    close_to(g.nll, 0.000387, 6e-7, "nll");
    for (int l = 0; l < TOY_LAYERS; l++)
        for (int h = 0; h < TOY_HEADS; h++)
            if (!isnan(want[l][h])) close_to(g.gate[l][h], want[l][h], 6e-7, "gate");
    cap_close(&g.values);
    hs_context_close(x);
    hs_model_close(m);
}

// ---- refusals -----------------------------------------------------------------------------------

static void refuses(struct work *w, unsigned effect, const char *op, int rc, const char *says) {
    struct results r = {.n_value = w->units.n};
    w->opts.effects = effect;
    w->opts.op = op;
    const int got = hs_sweep_gradient(&w->opts, all_prompts, N_PROMPT, take_result, &r);
    if (got != rc || !strstr(hs_errmsg(), says)) fail_msg("%s: %d '%s'", op, got, hs_errmsg());
    assert_int_equal(r.n, 0);
}

static void refusals(void **state) {
    (void)state;
    struct work w;
    open_work(&w, law_model(0), "L*H*", NLL | DIFF | PROBS);
    refuses(&w, 1u << HS_EFFECT_KL, "zero", HS_EARG, "kl has no gradient");
    refuses(&w, NLL | 1u << HS_EFFECT_ACCURACY, "zero", HS_EARG, "accuracy has no gradient");
    refuses(&w, NLL, "uniform", HS_EARG, "zero, mean and resample");
    refuses(&w, NLL, "temper:@,t=2", HS_EARG, "zero, mean and resample");
    w.answer[2].wrong = -1;
    refuses(&w, DIFF, "zero", HS_EARG, "");
    close_work(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_where_linear),     cmocka_unit_test(tangents),
        cmocka_unit_test(parts_add_up),           cmocka_unit_test(positions_add_up),
        cmocka_unit_test(positions_of_none),      cmocka_unit_test(chunks_and_threads),
        cmocka_unit_test(gates_of_the_toy_model), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
