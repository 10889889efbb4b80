// Databases from anywhere. A small recorded run is damaged as the input says, then everything that
// reads is let loose on it. First byte even: the rest patches bytes of the file (offset u24,
// length, bytes). Odd: the rest sets columns to numbers, or blobs with a right checksum, by SQL.
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/export.h"
#include "db/query.h"
#include "db/replay.h"
#include "model/core/hash.h"
#include "model/core/mem.h"
#include "tests/lib/dbrun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// The undamaged file, made once.
static uint8_t *base;
static size_t base_size;
static char path[256];

static void forget(void) {
    dbrun_remove(path);
    free(base);
}

static void make_base(void) {
    dbrun what = {.n_prompt = 1,
                  .n_token = 12,
                  .n_decode = 1,
                  .maps = "all",
                  .acts = "resid_post",
                  .observe = "sinks,massive",
                  .store = HS_STORE_U8};
    hs_map m;
    dbrun_path(path, sizeof path, "fuzz");
    if (dbrun_record(path, &what, NULL) || hs_map_open(&m, path)) abort();
    base_size = m.size;
    base = malloc(base_size);
    if (!base) abort();
    memcpy(base, m.data, base_size);
    hs_map_close(&m);
    atexit(forget);
}

static void patch(uint8_t *file, const uint8_t *in, size_t n) {
    while (n > 4) {
        size_t at = ((size_t)in[0] | (size_t)in[1] << 8 | (size_t)in[2] << 16) % base_size;
        size_t len = in[3] < n - 4 ? in[3] : n - 4;
        for (size_t i = 0; i < len && at + i < base_size; i++) file[at + i] = in[4 + i];
        in += 4 + len;
        n -= 4 + len;
    }
}

static void put_base(const uint8_t *in, size_t n) {
    uint8_t *file = malloc(base_size);
    FILE *f = fopen(path, "wb");
    if (!file || !f) abort();
    memcpy(file, base, base_size);
    patch(file, in, n);
    fwrite(file, 1, base_size, f);
    fclose(f);
    free(file);
}

// One column of one table becomes a number of 1, 2 or 8 bytes, or the rest of the input as a blob.
static void set_columns(const uint8_t *in, size_t n) {
    static const char *const columns[] = {
        "map SET n_q = ?1",
        "map SET n_k = ?1",
        "map SET n_q = ?1, n_k = ?1",
        "map_chunk SET q0 = ?1",
        "map_chunk SET n_q = ?1",
        "map_chunk SET raw_bytes = ?1",
        "act SET n_pos = ?1",
        "act SET width = ?1",
        "act_chunk SET pos0 = ?1",
        "act_chunk SET n_pos = ?1",
        "row_series SET row0 = ?1",
        "row_series SET n_row = ?1",
        "model SET n_layer = ?1",
        "model SET n_head = ?1",
        "model SET d_model = ?1",
        "model SET n_vocab = ?1",
        "prompt SET n_token = ?1",
        "prompt SET period = ?1",
        "token SET token_id = ?1",
        "token SET pos = pos + ?1",
        "series SET n = ?1",
        "map_chunk SET data = ?2, crc32 = ?3",
        "act_chunk SET data = ?2, crc32 = ?3",
        "map_chunk SET data = ?2, crc32 = ?3, codec = 'zstd'",
        "row_series SET data = ?2",
        "series SET data = ?2",
        "map SET dtype = 'f16'",
        "map SET dtype = 'f32'",
        "act SET dtype = 'f32'",
        "map SET causal = 0",
        "head_metric SET layer = ?1",
    };
    sqlite3 *sql;
    sqlite3_open(path, &sql);
    for (char text[200]; n > 2;) {
        sqlite3_stmt *s = NULL;
        size_t pick = in[0] % (sizeof columns / sizeof *columns), len = in[1] & 0x80 ? 8 : 1;
        int64_t v = 0;
        in += 2, n -= 2;
        if (len > n) len = n;
        memcpy(&v, in, len);
        snprintf(text, sizeof text, "UPDATE OR IGNORE %s", columns[pick]);
        if (!sqlite3_prepare_v2(sql, text, -1, &s, NULL)) {
            sqlite3_bind_int64(s, 1, v);
            sqlite3_bind_blob64(s, 2, in, n, SQLITE_STATIC);
            sqlite3_bind_int64(s, 3, hs_crc32(in, n));
            sqlite3_step(s);
        }
        sqlite3_finalize(s);
        in += len, n -= len;
    }
    sqlite3_close(sql);
}

static void run_query(hs_db *db, const char *what) {
    hs_query *q;
    bool row = true;
    hs_query_opts o = {.max_rows = 200, .max_seconds = 2};
    if (hs_query_open(&q, db, what, &o)) return;
    while (row && !hs_query_step(q, &row))
        for (int i = 0; row && i < hs_query_columns(q); i++) (void)hs_query_cell(q, i);
    hs_query_close(q);
}

static void read_all(hs_db *db) {
    char out[300];
    float *map;
    int64_t n_q, n_k;
    for (const hs_query_info *i = hs_queries; i->name; i++) run_query(db, i->name);
    run_query(db, "SELECT att_row(id, 3), att_at(id, 5, 2) FROM map");
    run_query(db, "SELECT att_series(data) FROM series");
    run_query(db, "SELECT att_series(data) FROM row_series");
    if (!hs_db_map(db, 1, 1, 1, &map, &n_q, &n_k)) free(map);
    snprintf(out, sizeof out, "%s.out", path);
    for (const hs_export_format *const *f = hs_export_formats; *f; f++) {
        hs_export_opts o = {.run = 1, .what = (*f)->what};
        if ((*f)->one_table) o.what = HS_EXPORT_MAPS;
        if (!hs_db_export(db, *f, &o, out, NULL, NULL)) unlink(out);
    }
}

static void observe(void) {
    static const char *const spec = "rows,sinks,massive,stripes";
    hs_db *db;
    hs_observe_list list;
    if (hs_db_open(&db, path, HS_DB_WRITE)) return;
    if (!hs_observe_parse(&list, &spec, 1, false)) {
        if (hs_db_observe(db, 1, &list, NULL, NULL)) (void)hs_errmsg();
        hs_observe_free(&list);
    }
    hs_db_close(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hs_db *db;
    if (!base) make_base();
    if (n < 1) return 0;
    dbrun_remove(path);
    put_base(data + 1, data[0] & 1 ? 0 : n - 1);
    if (data[0] & 1) set_columns(data + 1, n - 1);
    if (hs_db_open(&db, path, HS_DB_READ)) return 0;
    read_all(db);
    hs_db_close(db);
    observe();
    return 0;
}
