// Softmax of one row of attention and its summary.
//
//     scores -> largest m -> e_j = exp(s_j - m), Z = sum e_j -> A_j = e_j / Z
//
// Lane j mod W gathers entry j, so sums depend on the row's own length only. The summary rides
// along: entropy is ln Z - sum e_j (s_j - m) / Z, one multiply-add in the exponential's pass; the
// rest comes from the pattern itself in the last pass, with the bits a reader of it would see.
#ifndef HS_CPU_KERN_SOFTMAX_H
#define HS_CPU_KERN_SOFTMAX_H

#include <stdbool.h>
#include <stddef.h>

#include "model/cpu/vec.h"
#include "model/tap.h"

static float scale_max(float *s, int64_t n, float scale) {
    vf k = v_set(scale), low = v_set(-INFINITY), most[4] = {low, low, low, low};
    int64_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W)
        for (int v = 0; v < 4; v++) {
            vf t = v_load(s + i + v * W) * k;
            v_store(s + i + v * W, t);
            most[v] = v_max(most[v], t);
        }
    for (; i + W <= n; i += W) {
        vf t = v_load(s + i) * k;
        v_store(s + i, t);
        most[0] = v_max(most[0], t);
    }
    for (; i < n; i++) s[i] *= scale;
    if (n % W) most[0] = v_max(most[0], v_load_n(s + n - n % W, n % W, low));
    return v_largest(v_max(v_max(most[0], most[1]), v_max(most[2], most[3])));
}

struct exp_sums {
    vf z, moment; // sum e_j, sum e_j (s_j - m)
};

// The clamp keeps 0 * -inf out of the moment; its order lets a NaN through.
HS_INLINE void exp_step(struct exp_sums *sum, float *s, vf max, int64_t n, const bool summary) {
    vf t = v_max(v_set(-104), v_get(s, n, v_set(-INFINITY)) - max);
    vf e = v_exp(t);
    v_put(s, e, n);
    sum->z += e;
    if (summary) sum->moment = v_fma(e, t, sum->moment);
}

// One vector of the pattern and its part of the mean distance; away: how far its keys are.
HS_INLINE vf scale_step(float *s, vf inv, vf away, vf distance, int64_t n) {
    vf p = v_get(s, n, v_zero()) * inv;
    v_put(s, p, n);
    return v_fma(away, p, distance);
}

// The lowest key that weighs x; 0 where none does (a row of NaN).
static int64_t first_equal(const float *p, int64_t n, float x) {
    int64_t i = 0;
    for (vf most = v_set(x); i + W <= n; i += W) {
        uint32_t bits = v_equal_bits(v_load(p + i), most);
        if (bits) return i + __builtin_ctz(bits);
    }
    for (; i < n; i++)
        if (p[i] == x) return i;
    return 0;
}

HS_INLINE void softmax_row(float *s, int64_t n, float max, float *stats, int64_t ld,
                           const bool summary) {
    struct exp_sums es = {v_zero(), v_zero()};
    vf m = v_set(max);
    int64_t i = 0;
    for (; i + W <= n; i += W) exp_step(&es, s + i, m, W, summary);
    if (i < n) exp_step(&es, s + i, m, n - i, summary);
    float z = v_sum(es.z), inv = 1 / z;

    vf away = v_set((float)(n - 1)) - v_lane(), distance = v_zero();
    for (i = 0; i + W <= n; i += W, away -= v_set(W))
        distance = scale_step(s + i, v_set(inv), away, distance, W);
    if (i < n) distance = scale_step(s + i, v_set(inv), away, distance, n - i);
    if (!summary) return;

    float lnz = logf(z);
    stats[HS_STAT_ENTROPY * ld] = lnz - v_sum(es.moment) / z;
    stats[HS_STAT_MAX * ld] = inv; // the largest score's exponential is exactly 1
    stats[HS_STAT_ARGMAX * ld] = (float)first_equal(s, n, inv);
    stats[HS_STAT_LSE * ld] = max + lnz;
    stats[HS_STAT_FIRST * ld] = s[0];
    stats[HS_STAT_SELF * ld] = s[n - 1];
    stats[HS_STAT_PREV * ld] = n > 1 ? s[n - 2] : 0;
    stats[HS_STAT_DISTANCE * ld] = v_sum(distance);
}

static void softmax(float *s, int64_t n, float max, float *stats, int64_t ld) {
    if (max == -INFINITY) {
        memset(s, 0, (size_t)n * sizeof *s);
        for (int k = 0; stats && k < HS_N_STAT; k++) stats[k * ld] = 0;
        if (stats) stats[HS_STAT_LSE * ld] = -INFINITY;
    } else if (stats) {
        softmax_row(s, n, max, stats, ld, true);
    } else {
        softmax_row(s, n, max, NULL, 0, false);
    }
}

#endif
