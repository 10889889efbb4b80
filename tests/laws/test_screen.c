// Screening by gradients: estimates are tangents of what edits of single heads do to the loss of
// continuations, for rows of prompts and of what follows them; heads do not touch each other; the
// same bits in any chunk.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/calibrate/screen.h"
#include "model/core/mem.h"
#include "tests/lib/laws.h"

enum { N_ITEM = 4, MOST_UNIT = 32, MOST_VARIANT = 3 };

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static const int32_t words[] = {3, 9, 4, 4, 11, 30, 2};
static const hs_quiz_choice three[] = {
    {words, 1, 1, NULL}, {words + 1, 2, 2, NULL}, {words + 3, 3, 3, NULL}};
static const hs_quiz_choice two[] = {{words + 5, 1, 1, NULL}, {words + 6, 1, 1, NULL}};

struct work {
    hs_model *model;
    hs_prompts *prompts;
    hs_dims dims;
    hs_heads heads;
    hs_quiz_item item[N_ITEM];
    const hs_quiz_item *at[N_ITEM];
    int n_unit;
};
static const int lengths[N_ITEM] = {12, 5, 9, 20};

static void open_work(struct work *w, hs_model *m, const char *heads) {
    *w = (struct work){.model = m, .dims = hs_dims_of(m)};
    must(hs_prompts_open(&w->prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N_ITEM; i++) {
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 70 + (uint64_t)i);
        must(hs_prompts_add_tokens(w->prompts, NULL, ids, lengths[i], 0, 0, NULL));
    }
    const hs_quiz_item item[N_ITEM] = {
        {.kind = HS_QUIZ_CHOICE, .choice = three, .n_choice = 3, .right = 2},
        {.kind = HS_QUIZ_YES_NO, .choice = two, .n_choice = 2, .right = 0},
        {.kind = HS_QUIZ_OPEN, .choice = three + 2, .n_choice = 1, .right = 0},
        {.kind = HS_QUIZ_TEXT, .right = -1}};
    for (int i = 0; i < N_ITEM; i++) {
        w->item[i] = item[i];
        w->item[i].ord = i;
        w->item[i].prompt = hs_prompts_at(w->prompts, i);
        w->at[i] = &w->item[i];
    }
    must(hs_heads_parse(&w->heads, &w->dims, heads));
    w->n_unit = w->dims.n_layer * w->dims.n_head;
    assert_true(w->n_unit <= MOST_UNIT);
}

static void close_work(struct work *w) {
    hs_heads_free(&w->heads);
    hs_prompts_close(w->prompts);
    hs_model_close(w->model);
}

// ---- screening ----------------------------------------------------------------------------------

struct found {
    int n_variant, n_unit, n;
    double base[N_ITEM], at[N_ITEM][MOST_VARIANT * MOST_UNIT];
};

static int take(void *ctx, int64_t ord, double base, const double *estimate) {
    struct found *f = ctx;
    f->n++;
    f->base[ord] = base;
    memcpy(f->at[ord], estimate, (size_t)(f->n_variant * f->n_unit) * sizeof *estimate);
    return HS_OK;
}

static void screen(const struct work *w, enum hs_measure objective, const char *const *spec,
                   int n_variant, int64_t memory, struct found *f) {
    static const int64_t ord[N_ITEM] = {0, 1, 2, 3};
    const hs_screen_opts o = {.model = w->model,
                              .prompts = w->prompts,
                              .item = w->at,
                              .objective = objective,
                              .heads = &w->heads,
                              .memory = memory};
    hs_quiz_variant v[MOST_VARIANT];
    for (int i = 0; i < n_variant; i++) v[i] = (hs_quiz_variant){spec + i, 1};
    memset(f, 0, sizeof *f);
    f->n_variant = n_variant;
    f->n_unit = w->n_unit;
    must(hs_screen(&o, v, n_variant, ord, N_ITEM, take, f));
    assert_int_equal(f->n, N_ITEM);
}

// ---- exactly ------------------------------------------------------------------------------------

struct sink {
    const int32_t *tokens;
    int64_t first, n;
    double sum;
};

static int add_logits(void *ctx, const hs_site *site, const hs_view *view) {
    struct sink *s = ctx;
    for (int64_t r = 0; r < site->n_row; r++) {
        const float *x = (const float *)view->data + r * view->stride[0];
        double all = 0;
        if (site->row0 + r < s->first || site->row0 + r + 1 >= s->n) continue;
        for (int i = 0; i < LAW_N_VOCAB; i++) all += exp((double)x[i]);
        s->sum += (double)x[s->tokens[site->row0 + r + 1]] - log(all);
    }
    return HS_OK;
}

// ln p of what follows the prompt, or of the text itself.
static double log_p(const struct work *w, int i, const hs_quiz_choice *c, const char *spec,
                    int64_t *scored) {
    const hs_prompt *p = hs_prompts_at(w->prompts, i);
    int32_t ids[LAW_T];
    uint64_t points[CAP_LAYERS + 1] = {0};
    struct sink sink = {ids, c ? p->n_token - 1 : 0, p->n_token + (c ? c->n : 0), 0};
    hs_editing *e;
    hs_hooks *hooks;
    memcpy(ids, p->tokens, (size_t)p->n_token * sizeof *ids);
    if (c) memcpy(ids + p->n_token, c->at, (size_t)c->n * sizeof *ids);
    *scored = sink.n - 1 - sink.first;
    points[w->dims.n_layer] = HS_BIT(HS_LOGITS);
    must(hs_editing_open(&e, &(hs_editing_opts){.model = w->model, .prompts = w->prompts}, &spec,
                         spec != NULL));
    must(hs_hooks_open(&hooks, &w->dims));
    must(hs_editing_hook(e, hooks, 0, spec != NULL));
    must(hs_hooks_add(hooks, &(hs_hook){.points = points, .rows = add_logits, .ctx = &sink}));
    hs_context *x = law_context(w->model, (hs_context_opts){0}, hs_hooks_tap(hooks));
    must(hs_editing_aim(e, &(hs_editing_seq){i, 0, spec != NULL}, 1));
    law_eval_one(x, ids, sink.n, HS_LOGITS_ALL);
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_editing_close(e);
    return sink.sum;
}

static double exactly(const struct work *w, int i, enum hs_measure objective, const char *spec) {
    const hs_quiz_item *item = &w->item[i];
    double right = 0, all = 0;
    int64_t n;
    if (item->kind == HS_QUIZ_TEXT) return -log_p(w, i, NULL, spec, &n) / (double)n;
    if (objective == HS_MEASURE_NLL) {
        right = log_p(w, i, &item->choice[item->right], spec, &n);
        return -right / (double)n;
    }
    for (int c = 0; c < item->n_choice; c++) {
        const double p = exp(log_p(w, i, &item->choice[c], spec, &n));
        all += p;
        if (c == item->right) right = p;
    }
    return -log(right / all);
}

// ---- laws ---------------------------------------------------------------------------------------

// Slightly up and slightly down, of every kind that touches heads before z, at z, or only rows of
// what follows.
static void estimates_are_tangents(void **state) {
    static const char *const kinds[][4] = {{"temper:L*H*,t=1.002", "temper:L*H*,t=0.998",
                                            "temper:L%dH%d,t=1.002", "temper:L%dH%d,t=0.998"},
                                           {"scale:L*H*,by=1.002", "scale:L*H*,by=0.998",
                                            "scale:L%dH%d,by=1.002", "scale:L%dH%d,by=0.998"},
                                           {"boost:0:3,alpha=0.002,rows=last",
                                            "boost:0:3,alpha=-0.002,rows=last",
                                            "boost:0:3,alpha=0.002,rows=last,heads=L%dH%d",
                                            "boost:0:3,alpha=-0.002,rows=last,heads=L%dH%d"}};
    static const enum hs_measure objectives[] = {HS_MEASURE_NLL, HS_MEASURE_CHOICE_NLL};
    (void)state;
    for (int m = LAW_N_SPEC; m < LAW_N_MODEL; m += 2) {
        struct work w;
        static struct found f;
        open_work(&w, law_model(m), "L*H*");
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            for (size_t o = 0; o < 2; o++) {
                screen(&w, objectives[o], &kinds[k][0], 2, 0, &f);
                for (int i = 0; i < N_ITEM; i++) {
                    double most = 0;
                    if (o == 1 && i > 1) {
                        assert_true(isnan(f.base[i]) && isnan(f.at[i][0]));
                        continue;
                    }
                    assert_true(fabs(f.base[i] - exactly(&w, i, objectives[o], NULL)) < 1e-5);
                    for (int u = 0; u < w.n_unit; u++) {
                        f.at[i][u] = (f.at[i][u] - f.at[i][w.n_unit + u]) / 2;
                        most = fmax(most, fabs(f.at[i][u]));
                    }
                    // A text's last row says nothing that is scored.
                    assert_true(most > 0 || (k == 2 && w.item[i].kind == HS_QUIZ_TEXT));
                    for (int u = 0; u < w.n_unit; u += 1 + i) {
                        char up[80], down[80];
                        const int l = u / w.dims.n_head, h = u % w.dims.n_head;
                        snprintf(up, sizeof up, kinds[k][2], l, h);
                        snprintf(down, sizeof down, kinds[k][3], l, h);
                        const double want = (exactly(&w, i, objectives[o], up) -
                                             exactly(&w, i, objectives[o], down)) /
                                            2;
                        if (!(fabs(f.at[i][u] - want) < 1e-2 * most + 2e-7))
                            fail_msg("model %d, %s, item %d: %.9g, not %.9g", m, up, i, f.at[i][u],
                                     want);
                    }
                }
            }
        close_work(&w);
    }
}

// Of large edits too: what one head is estimated at does not depend on which others are edited, nor
// on chunks, nor on what else is tried.
static void heads_and_chunks_do_not_matter(void **state) {
    static const char *const all[] = {"mask:sink_recent,s=1,w=2", "temper:L*H*,t=0.3"};
    static const char *const one[] = {"mask:sink_recent,s=1,w=2,heads=L1H0"};
    static struct found f, g;
    struct work w, alone;
    (void)state;
    open_work(&w, law_model(1), "L*H*");
    screen(&w, HS_MEASURE_NLL, all, 2, 0, &f);
    screen(&w, HS_MEASURE_NLL, all, 2, 1, &g); // an item a chunk
    assert_memory_equal(f.base, g.base, sizeof f.base);
    assert_memory_equal(f.at, g.at, sizeof f.at);
    open_work(&alone, law_model(1), "L1H0");
    screen(&alone, HS_MEASURE_NLL, one, 1, 0, &g);
    const int u = w.dims.n_head;
    for (int i = 0; i < N_ITEM; i++) {
        assert_true(f.at[i][u] == g.at[i][u]);
        assert_true(f.at[i][u] != 0);
        for (int k = 0; k < w.n_unit; k++) assert_true(k == u || g.at[i][k] == 0);
    }
    close_work(&w);
    close_work(&alone);
}

static void what_is_refused(void **state) {
    static const char *const spec[] = {"ablate:L1M", "scale:L1,by=2", "scale:L9H0,by=2"};
    static const int rc[] = {HS_EARG, HS_EARG, HS_ERANGE};
    static const int64_t ord[] = {0};
    static struct found f;
    struct work w;
    (void)state;
    open_work(&w, law_model(0), "L*H*");
    const hs_screen_opts o = {.model = w.model,
                              .prompts = w.prompts,
                              .item = w.at,
                              .objective = HS_MEASURE_NLL,
                              .heads = &w.heads};
    for (int i = 0; i < 3; i++)
        assert_int_equal(hs_screen(&o, &(hs_quiz_variant){&spec[i], 1}, 1, ord, 1, take, &f),
                         rc[i]);
    close_work(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_are_tangents),
        cmocka_unit_test(heads_and_chunks_do_not_matter),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
