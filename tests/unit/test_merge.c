// Merging shards: the merged file is the unsharded one in every table; what does not belong together
// is refused.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/merge.h"
#include "tests/lib/dbfix.h"
#include "tests/lib/sweeprun.h"

static const sweeprun two_ops = {{"{\"prompts\":\"aa\",\"op\":\"zero\",\"n_prompt\":7}",
                                  "{\"prompts\":\"aa\",\"op\":\"mean\",\"n_prompt\":7}"},
                                 .n_prompt = 7};

// A new scratch database.
static void swept(char path[256], const char *name, const sweeprun *s) {
    dbrun_path(path, 256, name);
    sweeprun_add(path, s);
}

static sweeprun shard_of(sweeprun s, int shard, int n) {
    s.shard = shard;
    s.n_shard = n;
    return s;
}

// ---- whole ----------------------------------------------------------------------------------

static void assert_same(const char *a, const char *b) {
    char text[2000];
    dbrun_diff(a, b, text, sizeof text);
    assert_string_equal(text, "");
    dbrun_integrity(b, text, sizeof text);
    assert_string_equal(text, "ok");
}

static int64_t number(const char *path, const char *sql) {
    hs_db *db;
    hs_query *q;
    bool row;
    dbfix_must(hs_db_open(&db, path, HS_DB_READ));
    dbfix_must(hs_query_open(&q, db, sql, &(hs_query_opts){0}));
    dbfix_must(hs_query_step(q, &row));
    int64_t n = hs_query_cell(q, 0).i;
    hs_query_close(q);
    hs_db_close(db);
    return n;
}

static void test_equal(void **state) {
    char whole[256], part[7][256], out[256], name[32];
    hs_merge_report report;
    (void)state;
    swept(whole, "merge-whole", &two_ops);
    for (int n = 1; n <= 7; n += n < 3 ? 1 : 4) {
        const char *in[7];
        dbrun_path(out, sizeof out, "merge-out");
        for (int i = 0; i < n; i++) {
            const sweeprun s = shard_of(two_ops, i, n);
            snprintf(name, sizeof name, "merge-%d", i);
            swept(part[i], name, &s);
            in[n - 1 - i] = part[i]; // in any order
        }
        dbfix_must(hs_merge(out, in, n, &report, NULL));
        assert_same(whole, out);
        assert_int_equal(report.runs, 2);
        assert_int_equal(report.prompts, 14);
        assert_int_equal(report.left_out, 0);
        assert_int_equal(number(out, "select count(*) from sweep_unit"), 2 * 7 * 7);
        assert_int_equal(number(out, "select count(*) from sweep_unit where value is null"), 4);
        assert_int_equal(number(out, "select count(*) from series"), 2 * 7 * 2);
        for (int i = 0; i < n; i++) dbrun_remove(part[i]);
        dbrun_remove(out);
    }
    dbrun_remove(whole);
}

// A shard that was killed after any prompt goes on where it stopped; a run that is no shard, and one
// that was left for a new one, are not in the way.
static void test_resumed(void **state) {
    char whole[256], a[256], b[256], out[256];
    hs_merge_report report;
    hs_db *db;
    (void)state;
    swept(whole, "merge-whole", &two_ops);
    dbrun_path(out, sizeof out, "merge-out");
    for (int stop = 1; stop < 4; stop++) {
        sweeprun s = shard_of(two_ops, 1, 2);
        const char *in[] = {a, b};
        s.stop_after = stop;
        swept(b, "merge-1", &s);
        s.stop_after = 0;
        s.resume = true;
        sweeprun_add(b, &s);
        assert_int_equal(number(b, "select count(*) from prompt"), 6);
        s = shard_of(two_ops, 0, 2);
        s.stop_after = stop;
        dbfix_must(dbrun_record((dbrun_path(a, sizeof a, "merge-0"), a),
                                &(dbrun){.n_prompt = 2, .n_token = 5}, NULL));
        dbfix_must(hs_db_open(&db, a, HS_DB_CREATE));
        dbfix_must(sweeprun_one(db, &s, s.options[0], 1));
        hs_db_close(db);
        s.stop_after = 0;
        sweeprun_add(a, &s);
        dbfix_must(hs_db_open(&db, a, HS_DB_CREATE));
        dbfix_must(sweeprun_one(db, &s, s.options[0], 1)); // begun once more, and left
        hs_db_close(db);
        dbfix_must(hs_merge(out, in, 2, &report, NULL));
        assert_same(whole, out);
        assert_int_equal(report.left_out, 1);
        dbrun_remove(a);
        dbrun_remove(b);
        dbrun_remove(out);
    }
    dbrun_remove(whole);
}

// ---- what does not belong together ------------------------------------------------------------

static void refused(int rc, const char *message, const char *const *in, int n) {
    char out[256];
    hs_merge_report report;
    struct stat st;
    dbrun_path(out, sizeof out, "merge-out");
    assert_int_equal(hs_merge(out, in, n, &report, NULL), rc);
    if (!strstr(hs_errmsg(), message)) fail_msg("'%s' is not in '%s'", message, hs_errmsg());
    assert_int_not_equal(stat(out, &st), 0);
}

static void test_refused(void **state) {
    static const struct {
        const char *message, *option;
    } others[] = {
        {"have different prompts", "{\"prompts\":\"bb\",\"op\":\"zero\",\"n_prompt\":7}"},
        {"have different numbers of prompts",
         "{\"prompts\":\"aa\",\"op\":\"zero\",\"n_prompt\":8}"},
        {"have different options, op \"zero\" and \"bos\"",
         "{\"prompts\":\"aa\",\"op\":\"bos\",\"n_prompt\":7}"},
        {"have different options, by \"race\" and none",
         "{\"prompts\":\"aa\",\"op\":\"zero\",\"n_prompt\":7,\"by\":\"race\"}"},
    };
    char a[256], b[256], c[256], out[256];
    const char *in[] = {a, b, c};
    hs_merge_report report;
    sweeprun s = shard_of(two_ops, 0, 2);
    (void)state;
    swept(a, "merge-0", &s);
    refused(HS_ENOTFOUND, "shard 1 of 2 is missing", in, 1);
    refused(HS_E, "shard 0/2 comes twice: in ", (const char *const[]){a, a}, 2);
    s = shard_of(two_ops, 1, 2);
    s.stop_after = 2;
    swept(b, "merge-1", &s);
    refused(HS_ENOTFOUND, "shard 1/2 is unfinished, 2 prompts so far", in, 2);
    dbrun_remove(b);
    s = shard_of(two_ops, 1, 3);
    swept(b, "merge-1", &s);
    refused(HS_E, "shard 0/2, ", in, 2);
    dbrun_remove(b);
    swept(b, "merge-1", &two_ops);
    refused(HS_E, "no shard of a sweep is in it", in, 2);
    dbrun_remove(b);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        s = shard_of(two_ops, 1, 2);
        s.options[0] = others[i].option;
        swept(b, "merge-1", &s);
        refused(HS_E, others[i].message, in, 2);
        dbrun_remove(b);
    }
    s = shard_of(two_ops, 1, 2);
    swept(b, "merge-1", &s);
    sweeprun_add(b, &s);
    refused(HS_E, "comes twice, as runs 1 and 3", in, 2);
    dbrun_remove(b);
    swept(b, "merge-1", &s);
    dbfix_change(b, "UPDATE run SET tool_version = '9.9'");
    refused(HS_E, "sweep all shards with one version", in, 2);
    dbrun_remove(b);
    swept(b, "merge-1", &s);
    dbfix_change(b, "UPDATE prompt SET ord = 9 WHERE ord = 3 AND run_id = 2");
    refused(HS_EFORMAT, "run 2 lacks prompt 3", in, 2);
    dbrun_remove(b);
    swept(b, "merge-1", &s);
    dbfix_change(b, "DROP TABLE sweep_unit");
    refused(HS_EFORMAT, "sweep_unit is not as headscope made it", in, 2);
    dbrun_remove(b);
    swept(b, "merge-1", &s);
    dbfix_change(b, "DELETE FROM prompt WHERE ord = 5");
    refused(HS_EFORMAT, "hold 6 prompts together, not 7", in, 2);
    refused(HS_EIO, "no such database", (const char *const[]){a, "/tmp/no-such.db"}, 2);
    dbrun_path(out, sizeof out, "merge-out");
    FILE *f = fopen(out, "wb");
    fclose(f);
    assert_int_equal(hs_merge(out, in, 2, &report, NULL), HS_EIO);
    assert_non_null(strstr(hs_errmsg(), "is there already"));
    dbrun_remove(out);
    dbrun_remove(a);
    dbrun_remove(b);
}

// What a killed merge left behind is taken over; Ctrl-C leaves nothing.
static int stop(void *ctx, const char *what, int64_t done, int64_t total) {
    (void)ctx, (void)what, (void)total;
    return done == 3 ? hs_fail(HS_ESTOP, "interrupted") : HS_OK;
}

static void test_stopped(void **state) {
    char a[256], out[256], beside[300];
    const char *in[] = {a};
    hs_merge_report report;
    struct stat st;
    const sweeprun s = shard_of(two_ops, 0, 1);
    (void)state;
    swept(a, "merge-0", &s);
    dbrun_path(out, sizeof out, "merge-out");
    snprintf(beside, sizeof beside, "%s.headscope-0.part", out);
    assert_int_equal(hs_merge(out, in, 1, &report, &(hs_progress){stop, NULL}), HS_ESTOP);
    assert_int_not_equal(stat(out, &st), 0);
    assert_int_not_equal(stat(beside, &st), 0);
    FILE *f = fopen(beside, "wb");
    fputs("half a database", f);
    fclose(f);
    dbfix_must(hs_merge(out, in, 1, &report, NULL));
    assert_int_not_equal(stat(beside, &st), 0);
    assert_int_equal(number(out, "select count(*) from prompt"), 14);
    dbrun_remove(out);
    dbrun_remove(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
