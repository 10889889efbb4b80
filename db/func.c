// SQL functions on blobs:
//   att_row(map, query)       JSON array of the row's visible numbers (keys 0 .. query)
//   att_at(map, query, key)   one number; for a key that the row does not see 0, or -inf of scores
//   att_series(data)          JSON array of a series blob, of row_series or series
//   att_nth(data, i)          number i of a series blob, NULL past its ends
// those of alike.c and interval.c, and the tables of each.c. NULL gives NULL. They read through the checked readers,
// so a hostile blob is an SQL error. They are direct-only: what a stranger's views say cannot call
// them.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "db/att_internal.h"
#include "model/core/json.h"
#include "model/core/mem.h"

int hs_att_whole(const char *fn, const char *arg, sqlite3_value *v, int64_t *out) {
    double f;
    switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
        *out = sqlite3_value_int64(v);
        return HS_OK;
    case SQLITE_FLOAT:
        f = sqlite3_value_double(v);
        if (f != floor(f) || fabs(f) > 1e15) break;
        *out = (int64_t)f;
        return HS_OK;
    default:
        break;
    }
    return hs_fail(HS_EARG, "%s takes a whole number as its %s", fn, arg);
}

int hs_att_series(sqlite3_value *v, const uint8_t **at, int64_t *n, int *size) {
    bool blob = sqlite3_value_type(v) == SQLITE_BLOB;
    return hs_series_open(blob ? sqlite3_value_blob(v) : NULL, (size_t)sqlite3_value_bytes(v), at,
                          n, size);
}

int hs_att_open_map(hs_att_map *m, hs_db *db, int64_t map) {
    bool found = false;
    if (m->reader.id && m->reader.id == map) return HS_OK;
    hs_reader_close(&m->reader);
    int rc = hs_reader_map_id(&m->reader, db, map, &found);
    if (!rc && !found) rc = hs_fail(HS_ENOTFOUND, "there is no map %" PRId64, map);
    if (rc) hs_reader_close(&m->reader);
    return rc;
}

int hs_att_read(hs_att_map *m, int64_t query, int64_t *n) {
    int rc = HS_OK;
    if (query < 0 || query >= m->reader.n_row)
        rc = hs_fail(HS_ERANGE, "map %" PRId64 " has rows 0 to %" PRId64 ", not %" PRId64,
                     m->reader.id, m->reader.n_row - 1, query);
    if (!rc) rc = hs_reader_row_len(&m->reader, query, n);
    if (!rc && *n > m->cap) {
        rc = hs_grow(&m->row, (size_t)*n, sizeof *m->row);
        if (!rc) m->cap = *n;
    }
    return rc ? rc : hs_reader_row(&m->reader, query, m->row, n);
}

void hs_att_map_close(hs_att_map *m) {
    hs_reader_close(&m->reader);
    free(m->row);
}

// The row that the first two arguments of fn name, as hs_att.one.
static int row_of(hs_db *db, const char *fn, sqlite3_value **v, int64_t *n) {
    int64_t map = 0, query = 0;
    int rc = hs_att_whole(fn, "map", v[0], &map);
    if (!rc) rc = hs_att_whole(fn, "query", v[1], &query);
    if (!rc) rc = hs_att_open_map(&db->att->one, db, map);
    return rc ? rc : hs_att_read(&db->att->one, query, n);
}

void hs_att_fail(hs_db *db, sqlite3_context *ctx, int rc) {
    db->att->rc = rc;
    sqlite3_result_error(ctx, hs_errmsg(), -1);
}

static bool any_null(int n, sqlite3_value **v) {
    for (int i = 0; i < n; i++)
        if (sqlite3_value_type(v[i]) == SQLITE_NULL) return true;
    return false;
}

static void json_result(hs_db *db, sqlite3_context *ctx, hs_buf *b) {
    if (hs_buf_rc(b))
        hs_att_fail(db, ctx, hs_buf_rc(b));
    else
        sqlite3_result_text64(ctx, hs_buf_text(b), b->len, SQLITE_TRANSIENT, SQLITE_UTF8);
    hs_buf_free(b);
}

static void att_row(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    hs_buf b = {0};
    hs_jw j = {&b, false};
    int64_t n;
    if (any_null(n_arg, v)) return;
    int rc = row_of(db, "att_row", v, &n);
    if (rc) {
        hs_att_fail(db, ctx, rc);
        return;
    }
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < n; i++) hs_jw_f32(&j, db->att->one.row[i]);
    hs_jw_end(&j, ']');
    json_result(db, ctx, &b);
}

static void att_at(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    const hs_att_map *m = &db->att->one;
    int64_t n, key;
    if (any_null(n_arg, v)) return;
    int rc = row_of(db, "att_at", v, &n);
    if (!rc) rc = hs_att_whole("att_at", "key", v[2], &key);
    if (!rc && (key < 0 || key >= m->reader.width))
        rc = hs_fail(HS_ERANGE, "map %" PRId64 " has keys 0 to %" PRId64 ", not %" PRId64,
                     m->reader.id, m->reader.width - 1, key);
    if (rc)
        hs_att_fail(db, ctx, rc);
    else
        sqlite3_result_double(ctx, (double)(key < n ? m->row[key] : m->reader.hidden));
}

static void att_nth(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    const uint8_t *at;
    int64_t n, i;
    int size;
    if (any_null(n_arg, v)) return;
    int rc = hs_att_series(v[0], &at, &n, &size);
    if (!rc) rc = hs_att_whole("att_nth", "place", v[1], &i);
    if (rc)
        hs_att_fail(db, ctx, rc);
    else if (i >= 0 && i < n)
        sqlite3_result_double(ctx, hs_series_at(at, size, i));
}

static void att_series(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    hs_buf b = {0};
    hs_jw j = {&b, false};
    const uint8_t *at;
    int64_t n;
    int size;
    if (any_null(n_arg, v)) return;
    int rc = hs_att_series(v[0], &at, &n, &size);
    if (rc) {
        hs_att_fail(db, ctx, rc);
        return;
    }
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < n; i++) {
        double x = hs_series_at(at, size, i);
        if (size == 4)
            hs_jw_f32(&j, (float)x);
        else
            hs_jw_num(&j, x);
    }
    hs_jw_end(&j, ']');
    json_result(db, ctx, &b);
}

int hs_att_open(hs_db *db) {
    static const struct {
        const char *name;
        int n_arg;
        void (*fn)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = {{"att_row", 2, att_row},
                     {"att_at", 3, att_at},
                     {"att_series", 1, att_series},
                     {"att_nth", 2, att_nth}};
    int rc = hs_alloc(&db->att, 1, sizeof *db->att);
    for (size_t i = 0; i < sizeof functions / sizeof *functions && !rc; i++)
        if (sqlite3_create_function_v2(db->sql, functions[i].name, functions[i].n_arg,
                                       SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, db,
                                       functions[i].fn, NULL, NULL, NULL))
            rc = hs_sql_fail(db, "adding a function");
    if (!rc) rc = hs_att_alike_open(db);
    if (!rc) rc = hs_att_interval_open(db);
    return rc ? rc : hs_att_each_open(db);
}

void hs_att_close(hs_db *db) {
    if (!db->att) return;
    hs_att_map_close(&db->att->one);
    hs_att_map_close(&db->att->other);
    free(db->att);
    db->att = NULL;
}
