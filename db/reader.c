// Stored tensors, row by row; see reader_internal.h.
#include "db/reader_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/core/mem.h"

enum { MAX_ROWS = 1 << 26 };

static int damaged(const hs_reader *r, const char *what) {
    return hs_fail(HS_EFORMAT, "%s: %s %" PRId64 ": %s", hs_db_path(r->db), r->map ? "map" : "act",
                   r->id, what);
}

// Fills r from "id, n_row, width, causal, dtype, point" of one row.
static int open_row(hs_reader *r, hs_db *db, bool map, const char *sql, const hs_v *v, int n,
                    bool *found) {
    sqlite3_stmt *s = NULL;
    *r = (hs_reader){.db = db, .map = map};
    int rc = hs_sql_prepare(db, &s, sql);
    if (!rc) rc = hs_sql_bind(db, s, v, n);
    if (!rc) rc = hs_sql_step(db, s, found);
    if (!rc && *found) {
        r->id = sqlite3_column_int64(s, 0);
        r->n_row = sqlite3_column_int64(s, 1);
        r->width = sqlite3_column_int64(s, 2);
        r->causal = sqlite3_column_int(s, 3) != 0;
        const char *point = (const char *)sqlite3_column_text(s, 5);
        bool scores = point && strcmp(point, hs_point_infos[HS_SCORES].alias) == 0;
        r->hidden = scores ? -INFINITY : 0;
        if (!hs_store_find((const char *)sqlite3_column_text(s, 4), &r->store) || r->n_row < 1 ||
            r->width < 1 || r->n_row > MAX_ROWS || r->width > MAX_ROWS)
            rc = damaged(r, "its sizes make no sense");
    }
    sqlite3_finalize(s);
    if (!rc && *found)
        rc = hs_sql_prepare(db, &r->chunk,
                            map ? "SELECT q0, n_q, codec, crc32, data FROM map_chunk "
                                  "WHERE map_id = ? AND q0 <= ? ORDER BY q0 DESC LIMIT 1"
                                : "SELECT pos0, n_pos, codec, crc32, data FROM act_chunk "
                                  "WHERE act_id = ? AND pos0 <= ? ORDER BY pos0 DESC LIMIT 1");
    return rc;
}

int hs_reader_map(hs_reader *r, hs_db *db, int64_t prompt, enum hs_point point, int layer, int head,
                  bool *found) {
    hs_v v[] = {hs_v_int(prompt), hs_v_text(hs_point_infos[point].alias), hs_v_int(layer),
                hs_v_int(head)};
    return open_row(r, db, true,
                    "SELECT id, n_q, n_k, causal, dtype, point FROM map "
                    "WHERE prompt_id = ? AND point = ? AND layer = ? AND head = ?",
                    v, 4, found);
}

int hs_reader_map_id(hs_reader *r, hs_db *db, int64_t map, bool *found) {
    hs_v v = hs_v_int(map);
    return open_row(r, db, true, "SELECT id, n_q, n_k, causal, dtype, point FROM map WHERE id = ?",
                    &v, 1, found);
}

int hs_reader_act(hs_reader *r, hs_db *db, int64_t prompt, const char *name, bool *found) {
    hs_v v[] = {hs_v_int(prompt), hs_v_text(name)};
    return open_row(r, db, false,
                    "SELECT id, n_pos, width, 0, dtype, NULL FROM act "
                    "WHERE prompt_id = ? AND name = ?",
                    v, 2, found);
}

void hs_reader_close(hs_reader *r) {
    sqlite3_finalize(r->chunk);
    free(r->raw);
    *r = (hs_reader){0};
}

// Decodes the chunk that the statement stands on.
static int take_chunk(hs_reader *r, int64_t row) {
    sqlite3_stmt *s = r->chunk;
    const uint8_t *raw;
    uint8_t *own;
    size_t expect;
    int64_t row0 = sqlite3_column_int64(s, 0), n = sqlite3_column_int64(s, 1);
    if (row0 < 0 || n < 1 || n > r->n_row || row0 > r->n_row - n || row >= row0 + n)
        return damaged(r, "rows are missing");
    if (!hs_map_rows_bytes(r->store, r->causal, row0, n, r->width, &expect))
        return damaged(r, "a chunk is too large");
    const char *codec = (const char *)sqlite3_column_text(s, 2);
    int64_t crc = sqlite3_column_int64(s, 3);
    const void *data = sqlite3_column_blob(s, 4);
    int rc = hs_chunk_unpack(&raw, &own, data, (size_t)sqlite3_column_bytes(s, 4), codec, crc,
                             expect);
    if (rc) return damaged(r, hs_errmsg());
    if (!own) {
        rc = hs_alloc(&own, expect, 1);
        if (rc) return rc;
        memcpy(own, raw, expect);
    }
    r->raw = own;
    r->row0 = row0;
    r->n_have = n;
    return HS_OK;
}

static int load(hs_reader *r, int64_t row) {
    hs_v v[] = {hs_v_int(r->id), hs_v_int(row)};
    bool found = false;
    free(r->raw);
    r->raw = NULL;
    int rc = hs_sql_bind(r->db, r->chunk, v, 2);
    if (!rc) rc = hs_sql_step(r->db, r->chunk, &found);
    if (!rc) rc = found ? take_chunk(r, row) : damaged(r, "rows are missing");
    sqlite3_reset(r->chunk);
    return rc;
}

int hs_reader_row_len(hs_reader *r, int64_t row, int64_t *n) {
    if (row < 0 || row >= r->n_row)
        return hs_fail(HS_ERANGE, "row %" PRId64 " of %" PRId64, row, r->n_row);
    *n = hs_map_row_len(r->causal, row, r->width);
    return r->raw && row >= r->row0 && row < r->row0 + r->n_have ? HS_OK : load(r, row);
}

int hs_reader_row(hs_reader *r, int64_t row, float *out, int64_t *n) {
    size_t at = 0;
    int rc = hs_reader_row_len(r, row, n);
    if (rc) return rc;
    // Fits: the chunk's whole length was checked.
    if (row > r->row0)
        hs_map_rows_bytes(r->store, r->causal, r->row0, row - r->row0, r->width, &at);
    hs_row_get(r->store, r->raw + at, out, *n);
    return HS_OK;
}

int hs_reader_row_full(hs_reader *r, int64_t row, float *out, int64_t n) {
    int64_t seen = 0;
    int rc = hs_reader_row(r, row, out, &seen);
    for (int64_t i = seen; i < n && !rc; i++) out[i] = r->hidden;
    return rc;
}

// ---- row summaries -----------------------------------------------------------------------------

int hs_read_rows(hs_db *db, int64_t prompt, int64_t *out) {
    hs_v v = hs_v_int(prompt);
    *out = 0;
    int rc = hs_sql_int(db,
                        "SELECT coalesce(max(row0 + n_row), 0) FROM row_series WHERE "
                        "prompt_id = ? AND layer = 0 AND head = 0 AND stat = 'entropy'",
                        &v, 1, out, NULL);
    if (!rc && (*out < 0 || *out > MAX_ROWS))
        rc = hs_fail(HS_EFORMAT, "%s: row_series of prompt row %" PRId64 ": sizes make no sense",
                     hs_db_path(db), prompt);
    return rc;
}

// Copies what the piece the statement stands on holds of rows [from, to) and moves *from on.
static int take_piece(sqlite3_stmt *s, int64_t *from, int64_t to, float *out) {
    const uint8_t *at;
    int64_t n;
    int size;
    int64_t row0 = sqlite3_column_int64(s, 0);
    const void *blob = sqlite3_column_blob(s, 1);
    int rc = hs_series_open(blob, (size_t)sqlite3_column_bytes(s, 1), &at, &n, &size);
    if (rc) return rc;
    if (row0 < 0 || row0 > *from || row0 > MAX_ROWS || *from >= row0 + n)
        return hs_fail(HS_EFORMAT, "rows are missing");
    for (; *from < to && *from < row0 + n; ++*from)
        *out++ = (float)hs_series_at(at, size, *from - row0);
    return HS_OK;
}

// Rows [row0, row0 + n) of one series; s is the statement of prepare_series.
static int read_series(hs_db *db, sqlite3_stmt *s, int64_t prompt, int layer, int head, int stat,
                       int64_t row0, int64_t n, float *out) {
    const char *name = hs_stat_infos[stat].name;
    int rc = HS_OK;
    for (int64_t at = row0; at < row0 + n && !rc;) {
        hs_v v[] = {hs_v_int(prompt), hs_v_int(layer), hs_v_int(head), hs_v_text(name),
                    hs_v_int(at)};
        bool found = false;
        rc = hs_sql_bind(db, s, v, 5);
        if (!rc) rc = hs_sql_step(db, s, &found);
        if (!rc && !found) rc = hs_fail(HS_EFORMAT, "rows are missing");
        if (!rc) rc = take_piece(s, &at, row0 + n, out + (at - row0));
        sqlite3_reset(s);
    }
    if (rc != HS_EFORMAT) return rc;
    return hs_prefix(rc, "%s: row_series of L%dH%d, %s", hs_db_path(db), layer, head, name);
}

static int prepare_series(hs_db *db, sqlite3_stmt **out) {
    return hs_sql_prepare(db, out,
                          "SELECT row0, data FROM row_series WHERE prompt_id = ? AND "
                          "layer = ? AND head = ? AND stat = ? AND row0 <= ? "
                          "ORDER BY row0 DESC LIMIT 1");
}

int hs_read_stat(hs_db *db, int64_t prompt, int layer, int head, int stat, int64_t row0, int64_t n,
                 float *out) {
    sqlite3_stmt *s = NULL;
    int rc = prepare_series(db, &s);
    if (!rc) rc = read_series(db, s, prompt, layer, head, stat, row0, n, out);
    sqlite3_finalize(s);
    return rc;
}

int hs_read_stats(hs_db *db, int64_t prompt, int layer, int n_head, int64_t row0, int64_t n,
                  float *out) {
    sqlite3_stmt *s = NULL;
    int rc = prepare_series(db, &s);
    for (int i = 0; i < n_head * HS_N_STAT && !rc; i++)
        rc = read_series(db, s, prompt, layer, i / HS_N_STAT, i % HS_N_STAT, row0, n,
                         out + (int64_t)i * n);
    sqlite3_finalize(s);
    return rc;
}

int hs_read_justified(hs_db *db, int64_t rows, int64_t width) {
    // A triangle of u8 grows eightfold, and zstd adds its own factor; but the row summaries of the
    // same rows are always there too.
    enum { RATIO = 256, ALWAYS = 64 << 20 };
    int64_t bytes, size = 0;
    struct stat st;
    if (stat(hs_db_path(db), &st) == 0) size = st.st_size;
    if (__builtin_mul_overflow(rows, width, &bytes) || __builtin_mul_overflow(bytes, 4, &bytes) ||
        (bytes > ALWAYS && bytes / RATIO > size))
        return hs_fail(HS_EFORMAT,
                       "%s: damaged: %" PRId64 " x %" PRId64 " numbers in so small a "
                       "file",
                       hs_db_path(db), rows, width);
    return HS_OK;
}
