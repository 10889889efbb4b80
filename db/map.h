// What a run stored of one head, read row by row: attention maps and numbers along positions. For
// figures, which never hold a whole map.
#ifndef HS_DB_MAP_H
#define HS_DB_MAP_H

#include "db/db.h"

// A stored attention map under way. Holds one decoded chunk (about 1 MiB), so rows read in order
// decode each chunk once.
typedef struct hs_map_rows hs_map_rows;

// prompt: row id. HS_ENOTFOUND says how to record the map; HS_EFORMAT when it is damaged.
int hs_map_rows_open(hs_map_rows **out, hs_db *, int64_t prompt, int layer, int head) HS_MUST_USE;
void hs_map_rows_close(hs_map_rows *);
int64_t hs_map_rows_count(const hs_map_rows *); // query rows
int64_t hs_map_rows_keys(const hs_map_rows *);
// Row i: as many numbers as there are keys, NaN where the query does not see the key. HS_ERANGE for
// a row that is not there.
int hs_map_rows_read(hs_map_rows *, int64_t i, float *out) HS_MUST_USE;

// Numbers along the positions of a prompt: `name` is a row summary (entropy, max, argmax, lse,
// first, self, prev, distance) or a series that an observer gave (column_mean, ...; the newest
// counts). head -1: a series of the layer. The caller frees *out ([*n]). HS_ENOTFOUND when the run
// has none of that name.
int hs_db_series(hs_db *, int64_t prompt, int layer, int head, const char *name, double **out,
                 int64_t *n) HS_MUST_USE;

#endif
