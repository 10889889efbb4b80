// The queries that set metrics of several runs side by side, on a file whose every number is put
// there by hand.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/dbfix.h"

// Heads are numbered 0 to 5, three a layer. Prompts 2k - 1 and 2k are run k's.
//     run 1   m_a in two looks, the newest (6 5 4 3 2 1) in the mean of both prompts
//     run 2   m_b with equals, m_c around zero and undefined for head 3, m_d the same everywhere
//     run 3   m_a the other way round, m_b and m_e undefined; its model's file lies elsewhere
//     run 4   m_a under an intervention
//     run 5   m_a of another model
#define PUT(run, metric, prompt, look, values)                                                     \
    "INSERT INTO head_metric SELECT p.id, '" metric                                                \
    "', v.key / 3, v.key % 3, r.id, v.value, iif(v.value IS NULL, 'none', NULL) FROM prompt AS p " \
    "JOIN json_each('[" values "]') AS v JOIN (SELECT prompt_id, " look                            \
    "(id) AS id FROM analysis_run GROUP BY prompt_id) AS r ON r.prompt_id = p.id WHERE p.run_id "  \
    "= " run " AND p.ord IN (" prompt ");"

static int set_up(void **state) {
    static const dbrun what = {.n_prompt = 2, .n_token = 12, .observe = "sinks,stripes"};
    *state = dbfix_open(
        "roles", &what, 5,
        "DELETE FROM head_metric;"
        "INSERT INTO metric VALUES ('m_a', 'metric', NULL, '', '', 0), ('m_b', 'metric', NULL, '', "
        "'', 0), ('m_c', 'metric', NULL, '', '', 1), ('m_d', 'metric', NULL, '', '', 0);"
        "INSERT INTO model SELECT 2, name, arch, 'elsewhere', format, weight_dtype, fingerprint, "
        "n_param, n_layer, n_head, n_kv_head, d_model, d_head, d_ff, n_vocab, n_ctx, points FROM "
        "model WHERE id = 1;"
        "INSERT INTO model SELECT 3, name, arch, 'third', format, weight_dtype, 'other', n_param, "
        "n_layer, n_head, n_kv_head, d_model, d_head, d_ff, n_vocab, n_ctx, points FROM model "
        "WHERE id = 1;"
        "UPDATE run SET model_id = 2 WHERE id = 3; UPDATE run SET model_id = 3 WHERE id = 5;"
        "INSERT INTO intervention VALUES (4, 0, 'ablate', 'ablate:L0H0');"
        // clang-format off
        PUT("1", "m_a", "0, 1", "min", "99, 0, 99, 0, 99, 0")
        PUT("1", "m_a", "0", "max", "7, 6, 5, 3, 2, 1")
        PUT("1", "m_a", "1", "max", "5, 4, 3, 3, 2, 1")
        PUT("2", "m_b", "0", "max", "1, 1, 2, 2, 2, 3")
        PUT("2", "m_c", "0, 1", "max", "-5, 4, 0.5, null, -1, 2")
        PUT("2", "m_d", "0", "max", "7, 7, 7, 7, 7, 7")
        PUT("3", "m_a", "0, 1", "max", "1, 2, 3, 4, 5, 6")
        PUT("3", "m_b", "0", "max", "null, null, null, null, null, null")
        PUT("3", "m_e", "0", "max", "null, null, null, null, null, null")
        PUT("4", "m_a", "0", "max", "1, 9, 2, 3, 4, 5")
        PUT("5", "m_a", "0", "max", "1, 2, 3, 4, 5, 9")
        // clang-format on
    );
    return 0;
}

static hs_cell cell(const hs_query *q, const char *column) {
    for (int i = 0; i < hs_query_columns(q); i++)
        if (strcmp(hs_query_column(q, i), column) == 0) return hs_query_cell(q, i);
    fail_msg("no column %s", column);
    return (hs_cell){0};
}

static void is(const hs_query *q, const char *column, const char *want) {
    const hs_cell c = cell(q, column);
    if (!want) {
        assert_int_equal(c.type, HS_CELL_NULL);
        return;
    }
    assert_int_equal(c.type, HS_CELL_TEXT);
    if (c.n != strlen(want) || memcmp(c.data, want, c.n) != 0)
        fail_msg("%s is %.*s, not %s", column, (int)c.n, (const char *)c.data, want);
}

static void near(const hs_query *q, const char *column, double want) {
    const hs_cell c = cell(q, column);
    if (isnan(want)) {
        assert_int_equal(c.type, HS_CELL_NULL);
        return;
    }
    assert_true(c.type == HS_CELL_NUM || c.type == HS_CELL_INT);
    if (!(fabs(c.f - want) < 1e-12)) fail_msg("%s is %.15g, not %.15g", column, c.f, want);
}

static hs_query *ask(void **state, const char *name, int64_t run, const char *a, const char *b,
                     const char *c) {
    const char *const param[] = {a, b, c};
    const int n = c ? 3 : b ? 2 : 1;
    return dbfix_query(*state, name, &(hs_query_opts){.run = run, .param = param, .n_param = n});
}

static void ends(hs_query *q) {
    assert_false(dbfix_next(q));
    hs_query_close(q);
}

// ---- runs of the same model under the same interventions ----------------------------------------

static void test_same_runs(void **state) {
    static const struct {
        int64_t run;
        const char *metric;
        int64_t want[4]; // up to 0
    } cases[] = {{1, "metric=any", {3, 2, 1}}, {3, "metric=any", {3, 2, 1}}, {4, "metric=any", {4}},
                 {5, "metric=any", {5}},       {1, "metric=m_a", {3, 1}},    {1, "metric=m_b", {2}},
                 {1, "metric=m_e", {0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_query *q = ask(state, "same_runs", cases[i].run, cases[i].metric, NULL, NULL);
        for (int k = 0; cases[i].want[k]; k++) {
            assert_true(dbfix_next(q));
            near(q, "run", (double)cases[i].want[k]);
        }
        ends(q);
    }
}

// ---- roles --------------------------------------------------------------------------------------

typedef struct role {
    const char *metric;
    int rank;
    const char *name;
    double value;
    const char *sets;
    int run;
} role;

static void roles_are(hs_query *q, const role *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(dbfix_next(q));
        is(q, "metric", want[i].metric);
        assert_int_equal(cell(q, "rank").i, want[i].rank);
        is(q, "name", want[i].name);
        near(q, "value", want[i].value);
        is(q, "sets", want[i].sets);
        assert_int_equal(cell(q, "run").i, want[i].run);
    }
    ends(q);
}
#define ROLES_ARE(q, want) roles_are(q, want, sizeof(want) / sizeof *(want))

static void test_sets(void **state) {
    static const role want[] = {{"m_a", 1, "L0H0", 6, "m_a, m_c", 1},
                                {"m_a", 2, "L0H1", 5, "m_a, m_c", 1},
                                {"m_b", 1, "L1H2", 3, "m_b", 2}, // three heads tie for the second
                                {"m_c", 1, "L0H0", -5, "m_a, m_c", 2},
                                {"m_c", 2, "L0H1", 4, "m_a, m_c", 2}};
    ROLES_ARE(ask(state, "roles", 1, "metrics=m_a,m_b,m_d,m_c", "k=2", NULL), want);
    hs_query *q = ask(state, "roles", 1, "metrics=m_b", "k=4", NULL);
    for (int i = 0; i < 4; i++) {
        assert_true(dbfix_next(q));
        assert_int_equal(cell(q, "rank").i, i ? 2 : 1);
        assert_int_equal(cell(q, "prompts").i, 1);
    }
    ends(q);
    q = ask(state, "roles", 1, "metrics=m_c", "k=100", NULL); // one is undefined
    for (int i = 0; i < 5; i++) assert_true(dbfix_next(q));
    is(q, "name", "L0H2");
    assert_int_equal(cell(q, "prompts").i, 2);
    ends(q);
}

static void test_directions(void **state) {
    static const role want[] = {
        {"-m_c", 1, "L0H0", -5, "-m_c", 2},      {"-m_c", 2, "L1H1", -1, "-m_c, -m_a", 2},
        {"+m_c", 1, "L0H1", 4, "+m_c", 2},       {"+m_c", 2, "L1H2", 2, "+m_c, -m_a", 2},
        {"-m_a", 1, "L1H2", 1, "+m_c, -m_a", 1}, {"-m_a", 2, "L1H1", 2, "-m_c, -m_a", 1}};
    static const char *const way[] = {"smallest", "largest", "smallest", "farthest from 0"};
    ROLES_ARE(ask(state, "roles", 1, "metrics=-m_c, +m_c ,-m_a", "k=2", NULL), want);
    hs_query *q = ask(state, "roles", 1, "metrics=-m_c,+m_c,-m_a,m_c", "k=1", NULL);
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        assert_true(dbfix_next(q));
        is(q, "way", way[i]);
    }
    ends(q);
}

static void test_order(void **state) {
    static const role want[] = {{"m_a", 1, "L0H0", 6, "m_a, m_c", 1},
                                {"m_c", 1, "L0H0", -5, "m_a, m_c", 2},
                                {"m_b", 1, "L1H2", 3, "m_b", 2}};
    ROLES_ARE(ask(state, "roles", 1, "metrics=m_a,m_b,m_c", "k=1", "order=head"), want);
}

// A metric comes from the run that is asked for, else from the newest of the model as it was edited.
static void test_runs(void **state) {
    static const role of_2[] = {{"m_a", 1, "L1H2", 6, "m_a", 3}};
    static const role of_4[] = {{"m_a", 1, "L0H1", 9, "m_a", 4}};
    static const role of_5[] = {{"m_a", 1, "L1H2", 9, "m_a", 5}};
    ROLES_ARE(ask(state, "roles", 2, "metrics=m_a", "k=1", NULL), of_2);
    ROLES_ARE(ask(state, "roles", 4, "metrics=m_a", "k=1", NULL), of_4);
    ROLES_ARE(ask(state, "roles", 5, "metrics=m_a", "k=1", NULL), of_5);
    // None of the usual metrics is there.
    ends(ask(state, "roles", 1, "metrics=usual", NULL, NULL));
}

static void test_missing(void **state) {
    static const struct {
        int64_t run;
        const char *metrics, *says;
    } cases[] = {{1, "metrics=m_a,m_x", "no run of the model of run 1 has a metric 'm_x'"},
                 {1, "metrics=m_e", "of run 1 has a metric 'm_e'"},
                 {1, "metrics=m_a,", "has a metric ''"},
                 {1, "metrics=m_a, -m\"_x", "has a metric 'm\"_x'"},
                 {4, "metrics=m_b", "of run 4 has a metric 'm_b'"},
                 {5, "metrics=-m_c", "of run 5 has a metric 'm_c'"},
                 {1, "metrics=m_a,induction", "--observe stripes"},
                 {1, "metrics=retrieval", "a run of headscope retrieve has"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hs_query_opts o = {.run = cases[i].run, .param = &cases[i].metrics, .n_param = 1};
        assert_int_equal(dbfix_run(*state, "overlap", &o), HS_ENOTFOUND);
        if (!strstr(hs_errmsg(), cases[i].says)) fail_msg("%s", hs_errmsg());
    }
}

// ---- overlap ------------------------------------------------------------------------------------

typedef struct pair {
    const char *a, *b;
    int shared;
    double expected, spearman;
    const char *heads;
    int size_a, size_b, n;
} pair;

static void pairs_are(hs_query *q, const pair *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(dbfix_next(q));
        is(q, "a", want[i].a);
        is(q, "b", want[i].b);
        assert_int_equal(cell(q, "shared").i, want[i].shared);
        near(q, "expected", want[i].expected);
        near(q, "spearman", want[i].spearman);
        is(q, "heads", want[i].heads);
        assert_int_equal(cell(q, "size_a").i, want[i].size_a);
        assert_int_equal(cell(q, "size_b").i, want[i].size_b);
        assert_int_equal(cell(q, "n").i, want[i].n);
    }
    ends(q);
}
#define PAIRS_ARE(q, want) pairs_are(q, want, sizeof(want) / sizeof *(want))

// m_b has the ranks 1.5 1.5 4 4 4 6 where m_a has 6 5 4 3 2 1: the products about their means add up
// to -15, the squares to 17.5 and 15. Without head 3, whose m_c is undefined, m_a has 5 4 3 2 1 and
// |m_c| 5 4 1 2 3: squares of differences of 8. Of m_b are then left 1.5 1.5 3.5 3.5 5.
static void test_overlap(void **state) {
    const double ab = -15 / sqrt(17.5 * 15), ac = 1 - 6 * 8 / (5 * 24.0), none = (double)NAN;
    const double bc = -6 / sqrt(9 * 10.0);
    const pair want[] = {{"m_a", "m_b", 0, 2 / 6.0, ab, NULL, 2, 1, 6},
                         {"m_a", "m_d", 0, 0, none, NULL, 2, 0, 6},
                         {"m_a", "m_c", 2, 2 * 2 * 5 / 30.0, ac, "L0H0 L0H1", 2, 2, 5},
                         {"m_b", "m_d", 0, 0, none, NULL, 1, 0, 6},
                         {"m_b", "m_c", 0, 1 * 2 * 5 / 30.0, bc, NULL, 1, 2, 5},
                         {"m_d", "m_c", 0, 0, none, NULL, 0, 2, 5}};
    PAIRS_ARE(ask(state, "overlap", 1, "metrics=m_a,m_b,m_d,m_c", "k=2", NULL), want);
    // All heads; and the other way round, which is the same ranks turned.
    const pair all[] = {{"m_b", "m_a", 6, 6, ab, "L0H0 L0H1 L0H2 L1H0 L1H1 L1H2", 6, 6, 6},
                        {"m_b", "-m_a", 6, 6, -ab, "L0H0 L0H1 L0H2 L1H0 L1H1 L1H2", 6, 6, 6},
                        {"m_a", "-m_a", 6, 6, -1, "L0H0 L0H1 L0H2 L1H0 L1H1 L1H2", 6, 6, 6}};
    PAIRS_ARE(ask(state, "overlap", 1, "metrics=m_b,m_a,-m_a", "k=99", NULL), all);
    // A metric alone has nothing to be compared with.
    ends(ask(state, "overlap", 1, "metrics=m_a", NULL, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_runs),  cmocka_unit_test(test_sets),
        cmocka_unit_test(test_directions), cmocka_unit_test(test_order),
        cmocka_unit_test(test_runs),       cmocka_unit_test(test_missing),
        cmocka_unit_test(test_overlap),
    };
    return cmocka_run_group_tests(tests, set_up, dbfix_tear_down);
}
