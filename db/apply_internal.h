// Rows into tables, one transaction at a time. Rows name each other by ids relative to the
// transaction, so that whoever produces them needs no look at the database: a relative id k of a
// kind becomes k + 1 + the largest id its table held when the transaction began.
#ifndef HS_DB_APPLY_INTERNAL_H
#define HS_DB_APPLY_INTERNAL_H

#include "db/db_internal.h"

enum hs_id_kind { HS_ID_PROMPT, HS_ID_MAP, HS_ID_ACT, HS_ID_ANALYSIS_RUN, HS_N_ID };
static inline hs_v hs_v_id(enum hs_id_kind kind, int64_t k) {
    return (hs_v){.type = HS_V_ID, .i = k, .n = (size_t)kind};
}

typedef struct hs_apply hs_apply;
int hs_apply_open(hs_apply **out, hs_db *db) HS_MUST_USE;
void hs_apply_close(hs_apply *); // rolls back what was not committed
int hs_apply_begin(hs_apply *) HS_MUST_USE;
int hs_apply_row(hs_apply *, const char *sql, const hs_v *v, int n) HS_MUST_USE;
int hs_apply_commit(hs_apply *) HS_MUST_USE;
void hs_apply_rollback(hs_apply *);

// Where rows go: straight into a transaction, or through the writer's queue. Values are copied.
typedef struct hs_sink {
    void *ctx;
    int (*row)(void *ctx, const char *sql, const hs_v *v, int n);
} hs_sink;
hs_sink hs_apply_sink(hs_apply *);

#endif
