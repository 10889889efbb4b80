// Reading stored tensors row by row. Every length, format and checksum is checked: a database may
// come from anywhere.
#ifndef HS_DB_READER_INTERNAL_H
#define HS_DB_READER_INTERNAL_H

#include "db/codec_internal.h"
#include "db/db_internal.h"
#include "model/tap.h"

// One map or activation; holds one decoded chunk, so reading rows in order decodes each once.
typedef struct hs_reader {
    hs_db *db;
    bool map, causal;
    int64_t id, n_row, width; // width: keys of a map, numbers a position
    enum hs_store store;
    float hidden;         // of a causal map: what keys that a row does not see have
    sqlite3_stmt *chunk;  // finds the chunk of a row
    uint8_t *raw;         // the decoded chunk, NULL when none
    int64_t row0, n_have; // its rows
} hs_reader;

// *found false (and nothing to close) when the run did not store it.
// point: HS_PATTERN or HS_SCORES.
int hs_reader_map(hs_reader *, hs_db *db, int64_t prompt, enum hs_point point, int layer, int head,
                  bool *found) HS_MUST_USE;
int hs_reader_map_id(hs_reader *, hs_db *db, int64_t map, bool *found) HS_MUST_USE;
int hs_reader_act(hs_reader *, hs_db *db, int64_t prompt, const char *name,
                  bool *found) HS_MUST_USE;
void hs_reader_close(hs_reader *); // zeroed readers allowed
// Numbers that row i has, once it is known to be there.
int hs_reader_row_len(hs_reader *, int64_t row, int64_t *n) HS_MUST_USE;
// Row i, visible keys only for a causal map: *n numbers (at most width) into out.
int hs_reader_row(hs_reader *, int64_t row, float *out, int64_t *n) HS_MUST_USE;
// The same, filled up to n numbers with what a row has for keys that it does not see.
int hs_reader_row_full(hs_reader *, int64_t row, float *out, int64_t n) HS_MUST_USE;

// Row summaries [row0, row0 + n) of one layer, out[head][stat][n].
int hs_read_stats(hs_db *db, int64_t prompt, int layer, int n_head, int64_t row0, int64_t n,
                  float *out) HS_MUST_USE;
// The same of one head and summary.
int hs_read_stat(hs_db *db, int64_t prompt, int layer, int head, int stat, int64_t row0, int64_t n,
                 float *out) HS_MUST_USE;
// Rows that a prompt has summaries of; 0 when none.
int hs_read_rows(hs_db *db, int64_t prompt, int64_t *out) HS_MUST_USE;

// Whether numbers * 4 bytes are a size that a file of this length may ask for; HS_EFORMAT.
int hs_read_justified(hs_db *db, int64_t rows, int64_t width) HS_MUST_USE;

#endif
