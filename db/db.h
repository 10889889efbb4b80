// The database file: opening, creating, checking, migrating. All SQL lives in db/.
#ifndef HS_DB_DB_H
#define HS_DB_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/buf.h"
#include "model/core/err.h"

typedef struct hs_db hs_db; // wraps one sqlite3 connection

enum hs_db_mode {
    HS_DB_READ,   // must exist and be ours; never written
    HS_DB_WRITE,  // must exist and be ours; migrated forward if older
    HS_DB_CREATE, // as WRITE, made when missing or empty
};

// HS_EIO: cannot open; HS_EFORMAT: not a headscope database or damaged (the message names it);
// HS_EUNSUPPORTED: written by a newer version. Our SQL functions are registered:
// att_row(map, query), att_at(map, query, key), att_series(data), and as tables
// att_keys(map, query) -> key, weight and att_each(data) -> pos, value.
int hs_db_open(hs_db **out, const char *path, enum hs_db_mode mode) HS_MUST_USE;
// Leaves a plain file: checkpoints the WAL and goes back to a rollback journal when writing.
void hs_db_close(hs_db *);
const char *hs_db_path(const hs_db *);

// Run and prompt look-ups. run 0 = the latest. HS_ENOTFOUND says what there is.
int hs_db_run(hs_db *, int64_t run, int64_t *out) HS_MUST_USE;
// What a run holds of what was asked for: the text "run 3 is interrupted: 5 of 16 prompts" is put
// into out, or nothing when it is whole.
int hs_db_unfinished(hs_db *, int64_t run, hs_buf *out) HS_MUST_USE;
// which: NULL = the first; a 0-based number or a prompt's id. Gives the row id of the prompt.
int hs_db_prompt(hs_db *, int64_t run, const char *which, int64_t *out) HS_MUST_USE;

#endif
