// The race on tables of numbers: the right units under a fifth of the cost, claims that hold, exact
// answers when everything is measured, and quantiles of Student's t.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/sweep/race.h"
#include "analyses/sweep/student.h"
#include "model/core/prng.h"

enum { N = 270, P = 64, K = 20 };

// ---- a table of changes -------------------------------------------------------------------------

struct table {
    int64_t n_unit, n_prompt, measured;
    double *x;     // [n_unit][n_prompt]
    double *guess; // [n_prompt][n_unit]
    uint8_t *seen;
};

static void open_table(struct table *t, int64_t n_unit, int64_t n_prompt) {
    const size_t n = (size_t)(n_unit * n_prompt);
    *t = (struct table){n_unit, n_prompt, 0, calloc(n, 8), calloc(n, 8), calloc(n, 1)};
}

static void close_table(struct table *t) {
    free(t->x);
    free(t->guess);
    free(t->seen);
}

// Each change is asked for once, prompts and units in order.
static int measure(void *ctx, const int64_t *prompt, int64_t n, const int64_t *unit, int64_t n_unit,
                   double *change) {
    struct table *t = ctx;
    for (int64_t i = 0; i < n; i++)
        for (int64_t u = 0; u < n_unit; u++) {
            const int64_t at = unit[u] * t->n_prompt + prompt[i];
            assert_true(unit[u] < t->n_unit && prompt[i] < t->n_prompt && !t->seen[at]);
            assert_true((!i || prompt[i] > prompt[i - 1]) && (!u || unit[u] > unit[u - 1]));
            t->seen[at] = 1;
            change[i * n_unit + u] = t->x[at];
            t->measured++;
        }
    return HS_OK;
}

static double mean_of(const struct table *t, int64_t unit) {
    double sum = 0;
    for (int64_t p = 0; p < t->n_prompt; p++) sum += t->x[unit * t->n_prompt + p];
    return sum / (double)t->n_prompt;
}

static double error_of(const struct table *t, int64_t unit) {
    const double mean = mean_of(t, unit);
    double sum = 0;
    for (int64_t p = 0; p < t->n_prompt; p++) sum += pow(t->x[unit * t->n_prompt + p] - mean, 2);
    return sqrt(sum / (double)(t->n_prompt - 1) / (double)t->n_prompt);
}

static int down(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// The kth largest mean and the one after.
static void cut_of(const struct table *t, int64_t k, double *in, double *out) {
    double *mean = calloc((size_t)t->n_unit, sizeof *mean);
    for (int64_t u = 0; u < t->n_unit; u++) mean[u] = mean_of(t, u);
    qsort(mean, (size_t)t->n_unit, sizeof *mean, down);
    *in = mean[k - 1];
    *out = mean[k];
    free(mean);
}

// What a sweep of heads looks like: most do next to nothing, effects and spreads grow together,
// prompts differ in how much they are hurt. tails: spreads far from normal.
static void fill(struct table *t, uint64_t seed, bool tails) {
    hs_prng random = hs_prng_seed(seed);
    double weight[P];
    for (int p = 0; p < P; p++) weight[p] = exp(.5 * hs_prng_normal(&random));
    memset(t->seen, 0, (size_t)(t->n_unit * t->n_prompt));
    t->measured = 0;
    for (int64_t u = 0; u < t->n_unit; u++) {
        const double effect = .004 * exp(1.2 * hs_prng_normal(&random));
        for (int64_t p = 0; p < t->n_prompt; p++) {
            const double z = hs_prng_normal(&random), noise = tails ? exp(z) - exp(.5) : z;
            t->x[u * t->n_prompt + p] = tails ? weight[p] * (effect + (.5 * effect + .002) * noise)
                                              : effect + (.7 * effect + .002) * noise;
        }
    }
}

// Estimates as gradients give them: off by a factor that is a unit's own, and by some noise; of one
// unit in ten nothing but that.
static void guess(struct table *t, uint64_t seed) {
    hs_prng random = hs_prng_seed(seed + 100);
    for (int64_t u = 0; u < t->n_unit; u++) {
        const double factor = u % 10 ? exp(.3 * hs_prng_normal(&random)) : 0;
        for (int64_t p = 0; p < t->n_prompt; p++)
            t->guess[p * t->n_unit + u] = factor * t->x[u * t->n_prompt + p] +
                                          (u % 10 ? .002 : 1.5 * mean_of(t, u)) *
                                              hs_prng_normal(&random);
    }
}

static void race(struct table *t, const hs_race_opts *opts, uint64_t seed, hs_race_unit *out,
                 hs_race_report *report) {
    const hs_race_field field = {t->n_unit, t->n_prompt, 1, seed, measure, t};
    if (hs_race_run(&field, opts, out, report)) fail_msg("%s", hs_errmsg());
    int64_t n_in = 0;
    for (int64_t u = 0; u < t->n_unit; u++) n_in += out[u].in;
    assert_int_equal(n_in, opts->k);
    assert_int_equal(report->edits, t->measured);
    assert_int_equal(report->full, t->n_unit * t->n_prompt);
}

// ---- what is asked of it ------------------------------------------------------------------------

// Units on the wrong side of the cut, but for those whose interval holds it.
static int wrong_units(const struct table *t, const hs_race_unit *out, int64_t k) {
    double in, after;
    int wrong = 0;
    cut_of(t, k, &in, &after);
    for (int64_t u = 0; u < t->n_unit; u++) {
        const double mean = mean_of(t, u), cut = (in + after) / 2;
        wrong += out[u].in != (mean >= in) && fabs(mean - cut) > 1.96 * error_of(t, u);
    }
    return wrong;
}

static void a_fifth_of_the_cost_finds_the_units(void **state) {
    (void)state;
    struct table t;
    hs_race_unit out[N];
    hs_race_report report;
    open_table(&t, N, P);
    for (int guessed = 0; guessed < 2; guessed++)
        for (int tails = 0; tails < 2; tails++) {
            int good = 0;
            for (uint64_t seed = 0; seed < 20; seed++) {
                hs_race_opts opts = {K, .05, .2, NULL};
                fill(&t, seed, tails);
                guess(&t, seed);
                if (guessed) opts.estimate = t.guess;
                race(&t, &opts, seed, out, &report);
                assert_true(report.edits <= N * P / 5);
                assert_true(report.edits > N * P / 8); // what is granted is used
                good += wrong_units(&t, out, K) == 0;
            }
            if (good < 18) fail_msg("right in %d of 20", good);
        }
    close_table(&t);
}

static void claims_hold(void **state) {
    (void)state;
    static const double budgets[] = {0, .2, .5};
    struct table t;
    hs_race_unit out[N];
    hs_race_report report;
    open_table(&t, N, P);
    int64_t claims = 0, false_claims = 0, certain = 0, edits[2] = {0};
    for (uint64_t seed = 0; seed < 20; seed++)
        for (int b = 0; b < 6; b++) {
            const double budget = budgets[b % 3];
            double in, after;
            fill(&t, seed, false);
            guess(&t, seed);
            race(&t, &(hs_race_opts){K, .05, budget, b > 2 ? t.guess : NULL}, seed, out, &report);
            cut_of(&t, K, &in, &after);
            certain += report.certain;
            bool false_claim = false;
            for (int64_t u = 0; u < N; u++) {
                const double mean = mean_of(&t, u);
                claims += out[u].settled;
                false_claim |= out[u].settled && out[u].in != (mean >= in);
                false_claim |= mean < out[u].low - 1e-12 || mean > out[u].high + 1e-12;
            }
            false_claims += false_claim;
            if (budget > 0) continue;
            assert_true(report.certain); // all that is undecided is measured to the end
            edits[b > 2] += report.edits;
        }
    if (false_claims > 120 * .05) fail_msg("%d of 120 claim too much", (int)false_claims);
    assert_true(claims > 120 * N / 2 && certain < 120);
    assert_true(edits[0] < 20 * N * P * 4 / 5);
    assert_true(edits[1] < edits[0] / 2); // what estimates are good for
    close_table(&t);
}

static void everything_measured_is_exact(void **state) {
    (void)state;
    struct table t;
    hs_race_unit out[5];
    hs_race_report report;
    open_table(&t, 5, 3);
    const double x[5][3] = {{1, 1, 1}, {0, 5, 1}, {2, 2, 2}, {2, 1, 3}, {-9, 0, 0}};
    memcpy(t.x, x, sizeof x);
    race(&t, &(hs_race_opts){.k = 2}, 3, out, &report);
    // Means 1, 2, 2, 2, -3: ties go to the lower number.
    const bool in[] = {false, true, true, false, false};
    for (int u = 0; u < 5; u++) {
        assert_int_equal(out[u].in, in[u]);
        assert_true(out[u].settled && out[u].n == 3 && out[u].low == out[u].high);
        assert_true(fabs(out[u].mean - mean_of(&t, u)) < 1e-15);
    }
    assert_true(report.certain && report.edits == 15 && report.delta == .05);
    // All of them: known at once.
    memset(t.seen, 0, 15);
    t.measured = 0;
    race(&t, &(hs_race_opts){.k = 5}, 3, out, &report);
    for (int u = 0; u < 5; u++) assert_true(out[u].in && out[u].settled);
    close_table(&t);
}

// The interval of a unit that is settled on 4 of 8 prompts: the prediction of a fitted line.
static void bounds_are_those_of_the_line(void **state) {
    (void)state;
    struct table t;
    hs_race_unit out[3];
    hs_race_report report;
    double n = 0, sx = 0, sg = 0, sxg = 0, sgg = 0, rest = 0, of_all = 0;
    open_table(&t, 3, 8);
    for (int p = 0; p < 8; p++) {
        t.guess[p * 3] = p * p;
        t.x[p] = 100 + 2 * p * p + (p * 5 % 8 - 3.5) / 10;
        t.x[8 + p] = (p * 3 % 8) / 10.;
        t.guess[p * 3 + 1] = p % 5;
        t.x[16 + p] = -(p * 5 % 8) / 10.;
        of_all += p * p / 8.;
    }
    race(&t, &(hs_race_opts){.k = 1, .estimate = t.guess}, 3, out, &report);
    assert_true(out[0].in && out[0].settled && out[0].n == 4);
    for (int p = 0; p < 8; p++) {
        if (!t.seen[p]) continue;
        n++;
        sx += t.x[p];
        sg += p * p;
        sxg += t.x[p] * p * p;
        sgg += pow(p, 4);
    }
    const double slope = (n * sxg - sx * sg) / (n * sgg - sg * sg), zero = (sx - slope * sg) / n;
    for (int p = 0; p < 8; p++)
        if (t.seen[p]) rest += pow(t.x[p] - zero - slope * p * p, 2);
    const double lever = pow(of_all - sg / n, 2) / (sgg - sg * sg / n);
    const double error = sqrt(rest / 2 * ((1 - 4 / 8.) / 4 + lever));
    const double width = hs_student_t(.05 / 2 / 3 / 2, 2) * error; // 3 units, 2 rounds
    assert_true(fabs(out[0].mean - (zero + slope * of_all)) < 1e-9 && lever > .01);
    assert_true(fabs(out[0].high - out[0].mean - width) < 1e-9);
    assert_true(fabs(out[0].mean - out[0].low - width) < 1e-9);
    close_table(&t);
}

// Changes that are nearly always the same, as accuracies are, settle nothing before the end.
static void equal_values_have_no_spread(void **state) {
    (void)state;
    struct table t;
    hs_race_unit out[8];
    hs_race_report report;
    open_table(&t, 8, 32);
    for (int u = 0; u < 8; u++)
        for (int p = 0; p < 32; p++) t.x[u * 32 + p] = u < 4 ? 1. / 32 : p % 13 == u;
    race(&t, &(hs_race_opts){.k = 4}, 1, out, &report);
    for (int u = 0; u < 8; u++) assert_int_equal(out[u].in, u > 3);
    assert_true(report.certain);
    close_table(&t);
}

// What falls when a unit is lost counts downwards.
static void harm_may_be_a_fall(void **state) {
    (void)state;
    struct table t;
    hs_race_unit out[40];
    hs_race_report report;
    open_table(&t, 40, 32);
    for (int64_t u = 0; u < 40; u++)
        for (int64_t p = 0; p < 32; p++)
            t.x[u * 32 + p] = (u == 7 || u == 30 ? -1 : .5) + .01 * (double)((u + p * 7) % 5);
    const hs_race_field field = {40, 32, -1, 1, measure, &t};
    assert_int_equal(hs_race_run(&field, &(hs_race_opts){.k = 2}, out, &report), HS_OK);
    for (int u = 0; u < 40; u++) assert_int_equal(out[u].in, u == 7 || u == 30);
    assert_true(out[7].mean < -.9 && out[7].low <= out[7].mean && out[7].mean <= out[7].high);
    assert_true(report.certain && report.edits < 40 * 32 / 2);
    close_table(&t);
}

// Units that estimates keep out are never measured, and nothing is said of them.
static void an_estimate_is_no_measurement(void **state) {
    (void)state;
    struct table t;
    hs_race_unit out[N];
    hs_race_report report;
    int64_t n_unseen = 0;
    open_table(&t, N, P);
    fill(&t, 1, false);
    for (int64_t i = 0; i < N * P; i++) t.guess[i] = (double)(i % N); // knows nothing
    race(&t, &(hs_race_opts){K, .05, .1, t.guess}, 1, out, &report);
    for (int u = 0; u < N; u++) {
        if (out[u].n) continue;
        n_unseen++;
        assert_true(!out[u].in && !out[u].settled && isnan(out[u].mean));
        assert_true(isinf(out[u].low) && isinf(out[u].high));
        assert_true(u < N / 2);
    }
    assert_true(n_unseen > 0);
    assert_false(report.certain);
    close_table(&t);
}

static void refuses(const hs_race_opts *opts, int64_t n_prompt, const char *says) {
    struct table t;
    hs_race_unit out[N];
    hs_race_report report;
    open_table(&t, N, P);
    const hs_race_field field = {N, n_prompt, 1, 1, measure, &t};
    assert_int_equal(hs_race_run(&field, opts, out, &report), HS_EARG);
    if (!strstr(hs_errmsg(), says)) fail_msg("'%s'", hs_errmsg());
    close_table(&t);
}

static void bad_races_say_why(void **state) {
    (void)state;
    refuses(&(hs_race_opts){.k = 0}, P, "give 1 to 270");
    refuses(&(hs_race_opts){.k = N + 1}, P, "give 1 to 270");
    refuses(&(hs_race_opts){.k = 1, .delta = 1}, P, "probability");
    refuses(&(hs_race_opts){.k = 1, .delta = NAN}, P, "probability");
    refuses(&(hs_race_opts){.k = 1, .budget = 1.5}, P, "budget of 1.5");
    refuses(&(hs_race_opts){.k = 1, .budget = .01}, P, "does not measure 270 units once");
    refuses(&(hs_race_opts){.k = 1}, 0, "no prompts");
}

// ---- Student's t --------------------------------------------------------------------------------

static void quantiles_are_those_of_the_tables(void **state) {
    (void)state;
    static const struct {
        double tail;
        int64_t df;
        double t;
    } table[] = {{.25, 1, 1},
                 {.025, 1, 12.706204736},
                 {.025, 3, 3.182446305},
                 {.025, 10, 2.228138852},
                 {.0005, 7, 5.407882521},
                 {.005, 30, 2.749995654},
                 {.025, 1000, 1.962339081},
                 {.05, 2, 2.91998558},
                 {.5, 4, 0},
                 {1e-6, 63, 5.237200199},
                 {.025, 1000000, 1.959966357},
                 {1e-9, 7, 38.70598064},
                 {1e-5, 15, 6.108867895},
                 {1e-12, 3, 10331.10824}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double t = hs_student_t(table[i].tail, table[i].df);
        if (fabs(t - table[i].t) > 1e-6 * (1 + table[i].t))
            fail_msg("t(%g, %d) = %.9g", table[i].tail, (int)table[i].df, t);
    }
    // Far out: 1 df has 1 / (pi tail), 2 df sqrt(1 / (2 tail)) nearly.
    assert_true(fabs(hs_student_t(1e-9, 1) * 3.14159265358979e-9 - 1) < 1e-6);
    assert_true(fabs(hs_student_t(1e-9, 2) * sqrt(2e-9) - 1) < 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fifth_of_the_cost_finds_the_units),
        cmocka_unit_test(claims_hold),
        cmocka_unit_test(everything_measured_is_exact),
        cmocka_unit_test(bounds_are_those_of_the_line),
        cmocka_unit_test(equal_values_have_no_spread),
        cmocka_unit_test(harm_may_be_a_fall),
        cmocka_unit_test(an_estimate_is_no_measurement),
        cmocka_unit_test(bad_races_say_why),
        cmocka_unit_test(quantiles_are_those_of_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
