// One set of vector names for four instruction sets; included by kern.c only, which is compiled
// once for each of them (HS_ISA_generic, HS_ISA_avx2, HS_ISA_avx512, HS_ISA_avx512bf16).
//
//     vf        W floats, a GCC vector: + - * / work on it
//     vi        W int32
//
// Everything above the few primitives of each set is written once. GEMM_MR x GEMM_NV vectors is
// the register tile of the matrix kernel. Where a sum runs over lanes the order is fixed.
#ifndef HS_CPU_VEC_H
#define HS_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined HS_ISA_avx512bf16
#define HS_ISA_avx512
#endif

#if defined HS_ISA_avx512
#include <immintrin.h>
#define GEMM_MR 6
enum { W = 16 };
#define GEMM_NV 4
#elif defined HS_ISA_avx2
#include <immintrin.h>
#define GEMM_MR 6
enum { W = 8 };
#define GEMM_NV 2
#else
#define GEMM_MR 4
enum { W = 4 };
#define GEMM_NV 2
#endif

#define HS_INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(W * sizeof(float))));
typedef int32_t vi __attribute__((vector_size(W * sizeof(float))));

// ---- primitives of each set ---------------------------------------------------------------------
//
// v_fma(a, b, c) = a * b + c, rounded once where the set can. v_max(a, b) = a > b ? a : b, so b
// where either is a NaN. v_if_lt(a, b, x, y) = a < b ? x : y.
// v_equal_bits: bit i tells whether lane i is equal.
// v_nibble(x, j): bits 4j .. 4j + 3 of each lane, as a number. v_dot(a, b, c) = c + a b, where the
// lanes of a and b are pairs of bf16.
// v_load_n takes the first n (0..W) lanes from memory and the rest from fill.

// One line a primitive, so that the sets can be held side by side.
// clang-format off
#if defined HS_ISA_avx512

HS_INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
HS_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
HS_INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
HS_INLINE __mmask16 v_first(int64_t n) { return (__mmask16)((1u << n) - 1); }
HS_INLINE vf v_load_n(const float *p, int64_t n, vf fill) {
    return _mm512_mask_loadu_ps(fill, v_first(n), p);
}
HS_INLINE void v_store_n(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), x); }
HS_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
HS_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
HS_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
HS_INLINE vf v_if_lt(vf a, vf b, vf x, vf y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
HS_INLINE uint32_t v_equal_bits(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
// p * 2^n for whole n within +-150.
HS_INLINE vf v_scale2(vf p, vf n) { return _mm512_scalef_ps(p, n); }
// The look-up takes the lowest four bits of an index only.
HS_INLINE vf v_nibble(vi x, const int j) {
    const vf digit = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return _mm512_permutexvar_ps((__m512i)(x >> 4 * j), digit);
}

#elif defined HS_ISA_avx2

HS_INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
HS_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
HS_INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
HS_INLINE __m256i v_first(int64_t n) {
    static const int32_t edge[2 * W] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const void *)(edge + W - n));
}
HS_INLINE vf v_load_n(const float *p, int64_t n, vf fill) {
    __m256i m = v_first(n);
    return _mm256_blendv_ps(fill, _mm256_maskload_ps(p, m), _mm256_castsi256_ps(m));
}
HS_INLINE void v_store_n(float *p, vf x, int64_t n) { _mm256_maskstore_ps(p, v_first(n), x); }
HS_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
HS_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
HS_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
HS_INLINE vf v_if_lt(vf a, vf b, vf x, vf y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
HS_INLINE uint32_t v_equal_bits(vf a, vf b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

#else

HS_INLINE vf v_set(float x) { return (vf){0} + x; }
HS_INLINE vf v_load(const float *p) {
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}
HS_INLINE void v_store(float *p, vf x) { memcpy(p, &x, sizeof x); }
HS_INLINE vf v_load_n(const float *p, int64_t n, vf fill) {
    memcpy(&fill, p, (size_t)n * sizeof *p);
    return fill;
}
HS_INLINE void v_store_n(float *p, vf x, int64_t n) { memcpy(p, &x, (size_t)n * sizeof *p); }
HS_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
HS_INLINE vf v_if_lt(vf a, vf b, vf x, vf y) {
    vi m = (vi)(a < b);
    return (vf)((m & (vi)x) | (~m & (vi)y));
}
HS_INLINE uint32_t v_equal_bits(vf a, vf b) {
    uint32_t bits = 0;
    for (int i = 0; i < W; i++) bits |= (uint32_t)(a[i] == b[i]) << i;
    return bits;
}
HS_INLINE vf v_max(vf a, vf b) { return v_if_lt(b, a, a, b); }
HS_INLINE vf v_min(vf a, vf b) { return v_if_lt(a, b, a, b); }

#endif

#if !defined HS_ISA_avx512
// Two factors, since 2^n alone may leave the range of f32 where p * 2^n does not.
HS_INLINE vf v_scale2(vf p, vf n) {
    vi k = __builtin_convertvector(n, vi), half = k >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
}
#endif

#if !defined HS_ISA_avx512
HS_INLINE vf v_nibble(vi x, const int j) { return __builtin_convertvector(x >> 4 * j & 15, vf); }
#endif

#if defined HS_ISA_avx512bf16
HS_INLINE vf v_dot(vf a, vf b, vf c) { return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b); }
#else
HS_INLINE vf v_dot(vf a, vf b, vf c) {
    const int32_t high = (int32_t)0xffff0000;
    c = v_fma((vf)((vi)a << 16), (vf)((vi)b << 16), c);
    return v_fma((vf)((vi)a & high), (vf)((vi)b & high), c);
}
#endif

// clang-format on
// ---- written once -------------------------------------------------------------------------------

HS_INLINE vf v_zero(void) {
    return (vf){0};
}

// n lanes of memory; loops call these once with the constant W and once for the tail.
HS_INLINE vf v_get(const float *p, int64_t n, vf fill) {
    return n == W ? v_load(p) : v_load_n(p, n, fill);
}
HS_INLINE void v_put(float *p, vf x, int64_t n) {
    if (n == W)
        v_store(p, x);
    else
        v_store_n(p, x, n);
}

// 0, 1, 2, ... W - 1.
HS_INLINE vf v_lane(void) {
    vf x = {0};
    for (int i = 0; i < W; i++) x[i] = (float)i;
    return x;
}

// e^x within 2 ulp; exactly 0 below -87, exactly 1 at 0, inf from 88.73 on, NaN for a NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a minimax polynomial (fitted with Remez' method to
// 3e-9 relative); ln 2 in two parts, the first short enough for n times it to be exact.
HS_INLINE vf v_exp(vf x) {
    const vf magic = v_set(12582912.0f); // 1.5 * 2^23: adding it rounds to a whole number
    vf in = v_max(v_set(-104), v_min(v_set(104), x));
    vf n = v_fma(in, v_set(1.44269504f), magic) - magic;
    vf r = v_fma(n, v_set(-0.693359375f), in);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.381446767e-3f);
    p = v_fma(p, r, v_set(8.368780348e-3f));
    p = v_fma(p, r, v_set(4.166839419e-2f));
    p = v_fma(p, r, v_set(1.666652011e-1f));
    p = v_fma(p, r, v_set(4.999999341e-1f));
    vf e = v_scale2(v_fma(p, r * r, r) + v_set(1), n);
    return v_if_lt(x, v_set(-87), v_zero(), e);
}

// e^x for -88 <= x <= 0, the softmax's case: as v_exp with fewer steps. Exactly 0 from -87.69 on
// down (n = -127, whose biased exponent is 0), NaN for a NaN.
HS_INLINE vf v_exp_neg(vf x) {
    const vf magic = v_set(12582912.0f + 127); // leaves n + 127 in the sum's low bits
    vf shifted = v_fma(x, v_set(1.44269504f), magic), n = shifted - magic;
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.381446767e-3f);
    p = v_fma(p, r, v_set(8.368780348e-3f));
    p = v_fma(p, r, v_set(4.166839419e-2f));
    p = v_fma(p, r, v_set(1.666652011e-1f));
    p = v_fma(p, r, v_set(4.999999341e-1f));
    p = v_fma(p, r, v_set(1));
    p = v_fma(p, r, v_set(1));
    return p * (vf)((vi)shifted << 23);
}

// Transposes the W x W block in r: stage s swaps the lanes whose bit s differs from the row's.
#define KEEP_LO(l, s) ((l) & (s) ? W + (l) - (s) : (l))
#define KEEP_HI(l, s) ((l) & (s) ? W + (l) : (l) + (s))
#define LANES_4(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#define LANES_8(f, s) LANES_4(f, s), f(4, s), f(5, s), f(6, s), f(7, s)
#define LANES_16(f, s)                                                                             \
    LANES_8(f, s), f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#if defined HS_ISA_avx512
#define LANES LANES_16
#elif defined HS_ISA_avx2
#define LANES LANES_8
#else
#define LANES LANES_4
#endif
#define DEFINE_STAGE(s)                                                                            \
    HS_INLINE void v_stage_##s(vf r[W]) {                                                          \
        for (int i = 0; i < W; i++) {                                                              \
            if (i & s) continue;                                                                   \
            vf a = r[i], b = r[i + s];                                                             \
            r[i] = __builtin_shufflevector(a, b, LANES(KEEP_LO, s));                               \
            r[i + s] = __builtin_shufflevector(a, b, LANES(KEEP_HI, s));                           \
        }                                                                                          \
    }
DEFINE_STAGE(1)
DEFINE_STAGE(2)
#if defined HS_ISA_avx512 || defined HS_ISA_avx2
DEFINE_STAGE(4)
#endif
#if defined HS_ISA_avx512
DEFINE_STAGE(8)
#endif

HS_INLINE void v_transpose(vf r[W]) {
    v_stage_1(r);
    v_stage_2(r);
#if defined HS_ISA_avx512 || defined HS_ISA_avx2
    v_stage_4(r);
#endif
#if defined HS_ISA_avx512
    v_stage_8(r);
#endif
}

// Lane i and lane i ^ s, for every s below W from W/2 down: the lanes' sum, halves first, and the
// largest lane.
#define SWAP(l, s) ((l) ^ (s))
#if defined HS_ISA_avx512
#define HALVES(step) step(8) step(4) step(2) step(1)
#elif defined HS_ISA_avx2
#define HALVES(step) step(4) step(2) step(1)
#else
#define HALVES(step) step(2) step(1)
#endif
#define ADD_STEP(s) x = x + __builtin_shufflevector(x, x, LANES(SWAP, s));
#define MAX_STEP(s) x = v_max(x, __builtin_shufflevector(x, x, LANES(SWAP, s)));
HS_INLINE float v_sum(vf x) {
    HALVES(ADD_STEP)
    return x[0];
}
HS_INLINE float v_largest(vf x) {
    HALVES(MAX_STEP)
    return x[0];
}

#endif
