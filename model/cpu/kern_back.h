// Gradients of row and element-wise operations: softmax, log-sum-exp, normalisation, activations. The formulas
// are in model/ref/back.c; lanes and sums go as in the kernels that are differentiated.
#ifndef HS_CPU_KERN_BACK_H
#define HS_CPU_KERN_BACK_H

#include <stdbool.h>

#include "model/cpu/kern_ops.h"

// ---- softmax ------------------------------------------------------------------------------------

static void softmax_back(float *p, float *dp, int64_t ld, int64_t m, int64_t seen, int64_t n,
                         float scale) {
    for (int64_t r = 0; r < m; r++, p += ld, dp += ld) {
        const int64_t end = seen + r < n ? seen + r : n;
        vf sum = v_zero();
        int64_t i = 0;
        for (; i + W <= end; i += W) sum = v_fma(v_load(p + i), v_load(dp + i), sum);
        if (i < end)
            sum = v_fma(v_load_n(p + i, end - i, v_zero()), v_load_n(dp + i, end - i, v_zero()),
                        sum);
        const vf mean = v_set(v_sum(sum)), by = v_set(scale);
        for (i = 0; i + W <= end; i += W)
            v_store(dp + i, v_load(p + i) * (v_load(dp + i) - mean) * by);
        for (; i < end; i++) dp[i] = p[i] * (dp[i] - mean[0]) * scale;
        for (; i < n; i++) p[i] = dp[i] = 0;
    }
}

// The log-sum-exp in two parts, so that the difference keeps its digits.
static void shares(float *x, int64_t n, double lse, float by) {
    const vf high = v_set((float)lse), low = v_set((float)(lse - (double)(float)lse));
    for (int64_t i = 0; i < n; i += W) {
        const int64_t lanes = n - i < W ? n - i : W;
        v_put(x + i, v_set(by) * v_exp(v_get(x + i, lanes, high) - high - low), lanes);
    }
}

// ---- normalisation ------------------------------------------------------------------------------

// Sums of g = dy w and of g n over a row.
struct norm_sums {
    vf g, along;
};

HS_INLINE void norm_sums_step(struct norm_sums *s, const float *dy, const float *w, const float *x,
                              int64_t n) {
    const vf g = v_get(dy, n, v_zero()) * v_get(w, n, v_zero());
    s->g += g;
    s->along = v_fma(g, v_get(x, n, v_zero()), s->along);
}

HS_INLINE void norm_back_step(float *dx, const float *dy, const float *w, const float *x, vf mean,
                              vf along, vf scale, int64_t n) {
    vf g = v_get(dy, n, v_zero()) * v_get(w, n, v_zero()) - mean;
    g = v_fma(-v_get(x, n, v_zero()), along, g);
    v_put(dx, v_get(dx, n, v_zero()) + g / scale, n);
}

static void norm_back(float *dx, const float *dy, const float *normalized, float scale, int64_t d,
                      const float *w, bool centred) {
    enum { CHAINS = 4 };
    struct norm_sums sum[CHAINS] = {0};
    int64_t i = 0;
    for (; i + CHAINS * W <= d; i += CHAINS * W)
        for (int v = 0; v < CHAINS; v++)
            norm_sums_step(&sum[v], dy + i + v * W, w + i + v * W, normalized + i + v * W, W);
    for (; i < d; i += W)
        norm_sums_step(&sum[0], dy + i, w + i, normalized + i, d - i < W ? d - i : W);
    const float g = v_sum((sum[0].g + sum[1].g) + (sum[2].g + sum[3].g));
    const float n = v_sum((sum[0].along + sum[1].along) + (sum[2].along + sum[3].along));
    const vf mean = v_set(centred ? (float)((double)g / (double)d) : 0);
    const vf along = v_set((float)((double)n / (double)d)), s = v_set(scale);
    for (i = 0; i + W <= d; i += W)
        norm_back_step(dx + i, dy + i, w + i, normalized + i, mean, along, s, W);
    if (i < d) norm_back_step(dx + i, dy + i, w + i, normalized + i, mean, along, s, d - i);
}

// ---- activations --------------------------------------------------------------------------------

struct slope {
    vf y, dy; // the activation and its slope
};

// x sigmoid(t), where dt is t's slope.
HS_INLINE struct slope sigmoid_slope(vf x, vf t, vf dt) {
    const vf s = v_set(1) / (v_set(1) + v_exp(-t));
    return (struct slope){x * s, v_fma(x * dt, s * (v_set(1) - s), s)};
}

HS_INLINE struct slope silu_slope(vf x) {
    return sigmoid_slope(x, x, v_set(1));
}
HS_INLINE struct slope gelu_quick_slope(vf x) {
    return sigmoid_slope(x, x * v_set(1.702f), v_set(1.702f));
}
// The polynomial of gelu_tanh and its slope, which from 100 on meets a 0 and must not be infinite.
HS_INLINE struct slope gelu_tanh_slope(vf x) {
    const vf a = v_set(2 * 0.7978845608f), b = v_set(2 * 0.7978845608f * 0.044715f), xx = x * x;
    return sigmoid_slope(x, x * v_fma(xx, b, a), v_fma(v_min(v_set(1e4f), xx), v_set(3) * b, a));
}
HS_INLINE struct slope relu_slope(vf x) {
    return (struct slope){relu(x), v_if_lt(v_zero(), x, v_set(1), v_zero())};
}
// Phi(x) + x phi(x), from the tail g of gelu.
HS_INLINE struct slope gelu_slope(vf x) {
    const vf g = gelu_tail(x), density = v_set(0.3989422804f) * v_exp(v_set(-0.5f) * x * x);
    return (struct slope){gelu(x), v_fma(x, density, v_if_lt(x, v_zero(), g, v_set(1) - g))};
}

HS_INLINE void act_back_step(struct slope f(vf), float *dpre, float *dlinear, const float *dy,
                             const float *pre, const float *linear, int64_t n) {
    const struct slope s = f(v_get(pre, n, v_zero()));
    vf g = v_get(dy, n, v_zero());
    if (linear) {
        const vf by = v_get(linear, n, v_zero());
        v_put(dlinear, g * s.y, n);
        g = g * by;
    }
    v_put(dpre, g * s.dy, n);
}

HS_INLINE void act_back_map(struct slope f(vf), float *dpre, float *dlinear, const float *dy,
                            const float *pre, const float *linear, int64_t n) {
    for (int64_t i = 0; i < n; i += W) {
        const int64_t lanes = n - i < W ? n - i : W;
        float *to = linear ? dlinear + i : NULL;
        const float *by = linear ? linear + i : NULL;
        if (lanes == W)
            act_back_step(f, dpre + i, to, dy + i, pre + i, by, W);
        else
            act_back_step(f, dpre + i, to, dy + i, pre + i, by, lanes);
    }
}

static void silu_back(float *dpre, float *dlinear, const float *dy, const float *pre,
                      const float *linear, int64_t n) {
    act_back_map(silu_slope, dpre, dlinear, dy, pre, linear, n);
}
static void gelu_back(float *dpre, float *dlinear, const float *dy, const float *pre,
                      const float *linear, int64_t n) {
    act_back_map(gelu_slope, dpre, dlinear, dy, pre, linear, n);
}
static void gelu_tanh_back(float *dpre, float *dlinear, const float *dy, const float *pre,
                           const float *linear, int64_t n) {
    act_back_map(gelu_tanh_slope, dpre, dlinear, dy, pre, linear, n);
}
static void gelu_quick_back(float *dpre, float *dlinear, const float *dy, const float *pre,
                            const float *linear, int64_t n) {
    act_back_map(gelu_quick_slope, dpre, dlinear, dy, pre, linear, n);
}
static void relu_back(float *dpre, float *dlinear, const float *dy, const float *pre,
                      const float *linear, int64_t n) {
    act_back_map(relu_slope, dpre, dlinear, dy, pre, linear, n);
}

#endif
