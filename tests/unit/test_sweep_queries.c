// The named queries of sweeps, on numbers that are computed here once more, and att_interval.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/effect.h"
#include "tests/lib/dbfix.h"
#include "tests/lib/sweeprun.h"

enum { PROMPTS = 9 };

static int set_up(void **state) {
    const sweeprun s = {{"{\"op\":\"zero\"}"}, .n_prompt = PROMPTS, .stop_after = 0};
    dbfix *f = calloc(1, sizeof *f);
    dbrun_path(f->path, sizeof f->path, "sweep-queries");
    sweeprun_add(f->path, &s);
    dbfix_must(hs_db_open(&f->db, f->path, HS_DB_READ));
    *state = f;
    return 0;
}

static hs_cell cell(const hs_query *q, const char *column) {
    for (int i = 0; i < hs_query_columns(q); i++)
        if (strcmp(hs_query_column(q, i), column) == 0) return hs_query_cell(q, i);
    fail_msg("no column %s", column);
    return (hs_cell){0};
}

static double num(const hs_query *q, const char *column) {
    const hs_cell c = cell(q, column);
    return c.type == HS_CELL_INT ? (double)c.i : c.type == HS_CELL_NUM ? c.f : (double)NAN;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The stand-in's second look at a prompt is the newest, and has L1H0 as of the prompt after it.
static void test_sweep(void **state) {
    const dbfix *f = *state;
    double v[PROMPTS], sum = 0, low, high;
    for (int ord = 0; ord < PROMPTS; ord++) {
        v[ord] = sweeprun_value(ord + 1, 1, 0) - sweeprun_base(ord + 1);
        sum += v[ord];
    }
    qsort(v, PROMPTS, sizeof *v, ascending);
    dbfix_must(hs_bootstrap(v, PROMPTS, 2000, 0, 0.95, &low, &high));
    hs_query *q = dbfix_query(f, "sweep", NULL);
    assert_true(dbfix_next(q));
    assert_memory_equal(cell(q, "unit").data, "L1H0", 4);
    assert_true(fabs(num(q, "value") - sum / PROMPTS) < 1e-12);
    assert_true(num(q, "ci_low") == low && num(q, "ci_high") == high);
    assert_true(low < sum / PROMPTS && sum / PROMPTS < high);
    assert_int_equal(cell(q, "n").i, PROMPTS);
    assert_true(fabs(num(q, "baseline") - 4.25) < 1e-12);
    assert_false(dbfix_next(q));
    hs_query_close(q);
    q = dbfix_query(f, "sweep", &(hs_query_opts){.prompt = "p2"});
    assert_true(dbfix_next(q));
    assert_true(fabs(num(q, "value") - (sweeprun_value(3, 1, 0) - sweeprun_base(3))) < 1e-12);
    assert_int_equal(cell(q, "ci_low").type, HS_CELL_NULL); // one prompt has no interval
    hs_query_close(q);
    const char *param = "metric=kl";
    q = dbfix_query(f, "sweep", &(hs_query_opts){.param = &param, .n_param = 1});
    assert_false(dbfix_next(q));
    hs_query_close(q);
}

static void test_prompts(void **state) {
    const dbfix *f = *state;
    hs_query *q = dbfix_query(f, "sweep_prompts", NULL);
    for (int ord = 0; ord < PROMPTS; ord++) {
        assert_true(dbfix_next(q));
        assert_int_equal(cell(q, "prompt").i, ord);
        assert_true(num(q, "base") == sweeprun_base(ord + 1));
        assert_true(num(q, "value") == sweeprun_value(ord + 1, 1, 0));
        assert_true(num(q, "change") == num(q, "value") - num(q, "base"));
    }
    assert_false(dbfix_next(q));
    hs_query_close(q);
    const char *param = "layer=0";
    q = dbfix_query(f, "sweep_prompts", &(hs_query_opts){.param = &param, .n_param = 1});
    assert_false(dbfix_next(q));
    hs_query_close(q);
}

// The stand-in's series of the look before the newest does not count; those put here do.
static void test_positions(void **state) {
    const dbfix *f = *state;
    char path[256];
    dbfix_copy(
        f, path, sizeof path,
        "INSERT INTO series SELECT NULL, s.prompt_id, s.analysis_run_id + d.id, d.value, "
        "s.layer, iif(d.value LIKE '%mlp', NULL, 0), s.n, s.data FROM series AS s, "
        "(SELECT 1 AS id, 'delta_nll_at' AS value UNION ALL SELECT 1, 'delta_nll_at_mlp' "
        "UNION ALL SELECT 1, 'delta_logit_diff_at_group' UNION ALL SELECT 0, 'delta_nll_at') "
        "AS d WHERE s.prompt_id <= 3 AND s.head IS NULL");
    dbfix copy = {.path = ""};
    dbfix_must(hs_db_open(&copy.db, path, HS_DB_READ));
    static const struct {
        const char *unit, *metric;
        int prompt, position;
        double value;
    } want[] = {{"L1M", "nll", 2, 0, 2},  {"L1G0", "logit_diff", 2, 0, 2}, {"L1H0", "nll", 2, 0, 2},
                {"L1M", "nll", 1, 0, 1},  {"L1G0", "logit_diff", 1, 0, 1}, {"L1H0", "nll", 1, 0, 1},
                {"L1M", "nll", 0, 1, 0.5}};
    const char *param[] = {"top=7", "metric=nll"};
    hs_query *q = dbfix_query(&copy, "sweep_positions",
                              &(hs_query_opts){.param = param, .n_param = 1});
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(dbfix_next(q));
        const hs_cell unit = cell(q, "unit"), metric = cell(q, "metric");
        assert_int_equal(unit.n, strlen(want[i].unit));
        assert_memory_equal(unit.data, want[i].unit, unit.n);
        assert_memory_equal(metric.data, want[i].metric, metric.n);
        assert_int_equal(cell(q, "prompt").i, want[i].prompt);
        assert_int_equal(cell(q, "position").i, want[i].position);
        assert_true(num(q, "value") == want[i].value);
    }
    assert_false(dbfix_next(q));
    hs_query_close(q);
    param[0] = "top=100";
    q = dbfix_query(&copy, "sweep_positions", &(hs_query_opts){.param = param, .n_param = 2});
    int n = 0;
    while (dbfix_next(q)) n++;
    assert_int_equal(n, 3 * 2 * 2);
    hs_query_close(q);
    hs_db_close(copy.db);
    dbrun_remove(path);
}

// Means over prompts, then mean and range over draws.
static void test_curve(void **state) {
    const dbfix *f = *state;
    char path[256];
    dbfix_copy(f, path, sizeof path,
               "INSERT INTO sweep_curve SELECT r.prompt_id, r.id, 'random', d.value, 5, 'nll', "
               "r.prompt_id + 100 * d.value FROM analysis_run AS r, json_each('[0, 1, 2]') AS d "
               "WHERE r.id % 2 = 0");
    dbfix copy = {.path = ""};
    dbfix_must(hs_db_open(&copy.db, path, HS_DB_READ));
    hs_query *q = dbfix_query(&copy, "sweep_curve", NULL);
    assert_true(dbfix_next(q));
    assert_true(num(q, "value") == 105 && num(q, "low") == 5 && num(q, "high") == 205);
    assert_int_equal(cell(q, "draws").i, 3);
    assert_int_equal(cell(q, "n").i, PROMPTS);
    assert_int_equal(cell(q, "removed").i, 5);
    assert_false(dbfix_next(q));
    hs_query_close(q);
    hs_db_close(copy.db);
    dbrun_remove(path);
}

// Nothing is scanned but prompts, of which there are few.
static void test_plans(void **state) {
    const dbfix *f = *state;
    int n = 0;
    for (const hs_query_info *i = hs_queries; i->name; i++) {
        char sql[6000];
        const char *const param[] = {"metric=all", "layer=-1"};
        const char *const of_top[] = {"metric=all", "top=9"};
        if (!strstr(i->text, "needs: sweep")) continue;
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", i->text);
        hs_query *q;
        const bool top = strstr(i->text, ":top");
        const int n_param = top || strstr(i->text, ":layer") ? 2
                            : strstr(i->text, ":metric")     ? 1
                                                             : 0;
        dbfix_must(hs_query_open(
            &q, f->db, sql,
            &(hs_query_opts){.run = 1, .param = top ? of_top : param, .n_param = n_param}));
        while (dbfix_next(q)) {
            const hs_cell c = cell(q, "detail");
            static const char *const own[] = {"SCAN l",     "SCAN look", "SCAN change",
                                              "SCAN drawn", "SCAN a",    "SCAN e"};
            bool fine = strncmp(c.data, "SCAN ", 5) != 0;
            for (size_t k = 0; k < sizeof own / sizeof *own; k++)
                fine |= c.n >= strlen(own[k]) && !memcmp(c.data, own[k], strlen(own[k]));
            if (!fine) fail_msg("%s: %.*s", i->name, (int)c.n, (const char *)c.data);
        }
        hs_query_close(q);
        n++;
    }
    assert_int_equal(n, 5);
}

static void test_interval(void **state) {
    const dbfix *f = *state;
    static const struct {
        const char *sql;
        bool same;
    } cases[] = {
        {"SELECT att_interval(x) = att_interval(y) FROM (SELECT value AS x, 6 - value AS y FROM "
         "json_each('[1, 2, 5, 3, 4]'))",
         true}, // in any order
        {"SELECT att_interval(value) IS NULL FROM json_each('[1]')", true},
        {"SELECT att_interval(value) IS NULL FROM json_each('[]')", true},
        {"SELECT att_interval(value) = '[2,2]' FROM json_each('[2, null, 2.0, 2]')", true},
        {"SELECT json_extract(att_interval(value), '$[0]') BETWEEN 1 AND 2.5 FROM "
         "json_each('[1, 2, 5, 3, 4]')",
         true},
        {"SELECT json_extract(att_interval(value), '$[1]') < 3.5 FROM "
         "json_each('[1, 2, 5, 3, 4]')",
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_query *q = dbfix_query(f, cases[i].sql, NULL);
        assert_true(dbfix_next(q));
        if (hs_query_cell(q, 0).i != cases[i].same) fail_msg("%s", cases[i].sql);
        hs_query_close(q);
    }
    assert_int_equal(
        dbfix_run(f, "SELECT att_interval(value) FROM json_each('[1, \"a\", 2]')", NULL), HS_EARG);
}

static void test_needs(void **state) {
    const dbfix *f = *state;
    char path[256];
    dbfix_copy(f, path, sizeof path, "UPDATE analysis SET name = 'other'");
    dbfix copy = {.path = ""};
    dbfix_must(hs_db_open(&copy.db, path, HS_DB_READ));
    hs_query *q;
    assert_int_equal(hs_query_open(&q, copy.db, "sweep", &(hs_query_opts){0}), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "a run of headscope sweep has"));
    const char *param = "metric=delta_kl";
    assert_int_equal(
        hs_query_open(&q, copy.db, "heads", &(hs_query_opts){.param = &param, .n_param = 1}),
        HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "a run of headscope sweep has"));
    hs_db_close(copy.db);
    dbrun_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep), cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_curve), cmocka_unit_test(test_positions),
        cmocka_unit_test(test_plans), cmocka_unit_test(test_interval),
        cmocka_unit_test(test_needs),
    };
    return cmocka_run_group_tests(tests, set_up, dbfix_tear_down);
}
