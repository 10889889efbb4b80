// Probes of a core's ceilings, written with the same vectors as the kernels: nothing but
// multiply-adds in registers, and nothing but loads. `bench` sets the kernels' speed against them.
#ifndef HS_CPU_KERN_PROBE_H
#define HS_CPU_KERN_PROBE_H

#include <stdbool.h>

#include "model/cpu/vec.h"

// Enough independent sums to hide a multiplication and an addition after it, and few enough for
// the registers.
enum { PROBE_SUMS = W == 16 ? 24 : 12, PROBE_FLOPS = 2 * W * PROBE_SUMS };

// x = x / 2 + 1 in each sum, or with pairs x = x + 1 / 4: numbers stay ordinary.
HS_INLINE float probe_sums(const bool pairs, int64_t steps) {
    vf sum[PROBE_SUMS], half = v_set(0.5f), one = v_set(1);
#pragma GCC unroll 64
    for (int i = 0; i < PROBE_SUMS; i++) sum[i] = v_set((float)i);
    for (int64_t s = 0; s < steps; s++) {
        // Opaque to the compiler, which could otherwise skip steps.
        __asm__ volatile("" : "+m"(half), "+m"(one));
#pragma GCC unroll 64
        for (int i = 0; i < PROBE_SUMS; i++)
            sum[i] = pairs ? v_dot(half, half, sum[i]) : v_fma(sum[i], half, one);
    }
#pragma GCC unroll 64
    for (int i = 1; i < PROBE_SUMS; i++) sum[0] += sum[i];
    return v_sum(sum[0]);
}

static float probe_fma(int64_t steps) {
    return probe_sums(false, steps);
}
static float probe_dot(int64_t steps) {
    return probe_sums(true, steps);
}

// The sum of n floats, a multiple of 8 vectors.
static float probe_read(const float *x, int64_t n) {
    vf sum[8];
    for (int i = 0; i < 8; i++) sum[i] = v_zero();
    for (int64_t k = 0; k < n; k += 8 * W)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) sum[i] += v_load(x + k + i * W);
    for (int i = 1; i < 8; i++) sum[0] += sum[i];
    return v_sum(sum[0]);
}

#endif
