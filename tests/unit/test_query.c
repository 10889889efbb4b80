// Named queries through the library: every one runs and gives what it promises; parameters and what is
// needed are checked. The numbers of most are in test_queries.c.
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
#include "db/replay.h"
#include "model/core/hash.h"
#include "tests/lib/dbfix.h"

static int set_up(void **state) {
    static const dbrun what = {.n_prompt = 2,
                               .n_token = 64,
                               .maps = "all",
                               .acts = "resid_post,attn_scores",
                               .observe = "sinks,hidden_sinks,massive,stripes,sink_tokens,spans"};
    *state = dbfix_open("query", &what, 1, NULL);
    return 0;
}

static void columns_are(hs_query *q, const char *want) {
    char have[300] = "";
    for (int i = 0; i < hs_query_columns(q); i++) {
        if (i) strcat(have, ",");
        strcat(have, hs_query_column(q, i));
    }
    assert_string_equal(have, want);
}

// Every named query, with its defaults, over all prompts and over one.
static void test_all_named(void **state) {
    static const char may_be_empty[] =
        "show_interventions hidden_sinks residual_sinks spans span_mass";
    const dbfix *f = *state;
    int n = 0;
    for (const hs_query_info *i = hs_queries; i->name; i++, n++) {
        char title[200], name[64], fallback[64], help[200];
        dbfix_must(hs_query_title(i, title, sizeof title));
        assert_true(strlen(title) > 5);
        for (int k = 0;
             hs_query_param(i, k, name, sizeof name, fallback, sizeof fallback, help, sizeof help);
             k++) {
            assert_true(name[0] && fallback[0] && help[0]);
            assert_null(strchr(name, ' '));
        }
        if (strstr(i->text, ":other")) continue; // there is one run, and it is no sweep
        if (dbfix_of_experiment(i)) continue;
        int rows = 0;
        hs_query *q = dbfix_query(f, i->name, NULL);
        while (dbfix_next(q)) rows++;
        hs_query_close(q);
        if (!rows && !strstr(may_be_empty, i->name)) fail_msg("%s gave no rows", i->name);
        if (!strstr(i->text, ":prompt")) continue;
        q = dbfix_query(f, i->name, &(hs_query_opts){.prompt = "1"});
        while (dbfix_next(q)) rows++;
        hs_query_close(q);
    }
    assert_true(n >= 12);
}

static double alpha(int prompt, int layer, int head, int64_t j, int64_t T) {
    double sum = 0;
    for (int64_t i = j; i < T; i++)
        sum += (double)dbrun_weight((uint64_t)prompt, layer, head, i, j);
    return sum / (double)(T - j);
}

static void test_sink_rate(void **state) {
    const dbfix *f = *state;
    static const char *const params[] = {"eps=0.02"};
    hs_query *q = dbfix_query(f, "sink_rate",
                              &(hs_query_opts){.param = params, .n_param = 1, .prompt = "p1"});
    columns_are(q, "position,rate");
    for (int64_t j = 0; j < 65; j++) {
        int count = 0;
        for (int l = 0; l < 2; l++)
            for (int h = 0; h < 3; h++) count += alpha(1, l, h, j, 65) > 0.02;
        assert_true(dbfix_next(q));
        assert_int_equal(hs_query_cell(q, 0).i, j);
        assert_true(fabs(hs_query_cell(q, 1).f - count / 6.0) < 1e-12);
    }
    assert_false(dbfix_next(q));
    hs_query_close(q);
    // Both prompts: position 64 is the second's alone; at the default threshold only key 0 sinks.
    q = dbfix_query(f, "sink_rate", NULL);
    int rows = 0;
    while (dbfix_next(q)) {
        assert_int_equal(hs_query_cell(q, 0).i, rows);
        if (rows > 0 && rows < 60) assert_true(hs_query_cell(q, 1).f == 0);
        rows++;
    }
    assert_int_equal(rows, 65);
    hs_query_close(q);
}

static int run_count(const dbfix *f, const char *sql) {
    hs_query *q = dbfix_query(f, sql, NULL);
    int rows = 0;
    while (dbfix_next(q)) rows++;
    hs_query_close(q);
    return rows;
}

static int count_hidden(const dbfix *f, const char *const *params, int n, const char *prompt,
                        int64_t run) {
    hs_query *q = dbfix_query(
        f, "hidden_sinks",
        &(hs_query_opts){.run = run, .param = params, .n_param = n, .prompt = prompt});
    columns_are(q, "layer,head,position");
    int rows = 0;
    while (dbfix_next(q)) {
        assert_true(hs_query_cell(q, 2).i >= 1);
        rows++;
    }
    hs_query_close(q);
    return rows;
}

static void test_hidden_sinks(void **state) {
    const dbfix *f = *state;
    static const char *const relative[] = {"alpha=0.5", "min_rows=9"}, *const absolute[] = {
                                                                           "rule=abs", "thr=0.05"};
    int want_relative = 0, want_absolute = 0;
    for (int l = 0; l < 2; l++)
        for (int h = 0; h < 3; h++)
            for (int64_t j = 1; j < 64; j++) {
                double a = alpha(0, l, h, j, 64);
                want_relative += a > 0.5 / 64 && 64 - j >= 9;
                want_absolute += a > 0.05;
            }
    assert_true(want_relative > 0 && want_absolute > 0 && want_relative != want_absolute);
    assert_int_equal(count_hidden(f, relative, 2, "0", 0), want_relative);
    assert_int_equal(count_hidden(f, absolute, 2, "0", 0), want_absolute);
}

static void test_massive(void **state) {
    const dbfix *f = *state;
    hs_query *q = dbfix_query(f, "massive", NULL);
    columns_are(q, "layer,pos,channel,value,median");
    for (int l = 0; l < 2; l++) {
        assert_true(dbfix_next(q));
        assert_int_equal(hs_query_cell(q, 0).i, l);
        float top = 0;
        for (int p = 0; p < 2; p++)
            for (int64_t i = 0; i < 64 + p; i++)
                for (int64_t k = 0; k < 8; k++) {
                    float x = dbrun_act((uint64_t)p, HS_RESID_POST, l, i, k);
                    if (fabsf(x) > fabsf(top)) top = x;
                }
        assert_true((float)hs_query_cell(q, 3).f == top);
    }
    assert_false(dbfix_next(q));
    hs_query_close(q);
}

static void test_heads(void **state) {
    const dbfix *f = *state;
    static const char *const params[] = {"metric=sink_alpha0"};
    hs_query *q = dbfix_query(f, "heads", &(hs_query_opts){.param = params, .n_param = 1});
    columns_are(q, "layer,head,name,value,prompts,reason");
    for (int l = 0; l < 2; l++)
        for (int h = 0; h < 3; h++) {
            double mean = 0;
            for (int p = 0; p < 2; p++) mean += alpha(p, l, h, 0, 64 + p) / 2;
            assert_true(dbfix_next(q));
            assert_int_equal(hs_query_cell(q, 0).i, l);
            assert_int_equal(hs_query_cell(q, 1).i, h);
            assert_true(fabs(hs_query_cell(q, 3).f - mean) < 1e-6);
            assert_int_equal(hs_query_cell(q, 4).i, 2);
            assert_int_equal(hs_query_cell(q, 5).type, HS_CELL_NULL);
        }
    assert_false(dbfix_next(q));
    hs_query_close(q);
}

static void test_attend(void **state) {
    const dbfix *f = *state;
    static const char *const params[] = {"layer=1", "head=2", "query=30", "top=5"};
    hs_query *q = dbfix_query(f, "attend",
                              &(hs_query_opts){.param = params, .n_param = 4, .prompt = "1"});
    double last = 2;
    int rows = 0;
    while (dbfix_next(q)) {
        int64_t key = hs_query_cell(q, 0).i;
        double w = hs_query_cell(q, 3).f;
        assert_true((float)w == dbrun_weight(1, 1, 2, 30, key));
        assert_true(w <= last);
        assert_int_equal(hs_query_cell(q, 1).i, (7 * key + 1) % 50);
        last = w;
        rows++;
    }
    assert_int_equal(rows, 5);
    hs_query_close(q);
}

// Scores are maps of another kind: each is listed as what it is.
static void test_kinds(void **state) {
    const dbfix *f = *state;
    hs_query *q = dbfix_query(f, "map_of", NULL);
    int kind[2] = {0}; // scores, pattern
    while (dbfix_next(q)) kind[!strcmp((const char *)hs_query_cell(q, 2).data, "pattern")]++;
    assert_int_equal(kind[0], 2 * 6);
    assert_int_equal(kind[1], 2 * 6);
    hs_query_close(q);
    q = dbfix_query(f, "show_stored", NULL);
    int seen = 0;
    while (dbfix_next(q)) {
        const char *what = hs_query_cell(q, 0).data;
        if (strcmp(what, "maps") && strcmp(what, "attention scores")) continue;
        assert_int_equal(hs_query_cell(q, 2).i, 2 * 6);
        assert_int_equal(hs_query_cell(q, 3).i, 6 * 4 * (64 * 65 / 2 + 65 * 66 / 2));
        seen++;
    }
    assert_int_equal(seen, 2);
    hs_query_close(q);
    assert_int_equal(run_count(f, "SELECT * FROM v_map WHERE point = 'attn_scores'"), 2 * 6);
}

static void test_parameters(void **state) {
    const dbfix *f = *state;
    static const char *const text[] = {"eps=abc"}, *const unknown[] = {"epsilon=1"},
                             *const choice[] = {"rule=other"}, *const bare[] = {"eps"},
                             *const own[] = {"x=2.5", "y=abc", "x=7"}, *const run_[] = {"run=1"};
    assert_int_equal(dbfix_run(f, "sink_rate", &(hs_query_opts){.param = text, .n_param = 1}),
                     HS_EARG);
    assert_int_equal(dbfix_run(f, "sink_rate", &(hs_query_opts){.param = unknown, .n_param = 1}),
                     HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "eps"));
    assert_int_equal(dbfix_run(f, "sink_rate", &(hs_query_opts){.param = bare, .n_param = 1}),
                     HS_EARG);
    assert_int_equal(dbfix_run(f, "sink_rate", &(hs_query_opts){.param = run_, .n_param = 1}),
                     HS_EARG);
    assert_int_equal(dbfix_run(f, "hidden_sinks", &(hs_query_opts){.param = choice, .n_param = 1}),
                     HS_EARG);
    assert_int_equal(dbfix_run(f, "no_such_query", NULL), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "sink_rate"));
    assert_int_equal(dbfix_run(f, "SELECT :x", NULL), HS_EARG); // missing
    assert_int_equal(dbfix_run(f, "tokens", &(hs_query_opts){.run = 5}), HS_ENOTFOUND);
    assert_int_equal(dbfix_run(f, "tokens", &(hs_query_opts){.prompt = "nobody"}), HS_ENOTFOUND);
    assert_int_equal(dbfix_run(f, "runs", &(hs_query_opts){.prompt = "0"}),
                     HS_EARG); // has no effect
    hs_query *q = dbfix_query(f, "SELECT :x, typeof(:y), :run, :prompt",
                              &(hs_query_opts){.param = own, .n_param = 3, .prompt = "p1"});
    assert_true(dbfix_next(q));
    assert_int_equal(hs_query_cell(q, 0).i, 7); // the last one counts
    assert_memory_equal(hs_query_cell(q, 1).data, "text", 4);
    assert_int_equal(hs_query_cell(q, 2).i, 1);
    assert_int_equal(hs_query_cell(q, 3).i, 2);
    hs_query_close(q);
}

// A run that an observer never saw is told apart from one where it found nothing.
static void test_needs(void **state) {
    (void)state;
    static const char *const names[] = {"sink_rate", "hidden_sinks", "sink_tokens", "massive"};
    static const char *const none[] = {"alpha=60"};
    dbfix f;
    dbrun what = {.n_prompt = 2, .n_token = 20, .maps = "all"};
    dbrun_path(f.path, sizeof f.path, "needs");
    dbfix_must(dbrun_record(f.path, &what, NULL));
    what.observe = "hidden_sinks";
    dbfix_must(dbrun_record(f.path, &what, NULL));
    what.observe = "massive";
    what.acts = "resid_post";
    dbfix_must(dbrun_record(f.path, &what, NULL));
    dbfix_must(hs_db_open(&f.db, f.path, HS_DB_READ));
    for (size_t i = 0; i < 4; i++) {
        bool sinks = i < 3;
        assert_int_equal(dbfix_run(&f, names[i], &(hs_query_opts){.run = 1}), HS_ENOTFOUND);
        assert_non_null(strstr(hs_errmsg(), sinks ? "run 1 has no results of sinks or hidden_sinks:"
                                                  : "run 1 has no results of massive:"));
        assert_non_null(strstr(hs_errmsg(), sinks ? "--observe sinks," : "--observe massive,"));
        assert_int_equal(dbfix_run(&f, names[i], &(hs_query_opts){.run = 2}),
                         sinks ? HS_OK : HS_ENOTFOUND);
        assert_int_equal(dbfix_run(&f, names[i], &(hs_query_opts){.run = 3}),
                         sinks ? HS_ENOTFOUND : HS_OK);
        assert_int_equal(dbfix_run(&f, names[i], &(hs_query_opts){.run = 4}), HS_ENOTFOUND);
    }
    assert_int_equal(count_hidden(&f, none, 1, NULL, 2), 0);
    for (int i = 0; i < 2; i++) {
        static const char *const metric[] = {"metric=massive", "metric=sink_alpha0"};
        const char *name = i ? "heads" : "top_heads";
        hs_query_opts o = {.run = 1, .param = metric, .n_param = 2};
        assert_int_equal(dbfix_run(&f, name, &(hs_query_opts){.run = 1}), HS_ENOTFOUND);
        assert_int_equal(dbfix_run(&f, name, &o), HS_ENOTFOUND);
        assert_non_null(
            strstr(hs_errmsg(), "run 1 has no sink_alpha0: record it with --observe rows,"));
        o.run = 2; // the last one that is given counts, and the first is nothing
        assert_int_equal(dbfix_run(&f, name, &(hs_query_opts){.run = 2}), HS_OK);
        assert_int_equal(dbfix_run(&f, name, &o), HS_OK);
        o.n_param = 1;
        assert_int_equal(dbfix_run(&f, name, &o), HS_ENOTFOUND);
        assert_non_null(strstr(hs_errmsg(), "run 2 has no metric 'massive': it has "));
        assert_non_null(strstr(hs_errmsg(), ", sink_alpha0, "));
    }
    // One prompt of the two.
    sqlite3 *raw;
    hs_db_close(f.db);
    sqlite3_open(f.path, &raw);
    const char *forget = "DELETE FROM head_metric WHERE prompt_id = 3; DELETE FROM series WHERE "
                         "prompt_id = 3; DELETE FROM analysis_run WHERE prompt_id = 3";
    assert_int_equal(sqlite3_exec(raw, forget, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
    dbfix_must(hs_db_open(&f.db, f.path, HS_DB_READ));
    assert_int_equal(dbfix_run(&f, "sink_rate", &(hs_query_opts){.run = 2, .prompt = "p0"}),
                     HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "run 2, prompt p0 has"));
    assert_int_equal(dbfix_run(&f, "heads", &(hs_query_opts){.run = 2, .prompt = "p0"}),
                     HS_ENOTFOUND);
    assert_int_equal(dbfix_run(&f, "sink_rate", &(hs_query_opts){.run = 2, .prompt = "p1"}), HS_OK);
    assert_int_equal(dbfix_run(&f, "sink_rate", &(hs_query_opts){.run = 2}), HS_OK);
    hs_db_close(f.db);
    dbrun_remove(f.path);
}

// Of several analysis runs of a prompt, the newest counts.
static void test_newest(void **state) {
    const dbfix *f = *state;
    static const char *const params[] = {"metric=entropy_nats"};
    char path[256];
    hs_db *db;
    dbfix_copy(f, path, sizeof path,
               "INSERT INTO analysis_run SELECT 1000 + prompt_id, prompt_id, analysis_id, "
               "'offline', map_dtype, params_json FROM analysis_run WHERE id IN (SELECT "
               "min(id) FROM analysis_run GROUP BY prompt_id); INSERT INTO head_metric SELECT "
               "prompt_id, metric, layer, head, 1000 + prompt_id, 42, NULL FROM head_metric "
               "WHERE metric = 'entropy_nats'");
    dbfix_must(hs_db_open(&db, path, HS_DB_READ));
    hs_query *q = dbfix_query(&(dbfix){.db = db}, "heads",
                              &(hs_query_opts){.param = params, .n_param = 1});
    for (int i = 0; i < 6; i++) {
        assert_true(dbfix_next(q));
        assert_true(hs_query_cell(q, 3).f == 42);
        assert_int_equal(hs_query_cell(q, 4).i, 2);
    }
    assert_false(dbfix_next(q));
    hs_query_close(q);
    hs_db_close(db);
    dbrun_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_named),    cmocka_unit_test(test_sink_rate),
        cmocka_unit_test(test_hidden_sinks), cmocka_unit_test(test_massive),
        cmocka_unit_test(test_heads),        cmocka_unit_test(test_attend),
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_needs),        cmocka_unit_test(test_newest),
    };
    return cmocka_run_group_tests(tests, set_up, dbfix_tear_down);
}
