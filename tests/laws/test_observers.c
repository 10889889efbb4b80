// Observers on the real engine: the closed-form models to their printed digits, results equal to the
// bit however the rows are cut, and the observers that read tensors and weights against plain sums.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/prompt.h"
#include "tests/lib/laws.h"
#include "tests/lib/observed.h"

#define CLOSED "tests/golden/data/closed/"
static const char all_specs[] =
    "rows,sinks:min_rows=1,hidden_sinks:alpha=1,massive,drains,stripes,echo,spread:from=5";

static hs_model *open_model(const char *path) {
    hs_model *m;
    if (hs_model_open(&m, path, NULL)) fail_msg("%s", hs_errmsg());
    return m;
}

// ---- one observed run ---------------------------------------------------------------------------

struct cut {
    int64_t tile_rows, row_block;
    int64_t step; // rows an evaluation, 0 = all at once
};

static hs_subject subject_of(const hs_model *m, const int32_t *ids, int64_t n) {
    return (hs_subject){.dims = hs_dims_of(m), .tokens = ids, .n_token = n, .model = m};
}

// Runs the prompt under the observers of `spec` and leaves what they wrote in `out`.
static void watch(observed *out, const hs_subject *s, const char *spec, struct cut cut) {
    hs_observe_list list;
    hs_observation *o;
    hs_hooks *hooks;
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    if (hs_observation_open(&o, &list, s)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_hooks_open(&hooks, &s->dims), HS_OK);
    assert_int_equal(hs_observation_hook(o, hooks), HS_OK);
    hs_hooks_tile_rows(hooks, cut.tile_rows);
    hs_context *x = law_context(
        s->model,
        (hs_context_opts){.kv_capacity = cut.step ? s->n_token : 0, .row_block = cut.row_block},
        hs_hooks_tap(hooks));
    const int64_t step = cut.step ? cut.step : s->n_token;
    for (int64_t i = 0; i < s->n_token; i += step)
        law_eval_one(x, s->tokens + i, i + step < s->n_token ? step : s->n_token - i,
                     HS_LOGITS_NONE);
    observed_finish(out, &list, o);
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_observation_close(o);
    hs_observe_free(&list);
}

// Runs prompt i of a closed-form model under the observers.
static void watch_closed(observed *out, const char *folder, int64_t i, const char *spec) {
    char path[256];
    snprintf(path, sizeof path, CLOSED "%s", folder);
    hs_model *m = open_model(path);
    hs_prompts *prompts;
    assert_int_equal(hs_prompts_open(&prompts, NULL, HS_BOS_AUTO, hs_model_config(m)->n_vocab),
                     HS_OK);
    snprintf(path, sizeof path, CLOSED "%s/prompts.jsonl", folder);
    if (hs_prompts_add_file(prompts, path)) fail_msg("%s", hs_errmsg());
    const hs_prompt *p = hs_prompts_at(prompts, i);
    hs_subject s = subject_of(m, p->tokens, p->n_token);
    s.bos_len = p->bos_len;
    s.period = p->period;
    watch(out, &s, spec, (struct cut){0});
    hs_prompts_close(prompts);
    hs_model_close(m);
}

// ---- closed forms -------------------------------------------------------------------------------

static const char *const heads[] = {"L0H0", "L0H1", "L1H0", "L1H1"};

static void near(const observed *o, const char *metric, int head, double expected) {
    char what[64];
    snprintf(what, sizeof what, "%s %s", metric, heads[head]);
    observed_near(o, what, expected, 6e-7);
}

static void the_induction_model(void **state) {
    (void)state;
    static const struct {
        const char *metric;
        double of[4];
    } table[] = {
        {"previous", {.997159, .170001, .114390, .152472}},
        {"duplicate", {.000334, .996157, .000340, .076323}},
        {"induction", {.000334, .000334, .995750, .076323}},
        {"self_mass", {.059138, .058877, .166774, .202327}},
        {"first_mass", {.062793, .170001, .114390, .152472}},
        {"entropy_nats", {.024069, .640561, .771016, 1.970887}},
    };
    observed o = {0};
    watch_closed(&o, "ind2", 0, "rows,stripes");
    for (size_t k = 0; k < sizeof table / sizeof *table; k++)
        for (int h = 0; h < 4; h++) near(&o, table[k].metric, h, table[k].of[h]);
    static const double echo[] = {.000666, .996740, .000344, .090913};
    static const double induction[] = {.000666, .000334, .996443, .090913};
    watch_closed(&o, "ind2", 1, "echo");
    for (int h = 0; h < 4; h++) {
        near(&o, "echo", h, echo[h]);
        near(&o, "echo_induction", h, induction[h]);
    }
    observed_free(&o);
}

static void uniform_rows(void **state) {
    (void)state;
    static const struct {
        int64_t prompt;
        double alpha0, entropy;
    } table[] = {{0, .1069636, 2.758016},
                 {1, .0741233, 3.205753},
                 {2, .0424465, 3.878168},
                 {3, .0239232, 0},
                 {4, .00733318, 5.935754}};
    observed o = {0};
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        watch_closed(&o, "uniform", table[k].prompt, "rows,sinks");
        for (int h = 0; h < 2; h++) {
            near(&o, "sink_alpha0", h, table[k].alpha0);
            near(&o, "column_mean[0]", h, table[k].alpha0);
            if (table[k].entropy > 0) near(&o, "entropy_nats", h, table[k].entropy);
        }
    }
    watch_closed(&o, "uniform", 1, "sinks");
    static const int at[] = {1, 2, 7, 31, 63};
    static const double alpha[] = {.059427, .052321, .037737, .021717, .015625};
    for (int k = 0; k < 5; k++) {
        char name[32];
        snprintf(name, sizeof name, "column_mean[%d]", at[k]);
        near(&o, name, 0, alpha[k]);
    }
    observed_free(&o);
}

static void four_rows(void **state) {
    (void)state;
    observed o = {0};
    watch_closed(&o, "rows4", 0, "rows,sinks,hidden_sinks:rule=abs,thr=0.12");
    static const double alpha[] = {.525, .5, .15, .1};
    for (int j = 0; j < 4; j++) {
        char name[32];
        snprintf(name, sizeof name, "column_mean[%d]", j);
        near(&o, name, 0, alpha[j]);
    }
    near(&o, "entropy_nats", 0, .697891);
    near(&o, "entropy_norm", 0, .673414);
    near(&o, "hidden_sinks", 0, 2);
    observed_free(&o);
}

// ---- however the rows are cut -------------------------------------------------------------------

static void results_do_not_depend_on_cuts(void **state) {
    (void)state;
    static const struct cut cuts[] = {{1, 0, 0},  {2, 4, 0}, {7, 12, 0},
                                      {64, 8, 0}, {0, 0, 1}, {3, 4, 10}};
    observed whole = {0}, cut = {0};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 3); // 41 draws of 50 ids: some occur twice
        const hs_subject s = subject_of(m, ids, LAW_T);
        watch(&whole, &s, all_specs, (struct cut){0});
        observed_has(&whole, "value_drain_out");
        observed_has(&whole, "top: 2 0 ");
        for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
            watch(&cut, &s, all_specs, cuts[k]);
            assert_string_equal(cut.text.data, whole.text.data);
        }
        hs_model_close(m);
    }
    observed_free(&whole);
    observed_free(&cut);
}

static void a_sequence_in_a_batch_is_itself(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const hs_dims dims = hs_dims_of(m);
    const int64_t lens[] = {5, 41, 17};
    const char *spec = all_specs;
    int32_t ids[3][LAW_T];
    hs_seq seq[3];
    hs_observe_list list;
    hs_observation *o[3];
    hs_hooks *hooks;
    hs_subject s[3];
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    assert_int_equal(hs_hooks_open(&hooks, &dims), HS_OK);
    for (int k = 0; k < 3; k++) {
        law_tokens(ids[k], LAW_T, (uint64_t)k + 1);
        seq[k] = (hs_seq){.tokens = ids[k], .n = lens[k]};
        s[k] = subject_of(m, ids[k], lens[k]);
        s[k].seq = k;
        assert_int_equal(hs_observation_open(&o[k], &list, &s[k]), HS_OK);
        assert_int_equal(hs_observation_hook(o[k], hooks), HS_OK);
    }
    hs_context *x = law_context(m, (hs_context_opts){.row_block = 8}, hs_hooks_tap(hooks));
    law_eval(x, &(hs_batch){.seq = seq, .n_seq = 3, .logits = HS_LOGITS_NONE});
    observed batch = {0}, alone = {0};
    for (int k = 0; k < 3; k++) {
        observed_finish(&batch, &list, o[k]);
        s[k].seq = 0;
        watch(&alone, &s[k], all_specs, (struct cut){0});
        assert_string_equal(batch.text.data, alone.text.data);
        hs_observation_close(o[k]);
    }
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_observe_free(&list);
    hs_model_close(m);
    observed_free(&batch);
    observed_free(&alone);
}

// ---- tensors and weights ------------------------------------------------------------------------

// |v_j W_O^h| by the definition.
static double out_norm(const hs_model *m, int layer, int head, const float *v) {
    const hs_config *c = hs_model_config(m);
    double sum = 0;
    float *row = calloc((size_t)(c->n_head * c->d_head), sizeof *row);
    for (int64_t n = 0; n < c->d_model; n++) {
        double dot = 0;
        assert_int_equal(hs_model_weight_row(m, HS_W_O, layer, n, row), HS_OK);
        for (int64_t k = 0; k < c->d_head; k++)
            dot += (double)v[k] * (double)row[head * c->d_head + k];
        sum += dot * dot;
    }
    free(row);
    return sqrt(sum);
}

static void drains_are_ratios_of_norms(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        cap run;
        observed o = {0};
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        law_run(&run, m, (hs_context_opts){0}, 1, LAW_T);
        const hs_subject s = subject_of(m, ids, LAW_T);
        hs_subject more = s; // rows that might have come and did not
        more.n_row = LAW_T + 2;
        observed o_more = {0};
        watch(&o, &s, "drains", (struct cut){0});
        watch(&o_more, &more, "drains", (struct cut){0});
        assert_string_equal(o.text.data, o_more.text.data);
        observed_free(&o_more);
        for (int l = 0; l < c->n_layer; l++)
            for (int h = 0; h < c->n_head; h++) {
                const int64_t kv = h / (c->n_head / c->n_kv_head) * c->d_head;
                double plain[LAW_T], out[LAW_T], others = 0, others_out = 0;
                char what[64];
                for (int j = 0; j < LAW_T; j++) {
                    const float *v = law_row(&run, l, HS_V, j) + kv;
                    plain[j] = 0;
                    for (int64_t k = 0; k < c->d_head; k++) plain[j] += (double)v[k] * (double)v[k];
                    plain[j] = sqrt(plain[j]);
                    out[j] = out_norm(m, l, h, v);
                    others += j ? plain[j] / (LAW_T - 1) : 0;
                    others_out += j ? out[j] / (LAW_T - 1) : 0;
                }
                snprintf(what, sizeof what, "value_drain L%dH%d", l, h);
                observed_near(&o, what, plain[0] / others, 1e-12);
                snprintf(what, sizeof what, "value_drain_out L%dH%d", l, h);
                observed_near(&o, what, out[0] / others_out, 1e-9);
                snprintf(what, sizeof what, "value_out_norm[7] L%dH%d", l, h);
                observed_near(&o, what, out[7], 1e-9 * out[7]);
            }
        observed_free(&o);
        cap_close(&run);
        hs_model_close(m);
    }
}

static void the_largest_activation_is_found(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        cap run;
        observed o = {0};
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        law_run(&run, m, (hs_context_opts){0}, 1, LAW_T);
        const hs_subject s = subject_of(m, ids, LAW_T);
        watch(&o, &s, "massive", (struct cut){0});
        for (int l = 0; l < c->n_layer; l++) {
            int top = 0, channel = 0;
            for (int r = 0; r < LAW_T; r++)
                for (int k = 0; k < c->d_model; k++)
                    if (fabsf(law_row(&run, l, HS_RESID_POST, r)[k]) >
                        fabsf(law_row(&run, l, HS_RESID_POST, top)[channel])) {
                        top = r;
                        channel = k;
                    }
            char line[128];
            snprintf(line, sizeof line, "top: %d 0 %d %d %.17g ", l, top, channel,
                     (double)law_row(&run, l, HS_RESID_POST, top)[channel]);
            observed_has(&o, line);
        }
        observed_free(&o);
        cap_close(&run);
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_induction_model),
        cmocka_unit_test(uniform_rows),
        cmocka_unit_test(four_rows),
        cmocka_unit_test(results_do_not_depend_on_cuts),
        cmocka_unit_test(a_sequence_in_a_batch_is_itself),
        cmocka_unit_test(drains_are_ratios_of_norms),
        cmocka_unit_test(the_largest_activation_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
