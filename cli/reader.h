// What commands that read a database share: the database and run of a call, and named queries as
// rows or tables.
#ifndef HS_CLI_READER_H
#define HS_CLI_READER_H

#include "cli/out.h"
#include "cli/session.h"
#include "db/query.h"

typedef struct hs_source {
    hs_db *db;
    int64_t run;
    const char *prompt; // as given; NULL: none was
} hs_source;

// Opens the database read only and finds the run: word i of the call, --run, or the latest. A run
// that is not whole is told on stderr.
int hs_source_open(hs_source *r, const hs_call *call, int i, const hs_db_options *db,
                   const hs_run_options *run) HS_MUST_USE;
void hs_source_close(hs_source *r); // in any state, zero included
// Tells on stderr what a run lacks to be a whole one.
int hs_tell_unfinished(const hs_call *call, hs_db *db, int64_t run) HS_MUST_USE;

// Calls fn for every row of a query of this run (and prompt, unless all_prompts).
int hs_source_each(const hs_source *r, const char *query, const char *const *param, int n_param,
                   hs_row_fn fn, void *ctx) HS_MUST_USE;
// All rows as a table whose columns are the query's.
int hs_source_table(const hs_source *r, const char *query, hs_table **out) HS_MUST_USE;

// A table with a query's columns; rows are added by hs_table_row.
int hs_table_of_query(hs_table **out, const hs_query *q) HS_MUST_USE;
void hs_table_row(hs_table *t, const hs_query *q);
// A cell as JSON; a blob as its size in words.
void hs_cell_json(hs_jw *json, const hs_cell *c);
// The prompt's tokens as text, for labels; row number of the prompt. Owned: hs_labels_free.
typedef struct hs_labels {
    char **text; // [n]
    int32_t *id; // [n]
    int64_t n;
} hs_labels;
int hs_labels_open(hs_labels *out, const hs_source *r) HS_MUST_USE;
void hs_labels_free(hs_labels *);

// One head, "L5H1". HS_EARG when the text selects none or several.
int hs_one_head(const hs_dims *dims, const char *text, int *layer, int *head) HS_MUST_USE;

#endif
