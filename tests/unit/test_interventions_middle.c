// middle on made-up maps: against a plain reference, worked numbers, and what it must leave; and the
// dummies by which the bias of places is measured.
#include "tests/unit/iv_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analyses/looks.h"
#include "tests/lib/edited.h"

static map random_pattern(uint64_t seed) {
    map m = {.layer = 1, .head = 2};
    random_numbers(m.a, T * LD, seed);
    for (int i = 0; i < T; i++) {
        float sum = 0;
        for (int j = 0; j <= i; j++) sum += m.a[i * LD + j] = fabsf(m.a[i * LD + j]);
        for (int j = 0; j <= i; j++) m.a[i * LD + j] /= sum;
    }
    return m;
}

static void run_tiles(const rig *r, map *m, int height) {
    for (int row0 = 0; row0 < T; row0 += height)
        show(r, m, HS_PATTERN, m->a, row0, row0 + height < T ? height : T - row0, HS_OK);
}

// ---- worked numbers -----------------------------------------------------------------------------

// Documents 1:3 and 3:7 of means .1 and .05, of .4 together; .6 elsewhere.
static const float given[9] = {.3f, .15f, .05f, .05f, .05f, .02f, .08f, .2f, .1f};

static void check_worked(const char *spec, double first, double second) {
    map m = random_pattern(3);
    rig r;
    memcpy(m.a + 8 * LD, given, sizeof given);
    open_rig(&r, &dims, spec, NULL);
    run_tiles(&r, &m, T);
    for (int j = 0; j < 9; j++) {
        const double want = (double)given[j] * (j == 0 || j >= 7 ? 1
                                                : j < 3          ? first / .1
                                                                 : second / .05);
        if (fabs((double)m.a[8 * LD + j] - want) > 1e-6)
            fail_msg("%s: key %d: %.9g, not %.9g", spec, j, (double)m.a[8 * LD + j], want);
    }
    close_rig(&r);
}

static void worked_rows(void **state) {
    (void)state;
    // 2 a1 + 4 a2 = .4; equal once the bias is taken off.
    check_worked("middle:L*,docs=1:3+3:7,bias=.06+.01", .4 / 6, .4 / 6);
    check_worked("middle:L*,docs=1:3+3:7,bias=.06+.01,rule=softmax,by=.5", (.1 + .4 / 6) / 2,
                 (.05 + .4 / 6) / 2);
    check_worked("middle:L*,docs=1:3+3:7,bias=.06+.01,by=0", .1, .05);
    // (a - b) / t is .1 / .1 and .05 / .1: e^1 : e^.5, and t = 1.5 rows' means of .4 / 6 is the same.
    const double e = exp(.5), c = .4 / (2 * e + 4);
    check_worked("middle:L*,docs=1:3+3:7,bias=0+0,t=.1,t_of=weight", c * e, c);
    check_worked("middle:L*,docs=1:3+3:7,bias=0+0,t=1.5", c * e, c);
    // a - b + mean b: .1 - .03 + .02 = .09 and .05 - .01 + .02 = .06, scaled from .42 to .4.
    check_worked("middle:L*,docs=1:3+3:7,bias=.03+.01,rule=shift", .09 * .4 / .42, .06 * .4 / .42);
    check_worked("middle:L*,docs=1:3+3:5+5:7,bias=.03+.015+.015,rule=shift", .09, .055);
    check_worked("middle:L*,docs=1:3+3:7,bias=.4+0,rule=shift", 0, .1); // cut off at 0
    check_worked("middle:L*,docs=3:7+1:3,bias=.01+.03,rule=shift", .09 * .4 / .42, .06 * .4 / .42);
}

// ---- a plain reference ---------------------------------------------------------------------------

static void want_row(const float *row, const double *bias, double t, double by, double *want) {
    static const int from[3] = {1, 3, 6}, to[3] = {3, 6, 8};
    double a[3] = {0}, e[3], all = 0, sum = 0;
    for (int k = 0; k < 3; k++) {
        for (int j = from[k]; j < to[k]; j++) a[k] += (double)row[j] / (to[k] - from[k]);
        all += a[k] * (to[k] - from[k]);
    }
    for (int k = 0; k < 3; k++)
        sum += (to[k] - from[k]) * (e[k] = exp((a[k] - bias[k]) * 7 / all / t));
    for (int k = 0; k < 3; k++)
        for (int j = from[k]; j < to[k]; j++)
            want[j] = (double)row[j] * (1 - by + by * e[k] / sum * all / a[k]);
}

static void as_the_reference(void **state) {
    (void)state;
    double look[2 * N_HEAD * 3];
    for (int i = 0; i < 2 * N_HEAD * 3; i++) look[i] = i * .001; // of every head another one
    for (uint64_t seed = 0; seed < 20; seed++) {
        const hs_ref ref = {.look = look};
        const map before = random_pattern(seed);
        map m = before;
        rig r;
        open_rig(&r, &dims, "middle:L1H2,docs=1:3+3:6+6:8,t=0.5,by=0.75", &ref);
        run_tiles(&r, &m, 1 + (int)(seed % 4) * 4);
        for (int i = 0; i < T; i++) {
            double want[LD], sum = 0;
            for (int j = 0; j < LD; j++) want[j] = (double)before.a[i * LD + j];
            if (i >= 8) want_row(before.a + i * LD, look + (N_HEAD + 2) * 3, .5, .75, want);
            for (int j = 0; j < LD; j++) {
                assert_true(fabs((double)m.a[i * LD + j] - want[j]) <= (i < 8 ? 0 : 2e-7));
                sum += j <= i ? (double)m.a[i * LD + j] : 0;
            }
            assert_true(fabs(sum - 1) < 1e-6);
        }
        close_rig(&r);
    }
}

// Documents that have no weight keep none; with none at all the row is left.
static void without_weight(void **state) {
    (void)state;
    map m = random_pattern(2), before;
    rig r;
    for (int j = 1; j < 3; j++) m.a[9 * LD + j] = 0;
    for (int j = 1; j < 7; j++) m.a[10 * LD + j] = 0;
    before = m;
    open_rig(&r, &dims, "middle:L1,docs=1:3+3:5+5:7,bias=0+0+9,t_of=weight", NULL);
    run_tiles(&r, &m, T);
    double sum = 0;
    for (int j = 1; j < 7; j++) sum += (double)(before.a[9 * LD + j] - m.a[9 * LD + j]);
    assert_true(fabs(sum) < 1e-6);
    for (int j = 1; j < 3; j++) assert_true(m.a[9 * LD + j] == 0);
    assert_memory_not_equal(m.a + 9 * LD, before.a + 9 * LD, LD * sizeof *m.a);
    assert_memory_equal(m.a + 10 * LD, before.a + 10 * LD, LD * sizeof *m.a);
    close_rig(&r);
}

static void refusals(void **state) {
    (void)state;
    refused("middle:L0", HS_EARG, "say which documents");
    refused("middle:L0,docs=2:5", HS_ERANGE, "two documents at least");
    refused("middle:L0,docs=2:5+30?", HS_ERANGE, "two documents at least");
    refused("middle:L0,docs=2:5+4:7", HS_ERANGE, "documents 0 and 1 overlap, at 2:5 and 4:7");
    refused("middle:L0,docs=5:7+0:2+1:3", HS_ERANGE, "documents 1 and 2 overlap");
    refused("middle:L0,docs=2:5+5:7,bias=1", HS_ERANGE, "bias= has 1 numbers for 2 documents");
    refused("middle:L0,docs=2:5+5:7,bias=1+x", HS_EARG, "bias=1+x");
    refused("middle:L0,docs=2:5+5:7,bias=1+", HS_EARG, "bias=");
    refused("middle:L0,docs=2:5+5:7,bias=1+nan", HS_EARG, "bias=");
    refused("middle:L0,docs=2:5+5:7,bias=1+1e999", HS_EARG, "bias=");
    refused("middle:L0,docs=2:5+5:7,bias=1+1,dummy=3", HS_EARG, "dummy= is for bias=auto");
    refused("middle:L0,docs=2:5+5:7,rule=shift,t=2", HS_EARG, "t= is for rule=softmax");
    refused("middle:L0,docs=2:5+5:", HS_ERANGE, "no row comes after");
    refused("middle:L0,docs=2:5+5:99", HS_ERANGE, "5:99");
    refused("middle:L0,docs=2:5+doc2", HS_ENOTFOUND, "doc2");
    refused("middle:L0,docs=2:5+5:7,by=1.5", HS_EARG, "by");
    refused("middle:L0,docs=2:5+5:7,t=0", HS_EARG, "t=0");
}

// ---- dummies ------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    return *(const int32_t *)a - *(const int32_t *)b;
}

// Each document gets the same mixture, everything that was there is there, and nothing else changes.
static void scattered(void **state) {
    (void)state;
    for (int len = 1; len < 40; len++) {
        enum { MOST = 130 };
        hs_range at[3] = {{2, 2 + len}, {2 + 2 * len, 2 + 3 * len}, {2 + len, 2 + 2 * len}};
        const hs_places docs = {.at = at, .n = 3};
        int32_t from[MOST], to[MOST];
        for (int i = 0; i < MOST; i++) from[i] = to[i] = 1000 + i;
        hs_looks_dummy(to, from, &docs, -1);
        for (int d = 0; d < 3; d++)
            for (int e = 0; e < 3 && len >= 6; e++) {
                int n = 0;
                for (int64_t j = at[d].from; j < at[d].to; j++)
                    n += to[j] >= 1000 + at[e].from && to[j] < 1000 + at[e].to;
                assert_true(abs(3 * n - len) <= 6);
            }
        qsort(to, MOST, sizeof *to, by_value);
        assert_memory_equal(to, from, sizeof to);
        hs_looks_dummy(to, from, &docs, 7);
        for (int i = 0; i < MOST; i++)
            assert_int_equal(to[i], i >= 2 && i < 2 + 3 * len ? 7 : 1000 + i);
    }
}

// What is measured is the mean of the maps of the prompt with dummies; once.
static void looks_are_of_the_dummy_prompt(void **state) {
    (void)state;
    enum { DUMMY = 3 };
    hs_model *m = law_model(0);
    int32_t ids[LAW_T];
    hs_range at[2] = {{2, 9}, {9, 12}};
    const hs_places docs = {.at = at, .n = 2};
    const double *look, *again;
    hs_looks looks = {0};
    cap c;
    law_tokens(ids, LAW_T, 1);
    const hs_prompt prompt = {.id = "p", .tokens = ids, .n_token = LAW_T};
    must(hs_looks_get(&looks, m, &prompt, 4, &docs, DUMMY, &look));
    must(hs_looks_get(&looks, m, &prompt, 4, &docs, DUMMY, &again));
    assert_ptr_equal(look, again);
    must(hs_looks_get(&looks, m, &prompt, 4, &docs, -1, &again));
    assert_ptr_not_equal(look, again);
    must(hs_looks_get(&looks, m, &prompt, 5, &docs, DUMMY, &again));
    assert_int_equal(looks.n, 3);
    for (int i = 2; i < 12; i++) ids[i] = DUMMY;
    cap_open(&c, m, LAW_N_CTX);
    hs_context *x = law_context(m, (hs_context_opts){0}, &c.tap);
    const hs_seq seq = {.tokens = ids, .n = LAW_T};
    law_eval(x, &(hs_batch){.seq = &seq, .n_seq = 1});
    for (int l = 0; l < c.cfg->n_layer; l++)
        for (int64_t h = 0; h < c.cfg->n_head; h++)
            for (int d = 0; d < 2; d++) {
                const float *a = c.at[0][l][HS_PATTERN].data + h * c.t_max * c.t_max;
                double sum = 0;
                for (int64_t i = 12; i < LAW_T; i++)
                    for (int64_t j = at[d].from; j < at[d].to; j++)
                        sum += (double)a[i * c.t_max + j];
                sum /= (double)((at[d].to - at[d].from) * (LAW_T - 12));
                assert_true(fabs(look[(l * c.cfg->n_head + h) * 2 + d] - sum) < 1e-9);
            }
    hs_context_close(x);
    hs_looks_free(&looks);
    cap_close(&c);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_rows),    cmocka_unit_test(as_the_reference),
        cmocka_unit_test(without_weight), cmocka_unit_test(refusals),
        cmocka_unit_test(scattered),      cmocka_unit_test(looks_are_of_the_dummy_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
