// Calibration without a model: methods as specs, candidates and their race, verdicts.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/calibrate.h"

enum { N_LAYER = 3, N_HEAD = 4 };
static const hs_dims dims = {.n_layer = N_LAYER, .n_head = N_HEAD, .n_kv_head = 2};

static hs_heads heads_of(const char *sel) {
    hs_heads h;
    if (hs_heads_parse(&h, &dims, sel)) fail_msg("%s", hs_errmsg());
    return h;
}

// The specs of a strength, joined by '|'.
static void specs_are(const char *method, int strength, const char *sel, const int *group,
                      const char *want) {
    hs_calibrate c;
    hs_heads h = heads_of(sel);
    hs_buf got = {0};
    int n;
    if (hs_calibrate_open(&c, method)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_calibrate_specs(&c, strength, &h, group, &got, &n), HS_OK);
    for (size_t i = 0; i + 1 < got.len; i++)
        if (!got.data[i]) got.data[i] = '|';
    assert_string_equal(got.len ? got.data : "", want);
    int count = *want != 0;
    for (const char *s = want; *s; s++) count += *s == '|';
    assert_int_equal(n, count);
    hs_buf_free(&got);
    hs_heads_free(&h);
    hs_calibrate_close(&c);
}

static void refuses(const char *method, int rc, const char *says) {
    hs_calibrate c;
    const int got = hs_calibrate_open(&c, method);
    if (got != rc || !strstr(hs_errmsg(), says)) fail_msg("%s: %d '%s'", method, got, hs_errmsg());
    hs_calibrate_close(&c);
}

static void heads_are_ranges(void **state) {
    (void)state;
    static const char *const same[] = {"L0H0", "L0H1-2+L2H3", "L1H*", "L0H0+L0H2-3+L1H*+L2H1"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        hs_heads h = heads_of(same[i]);
        hs_buf got = {0};
        hs_calibrate_heads(&got, &h);
        assert_string_equal(got.data, same[i]);
        hs_buf_free(&got);
        hs_heads_free(&h);
    }
}

static void specs_of_strengths(void **state) {
    (void)state;
    specs_are("ssa", 0, "L0H1", NULL, "temper:L0H1,log=0.0113");
    specs_are("ssa:c=0.5+2", 1, "L0H1+L2H*", NULL, "temper:L0H1+L2H*,log=2");
    specs_are("stream:s=2,w=8", 0, "L1H0", NULL, "mask:sink_recent,s=2,w=8,heads=L1H0");
    specs_are("boost:span=doc+3:5,alpha=0.2", 0, "L1H0", NULL,
              "boost:doc+3:5,alpha=0.2,rows=after,heads=L1H0");
    // A part whose parameter is empty is left out.
    specs_are("boost:rows=,alpha=1", 0, "L1H0", NULL, "boost:doc,alpha=1,heads=L1H0");
    const int group[N_LAYER * N_HEAD] = {0, 1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1};
    specs_are("temper:sharp=0.5+0.9,flat=2+1.1", 1, "L0H*+L2H2", group,
              "temper:L0H0+L0H3,t=0.9|temper:L0H1+L2H2,t=1.1");
    specs_are("temper", 0, "L2H2", group, "temper:L2H2,t=1.4");
    specs_are("temper", 0, "L0H2", group, ""); // of neither
}

static void strengths_by_name(void **state) {
    (void)state;
    hs_calibrate c;
    assert_int_equal(hs_calibrate_open(&c, "temper:sharp=0.5+0.9,flat=2+1.1"), HS_OK);
    assert_int_equal(c.n_strength, 2);
    assert_string_equal(c.strength[0], "sharp=0.5,flat=2");
    assert_string_equal(c.strength[1], "sharp=0.9,flat=1.1");
    hs_calibrate_close(&c);
}

static void what_is_refused(void **state) {
    (void)state;
    refuses("nothing", HS_ENOTFOUND, "'nothing' is not a calibration: there are ");
    refuses("ss", HS_ENOTFOUND, "is not a calibration");
    refuses("ssa:x=1", HS_EARG, "x");
    refuses("ssa:c=1+2+1", HS_EARG, "ssa: c=1 is given twice");
    refuses("temper:sharp=0.5+0.6,flat=2", HS_EARG, "flat has 1 values");
    refuses("ssa:c=1+2+3+4+5+6+7+8+9+10+11+12+13+14+15+16+17", HS_EARG, "at most 16");
}

// ---- candidates ---------------------------------------------------------------------------------

// Heads that gain, best first, as sets of 1, 2, 4 and all of them.
static void sets_are_nested(void **state) {
    static const char *const heads[] = {"L2H1", "L0H0+L2H1", "L0H0+L1H2-3+L2H1",
                                        "L0H0+L1H2-3+L2H1-2", "L1H0"};
    double estimate[3][N_LAYER * N_HEAD] = {{0}};
    hs_candidates c;
    hs_calibrate method;
    (void)state;
    estimate[0][9] = -5;
    estimate[0][0] = -4;
    estimate[0][6] = estimate[0][7] = -2;
    estimate[0][10] = -1;
    estimate[0][3] = 7;
    estimate[1][2] = 1;
    estimate[2][4] = -1;
    estimate[2][5] = (double)NAN;
    assert_int_equal(hs_calibrate_open(&method, "ssa:c=1+2+3"), HS_OK);
    assert_int_equal(hs_candidates_open(&c, &method, &dims, NULL, estimate[0]), HS_OK);
    assert_int_equal(c.n, 5);
    for (int i = 0; i < c.n; i++) {
        char want[80];
        snprintf(want, sizeof want, "temper:%s,log=%d", heads[i], i < 4 ? 1 : 3);
        assert_int_equal(c.at[i].n_spec, 1);
        assert_string_equal(c.at[i].spec[0], want);
        assert_int_equal(c.at[i].strength, i < 4 ? 0 : 2);
        assert_int_equal(c.at[i].n_head, hs_heads_count(&c.at[i].heads));
    }
    hs_candidates_close(&c);
    hs_calibrate_close(&method);
}

enum { N_CAND = 6, RACE_ITEMS = 16 };

// Candidate c loses (c + 1) / 10 less than the baseline's 2, but for the last, which is worse later.
static void fill_race(double value[RACE_ITEMS][1 + N_CAND]) {
    for (int i = 0; i < RACE_ITEMS; i++)
        for (int c = -1; c < N_CAND; c++) value[i][1 + c] = 2 - (c + 1) / 10.;
    for (int i = 8; i < RACE_ITEMS; i++) value[i][N_CAND] = 5;
}

static void races_are_cut_twice(void **state) {
    double value[RACE_ITEMS][1 + N_CAND];
    bool alive[N_CAND];
    (void)state;
    fill_race(value);
    assert_int_equal(hs_candidates_cut(RACE_ITEMS, 0), 4);
    assert_int_equal(hs_candidates_cut(RACE_ITEMS, 4), 8);
    assert_int_equal(hs_candidates_cut(RACE_ITEMS, 8), 16);
    assert_int_equal(hs_candidates_cut(7, 0), 7);
    static const char *const want[] = {"111111", "000111", "000011"};
    for (int done = 0; done <= RACE_ITEMS; done++) {
        hs_candidates_alive(N_CAND, value[0], RACE_ITEMS, done, alive);
        for (int c = 0; c < N_CAND; c++)
            assert_int_equal(alive[c], want[done < 4 ? 0 : done < 8 ? 1 : 2][c] - '0');
        // What did not run is never looked at.
        for (int c = 0; c < N_CAND && done < RACE_ITEMS; c++)
            if (!alive[c]) value[done][1 + c] = (double)NAN;
    }
    assert_int_equal(hs_candidates_best(N_CAND, value[0], RACE_ITEMS), 4);
    value[3][0] = (double)NAN; // an item without a loss
    assert_true(fabs(hs_candidates_mean(N_CAND, value[0], RACE_ITEMS, 0) - 2) < 1e-12);
    for (int i = 0; i < RACE_ITEMS; i++)
        if (i != 3) value[i][0] = 1.4;
    assert_int_equal(hs_candidates_best(N_CAND, value[0], RACE_ITEMS), -1);
}

// ---- proof --------------------------------------------------------------------------------------

enum { N_HELD = 40 };

static void verdict_is(enum hs_measure m, double shift, double noise, enum hs_verdict want,
                       const char *says) {
    double before[N_HELD], after[N_HELD];
    hs_gain g;
    hs_buf text = {0};
    for (int i = 0; i < N_HELD; i++) {
        before[i] = i * .7;
        after[i] = before[i] + shift + (i % 2 ? noise : -noise);
    }
    assert_int_equal(hs_gain_of(&g, m, before, after, 1, N_HELD, 1), HS_OK);
    assert_int_equal(g.verdict, want);
    assert_true(fabs(g.calibrated - g.baseline - shift) < 1e-12);
    assert_true(g.low <= g.calibrated - g.baseline && g.calibrated - g.baseline <= g.high);
    hs_gain_text(&text, &g);
    if (!strstr(text.data, says)) fail_msg("%s", text.data);
    hs_buf_free(&text);
}

static void verdicts(void **state) {
    (void)state;
    verdict_is(HS_MEASURE_CHOICE_NLL, -.1, .2, HS_VERDICT_HELPS, "helps: choice_nll -0.1000 [-0.");
    verdict_is(HS_MEASURE_CHOICE_NLL, .1, .2, HS_VERDICT_HARMS, "harms: choice_nll +0.1000 [+0.");
    verdict_is(HS_MEASURE_CHOICE_NLL, -.01, .2, HS_VERDICT_NONE,
               "no difference that 40 items can show: choice_nll -0.0100 [-0.");
    verdict_is(HS_MEASURE_ACCURACY, .1, .2, HS_VERDICT_HELPS, "on 40 held-out items");
    verdict_is(HS_MEASURE_ACCURACY, -.1, .2, HS_VERDICT_HARMS, "harms: accuracy");
    verdict_is(HS_MEASURE_ENTROPY, .1, .2, HS_VERDICT_NONE, "no difference");
    verdict_is(HS_MEASURE_NLL, 0, 0, HS_VERDICT_NONE, "[+0.0000, +0.0000]");
}

// Items that lack a number on either side are no pairs; few pairs show nothing, however alike.
static void few_items(void **state) {
    const double before[] = {1, (double)NAN, 3}, after[] = {0, 1, (double)NAN};
    hs_buf text = {0};
    hs_gain g;
    (void)state;
    assert_int_equal(hs_gain_of(&g, HS_MEASURE_NLL, before, after, 1, 3, 1), HS_OK);
    assert_int_equal(g.n, 1);
    assert_true(g.baseline == 1 && g.calibrated == 0 && isnan(g.low));
    assert_int_equal(g.verdict, HS_VERDICT_NONE);
    hs_gain_text(&text, &g);
    assert_string_equal(text.data, "no verdict by 1 item, it takes 20: nll -1.0000");
    hs_buf_free(&text);
    double worse[HS_VERDICT_ITEMS], better[HS_VERDICT_ITEMS];
    for (int i = 0; i < HS_VERDICT_ITEMS; i++) {
        worse[i] = 2 + .01 * i;
        better[i] = 1;
    }
    for (int n = HS_VERDICT_ITEMS - 1; n <= HS_VERDICT_ITEMS; n++) {
        assert_int_equal(hs_gain_of(&g, HS_MEASURE_NLL, worse, better, 1, n, 1), HS_OK);
        assert_true(g.high < 0);
        assert_int_equal(g.verdict, n < HS_VERDICT_ITEMS ? HS_VERDICT_NONE : HS_VERDICT_HELPS);
    }
}

// F1 is of all answers together: from 8 of 16 found without a false one to all found.
static void f1_of_pairs(void **state) {
    double before[32], after[32];
    hs_gain g;
    (void)state;
    for (int i = 0; i < 32; i++) {
        before[i] = i % 2 ? 0 : i % 4 ? 2 : 3;
        after[i] = i % 2 ? 0 : 3;
    }
    assert_int_equal(hs_gain_of(&g, HS_MEASURE_F1, before, after, 1, 32, 1), HS_OK);
    assert_true(fabs(g.baseline - 2. / 3) < 1e-12 && g.calibrated == 1);
    assert_int_equal(g.verdict, HS_VERDICT_HELPS);
    assert_true(g.low > .1 && g.low < 1. / 3 && g.high > 1. / 3 && g.high < .7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_ranges),  cmocka_unit_test(specs_of_strengths),
        cmocka_unit_test(strengths_by_name), cmocka_unit_test(what_is_refused),
        cmocka_unit_test(sets_are_nested),   cmocka_unit_test(races_are_cut_twice),
        cmocka_unit_test(verdicts),          cmocka_unit_test(few_items),
        cmocka_unit_test(f1_of_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
