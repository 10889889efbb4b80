// The CPU backend against plain double loops: every operation, odd sizes, every number format,
// every instruction set this CPU has.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/prng.h"
#include "tests/lib/backends.h"
#include "tests/lib/isas.h"

static const hs_backend *const be = &hs_backend_cpu;
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

// ---- scaffolding --------------------------------------------------------------------------------

// Runs a check on every set of kernels this CPU has, with two threads.
static void each_dev_at(enum hs_precision precision, void (*check)(hs_dev *)) {
    int ran = 0;
    for (int i = 0; isa_names[i]; i++) {
        hs_dev *dev;
        const hs_dev_opts opts = {.threads = 2, .isa = isa_names[i], .precision = precision};
        if (be->open(&dev, &opts)) continue;
        assert_string_equal(be->isa(dev), isa_names[i]);
        check(dev);
        be->close(dev);
        ran++;
    }
    assert_true(ran > 0);
}

static void each_dev(void (*check)(hs_dev *)) {
    each_dev_at(HS_PREC_EXACT, check);
}

static float *randoms(hs_prng *g, int64_t n) {
    float *x = zeroed(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)hs_prng_normal(g);
    return x;
}

// ---- linear -------------------------------------------------------------------------------------

// y against x W^T + b with W dense; the tolerance grows with the size of what is summed.
static void check_product(const float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t m,
                          const float *w, int64_t n, int64_t k, const float *bias) {
    for (int64_t r = 0; r < m; r++)
        for (int64_t c = 0; c < n; c++) {
            double sum = bias ? (double)bias[c] : 0, size = fabs(sum);
            for (int64_t i = 0; i < k; i++) {
                double t = (double)x[r * ld_x + i] * (double)w[c * k + i];
                sum += t;
                size += fabs(t);
            }
            near((double)y[r * ld_y + c], sum, 2e-6 * size + 1e-37, "linear");
        }
}

// Multiplies with `view` in both modes, which give the same bits, and checks against its rows W; y
// has guard columns.
static void check_weight(hs_dev *dev, const hs_view *view, const int32_t *row_of, const float *w,
                         int64_t m, bool with_bias) {
    hs_prng g = hs_prng_seed((uint64_t)(m + view->shape[0] * 31 + view->shape[1]));
    int64_t n = view->shape[0], k = view->shape[1], ld_x = k + 3, ld_y = n + 2;
    float *x = randoms(&g, m * ld_x), *bias = with_bias ? randoms(&g, n) : NULL;
    float *kept = NULL;
    for (int mode = HS_WEIGHT_KEEP; mode <= HS_WEIGHT_EXPAND; mode++) {
        float *y = zeroed(m * ld_y, sizeof *y);
        for (int64_t i = 0; i < m * ld_y; i++) y[i] = 12345;
        hs_weight *packed;
        assert_int_equal(be->pack(dev, &packed, view, row_of, (enum hs_weight_mode)mode), 0);
        assert_int_equal(be->linear(dev, &(hs_product){y, ld_y, packed, bias}, 1, x, ld_x, m), 0);
        check_product(y, ld_y, x, ld_x, m, w, n, k, bias);
        for (int64_t r = 0; r < m; r++)
            for (int64_t c = n; c < ld_y; c++) assert_true(y[r * ld_y + c] == 12345);
        be->unpack(packed);
        if (kept) assert_memory_equal(kept, y, (size_t)(m * ld_y) * sizeof *y);
        free(kept);
        kept = y;
    }
    free(kept);
    free(x);
    free(bias);
}

static void linear_shapes(hs_dev *dev) {
    static const int64_t ns[] = {1, 3, 63, 64, 65, 130, 200}, ks[] = {1, 5, 31, 64, 257, 1000};
    hs_prng g = hs_prng_seed(1);
    float *w = randoms(&g, 200 * 1000);
    for (int i = 0; i < COUNT(ns); i++)
        for (int j = 0; j < COUNT(ks); j++) {
            hs_view v = hs_view_f32(w, ns[i], ks[j]);
            int64_t m = 1 + (i * COUNT(ks) + j) % 13;
            check_weight(dev, &v, NULL, w, m, (i + j) % 2);
        }
    for (int64_t m = 1; m <= 13; m++) {
        hs_view v = hs_view_f32(w, 67, 37);
        check_weight(dev, &v, NULL, w, m, false);
    }
    hs_view v = hs_view_f32(w, 70, 33);
    check_weight(dev, &v, NULL, w, 400, true); // several row blocks, in KEEP too
    free(w);
}
static void test_linear_shapes(void **state) {
    (void)state;
    each_dev(linear_shapes);
}

// Random bytes with every half word below 2 as an f16, so that no scale is infinite.
static uint8_t *random_blocks(hs_prng *g, size_t bytes) {
    uint8_t *p = zeroed(bytes, 1);
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)hs_prng_u64(g) & (i % 2 ? 0xbf : 0xff);
    return p;
}

static void every_dtype(hs_dev *dev) {
    hs_prng g = hs_prng_seed(2);
    for (int d = 0; d < HS_N_DTYPE; d++) {
        const hs_dtype_traits *t = &hs_dtypes[d];
        int64_t n = 70, k = t->items == 1 ? 801 : 1024, row = k / t->items * t->bytes;
        uint8_t *bytes = random_blocks(&g, (size_t)(n * row));
        hs_view v = {bytes, (hs_dtype)d, 2, {n, k}, {k, 1}};
        if (!t->to_f32) {
            hs_weight *packed;
            assert_int_equal(be->pack(dev, &packed, &v, NULL, HS_WEIGHT_EXPAND), HS_EUNSUPPORTED);
            assert_null(packed);
            free(bytes);
            continue;
        }
        float *w = zeroed(n * k, sizeof *w);
        for (int64_t r = 0; r < n; r++) t->to_f32(bytes + r * row, w + r * k, k);
        for (int64_t m = 1; m <= 7; m++) check_weight(dev, &v, NULL, w, m, m == 3);
        check_weight(dev, &v, NULL, w, 300, false); // several row blocks

        int32_t ids[] = {69, 0, 33, 0};
        float *y = zeroed(COUNT(ids) * k, sizeof *y);
        assert_int_equal(be->embed(dev, y, &v, ids, COUNT(ids)), 0);
        for (int i = 0; i < COUNT(ids); i++)
            assert_memory_equal(y + i * k, w + ids[i] * k, (size_t)k * sizeof *y);
        free(y);
        free(w);
        free(bytes);
    }
}
static void test_every_dtype(void **state) {
    (void)state;
    each_dev(every_dtype);
}

// The logical matrix behind a view of f32 with any strides.
static float *dense(const hs_view *v, const int32_t *row_of) {
    const float *p = v->data;
    float *w = zeroed(hs_view_count(v), sizeof *w);
    for (int64_t r = 0; r < v->shape[0]; r++)
        for (int64_t c = 0; c < v->shape[1]; c++)
            w[r * v->shape[1] + c] = p[(row_of ? row_of[r] : r) * v->stride[0] + c * v->stride[1]];
    return w;
}

static void strides(hs_dev *dev) {
    enum { N = 90, K = 270 };
    hs_prng g = hs_prng_seed(3);
    float *data = randoms(&g, 4 * N * K);
    int32_t perm[N];
    for (int i = 0; i < N; i++) perm[i] = (i * 7 + 3) % N;
    hs_view views[] = {
        {data, HS_F32, 2, {N, K}, {1, N}},     // transposed
        {data, HS_F32, 2, {N, K}, {1, 3 * N}}, // a slice of a fused, transposed matrix
        {data, HS_F32, 2, {N, K}, {K + 5, 1}}, // padded rows
        {data, HS_F32, 2, {N, K}, {2, 2 * N}}, // neither axis dense
    };
    for (int i = 0; i < COUNT(views); i++)
        for (int permute = 0; permute < 2; permute++) {
            float *w = dense(&views[i], permute ? perm : NULL);
            check_weight(dev, &views[i], permute ? perm : NULL, w, 5, true);
            free(w);
        }
    free(data);

    uint8_t q[18 * 3] = {0};
    hs_weight *packed;
    hs_view ragged = {q, HS_Q4_0, 2, {3, 20}, {20, 1}};
    assert_int_equal(be->pack(dev, &packed, &ragged, NULL, HS_WEIGHT_KEEP), HS_EUNSUPPORTED);
    hs_view turned = {q, HS_Q4_0, 2, {32, 3}, {1, 32}};
    assert_int_equal(be->pack(dev, &packed, &turned, NULL, HS_WEIGHT_KEEP), HS_EUNSUPPORTED);
}
static void test_strides(void **state) {
    (void)state;
    each_dev(strides);
}

// Products that share their input are those of each alone, whatever their formats.
static void shared_input(hs_dev *dev) {
    enum { K = 96, M = 9 };
    static const int64_t ns[] = {130, 40, 64};
    hs_prng g = hs_prng_seed(4);
    float *x = randoms(&g, M * K), *w = randoms(&g, 130 * K), *bias = randoms(&g, 130);
    uint8_t *q = random_blocks(&g, 130 * K / 32 * 20);
    const hs_view views[] = {
        hs_view_f32(w, ns[0], K), {q, HS_Q4_1, 2, {ns[1], K}, {K, 1}}, hs_view_f32(w, ns[2], K)};
    hs_weight *packed[3];
    hs_product all[3], one;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(be->pack(dev, &packed[i], &views[i], NULL, HS_WEIGHT_KEEP), 0);
        all[i] = (hs_product){zeroed(M * ns[i], sizeof *x), ns[i], packed[i], i ? bias : NULL};
    }
    assert_int_equal(be->linear(dev, all, 3, x, K, M), 0);
    for (int i = 0; i < 3; i++) {
        one = all[i];
        one.y = zeroed(M * ns[i], sizeof *x);
        assert_int_equal(be->linear(dev, &one, 1, x, K, M), 0);
        assert_memory_equal(one.y, all[i].y, (size_t)(M * ns[i]) * sizeof *x);
        be->unpack(packed[i]);
        free(one.y);
        free(all[i].y);
    }
    free(x), free(w), free(bias), free(q);
}
static void test_shared_input(void **state) {
    (void)state;
    each_dev(shared_input);
}

static void round_all(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = hs_bf16_to_f32(hs_bf16_of_f32(x[i]));
}

// In bf16 the product is that of the rounded numbers, to the error of an f32 sum.
static void bf16_products(hs_dev *dev) {
    static const struct {
        int64_t m, n, k;
        hs_dtype type;
    } cases[] = {{1, 64, 64, HS_F32},   {5, 70, 801, HS_F32},   {300, 33, 1601, HS_F32},
                 {3, 130, 2, HS_F32},   {2, 7, 1, HS_F32},      {6, 65, 1024, HS_Q4_1},
                 {13, 70, 768, HS_F16}, {13, 70, 769, HS_BF16}, {7, 64, 256, HS_Q6_K}};
    hs_prng g = hs_prng_seed(5);
    for (int i = 0; i < COUNT(cases); i++) {
        const int64_t m = cases[i].m, n = cases[i].n, k = cases[i].k;
        const hs_dtype_traits *t = &hs_dtypes[cases[i].type];
        float *x = randoms(&g, m * k), *w = randoms(&g, n * k);
        float *y = zeroed(m * n, sizeof *y);
        uint8_t *bytes = random_blocks(&g, (size_t)(n * k / t->items * t->bytes));
        if (cases[i].type == HS_F32) memcpy(bytes, w, (size_t)(n * k) * sizeof *w);
        t->to_f32(bytes, w, n * k);
        hs_weight *packed;
        hs_view v = {bytes, cases[i].type, 2, {n, k}, {k, 1}};
        assert_int_equal(be->pack(dev, &packed, &v, NULL, HS_WEIGHT_KEEP), 0);
        assert_int_equal(be->linear(dev, &(hs_product){y, n, packed, NULL}, 1, x, k, m), 0);
        round_all(x, m * k);
        round_all(w, n * k);
        check_product(y, n, x, k, m, w, n, k, NULL);
        be->unpack(packed);
        free(x), free(w), free(y), free(bytes);
    }
}
static void test_bf16_products(void **state) {
    (void)state;
    each_dev_at(HS_PREC_BF16, bf16_products);
}

// A number that is not finite is refused, and named by its place, in every format.
static void refuse_infinite(hs_dev *dev) {
    enum { N = 70, K = 1024, ROW = 67 };
    hs_prng g = hs_prng_seed(6);
    for (int d = 0; d < HS_N_DTYPE; d++) {
        const hs_dtype_traits *t = &hs_dtypes[d];
        if (!t->to_f32) continue;
        const size_t row = K / t->items * (size_t)t->bytes, at = ROW * row;
        uint8_t *bytes = random_blocks(&g, N * row);
        // The second block of a row: its scale, or the second number; -infinity in any format.
        static const struct {
            hs_dtype type;
            size_t at; // of the upper byte of a half, or the number's last two bytes
        } scales[] = {{HS_Q2_K, 81}, {HS_Q3_K, 109}, {HS_Q6_K, 209}};
        size_t high = t->quant ? 1 : (size_t)t->bytes - 1;
        for (int i = 0; i < COUNT(scales); i++)
            if ((int)scales[i].type == d) high = scales[i].at;
        uint8_t *p = bytes + at + (size_t)t->bytes + high;
        p[0] = d == HS_F16 || t->quant ? 0xfc : 0xff;
        p[-1] = d == HS_F16 || t->quant ? 0 : d == HS_F64 ? 0xf0 : 0x80;
        for (size_t i = 2; !t->quant && i < (size_t)t->bytes; i++) p[-(ptrdiff_t)i] = 0;
        for (int mode = HS_WEIGHT_KEEP; mode <= HS_WEIGHT_EXPAND; mode++) {
            hs_weight *packed;
            char want[64];
            hs_view v = {bytes, (hs_dtype)d, 2, {N, K}, {K, 1}};
            assert_int_equal(be->pack(dev, &packed, &v, NULL, (enum hs_weight_mode)mode),
                             HS_EFORMAT);
            assert_null(packed);
            snprintf(want, sizeof want, "row %d, column %d is", ROW, t->items);
            if (!strstr(hs_errmsg(), want)) fail_msg("%s: %s", t->name, hs_errmsg());
        }
        free(bytes);
    }
}
static void test_refuse_infinite(void **state) {
    (void)state;
    each_dev(refuse_infinite);
}

// ---- rows and elements --------------------------------------------------------------------------

static void norms(hs_dev *dev) {
    static const int64_t ds[] = {1, 3, 16, 33, 64, 576, 1000};
    enum { ROWS = 40 };
    hs_prng g = hs_prng_seed(4);
    for (int i = 0; i < COUNT(ds); i++)
        for (int kind = HS_NORM_RMS; kind <= HS_NORM_LAYER; kind++) {
            int64_t d = ds[i];
            float *x = randoms(&g, ROWS * d), *w = randoms(&g, d), *b = randoms(&g, d);
            float scale[ROWS], *norm = zeroed(ROWS * d, 4), *y = zeroed(ROWS * d, 4);
            for (int64_t j = 0; j < ROWS * d; j++) x[j] = x[j] * 3 + 5;
            const double eps = 1e-5;
            assert_int_equal(be->norm_scale(dev, scale, norm, x, ROWS, d, (enum hs_norm)kind, eps),
                             0);
            assert_int_equal(be->norm_gain(dev, y, norm, ROWS, d, w, i % 2 ? b : NULL), 0);
            for (int64_t r = 0; r < ROWS; r++) {
                double mean = 0, sq = 0;
                for (int64_t j = 0; j < d; j++) mean += (double)x[r * d + j] / (double)d;
                if (kind == HS_NORM_RMS) mean = 0;
                for (int64_t j = 0; j < d; j++) sq += pow((double)x[r * d + j] - mean, 2);
                double want = sqrt(sq / (double)d + eps);
                near((double)scale[r], want, 1e-6 * want + 1e-6, "norm scale");
                for (int64_t j = 0; j < d; j++) {
                    double t = ((double)x[r * d + j] - mean) / want;
                    near((double)norm[r * d + j], t, 3e-6 * (fabs(t) + fabs(mean / want)),
                         "normalized");
                    // The gain must start from the rounded value that hooks see.
                    double s = (double)norm[r * d + j] * (double)w[j];
                    double u = i % 2 ? s + (double)b[j] : s;
                    near((double)y[r * d + j], u, 2e-7 * (fabs(s) + fabs(u)) + 1e-30, "norm gain");
                }
            }
            free(x), free(w), free(b), free(norm), free(y);
        }
    float one = 1, out, scale;
    assert_int_equal(be->norm_scale(dev, &scale, &out, &one, 1, 1, HS_NORM_NONE, 0), HS_EARG);
}
static void test_norms(void **state) {
    (void)state;
    each_dev(norms);
}

static void rotation(hs_dev *dev) {
    static const int64_t shapes[][3] = {{2, 64, 64}, {3, 16, 16}, {2, 80, 32},
                                        {1, 6, 6},   {2, 2, 2},   {5, 128, 128}};
    enum { ROWS = 9 };
    hs_prng g = hs_prng_seed(5);
    for (int i = 0; i < COUNT(shapes); i++) {
        int64_t heads = shapes[i][0], d = shapes[i][1], rd = shapes[i][2], ld = heads * d + 5;
        float *x = randoms(&g, ROWS * ld), *cs = randoms(&g, ROWS * rd);
        float *old = zeroed(ROWS * ld, 4);
        memcpy(old, x, (size_t)(ROWS * ld) * 4);
        assert_int_equal(be->rope(dev, x, ld, ROWS, heads, d, rd, cs), 0);
        for (int64_t r = 0; r < ROWS; r++)
            for (int64_t c = 0; c < ld; c++) {
                int64_t e = c % d, half = rd / 2;
                double want = (double)old[r * ld + c];
                if (c < heads * d && e < rd) {
                    const float *t = cs + r * rd;
                    double other = (double)old[r * ld + c + (e < half ? half : -half)];
                    want = want * (double)t[e % half] +
                           (e < half ? -other : other) * (double)t[half + e % half];
                    near((double)x[r * ld + c], want, 2e-6, "rope");
                } else {
                    assert_true((double)x[r * ld + c] == want);
                }
            }
        free(x), free(cs), free(old);
    }
}
static void test_rotation(void **state) {
    (void)state;
    each_dev(rotation);
}

static double act_reference(enum hs_act kind, double x) {
    switch (kind) {
    case HS_ACT_SILU:
        return x / (1 + exp(-x));
    case HS_ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2));
    case HS_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case HS_ACT_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    default:
        return x > 0 ? x : 0;
    }
}

static void activations(hs_dev *dev) {
    enum { N = 4001 };
    float x[N], gate[N], y[N], gated[N];
    hs_prng g = hs_prng_seed(6);
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i - N / 2) * (i % 2 ? 0.0025f : 0.05f);
        gate[i] = (float)hs_prng_normal(&g);
    }
    x[7] = -1e30f, x[8] = 1e30f, x[9] = -0.0f, x[10] = 1e-30f;
    for (int kind = 0; kind < HS_ACT_N; kind++) {
        assert_int_equal(be->act(dev, y, x, NULL, N, (enum hs_act)kind), 0);
        assert_int_equal(be->act(dev, gated, x, gate, N, (enum hs_act)kind), 0);
        for (int i = 0; i < N; i++) {
            double want = act_reference((enum hs_act)kind, (double)x[i]);
            near((double)y[i], want, 3e-7 * fmin(fabs((double)x[i]), fabs(want) + 0.1) + 1e-30,
                 "activation");
            assert_true(gated[i] == y[i] * gate[i]);
        }
        float nan = NAN, out = 0;
        assert_int_equal(be->act(dev, &out, &nan, NULL, 1, (enum hs_act)kind), 0);
        assert_true(isnan(out));
    }
    assert_int_equal(be->add(dev, y, x, gate, N), 0);
    for (int i = 0; i < N; i++) assert_true(y[i] == x[i] + gate[i]);
}
static void test_activations(void **state) {
    (void)state;
    each_dev(activations);
}

// ---- attention ----------------------------------------------------------------------------------

// Random operands of one call and everything the backend makes of them.
struct trial {
    int64_t heads, kv_heads, d, pos0, n, prefix;
    float scale, *q, *k, *v, *z, *stats;
    hs_kv *pre, *own;
    hs_attn a;
};

static void trial_open(struct trial *t, hs_dev *dev, uint64_t seed) {
    hs_prng g = hs_prng_seed(seed);
    int64_t keys = t->pos0 + t->n, kw = t->kv_heads * t->d, qw = t->heads * t->d;
    t->q = randoms(&g, t->n * qw);
    t->k = randoms(&g, keys * kw);
    t->v = randoms(&g, keys * kw);
    t->z = zeroed(t->n * qw, 4);
    t->stats = zeroed(t->heads * HS_N_STAT * t->n, 4);
    t->scale = (float)(2 / sqrt((double)t->d));
    t->pre = NULL;
    if (t->prefix) {
        assert_int_equal(be->kv_open(dev, &t->pre, t->kv_heads, t->d, t->prefix + 3), 0);
        assert_int_equal(be->kv_put(dev, t->pre, 0, t->prefix, t->k, kw, t->v, kw), 0);
    }
    int64_t own = keys - t->prefix, first = own / 3;
    const float *k = t->k + t->prefix * kw, *v = t->v + t->prefix * kw;
    assert_int_equal(be->kv_open(dev, &t->own, t->kv_heads, t->d, own), 0);
    assert_int_equal(be->kv_put(dev, t->own, 0, first, k, kw, v, kw), 0);
    assert_int_equal(
        be->kv_put(dev, t->own, first, own - first, k + first * kw, kw, v + first * kw, kw), 0);
    t->a = (hs_attn){.layer = 2,
                     .seq = 1,
                     .n_head = t->heads,
                     .n_kv_head = t->kv_heads,
                     .d_head = t->d,
                     .scale = t->scale,
                     .q = t->q,
                     .ld_q = qw,
                     .z = t->z,
                     .ld_z = qw,
                     .pos0 = t->pos0,
                     .n_q = t->n,
                     .prefix = t->pre,
                     .own = t->own,
                     .n_prefix = t->prefix,
                     .stats = t->stats};
}

static void trial_close(struct trial *t) {
    be->kv_close(t->pre);
    be->kv_close(t->own);
    free(t->q), free(t->k), free(t->v), free(t->z), free(t->stats);
}

static void reference_scores(const struct trial *t, int64_t head, int64_t row, double *s) {
    int64_t kv = head / (t->heads / t->kv_heads);
    const float *q = t->q + (row * t->heads + head) * t->d;
    for (int64_t j = 0; j <= t->pos0 + row; j++) {
        const float *k = t->k + (j * t->kv_heads + kv) * t->d;
        s[j] = 0;
        for (int64_t i = 0; i < t->d; i++) s[j] += (double)q[i] * (double)k[i];
        s[j] *= (double)t->scale;
    }
}

static void reference_softmax(double *s, int64_t n, double *lse) {
    double max = -INFINITY, z = 0;
    for (int64_t j = 0; j < n; j++) max = fmax(max, s[j]);
    for (int64_t j = 0; j < n; j++) z += exp(s[j] - max);
    *lse = max + log(z);
    for (int64_t j = 0; j < n; j++) s[j] = max == -INFINITY ? 0 : exp(s[j] - *lse);
    if (max == -INFINITY) *lse = max;
}

// z and the summary of one row against a pattern.
static void check_row(const struct trial *t, int64_t head, int64_t row, const double *p,
                      double lse) {
    int64_t n = t->pos0 + row + 1, kv = head / (t->heads / t->kv_heads), best = 0;
    double entropy = 0, distance = 0;
    for (int64_t j = 0; j < n; j++) {
        if (p[j] > 0) entropy -= p[j] * log(p[j]);
        distance += p[j] * (double)(n - 1 - j);
        if (p[j] > p[best]) best = j;
    }
    for (int64_t i = 0; i < t->d; i++) {
        double z = 0;
        for (int64_t j = 0; j < n; j++)
            if (p[j] != 0) z += p[j] * (double)t->v[(j * t->kv_heads + kv) * t->d + i];
        near((double)t->z[(row * t->heads + head) * t->d + i], z, 1e-5, "z");
    }
    const float *st = t->stats + head * HS_N_STAT * t->n + row;
    near((double)st[HS_STAT_ENTROPY * t->n], entropy, 1e-5, "entropy");
    near((double)st[HS_STAT_MAX * t->n], p[best], 5e-6, "max");
    near((double)st[HS_STAT_LSE * t->n], lse, 1e-5, "lse");
    near((double)st[HS_STAT_FIRST * t->n], p[0], 5e-6, "first");
    near((double)st[HS_STAT_SELF * t->n], p[n - 1], 5e-6, "self");
    near((double)st[HS_STAT_PREV * t->n], n > 1 ? p[n - 2] : 0, 5e-6, "prev");
    near((double)st[HS_STAT_DISTANCE * t->n], distance, 1e-5 * (double)n, "distance");
    int64_t arg = (int64_t)st[HS_STAT_ARGMAX * t->n];
    assert_in_range(arg, 0, n - 1);
    near(p[arg], p[best], 5e-6, "argmax");
}

static void attention(hs_dev *dev) {
    static const int64_t dims[] = {1, 3, 16, 64, 80, 128};
    static const int64_t heads[][2] = {{1, 1}, {4, 2}, {6, 2}, {9, 3}};
    static const int64_t spans[][3] = {{0, 1, 0},       {0, 5, 0},    {7, 70, 0},  {130, 1, 64},
                                       {90, 9, 37},     {65, 67, 65}, {3, 130, 1}, {1500, 13, 0},
                                       {1490, 9, 1100}, {1021, 13, 0}}; // pos0, rows, prefix
    for (int i = 0; i < COUNT(dims); i++)
        for (int j = 0; j < COUNT(spans); j++) {
            const int64_t *h = heads[(i + j) % COUNT(heads)];
            struct trial t = {.heads = h[0],
                              .kv_heads = h[1],
                              .d = dims[i],
                              .pos0 = spans[j][0],
                              .n = spans[j][1],
                              .prefix = spans[j][2]};
            trial_open(&t, dev, (uint64_t)(i * 100 + j));
            assert_int_equal(be->attention(dev, &t.a, 1), 0);
            double p[2048], lse;
            for (int64_t head = 0; head < t.heads; head++)
                for (int64_t row = 0; row < t.n; row++) {
                    reference_scores(&t, head, row, p);
                    reference_softmax(p, t.pos0 + row + 1, &lse);
                    check_row(&t, head, row, p, lse);
                }
            trial_close(&t);
        }
}
static void test_attention(void **state) {
    (void)state;
    each_dev(attention);
}

// e^x through a row of two scores, {0, x}: weights 1 / (1 + e^x) and e^x / (1 + e^x).
static void exponential(hs_dev *dev) {
    hs_kv *kv;
    assert_int_equal(be->kv_open(dev, &kv, 1, 1, 2), 0);
    for (int i = 0; i <= 2000; i++) {
        float x = -0.0449f * (float)i, q = 1, k[2] = {0, x}, v[2] = {0, 1}, z;
        assert_int_equal(be->kv_put(dev, kv, 0, 2, k, 1, v, 1), 0);
        hs_attn a = {.n_head = 1,
                     .n_kv_head = 1,
                     .d_head = 1,
                     .scale = 1,
                     .q = &q,
                     .ld_q = 1,
                     .z = &z,
                     .ld_z = 1,
                     .pos0 = 1,
                     .n_q = 1,
                     .own = kv};
        assert_int_equal(be->attention(dev, &a, 1), 0);
        double e = exp((double)x), want = e / (1 + e);
        if (x < -87.68f)
            assert_true(z == 0);
        else
            near((double)z, want, 4e-7 * want, "e^x / (1 + e^x)");
    }
    be->kv_close(kv);
}
static void test_exponential(void **state) {
    (void)state;
    each_dev(exponential);
}

// ---- tiles --------------------------------------------------------------------------------------

// What the hooks of one trial do and saw.
struct watch {
    const struct trial *t;
    int bad;            // calls that were not as promised
    int calls[2][2];    // [pattern][write]
    int64_t next[2][2]; // row expected next
    void (*edit)(const hs_tile *tile);
    enum hs_point edit_at;
    int fail_after; // calls, -1 never
    double *seen;   // [n][256] last pattern read
};

// Notes what is wrong rather than asserting: this may run on a worker's thread.
static int watch_tile(void *ctx, const hs_tile *tile, bool write, int worker) {
    struct watch *w = ctx;
    int pattern = tile->point == HS_PATTERN;
    bool ok = worker >= 0 && worker < 2 && tile->layer == 2 && tile->seq == 1 && tile->head == 1 &&
              tile->row0 == w->t->pos0 + w->next[pattern][write] &&
              tile->n_key == tile->row0 + tile->n_row &&
              (tile->stats != NULL) == (pattern && !write);
    w->next[pattern][write] += tile->n_row;
    w->calls[pattern][write]++;
    // Stages come in order: scores before pattern, writing before reading.
    for (int p = 0; p <= pattern; p++)
        for (int r = 1; r >= (p == pattern ? (int)write : 0); r--)
            ok = ok && (!w->calls[p][r] || w->next[p][r] == w->next[pattern][write]);
    for (int64_t r = 0; r < tile->n_row; r++)
        for (int64_t k = 0; k < tile->n_key; k++) {
            float x = tile->row[r * tile->ld + k];
            if (k > tile->row0 + r)
                ok = ok && x == (pattern ? 0 : -INFINITY);
            else if (pattern && !write)
                w->seen[(tile->row0 + r) * 256 + k] = (double)x;
        }
    if (!ok) w->bad++;
    if (write && w->edit && tile->point == w->edit_at) w->edit(tile);
    if (w->fail_after == 0) return hs_fail(HS_ESTOP, "stopped by a hook");
    w->fail_after--;
    return HS_OK;
}

// Runs a trial with hooks of all four stages on head 1 and checks it against a reference whose
// scores or pattern `edit` changed in the same way.
static void run_edited(hs_dev *dev, int64_t tile_rows, enum hs_point at,
                       void (*edit)(const hs_tile *)) {
    struct trial t = {.heads = 4, .kv_heads = 2, .d = 16, .pos0 = 11, .n = 70, .prefix = 5};
    trial_open(&t, dev, 77);
    struct watch w = {.t = &t, .edit = edit, .edit_at = at, .fail_after = -1};
    w.seen = zeroed(256 * 256, sizeof *w.seen);
    uint8_t want[4] = {0, 15, 0, 0};
    hs_tap tap = {.ctx = &w, .tile = watch_tile, .tile_rows = tile_rows};
    t.a.tap = &tap;
    t.a.tile_want = want;
    assert_int_equal(be->attention(dev, &t.a, 1), 0);
    assert_int_equal(w.bad, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(w.next[i / 2][i % 2], t.n);
        if (tile_rows) assert_int_equal(w.calls[i / 2][i % 2], (t.n + tile_rows - 1) / tile_rows);
    }
    double p[256], lse;
    float row[256];
    for (int64_t head = 0; head < t.heads; head++)
        for (int64_t r = 0; r < t.n; r++) {
            int64_t n = t.pos0 + r + 1;
            for (int stage = 0; stage < 2; stage++) {
                if (stage)
                    reference_softmax(p, n, &lse);
                else
                    reference_scores(&t, head, r, p);
                if (head != 1 || !edit || at != (stage ? HS_PATTERN : HS_SCORES)) continue;
                for (int64_t k = 0; k < n; k++) row[k] = (float)p[k];
                edit(&(hs_tile){.row0 = t.pos0 + r, .n_row = 1, .n_key = n, .row = row, .ld = n});
                for (int64_t k = 0; k < n; k++) p[k] = (double)row[k];
            }
            check_row(&t, head, r, p, lse);
            for (int64_t k = 0; head == 1 && k < n; k++)
                near(w.seen[(t.pos0 + r) * 256 + k], p[k], 5e-6, "pattern read");
        }
    free(w.seen);
    trial_close(&t);
}

static void cut_first_scores(const hs_tile *tile) {
    for (int64_t r = 0; r < tile->n_row; r++)
        for (int64_t k = 0; k < 9; k++) tile->row[r * tile->ld + k] = -INFINITY;
}
// Rows of even position lose all their keys.
static void cut_even_rows(const hs_tile *tile) {
    for (int64_t r = 0; r < tile->n_row; r++)
        for (int64_t k = 0; (tile->row0 + r) % 2 == 0 && k <= tile->row0 + r; k++)
            tile->row[r * tile->ld + k] = -INFINITY;
}
static void halve_pattern(const hs_tile *tile) {
    for (int64_t r = 0; r < tile->n_row; r++)
        for (int64_t k = 0; k <= tile->row0 + r; k++)
            tile->row[r * tile->ld + k] *= k % 3 ? 0.5f : 0;
}

static void tiles(hs_dev *dev) {
    static const int64_t heights[] = {0, 1, 7, 64};
    for (int i = 0; i < COUNT(heights); i++) {
        run_edited(dev, heights[i], HS_SCORES, NULL);
        run_edited(dev, heights[i], HS_SCORES, cut_first_scores);
        run_edited(dev, heights[i], HS_SCORES, cut_even_rows);
        run_edited(dev, heights[i], HS_PATTERN, halve_pattern);
    }
}
static void test_tiles(void **state) {
    (void)state;
    each_dev(tiles);
}

static void failing_hook(hs_dev *dev) {
    struct trial t = {.heads = 4, .kv_heads = 2, .d = 16, .pos0 = 0, .n = 70};
    trial_open(&t, dev, 78);
    for (int after = 0; after < 4; after++) {
        struct watch w = {.t = &t, .fail_after = after};
        w.seen = zeroed(256 * 256, sizeof *w.seen);
        hs_tap tap = {.ctx = &w, .tile = watch_tile};
        uint8_t want[4] = {0, 15, 0, 0};
        t.a.tap = &tap;
        t.a.tile_want = want;
        assert_int_equal(be->attention(dev, &t.a, 1), HS_ESTOP);
        assert_string_equal(hs_errmsg(), "stopped by a hook");
        free(w.seen);
    }
    trial_close(&t);
}
static void test_failing_hook(void **state) {
    (void)state;
    each_dev(failing_hook);
}

// A NaN or infinity in a later key reaches no earlier row.
static void poison(hs_dev *dev) {
    struct trial t = {.heads = 2, .kv_heads = 1, .d = 16, .pos0 = 0, .n = 40};
    trial_open(&t, dev, 79);
    float bad[16] = {NAN, INFINITY, 1}, ok[16] = {0};
    assert_int_equal(be->kv_put(dev, t.own, 20, 1, bad, 16, bad, 16), 0);
    assert_int_equal(be->kv_put(dev, t.own, 30, 1, ok, 16, bad, 16), 0);
    assert_int_equal(be->attention(dev, &t.a, 1), 0);
    for (int64_t r = 0; r < t.n; r++)
        for (int64_t c = 0; c < 32; c++) assert_true(isnan(t.z[r * 32 + c]) == (r >= 20));
    for (int64_t h = 0; h < 2; h++)
        for (int s = 0; s < HS_N_STAT; s++)
            for (int64_t r = 0; r < 20; r++)
                assert_true(isfinite(t.stats[(h * HS_N_STAT + s) * t.n + r]));
    assert_true(isnan(t.stats[HS_STAT_MAX * t.n + 25]));
    trial_close(&t);
}
static void test_poison(void **state) {
    (void)state;
    each_dev(poison);
}

// Equal weights: the lowest key wins, whichever lane it is in.
static void ties(hs_dev *dev) {
    enum { N = 100 };
    hs_kv *kv;
    float q[N], k[N] = {0}, v[N] = {0}, z[N], stats[HS_N_STAT * N];
    for (int i = 0; i < N; i++) q[i] = 1;
    k[37] = k[38] = k[53] = k[90] = 5;
    assert_int_equal(be->kv_open(dev, &kv, 1, 1, N), 0);
    assert_int_equal(be->kv_put(dev, kv, 0, N, k, 1, v, 1), 0);
    hs_attn a = {.n_head = 1,
                 .n_kv_head = 1,
                 .d_head = 1,
                 .scale = 1,
                 .q = q,
                 .ld_q = 1,
                 .z = z,
                 .ld_z = 1,
                 .n_q = N,
                 .own = kv,
                 .stats = stats};
    assert_int_equal(be->attention(dev, &a, 1), 0);
    for (int r = 0; r < N; r++) assert_true(stats[HS_STAT_ARGMAX * N + r] == (r < 37 ? 0 : 37));
    be->kv_close(kv);
}
static void test_ties(void **state) {
    (void)state;
    each_dev(ties);
}

// ---- wrong arguments ----------------------------------------------------------------------------

static void test_wrong_arguments(void **state) {
    (void)state;
    hs_dev *dev = (void *)1;
    assert_int_equal(be->open(&dev, &(hs_dev_opts){.threads = 1, .isa = "neon9"}), HS_EARG);
    assert_null(dev);
    assert_non_null(strstr(hs_errmsg(), "neon9"));
    assert_non_null(strstr(hs_errmsg(), "generic"));
    be->close(NULL);
    be->unpack(NULL);
    be->kv_close(NULL);

    assert_int_equal(be->open(&dev, NULL), 0);
    assert_non_null(be->pool(dev));
    hs_kv *kv;
    float x[64] = {0};
    assert_int_equal(be->kv_open(dev, &kv, 1, 4, 10), 0);
    assert_int_equal(be->kv_put(dev, kv, 8, 3, x, 4, x, 4), HS_ERANGE);
    assert_int_equal(be->kv_put(dev, kv, -1, 1, x, 4, x, 4), HS_ERANGE);
    assert_int_equal(be->kv_put(dev, kv, 8, 2, x, 4, x, 4), 0);
    hs_attn a = {.n_head = 3,
                 .n_kv_head = 1,
                 .d_head = 4,
                 .scale = 1,
                 .q = x,
                 .ld_q = 12,
                 .z = x,
                 .ld_z = 12,
                 .pos0 = 10,
                 .n_q = 1,
                 .own = kv};
    assert_int_equal(be->attention(dev, &a, 1), HS_EARG); // more keys than there is room for
    a.pos0 = 2, a.n_prefix = 3;
    assert_int_equal(be->attention(dev, &a, 1), HS_EARG);
    a.n_prefix = 0, a.n_kv_head = 2;
    assert_int_equal(be->attention(dev, &a, 1), HS_EARG);
    a.n_kv_head = 1, a.n_q = 0;
    assert_int_equal(be->attention(dev, &a, 1), 0);
    be->kv_close(kv);
    assert_int_equal(be->kv_open(dev, &kv, 1 << 20, 1 << 20, INT64_C(1) << 40), HS_ENOMEM);
    assert_null(kv);
    be->close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_shapes), cmocka_unit_test(test_every_dtype),
        cmocka_unit_test(test_strides),       cmocka_unit_test(test_shared_input),
        cmocka_unit_test(test_bf16_products), cmocka_unit_test(test_refuse_infinite),
        cmocka_unit_test(test_norms),         cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_activations),   cmocka_unit_test(test_attention),
        cmocka_unit_test(test_exponential),   cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_failing_hook),  cmocka_unit_test(test_poison),
        cmocka_unit_test(test_ties),          cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
