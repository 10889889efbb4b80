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

static void largest(const float *s, int64_t ld_s, float *most, int64_t m, int64_t seen, int64_t n) {
    const vf low = v_set(-INFINITY);
    for (int64_t r = 0; r < m; r++, s += ld_s) {
        const int64_t end = seen + r < n ? seen + r : n;
        vf top = low;
        int64_t i = 0;
        for (; i + W <= end; i += W) top = v_max(v_load(s + i), top);
        if (i < end) top = v_max(v_load_n(s + i, end - i, low), top);
        v_store(most + r * W, top);
    }
}

struct exp_sums {
    vf z, moment; // sum e_j, sum e_j (s_j - m)
};

// The clamp keeps 0 * -inf out of the moment; its order lets a NaN through.
HS_INLINE void exp_step(struct exp_sums *sum, float *s, vf score, vf max, const bool summary) {
    vf t = v_max(v_set(-88), score - max), e = v_exp_neg(t);
    v_store(s, e);
    sum->z += e;
    if (summary) sum->moment = v_fma(e, t, sum->moment);
}

// The lowest key that weighs x, more than 0; 0 where none does (a row of NaN).
static int64_t first_equal(const float *p, int64_t n, float x) {
    const vf most = v_set(x);
    for (int64_t i = 0; i < n; i += W) {
        uint32_t bits = v_equal_bits(v_load(p + i), most);
        if (bits) return i + __builtin_ctz(bits);
    }
    return 0;
}

// The last vector is filled up with scores of -inf, so with weights of 0. What needs a logarithm
// waits for the caller; until then LSE holds Z and ENTROPY the moment.
HS_INLINE void softmax_row(float *s, int64_t n, float max, float *stats, int64_t ld,
                           const bool summary) {
    struct exp_sums es = {v_zero(), v_zero()};
    const vf m = v_set(max == -INFINITY ? 0 : max); // no key at all: Z = 0
    int64_t i = 0;
    for (; i + W <= n; i += W) exp_step(&es, s + i, v_load(s + i), m, summary);
    if (i < n) exp_step(&es, s + i, v_load_n(s + i, n - i, v_set(-INFINITY)), m, summary);
    const float z = v_sum(es.z), inv = z == 0 ? 0 : 1 / z;

    vf away = v_set((float)(n - 1)) - v_lane(), distance = v_zero();
    for (i = 0; i < n; i += W, away -= v_set(W)) {
        vf p = v_load(s + i) * v_set(inv);
        v_store(s + i, p);
        if (summary) distance = v_fma(away, p, distance);
    }
    if (!summary) return;

    stats[HS_STAT_ENTROPY * ld] = v_sum(es.moment);
    stats[HS_STAT_MAX * ld] = inv; // the largest score's exponential is exactly 1
    stats[HS_STAT_ARGMAX * ld] = (float)first_equal(s, n, inv);
    stats[HS_STAT_LSE * ld] = z;
    stats[HS_STAT_FIRST * ld] = s[0];
    stats[HS_STAT_SELF * ld] = s[n - 1];
    stats[HS_STAT_PREV * ld] = n > 1 ? s[n - 2] : 0;
    stats[HS_STAT_DISTANCE * ld] = v_sum(distance);
}

static void softmax(float *s, int64_t ld_s, const float *most, int64_t m, int64_t seen, int64_t n,
                    float *stats, int64_t ld) {
    for (int64_t r = 0; r < m; r++) {
        const int64_t keys = seen + r < n ? seen + r : n;
        const float max = v_largest(v_load(most + r * W));
        if (stats)
            softmax_row(s + r * ld_s, keys, max, stats + r, ld, true);
        else
            softmax_row(s + r * ld_s, keys, max, NULL, 0, false);
    }
    for (int64_t r = 0; stats && r < m; r++) {
        float *entropy = stats + HS_STAT_ENTROPY * ld + r, *lse = stats + HS_STAT_LSE * ld + r;
        const float z = *lse, ln_z = logf(z);
        *entropy = z == 0 ? 0 : ln_z - *entropy / z;
        *lse = v_largest(v_load(most + r * W)) + ln_z;
    }
}

#endif
