// SQL functions on blobs:
//   att_row(map, query)       JSON array of the row's visible numbers (keys 0 .. query)
//   att_at(map, query, key)   one number; for a key that the row does not see 0, or -inf of scores
//   att_series(data)          JSON array of a series blob, of row_series or series
// and the tables of each.c. They read through the checked readers, so a hostile blob is an SQL
// error. They are direct-only: what a stranger's views say cannot call them.
#include <inttypes.h>
#include <stdlib.h>

#include "db/att_internal.h"
#include "model/core/json.h"
#include "model/core/mem.h"

static int open_map(hs_db *db, int64_t map) {
    hs_reader *r = &db->att->reader;
    bool found = false;
    if (r->id && r->id == map) return HS_OK;
    hs_reader_close(r);
    int rc = hs_reader_map_id(r, db, map, &found);
    if (!rc && !found) rc = hs_fail(HS_ENOTFOUND, "there is no map %" PRId64, map);
    if (rc) hs_reader_close(r);
    return rc;
}

int hs_att_row(hs_db *db, int64_t map, int64_t query, int64_t *n) {
    struct hs_att *a = db->att;
    int rc = open_map(db, map);
    if (!rc && (query < 0 || query >= a->reader.n_row))
        rc = hs_fail(HS_ERANGE, "map %" PRId64 " has rows 0 to %" PRId64 ", not %" PRId64, map,
                     a->reader.n_row - 1, query);
    if (!rc) rc = hs_reader_row_len(&a->reader, query, n);
    if (!rc && *n > a->cap) {
        rc = hs_grow(&a->row, (size_t)*n, sizeof *a->row);
        if (!rc) a->cap = *n;
    }
    return rc ? rc : hs_reader_row(&a->reader, query, a->row, n);
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
    int rc = hs_att_row(db, sqlite3_value_int64(v[0]), sqlite3_value_int64(v[1]), &n);
    if (rc) {
        hs_att_fail(db, ctx, rc);
        return;
    }
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < n; i++) hs_jw_f32(&j, db->att->row[i]);
    hs_jw_end(&j, ']');
    json_result(db, ctx, &b);
}

static void att_at(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    int64_t n, key;
    if (any_null(n_arg, v)) return;
    int rc = hs_att_row(db, sqlite3_value_int64(v[0]), sqlite3_value_int64(v[1]), &n);
    key = sqlite3_value_int64(v[2]);
    if (!rc && (key < 0 || key >= db->att->reader.width))
        rc = hs_fail(HS_ERANGE, "map %" PRId64 " has keys 0 to %" PRId64 ", not %" PRId64,
                     db->att->reader.id, db->att->reader.width - 1, key);
    if (rc)
        hs_att_fail(db, ctx, rc);
    else
        sqlite3_result_double(ctx, (double)(key < n ? db->att->row[key] : db->att->reader.hidden));
}

static void att_series(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    hs_buf b = {0};
    hs_jw j = {&b, false};
    const uint8_t *at;
    int64_t n;
    int size;
    if (any_null(n_arg, v)) return;
    const void *blob = sqlite3_value_blob(v[0]);
    int rc = hs_series_open(blob, (size_t)sqlite3_value_bytes(v[0]), &at, &n, &size);
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
    } functions[] = {{"att_row", 2, att_row}, {"att_at", 3, att_at}, {"att_series", 1, att_series}};
    int rc = hs_alloc(&db->att, 1, sizeof *db->att);
    for (size_t i = 0; i < sizeof functions / sizeof *functions && !rc; i++)
        if (sqlite3_create_function_v2(db->sql, functions[i].name, functions[i].n_arg,
                                       SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, db,
                                       functions[i].fn, NULL, NULL, NULL))
            rc = hs_sql_fail(db, "adding a function");
    return rc ? rc : hs_att_each_open(db);
}

void hs_att_close(hs_db *db) {
    if (!db->att) return;
    hs_reader_close(&db->att->reader);
    free(db->att->row);
    free(db->att);
    db->att = NULL;
}
