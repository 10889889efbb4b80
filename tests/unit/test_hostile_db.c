// Databases from strangers, through the commands that read them: cut, changed byte by byte, with
// another schema, with triggers, views, logs and journals of ill will. Each ends in a documented
// status and one line on failure (cli_run looks at both), and what was not asked for never runs.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/cli.h"
#include "tests/fuzz/damage.h"

enum { SECONDS = 300 };

static const char *const show[] = {"show", "--db", "run.db", "--json", NULL};
static const char *const heads[] = {"heads", "--metric", "entropy_nats", "--db", "run.db", NULL};
static const char *const attend[] = {"attend", "--head", "L1H1", "--db", "run.db", NULL};
static const char *const observe[] = {"observe", "stripes", "--db", "run.db", NULL};
static const char *const export[] = {"export", "-o", "out.npz", "--db", "run.db", "-q", NULL};
static const char *const *const commands[] = {show, heads, attend, observe, export};
enum { N_COMMAND = sizeof commands / sizeof *commands };

static int group_setup(void **state) {
    (void)state;
    alarm(SECONDS); // a hang is a failure
    return access("/dev/shm", W_OK) ? 0 : setenv("TMPDIR", "/dev/shm", 0);
}

// Fails unless the status is one of `allowed`'s digits.
static void expect(const char *allowed, const char *what, long long at, const char *const *words) {
    hs_buf said = {0};
    int status = cli_run(damage_folder(), words, &said);
    if (status > 9 || !strchr(allowed, '0' + status))
        fail_msg("%s %lld, %s: status %d: %s", what, at, words[0], status, hs_buf_text(&said));
    hs_buf_free(&said);
}

static int64_t number(const char *query) {
    sqlite3 *sql = NULL;
    sqlite3_stmt *s = NULL;
    int64_t n = -1;
    assert_int_equal(sqlite3_open(damage_path(), &sql), SQLITE_OK);
    if (!sqlite3_prepare_v2(sql, query, -1, &s, NULL) && sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(sql);
    return n;
}

static void tamper(uint8_t kind, const void *bytes, size_t n) {
    uint8_t in[1000] = {kind};
    assert_true(n < sizeof in);
    memcpy(in + 1, bytes, n);
    damage((input){in, n + 1});
}

static void tamper_sql(const char *text) {
    tamper(2, text, strlen(text));
}

static void sound(void **state) {
    (void)state;
    damage_fresh();
    for (int c = 0; c < N_COMMAND; c++) expect("0", "as it is", 0, commands[c]);
}

static void cut(void **state) {
    (void)state;
    struct stat st;
    damage_fresh();
    assert_int_equal(stat(damage_path(), &st), 0);
    for (off_t n = 0; n < st.st_size; n += n < 112 ? 1 : 1024 - n % 1024) {
        damage_fresh();
        assert_int_equal(truncate(damage_path(), n), 0);
        expect("3", "cut at byte", n, show);
    }
}

// Bytes of the file's header, then the first ones of each page, which say how it is divided.
static void flipped(void **state) {
    (void)state;
    struct stat st;
    damage_fresh();
    assert_int_equal(stat(damage_path(), &st), 0);
    for (off_t i = 0; i < st.st_size; i += i < 111 || i % 1024 < 11 ? 1 : 1024 - i % 1024) {
        // offset, length, and a byte that is none of what is there often
        const uint8_t patch[] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16), 1, 0xa7};
        tamper(0, patch, sizeof patch);
        expect("0135", "byte", i, commands[i % N_COMMAND]);
    }
}

// Other tables than ours are refused by name, before anything is read from them.
static void schemas(void **state) {
    (void)state;
    static const char *const lies[] = {
        "DROP TABLE metric",
        "DROP VIEW v_head_metric",
        "ALTER TABLE run ADD COLUMN more",
        "UPDATE sqlite_schema SET sql = replace(sql, 'CHECK', 'CHEK')",
        "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'prompt'",
        "UPDATE sqlite_schema SET sql = NULL WHERE name = 'map'",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE map(a, b AS (randomblob(1e9)))' WHERE name = "
        "'map'",
        "DROP VIEW v_head_metric; CREATE VIEW v_head_metric AS SELECT load_extension('x')",
        "DROP TABLE metric; CREATE VIRTUAL TABLE metric USING fts5(name)",
        "DROP TABLE metric; CREATE VIEW metric AS WITH RECURSIVE a(x) AS (VALUES(1) UNION ALL "
        "SELECT x FROM a) SELECT * FROM a",
        "PRAGMA user_version = 99",
        "PRAGMA user_version = -1",
        "PRAGMA application_id = 7",
        "PRAGMA encoding = 'UTF-16'; VACUUM; DROP TABLE metric",
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        for (int c = 0; c < N_COMMAND; c++) {
            tamper_sql(lies[i]);
            expect("3", lies[i], 0, commands[c]);
        }
}

static void triggers(void **state) {
    (void)state;
    static const char *const events[] = {"INSERT ON head_metric", "INSERT ON analysis_run",
                                         "DELETE ON analysis_run", "INSERT ON series"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        char text[200];
        sqlite3 *sql = NULL;
        damage_fresh();
        assert_int_equal(sqlite3_open(damage_path(), &sql), SQLITE_OK);
        snprintf(text, sizeof text, "CREATE TRIGGER t AFTER %s BEGIN DELETE FROM token; END",
                 events[i]);
        assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(sql);
        const int64_t tokens = number("SELECT count(*) FROM token");
        expect("0", text, 0, observe);
        assert_true(tokens > 0);
        assert_int_equal(number("SELECT count(*) FROM token"), tokens);
    }
}

// What else a file may hold does nothing by itself, and little when it is asked for.
static void strangers(void **state) {
    (void)state;
    static const char *const query[] = {"query", "select * from extra", "--db", "run.db", NULL};
    static const struct {
        const char *sql, *allowed; // of the query
    } extras[] = {
        {"CREATE VIEW extra AS SELECT load_extension('x')", "2"},
        {"CREATE VIEW extra AS SELECT att_row(1, 1)", "2"},
        {"CREATE VIEW extra AS SELECT writefile('x', 'y')", "2"},
        {"CREATE VIEW extra AS SELECT * FROM pragma_user_version", "02"},
        {"CREATE VIEW extra AS SELECT * FROM missing", "2"},
        {"CREATE VIRTUAL TABLE extra USING fts5(x)", "02"},
        {"CREATE TABLE extra(x, y AS (x || att_series(x)))", "23"},
    };
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
        for (int c = 0; c < N_COMMAND; c++) {
            tamper_sql(extras[i].sql);
            expect(i == 6 ? "03" : "0", extras[i].sql, 0, commands[c]);
            expect(extras[i].allowed, extras[i].sql, 1, query);
        }
}

// Rows that CHECKs would have kept out.
static void rows(void **state) {
    (void)state;
    static const char *const lies[] = {
        "UPDATE model SET n_layer = -1",
        "UPDATE model SET n_head = 1000000000",
        "UPDATE model SET n_layer = 9223372036854775807, n_head = 9223372036854775807",
        "UPDATE map SET n_q = 9223372036854775807, n_k = 9223372036854775807",
        "UPDATE map_chunk SET n_q = 1000000000",
        "UPDATE map_chunk SET raw_bytes = 9223372036854775807, codec = 'zstd'",
        "UPDATE map_chunk SET data = zeroblob(1000000)",
        "UPDATE map_chunk SET data = x''",
        "UPDATE act SET width = 4611686018427387904",
        "UPDATE prompt SET n_token = 9223372036854775807",
        "UPDATE row_series SET data = substr(data, 1, 11)",
        "UPDATE row_series SET row0 = -9223372036854775808",
        "UPDATE OR IGNORE head_metric SET layer = -9223372036854775807",
        "UPDATE OR IGNORE head_metric SET head = 4294967296",
        "UPDATE token SET text = x'00ff', pos = -pos",
        "DELETE FROM model",
        "DELETE FROM prompt",
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        for (int c = 0; c < N_COMMAND; c++) {
            tamper_sql(lies[i]);
            expect("0135", lies[i], 0, commands[c]);
        }
}

// A head that the model has not is no place in a grid.
static void no_head(void **state) {
    (void)state;
    static const char *const grid[] = {"heatmap", "--grid", "entropy_nats", "--db",
                                       "run.db",  "-o",     "x.png",        NULL};
    static const char *const some[] = {"heads", "--metric", "entropy_nats", "--heads",
                                       "L0H*",  "--db",     "run.db",       NULL};
    static const char *const *const readers[] = {heads, some, grid};
    static const char *const places[] = {"layer = -1", "layer = 2", "head = 3", "head = 4294967296",
                                         "layer = -9223372036854775807"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char text[100];
        snprintf(text, sizeof text, "UPDATE OR IGNORE head_metric SET %s", places[i]);
        for (int k = 0; k < 3; k++) {
            tamper_sql(text);
            expect("3", text, k, readers[k]);
        }
    }
}

// A log or a journal beside the file: taken when it is sound, and then no better than the pages in
// it.
static void beside(void **state) {
    (void)state;
    for (int kind = 3; kind <= 4; kind++)
        for (int page = 0; page < 60; page++) {
            const uint8_t wal[] = {(uint8_t)page, 200, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
            const uint8_t journal[] = {200, 0, (uint8_t)page, 0, 0, 8, 9, 8, 7, 6, 5, 4, 3, 2};
            tamper((uint8_t)kind, kind == 3 ? wal : journal,
                   kind == 3 ? sizeof wal : sizeof journal);
            expect("013", "log", page, commands[page % N_COMMAND]);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound),   cmocka_unit_test(cut),      cmocka_unit_test(flipped),
        cmocka_unit_test(schemas), cmocka_unit_test(triggers), cmocka_unit_test(strangers),
        cmocka_unit_test(rows),    cmocka_unit_test(no_head),  cmocka_unit_test(beside),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
