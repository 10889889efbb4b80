// Element-wise and row kernels: normalisation, rotation, activations.
//
// A loop's body is an inline function of (position, lanes), called with W lanes and once more for
// the tail, so that an element gets the same arithmetic wherever it stands.
#ifndef HS_CPU_KERN_OPS_H
#define HS_CPU_KERN_OPS_H

#include <stdbool.h>

#include "model/cpu/vec.h"

// ---- normalisation ------------------------------------------------------------------------------

// Sum over a row of (x - shift), or of its square. Four vectors of partial sums keep the chains
// short, for accuracy more than for speed: at d = 8192 a lane adds 128 numbers.
HS_INLINE float row_sum(const float *x, int64_t d, float shift, const bool square) {
    enum { CHAINS = 4 };
    vf sum[CHAINS] = {0}, c = v_set(shift);
    int64_t i = 0;
    for (; i + CHAINS * W <= d; i += CHAINS * W)
        for (int v = 0; v < CHAINS; v++) {
            vf t = v_load(x + i + v * W) - c;
            sum[v] = square ? v_fma(t, t, sum[v]) : sum[v] + t;
        }
    for (; i < d; i += W) {
        vf t = v_get(x + i, d - i < W ? d - i : W, c) - c;
        sum[0] = square ? v_fma(t, t, sum[0]) : sum[0] + t;
    }
    return v_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// y = (x - shift) / scale.
HS_INLINE void normalize(float *y, const float *x, int64_t d, float shift, float scale) {
    vf c = v_set(shift), s = v_set(scale);
    int64_t i = 0;
    for (; i + W <= d; i += W) v_store(y + i, (v_load(x + i) - c) / s);
    if (i < d) v_store_n(y + i, (v_load_n(x + i, d - i, c) - c) / s, d - i);
}

static float norm_rms(float *y, const float *x, int64_t d, double eps) {
    float scale = (float)sqrt((double)row_sum(x, d, 0, true) / (double)d + eps);
    normalize(y, x, d, 0, scale);
    return scale;
}

static float norm_layer(float *y, const float *x, int64_t d, double eps) {
    float mean = (float)((double)row_sum(x, d, 0, false) / (double)d);
    float scale = (float)sqrt((double)row_sum(x, d, mean, true) / (double)d + eps);
    normalize(y, x, d, mean, scale);
    return scale;
}

HS_INLINE void gain_step(float *y, const float *x, const float *w, const float *b, int64_t n) {
    vf g = v_get(w, n, v_zero()), t = v_get(x, n, v_zero());
    v_put(y, b ? v_fma(t, g, v_get(b, n, v_zero())) : t * g, n);
}

static void norm_gain(float *y, const float *x, int64_t d, const float *w, const float *b) {
    int64_t i = 0;
    for (; i + W <= d; i += W) gain_step(y + i, x + i, w + i, b ? b + i : NULL, W);
    if (i < d) gain_step(y + i, x + i, w + i, b ? b + i : NULL, d - i);
}

// ---- rotation -----------------------------------------------------------------------------------

// Products are rounded before they are added, as x * cos + rotate_half(x) * sin is.
HS_INLINE void rope_step(float *lo, float *hi, const float *cosine, const float *sine, int64_t n) {
    vf a = v_get(lo, n, v_zero()), b = v_get(hi, n, v_zero());
    vf c = v_get(cosine, n, v_zero()), s = v_get(sine, n, v_zero());
    v_put(lo, a * c - b * s, n);
    v_put(hi, b * c + a * s, n);
}

static void rope(float *x, int64_t n_head, int64_t d_head, int64_t rope_dim, const float *cos_sin) {
    int64_t half = rope_dim / 2;
    for (int64_t h = 0; h < n_head; h++, x += d_head) {
        int64_t i = 0;
        for (; i + W <= half; i += W)
            rope_step(x + i, x + half + i, cos_sin + i, cos_sin + half + i, W);
        if (i < half) rope_step(x + i, x + half + i, cos_sin + i, cos_sin + half + i, half - i);
    }
}

// ---- element-wise -------------------------------------------------------------------------------

static void add(float *y, const float *a, const float *b, int64_t n) {
    int64_t i = 0;
    for (; i + W <= n; i += W) v_store(y + i, v_load(a + i) + v_load(b + i));
    for (; i < n; i++) y[i] = a[i] + b[i];
}

HS_INLINE vf sigmoid_times(vf x, vf t) {
    return x / (v_set(1) + v_exp(-t));
}

HS_INLINE vf silu(vf x) {
    return sigmoid_times(x, x);
}
HS_INLINE vf gelu_quick(vf x) {
    return sigmoid_times(x, x * v_set(1.702f));
}
HS_INLINE vf relu(vf x) {
    return v_max(v_zero(), x);
} // in this order a NaN stays

// x (1 + tanh u) / 2 = x sigmoid(2u), which loses nothing where tanh u is near -1;
// u = sqrt(2 / pi) (x + 0.044715 x^3).
HS_INLINE vf gelu_tanh(vf x) {
    vf t = v_fma(x * x, v_set(2 * 0.7978845608f * 0.044715f), v_set(2 * 0.7978845608f));
    return sigmoid_times(x, x * t);
}

// g(|x|), g(a) = erfc(a / sqrt 2) / 2 = exp(-a P(a)) / 2. P was fitted on [0, 13] with Remez' method
// so that a g(a) is right within 6e-9; beyond, g is 0 in f32.
HS_INLINE vf gelu_tail(vf x) {
    static const float coef[] = {
        1.007016276e-8f, -3.966140399e-7f, 6.120444561e-6f, -4.745965928e-5f, 1.821940006e-4f,
        1.48735316e-5f,  -4.827490303e-3f, 3.63561469e-2f,  3.183055971e-1f,  7.97884854e-1f,
    };
    vf a = v_min(v_set(13), v_max(-x, x)), p = v_set(coef[0]);
    for (int i = 1; i < (int)(sizeof coef / sizeof *coef); i++) p = v_fma(p, a, v_set(coef[i]));
    return v_set(0.5f) * v_exp(-a * p);
}
// x Phi(x) = max(x, 0) - |x| g(|x|).
HS_INLINE vf gelu(vf x) {
    return relu(x) - v_min(v_set(13), v_max(-x, x)) * gelu_tail(x);
}

HS_INLINE void act_step(vf f(vf), float *y, const float *pre, const float *linear, int64_t n) {
    vf t = f(v_get(pre, n, v_zero()));
    v_put(y, linear ? t * v_get(linear, n, v_zero()) : t, n);
}

HS_INLINE void act_map(vf f(vf), float *y, const float *pre, const float *linear, int64_t n) {
    int64_t i = 0;
    for (; i + W <= n; i += W) act_step(f, y + i, pre + i, linear ? linear + i : NULL, W);
    if (i < n) act_step(f, y + i, pre + i, linear ? linear + i : NULL, n - i);
}

static void act_silu(float *y, const float *pre, const float *linear, int64_t n) {
    act_map(silu, y, pre, linear, n);
}
static void act_gelu(float *y, const float *pre, const float *linear, int64_t n) {
    act_map(gelu, y, pre, linear, n);
}
static void act_gelu_tanh(float *y, const float *pre, const float *linear, int64_t n) {
    act_map(gelu_tanh, y, pre, linear, n);
}
static void act_gelu_quick(float *y, const float *pre, const float *linear, int64_t n) {
    act_map(gelu_quick, y, pre, linear, n);
}
static void act_relu(float *y, const float *pre, const float *linear, int64_t n) {
    act_map(relu, y, pre, linear, n);
}

#endif
