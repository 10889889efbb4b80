// Reading: named queries (db/queries/NAME.sql, embedded) and the users' own read-only SQL.
#ifndef HS_DB_QUERY_H
#define HS_DB_QUERY_H

#include <stddef.h>

#include "db/db.h"
#include "model/core/progress.h"

// A named query's text begins with comment lines that describe it:
//   -- title: What it answers
//   -- param: eps = 0.3 : what it means
//   -- param: rule = alphaN|abs : choices, the first is the default
//   -- needs: sinks|hidden_sinks
// A parameter whose default is a number takes numbers only. One of the observers that are needed has
// to have looked at the run (and the prompt, when one is given). There may be several lines; others
// than observers are ":metric", the metric that the parameter names; ":metrics", those that the
// parameter metrics lists, in some run of the same model; ":maps", stored maps (of the head that the
// parameters layer and head name); ":other", a second run with prompts of the same ids (the parameter
// other; 0: the run before).
// A line "-- part: NAME" within the text stands for the SELECT in db/queries/parts/NAME.sql, which make
// has put there.
// Bound automatically when the text uses them: :run (row id), :prompt (row id or NULL = all).
typedef struct hs_query_info {
    const char *name, *text;
} hs_query_info;
extern const hs_query_info hs_queries[]; // ended by name NULL

// The title line of a query's text; parameters one by one (false past the end). Copies.
int hs_query_title(const hs_query_info *, char *out, size_t n);
bool hs_query_param(const hs_query_info *, int i, char *name, size_t n_name, char *fallback,
                    size_t n_fallback, char *help, size_t n_help);

typedef struct hs_query hs_query; // a statement under way

typedef struct hs_query_opts {
    int64_t run;              // bound to :run; 0 = the latest (only looked up when used)
    const char *prompt;       // bound to :prompt; NULL = NULL (all)
    const char *const *param; // "k=v" texts
    int n_param;
    int64_t max_rows;            // 0 = no limit
    double max_seconds;          // spent in SQLite; 0 = no limit
    const hs_progress *progress; // asked whether to stop; NULL allowed, outlives the query
} hs_query_opts;

// what: a named query or SQL (anything with a space). Own SQL runs under an authorizer: one
// statement, reading only (HS_EARG otherwise, with SQLite's message); while it is open, lengths and
// SQLite's memory in this process are limited. Unknown names: HS_ENOTFOUND lists them. What the run
// lacks: HS_ENOTFOUND says how to record it. Unknown or missing parameters, and a prompt for a query
// without :prompt: HS_EARG.
int hs_query_open(hs_query **out, hs_db *db, const char *what,
                  const hs_query_opts *opts) HS_MUST_USE;
void hs_query_close(hs_query *);
int hs_query_columns(const hs_query *);
const char *hs_query_column(const hs_query *, int i);

enum hs_cell_type { HS_CELL_NULL, HS_CELL_INT, HS_CELL_NUM, HS_CELL_TEXT, HS_CELL_BLOB };
typedef struct hs_cell {
    enum hs_cell_type type;
    int64_t i;
    double f;
    const void *data; // TEXT (UTF-8) and BLOB: n bytes, until the next step
    size_t n;
} hs_cell;
// HS_OK with *row true while there are rows. HS_E when max_seconds are over; what progress returned;
// HS_EFORMAT and others from our functions when a blob is damaged.
int hs_query_step(hs_query *, bool *row) HS_MUST_USE;
bool hs_query_cut(const hs_query *); // after the last row: max_rows left some out
hs_cell hs_query_cell(const hs_query *, int i);
// A cell by its column's name, null when there is no such column; as a number, NaN or 0 when it is
// none, and as text, cut to n - 1 bytes and empty when it is none.
hs_cell hs_query_named(const hs_query *q, const char *column);
double hs_query_num(const hs_query *q, const char *column);
int64_t hs_query_int(const hs_query *q, const char *column);
void hs_query_text(const hs_query *q, const char *column, char *out, size_t n);

// Calls fn for every row of a query.
typedef int (*hs_row_fn)(void *ctx, const hs_query *row);
int hs_query_each(hs_db *db, const char *what, const hs_query_opts *opts, hs_row_fn fn,
                  void *ctx) HS_MUST_USE;

#endif
