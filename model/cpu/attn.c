// Attention: storage of keys and values, and softmax(scale q k) v as tiles of query rows.
//
// Keys of a head are packed as a weight is, [panel][d_head][nr], and values lie as rows padded to
// whole vectors, [key][d_pad]; so both products run on the matrix kernel's tile. A tile is up to 64
// query rows against all keys its last row sees, small enough to stay in L2; it exists whether
// or not somebody watches, so plain, watched and edited runs take one path:
//
//     scores -> write, read hooks -> softmax and summary -> write, read hooks -> z
//
// Each row reads its own visible keys only (even 0 times a later key's infinity would show), in
// order of key. So a row's bits are the same in any tile, alone, or over a split store.
// Tasks are (head, tile); a watched head is one task, since its tiles must come in order.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/cpu/dev.h"

enum {
    TILE_ROWS = 64,
    TILE_ROWS_MIN = 16,
    TILE_FLOATS = 1 << 18, // 1 MiB: above 4,096 keys tiles get lower
    KEY_CHUNK = 1024,      // value rows that pass all rows of a tile before the next ones
};

struct hs_kv {
    const hs_kern *kern;
    int64_t n_head, d_head, d_pad, capacity, n_panel;
    hs_cpu_block keys;   // [n_head][n_panel][d_head][nr]
    hs_cpu_block values; // [n_head][capacity][d_pad]
};

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static int64_t div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// ---- keys and values ----------------------------------------------------------------------------

int hs_cpu_kv_open(hs_dev *dev, hs_kv **out, int64_t n_kv_head, int64_t d_head, int64_t capacity) {
    hs_kv *kv = NULL;
    *out = NULL;
    int rc = hs_alloc(&kv, 1, sizeof *kv);
    if (rc) return rc;
    kv->kern = dev->kern;
    kv->n_head = n_kv_head;
    kv->d_head = d_head;
    kv->d_pad = div_up(d_head, dev->kern->width) * dev->kern->width;
    kv->capacity = capacity;
    kv->n_panel = div_up(capacity, dev->kern->nr);
    rc = hs_cpu_block_get(&kv->keys, n_kv_head * kv->n_panel, d_head * dev->kern->nr);
    if (!rc) rc = hs_cpu_block_get(&kv->values, n_kv_head * capacity, kv->d_pad);
    if (rc)
        hs_cpu_kv_close(kv);
    else
        *out = kv;
    return rc;
}

void hs_cpu_kv_close(hs_kv *kv) {
    if (!kv) return;
    hs_cpu_block_free(&kv->keys);
    hs_cpu_block_free(&kv->values);
    free(kv);
}

static float *key_panel(const hs_kv *kv, int64_t head, int64_t panel) {
    return kv->keys.p + (head * kv->n_panel + panel) * kv->d_head * kv->kern->nr;
}
static float *value_row(const hs_kv *kv, int64_t head, int64_t key) {
    return kv->values.p + (head * kv->capacity + key) * kv->d_pad;
}

struct put_job {
    hs_kv *kv;
    int64_t at, n;
    const float *k, *v;
    int64_t ld_k, ld_v;
};

static int put_task(void *arg, int64_t head, int worker) {
    (void)worker;
    const struct put_job *j = arg;
    const hs_kv *kv = j->kv;
    const int64_t nr = kv->kern->nr, d = kv->d_head;
    for (int64_t i = 0, n; i < j->n; i += n) {
        int64_t key = j->at + i;
        n = min64(nr - key % nr, j->n - i);
        kv->kern->transpose(key_panel(kv, head, key / nr) + key % nr, nr,
                            j->k + i * j->ld_k + head * d, j->ld_k, n, d);
    }
    for (int64_t i = 0; i < j->n; i++)
        memcpy(value_row(kv, head, j->at + i), j->v + i * j->ld_v + head * d,
               (size_t)d * sizeof *j->v);
    return HS_OK;
}

int hs_cpu_kv_put(hs_dev *dev, hs_kv *kv, int64_t at, int64_t n, const void *k, int64_t ld_k,
                  const void *v, int64_t ld_v) {
    if (at < 0 || n < 0 || at > kv->capacity - n)
        return hs_fail(HS_ERANGE, "keys %lld..%lld do not fit into room for %lld", (long long)at,
                       (long long)(at + n - 1), (long long)kv->capacity);
    struct put_job j = {kv, at, n, k, v, ld_k, ld_v};
    return hs_cpu_run(dev, kv->n_head, put_task, &j, n * kv->n_head * kv->d_head);
}

// ---- one tile -----------------------------------------------------------------------------------

struct segment {
    const hs_kv *kv;
    int64_t first, n; // its keys: first .. first + n - 1
};

struct attn_job {
    hs_dev *dev;
    const hs_attn *a;
    struct segment seg[2];
    int64_t rows, n_tile; // the grid
    int64_t ld;           // of a score row in scratch
};

struct tile {
    int64_t head, kv_head;
    int64_t r0, n; // query rows
    int64_t pos;   // position of the first; row r sees pos + r + 1 keys
    float *s;      // [n, ld] scores, then pattern
    float *most;   // [n, width] largest scores, a lane each
    float *z;      // [n, d_pad]
    float *stats;  // stat k of row r at stats[k * stats_ld + r]; NULL: not wanted
    int64_t stats_ld;
    int worker;
};

// Scaled scores, each row up to its own position. A segment's last panel writes a few columns too
// many: the next segment overwrites them or nobody sees them.
static void products(const struct attn_job *j, const struct tile *t) {
    const hs_attn *a = j->a;
    const hs_kern *kern = j->dev->kern;
    const float *q = (const float *)a->q + t->r0 * a->ld_q + t->head * a->d_head;
    for (int64_t i = 0; i < t->n * kern->width; i++) t->most[i] = -INFINITY;
    for (int i = 0; i < 2; i++) {
        const struct segment *seg = &j->seg[i];
        int64_t end = min64(seg->n, t->pos + t->n - seg->first);
        for (int64_t k = 0; k < end; k += kern->nr) {
            int64_t at = seg->first + k, r = max64(0, at - t->pos); // the first row to see any
            kern->scores(t->s + r * j->ld + at, j->ld, t->most + r * kern->width, q + r * a->ld_q,
                         a->ld_q, key_panel(seg->kv, t->kv_head, k / kern->nr), t->n - r,
                         t->pos + r + 1 - at, min64(kern->nr, seg->n - k), a->d_head,
                         (float)a->scale);
        }
    }
}

static void mix_values(const struct attn_job *j, const struct tile *t) {
    const hs_attn *a = j->a;
    const int64_t pad = j->seg[1].kv->d_pad;
    float *z = (float *)a->z + t->r0 * a->ld_z + t->head * a->d_head;
    for (int i = 0; i < 2; i++) {
        const struct segment *seg = &j->seg[i];
        int64_t end = min64(seg->first + seg->n, t->pos + t->n);
        for (int64_t k = seg->first; k < end; k += KEY_CHUNK) {
            int64_t r = max64(0, k - t->pos);
            j->dev->kern->mix(t->z + r * pad, pad, t->s + r * j->ld + k, j->ld,
                              value_row(seg->kv, t->kv_head, k - seg->first), pad, t->n - r, pad,
                              t->pos + r + 1 - k, min64(KEY_CHUNK, end - k), k > 0);
        }
    }
    for (int64_t r = 0; r < t->n; r++)
        memcpy(z + r * a->ld_z, t->z + r * pad, (size_t)a->d_head * sizeof *z);
}

// Puts x where a row has no key, for those who look at tiles.
static void fill_masked(const struct attn_job *j, const struct tile *t, float x) {
    for (int64_t r = 0; r < t->n; r++)
        for (int64_t k = t->pos + r + 1; k < t->pos + t->n; k++) t->s[r * j->ld + k] = x;
}

static int show(const struct attn_job *j, const struct tile *t, enum hs_point point, bool write) {
    const hs_attn *a = j->a;
    bool with_stats = point == HS_PATTERN && !write;
    hs_tile tile = {.point = point,
                    .layer = a->layer,
                    .head = (int)t->head,
                    .seq = a->seq,
                    .row0 = t->pos,
                    .n_row = t->n,
                    .n_key = t->pos + t->n,
                    .row = t->s,
                    .ld = j->ld,
                    .stats = with_stats ? t->stats : NULL,
                    .stats_ld = t->stats_ld};
    return a->tap->tile(a->tap->ctx, &tile, write, t->worker);
}

// The summary of an edited row, straight from its pattern; the log-sum-exp is of the scores and
// stays. 0 ln 0 = 0.
static void summarize(const float *p, int64_t n, float *stats, int64_t ld) {
    double entropy = 0, distance = 0;
    int64_t best = 0;
    for (int64_t k = 0; k < n; k++) {
        if (p[k] != 0) entropy -= (double)p[k] * log((double)p[k]);
        distance += (double)p[k] * (double)(n - 1 - k);
        if (p[k] > p[best]) best = k;
    }
    stats[HS_STAT_ENTROPY * ld] = (float)entropy;
    stats[HS_STAT_MAX * ld] = p[best];
    stats[HS_STAT_ARGMAX * ld] = (float)best;
    stats[HS_STAT_FIRST * ld] = p[0];
    stats[HS_STAT_SELF * ld] = p[n - 1];
    stats[HS_STAT_PREV * ld] = n > 1 ? p[n - 2] : 0;
    stats[HS_STAT_DISTANCE * ld] = (float)distance;
}

static int score_hooks(const struct attn_job *j, const struct tile *t, int want) {
    int rc = HS_OK;
    fill_masked(j, t, -INFINITY);
    if (want & HS_TILE_WRITE_SCORES) {
        if ((rc = show(j, t, HS_SCORES, true))) return rc;
        j->dev->kern->largest(t->s, j->ld, t->most, t->n, t->pos + 1, t->pos + t->n);
    }
    if (want & HS_TILE_READ_SCORES) rc = show(j, t, HS_SCORES, false);
    return rc;
}

static int pattern_hooks(const struct attn_job *j, const struct tile *t, int want) {
    int rc = HS_OK;
    fill_masked(j, t, 0);
    if (want & HS_TILE_WRITE_PATTERN) {
        if ((rc = show(j, t, HS_PATTERN, true))) return rc;
        for (int64_t r = 0; t->stats && r < t->n; r++)
            summarize(t->s + r * j->ld, t->pos + r + 1, t->stats + r, t->stats_ld);
    }
    if (want & HS_TILE_READ_PATTERN) rc = show(j, t, HS_PATTERN, false);
    return rc;
}

static int run_tile(const struct attn_job *j, const struct tile *t, int want) {
    const hs_kern *kern = j->dev->kern;
    int rc;
    products(j, t);
    if (want & (HS_TILE_WRITE_SCORES | HS_TILE_READ_SCORES) && (rc = score_hooks(j, t, want)))
        return rc;
    kern->softmax(t->s, j->ld, t->most, t->n, t->pos + 1, t->pos + t->n, t->stats, t->stats_ld);
    if (want & (HS_TILE_WRITE_PATTERN | HS_TILE_READ_PATTERN) && (rc = pattern_hooks(j, t, want)))
        return rc;
    mix_values(j, t);
    return HS_OK;
}

// ---- all tiles ----------------------------------------------------------------------------------

// Worker scratch of a tile: scores, largest scores, z, summaries.
static int64_t scratch_size(const struct attn_job *j) {
    return j->rows * (j->ld + j->dev->kern->width + j->seg[1].kv->d_pad + HS_N_STAT);
}

static int attn_task(void *arg, int64_t task, int worker) {
    const struct attn_job *j = arg;
    const hs_attn *a = j->a;
    int64_t head = task / j->n_tile, first = task % j->n_tile, last = first;
    int want = a->tap && a->tile_want ? a->tile_want[head] : 0;
    if (want) {
        if (first > 0) return HS_OK;
        last = j->n_tile - 1;
    }
    struct tile t = {.head = head, .kv_head = head / (a->n_head / a->n_kv_head), .worker = worker};
    t.s = j->dev->scratch[worker].p;
    t.z = t.s + j->rows * j->ld;
    t.most = t.z + j->rows * j->seg[1].kv->d_pad;
    float *own_stats = t.most + j->rows * j->dev->kern->width;
    for (int64_t i = first; i <= last; i++) {
        t.r0 = i * j->rows;
        t.n = min64(j->rows, a->n_q - t.r0);
        t.pos = a->pos0 + t.r0;
        if (a->stats) {
            t.stats = a->stats + head * HS_N_STAT * a->n_q + t.r0;
            t.stats_ld = a->n_q;
        } else if (want & HS_TILE_READ_PATTERN) {
            t.stats = own_stats;
            t.stats_ld = j->rows;
        }
        int rc = run_tile(j, &t, want);
        if (rc) return rc;
    }
    return HS_OK;
}

static int check(const hs_attn *a) {
    const hs_kv *kvs[2] = {a->n_prefix > 0 ? a->prefix : NULL, a->own};
    int64_t need[2] = {a->n_prefix, a->pos0 + a->n_q - a->n_prefix};
    if (a->n_kv_head < 1 || a->n_head % a->n_kv_head || a->pos0 < a->n_prefix || !a->own ||
        (a->n_prefix > 0 && !a->prefix))
        return hs_fail(HS_EARG, "attention: heads, positions and prefix do not fit together");
    for (int i = 0; i < 2; i++)
        if (kvs[i] && (kvs[i]->n_head != a->n_kv_head || kvs[i]->d_head != a->d_head ||
                       kvs[i]->capacity < need[i]))
            return hs_fail(HS_EARG, "attention: the stored keys have another shape or too few");
    return HS_OK;
}

int hs_cpu_attention(hs_dev *dev, const hs_attn *a) {
    if (a->n_q < 1) return HS_OK;
    int rc = check(a);
    if (rc) return rc;
    const int64_t n_key = a->pos0 + a->n_q, nr = dev->kern->nr;
    struct attn_job j = {
        .dev = dev,
        .a = a,
        .seg = {{a->prefix, 0, a->n_prefix}, {a->own, a->n_prefix, n_key - a->n_prefix}}};
    j.rows = max64(TILE_ROWS_MIN, min64(TILE_ROWS, TILE_FLOATS / n_key));
    if (a->tap && a->tap->tile_rows > 0) j.rows = a->tap->tile_rows;
    j.rows = min64(j.rows, a->n_q);
    j.n_tile = div_up(a->n_q, j.rows);
    // Room for whole panels; rows 4 KiB apart would share cache sets.
    j.ld = div_up(n_key + nr, 16) * 16;
    if (j.ld % 256 == 0) j.ld += 16;
    if ((rc = hs_cpu_scratch(dev, scratch_size(&j)))) return rc;
    return hs_cpu_run(dev, a->n_head * j.n_tile, attn_task, &j,
                      a->n_head * a->n_q * n_key * a->d_head);
}
