// Reductions of one row of logits: sum of exponentials, divergence of two rows.
//
// Lane j mod W gathers entry j for a short run of vectors, then lanes and runs are added in double,
// so that a row of 100,000 is as exact as one of 100.
//
// Divergences of an edit are often tiny differences of large sums, so they are summed as terms none
// of which is negative. With t = ln(p / q) of a token:
//     KL  = sum p ln(p / q) = sum (p t + q - p) = sum p (e^-t - 1 + t), since p and q both sum to 1
//     JSD = sum m phi(t),  m = (p + q) / 2,  phi(t) = ln 2 - ln(1 + e^-|t|) - |t| / (1 + e^|t|)
// and both brackets are 0 at t = 0 with their slopes: there they are taken from Taylor's series.
#ifndef HS_CPU_KERN_REDUCE_H
#define HS_CPU_KERN_REDUCE_H

#include <stdbool.h>

#include "model/cpu/vec.h"

enum { REDUCE_RUN = 8 }; // vectors added in f32

static double sum_exp(const float *x, int64_t n, float *max) {
    const vf low = v_set(-INFINITY);
    vf top = low;
    for (int64_t i = 0; i < n; i += W) top = v_max(v_get(x + i, n - i < W ? n - i : W, low), top);
    *max = v_largest(top);
    const vf m = v_set(*max), least = v_set(-88);
    double sum = 0;
    for (int64_t i = 0; i < n;) {
        vf run = v_zero();
        for (int k = 0; k < REDUCE_RUN && i < n; k++, i += W)
            run += v_exp_neg(v_max(least, v_get(x + i, n - i < W ? n - i : W, low) - m));
        sum += (double)v_sum(run);
    }
    return sum;
}

// What a row's numbers are taken relative to: ln of their sums in two parts, so that x - ln keeps
// the digits of what is left, and their difference.
struct diverge_row {
    vf a, a_rest, b, b_rest, shift;
};
struct diverge_sums {
    vf kl, jsd;
};

HS_INLINE vf polynomial(const float *coef, const int n, vf x) {
    vf y = v_set(coef[0]);
    for (int i = 1; i < n; i++) y = v_fma(y, x, v_set(coef[i]));
    return y;
}

// e^-t - 1 + t, times p. tau = |t|, v = e^-tau, big = max(p, q).
HS_INLINE vf kl_term(vf t, vf tau, vf v, vf big) {
    static const float taylor[] = {1.f / 40320, 1.f / 5040, 1.f / 720, 1.f / 120,
                                   1.f / 24,    1.f / 6,    1.f / 2};
    const vf zero = v_zero(), one = v_set(1), p = v_if_lt(t, zero, big * v, big);
    const vf small = p * (t * t) * polynomial(taylor, 7, -t);
    const vf large = big * v_if_lt(t, zero, (one - v) - v * tau, (tau - one) + v);
    return v_if_lt(tau, v_set(.5f), small, large);
}

// phi(t).
HS_INLINE vf jsd_term(vf tau, vf v) {
    static const float taylor[] = {2.0358566e-7f, -1.9835529e-6f, 1.9221230e-5f, -1.8446181e-4f,
                                   1.f / 576,     -1.f / 64,      1.f / 8};
    static const float atanh[] = {1.f / 9, 1.f / 7, 1.f / 5, 1.f / 3, 1};
    const vf square = tau * tau, small = square * polynomial(taylor, 7, square);
    const vf z = v / (v_set(2) + v); // ln(1 + v) = 2 artanh z
    const vf ln = v_set(2) * z * polynomial(atanh, 5, z * z);
    const vf large = (v_set(.693147181f) - ln) - v * tau / (v_set(1) + v);
    return v_if_lt(tau, v_set(1), small, large);
}

// Tokens that neither row allows (-inf) have no t: the first v_max gives them one, and weight 0.
HS_INLINE void diverge_step(struct diverge_sums *sum, const struct diverge_row *row, vf a, vf b,
                            const bool jsd) {
    const vf huge = v_set(3e38f), least = v_set(-88);
    const vf t = v_min(v_max((a - b) - row->shift, -huge), huge), tau = v_max(t, -t);
    const vf v = v_exp_neg(v_max(least, -tau));
    const vf ln_p = (a - row->a) - row->a_rest, ln_q = (b - row->b) - row->b_rest;
    const vf big = v_exp_neg(v_max(least, v_max(ln_p, ln_q)));
    sum->kl += kl_term(t, tau, v, big);
    if (jsd) sum->jsd = v_fma(big * v_set(.5f) * (v_set(1) + v), jsd_term(tau, v), sum->jsd);
}

HS_INLINE void diverge_all(double *out, const float *a, double lse_a, const float *b, double lse_b,
                           int64_t n, const bool jsd) {
    const vf low = v_set(-INFINITY);
    const struct diverge_row row = {.a = v_set((float)lse_a),
                                    .a_rest = v_set((float)(lse_a - (double)(float)lse_a)),
                                    .b = v_set((float)lse_b),
                                    .b_rest = v_set((float)(lse_b - (double)(float)lse_b)),
                                    .shift = v_set((float)(lse_a - lse_b))};
    for (int64_t i = 0; i < n;) {
        struct diverge_sums run = {v_zero(), v_zero()};
        for (int k = 0; k < REDUCE_RUN && i < n; k++, i += W) {
            const int64_t left = n - i < W ? n - i : W;
            diverge_step(&run, &row, v_get(a + i, left, low), v_get(b + i, left, low), jsd);
        }
        out[0] += (double)v_sum(run.kl);
        if (jsd) out[1] += (double)v_sum(run.jsd);
    }
}

static void diverge(double *kl, double *jsd, const float *a, double lse_a, const float *b,
                    double lse_b, int64_t n) {
    double sum[2] = {0, 0};
    if (jsd)
        diverge_all(sum, a, lse_a, b, lse_b, n, true);
    else
        diverge_all(sum, a, lse_a, b, lse_b, n, false);
    if (kl) *kl = sum[0];
    if (jsd) *jsd = sum[1];
}

#endif
