// Attention where it is cut: heights of tiles, heads side by side, panels, chunks of keys, a shared
// prefix, threads. Every way of computing a row gives the bits of one tile on one thread. And rows
// that no ordinary score makes: nothing visible, NaN, turns that fail.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "model/backend.h"
#include "tests/lib/isas.h"

static const hs_backend *const be = &hs_backend_cpu;
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static float *zeros(int64_t n) {
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

// ---- one attention, in pieces -------------------------------------------------------------------

// What is computed: rows 0 .. n-1 of one sequence.
struct problem {
    int64_t heads, kv_heads, d, n;
};
// How: in calls of `step` rows, the first `prefix` keys from another store (rows from there on).
struct way {
    int64_t step, prefix, tile_rows;
    int threads;
    int want; // a tap that wants these of every second head; 0: none
    int (*tile)(void *ctx, const hs_tile *, bool write, int worker);
    void *ctx;
};
struct result {
    float *z, *stats; // [n, heads * d], [heads, HS_N_STAT, n]
};

static int look(void *ctx, const hs_tile *tile, bool write, int worker) {
    (void)ctx, (void)tile, (void)write, (void)worker;
    return HS_OK;
}

static int solve(const char *isa, const struct problem *p, const struct way *way,
                 struct result *to) {
    const int64_t qw = p->heads * p->d, kw = p->kv_heads * p->d;
    float *q = normal_floats(1, p->n * qw), *k = normal_floats(2, p->n * kw),
          *v = normal_floats(3, p->n * kw);
    float *stats = zeros(p->heads * HS_N_STAT * p->n);
    uint8_t want[64] = {0};
    for (int64_t h = 1; h < p->heads; h += 2) want[h] = (uint8_t)way->want;
    const hs_tap tap = {
        .ctx = way->ctx, .tile = way->tile ? way->tile : look, .tile_rows = way->tile_rows};
    hs_kv *pre = NULL, *own;
    hs_dev *dev;
    int rc = HS_OK;
    assert_int_equal(be->open(&dev, &(hs_dev_opts){.threads = way->threads, .isa = isa}), 0);
    if (way->prefix) {
        assert_int_equal(be->kv_open(dev, &pre, p->kv_heads, p->d, way->prefix), 0);
        assert_int_equal(be->kv_put(dev, pre, 0, way->prefix, k, kw, v, kw), 0);
    }
    assert_int_equal(be->kv_open(dev, &own, p->kv_heads, p->d, p->n - way->prefix), 0);
    *to = (struct result){zeros(p->n * qw), zeros(p->heads * HS_N_STAT * p->n)};
    for (int64_t at = way->prefix; at < p->n && !rc; at += way->step) {
        const int64_t n = at + way->step < p->n ? way->step : p->n - at;
        assert_int_equal(
            be->kv_put(dev, own, at - way->prefix, n, k + at * kw, kw, v + at * kw, kw), 0);
        rc = be->attention(dev,
                           &(hs_attn){.n_head = p->heads,
                                      .n_kv_head = p->kv_heads,
                                      .d_head = p->d,
                                      .scale = 1 / sqrt((double)p->d),
                                      .q = q + at * qw,
                                      .ld_q = qw,
                                      .z = to->z + at * qw,
                                      .ld_z = qw,
                                      .pos0 = at,
                                      .n_q = n,
                                      .prefix = pre,
                                      .own = own,
                                      .n_prefix = way->prefix,
                                      .stats = stats,
                                      .tap = way->want ? &tap : NULL,
                                      .tile_want = want},
                           1);
        for (int64_t i = 0; i < p->heads * HS_N_STAT; i++)
            memcpy(to->stats + i * p->n + at, stats + i * n, (size_t)n * sizeof *stats);
    }
    be->kv_close(pre);
    be->kv_close(own);
    be->close(dev);
    free(q), free(k), free(v), free(stats);
    return rc;
}

static void free_result(struct result *r) {
    free(r->z), free(r->stats);
}

// ---- cuts ---------------------------------------------------------------------------------------

static void same_from(const struct problem *p, int64_t row, const struct result *a,
                      const struct result *b) {
    const int64_t qw = p->heads * p->d;
    assert_memory_equal(a->z + row * qw, b->z + row * qw, (size_t)((p->n - row) * qw) * 4);
    for (int64_t i = 0; i < p->heads * HS_N_STAT; i++)
        assert_memory_equal(a->stats + i * p->n + row, b->stats + i * p->n + row,
                            (size_t)(p->n - row) * 4);
}

static void cuts(const char *isa) {
    enum { READ = HS_TILE_READ_PATTERN, BOTH = READ | HS_TILE_READ_SCORES };
    static const struct problem problems[] = {
        {1, 1, 1, 1},    {1, 1, 3, 66},  {9, 3, 64, 130}, {4, 4, 33, 129},
        {6, 1, 16, 200}, {34, 1, 4, 70}, {3, 3, 80, 97},  {2, 1, 20, 1100},
    };
    static const struct way ways[] = {
        {64, 0, 0, 1, 0, NULL, NULL},     {37, 0, 0, 2, 0, NULL, NULL},
        {256, 0, 5, 3, READ, NULL, NULL}, {256, 0, 100000, 2, BOTH, NULL, NULL},
        {1, 0, 0, 2, 0, NULL, NULL},      {1, 0, 3, 1, BOTH, NULL, NULL},
        {50, 1, 0, 2, 0, NULL, NULL},     {1, 65, 0, 1, READ, NULL, NULL},
        {99, 63, 7, 3, BOTH, NULL, NULL}, {4000, 17, 1, 2, READ, NULL, NULL},
    };
    for (int i = 0; i < COUNT(problems); i++) {
        const struct problem *p = &problems[i];
        struct result one, other;
        assert_int_equal(solve(isa, p, &(struct way){.step = p->n, .threads = 1}, &one), 0);
        for (int j = 0; j < COUNT(ways); j++) {
            if (ways[j].prefix >= p->n || (p->n > 1000 && ways[j].step == 1)) continue;
            assert_int_equal(solve(isa, p, &ways[j], &other), 0);
            same_from(p, ways[j].prefix, &one, &other);
            free_result(&other);
        }
        free_result(&one);
    }
}
static void test_cuts(void **state) {
    (void)state;
    on_each_isa(cuts);
}

// Where tiles get lower (4,096 keys) and a chunk of values ends, the last rows of a long sequence
// are those of the same keys in one store, token by token.
static void long_rows(const char *isa) {
    const struct problem p = {2, 1, 8, 4200};
    struct result whole, last;
    assert_int_equal(solve(isa, &p, &(struct way){.step = 256, .threads = 2}, &whole), 0);
    assert_int_equal(solve(isa, &p, &(struct way){.step = 1, .prefix = 4090, .threads = 1}, &last),
                     0);
    same_from(&p, 4090, &whole, &last);
    free_result(&last);
    assert_int_equal(solve(isa, &p, &(struct way){.step = 4200, .threads = 3}, &last), 0);
    same_from(&p, 0, &whole, &last);
    free_result(&last);
    free_result(&whole);
}
static void test_long_rows(void **state) {
    (void)state;
    on_each_isa(long_rows);
}

// ---- rows that see each other -------------------------------------------------------------------

// Edits take the last key from every row; then summaries are those of what is left.
static int take_last(void *ctx, const hs_tile *t, bool write, int worker) {
    (void)ctx, (void)worker;
    assert_true(t->whole);
    for (int64_t r = 0; r < t->n_row; r++) {
        float *row = t->row + r * t->ld;
        double distance = 0;
        assert_int_equal(hs_tile_keys(t, r), t->n_key);
        if (write && t->point == HS_PATTERN) row[t->n_key - 1] = 0;
        if (write || t->point != HS_PATTERN) continue;
        for (int64_t k = 0; k < t->n_key; k++)
            distance += (double)row[k] * (double)(t->row0 + r - k);
        assert_true(row[t->n_key - 1] == 0);
        assert_true(fabs(distance - (double)t->stats[HS_STAT_DISTANCE * t->stats_ld + r]) <
                    1e-5 * (double)t->n_key);
        assert_true(t->stats[HS_STAT_SELF * t->stats_ld + r] == row[t->row0 + r]);
    }
    return HS_OK;
}

// Rows at .. at + n - 1 of n_key keys, all of which they see, have the bits of a last row that asks
// the same.
static void see_all(hs_dev *dev, const struct problem *p, int64_t at, int64_t tile_rows) {
    const int64_t qw = p->heads * p->d, kw = p->kv_heads * p->d, n = p->n - at;
    const uint8_t want[64] = {[1] = HS_TILE_WRITE_PATTERN | HS_TILE_READ_PATTERN};
    const hs_tap tap = {.tile = take_last, .tile_rows = tile_rows};
    float *q = normal_floats(1, n * qw), *k = normal_floats(2, p->n * kw),
          *v = normal_floats(3, p->n * kw), *z = zeros(n * qw), *one = zeros(qw);
    float *stats = zeros(p->heads * HS_N_STAT * n), *own_stats = zeros(p->heads * HS_N_STAT);
    hs_kv *kv;
    assert_int_equal(be->kv_open(dev, &kv, p->kv_heads, p->d, p->n), 0);
    assert_int_equal(be->kv_put(dev, kv, 0, p->n, k, kw, v, kw), 0);
    hs_attn a = {.n_head = p->heads,
                 .n_kv_head = p->kv_heads,
                 .d_head = p->d,
                 .scale = 0.3,
                 .q = q,
                 .ld_q = qw,
                 .z = z,
                 .ld_z = qw,
                 .pos0 = at,
                 .n_q = n,
                 .until = p->n,
                 .own = kv,
                 .stats = stats,
                 .tap = &tap,
                 .tile_want = want};
    assert_int_equal(be->attention(dev, &a, 1), 0);
    a.tap = NULL, a.until = 0, a.z = one, a.stats = own_stats, a.pos0 = p->n - 1, a.n_q = 1;
    for (int64_t i = 0; i < n; i++) {
        a.q = q + i * qw;
        assert_int_equal(be->attention(dev, &a, 1), 0);
        for (int64_t h = 0; h < p->heads; h++) {
            if (h == 1) continue; // edited
            assert_memory_equal(z + i * qw + h * p->d, one + h * p->d, (size_t)p->d * sizeof *z);
            for (int s = HS_STAT_ENTROPY; s <= HS_STAT_FIRST; s++)
                assert_memory_equal(stats + (h * HS_N_STAT + s) * n + i,
                                    own_stats + h * HS_N_STAT + s, sizeof *stats);
        }
    }
    a.n_q = 2, a.until = p->n - 1, a.pos0 = p->n - 2; // of fewer keys than rows
    assert_int_equal(be->attention(dev, &a, 1), HS_EARG);
    be->kv_close(kv);
    free(q), free(k), free(v), free(z), free(one), free(stats), free(own_stats);
}

static void each_other(const char *isa) {
    static const struct problem problems[] = {
        {1, 1, 3, 66}, {9, 3, 64, 130}, {4, 4, 33, 129}, {6, 2, 16, 40}, {2, 1, 20, 1100}};
    static const int64_t tile_rows[] = {0, 1, 7, 100000};
    hs_dev *dev;
    assert_int_equal(be->open(&dev, &(hs_dev_opts){.threads = 2, .isa = isa}), 0);
    for (int i = 0; i < COUNT(problems); i++)
        for (int j = 0; j < COUNT(tile_rows); j++) {
            const int64_t at = problems[i].n > 1000 ? 1000 : 0;
            see_all(dev, &problems[i], at, tile_rows[j]);
            see_all(dev, &problems[i], problems[i].n - 5, tile_rows[j]);
        }
    be->close(dev);
}
static void test_each_other(void **state) {
    (void)state;
    on_each_isa(each_other);
}

// ---- turns --------------------------------------------------------------------------------------

enum { HEADS = 6 };
struct turns {
    atomic_int inside[HEADS], bad;
    int64_t next[HEADS]; // row expected next
    int64_t fail_at;     // row at which head 3 fails, -1: none
};

// Stays long enough for others to come, and notes who came too early or at the same time.
static int in_turn(void *ctx, const hs_tile *tile, bool write, int worker) {
    struct turns *t = ctx;
    (void)write, (void)worker;
    const bool first = tile->point == HS_SCORES;
    if (atomic_fetch_add(&t->inside[tile->head], 1)) atomic_fetch_add(&t->bad, 1);
    for (int i = 0; i < 20; i++) sched_yield();
    if (t->next[tile->head] != tile->row0 + (first ? 0 : tile->n_row)) atomic_fetch_add(&t->bad, 1);
    if (first) t->next[tile->head] += tile->n_row;
    atomic_fetch_sub(&t->inside[tile->head], 1);
    if (tile->head == 3 && tile->row0 == t->fail_at) return hs_fail(HS_ECHECK, "no row like this");
    return HS_OK;
}

static void turns(const char *isa) {
    const struct problem p = {HEADS, 3, 8, 90};
    const int want = HS_TILE_READ_SCORES | HS_TILE_READ_PATTERN;
    for (int threads = 1; threads <= 8; threads++) {
        struct turns t = {.fail_at = -1};
        struct result r;
        struct way way = {.step = 90, .tile_rows = 3, .threads = threads, .want = want};
        way.tile = in_turn, way.ctx = &t;
        assert_int_equal(solve(isa, &p, &way, &r), 0);
        free_result(&r);
        assert_int_equal(atomic_load(&t.bad), 0);
        for (int h = 1; h < HEADS; h += 2) assert_int_equal(t.next[h], 90);
        t = (struct turns){.fail_at = 45};
        assert_int_equal(solve(isa, &p, &way, &r), HS_ECHECK);
        assert_string_equal(hs_errmsg(), "no row like this");
        free_result(&r);
        assert_int_equal(t.next[3], 48); // no tile after the one that failed
    }
}
static void test_turns(void **state) {
    (void)state;
    on_each_isa(turns);
}

// ---- rows that see nothing, or nonsense ---------------------------------------------------------

// Cuts every key of odd rows.
static int blind_odd_rows(void *ctx, const hs_tile *tile, bool write, int worker) {
    (void)ctx, (void)worker;
    for (int64_t r = 0; write && r < tile->n_row; r++)
        for (int64_t k = 0; (tile->row0 + r) % 2 && k <= tile->row0 + r; k++)
            tile->row[r * tile->ld + k] = -INFINITY;
    return HS_OK;
}

static void blind_rows(const char *isa) {
    const struct problem p = {2, 1, 5, 70};
    const int want = HS_TILE_WRITE_SCORES;
    struct result plain, blind;
    assert_int_equal(solve(isa, &p, &(struct way){.step = 70, .threads = 1}, &plain), 0);
    const struct way way = {70, 0, 9, 2, want, blind_odd_rows, NULL};
    assert_int_equal(solve(isa, &p, &way, &blind), 0);
    for (int64_t r = 0; r < p.n; r++)
        for (int64_t h = 0; h < 2; h++) {
            const bool cut = h == 1 && r % 2;
            for (int64_t i = 0; i < p.d; i++) {
                const int64_t at = (r * 2 + h) * p.d + i;
                assert_true(blind.z[at] == (cut ? 0 : plain.z[at]));
            }
            for (int64_t s = 0; s < HS_N_STAT; s++) {
                const int64_t at = (h * HS_N_STAT + s) * p.n + r;
                const float none = s == HS_STAT_LSE ? -INFINITY : 0;
                assert_true(blind.stats[at] == (cut ? none : plain.stats[at]));
            }
        }
    free_result(&plain);
    free_result(&blind);
}
static void test_blind_rows(void **state) {
    (void)state;
    on_each_isa(blind_rows);
}

// A score of NaN makes its row NaN, whatever the others are and wherever it stands.
static void nan_rows(const char *isa) {
    enum { N = 40 };
    hs_dev *dev;
    hs_kv *kv;
    float q[N], k[N], v[N] = {0}, z[N];
    assert_int_equal(be->open(&dev, &(hs_dev_opts){.threads = 1, .isa = isa}), 0);
    assert_int_equal(be->kv_open(dev, &kv, 1, 1, N), 0);
    for (int others = 0; others < 2; others++)
        for (int at = 0; at < N; at += 13) {
            for (int i = 0; i < N; i++) q[i] = 1, k[i] = others ? 0.5f : -INFINITY;
            k[at] = NAN;
            assert_int_equal(be->kv_put(dev, kv, 0, N, k, 1, v, 1), 0);
            const hs_attn a = {.n_head = 1,
                               .n_kv_head = 1,
                               .d_head = 1,
                               .scale = 1,
                               .q = q,
                               .ld_q = 1,
                               .z = z,
                               .ld_z = 1,
                               .n_q = N,
                               .own = kv};
            assert_int_equal(be->attention(dev, &a, 1), 0);
            for (int i = 0; i < N; i++) assert_true(isnan(z[i]) == (i >= at));
        }
    be->kv_close(kv);
    be->close(dev);
}
static void test_nan_rows(void **state) {
    (void)state;
    on_each_isa(nan_rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),     cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_turns),    cmocka_unit_test(test_blind_rows),
        cmocka_unit_test(test_nan_rows), cmocka_unit_test(test_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
