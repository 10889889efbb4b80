// SQL functions that compare two heads without their maps passing through SQL:
//   att_corr(a, b)     aggregate: Pearson's correlation of two series blobs, as one sequence over the
//                      rows of the group; NULL when either does not vary, or there is none
//   att_cosine(a, b)   cosine of two stored maps, over the keys that their rows see
//   att_gap(a, b)      mean |difference| of two stored maps over the same keys
// Maps are read row by row: memory is one row of each and a decoded chunk. Scores have no cosine (what
// is hidden is -inf): maps of the point `pattern` are meant.
#include <inttypes.h>
#include <math.h>

#include "db/att_internal.h"

// ---- series -------------------------------------------------------------------------------------

// Sums about the first pair, so that a large mean takes no digits from the variance.
typedef struct corr {
    int64_t n;
    double x0, y0, x, y, xx, yy, xy;
} corr;

static int add_series(corr *c, sqlite3_value **v) {
    const uint8_t *at[2];
    int64_t n[2];
    int size[2];
    for (int k = 0; k < 2; k++) {
        int rc = hs_att_series(v[k], &at[k], &n[k], &size[k]);
        if (rc) return rc;
    }
    if (n[0] != n[1])
        return hs_fail(HS_EARG, "att_corr takes series of one length, not %" PRId64 " and %" PRId64,
                       n[0], n[1]);
    for (int64_t i = 0; i < n[0]; i++) {
        double x = hs_series_at(at[0], size[0], i), y = hs_series_at(at[1], size[1], i);
        if (!c->n++) {
            c->x0 = x;
            c->y0 = y;
        }
        x -= c->x0;
        y -= c->y0;
        c->x += x;
        c->y += y;
        c->xx += x * x;
        c->yy += y * y;
        c->xy += x * y;
    }
    return HS_OK;
}

static void corr_step(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    (void)n_arg;
    corr *c = sqlite3_aggregate_context(ctx, sizeof *c);
    if (!c) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    if (sqlite3_value_type(v[0]) == SQLITE_NULL || sqlite3_value_type(v[1]) == SQLITE_NULL) return;
    int rc = add_series(c, v);
    if (rc) hs_att_fail(db, ctx, rc);
}

static void corr_final(sqlite3_context *ctx) {
    const corr *c = sqlite3_aggregate_context(ctx, 0);
    if (!c || !c->n) return;
    double n = (double)c->n;
    double vx = c->xx - c->x * c->x / n, vy = c->yy - c->y * c->y / n;
    double r = (c->xy - c->x * c->y / n) / sqrt(vx * vy);
    // Of a series that stands still, what is left is rounding.
    bool still = vx <= 1e-12 * c->xx || vy <= 1e-12 * c->yy || c->n < 2;
    if (!still && isfinite(r)) sqlite3_result_double(ctx, r > 1 ? 1 : r < -1 ? -1 : r);
}

// ---- maps ---------------------------------------------------------------------------------------

typedef struct sums {
    int64_t n;
    double aa, bb, ab, gap;
} sums;

static int open_both(hs_db *db, const char *fn, sqlite3_value **v) {
    int64_t a, b;
    hs_att_map *one = &db->att->one, *other = &db->att->other;
    int rc = hs_att_whole(fn, "first map", v[0], &a);
    if (!rc) rc = hs_att_whole(fn, "second map", v[1], &b);
    if (!rc) rc = hs_att_open_map(one, db, a);
    if (!rc) rc = hs_att_open_map(other, db, b);
    if (!rc &&
        (one->reader.n_row != other->reader.n_row || one->reader.width != other->reader.width))
        rc = hs_fail(HS_EARG,
                     "%s takes maps of one size: map %" PRId64 " has %" PRId64 " rows, map %" PRId64
                     " %" PRId64,
                     fn, a, one->reader.n_row, b, other->reader.n_row);
    return rc;
}

static int compare(hs_db *db, const char *fn, sqlite3_value **v, sums *s) {
    hs_att_map *one = &db->att->one, *other = &db->att->other;
    int rc = open_both(db, fn, v);
    *s = (sums){0};
    for (int64_t i = 0; !rc && i < one->reader.n_row; i++) {
        int64_t n, m = 0;
        rc = hs_att_read(one, i, &n);
        if (!rc) rc = hs_att_read(other, i, &m);
        for (int64_t j = 0; !rc && j < n && j < m; j++) {
            double a = (double)one->row[j], b = (double)other->row[j];
            s->aa += a * a;
            s->bb += b * b;
            s->ab += a * b;
            s->gap += fabs(a - b);
            s->n++;
        }
    }
    return rc;
}

static void att_cosine(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    sums s;
    (void)n_arg;
    if (sqlite3_value_type(v[0]) == SQLITE_NULL || sqlite3_value_type(v[1]) == SQLITE_NULL) return;
    int rc = compare(db, "att_cosine", v, &s);
    double x = s.ab / sqrt(s.aa * s.bb);
    if (rc)
        hs_att_fail(db, ctx, rc);
    else if (isfinite(x))
        sqlite3_result_double(ctx, x);
}

static void att_gap(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    sums s;
    (void)n_arg;
    if (sqlite3_value_type(v[0]) == SQLITE_NULL || sqlite3_value_type(v[1]) == SQLITE_NULL) return;
    int rc = compare(db, "att_gap", v, &s);
    double x = s.gap / (double)s.n;
    if (rc)
        hs_att_fail(db, ctx, rc);
    else if (isfinite(x))
        sqlite3_result_double(ctx, x);
}

int hs_att_alike_open(hs_db *db) {
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
    if (sqlite3_create_function_v2(db->sql, "att_corr", 2, flags, db, NULL, corr_step, corr_final,
                                   NULL) ||
        sqlite3_create_function_v2(db->sql, "att_cosine", 2, flags, db, att_cosine, NULL, NULL,
                                   NULL) ||
        sqlite3_create_function_v2(db->sql, "att_gap", 2, flags, db, att_gap, NULL, NULL, NULL))
        return hs_sql_fail(db, "adding a function");
    return HS_OK;
}
