// The recorder: what is stored, in which shape, and what survives failures and kills.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "db/reader_internal.h"
#include "db/replay.h"
#include "tests/lib/dbfix.h"

static const dbrun everything = {
    .n_prompt = 3,
    .n_token = 40,
    .n_decode = 5,
    .maps = "all",
    .acts = "resid_pre,z,k,embed,logits,attn_scores",
    .observe = "sinks,massive,hidden_sinks,stripes",
};

static int64_t one(const char *path, const char *query) {
    sqlite3 *sql;
    sqlite3_stmt *s = NULL;
    int64_t v = -1;
    assert_int_equal(sqlite3_open_v2(path, &sql, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(sql, query, -1, &s, NULL)) fail_msg("%s", sqlite3_errmsg(sql));
    if (sqlite3_step(s) == SQLITE_ROW) v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(sql);
    return v;
}

static void change(const char *path, const char *sql) {
    sqlite3 *raw;
    char *error = NULL;
    sqlite3_open(path, &raw);
    if (sqlite3_exec(raw, sql, NULL, NULL, &error)) fail_msg("%s", error);
    sqlite3_close(raw);
}

static void assert_same(const char *a, const char *b) {
    char diff[200];
    dbrun_diff(a, b, diff, sizeof diff);
    assert_string_equal(diff, "");
}

static void assert_sound(const char *path) {
    char text[400];
    dbrun_integrity(path, text, sizeof text);
    assert_string_equal(text, "ok");
}

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static void test_counts(void **state) {
    (void)state;
    char path[256];
    int64_t run;
    dbrun_path(path, sizeof path, "counts");
    must(dbrun_record(path, &everything, &run));
    assert_int_equal(run, 1);
    assert_sound(path);
    assert_int_equal(one(path, "SELECT count(*) FROM prompt"), 3);
    assert_int_equal(one(path, "SELECT count(*) FROM token"), 45 + 46 + 47);
    assert_int_equal(one(path, "SELECT count(*) FROM token WHERE decoded"), 15);
    assert_int_equal(one(path, "SELECT min(pos) FROM token WHERE decoded AND prompt_id = 2"), 41);
    assert_int_equal(one(path, "SELECT count(*) FROM map WHERE point = 'pattern'"), 3 * 6);
    assert_int_equal(one(path, "SELECT count(*) FROM map WHERE point = 'attn_scores'"), 3 * 6);
    assert_int_equal(one(path, "SELECT count(*) FROM map WHERE n_q = 46 AND n_k = 46"), 2 * 6);
    assert_int_equal(one(path, "SELECT sum(raw_bytes) FROM map_chunk WHERE map_id = 1"),
                     45 * 46 / 2 * 4);
    assert_int_equal(one(path, "SELECT count(DISTINCT raw_bytes) FROM map AS m JOIN map_chunk AS c "
                               "ON c.map_id = m.id WHERE prompt_id = 1"),
                     1);
    assert_int_equal(one(path, "SELECT count(*) FROM act"), 3 * (3 * 2 + 2));
    assert_int_equal(one(path, "SELECT count(*) FROM row_series"), 3 * 2 * 3 * HS_N_STAT);
    assert_int_equal(one(path, "SELECT count(*) FROM act WHERE name = 'blocks.1.attn.hook_z' AND "
                               "shape = '[45, 3, 4]' AND layer = 1"),
                     1);
    assert_int_equal(one(path, "SELECT count(*) FROM act WHERE name = 'logits' AND layer IS NULL "
                               "AND width = 50"),
                     3);
    assert_int_equal(one(path, "SELECT text = 'prompt <0xE2> 0' FROM prompt WHERE ord = 0"), 1);
    assert_int_equal(one(path, "SELECT count(*) FROM run WHERE status = 'complete' AND ended_at "
                               "NOT NULL"),
                     1);
    // A plain file remains.
    char wal[300];
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(access(wal, F_OK), -1);
    assert_int_equal(one(path, "SELECT count(*) FROM pragma_journal_mode WHERE "
                               "journal_mode = 'delete'"),
                     1);
    assert_int_equal(one(path, "SELECT count(*) FROM pragma_page_size WHERE page_size = 16384"), 1);
    // Every column of every table is documented, and every unit of a metric known.
    assert_int_equal(one(path, "SELECT count(*) FROM sqlite_schema AS t JOIN "
                               "pragma_table_info(t.name) AS c LEFT JOIN column_doc AS d ON d.tbl "
                               "= t.name AND d.col = c.name WHERE t.type = 'table' AND "
                               "d.about IS NULL"),
                     0);
    assert_int_equal(one(path, "SELECT count(*) FROM head_metric WHERE metric NOT IN "
                               "(SELECT name FROM metric WHERE kind = 'metric')"),
                     0);
    assert_int_equal(one(path, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND sql "
                               "NOT LIKE '%STRICT%'"),
                     0);
    dbrun_remove(path);
}

static void test_values(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    dbrun_path(path, sizeof path, "values");
    dbrun what = everything;
    what.observe = NULL;
    must(dbrun_record(path, &what, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    for (int h = 0; h < 3; h++) {
        int64_t n;
        float *map = dbfix_map(db, 2, 1, h, &n);
        assert_int_equal(n, 46);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                assert_true(map[i * n + j] == dbrun_weight(1, 1, h, i, j));
        free(map);
    }
    hs_db_close(db);
    dbrun_remove(path);
}

// Scores: the visible ones as they were, -inf where a query does not see; of all heads, also where
// few maps are kept, and in two bytes a number where a byte cannot hold them.
static void test_scores(void **state) {
    (void)state;
    for (enum hs_store store = HS_STORE_F32; store <= HS_STORE_U8; store++) {
        char path[256];
        hs_db *db;
        hs_reader r;
        bool found;
        float row[41];
        dbrun what = {.n_prompt = 2,
                      .n_token = 40,
                      .maps = "L0H1",
                      .acts = "blocks.1.attn.hook_attn_scores",
                      .store = store};
        dbrun_path(path, sizeof path, "scores");
        must(dbrun_record(path, &what, NULL));
        assert_sound(path);
        must(hs_db_open(&db, path, HS_DB_READ));
        assert_int_equal(one(path, "SELECT count(*) FROM map WHERE point = 'pattern'"), 2);
        assert_int_equal(one(path, "SELECT count(*) FROM map WHERE layer = 1 AND dtype <> 'u8'"),
                         2 * 3);
        for (int h = 0; h < 3; h++) {
            must(hs_reader_map(&r, db, 2, HS_SCORES, 1, h, &found));
            assert_true(found);
            assert_int_equal(r.n_row, 41);
            for (int64_t i = 0; i < 41; i++) {
                must(hs_reader_row_full(&r, i, row, 41));
                for (int64_t j = 0; j < 41; j++) {
                    float want = dbrun_score(1, 1, h, i, j);
                    assert_true(row[j] == want ||
                                (j <= i && store != HS_STORE_F32 && fabsf(row[j] - want) < 0.02f));
                }
            }
            hs_reader_close(&r);
        }
        must(hs_reader_map(&r, db, 2, HS_SCORES, 0, 1, &found));
        assert_false(found);
        hs_reader_close(&r);
        hs_db_close(db);
        dbrun_remove(path);
    }
}

// The order of chunks is that of their last rows, also where two kinds of maps fill them at
// different rows (u8 and f16).
static void test_kinds_of_maps(void **state) {
    (void)state;
    char a[256], b[256];
    dbrun what = {.n_prompt = 1,
                  .n_token = 1600,
                  .maps = "L0H*",
                  .acts = "blocks.0.attn.hook_attn_scores",
                  .store = HS_STORE_U8,
                  .shape = {2000, 100, 2}};
    dbrun_path(a, sizeof a, "kinds0");
    dbrun_path(b, sizeof b, "kinds1");
    must(dbrun_record(a, &what, NULL));
    assert_int_equal(one(a, "SELECT count(*) FROM map_chunk"), 3 * (2 + 3));
    what.shape = (dbrun_shape){60, 60, 1};
    must(dbrun_record(b, &what, NULL));
    assert_same(a, b);
    dbrun_remove(a);
    dbrun_remove(b);
}

// The same rows whatever the heights of blocks and tiles and the number of threads.
static void test_shapes(void **state) {
    (void)state;
    static const dbrun_shape shapes[] = {
        {64, 16, 1}, {64, 16, 3}, {7, 3, 2}, {1000, 1000, 1}, {1, 1, 1}};
    char first[256], path[256];
    dbrun what = everything;
    dbrun_path(first, sizeof first, "shape0");
    what.shape = shapes[0];
    must(dbrun_record(first, &what, NULL));
    for (size_t i = 1; i < sizeof shapes / sizeof *shapes; i++) {
        dbrun_path(path, sizeof path, "shape1");
        what.shape = shapes[i];
        must(dbrun_record(path, &what, NULL));
        assert_same(first, path);
        dbrun_remove(path);
    }
    // A run that says that it had more of them.
    what.shape = shapes[0];
    what.threads = 7;
    must(dbrun_record(path, &what, NULL));
    assert_int_equal(one(path, "SELECT runtime_threads FROM run"), 7);
    assert_same(first, path);
    dbrun_remove(path);
    dbrun_remove(first);
}

// Long enough for several chunks of maps and series, and for decoding to add to them.
static void test_chunks(void **state) {
    (void)state;
    char a[256], b[256];
    dbrun what = {.n_prompt = 1,
                  .n_token = 900,
                  .n_decode = 70,
                  .maps = "L1H2,L0H1",
                  .acts = "logits",
                  .shape = {256, 64, 2}};
    dbrun_path(a, sizeof a, "chunks0");
    must(dbrun_record(a, &what, NULL));
    assert_sound(a);
    // Two of the prompt, then one for every 64 KiB that decoding adds, and the rest.
    assert_int_equal(one(a, "SELECT count(*) FROM map_chunk WHERE map_id = 1"), 2 + 4);
    assert_int_equal(one(a, "SELECT sum(n_q) FROM map_chunk WHERE map_id = 1"), 970);
    assert_int_equal(one(a, "SELECT sum(raw_bytes) FROM map_chunk WHERE map_id = 2"),
                     970 * 971 / 2 * 4);
    assert_true(one(a, "SELECT max(raw_bytes) FROM map_chunk") < (1 << 20) + 4 * 970);
    assert_int_equal(one(a, "SELECT count(*) FROM row_series WHERE stat = 'max'"), 12);
    what.shape = (dbrun_shape){100, 100, 1};
    dbrun_path(b, sizeof b, "chunks1");
    must(dbrun_record(b, &what, NULL));
    assert_same(a, b);
    dbrun_remove(a);
    dbrun_remove(b);
}

// More rows than a series blob holds.
static void test_long(void **state) {
    (void)state;
    char path[256];
    dbrun what = {.n_prompt = 1, .n_token = 4100, .shape = {512, 512, 1}};
    dbrun_path(path, sizeof path, "long");
    must(dbrun_record(path, &what, NULL));
    assert_int_equal(one(path, "SELECT count(*) FROM row_series WHERE row0 = 0 AND n_row = 1000"),
                     2 * 3 * HS_N_STAT);
    assert_int_equal(one(path, "SELECT count(*) FROM row_series WHERE row0 = 4000 AND n_row = 100"),
                     2 * 3 * HS_N_STAT);
    dbrun_remove(path);
}

static void test_formats(void **state) {
    (void)state;
    static const struct {
        enum hs_store store;
        double tolerance;
    } formats[] = {{HS_STORE_F16, 1.0 / 2048}, {HS_STORE_U8, 1.0 / 500}};
    for (size_t k = 0; k < 2; k++) {
        char path[256];
        hs_db *db;
        int64_t n;
        dbrun what = {
            .n_prompt = 1, .n_token = 300, .maps = "L1H2", .acts = "z", .store = formats[k].store};
        dbrun_path(path, sizeof path, "formats");
        must(dbrun_record(path, &what, NULL));
        must(hs_db_open(&db, path, HS_DB_READ));
        float *map = dbfix_map(db, 1, 1, 2, &n);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                assert_true(fabs((double)map[i * n + j] - (double)dbrun_weight(0, 1, 2, i, j)) <=
                            formats[k].tolerance);
        free(map);
        hs_db_close(db);
        dbrun_remove(path);
    }
}

// A second run in the same file, and a cancelled prompt, leave ids without gaps.
static void test_resume_parts(void **state) {
    (void)state;
    char whole[256], parts[256];
    dbrun what = everything;
    dbrun_path(whole, sizeof whole, "whole");
    dbrun_path(parts, sizeof parts, "parts");
    must(dbrun_record(whole, &what, NULL));
    what.resume = true;
    for (int stop = 1; stop <= 2; stop++) {
        what.stop_after = stop;
        must(dbrun_record(parts, &what, NULL));
        assert_int_equal(one(parts, "SELECT count(*) FROM prompt"), stop);
        assert_int_equal(one(parts, "SELECT count(*) FROM run WHERE status = 'interrupted'"), 1);
    }
    what.stop_after = 0;
    int64_t run = 0;
    must(dbrun_record(parts, &what, &run));
    assert_int_equal(run, 1);
    assert_same(whole, parts);
    // Complete: nothing is added, and the run stays as it is.
    change(parts, "UPDATE run SET ended_at = 'long ago'");
    must(dbrun_record(parts, &what, &run));
    assert_int_equal(run, 1);
    assert_int_equal(one(parts, "SELECT count(*) FROM run WHERE ended_at = 'long ago'"), 1);
    assert_same(whole, parts);
    what.resume = false;
    must(dbrun_record(parts, &what, &run));
    assert_int_equal(run, 2);
    assert_int_equal(one(parts, "SELECT count(*) FROM model"), 1);
    assert_int_equal(one(parts, "SELECT max(id) FROM prompt"), 6);
    dbrun_remove(whole);
    dbrun_remove(parts);
}

static void test_misuse(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    hs_rec *rec;
    hs_hooks *hooks;
    int64_t done;
    bool complete;
    int32_t tokens[4] = {1, 2, 3, 4};
    hs_prompt p = {.id = "a", .tokens = tokens, .n_token = 4};
    hs_model_facts facts = dbrun_facts();
    hs_run_info info = dbrun_info();
    dbrun_path(path, sizeof path, "misuse");
    must(hs_db_open(&db, path, HS_DB_CREATE));
    must(hs_rec_start(&rec, db, &facts, &info, true, &done, &complete));
    must(hs_rec_keep(rec, NULL, NULL, HS_STORE_F32));
    must(hs_hooks_open(&hooks, &dbrun_dims));
    must(hs_rec_hook(rec, hooks));
    const hs_tap *tap = hs_hooks_tap(hooks);
    dbrun_shape shape = {8, 8, 1};
    assert_int_equal(dbrun_eval(tap, 0, 0, 4, shape), HS_EARG); // outside of a prompt
    assert_int_equal(hs_rec_prompt_end(rec), HS_EARG);
    must(hs_rec_prompt(rec, 0, &p));
    assert_int_equal(hs_rec_prompt(rec, 1, &p), HS_EARG);
    must(dbrun_eval(tap, 0, 0, 2, shape));
    assert_int_equal(dbrun_eval(tap, 0, 3, 1, shape), HS_EARG); // a row is missing
    hs_rec_prompt_cancel(rec);
    must(hs_rec_prompt(rec, 0, &p));
    must(dbrun_eval(tap, 0, 0, 6, shape)); // more rows than tokens
    assert_int_equal(hs_rec_prompt_end(rec), HS_EARG);
    must(hs_rec_prompt(rec, 0, &p));
    must(dbrun_eval(tap, 0, 0, 4, shape));
    must(hs_rec_prompt_end(rec));
    p.id = "b";
    // The same number again: the writer tells when it comes to it, at the close at the latest.
    int rc = hs_rec_prompt(rec, 0, &p);
    if (!rc) rc = hs_rec_prompt_end(rec);
    hs_hooks_close(hooks);
    assert_int_equal(hs_rec_close(rec, HS_OK), rc ? HS_OK : HS_EDB);
    hs_db_close(db);
    assert_sound(path);
    assert_int_equal(one(path, "SELECT count(*) FROM prompt"), 1);
    dbrun_remove(path);
}

// ---- kills and full disks ----------------------------------------------------------------------

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static pid_t start(const char *path, const dbrun *what) {
    pid_t pid = fork();
    if (pid == 0) _exit(dbrun_record(path, what, NULL) ? 1 : 0);
    assert_true(pid > 0);
    return pid;
}

static void test_kill(void **state) {
    (void)state;
    enum { KILLS = 40 };
    char whole[256], path[256];
    dbrun what = {.n_prompt = 6,
                  .n_token = 50,
                  .n_decode = 3,
                  .maps = "all",
                  .acts = "z,logits",
                  .observe = "sinks,massive",
                  .resume = true};
    dbrun_path(whole, sizeof whole, "unbroken");
    double begin = seconds();
    int status;
    assert_int_equal(waitpid(start(whole, &what), &status, 0) > 0, 1);
    assert_int_equal(status, 0);
    double took = seconds() - begin;
    int midway = 0;
    srand(1);
    for (int k = 0; k < KILLS; k++) {
        dbrun_path(path, sizeof path, "killed");
        // One to three kills, then to the end.
        for (int again = 0; again <= k % 3; again++) {
            pid_t pid = start(path, &what);
            usleep((useconds_t)(took * 1e6 * (rand() % 1000) / 1000));
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            if (access(path, F_OK) == 0) assert_sound(path);
        }
        hs_db *db = NULL;
        if (access(path, F_OK) == 0 && one(path, "SELECT count(*) FROM sqlite_schema") > 0) {
            must(hs_db_open(&db, path, HS_DB_READ));
            hs_db_close(db);
            int64_t n = one(path, "SELECT count(*) FROM prompt");
            midway += n > 0 && n < what.n_prompt;
        }
        must(dbrun_record(path, &what, NULL));
        assert_sound(path);
        assert_same(whole, path);
    }
    if (!midway) print_message("no kill fell between the first and the last prompt\n");
    dbrun_remove(whole);
    dbrun_remove(path);
}

// A limit on the file's size stands for a full disk.
static void test_full(void **state) {
    (void)state;
    char path[256], whole[256];
    dbrun what = {.n_prompt = 8, .n_token = 120, .maps = "all", .resume = true};
    dbrun_path(path, sizeof path, "full");
    dbrun_path(whole, sizeof whole, "notfull");
    must(dbrun_record(whole, &what, NULL));
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit small = {1200 << 10, 1200 << 10};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &small);
        int rc = dbrun_record(path, &what, NULL);
        _exit(rc == HS_EIO && !strchr(hs_errmsg(), '\n') && strstr(hs_errmsg(), path) ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_sound(path);
    int64_t n = one(path, "SELECT count(*) FROM prompt");
    assert_in_range(n, 1, 7);
    must(dbrun_record(path, &what, NULL));
    assert_same(whole, path);
    dbrun_remove(path);
    dbrun_remove(whole);
}

static void test_lossy_limits(void **state) {
    (void)state;
    uint8_t out[64];
    float big = 70000, inf = INFINITY;
    assert_int_equal(hs_row_put(HS_STORE_F16, out, &big, 1), HS_EUNSUPPORTED);
    assert_int_equal(hs_row_put(HS_STORE_F16, out, &inf, 1), HS_OK);
    assert_int_equal(hs_row_put(HS_STORE_U8, out, &inf, 1), HS_EUNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_scores),       cmocka_unit_test(test_kinds_of_maps),
        cmocka_unit_test(test_shapes),       cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_long),         cmocka_unit_test(test_formats),
        cmocka_unit_test(test_resume_parts), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_kill),         cmocka_unit_test(test_full),
        cmocka_unit_test(test_lossy_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
