// Publishing: whole files and parts of them, what is cut from texts, and the pages' description.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/publish_internal.h"
#include "db/query.h"
#include "db/replay.h"
#include "model/core/json.h"
#include "model/core/mem.h"
#include "tests/lib/dbfix.h"

static char path[256], copy[300], pages[300];

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// Two runs: of two prompts with everything, and of one prompt.
static hs_db *record(void) {
    hs_db *db;
    dbrun first = {.n_prompt = 2,
                   .n_token = 20,
                   .n_decode = 1,
                   .maps = "all",
                   .acts = "resid_post,blocks.0.attn.hook_attn_scores",
                   .observe = "sinks,massive:thr=0.1,stripes"};
    dbrun second = {.n_prompt = 1, .n_token = 9, .maps = "L0H1", .acts = "z"};
    dbrun_path(path, sizeof path, "publish");
    snprintf(copy, sizeof copy, "%s.out.db", path);
    snprintf(pages, sizeof pages, "%s.out.metadata.json", path);
    must(dbrun_record(path, &first, NULL));
    must(dbrun_record(path, &second, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    return db;
}

static void done(hs_db *db) {
    hs_db_close(db);
    dbrun_remove(path);
    dbrun_remove(copy);
    unlink(pages);
}

static int publish(hs_db *db, const hs_publish_opts *opts, hs_publish_result *result,
                   const hs_progress *progress) {
    hs_publish_result unwanted;
    dbrun_remove(copy); // no database is replaced
    int rc = hs_db_publish(db, opts, copy, result ? result : &unwanted, progress);
    if (!result) hs_publish_result_free(&unwanted);
    return rc;
}

static int64_t number(const char *file, const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return v;
}

static void edit(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void check_sound(const char *file) {
    char text[200];
    dbrun_integrity(file, text, sizeof text);
    assert_string_equal(text, "ok");
    hs_db *db;
    must(hs_db_open(&db, file, HS_DB_READ));
    hs_db_close(db);
    assert_int_equal(number(file, "PRAGMA user_version"), number(path, "PRAGMA user_version"));
    assert_int_equal(number(file, "PRAGMA application_id"), HS_DB_APP_ID);
    assert_int_equal(number(file, "PRAGMA page_size"), number(path, "PRAGMA page_size"));
}

// ---- the copy -----------------------------------------------------------------------------------

static void test_whole(void **state) {
    (void)state;
    char diff[200];
    hs_db *db = record();
    hs_publish_result r;
    must(publish(db, &(hs_publish_opts){.keep_paths = true}, &r, NULL));
    dbrun_diff(path, copy, diff, sizeof diff);
    assert_string_equal(diff, ""); // schema, row ids, blobs: everything
    check_sound(copy);
    assert_int_equal(r.paths, 0);
    assert_string_equal(hs_buf_text(&r.pages), pages);
    assert_string_equal(hs_buf_text(&r.left_out), "");
    struct stat st;
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(r.bytes, st.st_size);
    hs_publish_result_free(&r);
    done(db);
}

static void test_runs(void **state) {
    (void)state;
    hs_db *db = record();
    int64_t run = 2;
    must(publish(db, &(hs_publish_opts){.run = &run, .n_run = 1}, NULL, NULL));
    check_sound(copy);
    assert_int_equal(number(copy, "SELECT group_concat(id) FROM run"), 2);
    assert_int_equal(number(copy, "SELECT count(*) FROM prompt"), 1);
    assert_int_equal(number(copy, "SELECT min(id) FROM prompt"), 3); // row ids stay
    assert_int_equal(number(copy, "SELECT count(*) FROM token"), 9);
    assert_int_equal(number(copy, "SELECT count(*) FROM map"), 1);
    assert_int_equal(number(copy, "SELECT count(DISTINCT act_id) FROM act_chunk"), 2);
    assert_int_equal(number(copy, "SELECT count(*) FROM massive_top"), 0);
    assert_int_equal(number(copy, "SELECT count(*) FROM column_doc"),
                     number(path, "SELECT count(*) FROM column_doc"));
    // One prompt becomes the first of its run, with all that belongs to it.
    run = 1;
    must(publish(db, &(hs_publish_opts){.run = &run, .n_run = 1, .prompt = 2}, NULL, NULL));
    check_sound(copy);
    assert_int_equal(number(copy, "SELECT count(*) FROM run"), 1);
    assert_int_equal(number(copy, "SELECT ord = 0 AND label = 'p1' AND id = 2 FROM prompt"), 1);
    assert_int_equal(number(copy, "SELECT count(*) FROM token"), 22);
    assert_int_equal(number(copy, "SELECT count(*) FROM head_metric"),
                     number(path, "SELECT count(*) FROM head_metric WHERE prompt_id = 2"));
    assert_int_equal(number(copy, "SELECT count(*) FROM massive_top"),
                     number(path, "SELECT count(*) FROM massive_top WHERE prompt_id = 2"));
    assert_true(number(copy, "SELECT count(*) FROM massive_top") > 0);
    hs_db *to;
    int64_t n, n_was;
    must(hs_db_open(&to, copy, HS_DB_READ));
    float *map = dbfix_map(to, 2, 1, 2, &n), *was = dbfix_map(db, 2, 1, 2, &n_was);
    assert_int_equal(n, n_was);
    assert_memory_equal(map, was, (size_t)(n * n) * sizeof *map);
    free(map);
    free(was);
    hs_db_close(to);
    done(db);
}

static void test_drop(void **state) {
    (void)state;
    static const struct {
        const char *list;
        int64_t patterns, scores, acts, stats; // whether any is left
    } cases[] = {
        {"maps", 0, 1, 1, 1},
        {"acts", 1, 0, 0, 1},
        {"stats", 1, 1, 1, 0},
        {"maps,acts,stats", 0, 0, 0, 0},
    };
    hs_db *db = record();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_publish_opts o = {0};
        must(hs_publish_parse(cases[i].list, &o.drop));
        must(publish(db, &o, NULL, NULL));
        check_sound(copy);
        assert_int_equal(number(copy, "SELECT count(*) > 0 FROM map JOIN map_chunk AS c ON "
                                      "c.map_id = map.id WHERE point = 'pattern'"),
                         cases[i].patterns);
        assert_int_equal(number(copy, "SELECT count(*) > 0 FROM map WHERE point <> 'pattern'"),
                         cases[i].scores);
        assert_int_equal(number(copy, "SELECT count(*) > 0 FROM act_chunk"), cases[i].acts);
        assert_int_equal(number(copy, "SELECT count(*) > 0 FROM row_series"), cases[i].stats);
        assert_int_equal(number(copy, "SELECT count(*) FROM head_metric"),
                         number(path, "SELECT count(*) FROM head_metric"));
    }
    unsigned drop;
    assert_int_equal(hs_publish_parse("maps,", &drop), HS_EARG);
    assert_int_equal(hs_publish_parse("tokens", &drop), HS_EARG);
    done(db);
}

// What is deleted, or somebody else's, does not come along.
static void test_clean(void **state) {
    (void)state;
    hs_db *db = record();
    hs_db_close(db);
    edit(
        "CREATE TABLE notes (x); INSERT INTO notes VALUES ('find me 1');"
        "CREATE TABLE \"odd \"\"one\" (prompt_id INTEGER NOT NULL REFERENCES prompt (id),"
        "  analysis_run_id INTEGER NOT NULL REFERENCES analysis_run (id), \"a \"\"b\" TEXT,"
        "  c INTEGER DEFAULT (abs(-9223372036854775807)), PRIMARY KEY (prompt_id, analysis_run_id))"
        " STRICT, WITHOUT ROWID;"
        "INSERT INTO \"odd \"\"one\" SELECT prompt_id, id, 'kept', 5 FROM analysis_run;"
        "CREATE TRIGGER t AFTER INSERT ON notes BEGIN SELECT 1; END;"
        "CREATE VIEW mine AS SELECT 1;"
        "UPDATE run SET label = 'find me 2'; UPDATE run SET label = NULL;"
        "UPDATE run SET baseline_run_id = 1 WHERE id = 2;"
        "INSERT INTO model SELECT 7, name, arch, '/other' || '/folder/made-up.gguf', format,"
        "  weight_dtype, fingerprint, n_param, n_layer, n_head, n_kv_head, d_model, d_head, d_ff,"
        "  n_vocab, n_ctx, points FROM model;"
        "UPDATE model SET source = '/this/made-up.gguf' WHERE id = 1;"
        "UPDATE run SET model_id = 7 WHERE id = 2");
    must(hs_db_open(&db, path, HS_DB_READ));
    hs_publish_result r;
    must(publish(db, &(hs_publish_opts){0}, &r, NULL));
    check_sound(copy);
    assert_string_equal(hs_buf_text(&r.left_out), "notes");
    assert_int_equal(r.baselines, 0);
    hs_publish_result_free(&r);
    hs_map m;
    must(hs_map_open(&m, copy));
    assert_null(memmem(m.data, m.size, "find me", 7));
    assert_null(memmem(m.data, m.size, "/folder", 7));
    hs_map_close(&m);
    assert_int_equal(number(copy, "SELECT count(*) FROM sqlite_schema WHERE name IN ('t', 'mine')"),
                     0);
    assert_true(number(copy, "SELECT count(*) FROM \"odd \"\"one\" WHERE \"a \"\"b\" = 'kept' AND "
                             "c = 5") > 0);
    assert_int_equal(number(copy, "SELECT source = 'made-up.gguf' FROM model WHERE id = 1"), 1);
    assert_int_equal(
        number(copy, "SELECT source = 'made-up.gguf (model 7)' FROM model WHERE id = 7"), 1);
    int64_t run = 2;
    must(publish(db, &(hs_publish_opts){.run = &run, .n_run = 1}, &r, NULL));
    check_sound(copy);
    assert_int_equal(r.baselines, 1);
    assert_int_equal(number(copy, "SELECT baseline_run_id IS NULL FROM run"), 1);
    hs_publish_result_free(&r);
    done(db);
}

// ---- paths --------------------------------------------------------------------------------------

static void test_cut(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"/some/folder/models/x.gguf", "x.gguf"},
        {"~/x.gguf", "x.gguf"},
        {"../../secret/x.gguf", "x.gguf"},
        {"./x.gguf", "x.gguf"},
        {"/some/folder/models/x/", "x/"},
        {"/some/folder/My Models/a b.gguf", "a b.gguf"},
        {"org/name", "org/name"},
        {"models/x.gguf", "models/x.gguf"},
        {"/c/hub/models--org--name/snapshots/0af1", "models--org--name/snapshots/0af1"},
        {"[\"/usr/bin/headscope\",\"record\",\"-p\",\"a / b\",\"--db=/some/folder/r.db\"]",
         "[\"headscope\",\"record\",\"-p\",\"a / b\",\"--db=r.db\"]"},
        {"steer:blocks.3.hook_resid_pre,vec=/some/folder/v.npy,scale=2",
         "steer:blocks.3.hook_resid_pre,vec=v.npy,scale=2"},
        {"[\"--embeds\",\"a=/x/y.npy@3\",\"/q\\\"uo/te\\\\\"]",
         "[\"--embeds\",\"a=y.npy@3\",\"te\\\\\"]"},
        {"{\"url\":\"https://example.org/a/b\",\"image\":\"/some/folder/p.png\",\"n\":1}",
         "{\"url\":\"https://example.org/a/b\",\"image\":\"p.png\",\"n\":1}"},
        {"/", "/"},
        {"//", "//"},
        {"", ""},
        {"1 + 2/3, and so on", "1 + 2/3, and so on"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_buf b = {0};
        int64_t n = 0;
        hs_publish_cut(&b, cases[i][0], strlen(cases[i][0]), &n);
        assert_string_equal(hs_buf_text(&b), cases[i][1]);
        assert_int_equal(n, strcmp(cases[i][0], cases[i][1]) != 0);
        hs_buf_free(&b);
    }
}

// ---- the pages ----------------------------------------------------------------------------------

static void fill(sqlite3_stmt *s, const char *run) {
    for (int i = 1; i <= sqlite3_bind_parameter_count(s); i++)
        sqlite3_bind_text(s, i, strcmp(sqlite3_bind_parameter_name(s, i), ":run") ? "" : run, -1,
                          SQLITE_STATIC);
}

// The rows that a query of the pages gives when a form leaves all but the run empty.
static int64_t rows_of(sqlite3 *db, const char *sql, const char *run) {
    sqlite3_stmt *s;
    int64_t n = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    fill(s, run);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) n++;
    if (rc != SQLITE_DONE) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(s);
    return n;
}

// The rows that it gives here; -1 when the run lacks what it needs.
static int64_t rows_here(hs_db *db, const char *name, int64_t run) {
    hs_query *q;
    hs_query_opts o = {.run = run};
    int64_t n = 0;
    bool row = true;
    int rc = hs_query_open(&q, db, name, &o);
    if (rc == HS_ENOTFOUND) return -1;
    must(rc);
    while (row) {
        must(hs_query_step(q, &row));
        n += row;
    }
    hs_query_close(q);
    return n;
}

static void check_table(sqlite3 *db, const hs_json *table) {
    static const char *const lists[] = {"columns", "facets"};
    char sql[300];
    const char *name = hs_json_key(table), *label = hs_json_str(hs_json_get(table, "label_column"));
    assert_non_null(hs_json_str(hs_json_get(table, "description")));
    for (int l = 0; l < 3; l++)
        for (const hs_json *c = l < 2 ? hs_json_first(hs_json_get(table, lists[l])) : table; c;
             c = l < 2 ? hs_json_next(c) : NULL) {
            const char *column = l == 0 ? hs_json_key(c) : l == 1 ? hs_json_str(c) : label;
            sqlite3_stmt *s;
            if (!column) continue;
            snprintf(sql, sizeof sql, "SELECT 1 FROM pragma_table_info('%s') WHERE name = '%s'",
                     name, column);
            sqlite3_prepare_v2(db, sql, -1, &s, NULL);
            if (sqlite3_step(s) != SQLITE_ROW) fail_msg("%s has no %s", name, column);
            sqlite3_finalize(s);
        }
    snprintf(sql, sizeof sql, "SELECT * FROM pragma_table_info('%s')", name);
    assert_int_equal(rows_of(db, sql, ""), hs_json_size(hs_json_get(table, "columns")));
}

static void test_pages(void **state) {
    (void)state;
    hs_db *from = record();
    hs_publish_result r;
    sqlite3 *db;
    hs_json *d;
    hs_map m;
    must(publish(from, &(hs_publish_opts){0}, &r, NULL));
    must(hs_map_open(&m, pages));
    must(hs_json_parse(&d, (const char *)m.data, m.size));
    hs_map_close(&m);
    assert_string_equal(hs_json_str(hs_json_get(d, "title")), "Attention of made-up.gguf");
    const hs_json *base = hs_json_first(hs_json_get(d, "databases"));
    const char *slash = strrchr(copy, '/');
    assert_int_equal(strncmp(hs_json_key(base), slash + 1, strlen(slash + 1) - 3), 0);
    assert_int_equal(strlen(hs_json_key(base)), strlen(slash + 1) - 3);
    sqlite3_open_v2(copy, &db, SQLITE_OPEN_READONLY, NULL); // without our functions
    const hs_json *tables = hs_json_get(base, "tables"), *queries = hs_json_get(base, "queries");
    for (const hs_json *t = hs_json_first(tables); t; t = hs_json_next(t)) check_table(db, t);
    assert_int_equal(hs_json_size(tables),
                     rows_of(db,
                             "SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view') AND "
                             "name NOT LIKE 'sqlite%'",
                             ""));
    bool hidden = false;
    int64_t some = 0;
    assert_true(hs_json_bool(hs_json_path(tables, "map_chunk.hidden"), &hidden) && hidden);
    assert_null(hs_json_path(tables, "head_metric.hidden"));
    assert_int_equal(hs_json_size(queries), r.queries);
    assert_null(hs_json_get(queries, "sink_rate")); // it uses att_each
    assert_non_null(hs_json_get(queries, "massive"));
    for (const hs_json *q = hs_json_first(queries); q; q = hs_json_next(q)) {
        const char *name = hs_json_key(q), *sql = hs_json_str(hs_json_get(q, "sql"));
        assert_non_null(hs_json_str(hs_json_get(q, "title")));
        for (int64_t run = 1; run <= 2; run++) {
            const int64_t here = rows_here(from, name, run);
            const int64_t there = rows_of(db, sql, run == 1 ? "1" : "2");
            if (here >= 0) assert_int_equal(there, here);
            some += here > 0;
        }
    }
    assert_true(some > r.queries); // most of them give rows
    // Empty fields stand for the latest run.
    const char *sql = hs_json_str(hs_json_path(queries, "prompts.sql"));
    assert_int_equal(rows_of(db, sql, ""), 1);
    assert_int_equal(rows_of(db, sql, "1"), 2);
    sqlite3_close(db);
    hs_json_free(d);
    hs_publish_result_free(&r);
    done(from);
}

// ---- what is refused ----------------------------------------------------------------------------

static int stop(void *ctx, const char *what, int64_t step, int64_t total) {
    (void)what;
    assert_true(step <= total);
    int64_t *left = ctx;
    return (*left)-- == 0 ? hs_fail(HS_ESTOP, "stop") : HS_OK;
}

static void check_nothing(void) {
    char part[400];
    assert_int_equal(access(copy, F_OK), -1);
    assert_int_equal(access(pages, F_OK), -1);
    for (int i = 0; i < 2; i++) {
        snprintf(part, sizeof part, "%s.headscope-0.part%s", copy, i ? "-journal" : "");
        assert_int_equal(access(part, F_OK), -1);
    }
}

static void test_wrong(void **state) {
    (void)state;
    hs_db *db = record();
    hs_publish_result r;
    hs_publish_opts o = {0};
    for (int64_t after = 0; after < 4; after++) {
        int64_t left = 3 * after;
        hs_progress progress = {stop, &left};
        assert_int_equal(publish(db, &o, NULL, &progress), HS_ESTOP);
        check_nothing();
    }
    assert_int_equal(hs_db_publish(db, &o, path, &r, NULL), HS_EIO); // itself
    hs_publish_result_free(&r);
    assert_int_equal(hs_db_publish(db, &o, "/nowhere/x.db", &r, NULL), HS_EIO);
    hs_publish_result_free(&r);
    assert_int_equal(hs_db_publish(db, &o, "/dev/null", &r, NULL), HS_EARG);
    hs_publish_result_free(&r);
    // Somebody else's log would be replayed over the new file.
    char log[400];
    snprintf(log, sizeof log, "%s-wal", copy);
    fclose(fopen(log, "wb"));
    assert_int_equal(hs_db_publish(db, &o, copy, &r, NULL), HS_EARG);
    hs_publish_result_free(&r);
    unlink(log);
    check_nothing();
    // The pages cannot be written: the copy does not appear either.
    mkdir(pages, 0700);
    assert_int_equal(publish(db, &o, NULL, NULL), HS_EIO);
    rmdir(pages);
    check_nothing();
    done(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_runs), cmocka_unit_test(test_drop),
        cmocka_unit_test(test_clean), cmocka_unit_test(test_cut),  cmocka_unit_test(test_pages),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
