// Own SQL: it can only read, within limits; the functions on blobs check what they are given, in
// hostile files too.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/query.h"
#include "db/map.h"
#include "model/core/hash.h"
#include "tests/lib/dbfix.h"

static int set_up(void **state) {
    static const dbrun what = {.n_prompt = 2,
                               .n_token = 64,
                               .maps = "all",
                               .acts = "resid_post,attn_scores",
                               .observe = "sinks,hidden_sinks,massive,stripes"};
    *state = dbfix_open("query-sql", &what, 1, NULL);
    return 0;
}

static hs_cell one(const dbfix *f, const char *sql, hs_query **q) {
    *q = dbfix_query(f, sql, NULL);
    assert_true(dbfix_next(*q));
    return hs_query_cell(*q, 0);
}

static void test_functions(void **state) {
    const dbfix *f = *state;
    hs_query *q;
    hs_cell c = one(f, "SELECT att_at(2, 20, 7)", &q);
    assert_true((float)c.f == dbrun_weight(0, 0, 0, 20, 7));
    hs_query_close(q);
    c = one(f, "SELECT att_at(1, 20, 7)", &q); // the scores of the same head
    assert_true((float)c.f == dbrun_score(0, 0, 0, 20, 7));
    hs_query_close(q);
    c = one(f, "SELECT att_at(1, 20, 21)", &q);
    assert_true(c.type == HS_CELL_NUM && c.f == -INFINITY);
    hs_query_close(q);
    c = one(f, "SELECT att_at(2, 20, 21)", &q); // not seen
    assert_true(c.type == HS_CELL_NUM && c.f == 0);
    hs_query_close(q);
    c = one(f, "SELECT json_array_length(att_row(1, 20))", &q);
    assert_int_equal(c.i, 21);
    hs_query_close(q);
    c = one(f,
            "SELECT count(*) FROM json_each(att_row(4, 63)) AS j WHERE "
            "abs(j.value - att_at(4, 63, j.key)) < 1e-7",
            &q);
    assert_int_equal(c.i, 64);
    hs_query_close(q);
    c = one(f, "SELECT count(*) FROM att_keys(4, 63) AS k WHERE k.weight = att_at(4, 63, k.key)",
            &q);
    assert_int_equal(c.i, 64);
    hs_query_close(q);
    c = one(f, "SELECT sum(json_array_length(att_series(data)) = n_row) = count(*) FROM row_series",
            &q);
    assert_int_equal(c.i, 1);
    hs_query_close(q);
    c = one(f, "SELECT sum(json_array_length(att_series(data)) = n) = count(*) FROM series", &q);
    assert_int_equal(c.i, 1);
    hs_query_close(q);
    c = one(f,
            "SELECT att_row(NULL, 1) IS NULL AND att_at(1, NULL, 1) IS NULL AND "
            "att_series(NULL) IS NULL",
            &q);
    assert_int_equal(c.i, 1);
    hs_query_close(q);
}

static void test_function_errors(void **state) {
    const dbfix *f = *state;
    assert_int_equal(dbfix_run(f, "SELECT att_row(99, 0)", NULL), HS_ENOTFOUND);
    assert_int_equal(dbfix_run(f, "SELECT att_row(1, 64)", NULL), HS_ERANGE);
    assert_int_equal(dbfix_run(f, "SELECT att_row(1, -1)", NULL), HS_ERANGE);
    assert_int_equal(dbfix_run(f, "SELECT att_at(1, 3, 64)", NULL), HS_ERANGE);
    assert_int_equal(dbfix_run(f, "SELECT att_series('text')", NULL), HS_EFORMAT);
    assert_int_equal(dbfix_run(f, "SELECT att_series(zeroblob(0))", NULL), HS_EFORMAT);
    assert_int_equal(dbfix_run(f, "SELECT att_series(x'4853663400000001')", NULL), HS_EFORMAT);
    assert_int_equal(dbfix_run(f, "SELECT att_series(data || x'00') FROM row_series LIMIT 1", NULL),
                     HS_EFORMAT);
    assert_int_equal(dbfix_run(f, "SELECT * FROM att_keys(99, 0)", NULL), HS_ENOTFOUND);
    assert_int_equal(dbfix_run(f, "SELECT * FROM att_each(1)", NULL), HS_EFORMAT);
    assert_int_equal(dbfix_run(f, "SELECT * FROM att_each", NULL), HS_EARG);
    assert_int_equal(dbfix_run(f, "SELECT * FROM att_keys(1)", NULL), HS_EARG);
}

static void test_reading_only(void **state) {
    const dbfix *f = *state;
    static const char *const denied[] = {
        "DELETE FROM token",
        "INSERT INTO meta VALUES ('a', 'b')",
        "UPDATE run SET label = 'x'",
        "DROP TABLE token",
        "UPDATE sqlite_master SET sql = ''",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "ATTACH '/tmp/x.db' AS y",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version = 9",
        "VACUUM INTO '/tmp/hs-vacuum.db'",
        "BEGIN IMMEDIATE",
        "REINDEX token ",
        "SELECT load_extension('x.so')",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM token",
        " ",
        "-- nothing",
        "SELECT nothing FROM nowhere",
        "SELECT ?",
        "SELECT ?1",
    };
    hs_db *db;
    // Also where the file could be written.
    dbfix_must(hs_db_open(&db, f->path, HS_DB_WRITE));
    dbfix writable = {.db = db};
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        if (dbfix_run(f, denied[i], NULL) != HS_EARG) fail_msg("allowed: %s", denied[i]);
        if (dbfix_run(&writable, denied[i], NULL) != HS_EARG) fail_msg("allowed: %s", denied[i]);
    }
    hs_db_close(db);
    assert_int_equal(dbfix_run(f, "SELECT 1; -- a comment", NULL), HS_OK);
    assert_int_equal(
        dbfix_run(f,
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE "
                  "i < 10) SELECT sum(i) FROM n",
                  NULL),
        HS_OK);
    assert_int_equal(dbfix_run(f, "SELECT * FROM pragma_table_info('token')", NULL), HS_OK);
}

static void test_limits(void **state) {
    const dbfix *f = *state;
    hs_query *q = dbfix_query(f, "tokens", &(hs_query_opts){.max_rows = 3});
    int rows = 0;
    while (dbfix_next(q)) rows++;
    assert_int_equal(rows, 3);
    hs_query_close(q);
    assert_int_equal(dbfix_run(f,
                               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                               "SELECT count(*) FROM n",
                               &(hs_query_opts){.max_seconds = 0.05}),
                     HS_E);
}

static void test_cells(void **state) {
    const dbfix *f = *state;
    hs_query *q = dbfix_query(f, "SELECT NULL, 7, 1.5, 'a', x'00ff'", NULL);
    assert_true(dbfix_next(q));
    assert_int_equal(hs_query_cell(q, 0).type, HS_CELL_NULL);
    assert_int_equal(hs_query_cell(q, 1).i, 7);
    assert_true(hs_query_cell(q, 1).f == 7);
    assert_true(hs_query_cell(q, 2).f == 1.5);
    assert_int_equal(hs_query_cell(q, 3).n, 1);
    assert_int_equal(hs_query_cell(q, 4).type, HS_CELL_BLOB);
    assert_memory_equal(hs_query_cell(q, 4).data, "\x00\xff", 2);
    hs_query_close(q);
}

// ---- hostile files -----------------------------------------------------------------------------

static int after(const dbfix *f, const char *damage, const char *sql) {
    char path[256];
    hs_db *db;
    dbfix_copy(f, path, sizeof path, damage);
    int rc = hs_db_open(&db, path, HS_DB_READ);
    if (!rc) rc = dbfix_run(&(dbfix){.db = db}, sql, NULL);
    if (!rc) print_message("not noticed: %s\n", damage);
    hs_db_close(db);
    dbrun_remove(path);
    return rc;
}

// A chunk that is sound but ends before the row asked for.
static void test_gap(void **state) {
    const dbfix *f = *state;
    hs_query *q;
    char sql[200];
    hs_cell c = one(f, "SELECT substr(data, 1, 40 * 41 / 2 * 4) FROM map_chunk WHERE map_id = 1",
                    &q);
    snprintf(sql, sizeof sql,
             "UPDATE map_chunk SET n_q = 40, data = substr(data, 1, %d), crc32 = %u "
             "WHERE map_id = 1",
             (int)c.n, (unsigned)hs_crc32(c.data, c.n));
    hs_query_close(q);
    assert_int_equal(after(f, sql, "SELECT att_row(1, 40)"), HS_EFORMAT);
    assert_int_equal(after(f, sql, "SELECT att_row(1, 39), att_row(1, 41)"), HS_EFORMAT);
}

// Sizes that the file is far too small for are not allocated.
static void test_huge(void **state) {
    const dbfix *f = *state;
    char path[256];
    hs_db *db;
    hs_map_rows *map;
    dbfix_copy(f, path, sizeof path, "UPDATE map SET n_k = 67000000, n_q = 67000000");
    dbfix_must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(hs_map_rows_open(&map, db, 1, 0, 0), HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), "so small a file"));
    hs_db_close(db);
    dbrun_remove(path);
}

static void test_damage(void **state) {
    const dbfix *f = *state;
    static const char *const row = "SELECT att_row(1, 40)";
    static const char *const damages[] = {
        "UPDATE map_chunk SET data = zeroblob(length(data))",
        "UPDATE map_chunk SET crc32 = crc32 + 1",
        "UPDATE map_chunk SET data = substr(data, 1, 100), crc32 = 0",
        "UPDATE map_chunk SET codec = 'zstd'",
        "UPDATE map_chunk SET n_q = 30",
        "UPDATE map_chunk SET n_q = 9000000000000000000",
        "UPDATE map_chunk SET q0 = -1",
        "UPDATE map_chunk SET q0 = 41",
        "UPDATE map SET n_k = 9000000000000000000, n_q = 9000000000000000000",
        "UPDATE map SET n_k = 10",
        "UPDATE map SET n_k = 0",
        "UPDATE map SET dtype = 'f16'",
        "UPDATE map SET causal = 0",
        "DELETE FROM map_chunk",
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++)
        assert_int_equal(after(f, damages[i], row), HS_EFORMAT);
    // A stranger's view cannot call the functions, and a trigger of his never runs.
    assert_int_equal(after(f, "CREATE VIEW bad AS SELECT att_row(1, 40) AS x", "SELECT * FROM bad"),
                     HS_EARG);
    // Objects that are not as we made them.
    assert_int_equal(after(f, "DROP VIEW v_run; CREATE VIEW v_run AS SELECT 1 AS id", row),
                     HS_EFORMAT);
    assert_int_equal(after(f, "DROP TABLE column_doc", row), HS_EFORMAT);
    assert_int_equal(after(f, "ALTER TABLE meta ADD COLUMN more TEXT", row), HS_EFORMAT);
}

// Every reader of series and of two maps meets damage with the same words.
static void test_damaged_parts(void **state) {
    const dbfix *f = *state;
    static const struct {
        const char *damage, *sql;
    } cases[] = {
        {"UPDATE map_chunk SET crc32 = crc32 + 1 WHERE map_id = 4", "SELECT att_cosine(2, 4)"},
        {"UPDATE map_chunk SET crc32 = crc32 + 1 WHERE map_id = 4", "SELECT att_gap(4, 2)"},
        {"DELETE FROM map_chunk WHERE map_id = 2", "like_head"},
        {"UPDATE row_series SET data = zeroblob(length(data))", "alike_heads"},
        {"UPDATE row_series SET data = substr(data, 1, 20)", "head_rows"},
        {"UPDATE row_series SET data = substr(data, 1, length(data) - 4)", "token_path"},
        {"UPDATE row_series SET data = x''", "who_looks"},
        {"DELETE FROM row_series WHERE layer = 1 AND stat = 'max'", "alike_heads"},
        {"UPDATE series SET data = zeroblob(length(data)) WHERE name = 'column_mean'",
         "sink_heads"},
        {"UPDATE series SET data = x'' WHERE name = 'column_mean'", "top_tokens"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(after(f, cases[i].damage, cases[i].sql), HS_EFORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),     cmocka_unit_test(test_function_errors),
        cmocka_unit_test(test_reading_only),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_cells),         cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damaged_parts), cmocka_unit_test(test_gap),
        cmocka_unit_test(test_huge),
    };
    return cmocka_run_group_tests(tests, set_up, dbfix_tear_down);
}
