// What tests of the database share: a recorded file that is open for reading, its queries and maps.
// Failures fail the test that is running.
#ifndef HS_TESTS_DBFIX_H
#define HS_TESTS_DBFIX_H

#include "db/query.h"
#include "tests/lib/dbrun.h"

typedef struct dbfix {
    char path[256];
    hs_db *db;
} dbfix;

void dbfix_must(int rc);
void dbfix_change(const char *path, const char *sql); // with no check of ours in its way
// Records `runs` times, changes the file by SQL (NULL: not) and opens it.
dbfix *dbfix_open(const char *name, const dbrun *what, int runs, const char *sql);
int dbfix_tear_down(void **state); // of a dbfix

// A copy of its file, changed by SQL; path (n bytes) is for dbrun_remove.
void dbfix_copy(const dbfix *, char *path, size_t n, const char *sql);

hs_query *dbfix_query(const dbfix *, const char *what, const hs_query_opts *);
bool dbfix_next(hs_query *);
// Whether it is about an experiment, whose tables recordings do not have.
bool dbfix_of_experiment(const hs_query_info *);
int dbfix_run(const dbfix *, const char *what, const hs_query_opts *); // to its end

// A whole stored map [*n][*n], 0 where a query does not see the key; free() it.
float *dbfix_map(hs_db *, int64_t prompt, int layer, int head, int64_t *n);

#endif
