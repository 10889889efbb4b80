// The lens and direct logit attribution against transformers' hidden states through its own final
// norm and head (tests/ref/lens.py).
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "analyses/experiments/lens.h"

#define DATA "tests/golden/data/"
enum { T = 24, V = 64 };

struct golden {
    const char *name;
    hs_ckpt *lens, *run;
    hs_model *model;
    const hs_config *c;
    hs_lens_result r;
};

static void must(int rc) {
    if (rc) fail_msg("%s", hs_errmsg());
}

// Number i of an array.
static double at(const struct golden *g, const char *array, int64_t i) {
    const hs_tensor *t = hs_ckpt_find(g->lens, array);
    float v;
    if (!t) fail_msg("%s: no %s", g->name, array);
    assert_true(i < hs_view_count(&t->view));
    memcpy(&v, (const char *)t->view.data + i * (int64_t)sizeof v, sizeof v);
    return (double)v;
}

static void near(const struct golden *g, const char *array, int64_t i, double got) {
    const double want = at(g, array, i);
    if (!(fabs(got - want) <= 2e-5 * (1 + fabs(want))))
        fail_msg("%s: %s[%d] is %.9g, not %.9g", g->name, array, (int)i, got, want);
}

static void check_rows(const struct golden *g) {
    for (int64_t depth = 0; depth <= g->c->n_layer; depth++)
        for (int64_t i = 0; i < T; i++) {
            const int64_t row = i * (g->c->n_layer + 1) + depth, want = depth * T + i;
            near(g, "kl", want, g->r.row[row].kl);
            for (int64_t v = 0; v < V; v++)
                near(g, "lens", want * V + v, g->r.track[row * V + v].logit);
        }
}

static void check_parts(const struct golden *g) {
    for (int64_t i = 0; i < T; i++) {
        const hs_dla *d = &g->r.dla[i];
        assert_int_equal(g->r.final_top[i], (int)at(g, "top", i));
        near(g, "embed", i, d->embed);
        near(g, "bias", i, d->bias);
        for (int64_t l = 0; l < g->c->n_layer; l++) {
            near(g, "mlp", i * g->c->n_layer + l, d->mlp[l]);
            for (int64_t h = 0; h < g->c->n_head; h++)
                near(g, "head", (i * g->c->n_layer + l) * g->c->n_head + h,
                     d->head[l * g->c->n_head + h]);
        }
    }
}

static void check(const char *name, const char *model, enum hs_precision precision) {
    struct golden g = {.name = name};
    char path[200];
    int32_t tokens[T], track[V];
    int64_t pos[T];
    hs_lens *s;
    snprintf(path, sizeof path, DATA "%s/lens.safetensors", name);
    must(hs_ckpt_open(&g.lens, path, false));
    snprintf(path, sizeof path, DATA "%s/golden.safetensors", name);
    must(hs_ckpt_open(&g.run, path, false));
    must(hs_model_open(&g.model, model,
                       &(hs_model_opts){.dev = {.threads = 1, .precision = precision}}));
    g.c = hs_model_config(g.model);
    assert_int_equal(g.c->n_vocab, V);
    const hs_tensor *ids = hs_ckpt_find(g.run, "tokens");
    assert_true(ids && hs_view_count(&ids->view) == T);
    for (int64_t i = 0; i < T; i++) {
        int64_t id;
        memcpy(&id, (const char *)ids->view.data + i * (int64_t)sizeof id, sizeof id);
        tokens[i] = (int32_t)id;
        pos[i] = i;
    }
    for (int v = 0; v < V; v++) track[v] = v;
    must(hs_lens_open(
        &s, &(hs_lens_opts){.model = g.model, .track = track, .n_track = V, .dla = true}));
    const hs_prompt prompt = {.id = name, .tokens = tokens, .n_token = T};
    must(hs_lens_run(s, &(hs_lens_at){&prompt, pos, T, HS_LENS_TOP, HS_LENS_NONE}, &g.r));
    check_rows(&g);
    check_parts(&g);
    hs_lens_close(s);
    hs_model_close(g.model);
    hs_ckpt_close(g.run);
    hs_ckpt_close(g.lens);
}

static void all(void **state) {
    static const struct {
        const char *name, *model;
    } each[] = {{"llama_gqa", DATA "llama_gqa"},
                {"llama_gqa", DATA "llama_gqa.gguf"},
                {"llama_bias", DATA "llama_bias"},
                {"gpt2_untied", DATA "gpt2_untied"}};
    (void)state;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        check(each[i].name, each[i].model, HS_PREC_EXACT);
        check(each[i].name, each[i].model, HS_PREC_F64);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
