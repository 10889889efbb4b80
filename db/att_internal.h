// What the SQL functions keep between calls: the map last read, and how the last failure is called.
#ifndef HS_DB_ATT_INTERNAL_H
#define HS_DB_ATT_INTERNAL_H

#include "db/reader_internal.h"

struct hs_att {
    hs_reader reader; // of map reader.id; id 0: none
    float *row;       // the row last read
    int64_t cap;
    int rc; // of the last failure, HS_OK when none since hs_query_step began
};

// Row `query` of a map: *n weights at hs_att.row, keys 0 .. *n - 1.
int hs_att_row(hs_db *, int64_t map, int64_t query, int64_t *n) HS_MUST_USE;
// Remembers rc and gives the message to SQLite as the result of a function.
void hs_att_fail(hs_db *, sqlite3_context *, int rc);
int hs_att_each_open(hs_db *) HS_MUST_USE; // the table-valued functions

#endif
