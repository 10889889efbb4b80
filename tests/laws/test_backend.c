// The bit contract of model/backend.h, on every instruction set this CPU has: a result depends on
// its own inputs only, not on threads, neighbours, tile heights, watchers or how keys are stored.
// And the instruction sets agree with each other within rounding.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/backend.h"
#include "tests/lib/isas.h"

static const hs_backend *const be = &hs_backend_cpu;
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static hs_dev *open_dev(const char *isa, int threads) {
    hs_dev *dev;
    assert_int_equal(be->open(&dev, &(hs_dev_opts){.threads = threads, .isa = isa}), 0);
    return dev;
}

static void same(const float *a, const float *b, int64_t n) {
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

// ---- rows ---------------------------------------------------------------------------------------

enum { ROWS = 203, N = 200, K = 1100 }; // several row blocks, panels and chunks

// All row operations in a chain, over rows r0 .. r0+n-1 of the same input.
static void chain(hs_dev *dev, enum hs_weight_mode mode, int64_t r0, int64_t n, float *y) {
    float *x = normal_floats(1, ROWS * K), *w = normal_floats(2, N * K), *b = normal_floats(3, K),
          *cs = normal_floats(4, ROWS * 20);
    float *t = calloc(2 * ROWS * K, sizeof *t), *u = t + ROWS * K, scale[ROWS];
    assert_non_null(t);
    hs_view v = hs_view_f32(w, N, K);
    hs_weight *packed;
    assert_int_equal(be->pack(dev, &packed, &v, NULL, mode), 0);
    assert_int_equal(be->norm_scale(dev, scale, t, x + r0 * K, n, K, HS_NORM_LAYER, 1e-5), 0);
    assert_int_equal(be->norm_gain(dev, u, t, n, K, b, x), 0);
    assert_int_equal(be->norm_scale(dev, scale, t, u, n, K, HS_NORM_RMS, 1e-5), 0);
    assert_int_equal(be->act(dev, u, t, x + r0 * K, n * K, HS_ACT_GELU), 0);
    assert_int_equal(be->act(dev, t, u, NULL, n * K, HS_ACT_SILU), 0);
    assert_int_equal(be->add(dev, t, t, x + r0 * K, n * K), 0);
    assert_int_equal(be->linear(dev, &(hs_product){y, N, packed, b}, 1, t, K, n), 0);
    assert_int_equal(be->rope(dev, y, N, n, 5, 40, 20, cs + r0 * 20), 0);
    be->unpack(packed);
    free(x), free(w), free(b), free(cs), free(t);
}

static void rows_stand_alone(const char *isa) {
    static const int64_t parts[][2] = {{0, 1}, {1, 5}, {6, 1}, {100, 13}, {7, 96}, {202, 1}};
    float *whole = calloc(2 * ROWS * N, sizeof *whole), *y = whole + ROWS * N;
    hs_dev *dev = open_dev(isa, 1);
    chain(dev, HS_WEIGHT_EXPAND, 0, ROWS, whole);
    chain(dev, HS_WEIGHT_KEEP, 0, ROWS, y);
    same(whole, y, ROWS * N);
    for (int i = 0; i < COUNT(parts); i++) {
        chain(dev, i % 2 ? HS_WEIGHT_KEEP : HS_WEIGHT_EXPAND, parts[i][0], parts[i][1], y);
        same(whole + parts[i][0] * N, y, parts[i][1] * N);
    }
    be->close(dev);
    for (int threads = 2; threads <= 3; threads++) {
        dev = open_dev(isa, threads);
        chain(dev, threads == 2 ? HS_WEIGHT_EXPAND : HS_WEIGHT_KEEP, 0, ROWS, y);
        same(whole, y, ROWS * N);
        be->close(dev);
    }
    free(whole);
}
static void test_rows_stand_alone(void **state) {
    (void)state;
    on_each_isa(rows_stand_alone);
}

// A column of y does not know its neighbours: cutting the weight into two gives the same bits.
static void columns_stand_alone(const char *isa) {
    float *x = normal_floats(1, 7 * K), *w = normal_floats(2, N * K), *y = normal_floats(3, 7 * N),
          *z = normal_floats(4, 7 * N);
    hs_dev *dev = open_dev(isa, 2);
    for (int64_t cut = 0; cut < N; cut += 49) {
        float *to = cut ? z : y;
        for (int part = 0; part < 2; part++) {
            int64_t c0 = part ? cut : 0, c1 = part ? N : cut;
            if (c0 == c1) continue;
            hs_view v = hs_view_f32(w + c0 * K, c1 - c0, K);
            hs_weight *packed;
            assert_int_equal(be->pack(dev, &packed, &v, NULL, HS_WEIGHT_EXPAND), 0);
            assert_int_equal(be->linear(dev, &(hs_product){to + c0, N, packed, NULL}, 1, x, K, 7),
                             0);
            be->unpack(packed);
        }
        same(y, to, 7 * N);
    }
    be->close(dev);
    free(x), free(w), free(y), free(z);
}
static void test_columns_stand_alone(void **state) {
    (void)state;
    on_each_isa(columns_stand_alone);
}

// ---- attention ----------------------------------------------------------------------------------

enum { HEADS = 4, KV = 2, D = 24, KEYS = 150, CAP = 160, QW = HEADS * D, KW = KV * D };

// One way of computing rows row0 .. KEYS-1 of the same attention.
struct way {
    int64_t row0, n, prefix;
    int threads;
    bool stats;
    int64_t tile_rows; // -1: not watched
    int want;
};

struct result {
    float z[KEYS * QW], stats[HEADS * HS_N_STAT * KEYS], pattern[HEADS][KEYS][KEYS],
        tile_stats[HEADS * HS_N_STAT * KEYS];
};

// Keeps pattern tiles; edits make no difference to the values.
static int keep(void *ctx, const hs_tile *tile, bool write, int worker) {
    struct result *to = ctx;
    (void)worker;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const float *row = tile->row + r * tile->ld;
        int64_t at = tile->row0 + r;
        if (write || tile->point != HS_PATTERN) continue;
        memcpy(to->pattern[tile->head][at], row, (size_t)tile->n_key * sizeof *row);
        for (int s = 0; s < HS_N_STAT; s++)
            to->tile_stats[(tile->head * HS_N_STAT + s) * KEYS + at] =
                tile->stats[s * tile->stats_ld + r];
    }
    return HS_OK;
}

// Fills rows row0 .. row0+n-1 of `to`.
static void attend(const char *isa, const struct way *way, struct result *to) {
    hs_dev *dev = open_dev(isa, way->threads ? way->threads : 1);
    float *q = normal_floats(1, KEYS * QW), *k = normal_floats(2, KEYS * KW),
          *v = normal_floats(3, KEYS * KW);
    float *stats = calloc(HEADS * HS_N_STAT * KEYS, sizeof *stats);
    assert_non_null(stats);
    int64_t n_key = way->row0 + way->n, own_keys = n_key - way->prefix;
    hs_kv *pre = NULL, *own;
    if (way->prefix) {
        assert_int_equal(be->kv_open(dev, &pre, KV, D, way->prefix), 0);
        assert_int_equal(be->kv_put(dev, pre, 0, way->prefix, k, KW, v, KW), 0);
    }
    assert_int_equal(be->kv_open(dev, &own, KV, D, CAP), 0);
    assert_int_equal(
        be->kv_put(dev, own, 0, own_keys, k + way->prefix * KW, KW, v + way->prefix * KW, KW), 0);
    uint8_t want[HEADS];
    memset(want, way->want, sizeof want);
    hs_tap tap = {.ctx = to, .tile = keep, .tile_rows = way->tile_rows};
    hs_attn a = {.n_head = HEADS,
                 .n_kv_head = KV,
                 .d_head = D,
                 .scale = 0.3f,
                 .q = q + way->row0 * QW,
                 .ld_q = QW,
                 .z = to->z + way->row0 * QW,
                 .ld_z = QW,
                 .pos0 = way->row0,
                 .n_q = way->n,
                 .prefix = pre,
                 .own = own,
                 .n_prefix = way->prefix,
                 .stats = way->stats ? stats : NULL,
                 .tap = way->tile_rows < 0 ? NULL : &tap,
                 .tile_want = want};
    assert_int_equal(be->attention(dev, &a, 1), 0);
    for (int64_t i = 0; way->stats && i < HEADS * HS_N_STAT; i++)
        memcpy(to->stats + i * KEYS + way->row0, stats + i * way->n,
               (size_t)way->n * sizeof *stats);
    be->kv_close(pre);
    be->kv_close(own);
    be->close(dev);
    free(q), free(k), free(v), free(stats);
}

static void attention_stands_alone(const char *isa) {
    enum { READ = HS_TILE_READ_PATTERN, ALL = 15, WRITE = HS_TILE_WRITE_SCORES };
    static const struct way ways[] = {
        {0, KEYS, 0, 1, true, -1, 0},      {0, KEYS, 0, 2, true, -1, 0},
        {0, KEYS, 0, 3, true, 0, READ},    {0, KEYS, 0, 1, true, 1, READ},
        {0, KEYS, 0, 2, true, 7, READ},    {0, KEYS, 0, 2, true, 64, READ},
        {0, KEYS, 0, 2, true, 1000, READ}, {0, KEYS, 0, 1, false, -1, 0},
        {0, KEYS, 0, 1, false, 7, READ},   {0, KEYS, 0, 1, false, 9, READ | WRITE},
        {20, 130, 1, 2, true, -1, 0},      {64, 86, 16, 1, true, 7, READ},
        {64, 86, 63, 1, true, -1, 0},      {64, 86, 64, 2, true, 13, READ},
        {140, 10, 140, 1, true, -1, 0},    {100, 50, 37, 1, false, -1, 0},
    };
    struct result *base = calloc(1, sizeof *base), *r = calloc(1, sizeof *r);
    assert_true(base && r);
    attend(isa, &(struct way){0, KEYS, 0, 1, true, 0, READ}, base);
    same(base->stats, base->tile_stats, HEADS * HS_N_STAT * KEYS);
    for (int i = 0; i < COUNT(ways); i++) {
        const struct way *w = &ways[i];
        memset(r, 0, sizeof *r);
        attend(isa, w, r);
        same(base->z + w->row0 * QW, r->z + w->row0 * QW, w->n * QW);
        for (int64_t j = 0; j < HEADS * HS_N_STAT; j++) {
            const float *want = base->stats + j * KEYS + w->row0;
            if (w->stats) same(want, r->stats + j * KEYS + w->row0, w->n);
            if (w->want & READ) same(want, r->tile_stats + j * KEYS + w->row0, w->n);
        }
        for (int64_t h = 0; w->want & READ && h < HEADS; h++)
            same(base->pattern[h][w->row0], r->pattern[h][w->row0], w->n * KEYS);
    }
    // Token by token, with and without a prefix, alone or in steps of three.
    for (int64_t step = 1; step <= 3; step += 2)
        for (int64_t at = step == 1 ? 97 : 0; at + step <= KEYS; at += step) {
            attend(isa, &(struct way){at, step, at % 2 ? at / 2 : 0, 1, true, -1, 0}, r);
            same(base->z + at * QW, r->z + at * QW, step * QW);
            for (int64_t j = 0; j < HEADS * HS_N_STAT; j++)
                same(base->stats + j * KEYS + at, r->stats + j * KEYS + at, step);
        }
    // An edit that changes nothing: the same z; the summary of the pattern within rounding.
    attend(isa, &(struct way){0, KEYS, 0, 2, true, 5, ALL}, r);
    same(base->z, r->z, KEYS * QW);
    for (int64_t j = 0; j < HEADS * HS_N_STAT * KEYS; j++)
        assert_true(fabsf(base->stats[j] - r->stats[j]) <= 1e-5f * (1 + fabsf(base->stats[j])));
    free(base), free(r);
}
static void test_attention_stands_alone(void **state) {
    (void)state;
    on_each_isa(attention_stands_alone);
}

// Sequences of one call: more than the backend takes together, of different lengths, half of them
// watched, in order of rows for each head.
enum { SEQS = 45 };
struct watch {
    int64_t next[SEQS][HEADS]; // row that must come next
    int fail;                  // sequence whose second tile fails, -1: none
};

static int in_order(void *ctx, const hs_tile *t, bool write, int worker) {
    struct watch *w = ctx;
    (void)worker;
    assert_true(write && t->point == HS_PATTERN);
    assert_int_equal(w->next[t->seq][t->head], t->row0);
    w->next[t->seq][t->head] = t->row0 + t->n_row;
    return t->seq == w->fail && t->row0 >= 7 ? hs_fail(HS_ESTOP, "enough") : HS_OK;
}

static void attention_together(const char *isa) {
    hs_dev *dev = open_dev(isa, 3);
    float *q = normal_floats(1, KEYS * QW), *k = normal_floats(2, KEYS * KW),
          *v = normal_floats(3, KEYS * KW), *z = calloc(SEQS * KEYS * QW, sizeof *z);
    struct result *alone = calloc(1, sizeof *alone);
    struct watch w = {.fail = -1};
    uint8_t want[HEADS];
    hs_tap tap = {.ctx = &w, .tile = in_order, .tile_rows = 7};
    hs_attn a[SEQS];
    hs_kv *own[SEQS];
    assert_true(z && alone);
    memset(want, HS_TILE_WRITE_PATTERN, sizeof want);
    for (int s = 0; s < SEQS; s++) {
        const int64_t n = s % 5 ? 1 + s % 3 : 10 + 2 * s, row0 = s % 4 ? 0 : 30;
        assert_int_equal(be->kv_open(dev, &own[s], KV, D, CAP), 0);
        assert_int_equal(be->kv_put(dev, own[s], 0, row0 + n, k, KW, v, KW), 0);
        a[s] = (hs_attn){.seq = s,
                         .n_head = HEADS,
                         .n_kv_head = KV,
                         .d_head = D,
                         .scale = 0.3f,
                         .q = q + row0 * QW,
                         .ld_q = QW,
                         .z = z + s * KEYS * QW,
                         .ld_z = QW,
                         .pos0 = row0,
                         .n_q = n,
                         .own = own[s],
                         .tap = s % 2 ? &tap : NULL,
                         .tile_want = want};
        for (int h = 0; h < HEADS; h++) w.next[s][h] = row0;
    }
    assert_int_equal(be->attention(dev, a, SEQS), 0);
    for (int s = 0; s < SEQS; s++) {
        const int64_t row0 = a[s].pos0, n = a[s].n_q;
        attend(isa, &(struct way){row0, n, 0, 1, false, -1, 0}, alone);
        same(alone->z + row0 * QW, z + s * KEYS * QW, n * QW);
        for (int h = 0; s % 2 && h < HEADS; h++) {
            assert_int_equal(w.next[s][h], row0 + n);
            w.next[s][h] = row0;
        }
    }
    w.fail = 15;
    assert_int_equal(be->attention(dev, a, SEQS), HS_ESTOP);
    assert_int_equal(be->attention(dev, a, 0), HS_OK);
    a[SEQS - 1].n_kv_head = 3;
    assert_int_equal(be->attention(dev, a, SEQS), HS_EARG);
    for (int s = 0; s < SEQS; s++) be->kv_close(own[s]);
    be->close(dev);
    free(q), free(k), free(v), free(z), free(alone);
}
static void test_attention_together(void **state) {
    (void)state;
    on_each_isa(attention_together);
}

// ---- laws of the numbers ------------------------------------------------------------------------

static void pattern_laws(const char *isa) {
    struct result *r = calloc(1, sizeof *r);
    assert_non_null(r);
    attend(isa, &(struct way){0, KEYS, 0, 2, true, 0, HS_TILE_READ_PATTERN}, r);
    for (int h = 0; h < HEADS; h++)
        for (int64_t i = 0; i < KEYS; i++) {
            const float *p = r->pattern[h][i];
            const float *st = r->stats + (int64_t)h * HS_N_STAT * KEYS + i;
            double sum = 0;
            float most = 0;
            for (int64_t k = 0; k < KEYS; k++) {
                sum += (double)p[k];
                most = p[k] > most ? p[k] : most;
                if (k > i) assert_true(p[k] == 0);
            }
            assert_true(fabs(sum - 1) < 1e-6);
            // These are numbers of the pattern itself, to the bit.
            assert_true(st[HS_STAT_MAX * KEYS] == most);
            assert_true(p[(int64_t)st[HS_STAT_ARGMAX * KEYS]] == most);
            assert_true(st[HS_STAT_FIRST * KEYS] == p[0]);
            assert_true(st[HS_STAT_SELF * KEYS] == p[i]);
            assert_true(st[HS_STAT_PREV * KEYS] == (i ? p[i - 1] : 0));
            assert_true(st[HS_STAT_ENTROPY * KEYS] >= 0);
            assert_true((double)st[HS_STAT_ENTROPY * KEYS] <= log((double)i + 1) + 1e-5);
        }
    free(r);
}
static void test_pattern_laws(void **state) {
    (void)state;
    on_each_isa(pattern_laws);
}

static void test_instruction_sets_agree(void **state) {
    (void)state;
    struct result *all = calloc(2, sizeof *all);
    float *y = calloc(2 * ROWS * N, sizeof *y);
    assert_true(all && y);
    int have = 0;
    for (int i = 0; isa_names[i]; i++) {
        hs_dev *dev;
        if (be->open(&dev, &(hs_dev_opts){.threads = 2, .isa = isa_names[i]})) continue;
        int to = have++ > 0;
        chain(dev, HS_WEIGHT_EXPAND, 0, ROWS, y + to * ROWS * N);
        be->close(dev);
        attend(isa_names[i], &(struct way){0, KEYS, 0, 2, true, -1, 0}, &all[to]);
        double square = 0; // sums cancel: rounding is relative to their usual size
        for (int64_t j = 0; j < ROWS * N; j++) square += (double)y[j] * (double)y[j];
        for (int64_t j = 0; to && j < ROWS * N; j++)
            assert_true(fabs((double)y[j] - (double)y[ROWS * N + j]) <
                        1e-5 * sqrt(square / (ROWS * N)));
        for (int64_t j = 0; to && j < KEYS * QW; j++)
            assert_true(fabsf(all[0].z[j] - all[1].z[j]) < 1e-5f);
    }
    free(all), free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_stand_alone),
        cmocka_unit_test(test_columns_stand_alone),
        cmocka_unit_test(test_attention_stands_alone),
        cmocka_unit_test(test_attention_together),
        cmocka_unit_test(test_pattern_laws),
        cmocka_unit_test(test_instruction_sets_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
