// The SQL aggregate att_interval(value): the 95 % percentile bootstrap interval of the mean, as a
// JSON array [low, high]; NULL of fewer than two values. Values are sorted first, so that the result
// does not depend on the order in which rows come, and the generator has a fixed seed. NULLs are
// left out. Cost: 2,000 draws a value.
#include <stdlib.h>
#include <string.h>

#include "analyses/effect.h"
#include "db/att_internal.h"
#include "model/core/json.h"
#include "model/core/mem.h"

enum { MAX_VALUES = 1 << 20 };

typedef struct sample {
    double *v; // [n]
    int64_t n, cap;
} sample;

static int add(sample *s, double v) {
    if (s->n == MAX_VALUES)
        return hs_fail(HS_EARG, "att_interval: more than %d values", MAX_VALUES);
    if (s->n == s->cap) {
        const int64_t cap = s->cap ? 2 * s->cap : 16;
        int rc = hs_grow(&s->v, (size_t)cap, sizeof *s->v);
        if (rc) return rc;
        s->cap = cap;
    }
    s->v[s->n++] = v;
    return HS_OK;
}

static void interval_step(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    sample *s = sqlite3_aggregate_context(ctx, sizeof *s);
    const int type = sqlite3_value_type(v[0]);
    (void)n_arg;
    if (!s) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    if (type == SQLITE_NULL) return;
    int rc = type == SQLITE_INTEGER || type == SQLITE_FLOAT
                 ? add(s, sqlite3_value_double(v[0]))
                 : hs_fail(HS_EARG, "att_interval takes numbers");
    if (rc) hs_att_fail(sqlite3_user_data(ctx), ctx, rc);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Also called when the query is given up: what was gathered is freed here.
static void interval_final(sqlite3_context *ctx) {
    hs_db *db = sqlite3_user_data(ctx);
    sample *s = sqlite3_aggregate_context(ctx, 0);
    double low = 0, high = 0;
    hs_buf b = {0};
    hs_jw j = {&b, false};
    if (!s || !s->n) return;
    qsort(s->v, (size_t)s->n, sizeof *s->v, ascending);
    int rc = db->att->rc;
    if (!rc) rc = hs_bootstrap(s->v, s->n, HS_BOOTSTRAP_ROUNDS, 0, HS_BOOTSTRAP_LEVEL, &low, &high);
    if (!rc && s->n > 1) {
        hs_jw_begin(&j, '[');
        hs_jw_num(&j, low);
        hs_jw_num(&j, high);
        hs_jw_end(&j, ']');
        rc = hs_buf_rc(&b);
        if (!rc) sqlite3_result_text64(ctx, hs_buf_text(&b), b.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    }
    if (rc) hs_att_fail(db, ctx, rc);
    hs_buf_free(&b);
    free(s->v);
    *s = (sample){0};
}

int hs_att_interval_open(hs_db *db) {
    if (sqlite3_create_function_v2(db->sql, "att_interval", 1,
                                   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, db, NULL,
                                   interval_step, interval_final, NULL))
        return hs_sql_fail(db, "adding a function");
    return HS_OK;
}
