// Edge attribution: slopes of exact edge patching, done plainly (one receiver is given a residual
// that differs by a little of one sender), of every edge and both families; edges that leave a node
// add up to the node's attribution; results do not depend on chunks and threads.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/edges.h"
#include "analyses/experiments/sweep.h"
#include "tests/lib/laws.h"

enum { N_PAIR = 3, N_PROMPT = 2 * N_PAIR, MOST_T = 16 };
static const int lengths[N_PAIR] = {7, 16, 4};
static const int64_t all_ords[N_PROMPT] = {0, 1, 2, 3, 4, 5};
static const enum hs_effect effects[] = {HS_EFFECT_LOGIT_DIFF, HS_EFFECT_NLL};

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

struct work {
    hs_model *model;
    hs_dims dims;
    hs_prompts *prompts;
    hs_answer answer[N_PROMPT];
    hs_slope slope;
    int64_t n_sender, n_receiver;
    double base[N_PROMPT], *score[N_PROMPT];
    int n_result;
};

static void open_work(struct work *w, hs_model *model, enum hs_effect effect) {
    *w = (struct work){.model = model, .dims = hs_dims_of(model)};
    must(hs_prompts_open(&w->prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N_PAIR; i++) {
        int32_t ids[MOST_T];
        hs_buf extra = {0};
        law_tokens(ids, lengths[i], 60 + (uint64_t)i);
        hs_buf_str(&extra, "{\"corrupt_tokens\":[");
        for (int t = 0; t < lengths[i]; t++)
            hs_buf_printf(&extra, "%s%d", t ? "," : "", t % 3 == 1 ? (ids[t] + 7) % 50 : ids[t]);
        hs_buf_str(&extra, "]}");
        must(hs_prompts_add_tokens(w->prompts, NULL, ids, lengths[i], 0, 0, hs_buf_text(&extra)));
        hs_buf_free(&extra);
        w->answer[i] = w->answer[N_PAIR + i] = (hs_answer){
            .answer = 3 + i, .wrong = 9, .end = lengths[i] - 1};
    }
    must(hs_prompts_add_pairs(w->prompts));
    w->slope = (hs_slope){model, w->prompts, w->answer, effect};
    w->n_sender = hs_edge_senders(&w->dims);
    w->n_receiver = hs_edge_receivers(&w->dims);
}

static void close_work(struct work *w) {
    for (int i = 0; i < N_PROMPT; i++) free(w->score[i]);
    hs_prompts_close(w->prompts);
    hs_model_close(w->model);
}

static int take(void *ctx, const hs_edges_result *r) {
    struct work *w = ctx;
    const size_t n = (size_t)(w->n_receiver * w->n_sender) * sizeof(double);
    assert_int_equal(r->ord, w->n_result++);
    w->base[r->ord] = r->base;
    w->score[r->ord] = malloc(n);
    memcpy(w->score[r->ord], r->score, n);
    return HS_OK;
}

static void run_edges(struct work *w, int64_t memory) {
    must(hs_edges(&w->slope, memory, NULL, all_ords, N_PROMPT, take, w));
    assert_int_equal(w->n_result, N_PROMPT);
}

static double score_of(const struct work *w, int64_t ord, int64_t receiver, int64_t sender) {
    return w->score[ord][receiver * w->n_sender + sender];
}

static double most(const struct work *w, int64_t ord) {
    double x = 0;
    for (int64_t i = 0; i < w->n_receiver * w->n_sender; i++)
        x = fmax(x, fabs(w->score[ord][i])); // leaves NaN out
    return x;
}

// ---- one edge, plainly --------------------------------------------------------------------------

// What a run has in place of its own, and what is kept of it.
struct plain {
    cap kept;
    int layer;
    enum hs_point point; // written; HS_N_POINT: nothing
    int64_t lo, hi;      // numbers of a row
    const float *with;   // [T][width], put there or, with `add`, added
    bool add;
};

static int on_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct plain *p = ctx;
    const int64_t width = hs_view_count(view) / site->n_row;
    if (!write) return p->kept.tap.rows(&p->kept, site, view, false);
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t k = p->lo; k < p->hi; k++) {
            float *x = (float *)view->data + r * view->stride[0] + k;
            const float by = p->with[(site->row0 + r) * width + k];
            *x = p->add ? *x + by : by;
        }
    return HS_OK;
}

// The whole model, or one layer from a residual.
static void plain_run(struct plain *p, const struct work *w, int64_t ord, int layer,
                      const float *resid) {
    const hs_prompt *prompt = hs_prompts_at(w->prompts, ord);
    uint64_t write[CAP_LAYERS + 1] = {0};
    cap_open(&p->kept, w->model, MOST_T);
    hs_tap tap = p->kept.tap;
    tap.ctx = p;
    tap.rows = on_rows;
    tap.tile_want = NULL;
    tap.layer_done = NULL;
    for (int l = 0; l <= w->dims.n_layer; l++)
        p->kept.read[l] &= ~(HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN) | HS_BIT(HS_ROW_STATS));
    if (p->point != HS_N_POINT) write[p->layer] = HS_BIT(p->point);
    tap.write = write;
    hs_context *x = law_context(w->model, (hs_context_opts){0}, &tap);
    const hs_seq seq = {.tokens = prompt->tokens, .n = prompt->n_token};
    law_eval(x, &(hs_batch){.seq = &seq,
                            .n_seq = 1,
                            .layer_from = resid ? layer : 0,
                            .layer_to = resid ? layer + 1 : 0,
                            .resid = resid,
                            .logits = resid ? HS_LOGITS_NONE : HS_LOGITS_ALL});
    hs_context_close(x);
}

static double effect_of(const struct work *w, const struct plain *p, int64_t ord) {
    const hs_prompt *prompt = hs_prompts_at(w->prompts, ord);
    const float *logits = p->kept.at[0][w->dims.n_layer][HS_LOGITS].data;
    const hs_answer *a = &w->answer[ord];
    double sum = 0;
    if (w->slope.effect == HS_EFFECT_LOGIT_DIFF) {
        const float *x = logits + a->end * LAW_N_VOCAB;
        return (double)x[a->answer] - (double)x[a->wrong];
    }
    for (int64_t t = 0; t + 1 < prompt->n_token; t++) {
        double z = 0;
        for (int64_t k = 0; k < LAW_N_VOCAB; k++) z += exp((double)logits[t * LAW_N_VOCAB + k]);
        sum += log(z) - (double)logits[t * LAW_N_VOCAB + prompt->tokens[t + 1]];
    }
    return sum / (double)(prompt->n_token - 1);
}

// eps times what a sender says differently in the other half, [T][d_model].
static void difference(const struct work *w, const cap *x, const cap *other, int64_t sender,
                       double eps, float *out) {
    const hs_node s = hs_edge_sender(&w->dims, sender);
    const int64_t d = w->dims.d_model, n_head = w->dims.n_head;
    const enum hs_point point = s.kind == HS_NODE_EMBED  ? HS_RESID_PRE
                                : s.kind == HS_NODE_HEAD ? HS_RESULT
                                                         : HS_MLP_OUT;
    const int layer = s.kind == HS_NODE_EMBED ? 0 : s.layer;
    const int64_t width = s.kind == HS_NODE_HEAD ? n_head * d : d;
    const int64_t at = s.kind == HS_NODE_HEAD ? s.index * d : 0;
    for (int64_t t = 0; t < MOST_T; t++)
        for (int64_t k = 0; k < d; k++) {
            const int64_t i = t * width + at + k;
            out[t * d + k] = (float)(eps * ((double)other->at[0][layer][point].data[i] -
                                            (double)x->at[0][layer][point].data[i]));
        }
}

// The effect with eps of an edge patched.
static double patched(const struct work *w, const cap *x, const cap *other, int64_t ord,
                      int64_t sender, const hs_node *r, double eps) {
    const int64_t d = w->dims.d_model, dh = w->dims.d_head, T = lengths[ord % N_PAIR];
    const int layer = r->kind == HS_NODE_LOGITS ? w->dims.n_layer - 1 : r->layer;
    float by[MOST_T * 64], resid[MOST_T * 64];
    struct plain alone = {.layer = layer, .point = HS_N_POINT}, all = {.layer = layer};
    assert_true(d <= 64);
    difference(w, x, other, sender, eps, by);
    if (r->kind == HS_NODE_LOGITS) {
        all.point = HS_RESID_POST;
        all.hi = d;
        all.with = by;
        all.add = true;
        plain_run(&all, w, ord, 0, NULL);
    } else {
        const float *pre = x->at[0][layer][HS_RESID_PRE].data;
        const bool mlp = r->kind == HS_NODE_MLP;
        for (int64_t i = 0; i < T * d; i++) resid[i] = pre[i] + (mlp ? 0 : by[i]);
        if (mlp) {
            alone.point = HS_RESID_MID;
            alone.hi = d;
            alone.with = by;
            alone.add = true;
        }
        plain_run(&alone, w, ord, layer, resid);
        all.point = mlp                    ? HS_MLP_OUT
                    : r->kind == HS_NODE_Q ? HS_Q
                    : r->kind == HS_NODE_K ? HS_K
                                           : HS_V;
        all.lo = mlp ? 0 : r->index * dh;
        all.hi = mlp ? d : (r->index + 1) * dh;
        all.with = alone.kept.at[0][layer][all.point].data;
        plain_run(&all, w, ord, 0, NULL);
        cap_close(&alone.kept);
    }
    const double value = effect_of(w, &all, ord);
    cap_close(&all.kept);
    return value;
}

// ---- laws ---------------------------------------------------------------------------------------

static void same_slopes(const struct work *w, int64_t ord) {
    const double eps = 4e-3;
    struct plain x = {.point = HS_N_POINT}, other = {.point = HS_N_POINT};
    const double room = 2e-3 * most(w, ord);
    int n = 0;
    plain_run(&x, w, ord, 0, NULL);
    plain_run(&other, w, hs_prompts_pair(w->prompts, ord), 0, NULL);
    assert_true(most(w, ord) > 1e-3 && fabs(w->base[ord] - effect_of(w, &x, ord)) < 1e-6);
    for (int64_t r = 0; r < w->n_receiver; r++) {
        const hs_node node = hs_edge_receiver(&w->dims, r);
        const int64_t before = hs_edge_before(&w->dims, &node);
        for (int64_t s = 0; s < w->n_sender; s++) {
            const double got = score_of(w, ord, r, s);
            const bool mlp = w->dims.points & HS_BIT(HS_MLP_OUT);
            if (s >= before || (node.kind == HS_NODE_MLP && !mlp)) {
                assert_true(isnan(got));
                continue;
            }
            if (hs_edge_sender(&w->dims, s).kind == HS_NODE_MLP && !mlp) {
                assert_true(got == 0);
                continue;
            }
            const double want = (patched(w, &x.kept, &other.kept, ord, s, &node, eps) -
                                 patched(w, &x.kept, &other.kept, ord, s, &node, -eps)) /
                                (2 * eps);
            n++;
            if (!(fabs(got - want) <= room))
                fail_msg("%d -> %d (kind %d, L%d, %d): %.9g, not %.9g", (int)s, (int)r,
                         (int)node.kind, node.layer, node.index, got, want);
        }
    }
    assert_true(n > 60);
    cap_close(&x.kept);
    cap_close(&other.kept);
}

static void scores_are_slopes_of_patching(void **state) {
    (void)state;
    for (int i = LAW_N_SPEC; i < LAW_N_MODEL; i++)
        for (size_t e = 0; e < sizeof effects / sizeof *effects; e++) {
            struct work w;
            open_work(&w, law_model(i), effects[e]);
            run_edges(&w, 0);
            same_slopes(&w, e ? 3 : 0);
            close_work(&w);
        }
}

struct node_sums {
    int64_t n;
    double *change[N_PROMPT];
    enum hs_effect effect;
};

static int take_nodes(void *ctx, const hs_sweep_result *r) {
    struct node_sums *to = ctx;
    to->change[r->ord] = calloc((size_t)to->n, sizeof(double));
    for (int64_t u = 0; u < to->n; u++)
        to->change[r->ord][u] = r->value[u * HS_N_EFFECT + to->effect] - r->base[to->effect];
    return HS_OK;
}

// All of what a head or an MLP says goes into some receiver.
static void edges_of_a_node_add_up(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (size_t e = 0; e < sizeof effects / sizeof *effects; e++) {
            struct work w;
            hs_units units;
            struct node_sums nodes = {.effect = effects[e]};
            open_work(&w, law_model(i), effects[e]);
            const bool mlp = w.dims.points & HS_BIT(HS_MLP_OUT);
            must(hs_units_parse(&units, &w.dims, mlp ? "L*H*,L*M" : "L*H*",
                                1u << HS_UNIT_HEAD | 1u << HS_UNIT_MLP));
            nodes.n = units.n;
            run_edges(&w, 0);
            must(hs_sweep_gradient(&(hs_sweep_opts){.model = w.model,
                                                    .prompts = w.prompts,
                                                    .answers = w.answer,
                                                    .units = &units,
                                                    .op = "resample",
                                                    .op_args = "from=pair",
                                                    .effects = 1u << effects[e]},
                                   all_ords, N_PROMPT, take_nodes, &nodes));
            for (int64_t ord = 0; ord < N_PROMPT; ord++) {
                for (int64_t u = 0; u < units.n; u++) {
                    const hs_unit *at = &units.at[u];
                    const int64_t s = 1 + at->layer * (w.dims.n_head + 1) +
                                      (at->kind == HS_UNIT_MLP ? w.dims.n_head : at->index);
                    double sum = 0;
                    for (int64_t r = 0; r < w.n_receiver; r++)
                        if (!isnan(score_of(&w, ord, r, s))) sum += score_of(&w, ord, r, s);
                    if (!(fabs(sum - nodes.change[ord][u]) <= 1e-5 * (1 + most(&w, ord))))
                        fail_msg("L%d.%d: %.9g, not %.9g", at->layer, (int)at->index, sum,
                                 nodes.change[ord][u]);
                }
                free(nodes.change[ord]);
            }
            hs_units_free(&units);
            close_work(&w);
        }
}

static void chunks_and_threads_change_nothing(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        const rand_spec spec = law_spec(i);
        const hs_model_opts one = {.dev = {.threads = 1, .precision = law_precision(i)}};
        struct work w, cut;
        open_work(&w, law_model(i), HS_EFFECT_LOGIT_DIFF);
        open_work(&cut, law_open(&spec, &one), HS_EFFECT_LOGIT_DIFF);
        run_edges(&w, 0);
        run_edges(&cut, 1);
        for (int k = 0; k < N_PROMPT; k++)
            assert_memory_equal(w.score[k], cut.score[k],
                                (size_t)(w.n_receiver * w.n_sender) * sizeof(double));
        assert_memory_equal(w.base, cut.base, sizeof w.base);
        close_work(&w);
        close_work(&cut);
    }
}

static void nodes_have_numbers(void **state) {
    (void)state;
    const hs_dims d = {.n_layer = 2, .n_head = 4, .n_kv_head = 2};
    static const hs_node senders[] = {
        {HS_NODE_EMBED, -1, -1}, {HS_NODE_HEAD, 0, 0}, {HS_NODE_HEAD, 0, 1}, {HS_NODE_HEAD, 0, 2},
        {HS_NODE_HEAD, 0, 3},    {HS_NODE_MLP, 0, -1}, {HS_NODE_HEAD, 1, 0}};
    static const struct {
        int64_t i;
        hs_node node;
        int64_t before;
    } receivers[] = {{0, {HS_NODE_Q, 0, 0}, 1},      {3, {HS_NODE_Q, 0, 3}, 1},
                     {4, {HS_NODE_K, 0, 0}, 1},      {7, {HS_NODE_V, 0, 1}, 1},
                     {8, {HS_NODE_MLP, 0, -1}, 5},   {9, {HS_NODE_Q, 1, 0}, 6},
                     {17, {HS_NODE_MLP, 1, -1}, 10}, {18, {HS_NODE_LOGITS, -1, -1}, 11}};
    assert_int_equal(hs_edge_senders(&d), 11);
    assert_int_equal(hs_edge_receivers(&d), 19);
    for (int i = 0; i < 7; i++) {
        const hs_node n = hs_edge_sender(&d, i);
        assert_true(n.kind == senders[i].kind && n.layer == senders[i].layer &&
                    n.index == senders[i].index);
    }
    for (size_t i = 0; i < sizeof receivers / sizeof *receivers; i++) {
        const hs_node n = hs_edge_receiver(&d, receivers[i].i), *want = &receivers[i].node;
        assert_true(n.kind == want->kind && n.layer == want->layer && n.index == want->index);
        assert_int_equal(hs_edge_before(&d, &n), receivers[i].before);
    }
}

static void bad_calls_say_why(void **state) {
    (void)state;
    struct work w;
    hs_prompts *alone;
    const int32_t ids[3] = {1, 2, 3};
    open_work(&w, law_model(0), HS_EFFECT_KL);
    assert_int_equal(hs_edges(&w.slope, 0, NULL, all_ords, 1, take, &w), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "kl"));
    must(hs_prompts_open(&alone, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    must(hs_prompts_add_tokens(alone, "a", ids, 3, 0, 0, NULL));
    w.slope.prompts = alone;
    assert_int_equal(hs_edges(&w.slope, 0, NULL, all_ords, 1, take, &w), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "prompt 'a' has no other half"));
    hs_prompts_close(alone);
    close_work(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_slopes_of_patching),
        cmocka_unit_test(edges_of_a_node_add_up),
        cmocka_unit_test(chunks_and_threads_change_nothing),
        cmocka_unit_test(nodes_have_numbers),
        cmocka_unit_test(bad_calls_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
