// The reference backend: each operation against numbers known by other means, and every set of
// kernels of the CPU backend against it, operation by operation, within stated bounds.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/prng.h"
#include "model/elem.h"
#include "tests/lib/backends.h"
#include "tests/lib/isas.h"

static const hs_backend *const cpu = &hs_backend_cpu, *const ref = &hs_backend_ref;
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
static const double U = 0x1p-24; // half a unit in the last place of 1 in f32

// ---- scaffolding --------------------------------------------------------------------------------

// The numbers as elements of a backend.
static void *elems(const hs_backend *be, const float *x, int64_t n) {
    void *p = zeroed(n, (size_t)hs_dtypes[be->dtype].bytes);
    hs_elem_from_f32(be->dtype, p, x, n);
    return p;
}

// ---- products -----------------------------------------------------------------------------------

enum { M_MOST = 97, N_MOST = 193, K_MOST = 577 };
static const int64_t heights[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 64, 97};
static const int64_t outputs[] = {1, 7, 63, 65, 193};

static void product(const hs_backend *be, hs_dev *dev, void *y, int64_t n, const void *x, int64_t k,
                    int64_t m, const hs_view *w, const float *bias, enum hs_weight_mode mode) {
    hs_weight *packed;
    assert_int_equal(be->pack(dev, &packed, w, NULL, mode), 0);
    assert_int_equal(be->linear(dev, &(hs_product){y, n, packed, bias}, 1, x, k, m), 0);
    be->unpack(packed);
}

// The bound of a sum of k terms: so many roundings of the sum of their magnitudes.
static void check_shape(hs_dev *dev, hs_dev *truth, hs_dtype dtype, int64_t n, int64_t k,
                        double roundings) {
    void *data = stored(dtype, n, k, (uint64_t)(n + k));
    float *x = normal_floats(1, M_MOST * k), *bias = normal_floats(2, n),
          *magnitude = zeroed(n * k, sizeof(float));
    float *y = zeroed(M_MOST * n, sizeof *y);
    double *want = zeroed(M_MOST * n, sizeof *want), *size = zeroed(M_MOST * n, sizeof *size);
    const hs_view w = {data, dtype, 2, {n, k}, {k, 1}};
    double *wide = elems(ref, x, M_MOST * k);
    product(ref, truth, want, n, wide, k, M_MOST, &w, bias, HS_WEIGHT_EXPAND);
    hs_dtypes[dtype].to_f32(data, magnitude, n * k);
    for (int64_t i = 0; i < n * k; i++) magnitude[i] = fabsf(magnitude[i]);
    for (int64_t i = 0; i < M_MOST * k; i++) wide[i] = fabs(wide[i]);
    const hs_view abs = hs_view_f32(magnitude, n, k);
    product(ref, truth, size, n, wide, k, M_MOST, &abs, NULL, HS_WEIGHT_EXPAND);
    for (int i = 0; i < COUNT(heights) * 2; i++) {
        const int64_t m = heights[i / 2];
        product(cpu, dev, y, n, x, k, m, &w, bias, i % 2 ? HS_WEIGHT_KEEP : HS_WEIGHT_EXPAND);
        for (int64_t j = 0; j < m * n; j++)
            near((double)y[j], want[j], roundings * U * (size[j] + fabs((double)bias[j % n])),
                 hs_dtypes[dtype].name);
    }
    free(data), free(x), free(bias), free(magnitude), free(y), free(want), free(size), free(wide);
}

static void each_shape(hs_dev *dev, hs_dev *truth, double (*roundings)(int64_t k)) {
    static const hs_dtype plain[] = {HS_F32, HS_F16, HS_BF16};
    static const hs_dtype blocks[] = {HS_Q8_0, HS_Q4_0, HS_Q4_1};
    static const int64_t plain_k[] = {1, 3, 37, 193, K_MOST}, block_k[] = {32, 96, 576};
    for (int n = 0; n < COUNT(outputs); n++)
        for (int t = 0; t < 3; t++) {
            for (int k = 0; k < COUNT(plain_k); k++)
                check_shape(dev, truth, plain[t], outputs[n], plain_k[k], roundings(plain_k[k]));
            for (int k = 0; k < COUNT(block_k); k++)
                check_shape(dev, truth, blocks[t], outputs[n], block_k[k], roundings(block_k[k]));
        }
}

// One sum rounds once a term, by chance up and down.
static double exact_roundings(int64_t k) {
    return 4 + sqrt((double)k);
}
// Both factors of a term are rounded to 8 bits.
static double bf16_roundings(int64_t k) {
    return 0x1p-7 / U * 1.01 + exact_roundings(k);
}
static void exact_products(hs_dev *dev, hs_dev *truth) {
    each_shape(dev, truth, exact_roundings);
}
static void bf16_products(hs_dev *dev, hs_dev *truth) {
    each_shape(dev, truth, bf16_roundings);
}
static void test_products(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, exact_products);
    on_each_dev(HS_PREC_BF16, bf16_products);
}

// Weights of f64 keep their digits; rows in any order, columns with any stride, two outputs at once.
static void test_weights_as_stored(void **state) {
    (void)state;
    enum { N = 11, K = 5 };
    hs_dev *dev = open_ref();
    double w[K][N], x[2][K], y[2][2 * N];
    int32_t row_of[N];
    float bias[N];
    hs_prng g = hs_prng_seed(3);
    for (int i = 0; i < K * N; i++) w[i / N][i % N] = hs_prng_normal(&g);
    for (int i = 0; i < 2 * K; i++) x[i / K][i % K] = hs_prng_normal(&g);
    for (int i = 0; i < N; i++) row_of[i] = (i * 4) % N, bias[i] = (float)i;
    const hs_view turned = {w, HS_F64, 2, {N, K}, {1, N}};
    hs_weight *a, *b;
    assert_int_equal(ref->pack(dev, &a, &turned, row_of, HS_WEIGHT_EXPAND), 0);
    assert_int_equal(ref->pack(dev, &b, &turned, NULL, HS_WEIGHT_KEEP), 0);
    assert_true(ref->weight_bytes(dev, &turned, HS_WEIGHT_KEEP) > 0);
    const hs_product p[] = {{y[0], 2 * N, a, bias}, {y[0] + N, 2 * N, b, NULL}};
    assert_int_equal(ref->linear(dev, p, 2, x, K, 2), 0);
    for (int r = 0; r < 2; r++)
        for (int n = 0; n < N; n++) {
            double sum[2] = {0};
            for (int k = 0; k < K; k++) {
                sum[0] += x[r][k] * w[k][row_of[n]];
                sum[1] += x[r][k] * w[k][n];
            }
            assert_true(y[r][n] == sum[0] + n && y[r][N + n] == sum[1]);
        }
    const int32_t ids[] = {3, 3, 0};
    double rows[3][K];
    assert_int_equal(ref->embed(dev, rows, &turned, ids, 3), 0);
    for (int i = 0; i < 3 * K; i++) assert_true(rows[i / K][i % K] == w[i % K][ids[i / K]]);
    ref->unpack(a);
    ref->unpack(b);
    ref->close(dev);
}

// ---- rows ---------------------------------------------------------------------------------------

static void norms(hs_dev *dev, hs_dev *truth) {
    static const int64_t dims[] = {1, 3, 17, 64, 576, 1000};
    enum { ROWS = 5 };
    for (int i = 0; i < 2 * COUNT(dims); i++) {
        const int64_t d = dims[i / 2], n = ROWS * d;
        const enum hs_norm kind = i % 2 ? HS_NORM_LAYER : HS_NORM_RMS;
        float *x = normal_floats(1, n), *w = normal_floats(2, d), *b = normal_floats(3, d);
        float *norm = zeroed(n, 4), *y = zeroed(n, 4), scale[ROWS];
        for (int64_t k = 0; k < n; k++) x[k] = x[k] * 3 + 1;
        double *wide = elems(ref, x, n), *want = zeroed(n, 8), *end = zeroed(n, 8),
               want_scale[ROWS];
        assert_int_equal(cpu->norm_scale(dev, scale, norm, x, ROWS, d, kind, 1e-5), 0);
        assert_int_equal(ref->norm_scale(truth, want_scale, want, wide, ROWS, d, kind, 1e-5), 0);
        assert_int_equal(cpu->norm_gain(dev, y, norm, ROWS, d, w, i % 3 ? b : NULL), 0);
        assert_int_equal(ref->norm_gain(truth, end, want, ROWS, d, w, i % 3 ? b : NULL), 0);
        if (kind == HS_NORM_RMS || d > 1) { // of one number the mean is all there is
            all_near(scale, want_scale, ROWS, 2e-6, "scale");
            all_near(norm, want, n, 4e-6, "normalised");
            all_near(y, end, n, 2e-5, "gain");
        }
        for (int64_t k = 0; k < n; k++) // the contract's words
            near(end[k], want[k] * (double)w[k % d] + (i % 3 ? (double)b[k % d] : 0), 0, "gain");
        free(x), free(w), free(b), free(norm), free(y), free(wide), free(want), free(end);
    }
}
static void test_norms(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, norms);
    hs_dev *dev = open_ref();
    double x[4] = {1, 2, 3, 6}, scale, y[4];
    assert_int_equal(ref->norm_scale(dev, &scale, y, x, 1, 4, HS_NORM_LAYER, 0.5), 0);
    assert_true(scale == 2 && y[0] == -1 && y[1] == -0.5 && y[2] == 0 && y[3] == 1.5);
    assert_int_equal(ref->norm_scale(dev, &scale, y, x, 1, 4, HS_NORM_RMS, 12.5), 0);
    assert_true(scale == 5 && y[3] == 1.2);
    assert_int_equal(ref->norm_scale(dev, &scale, y, x, 1, 4, HS_NORM_NONE, 0), HS_EARG);
    ref->close(dev);
}

static void rotations(hs_dev *dev, hs_dev *truth) {
    static const int64_t dims[][2] = {{3, 2}, {24, 24}, {40, 20}, {80, 80}, {128, 64}};
    enum { ROWS = 3, HEADS = 3 };
    for (int i = 0; i < COUNT(dims); i++) {
        const int64_t d = dims[i][0], turn = dims[i][1], ld = HEADS * d + 5;
        float *x = normal_floats(1, ROWS * ld), *cs = normal_floats(2, ROWS * turn);
        double *wide = elems(ref, x, ROWS * ld), *wide_cs = elems(ref, cs, ROWS * turn);
        assert_int_equal(cpu->rope(dev, x, ld, ROWS, HEADS, d, turn, cs), 0);
        assert_int_equal(ref->rope(truth, wide, ld, ROWS, HEADS, d, turn, wide_cs), 0);
        all_near(x, wide, ROWS * ld, 2e-6, "rope");
        free(x), free(cs), free(wide), free(wide_cs);
    }
}
static void test_rotations(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, rotations);
    hs_dev *dev = open_ref(); // halves: (1, 2) turns into (-2, 1), what lies beyond stays
    double x[5] = {1, 7, 2, 7, 9}, quarter[4] = {0, 1, 1, 0};
    assert_int_equal(ref->rope(dev, x, 5, 1, 1, 5, 4, quarter), 0);
    assert_true(x[0] == -2 && x[1] == 7 && x[2] == 1 && x[3] == 7 && x[4] == 9);
    ref->close(dev);
}

static void activations(hs_dev *dev, hs_dev *truth) {
    enum { N = 4001 };
    static const double edges[] = {0, -0.0, 1e-30, -1e-30, 60, -60, 1e4, -1e4, 1e30, -1e30};
    float *x = zeroed(N, 4), *gate = normal_floats(2, N), *y = zeroed(N, 4);
    double *want = zeroed(N, 8);
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) / 100;
    for (int i = 0; i < COUNT(edges); i++) x[i] = (float)edges[i];
    double *wide = elems(ref, x, N), *wide_gate = elems(ref, gate, N);
    for (int kind = 0; kind < HS_ACT_N; kind++) {
        assert_int_equal(cpu->act(dev, y, x, gate, N, (enum hs_act)kind), 0);
        assert_int_equal(ref->act(truth, want, wide, wide_gate, N, (enum hs_act)kind), 0);
        for (int i = 0; i < N; i++)
            near((double)y[i], want[i], 6e-7 * fabs((double)x[i]) * fabs((double)gate[i]) + 1e-30,
                 "act");
    }
    free(x), free(gate), free(y), free(want), free(wide), free(wide_gate);
}
static void test_activations(void **state) {
    (void)state;
    // From tables, to the last digits of a double.
    static const struct {
        enum hs_act kind;
        double x, y;
    } known[] = {
        {HS_ACT_SILU, 1, 0.73105857863000487925},
        {HS_ACT_SILU, -2, -0.23840584404423511},
        {HS_ACT_GELU, 1, 0.84134474606854294859},
        {HS_ACT_GELU, -8, -4.97676845941743e-15},
        {HS_ACT_GELU_TANH, 1, 0.84119199060827670},
        {HS_ACT_GELU_QUICK, 1, 0.84579576593282},
        {HS_ACT_RELU, -3, 0},
        {HS_ACT_RELU, 3, 3},
    };
    hs_dev *dev = open_ref();
    for (int i = 0; i < COUNT(known); i++) {
        double y;
        assert_int_equal(ref->act(dev, &y, &known[i].x, NULL, 1, known[i].kind), 0);
        near(y, known[i].y, 2e-11 * fabs(known[i].y), "act");
    }
    ref->close(dev);
    on_each_dev(HS_PREC_EXACT, activations);
}

static void tables(hs_dev *dev, hs_dev *truth) {
    static const hs_dtype kinds[] = {HS_F32, HS_F16, HS_BF16, HS_Q8_0, HS_Q4_0, HS_Q4_1};
    enum { ROWS = 9, D = 96 };
    const int32_t ids[] = {8, 0, 3, 3, 7};
    for (int i = 0; i < COUNT(kinds); i++) {
        void *data = stored(kinds[i], ROWS, D, 5);
        float y[COUNT(ids) * D], sum[COUNT(ids) * D];
        double want[COUNT(ids) * D], want_sum[COUNT(ids) * D];
        const hs_view table = {data, kinds[i], 2, {ROWS, D}, {D, 1}};
        assert_int_equal(cpu->embed(dev, y, &table, ids, COUNT(ids)), 0);
        assert_int_equal(ref->embed(truth, want, &table, ids, COUNT(ids)), 0);
        all_near(y, want, COUNT(ids) * D, 0, "embed");
        assert_int_equal(cpu->add(dev, sum, y, y, COUNT(ids) * D), 0);
        assert_int_equal(ref->add(truth, want_sum, want, want, COUNT(ids) * D), 0);
        all_near(sum, want_sum, COUNT(ids) * D, 0, "add");
        free(data);
    }
}
static void test_tables(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, tables);
}

// ---- attention ----------------------------------------------------------------------------------

struct shape {
    int64_t n_head, n_kv, d, pos0, n_q, prefix, tile_rows;
    bool edit;
};

struct seen {
    const struct shape *s;
    int64_t next[8];                 // row that each head's next tile begins with
    double *z;                       // [n_q][n_head * d]
    float *stats, *scores, *pattern; // [n_head][HS_N_STAT][n_q], [n_head][n_q][n_key] twice
};

static int64_t n_key(const struct shape *s) {
    return s->pos0 + s->n_q;
}

// Edits whose results are the same numbers in any precision: key 1 is hidden, row 2 sees nothing,
// and then key 0 gets a quarter.
static void edit_tile(const hs_tile *t) {
    for (int64_t r = 0; r < t->n_row; r++) {
        float *row = t->row + r * t->ld;
        const int64_t at = t->row0 + r;
        if (t->point == HS_PATTERN) row[0] = 0.25f;
        for (int64_t k = 0; t->point == HS_SCORES && k <= at; k++)
            if (k == 1 || at == 2) row[k] = -INFINITY;
        for (int64_t k = at + 1; k < t->n_key; k++) row[k] = 1e30f; // masked: nobody cares
    }
}

static int on_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    struct seen *to = ctx;
    const struct shape *s = to->s;
    (void)worker;
    assert_int_equal(t->n_key, t->row0 + t->n_row);
    assert_true(!t->stats == (write || t->point == HS_SCORES));
    for (int64_t r = 0; r < t->n_row; r++)
        for (int64_t k = t->row0 + r + 1; k < t->n_key && !(s->edit && !write); k++)
            assert_true(t->row[r * t->ld + k] == (t->point == HS_SCORES ? -INFINITY : 0));
    if (write) {
        edit_tile(t);
        return HS_OK;
    }
    if (t->point == HS_SCORES) {
        assert_int_equal(t->row0 - s->pos0, to->next[t->head]);
        to->next[t->head] += t->n_row;
    }
    float *map = t->point == HS_SCORES ? to->scores : to->pattern;
    for (int64_t r = 0; r < t->n_row; r++)
        memcpy(map + (t->head * s->n_q + t->row0 - s->pos0 + r) * n_key(s), t->row + r * t->ld,
               (size_t)(t->row0 + r + 1) * sizeof *map);
    return HS_OK;
}

static void attend(const hs_backend *be, hs_dev *dev, const struct shape *s, struct seen *to) {
    const int64_t qw = s->n_head * s->d, kw = s->n_kv * s->d, keys = n_key(s);
    const int64_t own_keys = keys - s->prefix;
    const int dtype = be->dtype;
    float *q = normal_floats(1, s->n_q * qw), *k = normal_floats(2, keys * kw),
          *v = normal_floats(3, keys * kw);
    void *eq = elems(be, q, s->n_q * qw), *ek = elems(be, k, keys * kw),
         *ev = elems(be, v, keys * kw), *z = zeroed(s->n_q * qw, (size_t)hs_dtypes[dtype].bytes);
    hs_kv *pre = NULL, *own;
    *to = (struct seen){.s = s};
    to->z = zeroed(s->n_q * qw, sizeof *to->z);
    to->stats = zeroed(s->n_head * HS_N_STAT * s->n_q, sizeof *to->stats);
    to->scores = zeroed(s->n_head * s->n_q * keys, sizeof *to->scores);
    to->pattern = zeroed(s->n_head * s->n_q * keys, sizeof *to->pattern);
    if (s->prefix) {
        assert_int_equal(be->kv_open(dev, &pre, s->n_kv, s->d, s->prefix + 2), 0);
        assert_int_equal(be->kv_put(dev, pre, 0, s->prefix, ek, kw, ev, kw), 0);
    }
    assert_int_equal(be->kv_open(dev, &own, s->n_kv, s->d, own_keys), 0);
    assert_int_equal(be->kv_put(dev, own, 0, own_keys, hs_elem_at(dtype, ek, s->prefix * kw), kw,
                                hs_elem_at(dtype, ev, s->prefix * kw), kw),
                     0);
    uint8_t want[8];
    memset(want, s->edit ? 15 : HS_TILE_READ_SCORES | HS_TILE_READ_PATTERN, sizeof want);
    const hs_tap tap = {.ctx = to, .tile = on_tile, .tile_rows = s->tile_rows};
    const hs_attn a = {.n_head = s->n_head,
                       .n_kv_head = s->n_kv,
                       .d_head = s->d,
                       .scale = 1 / sqrt((double)s->d),
                       .q = eq,
                       .ld_q = qw,
                       .z = z,
                       .ld_z = qw,
                       .pos0 = s->pos0,
                       .n_q = s->n_q,
                       .prefix = pre,
                       .own = own,
                       .n_prefix = s->prefix,
                       .stats = to->stats,
                       .tap = &tap,
                       .tile_want = want};
    assert_int_equal(be->attention(dev, &a, 1), 0);
    for (int64_t i = 0; i < s->n_q * qw; i++) to->z[i] = hs_elem_get(dtype, z, i);
    be->kv_close(pre);
    be->kv_close(own);
    free(q), free(k), free(v), free(eq), free(ek), free(ev), free(z);
}

static void free_seen(struct seen *s) {
    free(s->z), free(s->stats), free(s->scores), free(s->pattern);
}

// Summaries in their own units: weights and nats within 5e-6, keys as they are, distances by length.
static void compare_stats(const struct shape *s, const struct seen *a, const struct seen *b) {
    for (int64_t i = 0; i < s->n_head * HS_N_STAT * s->n_q; i++) {
        const int stat = (int)(i / s->n_q % HS_N_STAT);
        const double room = stat == HS_STAT_ARGMAX     ? 0
                            : stat == HS_STAT_DISTANCE ? 2e-6 * (double)n_key(s)
                                                       : 5e-6;
        near((double)a->stats[i], (double)b->stats[i], room, hs_stat_infos[stat].name);
    }
}

static const struct shape shapes[] = {
    {4, 2, 3, 0, 1, 0, 0, false},       {2, 1, 24, 0, 37, 0, 7, false},
    {2, 1, 24, 12, 25, 5, 0, false},    {3, 3, 40, 70, 20, 64, 1, false},
    {2, 2, 80, 0, 70, 0, 0, false},     {4, 1, 128, 1, 33, 1, 16, false},
    {1, 1, 128, 149, 1, 100, 0, false}, {4, 2, 24, 0, 37, 0, 5, true},
    {1, 1, 3, 0, 9, 0, 0, true},
};

static void attention(hs_dev *dev, hs_dev *truth) {
    for (int i = 0; i < COUNT(shapes); i++) {
        const struct shape *s = &shapes[i];
        const int64_t maps = s->n_head * s->n_q * n_key(s);
        struct seen got, want;
        attend(cpu, dev, s, &got);
        attend(ref, truth, s, &want);
        for (int64_t j = 0; j < maps; j++) {
            near((double)got.scores[j], (double)want.scores[j], 4e-6, "scores");
            near((double)got.pattern[j], (double)want.pattern[j], 2e-6, "pattern");
        }
        for (int64_t j = 0; j < s->n_q * s->n_head * s->d; j++)
            near(got.z[j], want.z[j], 4e-6, "z");
        compare_stats(s, &got, &want);
        for (int64_t h = 0; h < s->n_head; h++) assert_int_equal(want.next[h], s->n_q);
        free_seen(&got);
        free_seen(&want);
    }
}
static void test_attention(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, attention);
}

// Two keys whose scores are ln 1 and ln 3, and a first row that sees one: by hand.
static void test_attention_by_hand(void **state) {
    (void)state;
    hs_dev *dev = open_ref();
    hs_kv *kv;
    double q[2] = {1, 2}, k[2] = {0, log(3) / 4}, v[2] = {10, 20}, z[2];
    float stats[HS_N_STAT][2];
    assert_int_equal(ref->kv_open(dev, &kv, 1, 1, 2), 0);
    assert_int_equal(ref->kv_put(dev, kv, 0, 2, k, 1, v, 1), 0);
    const hs_attn a = {.n_head = 1,
                       .n_kv_head = 1,
                       .d_head = 1,
                       .scale = 2,
                       .q = q,
                       .ld_q = 1,
                       .z = z,
                       .ld_z = 1,
                       .n_q = 2,
                       .stats = *stats,
                       .own = kv};
    assert_int_equal(ref->attention(dev, &a, 1), 0);
    near(z[0], 10, 0, "z");
    near(z[1], 17.5, 1e-14, "z");
    const double want[HS_N_STAT] = {[HS_STAT_ENTROPY] = 0.56233514461880833,
                                    [HS_STAT_MAX] = 0.75,
                                    [HS_STAT_ARGMAX] = 1,
                                    [HS_STAT_LSE] = 1.3862943611198906,
                                    [HS_STAT_FIRST] = 0.25,
                                    [HS_STAT_SELF] = 0.75,
                                    [HS_STAT_PREV] = 0.25,
                                    [HS_STAT_DISTANCE] = 0.25};
    for (int i = 0; i < HS_N_STAT; i++)
        near((double)stats[i][1], want[i], 1e-7, hs_stat_infos[i].name);
    assert_true(stats[HS_STAT_PREV][0] == 0 && stats[HS_STAT_SELF][0] == 1);
    k[1] = 0; // of equals the first is the largest
    assert_int_equal(ref->kv_put(dev, kv, 0, 2, k, 1, v, 1), 0);
    assert_int_equal(ref->attention(dev, &a, 1), 0);
    assert_true(stats[HS_STAT_ARGMAX][1] == 0 && stats[HS_STAT_MAX][1] == 0.5f && z[1] == 15);
    ref->kv_close(kv);
    ref->close(dev);
}

// ---- what is refused, and what edits keep ---------------------------------------------------------

static int refuse_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    (void)ctx, (void)write, (void)worker;
    return t->head == 1 ? hs_fail(HS_ESTOP, "enough") : HS_OK;
}

static void test_refusals(void **state) {
    (void)state;
    hs_dev *dev = open_ref();
    hs_kv *kv;
    hs_weight *w;
    float bad[2][3] = {{1, 2, 3}, {4, NAN, 6}};
    double x[8] = {0}, z[8];
    hs_view view = hs_view_f32(*bad, 2, 3);
    assert_int_equal(ref->pack(dev, &w, &view, NULL, HS_WEIGHT_KEEP), HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), "row 1, column 1"));
    assert_null(w);
    bad[1][1] = -INFINITY;
    assert_int_equal(ref->pack(dev, &w, &view, NULL, HS_WEIGHT_KEEP), HS_EFORMAT);
    view.dtype = HS_I64;
    assert_int_equal(ref->pack(dev, &w, &view, NULL, HS_WEIGHT_KEEP), HS_EUNSUPPORTED);
    assert_int_equal(ref->embed(dev, z, &view, (int32_t[]){0}, 1), HS_EUNSUPPORTED);
    assert_int_equal(ref->weight_bytes(dev, &view, HS_WEIGHT_KEEP), 0);
    view.dtype = HS_Q8_0;
    assert_int_equal(ref->pack(dev, &w, &view, NULL, HS_WEIGHT_KEEP), HS_EUNSUPPORTED);
    view.ndim = 1;
    assert_int_equal(ref->pack(dev, &w, &view, NULL, HS_WEIGHT_KEEP), HS_EARG);

    assert_int_equal(ref->kv_open(dev, &kv, 2, 1, 3), 0);
    assert_int_equal(ref->kv_put(dev, kv, 2, 2, x, 2, x, 2), HS_ERANGE);
    assert_int_equal(ref->kv_put(dev, kv, -1, 1, x, 2, x, 2), HS_ERANGE);
    assert_int_equal(ref->kv_put(dev, kv, 0, 3, x, 2, x, 2), 0);
    hs_attn a = {.n_head = 2,
                 .n_kv_head = 2,
                 .d_head = 1,
                 .q = x,
                 .ld_q = 2,
                 .z = z,
                 .ld_z = 2,
                 .pos0 = 1,
                 .n_q = 2,
                 .own = kv};
    assert_int_equal(ref->attention(dev, &a, 1), 0);
    const hs_tap tap = {.tile = refuse_tile};
    const uint8_t want[2] = {HS_TILE_READ_SCORES, HS_TILE_WRITE_PATTERN};
    a.tap = &tap;
    a.tile_want = want;
    assert_int_equal(ref->attention(dev, &a, 1), HS_ESTOP);
    a.tap = NULL;
    a.pos0 = 2;
    assert_int_equal(ref->attention(dev, &a, 1), HS_EARG);
    a.pos0 = 0;
    a.n_prefix = 1;
    assert_int_equal(ref->attention(dev, &a, 1), HS_EARG);
    a.n_prefix = 0;
    a.n_head = 3;
    assert_int_equal(ref->attention(dev, &a, 1), HS_EARG);
    ref->kv_close(kv);
    ref->kv_close(NULL);
    ref->unpack(NULL);
    ref->close(dev);
    ref->close(NULL);
    assert_int_equal(ref->open(&dev, NULL), 0);
    assert_string_equal(ref->isa(dev), "f64");
    assert_non_null(ref->pool(dev));
    ref->close(dev);
}

static void test_edits_keep_digits(void **state) {
    (void)state;
    double x[3] = {1 + 0x1p-40, 2 + 0x1p-40, 3};
    float shown[3], *same = shown;
    hs_dtypes[HS_F64].to_f32(x, shown, 3);
    shown[1] = 5;
    hs_elem_take(HS_F64, x, shown, 3);
    assert_true(x[0] == 1 + 0x1p-40 && x[1] == 5 && x[2] == 3);
    hs_elem_take(HS_F32, same, shown, 3);
    assert_true(shown[0] == 1 && shown[1] == 5);
    hs_elem_from_f32(HS_F64, x, shown, 3);
    assert_true(x[0] == 1 && x[2] == 3);
    assert_true(hs_elem_at(HS_F64, x, 2) == &x[2] && hs_elem_at(HS_F32, shown, 2) == &shown[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),    cmocka_unit_test(test_weights_as_stored),
        cmocka_unit_test(test_norms),       cmocka_unit_test(test_rotations),
        cmocka_unit_test(test_activations), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_attention),   cmocka_unit_test(test_attention_by_hand),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_edits_keep_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
