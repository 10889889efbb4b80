// CSV, JSON, BertViz and CircuitsVis: structure and numbers against what the made-up engine gave.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/export_internal.h"
#include "model/core/json.h"
#include "model/core/mem.h"
#include "tests/lib/dbrun.h"

enum { T0 = 12, T1 = 13 }; // rows of the prompts, decoded ones too

static char path[256], out[300];

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// Two prompts; of the first only L0H1, L0H2 and layer 1 have maps, and so of the second.
static hs_db *record(const char *maps, enum hs_store store) {
    hs_db *db;
    dbrun what = {.n_prompt = 2,
                  .n_token = T0 - 1,
                  .n_decode = 1,
                  .maps = maps,
                  .observe = "stripes",
                  .store = store};
    dbrun_path(path, sizeof path, "text");
    snprintf(out, sizeof out, "%s.out", path);
    must(dbrun_record(path, &what, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    return db;
}

static void done(hs_db *db) {
    hs_db_close(db);
    dbrun_remove(path);
    unlink(out);
}

static int export(hs_db *db, const char *format, const char *what, int64_t prompt,
                  const char *heads, hs_export_result *result) {
    const hs_export_format *f;
    hs_export_opts o = {.run = 1, .prompt = prompt, .heads = heads};
    int rc = hs_export_find(&f, format, out);
    if (!rc) rc = hs_export_parse(f, what, &o.what);
    return rc ? rc : hs_db_export(db, f, &o, out, result, NULL);
}

static void read_out(hs_map *m) {
    must(hs_map_open(m, out));
}

static hs_json *read_json(void) {
    hs_map m;
    hs_json *d;
    read_out(&m);
    must(hs_json_parse(&d, (const char *)m.data, m.size));
    hs_map_close(&m);
    return d;
}

// ---- CSV ----------------------------------------------------------------------------------------

// The file's lines as text; *n of them.
static char *read_lines(char ***line, size_t *n) {
    hs_map m;
    read_out(&m);
    char *text = calloc(m.size + 1, 1);
    memcpy(text, m.data, m.size);
    assert_int_equal(text[m.size - 1], '\n');
    hs_map_close(&m);
    *line = calloc(strlen(text) / 2 + 1, sizeof **line);
    *n = 0;
    for (char *c = strtok(text, "\n"); c; c = strtok(NULL, "\n")) (*line)[(*n)++] = c;
    return text;
}

static void test_csv_maps(void **state) {
    (void)state;
    hs_db *db = record("L1H*,L0H1-2", HS_STORE_F32);
    char **line, *text;
    size_t n, seen = 0;
    must(export(db, "csv", "maps", 0, NULL, NULL));
    text = read_lines(&line, &n);
    assert_string_equal(line[0], "run,prompt,id,layer,head,name,query,key,weight");
    for (size_t i = 1; i < n; i++) {
        int run, prompt, layer, head, id, layer2, head2, query, key;
        char *end;
        int got = 0;
        assert_int_equal(sscanf(line[i], "%d,%d,p%d,%d,%d,L%dH%d,%d,%d,%n", &run, &prompt, &id,
                                &layer, &head, &layer2, &head2, &query, &key, &got),
                         9);
        float v = strtof(line[i] + got, &end);
        assert_int_equal(*end, 0);
        assert_true(run == 1 && id == prompt && layer == layer2 && head == head2);
        assert_true(key <= query && !(layer == 0 && head == 0));
        assert_true(v == dbrun_weight((uint64_t)prompt, layer, head, query, key));
        seen++;
    }
    assert_int_equal(seen, 5 * (T0 * (T0 + 1) / 2 + T1 * (T1 + 1) / 2));
    free(text);
    free(line);
    must(export(db, "csv", "maps", 2, "L1H0,L0H0", NULL)); // one of them is not stored
    text = read_lines(&line, &n);
    assert_int_equal(n, 1 + T1 * (T1 + 1) / 2);
    assert_int_equal(strncmp(line[1], "1,1,p1,1,0,L1H0,0,0,1", 20), 0);
    free(text);
    free(line);
    done(db);
}

static void test_csv_stats(void **state) {
    (void)state;
    hs_db *db = record(NULL, HS_STORE_F32);
    char **line, *text;
    size_t n;
    must(export(db, "csv", "stats", 1, "L1H*", NULL));
    text = read_lines(&line, &n);
    assert_string_equal(
        line[0],
        "run,prompt,id,layer,head,name,pos,entropy,max,argmax,lse,first,self,prev,distance");
    assert_int_equal(n, 1 + 3 * T0);
    for (size_t i = 1; i < n; i++) {
        int head, pos, got = 0;
        float want[HS_N_STAT];
        assert_int_equal(sscanf(line[i], "1,0,p0,1,%d,L1H%*d,%d%n", &head, &pos, &got), 2);
        dbrun_stats(0, 1, head, pos, want);
        char *c = line[i] + got;
        for (int k = 0; k < HS_N_STAT; k++) {
            assert_int_equal(*c, ',');
            assert_true(strtof(c + 1, &c) == want[k]);
        }
        assert_int_equal(*c, 0);
        assert_int_equal((int)i, 1 + head * T0 + pos);
    }
    free(text);
    free(line);
    done(db);
}

static void test_csv_heads(void **state) {
    (void)state;
    hs_db *db = record("all", HS_STORE_F32);
    char **line, *text;
    size_t n, undefined = 0;
    int64_t want = 0;
    must(export(db, "csv", NULL, 0, NULL, NULL));
    text = read_lines(&line, &n);
    assert_string_equal(line[0], "run,prompt,id,layer,head,name,metric,value,reason");
    must(hs_sql_int(db, "SELECT count(*) FROM v_head_metric", NULL, 0, &want, NULL));
    assert_int_equal(n - 1, want);
    for (size_t i = 1; i < n; i++) {
        sqlite3_stmt *s;
        char metric[40];
        int prompt, layer, head, got = 0;
        bool row;
        assert_int_equal(sscanf(line[i], "1,%d,p%*d,%d,%d,L%*dH%*d,%39[a-z_0-9],%n", &prompt,
                                &layer, &head, metric, &got),
                         4);
        must(hs_sql_prepare(db, &s,
                            "SELECT value, reason FROM v_head_metric WHERE prompt = ? AND layer = "
                            "? AND head = ? AND metric = ?"));
        hs_v v[] = {hs_v_int(prompt), hs_v_int(layer), hs_v_int(head), hs_v_text(metric)};
        must(hs_sql_bind(db, s, v, 4));
        must(hs_sql_step(db, s, &row));
        assert_true(row);
        if (sqlite3_column_type(s, 0) == SQLITE_NULL) {
            undefined++;
            assert_int_equal(line[i][got], ',');
            assert_true(strlen(line[i] + got + 1) >=
                        strlen((const char *)sqlite3_column_text(s, 1)));
        } else {
            char *end;
            assert_true(strtod(line[i] + got, &end) == sqlite3_column_double(s, 0));
            assert_string_equal(end, ",");
        }
        sqlite3_finalize(s);
    }
    assert_true(undefined > 0); // or the test would not see them
    free(text);
    free(line);
    done(db);
}

// Fields that need quotes.
static void test_csv_text(void **state) {
    (void)state;
    hs_db *db = record(NULL, HS_STORE_F32);
    char **line, *text;
    size_t n;
    hs_db_close(db);
    must(hs_db_open(&db, path, HS_DB_WRITE));
    must(hs_sql_exec(db, "UPDATE token SET text = 'a\"b,' WHERE pos = 1;"
                         "UPDATE token SET text = '' WHERE pos = 2;"
                         "UPDATE prompt SET label = 'x,y' WHERE id = 1"));
    must(export(db, "csv", "tokens", 1, NULL, NULL));
    text = read_lines(&line, &n);
    assert_string_equal(line[0], "run,prompt,id,pos,token_id,token,byte_from,byte_to,decoded");
    assert_int_equal(n, 1 + T0);
    assert_string_equal(line[2], "1,0,\"x,y\",1,7,\"a\"\"b,\",0,0,0");
    assert_string_equal(line[3], "1,0,\"x,y\",2,14,,0,0,0");
    assert_int_equal(strncmp(line[T0], "1,0,\"x,y\",11,27,", 16), 0);
    assert_string_equal(line[T0] + strlen(line[T0]) - 4, ",,,1"); // decoded, of no prompt's bytes
    free(text);
    free(line);
    done(db);
}

// ---- JSON ---------------------------------------------------------------------------------------

static double num(const hs_json *v) {
    double x = NAN;
    assert_true(hs_json_num(v, &x));
    return x;
}

static const hs_json *at(const hs_json *array, int i) {
    const hs_json *v = hs_json_first(array);
    while (v && i--) v = hs_json_next(v);
    assert_non_null(v);
    return v;
}

// A square of T rows that holds a map of the made-up engine (head -1: zeros).
static void check_square(const hs_json *a, int n_token, uint64_t seed, int layer, int head) {
    const hs_json *row = hs_json_first(a);
    assert_int_equal(hs_json_size(a), n_token);
    for (int i = 0; i < n_token; i++, row = hs_json_next(row)) {
        const hs_json *v = hs_json_first(row);
        assert_int_equal(hs_json_size(row), n_token);
        for (int k = 0; k < n_token; k++, v = hs_json_next(v))
            assert_true((float)num(v) == (head < 0 ? 0 : dbrun_weight(seed, layer, head, i, k)));
    }
}

static void test_json(void **state) {
    (void)state;
    hs_db *db = record("L1H*,L0H1-2", HS_STORE_F32);
    must(export(db, "json", "all", 0, NULL, NULL));
    hs_json *d = read_json();
    assert_string_equal(hs_json_str(hs_json_get(d, "model")), "made-up.gguf");
    assert_true(num(hs_json_get(d, "run")) == 1);
    const hs_json *prompts = hs_json_get(d, "prompts");
    assert_int_equal(hs_json_size(prompts), 2);
    for (int p = 0; p < 2; p++) {
        const hs_json *prompt = at(prompts, p), *part = hs_json_get(prompt, "tokens");
        int n_token = T0 + p, n = 0;
        char id[32];
        snprintf(id, sizeof id, "p%d", p);
        assert_string_equal(hs_json_str(hs_json_get(prompt, "id")), id);
        assert_int_equal(hs_json_size(part), n_token);
        assert_true(num(hs_json_get(at(part, 3), "token_id")) == 21 + p);
        assert_null(hs_json_get(at(part, 3), "run")); // that is known from above
        part = hs_json_get(prompt, "maps");
        assert_int_equal(hs_json_size(part), 5);
        for (const hs_json *m = hs_json_first(part); m; m = hs_json_next(m)) {
            int layer = (int)num(hs_json_get(m, "layer")), head = (int)num(hs_json_get(m, "head"));
            assert_true(layer == 1 || head > 0);
            check_square(hs_json_get(m, "weight"), n_token, (uint64_t)p, layer, head);
        }
        part = hs_json_get(prompt, "stats");
        assert_int_equal(hs_json_size(part), 6);
        for (const hs_json *s = hs_json_first(part); s; s = hs_json_next(s), n++) {
            const hs_json *v = hs_json_first(hs_json_get(s, "distance"));
            snprintf(id, sizeof id, "L%dH%d", n / 3, n % 3);
            assert_string_equal(hs_json_str(hs_json_get(s, "name")), id);
            assert_int_equal(hs_json_size(hs_json_get(s, "lse")), n_token);
            for (int i = 0; i < n_token; i++, v = hs_json_next(v)) {
                float want[HS_N_STAT];
                dbrun_stats((uint64_t)p, n / 3, n % 3, i, want);
                assert_true((float)num(v) == want[HS_STAT_DISTANCE]);
            }
        }
        part = hs_json_get(prompt, "heads");
        for (const hs_json *h = hs_json_first(part); h; h = hs_json_next(h))
            assert_true((hs_json_type(hs_json_get(h, "value")) == HS_JSON_NULL) ==
                        (hs_json_str(hs_json_get(h, "reason")) != NULL));
        assert_int_equal(hs_json_size(part) % 6, 0);
        assert_true(hs_json_size(part) >= 60);
    }
    hs_json_free(d);
    done(db);
}

static void test_bertviz(void **state) {
    (void)state;
    hs_db *db = record("L1H*,L0H1-2", HS_STORE_F32);
    hs_export_result r;
    must(export(db, "bertviz", NULL, 0, NULL, &r));
    assert_int_equal(r.prompts, 1); // the second one is not there
    assert_true(r.bytes > 1000);
    hs_json *d = read_json();
    assert_int_equal(hs_json_size(hs_json_get(d, "tokens")), T0);
    assert_int_equal(hs_json_size(hs_json_get(d, "include_layers")), 2);
    assert_int_equal(hs_json_size(hs_json_get(d, "heads")), 3);
    for (int l = 0; l < 2; l++) {
        const hs_json *layer = at(hs_json_get(d, "attention"), l);
        assert_int_equal(hs_json_size(layer), 1);
        assert_int_equal(hs_json_size(at(layer, 0)), 3);
        for (int h = 0; h < 3; h++)
            check_square(at(at(layer, 0), h), T0, 0, l, l == 0 && h == 0 ? -1 : h);
    }
    hs_json_free(d);

    must(export(db, "bertviz", NULL, 2, "L1H2", &r)); // one head keeps its number
    assert_int_equal(r.prompts, 0);
    d = read_json();
    assert_int_equal(hs_json_size(hs_json_get(d, "tokens")), T1);
    assert_true(num(at(hs_json_get(d, "include_layers"), 0)) == 1);
    assert_int_equal(hs_json_size(hs_json_get(d, "include_layers")), 1);
    assert_true(num(at(hs_json_get(d, "heads"), 0)) == 2);
    for (int h = 0; h < 3; h++) {
        check_square(at(at(at(hs_json_get(d, "attention"), 0), 0), h), 1, 0, 0, -1);
        check_square(at(at(at(hs_json_get(d, "attention"), 1), 0), h), T1, 1, 1, h == 2 ? 2 : -1);
    }
    hs_json_free(d);
    done(db);
}

static void test_circuitsvis(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int layer, head;
    } want[] = {{"L0H1", 0, 1}, {"L0H2", 0, 2}, {"L1H0", 1, 0}, {"L1H2", 1, 2}};
    hs_db *db = record("L1H*,L0H1-2", HS_STORE_F32);
    must(export(db, "circuitsvis", NULL, 2, "L0H*,L1H0,L1H2", NULL));
    hs_json *d = read_json();
    assert_int_equal(hs_json_size(d), 3); // the arguments and nothing else
    assert_int_equal(hs_json_size(hs_json_get(d, "tokens")), T1);
    assert_int_equal(hs_json_size(hs_json_get(d, "attention")), 4);
    assert_int_equal(hs_json_size(hs_json_get(d, "attention_head_names")), 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(hs_json_str(at(hs_json_get(d, "attention_head_names"), i)),
                            want[i].name);
        check_square(at(hs_json_get(d, "attention"), i), T1, 1, want[i].layer, want[i].head);
    }
    hs_json_free(d);
    done(db);
}

// What a page shows of tokens that would not be seen.
static void test_labels(void **state) {
    (void)state;
    static const char *const want[] = {"a b", "\\n", "\xe2\x90\xa3",
                                       " x",  "28",  "\xe2\x90\xa3\xe2\x90\xa3"};
    hs_db *db = record("all", HS_STORE_F32);
    hs_db_close(db);
    must(hs_db_open(&db, path, HS_DB_WRITE));
    must(hs_sql_exec(db, "UPDATE token SET text = CASE pos WHEN 0 THEN 'a b' WHEN 1 THEN char(10) "
                         "WHEN 2 THEN ' ' WHEN 3 THEN ' x' WHEN 4 THEN NULL ELSE '  ' END"));
    must(export(db, "circuitsvis", NULL, 1, NULL, NULL));
    hs_json *d = read_json();
    for (int i = 0; i < 6; i++)
        assert_string_equal(hs_json_str(at(hs_json_get(d, "tokens"), i)), want[i]);
    hs_json_free(d);
    done(db);
}

// Stored as u8: what att_at gives is what is written.
static void test_u8(void **state) {
    (void)state;
    hs_db *db = record("all", HS_STORE_U8);
    hs_reader r;
    bool found;
    float row[T0];
    int64_t n;
    must(export(db, "circuitsvis", NULL, 1, "L1H1", NULL));
    hs_json *d = read_json();
    must(hs_reader_map(&r, db, 1, HS_PATTERN, 1, 1, &found));
    for (int i = 0; i < T0; i++) {
        must(hs_reader_row(&r, i, row, &n));
        for (int k = 0; k < T0; k++)
            assert_true((float)num(at(at(at(hs_json_get(d, "attention"), 0), i), k)) ==
                        (k < n ? row[k] : 0));
    }
    hs_reader_close(&r);
    hs_json_free(d);
    done(db);
}

// ---- what is refused ----------------------------------------------------------------------------

static void test_wrong(void **state) {
    (void)state;
    const hs_export_format *f;
    unsigned what;
    hs_db *db = record(NULL, HS_STORE_F32);
    assert_int_equal(export(db, "csv", "maps", 0, NULL, NULL), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "--maps"));
    assert_int_equal(export(db, "json", "maps", 0, NULL, NULL), HS_ENOTFOUND);
    assert_int_equal(export(db, "bertviz", NULL, 0, NULL, NULL), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "--maps"));
    assert_int_equal(export(db, "npz", "acts", 0, NULL, NULL), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "--acts"));
    assert_int_equal(export(db, "csv", "acts", 0, NULL, NULL), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "safetensors"));
    assert_int_equal(export(db, "csv", "all", 0, NULL, NULL), HS_EARG);
    assert_int_equal(export(db, "csv", "heads,stats", 0, NULL, NULL), HS_EARG);
    assert_int_equal(export(db, "json", "heads,", 0, NULL, NULL), HS_EARG);
    assert_int_equal(export(db, "json", "", 0, NULL, NULL), HS_EARG);
    assert_int_equal(export(db, "json", "heads stats", 0, NULL, NULL), HS_EARG);
    assert_int_equal(export(db, "npz", NULL, 0, "L0H0", NULL), HS_EARG);
    assert_int_equal(export(db, "csv", NULL, 0, "L9H0", NULL), HS_ERANGE);
    assert_int_equal(export(db, "cvs", NULL, 0, NULL, NULL), HS_EARG);
    assert_int_equal(export(db, NULL, NULL, 0, NULL, NULL), HS_EARG); // ".out"
    assert_int_equal(access(out, F_OK), -1);
    must(hs_export_find(&f, NULL, "x.json"));
    assert_string_equal(f->name, "json");
    must(hs_export_find(&f, "circuitsvis", "x.csv")); // the name counts
    assert_string_equal(f->name, "circuitsvis");
    must(hs_export_parse(f, "all", &what));
    assert_int_equal(what, HS_EXPORT_MAPS);
    assert_int_equal(hs_export_find(&f, NULL, ".csv"), HS_EARG); // an ending of nothing
    must(hs_export_find(&f, "csv", path));
    hs_export_opts o = {.run = 1};
    assert_int_equal(hs_db_export(db, f, &o, path, NULL, NULL), HS_EIO); // the database
    assert_int_equal(hs_db_export(db, f, &o, "/nowhere/at/all.csv", NULL, NULL), HS_EIO);
    done(db);
}

static int stop(void *ctx, const char *what, int64_t step, int64_t total) {
    (void)what;
    assert_true(step <= total);
    return step >= *(int64_t *)ctx ? hs_fail(HS_ESTOP, "stop") : HS_OK;
}

// Stopped at any step, a file that was there stays, and nothing is beside it.
static void test_stopped(void **state) {
    (void)state;
    hs_db *db = record("all", HS_STORE_F32);
    char part[400];
    snprintf(part, sizeof part, "%s.headscope-0.part", out);
    for (const hs_export_format *const *f = hs_export_formats; *f; f++) {
        hs_export_opts o = {.run = 1, .what = (*f)->one_table ? HS_EXPORT_MAPS : (*f)->what};
        const int64_t steps = (*f)->what == HS_EXPORT_EDGES ? 1 : 3; // a circuit is one
        for (int64_t after = 0; after < steps; after++) {
            hs_progress progress = {stop, &after};
            hs_map m;
            FILE *file = fopen(out, "wb");
            fputs("was", file);
            fclose(file);
            int rc = hs_db_export(db, *f, &o, out, NULL, &progress);
            if (rc != HS_ESTOP) fail_msg("%s after %d: %d", (*f)->name, (int)after, rc);
            read_out(&m);
            assert_int_equal(m.size, 3);
            hs_map_close(&m);
            assert_int_equal(access(part, F_OK), -1);
        }
    }
    done(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_maps),    cmocka_unit_test(test_csv_stats),
        cmocka_unit_test(test_csv_heads),   cmocka_unit_test(test_csv_text),
        cmocka_unit_test(test_json),        cmocka_unit_test(test_bertviz),
        cmocka_unit_test(test_circuitsvis), cmocka_unit_test(test_labels),
        cmocka_unit_test(test_u8),          cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
