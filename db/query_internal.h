// Between the files of queries: describing, checking what is needed, running.
#ifndef HS_DB_QUERY_INTERNAL_H
#define HS_DB_QUERY_INTERNAL_H

#include "db/db_internal.h"
#include "db/query.h"

// ---- query_info.c -----------------------------------------------------------------------------

// The rest of the i-th line that begins with `head`; NULL past the last.
const char *hs_query_line(const char *text, const char *head, int i, size_t *len);
// The value that was given for a parameter: the last one counts. NULL when there is none.
const char *hs_query_given(const hs_query_opts *o, const char *name);
// The declared fallback of a parameter; false when the query declares none of that name (or info is
// NULL).
bool hs_query_declared(const hs_query_info *info, const char *name, char *fallback, size_t n);

// ---- query_needs.c ----------------------------------------------------------------------------

// HS_ENOTFOUND, with what to record, when the run lacks what a named query needs: without, it would
// give no rows, which says something else.
int hs_query_check(hs_db *db, const hs_query_info *info, const hs_query_opts *o) HS_MUST_USE;

#endif
