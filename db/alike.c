// SQL functions that compare heads without their maps passing through SQL:
//   att_alike(layer, head, data, top)   aggregate: the pairs of heads whose series are most alike, as a
//                      JSON array of [layer, head, layer, head, cosine], largest first
//   att_cosine(a, b)   cosine of two stored maps, over the keys that their rows see
//   att_gap(a, b)      mean |difference| of two stored maps over the same keys
// Maps are read row by row: memory is one row of each and a decoded chunk. Scores have no cosine (what
// is hidden is -inf): maps of the point `pattern` are meant.
//
// att_alike joins the series of a head, in the order in which they come, and compares what is left
// when each number is put in units of its spread over the heads, about their mean: what all heads
// have in common at a position (entropy grows with it) makes nobody alike. Cost: the numbers in f32,
// and heads^2 / 2 products of their length.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/att_internal.h"
#include "model/core/json.h"
#include "model/core/mem.h"

// ---- heads by their series ----------------------------------------------------------------------

enum { MAX_HEADS = 1 << 12, MAX_NUMBERS = 1 << 26 };

typedef struct series_head {
    int64_t layer, head, n, cap;
    float *v;
} series_head;

typedef struct pair {
    int a, b;
    float cosine;
} pair;

typedef struct alike {
    series_head *head; // [n], in the order in which they first came
    int n, last;       // last: the one that the row before was of
    int64_t numbers, top;
} alike;

static void alike_free(alike *s) {
    for (int i = 0; i < s->n; i++) free(s->head[i].v);
    free(s->head);
    *s = (alike){0};
}

// Rows come prompt by prompt, heads in the same order in each: the one after the last is most often
// the one that is meant.
static int find_head(alike *s, int64_t layer, int64_t head, series_head **out) {
    for (int k = 0; k < s->n; k++) {
        int i = (s->last + k) % s->n;
        if (s->head[i].layer != layer || s->head[i].head != head) continue;
        s->last = i;
        *out = &s->head[i];
        return HS_OK;
    }
    if (s->n == MAX_HEADS) return hs_fail(HS_EARG, "att_alike: more than %d heads", MAX_HEADS);
    int rc = hs_grow(&s->head, (size_t)s->n + 1, sizeof *s->head);
    if (rc) return rc;
    s->last = s->n++;
    *out = &s->head[s->last];
    **out = (series_head){.layer = layer, .head = head};
    return HS_OK;
}

static int add_series(alike *s, sqlite3_value **v) {
    series_head *h = NULL;
    const uint8_t *at = NULL;
    int64_t layer, head, n = 0;
    int size = 0;
    int rc = hs_att_whole("att_alike", "layer", v[0], &layer);
    if (!rc) rc = hs_att_whole("att_alike", "head", v[1], &head);
    if (!rc) rc = hs_att_whole("att_alike", "top", v[3], &s->top);
    if (!rc) rc = hs_att_series(v[2], &at, &n, &size);
    if (!rc) rc = find_head(s, layer, head, &h);
    if (!rc && n > MAX_NUMBERS - s->numbers)
        rc = hs_fail(HS_EARG, "att_alike: more than %d numbers: ask for one prompt", MAX_NUMBERS);
    if (!rc && h->n + n > h->cap) {
        int64_t cap = 2 * h->cap > h->n + n ? 2 * h->cap : h->n + n;
        rc = hs_grow(&h->v, (size_t)cap, sizeof *h->v);
        if (!rc) h->cap = cap;
    }
    for (int64_t i = 0; !rc && i < n; i++) h->v[h->n++] = (float)hs_series_at(at, size, i);
    if (!rc) s->numbers += n;
    return rc;
}

// Puts number i of every head in units of its spread, about the mean; 0 where all are the same.
static void standardize(const alike *s, int64_t i) {
    double sum = 0, squares = 0;
    for (int h = 0; h < s->n; h++) sum += (double)s->head[h].v[i];
    double mean = sum / s->n;
    for (int h = 0; h < s->n; h++) squares += pow((double)s->head[h].v[i] - mean, 2);
    double spread = sqrt(squares / s->n);
    bool same = !(spread > 1e-6 * fabs(mean)) || !isfinite(spread);
    for (int h = 0; h < s->n; h++)
        s->head[h].v[i] = same ? 0 : (float)(((double)s->head[h].v[i] - mean) / spread);
}

static float dot(const float *a, const float *b, int64_t n) {
    float sum[8] = {0}; // in an order that vector units can follow
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++) sum[0] += a[i] * b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static int by_cosine(const void *x, const void *y) {
    const pair *a = x, *b = y;
    if (a->cosine > b->cosine || a->cosine < b->cosine) return a->cosine > b->cosine ? -1 : 1;
    return a->a != b->a ? a->a - b->a : a->b - b->b;
}

// All pairs, or those of the top when they are fewer: kept in a buffer twice as long that is sorted
// whenever it is full.
static int find_pairs(const alike *s, const float *norm, pair **out, int64_t *n) {
    int64_t all = (int64_t)s->n * (s->n - 1) / 2;
    int64_t top = s->top < all ? s->top : all;
    int rc = hs_alloc(out, 2 * (size_t)top, sizeof **out);
    *n = 0;
    for (int a = 0; !rc && a < s->n; a++)
        for (int b = a + 1; b < s->n; b++) {
            if (!(norm[a] > 0) || !(norm[b] > 0)) continue;
            float x = dot(s->head[a].v, s->head[b].v, s->head[a].n) / (norm[a] * norm[b]);
            (*out)[(*n)++] = (pair){a, b, x > 1 ? 1 : x};
            if (*n < 2 * top) continue;
            qsort(*out, (size_t)*n, sizeof **out, by_cosine);
            *n = top;
        }
    if (!rc) qsort(*out, (size_t)*n, sizeof **out, by_cosine);
    if (*n > top) *n = top;
    return rc;
}

static void write_pairs(const alike *s, const pair *p, int64_t n, hs_buf *out) {
    hs_jw j = {out, false};
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < n; i++) {
        const series_head *a = &s->head[p[i].a], *b = &s->head[p[i].b];
        hs_jw_begin(&j, '[');
        hs_jw_int(&j, a->layer);
        hs_jw_int(&j, a->head);
        hs_jw_int(&j, b->layer);
        hs_jw_int(&j, b->head);
        hs_jw_f32(&j, p[i].cosine);
        hs_jw_end(&j, ']');
    }
    hs_jw_end(&j, ']');
}

static int find_alike(const alike *s, hs_buf *out) {
    pair *p = NULL;
    float *norm = NULL;
    int64_t n = 0;
    int rc = s->top < 1 ? hs_fail(HS_EARG, "att_alike takes a top from 1 on") : HS_OK;
    for (int h = 1; !rc && h < s->n; h++)
        if (s->head[h].n != s->head[0].n)
            rc = hs_fail(HS_EFORMAT, "att_alike: the heads have series of different lengths");
    for (int64_t i = 0; !rc && i < s->head[0].n; i++) standardize(s, i);
    if (!rc) rc = hs_alloc(&norm, (size_t)s->n, sizeof *norm);
    for (int h = 0; !rc && h < s->n; h++)
        norm[h] = sqrtf(dot(s->head[h].v, s->head[h].v, s->head[h].n));
    if (!rc) rc = find_pairs(s, norm, &p, &n);
    if (!rc) write_pairs(s, p, n, out);
    if (!rc) rc = hs_buf_rc(out);
    free(norm);
    free(p);
    return rc;
}

static void alike_step(sqlite3_context *ctx, int n_arg, sqlite3_value **v) {
    hs_db *db = sqlite3_user_data(ctx);
    (void)n_arg;
    alike *s = sqlite3_aggregate_context(ctx, sizeof *s);
    if (!s) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    if (sqlite3_value_type(v[2]) == SQLITE_NULL) return;
    int rc = add_series(s, v);
    if (rc) hs_att_fail(db, ctx, rc);
}

// Also called when the query is given up: what was gathered is freed here.
static void alike_final(sqlite3_context *ctx) {
    hs_db *db = sqlite3_user_data(ctx);
    alike *s = sqlite3_aggregate_context(ctx, 0);
    hs_buf json = {0};
    if (!s || !s->n) return;
    int rc = db->att->rc ? db->att->rc : find_alike(s, &json);
    if (rc)
        hs_att_fail(db, ctx, rc);
    else
        sqlite3_result_text64(ctx, hs_buf_text(&json), json.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    hs_buf_free(&json);
    alike_free(s);
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
    if (sqlite3_create_function_v2(db->sql, "att_alike", 4, flags, db, NULL, alike_step,
                                   alike_final, NULL) ||
        sqlite3_create_function_v2(db->sql, "att_cosine", 2, flags, db, att_cosine, NULL, NULL,
                                   NULL) ||
        sqlite3_create_function_v2(db->sql, "att_gap", 2, flags, db, att_gap, NULL, NULL, NULL))
        return hs_sql_fail(db, "adding a function");
    return HS_OK;
}
