// The reference backend's attention: keys and values as they come, and softmax(scale q k) v for a
// tile of query rows at a time, so that nothing is T x T.
//
// A head is one task. Its tiles go through
//
//     scores -> write, read hooks -> softmax and summary -> write, read hooks -> z
//
// The hooks see f32; of what a write hook returns, only the numbers that it changed are taken, so
// the others keep all their digits. Masked entries are -inf in scores and 0 in the pattern, and
// nothing ever reads them.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/elem.h"
#include "model/ref/ref.h"

enum { TILE_ROWS = 16 };

// ---- keys and values ----------------------------------------------------------------------------

struct hs_kv {
    int64_t n_head, d_head, capacity;
    double *k, *v; // [capacity][n_head][d_head]
};

int hs_ref_kv_open(hs_dev *dev, hs_kv **out, int64_t n_kv_head, int64_t d_head, int64_t capacity) {
    (void)dev;
    hs_kv *kv;
    *out = NULL;
    int rc = hs_alloc(&kv, 1, sizeof *kv);
    if (rc) return rc;
    *kv = (hs_kv){n_kv_head, d_head, capacity, NULL, NULL};
    const size_t row = (size_t)(n_kv_head * d_head) * sizeof *kv->k;
    rc = hs_alloc(&kv->k, (size_t)capacity, row);
    if (!rc) rc = hs_alloc(&kv->v, (size_t)capacity, row);
    if (rc)
        hs_ref_kv_close(kv);
    else
        *out = kv;
    return rc;
}

int64_t hs_ref_kv_bytes(const hs_dev *dev, int64_t n_kv_head, int64_t d_head, int64_t capacity) {
    (void)dev;
    return 2 * capacity * n_kv_head * d_head * (int64_t)sizeof(double);
}

void hs_ref_kv_close(hs_kv *kv) {
    if (!kv) return;
    free(kv->k);
    free(kv->v);
    free(kv);
}

int hs_ref_kv_put(hs_dev *dev, hs_kv *kv, int64_t at, int64_t n, const void *k, int64_t ld_k,
                  const void *v, int64_t ld_v) {
    (void)dev;
    const int64_t row = kv->n_head * kv->d_head;
    if (at < 0 || n < 0 || at > kv->capacity - n)
        return hs_fail(HS_ERANGE, "keys %lld..%lld do not fit into room for %lld", (long long)at,
                       (long long)(at + n - 1), (long long)kv->capacity);
    for (int64_t i = 0; i < n; i++) {
        const size_t bytes = (size_t)row * sizeof *kv->k;
        memcpy(kv->k + (at + i) * row, (const double *)k + i * ld_k, bytes);
        memcpy(kv->v + (at + i) * row, (const double *)v + i * ld_v, bytes);
    }
    return HS_OK;
}

// ---- one tile -----------------------------------------------------------------------------------

struct job {
    hs_dev *dev;
    const hs_attn *a;
    int64_t rows; // height of a tile
};

struct tile {
    const hs_attn *a;
    int head, kv_head, worker;
    int64_t r0, n; // query rows
    int64_t pos;   // position of the first
    int64_t n_key; // that the last row sees, the length of a row here
    double *s;     // [n][n_key] scores, then pattern
    float *shown;  // the same, for hooks
    float *stats;  // stat i of row r at stats[i * stats_ld + r]
    int64_t stats_ld;
};

// Keys that row r sees.
static int64_t keys_of(const struct tile *t, int64_t r) {
    return t->a->until ? t->a->until : t->pos + r + 1;
}

// Where key j of the head's vectors lies in a store.
static int64_t place(const hs_kv *kv, int64_t j, int head) {
    return (j * kv->n_head + head) * kv->d_head;
}

static const double *key(const struct tile *t, int64_t j) {
    const hs_attn *a = t->a;
    if (j < a->n_prefix) return a->prefix->k + place(a->prefix, j, t->kv_head);
    return a->own->k + place(a->own, j - a->n_prefix, t->kv_head);
}

static const double *value(const struct tile *t, int64_t j) {
    const hs_attn *a = t->a;
    if (j < a->n_prefix) return a->prefix->v + place(a->prefix, j, t->kv_head);
    return a->own->v + place(a->own, j - a->n_prefix, t->kv_head);
}

static void scores(const struct tile *t) {
    const hs_attn *a = t->a;
    for (int64_t r = 0; r < t->n; r++) {
        const double *q = (const double *)a->q + (t->r0 + r) * a->ld_q + t->head * a->d_head;
        for (int64_t j = 0; j < t->n_key; j++) {
            const double *k = j < keys_of(t, r) ? key(t, j) : NULL;
            double dot = 0;
            for (int64_t i = 0; k && i < a->d_head; i++) dot += q[i] * k[i];
            t->s[r * t->n_key + j] = k ? a->scale * dot : -INFINITY;
        }
    }
}

// The first n numbers of the row become weights; those after them, masked, 0. *lse is the log of
// the sum of their exponentials. A row with nothing to see but -inf weighs nothing.
static void softmax(double *s, int64_t n, int64_t n_key, double *lse) {
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++)
        if (!(s[j] <= max)) max = s[j]; // a NaN stays
    for (int64_t j = 0; j < n; j++) sum += s[j] = max == -INFINITY ? 0 : exp(s[j] - max);
    for (int64_t j = 0; j < n && max != -INFINITY; j++) s[j] /= sum;
    for (int64_t j = n; j < n_key; j++) s[j] = 0;
    *lse = max == -INFINITY ? max : max + log(sum);
}

// The summary of the row at `pos`, which sees n keys, but for the log-sum-exp, which is of the
// scores.
static void summarise(const double *p, int64_t n, int64_t pos, float *stats, int64_t ld) {
    double entropy = 0, distance = 0;
    int64_t best = 0;
    for (int64_t j = 0; j < n; j++) {
        if (p[j] != 0) entropy -= p[j] * log(p[j]);
        distance += (double)(pos - j) * p[j];
        if (p[j] > p[best]) best = j;
    }
    stats[HS_STAT_ENTROPY * ld] = (float)entropy;
    stats[HS_STAT_MAX * ld] = (float)p[best];
    stats[HS_STAT_ARGMAX * ld] = (float)best;
    stats[HS_STAT_FIRST * ld] = (float)p[0];
    stats[HS_STAT_SELF * ld] = (float)p[pos];
    stats[HS_STAT_PREV * ld] = pos > 0 ? (float)p[pos - 1] : 0;
    stats[HS_STAT_DISTANCE * ld] = (float)distance;
}

static void weigh(const struct tile *t) {
    for (int64_t r = 0; r < t->n; r++) {
        const int64_t n = keys_of(t, r);
        double lse, *row = t->s + r * t->n_key;
        softmax(row, n, t->n_key, &lse);
        summarise(row, n, t->pos + r, t->stats + r, t->stats_ld);
        t->stats[HS_STAT_LSE * t->stats_ld + r] = (float)lse;
    }
}

static void mix_values(const struct tile *t) {
    const hs_attn *a = t->a;
    for (int64_t r = 0; r < t->n; r++) {
        double *z = (double *)a->z + (t->r0 + r) * a->ld_z + t->head * a->d_head;
        for (int64_t i = 0; i < a->d_head; i++) z[i] = 0;
        for (int64_t j = 0; j < keys_of(t, r); j++) {
            const double weight = t->s[r * t->n_key + j], *v = value(t, j);
            for (int64_t i = 0; i < a->d_head; i++) z[i] += weight * v[i];
        }
    }
}

// ---- hooks --------------------------------------------------------------------------------------

static int show(const struct tile *t, enum hs_point point, bool write) {
    const hs_tap *tap = t->a->tap;
    const bool with_stats = point == HS_PATTERN && !write;
    const hs_tile tile = {.point = point,
                          .layer = t->a->layer,
                          .head = t->head,
                          .seq = t->a->seq,
                          .row0 = t->pos,
                          .n_row = t->n,
                          .n_key = t->n_key,
                          .whole = t->a->until > 0,
                          .row = t->shown,
                          .ld = t->n_key,
                          .stats = with_stats ? t->stats : NULL,
                          .stats_ld = t->stats_ld,
                          .survey = t->a->survey};
    for (int64_t i = 0; i < t->n * t->n_key; i++) t->shown[i] = (float)t->s[i];
    int rc = tap->tile(tap->ctx, &tile, write, t->worker);
    for (int64_t r = 0; write && r < t->n; r++)
        hs_elem_take(HS_F64, t->s + r * t->n_key, t->shown + r * t->n_key, keys_of(t, r));
    return rc;
}

static int run_tile(const struct tile *t, int want) {
    int rc = HS_OK;
    scores(t);
    if (want & HS_TILE_WRITE_SCORES) rc = show(t, HS_SCORES, true);
    if (!rc && want & HS_TILE_READ_SCORES) rc = show(t, HS_SCORES, false);
    if (rc) return rc;
    weigh(t);
    if (want & HS_TILE_WRITE_PATTERN) {
        rc = show(t, HS_PATTERN, true);
        for (int64_t r = 0; r < t->n; r++)
            summarise(t->s + r * t->n_key, keys_of(t, r), t->pos + r, t->stats + r, t->stats_ld);
    }
    if (!rc && want & HS_TILE_READ_PATTERN) rc = show(t, HS_PATTERN, false);
    if (!rc && !t->a->survey) mix_values(t);
    return rc;
}

// ---- all tiles of a head ------------------------------------------------------------------------

static int head_task(void *arg, int64_t head, int worker) {
    const struct job *j = arg;
    const hs_attn *a = j->a;
    const int want = hs_attn_want(a, head);
    struct tile t = {.a = a,
                     .head = (int)head,
                     .kv_head = (int)(head / (a->n_head / a->n_kv_head)),
                     .worker = worker,
                     .s = j->dev->scratch[worker]};
    void *const after = t.s + j->rows * hs_attn_keys(a);
    t.shown = after;
    float *own_stats = t.shown + j->rows * hs_attn_keys(a);
    int rc = HS_OK;
    if (a->survey && !want) return HS_OK;
    for (t.r0 = 0; !rc && t.r0 < a->n_q; t.r0 += j->rows) {
        t.n = a->n_q - t.r0 < j->rows ? a->n_q - t.r0 : j->rows;
        t.pos = a->pos0 + t.r0;
        t.n_key = a->until ? a->until : t.pos + t.n;
        t.stats_ld = !a->stats ? j->rows : a->ld_stats ? a->ld_stats : a->n_q;
        t.stats = a->stats ? a->stats + head * HS_N_STAT * t.stats_ld + t.r0 : own_stats;
        rc = run_tile(&t, want);
    }
    return rc;
}

static int check(const hs_attn *a) {
    const hs_kv *kvs[2] = {a->n_prefix > 0 ? a->prefix : NULL, a->own};
    const int64_t need[2] = {a->n_prefix, hs_attn_keys(a) - a->n_prefix};
    if (a->n_q < 0 || (a->until && a->until < a->pos0 + a->n_q) || a->n_kv_head < 1 ||
        a->n_head % a->n_kv_head || a->pos0 < a->n_prefix || !a->own ||
        (a->n_prefix > 0 && !a->prefix))
        return hs_fail(HS_EARG, "attention: heads, positions and prefix do not fit together");
    for (int i = 0; i < 2; i++)
        if (kvs[i] && (kvs[i]->n_head != a->n_kv_head || kvs[i]->d_head != a->d_head ||
                       kvs[i]->capacity < need[i]))
            return hs_fail(HS_EARG, "attention: the stored keys have another shape or too few");
    return HS_OK;
}

static int64_t tile_height(int64_t n_q, int64_t asked) {
    const int64_t rows = asked > 0 ? asked : TILE_ROWS;
    return rows < n_q ? rows : n_q;
}

// Scores, their f32, and summaries that nobody asked for.
static int64_t tile_numbers(int64_t rows, int64_t n_key) {
    return rows * (2 * n_key + HS_N_STAT);
}

int64_t hs_ref_attention_scratch(const hs_extent *e) {
    return tile_numbers(tile_height(e->n_row, e->tile_rows), e->n_key);
}

static int attend(hs_dev *dev, const hs_attn *a) {
    struct job j = {dev, a, tile_height(a->n_q, a->tap ? a->tap->tile_rows : 0)};
    int rc = check(a);
    if (!rc) rc = hs_ref_scratch(dev, tile_numbers(j.rows, hs_attn_keys(a)));
    return rc ? rc : hs_pool_run(dev->pool, a->n_head, head_task, &j);
}

int hs_ref_attention(hs_dev *dev, const hs_attn *a, int n) {
    int rc = HS_OK;
    for (int i = 0; i < n && !rc; i++) rc = attend(dev, &a[i]);
    return rc;
}
