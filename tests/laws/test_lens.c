// The lens and direct logit attribution on every family: the last row of the lens is the logits, to
// the bit; all rows are what plain arithmetic makes of the residuals; attributions add up to the
// logit, neurons to their MLP and source positions to their head.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/lens.h"
#include "tests/lib/laws.h"

enum { N_TRACK = 3, SEED = 11 };
static const int32_t track[N_TRACK] = {0, 7, LAW_N_VOCAB - 1};

struct work {
    hs_model *model;
    const hs_config *cfg;
    cap run;
    int32_t tokens[LAW_N_CTX];
    int64_t pos[LAW_T];
    hs_prompt prompt;
};

static void open_work(struct work *w, int model, int64_t n) {
    *w = (struct work){.model = law_model(model)};
    w->cfg = hs_model_config(w->model);
    law_run(&w->run, w->model, (hs_context_opts){0}, SEED, n);
    law_tokens(w->tokens, LAW_N_CTX, SEED);
    for (int64_t i = 0; i < n; i++) w->pos[i] = i;
    w->prompt = (hs_prompt){.id = "law", .tokens = w->tokens, .n_token = n};
}

static void close_work(struct work *w) {
    cap_close(&w->run);
    hs_model_close(w->model);
}

static hs_lens *open_lens(const struct work *w, hs_lens_opts opts) {
    hs_lens *s;
    opts.model = w->model;
    opts.track = track;
    opts.n_track = N_TRACK;
    if (hs_lens_open(&s, &opts)) fail_msg("%s", hs_errmsg());
    return s;
}

static hs_lens_result look(const struct work *w, hs_lens *s, int64_t first, int64_t n) {
    hs_lens_result r;
    if (hs_lens_run(s,
                    &(hs_lens_at){.prompt = &w->prompt,
                                  .pos = w->pos + first,
                                  .n_pos = n,
                                  .token = HS_LENS_TOP,
                                  .minus = HS_LENS_NONE},
                    &r))
        fail_msg("%s", hs_errmsg());
    return r;
}

static void near(double a, double b, double tol, const char *what, int64_t i) {
    if (!(fabs(a - b) <= tol * (1 + fabs(b))))
        fail_msg("%s %d: %.17g and %.17g", what, (int)i, a, b);
}

// ---- plain arithmetic ---------------------------------------------------------------------------

static const float *resid(const struct work *w, int64_t depth, int64_t pos) {
    return depth ? law_row(&w->run, (int)depth - 1, HS_RESID_POST, pos)
                 : law_row(&w->run, 0, HS_RESID_PRE, pos);
}

// Scale of the final norm of a row, as the norm defines it.
static double scale_of(const hs_config *c, const float *x) {
    double mean = 0, sum = 0;
    if (c->norm == HS_NORM_NONE) return 1;
    for (int64_t k = 0; c->norm == HS_NORM_LAYER && k < c->d_model; k++)
        mean += (double)x[k] / (double)c->d_model;
    for (int64_t k = 0; k < c->d_model; k++) sum += ((double)x[k] - mean) * ((double)x[k] - mean);
    return sqrt(sum / (double)c->d_model + c->norm_eps);
}

// Logits of a residual, divided by `scale`.
static void plain_logits(const struct work *w, const float *x, double scale, double *out) {
    const hs_config *c = w->cfg;
    const float *gain = hs_model_vector(w->model, HS_W_LNF, -1);
    const float *bias = hs_model_vector(w->model, HS_B_LNF, -1);
    const float *b_head = hs_model_vector(w->model, HS_B_HEAD, -1);
    float row[512];
    double mean = 0;
    assert_true(c->d_model <= 512);
    for (int64_t k = 0; c->norm == HS_NORM_LAYER && k < c->d_model; k++)
        mean += (double)x[k] / (double)c->d_model;
    for (int64_t v = 0; v < c->n_vocab; v++) {
        assert_int_equal(hs_model_weight_row(w->model, HS_W_HEAD, -1, v, row), HS_OK);
        out[v] = b_head ? (double)b_head[v] : 0;
        for (int64_t k = 0; k < c->d_model; k++) {
            double y = ((double)x[k] - mean) / scale * (gain ? (double)gain[k] : 1);
            out[v] += (y + (bias ? (double)bias[k] : 0)) * (double)row[k];
        }
    }
}

static double lse_of(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i]);
    return log(sum);
}

static void check_row(const struct work *w, const hs_lens_result *r, int64_t i, int64_t depth,
                      bool frozen) {
    const int64_t n = w->cfg->n_vocab, n_depth = w->cfg->n_layer + 1;
    const hs_lens_row *row = &r->row[i * n_depth + depth];
    const hs_lens_seen *seen = &r->track[(i * n_depth + depth) * N_TRACK];
    const float *x = resid(w, depth, i), *last = resid(w, n_depth - 1, i);
    double own[LAW_N_VOCAB], end[LAW_N_VOCAB], kl = 0;
    plain_logits(w, x, scale_of(w->cfg, frozen ? last : x), own);
    plain_logits(w, last, scale_of(w->cfg, last), end);
    const double lse = lse_of(own, n), lse_end = lse_of(end, n);
    for (int64_t v = 0; v < n; v++) kl += exp(end[v] - lse_end) * (end[v] - lse_end - own[v] + lse);
    near(row->kl, kl, 1e-4, "kl", i);
    near(row->logit, own[row->top], 1e-4, "logit", i);
    near(row->prob, exp(own[row->top] - lse), 1e-4, "prob", i);
    int64_t above = 0;
    for (int64_t v = 0; v < n; v++) {
        assert_true(own[v] <= own[row->top] + 1e-4);
        above += own[v] > own[r->final_top[i]];
    }
    assert_in_range(labs((long)(above - row->rank)), 0, 1);
    for (int t = 0; t < N_TRACK; t++) {
        near(seen[t].logit, own[track[t]], 1e-4, "tracked", t);
        near(seen[t].prob, exp(own[track[t]] - lse), 1e-4, "tracked", t);
        above = 0;
        for (int64_t v = 0; v < n; v++) above += own[v] > own[track[t]];
        assert_in_range(labs((long)(above - seen[t].rank)), 0, 1);
    }
}

// ---- the lens -----------------------------------------------------------------------------------

// Rows injected after the last layer, alone and among others, give the logits of the run.
static void test_last_layer(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_SPEC; m++) {
        struct work w;
        cap again;
        hs_seq seq[CAP_SEQS];
        open_work(&w, m, LAW_T);
        const int64_t d = w.cfg->d_model, n = w.cfg->n_vocab, first = LAW_T - CAP_SEQS;
        float *x = calloc((size_t)(CAP_SEQS * d), sizeof *x);
        for (int i = 0; i < CAP_SEQS; i++) {
            memcpy(x + i * d, resid(&w, w.cfg->n_layer, first + i), (size_t)d * sizeof *x);
            seq[i] = (hs_seq){.n = 1};
        }
        cap_open(&again, w.model, 1);
        hs_context *c = law_context(w.model, (hs_context_opts){0}, &again.tap);
        law_eval(c, &(hs_batch){.seq = seq,
                                .n_seq = CAP_SEQS,
                                .layer_from = (int)w.cfg->n_layer,
                                .resid = x,
                                .logits = HS_LOGITS_ALL});
        for (int i = 0; i < CAP_SEQS; i++)
            assert_memory_equal(again.at[i][w.cfg->n_layer][HS_LOGITS].data,
                                law_row(&w.run, (int)w.cfg->n_layer, HS_LOGITS, first + i),
                                (size_t)n * sizeof *x);
        hs_context_close(c);
        cap_close(&again);
        free(x);
        close_work(&w);
    }
}

static void same_as_logits(const struct work *w, const hs_lens_result *r, int64_t i) {
    const int64_t n_depth = w->cfg->n_layer + 1, last = i * n_depth + n_depth - 1;
    const float *logits = law_row(&w->run, (int)w->cfg->n_layer, HS_LOGITS, i);
    assert_int_equal(r->row[last].top, r->final_top[i]);
    assert_true(r->row[last].logit == (double)logits[r->final_top[i]]);
    assert_true(r->row[last].kl == 0);
    assert_int_equal(r->row[last].rank, 0);
    for (int t = 0; t < N_TRACK; t++) {
        int64_t rank = 0;
        for (int64_t v = 0; v < w->cfg->n_vocab; v++)
            rank += logits[v] > logits[track[t]] || (logits[v] == logits[track[t]] && v < track[t]);
        assert_true(r->track[last * N_TRACK + t].logit == (double)logits[track[t]]);
        assert_int_equal(r->track[last * N_TRACK + t].rank, rank);
    }
}

static void test_rows(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_MODEL; m++)
        for (int frozen = 0; frozen < 2; frozen++) {
            struct work w;
            open_work(&w, m, LAW_T);
            hs_lens *s = open_lens(&w, (hs_lens_opts){.frozen = frozen});
            const hs_lens_result r = look(&w, s, 0, LAW_T);
            for (int64_t i = 0; i < LAW_T; i++) {
                if (m < LAW_N_SPEC) same_as_logits(&w, &r, i);
                for (int64_t depth = 0; depth <= w.cfg->n_layer; depth++)
                    check_row(&w, &r, i, depth, frozen);
            }
            hs_lens_close(s);
            close_work(&w);
        }
}

// What is asked for beside a position changes nothing about it.
static void test_positions(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_SPEC; m++) {
        struct work w;
        open_work(&w, m, LAW_T);
        const size_t n_depth = (size_t)w.cfg->n_layer + 1, n_head = (size_t)w.cfg->n_head;
        hs_lens *all = open_lens(&w, (hs_lens_opts){.dla = true});
        hs_lens *one = open_lens(&w, (hs_lens_opts){.dla = true});
        const hs_lens_result a = look(&w, all, 0, LAW_T);
        for (int64_t i = 0; i < LAW_T; i += 7) {
            const hs_lens_result b = look(&w, one, i, 1);
            assert_int_equal(a.final_top[i], b.final_top[0]);
            assert_memory_equal(a.row + (size_t)i * n_depth, b.row, n_depth * sizeof *b.row);
            assert_memory_equal(a.dla[i].head, b.dla->head,
                                (n_depth - 1) * n_head * sizeof *b.dla->head);
            assert_true(a.dla[i].embed == b.dla->embed && a.dla[i].bias == b.dla->bias);
        }
        hs_lens_close(all);
        hs_lens_close(one);
        close_work(&w);
    }
}

static void test_one_token(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_SPEC; m++) {
        struct work w;
        open_work(&w, m, 1);
        hs_lens *s = open_lens(&w, (hs_lens_opts){.dla = true, .by = HS_DLA_SOURCE});
        const hs_lens_result r = look(&w, s, 0, 1);
        same_as_logits(&w, &r, 0);
        assert_true(fabs(r.dla->rest) < 1e-5);
        for (int64_t h = 0; h < w.cfg->n_layer * w.cfg->n_head; h++)
            near(r.dla->source[h], r.dla->head[h], 1e-5, "the only source", h);
        hs_lens_close(s);
        close_work(&w);
    }
}

// ---- attributions -------------------------------------------------------------------------------

// What a head's own output says for the logit: the difference that taking it off makes, which is
// linear with the scale as it was.
static double without(const struct work *w, const float *x, const float *part, double scale,
                      int32_t token, int32_t minus) {
    float less[512];
    double with[LAW_N_VOCAB], out[LAW_N_VOCAB];
    for (int64_t k = 0; k < w->cfg->d_model; k++) less[k] = x[k] - part[k];
    plain_logits(w, x, scale, with);
    plain_logits(w, less, scale, out);
    const double change = with[token] - out[token];
    return minus == HS_LENS_NONE ? change : change - (with[minus] - out[minus]);
}

static void check_heads(const struct work *w, const hs_dla *dla, int64_t i) {
    const float *x = resid(w, w->cfg->n_layer, i);
    const double scale = scale_of(w->cfg, x);
    for (int64_t l = 0; l < w->cfg->n_layer; l++) {
        const float *result = law_row(&w->run, (int)l, HS_RESULT, i);
        for (int64_t h = 0; h < w->cfg->n_head; h++)
            near(dla->head[l * w->cfg->n_head + h],
                 without(w, x, result + h * w->cfg->d_model, scale, dla->token, dla->minus), 1e-4,
                 "head", l * w->cfg->n_head + h);
    }
    near(dla->embed, without(w, x, resid(w, 0, i), scale, dla->token, dla->minus), 1e-4, "embed",
         i);
}

static void check_neurons(const struct work *w, const hs_dla *dla) {
    assert_int_equal(dla->n_neuron, w->cfg->n_layer * w->cfg->d_ff);
    for (int l = 0; l < (int)w->cfg->n_layer; l++) {
        double sum = 0;
        for (int64_t k = 0; k < dla->n_neuron; k++)
            if (dla->neuron[k].layer == l) sum += dla->neuron[k].value;
        near(sum, dla->mlp[l], 1e-5, "neurons of layer", l);
    }
    for (int64_t k = 1; k < dla->n_neuron; k++)
        assert_true(fabs(dla->neuron[k - 1].value) >= fabs(dla->neuron[k].value));
}

static void test_sums(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_MODEL; m++) {
        struct work w;
        hs_lens_result r;
        open_work(&w, m, LAW_T);
        const bool mlps = w.cfg->mlp != HS_MLP_NONE;
        hs_lens *s = open_lens(&w, (hs_lens_opts){.dla = true, .by = mlps ? HS_DLA_NEURON : 0});
        for (int minus = 0; minus < 2; minus++) {
            hs_lens_at at = {.prompt = &w.prompt,
                             .pos = w.pos,
                             .n_pos = LAW_T,
                             .token = minus ? 3 : HS_LENS_TOP,
                             .minus = minus ? 5 : HS_LENS_NONE};
            assert_int_equal(hs_lens_run(s, &at, &r), HS_OK);
            for (int64_t i = 0; i < LAW_T; i++) {
                const float *logits = law_row(&w.run, (int)w.cfg->n_layer, HS_LOGITS, i);
                const hs_dla *dla = &r.dla[i];
                double sum = dla->embed + dla->bias;
                for (int64_t h = 0; h < w.cfg->n_layer * w.cfg->n_head; h++) sum += dla->head[h];
                for (int64_t l = 0; dla->mlp && l < w.cfg->n_layer; l++) sum += dla->mlp[l];
                near(dla->logit,
                     (double)logits[dla->token] - (minus ? (double)logits[dla->minus] : 0), 1e-6,
                     "logit", i);
                near(sum, dla->logit, m < LAW_N_SPEC ? 2e-6 : 1e-9, "sum", i);
                near(sum + dla->rest, dla->logit, 1e-12, "rest", i);
                assert_int_equal(dla->mlp != NULL, mlps);
                check_heads(&w, dla, i);
                if (mlps) check_neurons(&w, dla);
            }
        }
        hs_lens_close(s);
        close_work(&w);
    }
}

static void test_sources(void **state) {
    (void)state;
    for (int m = 0; m < LAW_N_MODEL; m++) {
        struct work w;
        open_work(&w, m, LAW_T);
        hs_lens *s = open_lens(&w, (hs_lens_opts){.dla = true, .by = HS_DLA_SOURCE});
        for (int64_t i = 0; i < LAW_T; i += 8) {
            const hs_lens_result r = look(&w, s, i, 1);
            for (int64_t h = 0; h < w.cfg->n_layer * w.cfg->n_head; h++) {
                const double *source = r.dla->source + h * LAW_T;
                double sum = 0;
                for (int64_t j = 0; j < LAW_T; j++) {
                    sum += source[j];
                    if (j > i) assert_true(source[j] == 0);
                }
                near(sum, r.dla->head[h], 1e-5, "sources of head", h);
            }
        }
        hs_lens_close(s);
        close_work(&w);
    }
}

static void test_errors(void **state) {
    (void)state;
    struct work w;
    hs_lens *s;
    hs_lens_result r;
    open_work(&w, 4, LAW_T); // without MLPs
    hs_lens_opts opts = {.model = w.model, .dla = true, .by = HS_DLA_NEURON};
    assert_int_equal(hs_lens_open(&s, &opts), HS_EARG);
    assert_null(s);
    opts = (hs_lens_opts){.model = w.model, .track = (int32_t[]){LAW_N_VOCAB}, .n_track = 1};
    assert_int_equal(hs_lens_open(&s, &opts), HS_ERANGE);
    s = open_lens(&w, (hs_lens_opts){.dla = true, .by = HS_DLA_SOURCE});
    const int64_t descending[] = {3, 2}, past = LAW_T, before = -1;
    hs_lens_at at = {&w.prompt, w.pos, 2, HS_LENS_TOP, HS_LENS_NONE};
    assert_int_equal(hs_lens_run(s, &at, &r), HS_EARG); // sources of two positions
    at.n_pos = 0;
    assert_int_equal(hs_lens_run(s, &at, &r), HS_EARG);
    at = (hs_lens_at){&w.prompt, &past, 1, HS_LENS_TOP, HS_LENS_NONE};
    assert_int_equal(hs_lens_run(s, &at, &r), HS_ERANGE);
    at.pos = &before;
    assert_int_equal(hs_lens_run(s, &at, &r), HS_ERANGE);
    at = (hs_lens_at){&w.prompt, w.pos, 1, LAW_N_VOCAB, HS_LENS_NONE};
    assert_int_equal(hs_lens_run(s, &at, &r), HS_ERANGE);
    at = (hs_lens_at){&w.prompt, w.pos, 1, 0, LAW_N_VOCAB};
    assert_int_equal(hs_lens_run(s, &at, &r), HS_ERANGE);
    hs_lens_close(s);
    s = open_lens(&w, (hs_lens_opts){0});
    at = (hs_lens_at){&w.prompt, descending, 2, HS_LENS_TOP, HS_LENS_NONE};
    assert_int_equal(hs_lens_run(s, &at, &r), HS_ERANGE);
    hs_lens_close(s);
    close_work(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_layer), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_positions),  cmocka_unit_test(test_one_token),
        cmocka_unit_test(test_sums),       cmocka_unit_test(test_sources),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
