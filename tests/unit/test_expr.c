// Expressions of users over named numbers.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "db/expr.h"

static const char *const names[] = {"nll", "kl", "base_nll", NULL};

static void test_values(void **state) {
    static const struct {
        const char *text;
        uint64_t used;
        double want; // of nll 3, kl 0.5, base_nll 2
    } cases[] = {
        {"nll", 1, 3},
        {"(nll - base_nll) / base_nll", 5, 0.5},
        {"exp(nll) / exp(BASE_NLL)", 5, 2.718281828459045},
        {"max(nll, kl, 7)", 3, 7},
        {"CASE WHEN kl > 0.1 THEN 1 END", 2, 1},
        {"nll > 1e3", 1, 0},
        {"1 / (kl - 0.5)", 2, NAN},
        {"'text'", 0, NAN},
        {"nll -- of the head", 1, 3},
        {"coalesce(ln(-1), 4)", 0, 4},
        {"round(nll / 7, 3)", 1, 0.429},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_expr *e;
        uint64_t used;
        double out;
        assert_int_equal(hs_expr_open(&e, cases[i].text, names, &used), HS_OK);
        assert_int_equal(used, cases[i].used);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(hs_expr_value(e, (double[]){3, 0.5, 2}, &out), HS_OK);
            if (isnan(cases[i].want))
                assert_true(isnan(out));
            else
                assert_true(fabs(out - cases[i].want) < 1e-12);
            assert_int_equal(hs_expr_value(e, (double[]){9, 9, NAN}, &out), HS_OK);
        }
        hs_expr_close(e);
    }
}

static void test_refused(void **state) {
    static const char *const cases[][2] = {
        {"nnl", "no such column: nnl: an expression of SQL over nll, kl, base_nll"},
        {"\"nnl\" + nll", "no such column: nnl"},
        {"", "syntax error"},
        {"nll +", "syntax error"},
        {"nll, kl", "row value misused"},
        {"nll) FROM numbers; SELECT (1", "not one expression"},
        {"(SELECT type FROM sqlite_master)", "prohibited"},
        {"(SELECT max(nll) FROM (VALUES (1), (2)) AS a, (VALUES (1), (2)) AS b)", "a query within"},
        {"(SELECT 1)", "a query within it: an expression of SQL over nll"},
        {"nll) FROM numbers UNION SELECT (2", "a query within"},
        {"nll IN (SELECT 1)", "a query within"},
        {"random()", "random() is no function of numbers"},
        {"load_extension('x')", "load_extension() is no function"},
        {"(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c)",
         ""},
        {"nll + ?", "not one expression"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_expr *e;
        uint64_t used;
        assert_int_equal(hs_expr_open(&e, cases[i][0], names, &used), HS_EARG);
        assert_null(e);
        if (!strstr(hs_errmsg(), cases[i][1]))
            fail_msg("'%s' is not in '%s'", cases[i][1], hs_errmsg());
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
