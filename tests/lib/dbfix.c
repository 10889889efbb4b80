#include "tests/lib/dbfix.h"

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

#include "analyses/experiment.h"
#include "db/map.h"

void dbfix_must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

void dbfix_change(const char *path, const char *sql) {
    sqlite3 *raw;
    char *error = NULL;
    sqlite3_open(path, &raw);
    if (sqlite3_exec(raw, sql, NULL, NULL, &error)) fail_msg("%s", error);
    sqlite3_close(raw);
}

dbfix *dbfix_open(const char *name, const dbrun *what, int runs, const char *sql) {
    dbfix *f = calloc(1, sizeof *f);
    assert_non_null(f);
    dbrun_path(f->path, sizeof f->path, name);
    for (int i = 0; i < runs; i++) dbfix_must(dbrun_record(f->path, what, NULL));
    if (sql) dbfix_change(f->path, sql);
    dbfix_must(hs_db_open(&f->db, f->path, HS_DB_READ));
    return f;
}

int dbfix_tear_down(void **state) {
    dbfix *f = *state;
    hs_db_close(f->db);
    dbrun_remove(f->path);
    free(f);
    return 0;
}

void dbfix_copy(const dbfix *f, char *path, size_t n, const char *sql) {
    dbrun_path(path, n, "copy");
    char *copy = sqlite3_mprintf("VACUUM INTO %Q", path);
    dbfix_change(f->path, copy);
    sqlite3_free(copy);
    dbfix_change(path, sql);
}

hs_query *dbfix_query(const dbfix *f, const char *what, const hs_query_opts *o) {
    hs_query *q;
    dbfix_must(hs_query_open(&q, f->db, what, o));
    return q;
}

bool dbfix_next(hs_query *q) {
    bool row;
    dbfix_must(hs_query_step(q, &row));
    return row;
}

bool dbfix_of_experiment(const hs_query_info *i) {
    char needs[64];
    for (int e = 0; hs_experiments[e]; e++) {
        snprintf(needs, sizeof needs, "-- needs: %s\n", hs_experiments[e]->name);
        if (strstr(i->text, needs)) return true;
    }
    return false;
}

int dbfix_run(const dbfix *f, const char *what, const hs_query_opts *o) {
    hs_query *q;
    bool row = true;
    int rc = hs_query_open(&q, f->db, what, o);
    while (!rc && row) rc = hs_query_step(q, &row);
    hs_query_close(q);
    return rc;
}

float *dbfix_map(hs_db *db, int64_t prompt, int layer, int head, int64_t *n) {
    hs_map_rows *m;
    dbfix_must(hs_map_rows_open(&m, db, prompt, layer, head));
    *n = hs_map_rows_keys(m);
    assert_int_equal(hs_map_rows_count(m), *n);
    float *map = calloc((size_t)(*n * *n), sizeof *map);
    assert_non_null(map);
    for (int64_t i = 0; i < *n; i++) {
        dbfix_must(hs_map_rows_read(m, i, map + i * *n));
        for (int64_t k = 0; k < *n; k++)
            if (isnan(map[i * *n + k])) map[i * *n + k] = 0;
    }
    hs_map_rows_close(m);
    return map;
}
