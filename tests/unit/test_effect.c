// Effects by hand: rows of logits whose numbers are known, answers from JSON, the bootstrap.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyses/effect.h"
#include "tests/lib/laws.h"

enum { V = 4, T = 5 };
#define ALL ((1u << HS_N_EFFECT) - 1)

static void near(double a, double b) {
    if (!(fabs(a - b) < 1e-6)) fail_msg("%.9g, not %.9g", a, b);
}

// ---- answers ------------------------------------------------------------------------------------

static hs_prompt prompt_with(const char *extra) {
    static const int32_t tokens[T] = {0, 1, 2, 3, 1};
    return (hs_prompt){.id = "p", .tokens = tokens, .n_token = T, .extra = extra};
}

static void same_ids(hs_ids got, const int32_t *want, int64_t n) {
    assert_int_equal(got.n, n);
    for (int64_t i = 0; i < n; i++) assert_int_equal(got.at[i], want[i]);
}

static void reads(const char *extra, hs_answer expected) {
    const hs_prompt p = prompt_with(extra);
    hs_arena *lists;
    hs_answer a;
    assert_int_equal(hs_arena_open(&lists), HS_OK);
    if (hs_answer_of(&a, &p, NULL, V, lists)) fail_msg("%s", hs_errmsg());
    assert_int_equal(a.answer, expected.answer);
    assert_int_equal(a.wrong, expected.wrong);
    assert_int_equal(a.end, expected.end);
    same_ids(a.answers, expected.answers.at, expected.answers.n);
    same_ids(a.wrongs, expected.wrongs.at, expected.wrongs.n);
    hs_arena_close(lists);
}

static void refuses(const char *extra, int rc, const char *says) {
    const hs_prompt p = prompt_with(extra);
    hs_arena *lists;
    hs_answer a;
    assert_int_equal(hs_arena_open(&lists), HS_OK);
    const int got = hs_answer_of(&a, &p, NULL, V, lists);
    if (got != rc || !strstr(hs_errmsg(), says) || !strstr(hs_errmsg(), "prompt 'p'"))
        fail_msg("%s: %d '%s'", extra, got, hs_errmsg());
    hs_arena_close(lists);
}

static hs_answer one(int32_t answer, int32_t wrong, int64_t end) {
    return (hs_answer){.answer = answer, .wrong = wrong, .end = end};
}

static void answers_are_read(void **state) {
    (void)state;
    reads(NULL, one(-1, -1, T - 1));
    reads("{\"answer\": 3}", one(3, -1, T - 1));
    reads("{\"wrong\": 0, \"answer\": 1, \"positions\": {\"END\": 2}}", one(1, 0, 2));
    reads("{\"positions\": {\"END\": -2, \"S\": 1}}", one(-1, -1, T - 2));
    reads("{\"answer\": 2, \"wrong\": 2}", one(2, 2, T - 1)); // no difference, and no lists
    refuses("{\"answer\": 4}", HS_EFORMAT, "answer: no token 4: the vocabulary has 4");
    refuses("{\"wrong\": -1}", HS_EFORMAT, "wrong: no token -1");
    refuses("{\"answer\": [1]}", HS_EFORMAT, "neither a token's id nor its text");
    refuses("{\"answer\": 1.5}", HS_EFORMAT, "neither");
    refuses("{\"answer\": \"x\"}", HS_EARG, "needs a tokenizer");
    refuses("{\"positions\": {\"END\": 5}}", HS_EFORMAT, "END is 5, and there are 5");
    refuses("{\"positions\": {\"END\": -6}}", HS_EFORMAT, "END is -6");
    refuses("{\"positions\": {\"END\": \"x\"}}", HS_EFORMAT, "not a whole number");
}

static void lists_of_answers_are_sets(void **state) {
    (void)state;
    static const int32_t right[] = {0, 2, 3}, wrong[] = {1};
    reads("{\"answers\": [3, 0, 2], \"wrong\": 1}",
          (hs_answer){.answer = -1, .wrong = 1, .end = T - 1, .answers = {right, 3}});
    reads("{\"answer\": 2, \"answers\": [2, 3, 0], \"wrongs\": [1]}",
          (hs_answer){
              .answer = 2, .wrong = -1, .end = T - 1, .answers = {right, 3}, .wrongs = {wrong, 1}});
    refuses("{\"answers\": []}", HS_EFORMAT, "answers: an empty list");
    refuses("{\"wrongs\": 1}", HS_EFORMAT, "wrongs: not a list");
    refuses("{\"wrongs\": {\"a\": 1}}", HS_EFORMAT, "wrongs: not a list");
    refuses("{\"answers\": [0, 4]}", HS_EFORMAT, "answers: no token 4: the vocabulary has 4");
    refuses("{\"answers\": [0, [1]]}", HS_EFORMAT, "answers: neither a token's id");
    refuses("{\"answers\": [\"x\"]}", HS_EARG, "answers: a text needs a tokenizer");
    refuses("{\"wrongs\": [2, 1, 2]}", HS_EFORMAT, "wrongs: token 2 stands there twice");
    refuses("{\"answers\": [0, 1, 2, 3, 0]}", HS_EFORMAT,
            "answers: 5 tokens: the vocabulary has 4");
    refuses("{\"answers\": [3, 1], \"wrongs\": [2, 1]}", HS_EFORMAT,
            "token 1 is one of the answers");
    refuses("{\"answers\": [3, 1], \"wrong\": 3}", HS_EFORMAT, "token 3 is one of the answers");
    refuses("{\"answer\": 0, \"wrongs\": [2, 0]}", HS_EFORMAT, "token 0 is one of the answers");
    // Whom lists do not concern, they cannot stop.
    const hs_prompt p = prompt_with("{\"answer\": 1, \"answers\": [\"long text\"]}");
    hs_answer a;
    assert_int_equal(hs_answer_of(&a, &p, NULL, V, NULL), HS_OK);
    assert_int_equal(a.answer, 1);
    same_ids(hs_answer_right(&a), (const int32_t[]){1}, 1);
    same_ids(hs_answer_wrong(&a), NULL, 0);
}

static void effects_have_names(void **state) {
    (void)state;
    unsigned e;
    assert_int_equal(hs_effects_parse(&e, "nll"), HS_OK);
    assert_int_equal(e, 1u << HS_EFFECT_NLL);
    assert_int_equal(hs_effects_parse(&e, "kl,accuracy"), HS_OK);
    assert_int_equal(e, 1u << HS_EFFECT_KL | 1u << HS_EFFECT_ACCURACY);
    assert_int_equal(hs_effects_parse(&e, "nl"), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "nll, kl, jsd, logit_diff, prob, prob_diff, accuracy"));
    assert_int_equal(hs_effects_parse(&e, "nll,"), HS_ENOTFOUND);
    assert_int_equal(hs_effects_parse(&e, ""), HS_ENOTFOUND);
}

// ---- the meter ----------------------------------------------------------------------------------

struct bench {
    hs_model *model;
    hs_prompt prompt;
    hs_meter *meter;
    hs_hooks *hooks;
};

static void open_bench(struct bench *b, hs_answer answer) {
    rand_spec spec = rand_default("llama", false);
    spec.n_vocab = V;
    b->model = law_open(&spec, NULL);
    b->prompt = prompt_with(NULL);
    const hs_dims dims = hs_dims_of(b->model);
    if (hs_meter_open(&b->meter, b->model, ALL, &(hs_meter_prompt){&b->prompt, answer}, 1))
        fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_hooks_open(&b->hooks, &dims), HS_OK);
    assert_int_equal(hs_meter_hook(b->meter, b->hooks), HS_OK);
}

static void close_bench(struct bench *b) {
    hs_hooks_close(b->hooks);
    hs_meter_close(b->meter);
    hs_model_close(b->model);
}

static void begin(struct bench *b, int64_t from, bool baseline, int64_t expect_rows) {
    const int64_t *rows;
    int64_t n;
    const hs_meter_seq seq = {0, from, 0};
    if (hs_meter_begin(b->meter, &seq, 1, baseline, &rows, &n)) fail_msg("%s", hs_errmsg());
    assert_int_equal(n, expect_rows);
    for (int64_t i = 0; i < n; i++) assert_int_equal(rows[i], i);
}

// Rows of logits from a position on, `step` a call.
static void show(struct bench *b, float (*x)[V], int64_t pos, int64_t n, int64_t step) {
    const hs_tap *tap = hs_hooks_tap(b->hooks);
    for (int64_t i = 0; i < n; i += step) {
        const int64_t k = n - i < step ? n - i : step;
        const hs_site site = {HS_LOGITS, -1, 0, pos + i, k};
        const hs_view view = hs_view_f32(x[i], k, V);
        assert_int_equal(tap->rows(tap->ctx, &site, &view, false), HS_OK);
    }
}

static double value(const struct bench *b, enum hs_effect e) {
    return hs_meter_value(b->meter, 0, e);
}

// Every row is ln of a distribution, shifted. Targets are tokens 1, 2, 3, 1.
static void numbers_are_those_of_the_hand(void **state) {
    (void)state;
    const double p[T][V] = {{.25, .25, .25, .25},
                            {.1, .2, .3, .4},
                            {.5, .25, .125, .125},
                            {.7, .1, .1, .1},
                            {.2, .3, .1, .4}};
    const double q[V] = {.4, .3, .2, .1};
    float base[T][V], edited[T][V];
    struct bench b;
    for (int t = 0; t < T; t++)
        for (int k = 0; k < V; k++) {
            base[t][k] = (float)(log(p[t][k]) + 3);
            edited[t][k] = t == 1 || t == 4 ? (float)(log(q[k]) - 2) : base[t][k];
        }
    open_bench(&b, one(1, 2, 4));
    assert_int_equal(hs_meter_rows(b.meter, 0), T);
    const double nll = -(log(.25) + log(.3) + log(.125) + log(.1)) / 4;
    for (int64_t step = 1; step <= T; step += 2) {
        begin(&b, 0, true, T);
        show(&b, base, 0, T, step);
        near(value(&b, HS_EFFECT_NLL), nll);
        assert_true(value(&b, HS_EFFECT_KL) == 0 && value(&b, HS_EFFECT_JSD) == 0);
        near(value(&b, HS_EFFECT_LOGIT_DIFF), log(.3 / .1));
        near(value(&b, HS_EFFECT_PROB), .3);
        near(value(&b, HS_EFFECT_PROB_DIFF), .3 - .1);
        near(value(&b, HS_EFFECT_ACCURACY), 0);

        // One scored row changes, and the last, which is END.
        double kl = 0, jsd = 0;
        for (int k = 0; k < V; k++) {
            const double m = (p[1][k] + q[k]) / 2;
            kl += p[1][k] * log(p[1][k] / q[k]);
            jsd += (p[1][k] * log(p[1][k] / m) + q[k] * log(q[k] / m)) / 2;
        }
        begin(&b, 0, false, T);
        show(&b, edited, 0, T, step);
        near(value(&b, HS_EFFECT_NLL), nll + (log(.3) - log(.2)) / 4);
        near(value(&b, HS_EFFECT_KL), kl / 4);
        near(value(&b, HS_EFFECT_JSD), jsd / 4);
        near(value(&b, HS_EFFECT_LOGIT_DIFF), log(.3 / .2));
        near(value(&b, HS_EFFECT_PROB), .3);
        near(hs_meter_at(b.meter, 0, HS_EFFECT_NLL, 1), -log(.2));
        near(hs_meter_at(b.meter, 0, HS_EFFECT_KL, 1), kl);
        assert_true(hs_meter_at(b.meter, 0, HS_EFFECT_KL, 2) == 0);
        const double whole = value(&b, HS_EFFECT_NLL), diverged = value(&b, HS_EFFECT_KL);

        // Without the rows before the change: to the bit the same.
        begin(&b, 1, false, T - 1);
        show(&b, edited + 1, 1, T - 1, step);
        assert_true(value(&b, HS_EFFECT_NLL) == whole && value(&b, HS_EFFECT_KL) == diverged);
        near(hs_meter_base(b.meter, 0, HS_EFFECT_NLL), nll);
        near(hs_meter_base(b.meter, 0, HS_EFFECT_LOGIT_DIFF), log(.3 / .1));
    }
    close_bench(&b);
}

static void answers_are_read_at_their_place(void **state) {
    (void)state;
    float x[T][V] = {{0}}, y[T][V] = {{0}};
    struct bench b;
    open_bench(&b, one(2, 0, 1));
    assert_int_equal(hs_meter_rows(b.meter, 0), T - 1);
    x[1][2] = 1;
    begin(&b, 0, true, T - 1);
    show(&b, x, 0, T, 2); // a row too many: ignored
    near(value(&b, HS_EFFECT_LOGIT_DIFF), 1);
    near(value(&b, HS_EFFECT_ACCURACY), 1);
    near(value(&b, HS_EFFECT_PROB), exp(1) / (3 + exp(1)));
    near(value(&b, HS_EFFECT_NLL), (3 * log(4) + log(3 + exp(1)) - 1) / 4);
    // An edit behind END: its numbers are the baseline's.
    begin(&b, 2, false, T - 3);
    show(&b, y + 2, 2, 2, 2);
    near(value(&b, HS_EFFECT_LOGIT_DIFF), 1);
    near(value(&b, HS_EFFECT_ACCURACY), 1);
    // A tie goes to the lowest id.
    y[1][2] = y[1][1] = 1;
    begin(&b, 0, false, T - 1);
    show(&b, y, 0, T - 1, T);
    near(value(&b, HS_EFFECT_ACCURACY), 0);
    y[1][1] = 0;
    y[1][3] = 1;
    begin(&b, 0, false, T - 1);
    show(&b, y, 0, T - 1, T);
    near(value(&b, HS_EFFECT_ACCURACY), 1);
    close_bench(&b);
}

// Two right tokens and two wrong ones, of which neither the answer nor the wrong one comes first.
static void sets_of_answers(void **state) {
    (void)state;
    static const int32_t right[] = {0, 3}, wrong[] = {1, 2};
    const double p[V] = {.4, .3, .1, .2};
    float x[T][V];
    struct bench b;
    for (int t = 0; t < T; t++)
        for (int k = 0; k < V; k++) x[t][k] = (float)log(p[k]) + 7;
    open_bench(&b, (hs_answer){.answer = 3, .wrong = 2, .end = 4, .answers = {right, 2}});
    begin(&b, 0, true, T);
    show(&b, x, 0, T, T);
    near(value(&b, HS_EFFECT_LOGIT_DIFF), log(.2 / .1));
    near(value(&b, HS_EFFECT_PROB), .6);
    near(value(&b, HS_EFFECT_PROB_DIFF), .6 - .1);
    near(value(&b, HS_EFFECT_ACCURACY), 1);
    close_bench(&b);
    // The same the other way round, and what is about one of each is not there to be measured.
    const unsigned sets = 1u << HS_EFFECT_PROB | 1u << HS_EFFECT_PROB_DIFF |
                          1u << HS_EFFECT_ACCURACY;
    const hs_answer lists = {
        .answer = -1, .wrong = -1, .end = 4, .answers = {wrong, 2}, .wrongs = {right, 2}};
    open_bench(&b, one(1, 2, 4));
    hs_meter_close(b.meter);
    hs_hooks_close(b.hooks);
    const hs_dims dims = hs_dims_of(b.model);
    const hs_meter_prompt in = {&b.prompt, lists};
    assert_int_equal(hs_meter_open(&b.meter, b.model, sets, &in, 1), HS_OK);
    assert_int_equal(hs_hooks_open(&b.hooks, &dims), HS_OK);
    assert_int_equal(hs_meter_hook(b.meter, b.hooks), HS_OK);
    const hs_meter_seq seq = {0, 0, 0};
    const int64_t *rows;
    int64_t n;
    assert_int_equal(hs_meter_begin(b.meter, &seq, 1, true, &rows, &n), HS_OK);
    assert_true(n == 1 && rows[0] == 4);
    show(&b, x, 0, T, T);
    near(value(&b, HS_EFFECT_PROB), .4);
    near(value(&b, HS_EFFECT_PROB_DIFF), .4 - .6);
    near(value(&b, HS_EFFECT_ACCURACY), 0);
    hs_meter *m;
    assert_int_equal(hs_meter_open(&m, b.model, 1u << HS_EFFECT_LOGIT_DIFF, &in, 1), HS_EARG);
    close_bench(&b);
}

static void missing_things_are_told(void **state) {
    (void)state;
    struct bench b;
    hs_meter *m;
    open_bench(&b, one(1, 2, 4));
    const hs_meter_prompt none = {&b.prompt, one(-1, 2, 4)}, no_wrong = {&b.prompt, one(1, -1, 4)};
    assert_int_equal(hs_meter_open(&m, b.model, 1u << HS_EFFECT_PROB, &none, 1), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "prompt 'p' says no \"answer\", which prob needs"));
    assert_null(m);
    assert_int_equal(hs_meter_open(&m, b.model, ALL, &no_wrong, 1), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "says no \"wrong\", which logit_diff needs"));
    assert_int_equal(hs_meter_open(&m, b.model, 1u << HS_EFFECT_PROB_DIFF, &no_wrong, 1), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "says no \"wrong\", which prob_diff needs"));
    assert_int_equal(hs_meter_open(&m, b.model, 1u << HS_EFFECT_PROB, &no_wrong, 1), HS_OK);
    assert_int_equal(hs_meter_rows(m, 0), T);
    hs_meter_close(m);
    assert_int_equal(hs_meter_open(&m, b.model, 1u << HS_EFFECT_KL, &none, 1), HS_OK);
    hs_meter_close(m);
    assert_int_equal(hs_meter_bytes(b.model, 1u << HS_EFFECT_NLL, T), 0);
    assert_int_equal(hs_meter_bytes(b.model, 1u << HS_EFFECT_JSD, T), T * V * 4);
    // Rows that never came leave no number.
    begin(&b, 0, true, T);
    assert_true(isnan(value(&b, HS_EFFECT_NLL)) && isnan(value(&b, HS_EFFECT_PROB)));
    close_bench(&b);
}

// ---- the bootstrap ------------------------------------------------------------------------------

static void bootstraps(const double *v, int64_t n, uint64_t seed, double *low, double *high) {
    assert_int_equal(hs_bootstrap(v, n, HS_BOOTSTRAP_ROUNDS, seed, HS_BOOTSTRAP_LEVEL, low, high),
                     HS_OK);
}

static void intervals_hold_the_mean(void **state) {
    (void)state;
    double v[100], low, high, low2, high2;
    for (int i = 0; i < 100; i++) v[i] = i; // mean 49.5, sd of the mean 2.887
    bootstraps(v, 100, 7, &low, &high);
    assert_true(fabs(low - (49.5 - 1.96 * 2.887)) < .5 && fabs(high - (49.5 + 1.96 * 2.887)) < .5);
    bootstraps(v, 100, 7, &low2, &high2);
    assert_true(low == low2 && high == high2);
    bootstraps(v, 100, 8, &low2, &high2);
    assert_true(low != low2 || high != high2);
    bootstraps(v, 1, 7, &low, &high);
    assert_true(isnan(low) && isnan(high));
    const double same[] = {.1, .1, .1};
    bootstraps(same, 3, 7, &low, &high);
    near(low, .1);
    near(high, .1);
    // Two values: a quarter of the means are the lower, a quarter the higher, half between.
    const double two[] = {0, 1};
    assert_int_equal(hs_bootstrap(two, 2, 2000, 1, .2, &low, &high), HS_OK);
    near(low, .5);
    near(high, .5);
    assert_int_equal(hs_bootstrap(two, 2, 2000, 1, .6, &low, &high), HS_OK);
    near(low, 0);
    near(high, 1);
}

// The share of a quotient of sums, which no mean of items gives; none when the lower sum is 0.
static double quotient(void *ctx, const int64_t *item, int64_t n) {
    const double *v = ctx; // [items][2]
    double up = 0, down = 0;
    for (int64_t i = 0; i < n; i++) {
        up += v[2 * item[i]];
        down += v[2 * item[i] + 1];
    }
    return up / down;
}

static void any_statistic_of_items(void **state) {
    (void)state;
    double v[80], low, high;
    for (int i = 0; i < 40; i++) {
        v[2 * i] = i % 2;
        v[2 * i + 1] = 1 + i % 2; // 20 of 60
    }
    assert_int_equal(hs_bootstrap_of(quotient, v, 40, 2000, 3, .95, &low, &high), HS_OK);
    assert_true(low > .2 && low < 1. / 3 && high > 1. / 3 && high < .42);
    // Resamples that have none are left out, until they are the most.
    double rare[] = {1, 4, 0, 0, 0, 0};
    assert_int_equal(hs_bootstrap_of(quotient, rare, 3, 2000, 3, .95, &low, &high), HS_OK);
    near(low, .25);
    near(high, .25);
    double never[8] = {0};
    assert_int_equal(hs_bootstrap_of(quotient, never, 4, 50, 3, .95, &low, &high), HS_OK);
    assert_true(isnan(low) && isnan(high));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(lists_of_answers_are_sets),
        cmocka_unit_test(effects_have_names),
        cmocka_unit_test(numbers_are_those_of_the_hand),
        cmocka_unit_test(answers_are_read_at_their_place),
        cmocka_unit_test(sets_of_answers),
        cmocka_unit_test(missing_things_are_told),
        cmocka_unit_test(intervals_hold_the_mean),
        cmocka_unit_test(any_statistic_of_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
