// What the SQL functions keep between calls: the map last read, and how the last failure is called.
#ifndef HS_DB_ATT_INTERNAL_H
#define HS_DB_ATT_INTERNAL_H

#include "db/reader_internal.h"

// A map that is being read, and the row of it last read.
typedef struct hs_att_map {
    hs_reader reader; // of map reader.id; id 0: none
    float *row;
    int64_t cap;
} hs_att_map;

struct hs_att {
    hs_att_map one, other; // other: what a second map is compared with
    int rc;                // of the last failure, HS_OK when none since hs_query_step began
};

// A whole number that is an argument of a function or table; HS_EARG names both. Not for NULL.
int hs_att_whole(const char *fn, const char *arg, sqlite3_value *v, int64_t *out) HS_MUST_USE;
// The numbers of a series blob (hs_series_open); any other type of value is none.
int hs_att_series(sqlite3_value *v, const uint8_t **at, int64_t *n, int *size) HS_MUST_USE;
// Opens a map unless it is the one that is open.
int hs_att_open_map(hs_att_map *m, hs_db *, int64_t map) HS_MUST_USE;
// Row `query` of the map: *n weights at m->row, keys 0 .. *n - 1.
int hs_att_read(hs_att_map *m, int64_t query, int64_t *n) HS_MUST_USE;
void hs_att_map_close(hs_att_map *m);
// Remembers rc and gives the message to SQLite as the result of a function.
void hs_att_fail(hs_db *, sqlite3_context *, int rc);
int hs_att_each_open(hs_db *) HS_MUST_USE;     // the table-valued functions
int hs_att_alike_open(hs_db *) HS_MUST_USE;    // the functions that compare
int hs_att_interval_open(hs_db *) HS_MUST_USE; // att_interval

#endif
