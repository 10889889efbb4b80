// The database file: what is opened, what is refused and how, look-ups, the writer's queue.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/writer_internal.h"
#include "tests/lib/dbrun.h"

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static int try_open(const char *path, enum hs_db_mode mode) {
    hs_db *db;
    int rc = hs_db_open(&db, path, mode);
    if (rc) {
        assert_null(db);
        assert_null(strchr(hs_errmsg(), '\n'));
        if (path[0]) assert_non_null(strstr(hs_errmsg(), path));
    }
    hs_db_close(db);
    return rc;
}

static void put_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void change(const char *path, const char *sql) {
    sqlite3 *raw;
    char *error = NULL;
    sqlite3_open(path, &raw);
    if (sqlite3_exec(raw, sql, NULL, NULL, &error)) fail_msg("%s", error);
    sqlite3_close(raw);
}

static void test_create(void **state) {
    (void)state;
    char path[256];
    uint8_t head[100];
    dbrun_path(path, sizeof path, "create");
    assert_int_equal(try_open(path, HS_DB_READ), HS_EIO);
    assert_int_equal(try_open(path, HS_DB_WRITE), HS_EIO);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(try_open(path, HS_DB_CREATE), HS_OK);
    assert_int_equal(try_open(path, HS_DB_CREATE), HS_OK);
    assert_int_equal(try_open(path, HS_DB_WRITE), HS_OK);
    assert_int_equal(try_open(path, HS_DB_READ), HS_OK);
    FILE *f = fopen(path, "rb");
    assert_int_equal(fread(head, 1, 100, f), 100);
    fclose(f);
    assert_int_equal(head[16] << 8 | head[17], 16384);
    assert_int_equal(head[18], 1);             // a rollback journal
    assert_memory_equal(head + 68, "hsdb", 4); // application_id
    assert_int_equal(head[63], 1);             // user_version
    put_file(path, "", 0);
    assert_int_equal(try_open(path, HS_DB_READ), HS_EFORMAT);
    assert_int_equal(try_open(path, HS_DB_CREATE), HS_OK);
    dbrun_remove(path);
    assert_int_equal(try_open("", HS_DB_CREATE), HS_EARG);
    assert_int_equal(try_open("/nowhere/at/all.db", HS_DB_CREATE), HS_EIO);
    assert_int_equal(try_open("/tmp", HS_DB_CREATE), HS_EIO);
}

static void test_foreign(void **state) {
    (void)state;
    char path[256], text[3000];
    struct stat before, after;
    memset(text, 'x', sizeof text);
    dbrun_path(path, sizeof path, "foreign");
    for (size_t n = 1; n <= sizeof text; n += 599) {
        put_file(path, text, n);
        for (int mode = HS_DB_READ; mode <= HS_DB_CREATE; mode++)
            assert_int_equal(try_open(path, (enum hs_db_mode)mode), HS_EFORMAT);
    }
    // A database of somebody else stays as it is.
    dbrun_remove(path);
    change(path, "PRAGMA journal_mode = WAL; CREATE TABLE song (title)");
    assert_int_equal(stat(path, &before), 0);
    for (int mode = HS_DB_READ; mode <= HS_DB_CREATE; mode++)
        assert_int_equal(try_open(path, (enum hs_db_mode)mode), HS_EFORMAT);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    dbrun_remove(path);
}

static void test_versions(void **state) {
    (void)state;
    char path[256];
    dbrun_path(path, sizeof path, "versions");
    must(try_open(path, HS_DB_CREATE));
    change(path, "PRAGMA user_version = 2");
    for (int mode = HS_DB_READ; mode <= HS_DB_CREATE; mode++)
        assert_int_equal(try_open(path, (enum hs_db_mode)mode), HS_EUNSUPPORTED);
    assert_non_null(strstr(hs_errmsg(), "newer"));
    change(path, "PRAGMA user_version = 0");
    for (int mode = HS_DB_READ; mode <= HS_DB_CREATE; mode++)
        assert_int_equal(try_open(path, (enum hs_db_mode)mode), HS_EFORMAT);
    change(path, "PRAGMA user_version = -1");
    assert_int_equal(try_open(path, HS_DB_CREATE), HS_EFORMAT);
    dbrun_remove(path);
}

static void test_cut(void **state) {
    (void)state;
    char path[256];
    struct stat st;
    dbrun what = {.n_prompt = 1, .n_token = 200, .maps = "all"};
    dbrun_path(path, sizeof path, "cut");
    must(dbrun_record(path, &what, NULL));
    assert_int_equal(stat(path, &st), 0);
    for (off_t n = st.st_size - 16384; n > 0; n -= 5 * 16384) {
        assert_int_equal(truncate(path, n), 0);
        assert_int_equal(try_open(path, HS_DB_READ), HS_EFORMAT);
        assert_int_equal(try_open(path, HS_DB_WRITE), HS_EFORMAT);
    }
    dbrun_remove(path);
}

// Pages overwritten in the middle: found before anything is written.
static void test_scratched(void **state) {
    (void)state;
    char path[256], junk[16384];
    struct stat st;
    dbrun what = {.n_prompt = 1, .n_token = 50};
    int found = 0, pages = 0;
    memset(junk, 0x5a, sizeof junk);
    dbrun_path(path, sizeof path, "scratched");
    for (int page = 1;; page++, pages++) {
        must(dbrun_record(path, &what, NULL));
        assert_int_equal(stat(path, &st), 0);
        if (page >= st.st_size / 16384) break;
        FILE *f = fopen(path, "r+b");
        fseek(f, page * 16384L, SEEK_SET);
        fwrite(junk, 1, sizeof junk, f);
        fclose(f);
        int rc = try_open(path, HS_DB_WRITE);
        assert_true(rc == HS_EFORMAT || rc == HS_OK); // pages that only hold blobs have no form
        found += rc == HS_EFORMAT;
        dbrun_remove(path);
    }
    assert_true(pages > 5 && found > pages / 2);
    dbrun_remove(path);
}

static void test_read_only(void **state) {
    (void)state;
    char path[256];
    dbrun_path(path, sizeof path, "readonly");
    must(try_open(path, HS_DB_CREATE));
    hs_db *db;
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(hs_sql_exec(db, "DELETE FROM meta"), HS_EIO);
    hs_db_close(db);
    if (geteuid() != 0) { // root writes anyway
        chmod(path, 0444);
        assert_int_equal(try_open(path, HS_DB_WRITE), HS_EIO);
    }
    dbrun_remove(path);
}

// Triggers of a stranger never run.
static void test_triggers(void **state) {
    (void)state;
    char path[256];
    dbrun what = {.n_prompt = 1, .n_token = 5};
    dbrun_path(path, sizeof path, "triggers");
    must(try_open(path, HS_DB_CREATE));
    change(path, "CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM meta; END");
    must(dbrun_record(path, &what, NULL));
    hs_db *db;
    int64_t n = 0;
    must(hs_db_open(&db, path, HS_DB_READ));
    must(hs_sql_int(db, "SELECT count(*) FROM meta", NULL, 0, &n, NULL));
    assert_int_equal(n, 1);
    hs_db_close(db);
    dbrun_remove(path);
}

static void test_lookups(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    int64_t id;
    dbrun what = {.n_prompt = 3, .n_token = 5};
    dbrun_path(path, sizeof path, "lookups");
    must(try_open(path, HS_DB_CREATE));
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(hs_db_run(db, 0, &id), HS_ENOTFOUND);
    hs_db_close(db);
    must(dbrun_record(path, &what, NULL));
    must(dbrun_record(path, &what, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    must(hs_db_run(db, 0, &id));
    assert_int_equal(id, 2);
    must(hs_db_run(db, 1, &id));
    assert_int_equal(id, 1);
    assert_int_equal(hs_db_run(db, 3, &id), HS_ENOTFOUND);
    must(hs_db_prompt(db, 2, NULL, &id));
    assert_int_equal(id, 4);
    must(hs_db_prompt(db, 2, "2", &id));
    assert_int_equal(id, 6);
    must(hs_db_prompt(db, 2, "p1", &id));
    assert_int_equal(id, 5);
    assert_int_equal(hs_db_prompt(db, 2, "3", &id), HS_ENOTFOUND);
    assert_int_equal(hs_db_prompt(db, 2, "p9", &id), HS_ENOTFOUND);
    assert_int_equal(hs_db_prompt(db, 2, "", &id), HS_ENOTFOUND);
    hs_db_close(db);
    dbrun_remove(path);
}

static void test_readable(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } cases[] = {{"plain\n", 6, "plain\n"},
                 {"\xc3\xa9", 2, "\xc3\xa9"},
                 {"\xc3", 1, "<0xC3>"},
                 {"a\0b", 3, "a<0x00>b"},
                 {"\xed\xa0\x80", 3, "<0xED><0xA0><0x80>"},
                 {"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
                 {"\xe2\x82", 2, "<0xE2><0x82>"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_buf b = {0};
        hs_sql_readable(&b, cases[i].in, cases[i].n);
        assert_string_equal(hs_buf_text(&b), cases[i].out);
        hs_buf_free(&b);
    }
}

// ---- the writer ---------------------------------------------------------------------------------

#define META "INSERT INTO meta VALUES (?, ?)"

static int64_t rows_of_meta(const char *path) {
    hs_db *db;
    int64_t n = 0;
    must(hs_db_open(&db, path, HS_DB_READ));
    must(hs_sql_int(db, "SELECT count(*) FROM meta WHERE key LIKE 'k%'", NULL, 0, &n, NULL));
    hs_db_close(db);
    return n;
}

static int put_key(hs_writer *w, int k) {
    char key[16];
    snprintf(key, sizeof key, "k%d", k);
    hs_v v[] = {hs_v_text(key), hs_v_text("value")};
    return hs_writer_row(w, META, v, 2);
}

static void test_writer(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    hs_writer *w;
    dbrun_path(path, sizeof path, "writer");
    must(hs_db_open(&db, path, HS_DB_CREATE));
    must(hs_writer_open(&w, db, 1000)); // a few rows: producers wait
    must(hs_writer_begin(w));
    for (int i = 0; i < 500; i++) must(put_key(w, i));
    must(hs_writer_commit(w));
    // A failure is told by what follows, and undone by a rollback.
    must(hs_writer_begin(w));
    int rc = put_key(w, 1000);
    for (int i = 0; i < 300 && !rc; i++) rc = put_key(w, i); // there already
    if (!rc) rc = hs_writer_commit(w);
    if (!rc) rc = hs_writer_wait(w);
    assert_int_equal(rc, HS_EDB);
    assert_int_equal(hs_writer_commit(w), HS_EDB);
    assert_int_equal(hs_writer_wait(w), HS_EDB);
    hs_writer_rollback(w);
    must(hs_writer_begin(w));
    must(put_key(w, 2000));
    must(hs_writer_commit(w));
    must(hs_writer_wait(w));
    assert_int_equal(rows_of_meta(path), 501);
    // A row larger than the queue passes; what is open at the end is rolled back.
    must(hs_writer_begin(w));
    char *big = malloc(100000);
    memset(big, 'b', 100000);
    hs_v v[] = {hs_v_text("kbig"), hs_v_textn(big, 100000)};
    must(hs_writer_give(w, META, v, 2));
    must(hs_writer_close(w));
    hs_db_close(db);
    assert_int_equal(rows_of_meta(path), 501);
    dbrun_remove(path);
}

// A commit that fails unheard is told after the rollback of what came next, not forgotten.
static void test_unheard(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    hs_writer *w;
    dbrun_path(path, sizeof path, "unheard");
    must(hs_db_open(&db, path, HS_DB_CREATE));
    must(hs_writer_open(&w, db, 1 << 20));
    must(hs_writer_begin(w));
    must(put_key(w, 0));
    must(put_key(w, 0));
    hs_writer_rollback(w); // drops the rows before they were sent: nothing failed
    must(hs_writer_begin(w));
    must(put_key(w, 1));
    must(hs_writer_commit(w));
    must(hs_writer_begin(w));
    must(put_key(w, 1));
    int rc = hs_writer_commit(w); // fails, now or later
    hs_writer_rollback(w);
    if (!rc) rc = hs_writer_begin(w);
    assert_int_equal(rc, HS_EDB);
    hs_writer_rollback(w);
    must(hs_writer_begin(w));
    must(put_key(w, 2));
    must(hs_writer_commit(w));
    must(hs_writer_close(w));
    hs_db_close(db);
    assert_int_equal(rows_of_meta(path), 2);
    dbrun_remove(path);
}

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    int put; // rows that the producer got rid of
    hs_writer *writer;
} gate;

static void wait_at_gate(sqlite3_context *ctx, int n, sqlite3_value **v) {
    gate *g = sqlite3_user_data(ctx);
    (void)n;
    pthread_mutex_lock(&g->lock);
    while (!g->open) pthread_cond_wait(&g->opened, &g->lock);
    pthread_mutex_unlock(&g->lock);
    sqlite3_result_value(ctx, v[0]);
}

static void *produce(void *arg) {
    gate *g = arg;
    char key[16], value[1000];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        hs_v v[] = {hs_v_text(key), hs_v_textn(value, sizeof value)};
        if (hs_writer_row(g->writer, "INSERT INTO meta VALUES (gate(?), ?)", v, 2)) break;
        pthread_mutex_lock(&g->lock);
        g->put = i + 1;
        pthread_mutex_unlock(&g->lock);
    }
    return NULL;
}

// While the writer is held up, a producer gets rid of no more than the queue's bytes.
static void test_bounded(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    pthread_t thread;
    gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    dbrun_path(path, sizeof path, "bounded");
    must(hs_db_open(&db, path, HS_DB_CREATE));
    sqlite3_create_function(db->sql, "gate", 1, SQLITE_UTF8, &g, wait_at_gate, NULL, NULL);
    must(hs_writer_open(&g.writer, db, 10000));
    must(hs_writer_begin(g.writer));
    assert_int_equal(pthread_create(&thread, NULL, produce, &g), 0);
    usleep(50000); // long enough to fill the queue; a slow machine only tests less
    pthread_mutex_lock(&g.lock);
    int put = g.put;
    g.open = true;
    pthread_cond_broadcast(&g.opened);
    pthread_mutex_unlock(&g.lock);
    pthread_join(thread, NULL);
    assert_in_range(put, 0, 10);
    assert_int_equal(g.put, 100);
    must(hs_writer_commit(g.writer));
    must(hs_writer_close(g.writer));
    hs_db_close(db);
    assert_int_equal(rows_of_meta(path), 100);
    dbrun_remove(path);
}

// Another process in the middle of a transaction: an error in words after the waiting time.
static void test_busy(void **state) {
    (void)state;
    char path[256];
    sqlite3 *other;
    hs_db *db;
    hs_writer *w;
    dbrun_path(path, sizeof path, "busy");
    must(hs_db_open(&db, path, HS_DB_CREATE));
    sqlite3_busy_timeout(db->sql, 20);
    must(hs_db_wal(db));
    sqlite3_open(path, &other);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    must(hs_writer_open(&w, db, 1000));
    must(hs_writer_begin(w));
    assert_int_equal(hs_writer_wait(w), HS_EDB);
    assert_non_null(strstr(hs_errmsg(), "another process"));
    hs_writer_rollback(w);
    sqlite3_exec(other, "COMMIT", NULL, NULL, NULL);
    must(hs_writer_begin(w));
    must(hs_writer_commit(w));
    must(hs_writer_close(w));
    sqlite3_close(other);
    hs_db_close(db);
    dbrun_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),    cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_versions),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_scratched), cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_triggers),  cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_readable),  cmocka_unit_test(test_writer),
        cmocka_unit_test(test_busy),      cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_unheard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
