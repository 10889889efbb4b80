// Scores of weights against what numpy finds on whole matrices, and transformers on single tokens
// (tests/ref/weights.py).
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "model/ckpt.h"
#include "tests/lib/weighed.h"

enum { MAX_TOKEN = 64 };

struct golden {
    const char *name;
    hs_ckpt *file;
    hs_model *model;
    const hs_config *c;
};

// Number i of an array; the whole of it lies in one row.
static double at(const struct golden *g, const char *array, int64_t i) {
    const hs_tensor *t = hs_ckpt_find(g->file, array);
    if (!t) fail_msg("%s: no %s", g->name, array);
    assert_true(i < hs_view_count(&t->view));
    return (double)((const float *)t->view.data)[i];
}

static void near(const struct golden *g, const char *what, int64_t i, double got, double want,
                 double within) {
    if (!(fabs(got - want) <= within * (1 + fabs(want))))
        fail_msg("%s: %s[%d] is %.9g, not %.9g", g->name, what, (int)i, got, want);
}

static void check_heads(const struct golden *g, const weighed *w, const char *metric,
                        const char *array, double within) {
    for (int64_t i = 0; i < g->c->n_layer * g->c->n_head; i++)
        near(g, array, i, weighed_at(w, metric, (int)(i / g->c->n_head), (int)(i % g->c->n_head)),
             at(g, array, i), within);
}

static void check_pairs(const struct golden *g, const weighed *w) {
    static const char *const arrays[] = {"q_composition", "k_composition", "v_composition"};
    const int64_t heads = g->c->n_layer * g->c->n_head;
    assert_int_equal(w->n_pair, 3 * heads * (heads - g->c->n_head) / 2);
    for (int64_t i = 0; i < w->n_pair; i++) {
        const weighed_pair *p = &w->pair[i];
        const int64_t to = p->layer * g->c->n_head + p->head;
        const int64_t from = p->from_layer * g->c->n_head + p->from_head;
        near(g, "composition", i, p->value,
             at(g,
                arrays[p->kind == 'Q'   ? 0
                       : p->kind == 'K' ? 1
                                        : 2],
                to * heads + from),
             2e-6);
    }
}

static void check_neurons(const struct golden *g, const weighed *w) {
    assert_int_equal(w->n_neuron, g->c->n_layer * g->c->d_ff * (g->c->mlp == HS_MLP_GATED ? 3 : 2));
    for (int64_t i = 0; i < w->n_neuron; i++) {
        const weighed_neuron *n = &w->neuron[i];
        const int64_t row = n->layer * g->c->d_ff + n->neuron;
        char p[32], token[32];
        snprintf(p, sizeof p, "neuron_%s", n->vector);
        snprintf(token, sizeof token, "token_%s", n->vector);
        near(g, p, row, n->probability, at(g, p, row), 2e-6);
        near(g, token, row, n->token, at(g, token, row), 0);
    }
}

static void check_as(struct golden *g, enum hs_precision precision) {
    static const char *const metrics[] = {
        "ov_norm",     "ov_spectral", "ov_nuclear", "ov_rank",    "qk_norm",
        "qk_spectral", "qk_nuclear",  "qk_rank",    "copy_score", "copy_score_negative"};
    char path[120];
    int32_t token[MAX_TOKEN];
    weighed w;
    snprintf(path, sizeof path, "tests/golden/data/%s", g->name);
    if (hs_model_open(&g->model, path,
                      &(hs_model_opts){.dev = {.threads = 2, .precision = precision}}))
        fail_msg("%s", hs_errmsg());
    g->c = hs_model_config(g->model);
    const int64_t n = hs_view_count(&hs_ckpt_find(g->file, "copy_tokens")->view);
    for (int64_t i = 0; i < n; i++) token[i] = (int32_t)at(g, "copy_tokens", i);
    hs_weights_opts o = {.model = g->model,
                         .token = token,
                         .n_token = n,
                         .length = 64,
                         .composition = true,
                         .neurons = true};
    weighed_open(&w, &o);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        check_heads(g, &w, metrics[i], metrics[i], 1e-5);
    check_heads(g, &w, "ov_copying", "ov_copying", 2e-5);
    check_heads(g, &w, "qk_matching", "qk_matching", 2e-5);
    check_pairs(g, &w);
    check_neurons(g, &w);
    weighed_close(&w);
    o.mlp0 = true;
    o.composition = o.neurons = false;
    weighed_open(&w, &o);
    check_heads(g, &w, "ov_copying", "ov_copying_mlp0", 2e-5);
    check_heads(g, &w, "qk_matching", "qk_matching_mlp0", 2e-5);
    weighed_close(&w);
    hs_model_close(g->model);
}

static void check(const char *name) {
    struct golden g = {.name = name};
    char path[120];
    snprintf(path, sizeof path, "tests/golden/data/%s/weights.safetensors", name);
    if (hs_ckpt_open(&g.file, path, true)) fail_msg("%s", hs_errmsg());
    check_as(&g, HS_PREC_EXACT);
    check_as(&g, HS_PREC_F64);
    hs_ckpt_close(g.file);
}

static void llama(void **state) {
    (void)state;
    check("llama_gqa");
    check("llama_bias"); // biases, d_head other than d_model / n_head, tied, bf16
}

static void gpt2(void **state) {
    (void)state;
    check("gpt2_bare");
    check("gpt2_untied");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama),
        cmocka_unit_test(gpt2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
