// Gradients of operations: the reference against numbers known by other means, every set of kernels
// of the CPU backend against it, and rows that give the same bits in any company.
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

static double *wide(const float *x, int64_t n) {
    double *p = zeroed(n, sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = (double)x[i];
    return p;
}

// ---- products -----------------------------------------------------------------------------------

enum { ROWS = 139 }; // more than a task takes, and no multiple of a tile

static int back(const hs_backend *be, hs_dev *dev, void *dx, int64_t ld, const hs_view *w, int n_w,
                const void *const *dy, const int64_t *ld_dy, int64_t n, enum hs_weight_mode mode) {
    hs_product_back p[3] = {{0}};
    hs_weight *packed[3];
    for (int i = 0; i < n_w; i++) {
        assert_int_equal(be->pack(dev, &packed[i], &w[i], NULL, mode), 0);
        p[i] = (hs_product_back){dy[i], ld_dy[i], packed[i]};
    }
    const int rc = be->linear_back(dev, dx, ld, p, n_w, n);
    for (int i = 0; i < n_w; i++) be->unpack(packed[i]);
    return rc;
}

// Three weights of the same inputs; the bound is so many roundings of the magnitudes' sum.
static void check_products(hs_dev *dev, hs_dev *truth, hs_dtype dtype, int64_t k, double rounded) {
    static const int64_t outputs[] = {1, 67, 300};
    const int64_t ld = k + 3;
    void *data[3];
    hs_view w[3], size_w[3];
    const void *dy[3], *wide_dy[3], *size_dy[3];
    int64_t ld_dy[3];
    for (int i = 0; i < 3; i++) {
        const int64_t n = outputs[i];
        data[i] = stored(dtype, n, k, (uint64_t)(n + k));
        w[i] = (hs_view){data[i], dtype, 2, {n, k}, {k, 1}};
        ld_dy[i] = n + 5;
        float *y = normal_floats((uint64_t)i, ROWS * ld_dy[i]), *m = zeroed(n * k, sizeof *m);
        dy[i] = y;
        wide_dy[i] = wide(y, ROWS * ld_dy[i]);
        double *size = wide(y, ROWS * ld_dy[i]);
        for (int64_t j = 0; j < ROWS * ld_dy[i]; j++) size[j] = fabs(size[j]);
        size_dy[i] = size;
        hs_dtypes[dtype].to_f32(data[i], m, n * k);
        for (int64_t j = 0; j < n * k; j++) m[j] = fabsf(m[j]);
        size_w[i] = hs_view_f32(m, n, k);
    }
    float *dx = zeroed(ROWS * ld, 4), *kept = zeroed(ROWS * ld, 4), *one = zeroed(ld, 4);
    double *want = zeroed(ROWS * ld, 8), *size = zeroed(ROWS * ld, 8);
    back(ref, truth, want, ld, w, 3, wide_dy, ld_dy, ROWS, HS_WEIGHT_EXPAND);
    back(ref, truth, size, ld, size_w, 3, size_dy, ld_dy, ROWS, HS_WEIGHT_EXPAND);
    back(cpu, dev, dx, ld, w, 3, dy, ld_dy, ROWS, HS_WEIGHT_EXPAND);
    back(cpu, dev, kept, ld, w, 3, dy, ld_dy, ROWS, HS_WEIGHT_KEEP);
    assert_memory_equal(dx, kept, (size_t)(ROWS * ld) * sizeof *dx);
    for (int64_t i = 0; i < ROWS * ld; i++)
        near((double)dx[i], want[i], (rounded + U * sqrt(368.0)) * size[i], hs_dtypes[dtype].name);
    // Nothing is written between the rows, and a row alone has the bits that it has in company.
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t i = k; i < ld; i++) assert_true(dx[r * ld + i] == 0);
    for (int64_t r = 0; r < ROWS; r += 69) {
        const void *row[3];
        for (int i = 0; i < 3; i++) row[i] = (const float *)dy[i] + r * ld_dy[i];
        back(cpu, dev, one, ld, w, 3, row, ld_dy, 1, HS_WEIGHT_KEEP);
        assert_memory_equal(one, dx + r * ld, (size_t)k * sizeof *one);
    }
    for (int i = 0; i < 3; i++) {
        free(data[i]);
        free(size_w[i].data);
        free((void *)(uintptr_t)dy[i]);
        free((void *)(uintptr_t)wide_dy[i]);
        free((void *)(uintptr_t)size_dy[i]);
    }
    free(dx), free(kept), free(one), free(want), free(size);
}

static void shapes(hs_dev *dev, hs_dev *truth, double rounded) {
    static const hs_dtype plain[] = {HS_F32, HS_F16, HS_BF16};
    static const hs_dtype blocks[] = {HS_Q8_0, HS_Q4_0, HS_Q4_1};
    static const int64_t plain_k[] = {1, 7, 65, 193}, block_k[] = {32, 96, 576};
    for (int t = 0; t < 3; t++) {
        for (int k = 0; k < COUNT(plain_k); k++)
            check_products(dev, truth, plain[t], plain_k[k], rounded);
        for (int k = 0; k < COUNT(block_k); k++)
            check_products(dev, truth, blocks[t], block_k[k], rounded);
    }
}
static void exact_products(hs_dev *dev, hs_dev *truth) {
    shapes(dev, truth, 0);
}
// Weights are rounded when they are packed, what comes back is not.
static void bf16_products(hs_dev *dev, hs_dev *truth) {
    shapes(dev, truth, 0x1p-8);
}

static void test_products(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, exact_products);
    on_each_dev(HS_PREC_BF16, bf16_products);
    // 2 rows by hand: W = [1 2; 3 4; 5 6], stored rows in another order, and a second weight.
    hs_dev *dev = open_ref();
    double a[] = {5, 6, 1, 2, 3, 4}, b[] = {10, 20}, dy[] = {1, 2, 3, 0, -1, 1}, db[] = {1, -1};
    const int32_t row_of[] = {1, 2, 0};
    double dx[4];
    hs_weight *w[2];
    const hs_view va = {a, HS_F64, 2, {3, 2}, {2, 1}}, vb = {b, HS_F64, 2, {1, 2}, {2, 1}};
    assert_int_equal(ref->pack(dev, &w[0], &va, row_of, HS_WEIGHT_KEEP), 0);
    assert_int_equal(ref->pack(dev, &w[1], &vb, NULL, HS_WEIGHT_KEEP), 0);
    const hs_product_back p[] = {{dy, 3, w[0]}, {db, 1, w[1]}};
    assert_int_equal(ref->linear_back(dev, dx, 2, p, 2, 2), 0);
    assert_true(dx[0] == 22 + 10 && dx[1] == 28 + 20 && dx[2] == 2 - 10 && dx[3] == 2 - 20);
    ref->unpack(w[0]);
    ref->unpack(w[1]);
    ref->close(dev);
}

// ---- rows ---------------------------------------------------------------------------------------

static void norms(hs_dev *dev, hs_dev *truth) {
    static const int64_t dims[] = {1, 3, 17, 64, 576, 1000};
    enum { N_ROW = 5 };
    for (int i = 0; i < 2 * COUNT(dims); i++) {
        const int64_t d = dims[i / 2], n = N_ROW * d;
        const enum hs_norm kind = i % 2 ? HS_NORM_LAYER : HS_NORM_RMS;
        float *x = normal_floats(1, n), *w = normal_floats(2, d), *dy = normal_floats(3, n);
        float *dx = normal_floats(4, n), scale[N_ROW];
        double *want = wide(dx, n), *wide_x = wide(x, n), *wide_dy = wide(dy, n);
        double wide_scale[N_ROW];
        for (int r = 0; r < N_ROW; r++) wide_scale[r] = (double)(scale[r] = 0.25f * (float)(r + 1));
        assert_int_equal(cpu->norm_back(dev, dx, dy, x, scale, N_ROW, d, w, kind), 0);
        assert_int_equal(
            ref->norm_back(truth, want, wide_dy, wide_x, wide_scale, N_ROW, d, w, kind), 0);
        all_near(dx, want, n, 2e-5, "norm");
        free(x), free(w), free(dy), free(dx), free(want), free(wide_x), free(wide_dy);
    }
}

static void test_norms(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, norms);
    // Against differences of the norm itself.
    hs_dev *dev = open_ref();
    enum { D = 7 };
    const float w[D] = {1, -2, 0.5f, 3, 1, 1, -1};
    const double dy[D] = {1, 2, -1, 0.5, 0, -3, 1}, h = 1e-5;
    for (int kind = HS_NORM_RMS; kind <= HS_NORM_LAYER; kind++) {
        double x[D] = {3, 1, -2, 0.5, 4, -1, 2}, n[D], y[D], s, dx[D] = {0};
        assert_int_equal(ref->norm_scale(dev, &s, n, x, 1, D, (enum hs_norm)kind, 0.1), 0);
        assert_int_equal(ref->norm_back(dev, dx, dy, n, &s, 1, D, w, (enum hs_norm)kind), 0);
        for (int i = 0; i < D; i++) {
            double sum[2] = {0};
            for (int side = 0; side < 2; side++) {
                const double was = x[i];
                x[i] += side ? h : -h;
                ref->norm_scale(dev, &s, n, x, 1, D, (enum hs_norm)kind, 0.1);
                ref->norm_gain(dev, y, n, 1, D, w, NULL);
                for (int k = 0; k < D; k++) sum[side] += dy[k] * y[k];
                x[i] = was;
            }
            near(dx[i], (sum[1] - sum[0]) / (2 * h), 1e-8, "norm");
        }
    }
    assert_int_equal(ref->norm_back(dev, NULL, NULL, NULL, NULL, 0, D, w, HS_NORM_NONE), HS_EARG);
    ref->close(dev);
}

static void activations(hs_dev *dev, hs_dev *truth) {
    enum { N = 4001 };
    static const double edges[] = {0, -0.0, 1e-30, -1e-30, 60, -60, 1e4, -1e4, 1e30, -1e30};
    float *x = zeroed(N, 4), *gate = normal_floats(2, N), *dy = normal_floats(3, N);
    float *dpre = zeroed(N, 4), *dgate = zeroed(N, 4);
    double *want = zeroed(N, 8), *want_gate = zeroed(N, 8);
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) / 100;
    for (int i = 0; i < COUNT(edges); i++) x[i] = (float)edges[i];
    double *wx = wide(x, N), *wgate = wide(gate, N), *wdy = wide(dy, N);
    for (int kind = 0; kind < HS_ACT_N; kind++)
        for (int gated = 0; gated < 2; gated++) {
            const enum hs_act act = (enum hs_act)kind;
            const float *by = gated ? gate : NULL;
            assert_int_equal(cpu->act_back(dev, dpre, dgate, dy, x, by, N, act), 0);
            assert_int_equal(
                ref->act_back(truth, want, want_gate, wdy, wx, gated ? wgate : NULL, N, act), 0);
            for (int i = 0; i < N; i++) {
                const double size = fabs((double)dy[i]);
                near((double)dpre[i], want[i],
                     2e-6 * size * (gated ? fabs((double)gate[i]) : 1) + 1e-30, "slope");
                if (gated)
                    near((double)dgate[i], want_gate[i], 6e-7 * size * fabs((double)x[i]) + 1e-30,
                         "gate");
            }
            // In place.
            float *p = zeroed(N, 4), *g = zeroed(N, 4);
            memcpy(p, x, N * sizeof *p);
            memcpy(g, gate, N * sizeof *g);
            assert_int_equal(cpu->act_back(dev, p, g, dy, p, gated ? g : NULL, N, act), 0);
            assert_memory_equal(p, dpre, N * sizeof *p);
            assert_memory_equal(g, gated ? dgate : gate, N * sizeof *g);
            free(p), free(g);
        }
    free(x), free(gate), free(dy), free(dpre), free(dgate), free(want), free(want_gate);
    free(wx), free(wgate), free(wdy);
}

static void test_activations(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, activations);
    hs_dev *dev = open_ref();
    static const double at[] = {-4, -1.5, -0.3, 0.2, 1, 3};
    for (int kind = 0; kind < HS_ACT_N; kind++)
        for (int i = 0; i < COUNT(at); i++) {
            const double h = 1e-4, one = 1;
            double x[4] = {at[i] + h, at[i] - h, at[i] + 2 * h, at[i] - 2 * h}, y[4], slope;
            ref->act(dev, y, x, NULL, 4, (enum hs_act)kind);
            ref->act_back(dev, &slope, NULL, &one, &at[i], NULL, 1, (enum hs_act)kind);
            near(slope, (8 * (y[0] - y[1]) - (y[2] - y[3])) / (12 * h), 1e-10, "slope");
        }
    double zero = 0, one = 1, slope;
    ref->act_back(dev, &slope, NULL, &one, &zero, NULL, 1, HS_ACT_RELU);
    assert_true(slope == 0);
    ref->close(dev);
}

static void softmaxes(hs_dev *dev, hs_dev *truth) {
    static const int64_t sizes[] = {1, 5, 16, 49, 1003};
    enum { N_ROW = 3 };
    for (int i = 0; i < COUNT(sizes); i++) {
        const int64_t n = sizes[i], ld = n + 2;
        float *x = normal_floats(1, N_ROW * ld), *y = zeroed(N_ROW * ld, 4);
        double lse[N_ROW];
        for (int64_t k = 0; k < N_ROW * ld; k++) x[k] = x[k] * 8 + 300; // digits are lost to 300
        memcpy(y, x, (size_t)(N_ROW * ld) * sizeof *y);
        assert_int_equal(ref->log_sum_exp(truth, lse, x, ld, N_ROW, n), 0);
        assert_int_equal(ref->softmax(truth, y, ld, lse, N_ROW, n, 0.5f), 0);
        assert_int_equal(cpu->softmax(dev, x, ld, lse, N_ROW, n, 0.5f), 0);
        for (int64_t r = 0; r < N_ROW; r++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++) {
                near((double)x[r * ld + k], (double)y[r * ld + k],
                     1e-6 * (double)y[r * ld + k] + 1e-10, "softmax");
                sum += (double)x[r * ld + k];
            }
            near(sum, 0.5, 1e-6, "sum");
            assert_memory_equal(x + r * ld + n, y + r * ld + n, 2 * sizeof *x);
        }
        free(x), free(y);
    }
}
static void test_softmaxes(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, softmaxes);
}

// ---- attention ----------------------------------------------------------------------------------

struct problem {
    int64_t heads, kv_heads, d;
    int n_seq;
    int64_t n[4];
    bool masked; // of the even heads, by mask_tile
};
struct grads {
    float *dq, *dk, *dv;
};

static int64_t rows_of(const struct problem *p) {
    int64_t n = 0;
    for (int s = 0; s < p->n_seq; s++) n += p->n[s];
    return n;
}

// Leaves keys 0, 1 and the last 7; row 3 sees none.
static int mask_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    (void)ctx, (void)worker;
    assert_true(write && t->point == HS_SCORES && t->layer == 5 && t->head % 2 == 0);
    for (int64_t r = 0; r < t->n_row; r++)
        for (int64_t k = 0; k < t->n_key; k++) {
            const int64_t i = t->row0 + r;
            float *x = t->row + r * t->ld + k;
            assert_true(k <= i || *x == -INFINITY);
            if (i == 3 || (k >= 2 && i - k >= 7)) *x = -INFINITY;
        }
    return HS_OK;
}
static const hs_tap mask_tap = {.tile = mask_tile};
static const uint8_t mask_want[] = {[0] = HS_TILE_WRITE_SCORES,
                                    [2] = HS_TILE_WRITE_SCORES,
                                    [4] = HS_TILE_WRITE_SCORES,
                                    [6] = HS_TILE_WRITE_SCORES,
                                    [8] = HS_TILE_WRITE_SCORES};

// Rows are 3 numbers longer than their heads. `first`: only the sequences from there on.
static void differentiate(const hs_backend *be, hs_dev *dev, const struct problem *p, int first,
                          int n_seq, void *dq, void *dk, void *dv) {
    const int64_t rows = rows_of(p), qw = p->heads * p->d + 3, kw = p->kv_heads * p->d + 3;
    const int64_t size[] = {rows * qw, rows * kw, rows * kw, rows * qw};
    void *in[4];
    int64_t seq[5] = {0};
    for (int s = 0; s < p->n_seq; s++) seq[s + 1] = seq[s] + p->n[s];
    for (int i = 0; i < 4; i++) {
        float *x = normal_floats((uint64_t)i + 1, size[i]);
        in[i] = zeroed(size[i], (size_t)hs_dtypes[be->dtype].bytes);
        hs_elem_from_f32(be->dtype, in[i], x, size[i]);
        free(x);
    }
    const hs_attn_back a = {.n_head = p->heads,
                            .n_kv_head = p->kv_heads,
                            .d_head = p->d,
                            .scale = 1 / sqrt((double)p->d),
                            .seq = seq + first,
                            .n_seq = n_seq,
                            .q = in[0],
                            .k = in[1],
                            .v = in[2],
                            .ld_q = qw,
                            .ld_kv = kw,
                            .dz = in[3],
                            .dq = dq,
                            .dk = dk,
                            .dv = dv,
                            .edits = &mask_tap,
                            .layer = 5,
                            .tile_want = p->masked ? mask_want : NULL};
    assert_int_equal(be->attention_back(dev, &a), 0);
    for (int i = 0; i < 4; i++) free(in[i]);
}

static struct grads room_for(const struct problem *p) {
    const int64_t rows = rows_of(p), qw = p->heads * p->d + 3, kw = p->kv_heads * p->d + 3;
    return (struct grads){zeroed(rows * qw, 4), zeroed(rows * kw, 4), zeroed(rows * kw, 4)};
}
static void free_grads(struct grads *g) {
    free(g->dq), free(g->dk), free(g->dv);
}

static void same_rows(const struct problem *p, int64_t from, int64_t n, const struct grads *a,
                      const struct grads *b) {
    const int64_t qw = p->heads * p->d + 3, kw = p->kv_heads * p->d + 3;
    assert_memory_equal(a->dq + from * qw, b->dq + from * qw, (size_t)(n * qw) * 4);
    assert_memory_equal(a->dk + from * kw, b->dk + from * kw, (size_t)(n * kw) * 4);
    assert_memory_equal(a->dv + from * kw, b->dv + from * kw, (size_t)(n * kw) * 4);
}

static const struct problem problems[] = {
    {1, 1, 1, 1, {1}, false},
    {1, 1, 3, 2, {66, 5}, false},
    {9, 3, 64, 4, {64, 1, 130, 17}, false},
    {4, 4, 33, 2, {65, 12}, false},
    {6, 1, 16, 2, {3, 200}, false},
    {2, 2, 80, 1, {97}, false},
    {2, 1, 20, 2, {1100, 63}, false},
    {1, 1, 8, 1, {2300}, false},
    {9, 3, 64, 4, {64, 1, 130, 17}, true},
    {2, 1, 20, 2, {1100, 63}, true},
};

static void attention(hs_dev *dev, hs_dev *truth) {
    for (int i = 0; i < COUNT(problems); i++) {
        const struct problem *p = &problems[i];
        const int64_t rows = rows_of(p), qw = p->heads * p->d + 3, kw = p->kv_heads * p->d + 3;
        struct grads got = room_for(p), own = room_for(p);
        double *dq = zeroed(rows * qw, 8), *dk = zeroed(rows * kw, 8), *dv = zeroed(rows * kw, 8);
        differentiate(cpu, dev, p, 0, p->n_seq, got.dq, got.dk, got.dv);
        differentiate(ref, truth, p, 0, p->n_seq, dq, dk, dv);
        all_near(got.dq, dq, rows * qw, 1e-5, "dq");
        all_near(got.dk, dk, rows * kw, 1e-4, "dk");
        all_near(got.dv, dv, rows * kw, 1e-4, "dv");
        // A sequence on its own.
        for (int s = 0; s < p->n_seq; s++) differentiate(cpu, dev, p, s, 1, own.dq, own.dk, own.dv);
        same_rows(p, 0, rows, &got, &own);
        free(dq), free(dk), free(dv);
        free_grads(&got);
        free_grads(&own);
    }
}

// What no row sees gets no gradient, and a row that sees nothing sends none.
static void masked_keys(hs_dev *dev) {
    const struct problem p = {1, 1, 4, 1, {40}, true};
    enum { LD = 4 + 3 };
    double *dq = zeroed(40 * LD, 8), *dk = zeroed(40 * LD, 8), *dv = zeroed(40 * LD, 8);
    const double none[4] = {0};
    differentiate(ref, dev, &p, 0, 1, dq, dk, dv);
    assert_memory_equal(dq + 3 * LD, none, sizeof none);
    assert_true(fabs(dv[39 * LD]) > 0 && fabs(dk[10 * LD]) > 0);
    free(dq), free(dk), free(dv);
}

// One thread, and more than there are heads.
static void threads(const char *isa) {
    for (int i = 0; i < COUNT(problems); i++) {
        const struct problem *p = &problems[i];
        struct grads g[2];
        for (int many = 0; many < 2; many++) {
            hs_dev *dev;
            assert_int_equal(cpu->open(&dev, &(hs_dev_opts){.threads = many ? 3 : 1, .isa = isa}),
                             0);
            g[many] = room_for(p);
            differentiate(cpu, dev, p, 0, p->n_seq, g[many].dq, g[many].dk, g[many].dv);
            cpu->close(dev);
        }
        same_rows(p, 0, rows_of(p), &g[0], &g[1]);
        free_grads(&g[0]);
        free_grads(&g[1]);
    }
}

static void test_attention(void **state) {
    (void)state;
    on_each_dev(HS_PREC_EXACT, attention);
    on_each_isa(threads);
    hs_dev *dev = open_ref();
    masked_keys(dev);
    const hs_attn_back bad = {.n_head = 3, .n_kv_head = 2, .d_head = 4};
    assert_int_equal(ref->attention_back(dev, &bad), HS_EARG);
    ref->close(dev);
    assert_int_equal(cpu->open(&dev, &(hs_dev_opts){.threads = 1}), 0);
    assert_int_equal(cpu->attention_back(dev, &bad), HS_EARG);
    cpu->close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),    cmocka_unit_test(test_norms),
        cmocka_unit_test(test_activations), cmocka_unit_test(test_softmaxes),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
