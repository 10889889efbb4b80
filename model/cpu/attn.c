// Attention: softmax(scale q k) v as tiles of query rows over the keys of a kv.h.
//
// A tile is up to 64 query rows of a head against all keys its last row sees, small enough to stay
// in L2; it exists whether or not somebody watches, so plain, watched and edited runs take one
// path:
//
//     scores -> write, read hooks -> softmax and summary -> write, read hooks -> z
//
// A survey takes the same tiles as far as the write hooks of the pattern. A single query, as in decoding, makes a tile of the heads that share its keys and values, which
// are then read once.
//
// Each row reads its own visible keys only (even 0 times a later key's infinity would show), in
// order of key. So a row's bits are the same in any tile, alone, or over a split store.
//
// Tasks are tiles, of several sequences together when there are. A watched head's tiles show themselves in order of rows: whoever comes early
// waits for its turn. Several heads go side by side, so that hardly anybody has to.
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/hash.h"
#include "model/cpu/kv.h"

enum {
    TILE_ROWS = 64,
    TILE_ROWS_MIN = 16,
    TILE_FLOATS = 1 << 18, // 1 MiB: above 4,096 keys tiles get lower
    ENOUGH_TASKS = 16,     // else tiles get lower too
    KEY_CHUNK = 1024,      // value rows that pass all rows of a tile before the next ones
    SIDE_MAX = 64,         // heads side by side
    TOGETHER = 32,         // sequences whose tiles go to the threads together
    TURN_FAILED = -1,
};

// ---- one tile -----------------------------------------------------------------------------------

struct segment {
    const hs_kv *kv;
    int64_t first, n; // its keys: first .. first + n - 1
};

struct attn_job {
    hs_dev *dev;
    const hs_attn *a;
    struct segment seg[2];
    int64_t heads;        // of a tile: 1, or some of a KV head's when there is one query
    int64_t rows, n_tile; // queries of a tile, and tiles of a head
    int64_t ld;           // of a score row in scratch
    int64_t pad;          // of a row of z there
    // The order of tasks: heads in blocks of `side`, in each block tile by tile. So the tiles of
    // heads at the same place in their blocks come one after the other.
    int64_t side;
    bool ordered;                // somebody wants to see them so
    int64_t first_task, n_task;  // of those of all sequences together
    atomic_llong turn[SIDE_MAX]; // at each place: the tile to be shown next, or TURN_FAILED
};

struct tile {
    int64_t head, heads; // the first and their number
    int64_t place, turn; // among heads side by side, and in the order there
    int64_t r0, n;       // queries
    int64_t pos;         // position of the first
    int64_t seen, n_key; // keys that the first and the last see
    float *s;            // [heads * n, ld] scores, then pattern
    float *most;         // [heads * n, width] largest scores, a lane each
    float *z;            // [heads * n, pad]
    float *stats;        // stat k of row r at stats[k * stats_ld + r]; NULL: not wanted
    int64_t stats_ld;
    int worker;
};

// Keys that a row sees: one more from row to row, or all of them the same.
static int64_t keys_of(const struct tile *t, int64_t r) {
    return hs_min64(t->seen + r, t->n_key);
}
static int64_t kv_head(const struct attn_job *j, const struct tile *t) {
    return t->head / (j->a->n_head / j->a->n_kv_head);
}
// Between a tile's rows in q and z, where a row of width ld holds all heads.
static int64_t row_step(const struct attn_job *j, const struct tile *t, int64_t ld) {
    return t->heads > 1 ? j->a->d_head : ld;
}

// Scaled scores, each row up to its own position. A segment's last panel writes a few columns too
// many: the next segment overwrites them or nobody sees them.
static void products(const struct attn_job *j, const struct tile *t) {
    const hs_attn *a = j->a;
    const hs_kern *kern = j->dev->kern;
    const int64_t rows = t->heads * t->n, ld = row_step(j, t, a->ld_q), w = kern->width;
    const float *q = (const float *)a->q + t->r0 * a->ld_q + t->head * a->d_head;
    for (int64_t i = 0; i < rows * w; i++) t->most[i] = -INFINITY;
    for (int i = 0; i < 2; i++) {
        const struct segment *seg = &j->seg[i];
        const int64_t end = hs_min64(seg->n, t->n_key - seg->first);
        for (int64_t k = 0; k < end; k += kern->nr) {
            const int64_t at = seg->first + k,
                          r = hs_max64(0, at + 1 - t->seen); // the first to see any
            kern->scores(t->s + r * j->ld + at, j->ld, t->most + r * w, q + r * ld, ld,
                         hs_kv_panel(seg->kv, kv_head(j, t), k / kern->nr), rows - r,
                         t->seen + r - at, hs_min64(kern->nr, end - k), a->d_head, (float)a->scale);
        }
    }
}

// Sums z where it belongs when its rows are whole vectors.
static void mix_values(const struct attn_job *j, const struct tile *t) {
    const hs_attn *a = j->a;
    const int64_t pad = j->pad, rows = t->heads * t->n, ld_out = row_step(j, t, a->ld_z);
    const bool direct = pad == a->d_head;
    float *out = (float *)a->z + t->r0 * a->ld_z + t->head * a->d_head;
    float *z = direct ? out : t->z;
    const int64_t ld = direct ? ld_out : pad;
    for (int i = 0; i < 2; i++) {
        const struct segment *seg = &j->seg[i];
        const int64_t end = hs_min64(seg->first + seg->n, t->n_key);
        for (int64_t k = seg->first; k < end; k += KEY_CHUNK) {
            const int64_t r = hs_max64(0, k + 1 - t->seen);
            j->dev->kern->mix(z + r * ld, ld, t->s + r * j->ld + k, j->ld,
                              hs_kv_value(seg->kv, kv_head(j, t), k - seg->first), pad, rows - r,
                              pad, t->seen + r - k, hs_min64(KEY_CHUNK, end - k), k > 0);
        }
    }
    for (int64_t r = 0; !direct && r < rows; r++)
        memcpy(out + r * ld_out, z + r * pad, (size_t)a->d_head * sizeof *z);
}

// ---- hooks --------------------------------------------------------------------------------------

// The tiles before were handed out before, so somebody is at work on each of them.
static int await_turn(const struct attn_job *j, const struct tile *t) {
    if (!j->ordered) return HS_OK;
    for (long long turn; (turn = atomic_load(&j->turn[t->place])) != t->turn; sched_yield())
        if (turn == TURN_FAILED) return hs_fail(HS_ESTOP, "an earlier tile failed");
    return HS_OK;
}
static void pass_turn(struct attn_job *j, const struct tile *t, int rc) {
    if (j->ordered) atomic_store(&j->turn[t->place], rc ? TURN_FAILED : t->turn + 1);
}

// Puts x where a row has no key, for those who look at tiles.
static void fill_masked(const struct attn_job *j, const struct tile *t, float x) {
    for (int64_t r = 0; r < t->n; r++)
        for (int64_t k = keys_of(t, r); k < t->n_key; k++) t->s[r * j->ld + k] = x;
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
                    .n_key = t->n_key,
                    .whole = a->until > 0,
                    .row = t->s,
                    .ld = j->ld,
                    .stats = with_stats ? t->stats : NULL,
                    .stats_ld = t->stats_ld,
                    .survey = a->survey};
    return a->tap->tile(a->tap->ctx, &tile, write, t->worker);
}

// What of a summary depends on where the row itself is, from the n keys that it sees.
static void summarize_place(const float *p, int64_t n, int64_t pos, float *stats, int64_t ld) {
    double distance = 0;
    for (int64_t k = 0; k < n; k++) distance += (double)p[k] * (double)(pos - k);
    stats[HS_STAT_SELF * ld] = p[pos];
    stats[HS_STAT_PREV * ld] = pos > 0 ? p[pos - 1] : 0;
    stats[HS_STAT_DISTANCE * ld] = (float)distance;
}

// The summary of an edited row, straight from its pattern; the log-sum-exp is of the scores and
// stays. 0 ln 0 = 0.
static void summarize(const float *p, int64_t n, int64_t pos, float *stats, int64_t ld) {
    double entropy = 0;
    int64_t best = 0;
    for (int64_t k = 0; k < n; k++) {
        if (p[k] != 0) entropy -= (double)p[k] * log((double)p[k]);
        if (p[k] > p[best]) best = k;
    }
    stats[HS_STAT_ENTROPY * ld] = (float)entropy;
    stats[HS_STAT_MAX * ld] = p[best];
    stats[HS_STAT_ARGMAX * ld] = (float)best;
    stats[HS_STAT_FIRST * ld] = p[0];
    summarize_place(p, n, pos, stats, ld);
}

static int score_hooks(const struct attn_job *j, const struct tile *t, int want) {
    int rc = HS_OK;
    fill_masked(j, t, -INFINITY);
    if (want & HS_TILE_WRITE_SCORES) {
        if ((rc = show(j, t, HS_SCORES, true))) return rc;
        j->dev->kern->largest(t->s, j->ld, t->most, t->n, t->seen, t->n_key);
    }
    if (want & HS_TILE_READ_SCORES) rc = show(j, t, HS_SCORES, false);
    return rc;
}

// A row's pattern in one number, by which rows that hooks changed are told from those left alone.
static uint64_t row_mark(const struct attn_job *j, const struct tile *t, int64_t r) {
    return hs_fnv(HS_FNV_SEED, t->s + r * j->ld, (size_t)keys_of(t, r) * sizeof *t->s);
}

// Write hooks at the pattern. Rows that they left alone keep their summaries to the bit; the marks
// lie where the largest scores were, which are spent.
static int edit_pattern(const struct attn_job *j, const struct tile *t) {
    const int64_t width = j->dev->kern->width;
    for (int64_t r = 0; t->stats && r < t->n; r++) {
        const uint64_t mark = row_mark(j, t, r);
        memcpy(t->most + r * width, &mark, sizeof mark);
    }
    int rc = show(j, t, HS_PATTERN, true);
    for (int64_t r = 0; t->stats && !rc && r < t->n; r++) {
        const uint64_t mark = row_mark(j, t, r);
        if (memcmp(t->most + r * width, &mark, sizeof mark) != 0)
            summarize(t->s + r * j->ld, keys_of(t, r), t->pos + r, t->stats + r, t->stats_ld);
    }
    return rc;
}

static int pattern_hooks(const struct attn_job *j, const struct tile *t, int want) {
    int rc = HS_OK;
    fill_masked(j, t, 0);
    if (want & HS_TILE_WRITE_PATTERN) rc = edit_pattern(j, t);
    if (!rc && want & HS_TILE_READ_PATTERN) rc = show(j, t, HS_PATTERN, false);
    return rc;
}

// One head of a tile, from scores to pattern. The hooks of a tile are one turn; a head that nobody
// watches lets its turn pass.
static int weigh(struct attn_job *j, const struct tile *t, int want) {
    const int scores = want & (HS_TILE_WRITE_SCORES | HS_TILE_READ_SCORES);
    const int pattern = want & (HS_TILE_WRITE_PATTERN | HS_TILE_READ_PATTERN);
    int rc = scores ? await_turn(j, t) : HS_OK;
    if (!rc && scores) rc = score_hooks(j, t, want);
    if (!rc)
        j->dev->kern->softmax(t->s, j->ld, t->most, t->n, t->seen, t->n_key, t->stats, t->stats_ld);
    // The kernel takes the last key that a row sees for its own.
    for (int64_t r = 0; !rc && t->stats && j->a->until && r < t->n; r++)
        summarize_place(t->s + r * j->ld, t->n_key, t->pos + r, t->stats + r, t->stats_ld);
    if (!rc && !scores) rc = await_turn(j, t);
    if (!rc && pattern) rc = pattern_hooks(j, t, want);
    pass_turn(j, t, rc);
    return rc;
}

// ---- all tiles ----------------------------------------------------------------------------------

// Floats of a score row: room for whole panels; rows 4 KiB apart would share cache sets.
static int64_t score_row(int64_t n_key, int64_t nr) {
    const int64_t ld = hs_div_up(n_key + nr, 16) * 16;
    return ld % 256 == 0 ? ld + 16 : ld;
}

// Rows of a tile at most.
static int64_t tile_height(int64_t n_q, int64_t n_key, int64_t asked) {
    const int64_t rows = hs_max64(TILE_ROWS_MIN, hs_min64(TILE_ROWS, TILE_FLOATS / n_key));
    return hs_max64(1, hs_min64(asked > 0 ? asked : rows, n_q));
}

// Worker scratch of a tile: scores, largest scores, z, summaries.
static int64_t tile_floats(const hs_kern *kern, int64_t rows, int64_t ld, int64_t d_pad) {
    return rows * (ld + kern->width + d_pad + HS_N_STAT);
}

// Tiles get lower as keys get more: the largest are the last, or the last of full height. One query
// may bring several heads.
int64_t hs_cpu_attention_scratch(const hs_dev *dev, const hs_extent *e) {
    const hs_kern *kern = dev->kern;
    const int64_t keys[] = {hs_min64(e->n_key, TILE_FLOATS / TILE_ROWS), e->n_key};
    const int64_t d_pad = hs_kv_pad(kern, e->d_head);
    int64_t most = 0;
    for (int i = 0; i < 2 && e->n_key > 0; i++) {
        const int64_t rows = hs_max64(TILE_ROWS_MIN, tile_height(e->n_row, keys[i], e->tile_rows));
        most = hs_max64(most, tile_floats(kern, rows, score_row(keys[i], kern->nr) + 16, d_pad));
    }
    return most;
}

static void choose_grid(struct attn_job *j, int64_t n_key, int together) {
    const hs_attn *a = j->a;
    const int64_t group = a->n_head / a->n_kv_head, asked = a->tap ? a->tap->tile_rows : 0;
    j->heads = a->n_q == 1 ? hs_min64(group, TILE_ROWS_MIN) : 1;
    while (group % j->heads) j->heads--;
    j->rows = tile_height(a->n_q, n_key, asked);
    while (!asked && j->rows > TILE_ROWS_MIN &&
           a->n_head * hs_div_up(a->n_q, j->rows) * together < ENOUGH_TASKS)
        j->rows /= 2;
    j->n_tile = hs_div_up(a->n_q, j->rows);
    j->n_task = a->n_head / j->heads * j->n_tile;
    j->ld = score_row(n_key, j->dev->kern->nr);
    j->pad = a->own->d_pad;
    j->ordered = a->tap && a->tile_want && j->n_tile > 1;
    j->side = j->ordered ? hs_min64(j->dev->n_worker, SIDE_MAX) : 1;
    for (int64_t i = 0; i < j->side; i++) atomic_init(&j->turn[i], 0);
}

// Whether a survey has nothing to show of a tile, whose turn then passes.
static bool passes_over(const struct attn_job *j, const struct tile *t) {
    bool wanted = !j->a->survey;
    for (int64_t h = 0; h < t->heads; h++) wanted |= hs_attn_want(j->a, t->head + h) != 0;
    return !wanted;
}

static int let_pass(struct attn_job *j, const struct tile *t) {
    int rc = await_turn(j, t);
    pass_turn(j, t, rc);
    return rc;
}

static int run_tile(struct attn_job *j, int64_t task, int worker) {
    const hs_attn *a = j->a;
    const int64_t block = task / (j->side * j->n_tile), in_block = task % (j->side * j->n_tile);
    const int64_t n_cell = a->n_head / j->heads, side = hs_min64(j->side, n_cell - block * j->side);
    const int64_t index = in_block / side, rows = j->heads * j->rows;
    struct tile t = {.place = in_block % side, .heads = j->heads, .worker = worker};
    t.head = (block * j->side + t.place) * t.heads;
    t.turn = block * j->n_tile + index;
    t.r0 = index * j->rows;
    t.n = hs_min64(j->rows, a->n_q - t.r0);
    t.pos = a->pos0 + t.r0;
    t.seen = a->until ? a->until : t.pos + 1;
    t.n_key = a->until ? a->until : t.pos + t.n;
    t.s = j->dev->scratch[worker].p;
    t.z = t.s + rows * j->ld;
    t.most = t.z + rows * j->pad;
    float *own_stats = t.most + rows * j->dev->kern->width;
    if (passes_over(j, &t)) return let_pass(j, &t);
    products(j, &t);
    struct tile one = t;
    one.heads = 1;
    for (int64_t i = 0; i < t.heads; i++, one.head++) {
        const int want = hs_attn_want(a, one.head);
        one.s = t.s + i * t.n * j->ld;
        one.most = t.most + i * t.n * j->dev->kern->width;
        one.stats = want & HS_TILE_READ_PATTERN ? own_stats : NULL;
        one.stats_ld = j->rows;
        if (a->stats) {
            one.stats_ld = a->ld_stats ? a->ld_stats : a->n_q;
            one.stats = a->stats + one.head * HS_N_STAT * one.stats_ld + t.r0;
        }
        int rc = weigh(j, &one, want);
        if (rc) return rc;
    }
    if (!a->survey) mix_values(j, &t);
    return HS_OK;
}

static int check(const hs_attn *a) {
    const hs_kv *kvs[2] = {a->n_prefix > 0 ? a->prefix : NULL, a->own};
    int64_t need[2] = {a->n_prefix, hs_attn_keys(a) - a->n_prefix};
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

static int attn_task(void *arg, int64_t task, int worker) {
    struct attn_job *j = arg;
    while (task >= j->first_task + j->n_task) j++;
    return run_tile(j, task - j->first_task, worker);
}

static int attend_together(hs_dev *dev, const hs_attn *a, int n) {
    struct attn_job job[TOGETHER];
    int64_t n_task = 0, scratch = 0, work = 0;
    for (int i = 0; i < n; i++, a++) {
        const int64_t n_key = hs_attn_keys(a);
        struct attn_job *j = &job[i];
        j->dev = dev;
        j->a = a;
        j->seg[0] = (struct segment){a->prefix, 0, a->n_prefix};
        j->seg[1] = (struct segment){a->own, a->n_prefix, n_key - a->n_prefix};
        choose_grid(j, n_key, n);
        j->first_task = n_task;
        n_task += j->n_task;
        scratch = hs_max64(scratch, tile_floats(dev->kern, j->heads * j->rows, j->ld, j->pad));
        work += a->n_head * a->n_q * n_key * a->d_head;
    }
    int rc = hs_cpu_scratch(dev, scratch);
    return rc ? rc : hs_cpu_run(dev, n_task, attn_task, job, work);
}

int hs_cpu_attention(hs_dev *dev, const hs_attn *a, int n) {
    int rc = HS_OK;
    for (int i = 0; i < n && !rc; i++) rc = check(&a[i]);
    for (int i = 0; i < n && !rc; i += TOGETHER)
        rc = attend_together(dev, a + i, (int)hs_min64(n - i, TOGETHER));
    return rc;
}
