// The parts of publishing: the copy (publish.c), its rows (publish_rows.c), and the pages that
// describe it (publish_pages.c).
#ifndef HS_DB_PUBLISH_INTERNAL_H
#define HS_DB_PUBLISH_INTERNAL_H

#include "db/db_internal.h"
#include "db/publish.h"
#include "model/core/outfile.h"

typedef struct hs_publish_copy {
    hs_db *from, *to;
    const hs_publish_opts *opts;
    hs_publish_result *result;
    const char *path; // that the copy will have
    const hs_progress *progress;
    int64_t done, total;  // rows
    hs_buf runs, prompts; // conditions on run.id and prompt.id
} hs_publish_copy;

// Appends the condition on the rows of a table that are taken.
void hs_publish_where(const hs_publish_copy *, hs_buf *sql, const char *table);
// Copies those rows.
int hs_publish_table(hs_publish_copy *, const char *table) HS_MUST_USE;
// A failure of the copy's own file.
int hs_publish_failed(const hs_publish_copy *);
// Appends a name as SQL quotes it.
void hs_publish_name(hs_buf *out, const char *name);
// Calls fn for the columns of a table: name, type, whether NOT NULL, and place in the key from 1.
int hs_publish_columns(hs_db *db, const char *table, void (*fn)(hs_buf *, sqlite3_stmt *, int i),
                       hs_buf *out) HS_MUST_USE;

// Appends a text of the database, JSON or plain, with its absolute and ../ paths cut to their last
// part; *n counts the texts in which there was one.
void hs_publish_cut(hs_buf *out, const char *text, size_t n, int64_t *changed);

// Writes the description of a finished copy, which lies beside its place, to result->pages; then
// both are given their names.
int hs_publish_pages(hs_outfile *file, const char *path, hs_publish_result *result) HS_MUST_USE;

#endif
