// Stored maps row by row and numbers along positions: exact values, what is hidden, what is missing
// and what is damaged.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "db/map.h"
#include "tests/lib/dbfix.h"

static int set_up(void **state) {
    static const dbrun what = {.n_prompt = 2,
                               .n_token = 40,
                               .n_decode = 3,
                               .maps = "L1H0-1",
                               .observe = "sinks,hidden_sinks"};
    *state = dbfix_open("map", &what, 1, NULL);
    return 0;
}

// Rows in any order, of the second prompt, decoded ones too.
static void rows(void **state) {
    const dbfix *f = *state;
    static const int64_t order[] = {43, 0, 17, 18, 1, 43};
    hs_map_rows *m;
    float row[64];
    dbfix_must(hs_map_rows_open(&m, f->db, 2, 1, 1));
    assert_int_equal(hs_map_rows_count(m), 44);
    assert_int_equal(hs_map_rows_keys(m), 44);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        dbfix_must(hs_map_rows_read(m, order[i], row));
        for (int64_t k = 0; k < 44; k++)
            if (k > order[i])
                assert_true(isnan(row[k]));
            else
                assert_true(row[k] == dbrun_weight(1, 1, 1, order[i], k));
    }
    assert_int_equal(hs_map_rows_read(m, 44, row), HS_ERANGE);
    assert_int_equal(hs_map_rows_read(m, -1, row), HS_ERANGE);
    hs_map_rows_close(m);
}

static void not_stored(void **state) {
    const dbfix *f = *state;
    hs_map_rows *m;
    assert_int_equal(hs_map_rows_open(&m, f->db, 1, 0, 2), HS_ENOTFOUND);
    assert_null(m);
    assert_non_null(strstr(hs_errmsg(), "--maps L0H2"));
    assert_int_equal(hs_map_rows_open(&m, f->db, 9, 1, 1), HS_ENOTFOUND);
    hs_map_rows_close(m);
}

static void summaries(void **state) {
    const dbfix *f = *state;
    for (int s = 0; s < HS_N_STAT; s++) {
        double *v;
        int64_t n;
        dbfix_must(hs_db_series(f->db, 2, 1, 2, hs_stat_infos[s].name, &v, &n));
        assert_int_equal(n, 44);
        for (int64_t i = 0; i < n; i++) {
            float stats[HS_N_STAT];
            dbrun_stats(1, 1, 2, i, stats);
            assert_true(v[i] == (double)stats[s]);
        }
        free(v);
    }
}

// Both observers store the same column means.
static void series(void **state) {
    const dbfix *f = *state;
    double *v, mean = 0;
    int64_t n;
    dbfix_must(hs_db_series(f->db, 1, 1, 0, "column_mean", &v, &n));
    assert_int_equal(n, 43);
    for (int64_t i = 5; i < 43; i++) mean += (double)dbrun_weight(0, 1, 0, i, 5) / 38;
    assert_true(fabs(v[5] - mean) < 1e-6);
    free(v);
    assert_int_equal(hs_db_series(f->db, 1, 1, 0, "column_men", &v, &n), HS_ENOTFOUND);
    assert_null(v);
    assert_int_equal(hs_db_series(f->db, 1, 1, -1, "entropy", &v, &n), HS_ENOTFOUND);
    assert_int_equal(hs_db_series(f->db, 9, 1, 0, "entropy", &v, &n), HS_ENOTFOUND);
    assert_null(v);
}

static int change(const dbfix *f, const char *sql) {
    sqlite3 *db;
    int rc = sqlite3_open(f->path, &db);
    if (!rc) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_close(db);
    return rc;
}

static void damaged(void **state) {
    const dbfix *f = *state;
    hs_map_rows *m;
    float row[64];
    double *v;
    int64_t n;
    assert_int_equal(change(f, "UPDATE map_chunk SET crc32 = crc32 + 1"), 0);
    dbfix_must(hs_map_rows_open(&m, f->db, 1, 1, 0));
    assert_int_equal(hs_map_rows_read(m, 3, row), HS_EFORMAT);
    hs_map_rows_close(m);
    // A width that the file is far too small for.
    assert_int_equal(change(f, "UPDATE map SET n_k = 60000000"), 0);
    assert_int_equal(hs_map_rows_open(&m, f->db, 1, 1, 0), HS_EFORMAT);
    assert_null(m);
    assert_int_equal(change(f, "UPDATE series SET data = substr(data, 1, length(data) - 1)"), 0);
    assert_int_equal(hs_db_series(f->db, 1, 1, 0, "column_mean", &v, &n), HS_EFORMAT);
    assert_null(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(not_stored, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(summaries, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(series, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(damaged, set_up, dbfix_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
