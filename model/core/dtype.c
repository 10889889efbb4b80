// The table of number formats and the conversions of the plain ones; see dtype.h. Files are little
// endian and so must the machine be: rows are read where they lie in the map.
//
// binary16: sign, 5 bits of exponent (bias 15), 10 of fraction. bfloat16: the upper half of a
// binary32. Both widen exactly; narrowing rounds to nearest, ties to even.
#include "model/core/dtype.h"

#include <assert.h>
#include <string.h>

#include "model/core/quant.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are read in place");

static inline uint32_t bits_of(float f) {
    uint32_t b;
    memcpy(&b, &f, sizeof b);
    return b;
}

static inline float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// Selects instead of branches, so that a loop over it vectorises.
static inline float widen_f16(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    const uint32_t tiny = bits_of((float)(int32_t)rest * 0x1p-24f);   // below 2^-14: no hidden bit
    const uint32_t rebias = rest >= 0x7c00 ? 224u << 23 : 112u << 23; // infinity, NaN: to 255
    return float_of(sign | (rest < 0x400 ? tiny : (rest << 13) + rebias));
}

static inline float widen_bf16(uint16_t h) {
    return float_of((uint32_t)h << 16);
}

float hs_f16_to_f32(uint16_t h) {
    return widen_f16(h);
}

float hs_bf16_to_f32(uint16_t h) {
    return widen_bf16(h);
}

uint16_t hs_f16_of_f32(float f) {
    const uint32_t sign = bits_of(f) >> 16 & 0x8000;
    const uint32_t mag = bits_of(f) & 0x7fffffff;
    uint32_t half;
    if (mag > 0x7f800000)
        half = 0x7e00; // NaN
    else if (mag >= bits_of(65520.0f))
        half = 0x7c00; // rounds up to 2^16: infinity
    else if (mag >= bits_of(0x1p-14f))
        half = (mag - (112u << 23) + 0xfff + (mag >> 13 & 1)) >> 13;
    else
        half = bits_of(float_of(mag) + 0.5f) - bits_of(0.5f); // the sum rounds at 2^-24
    return (uint16_t)(sign | half);
}

uint16_t hs_bf16_of_f32(float f) {
    const uint32_t b = bits_of(f);
    if ((b & 0x7fffffff) > 0x7f800000) return (uint16_t)(b >> 16 | 0x40); // keeps a NaN a NaN
    return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

static void f32_to_f32(const void *src, float *dst, int64_t n) {
    if (n > 0) memcpy(dst, src, (size_t)n * sizeof *dst);
}

static void f64_to_f32(const void *src, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double d;
        memcpy(&d, (const char *)src + 8 * i, sizeof d);
        dst[i] = (float)d;
    }
}

// Half formats go in runs of 16 of a fixed length, which compilers turn into vector code.
enum { RUN = 16 };

static void f16_to_f32(const void *src, float *restrict dst, int64_t n) {
    uint16_t h[RUN];
    int64_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        memcpy(h, (const char *)src + 2 * i, sizeof h);
        for (int j = 0; j < RUN; j++) dst[i + j] = widen_f16(h[j]);
    }
    for (; i < n; i++) {
        memcpy(h, (const char *)src + 2 * i, sizeof *h);
        dst[i] = widen_f16(h[0]);
    }
}

static void bf16_to_f32(const void *src, float *restrict dst, int64_t n) {
    uint16_t h[RUN];
    int64_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        memcpy(h, (const char *)src + 2 * i, sizeof h);
        for (int j = 0; j < RUN; j++) dst[i + j] = widen_bf16(h[j]);
    }
    for (; i < n; i++) {
        memcpy(h, (const char *)src + 2 * i, sizeof *h);
        dst[i] = widen_bf16(h[0]);
    }
}

// clang-format off
const hs_dtype_traits hs_dtypes[HS_N_DTYPE] = {
    //          name     st     npy    gguf items bytes
    [HS_F32]  = {"f32",  "F32",  "<f4", 0,  1,   4,   f32_to_f32, NULL},
    [HS_F16]  = {"f16",  "F16",  "<f2", 1,  1,   2,   f16_to_f32, NULL},
    [HS_BF16] = {"bf16", "BF16", NULL,  30, 1,   2,   bf16_to_f32, NULL},
    [HS_F64]  = {"f64",  "F64",  "<f8", 28, 1,   8,   f64_to_f32, NULL},
    [HS_I8]   = {"i8",   "I8",   "|i1", 24, 1,   1,   NULL, NULL},
    [HS_U8]   = {"u8",   "U8",   "|u1", -1, 1,   1,   NULL, NULL},
    [HS_I16]  = {"i16",  "I16",  "<i2", 25, 1,   2,   NULL, NULL},
    [HS_I32]  = {"i32",  "I32",  "<i4", 26, 1,   4,   NULL, NULL},
    [HS_I64]  = {"i64",  "I64",  "<i8", 27, 1,   8,   NULL, NULL},
    [HS_Q4_0] = {"q4_0", NULL,   NULL,  2,  32,  18,  hs_q4_0_to_f32, &hs_quant_q4_0},
    [HS_Q4_1] = {"q4_1", NULL,   NULL,  3,  32,  20,  hs_q4_1_to_f32, &hs_quant_q4_1},
    [HS_Q5_0] = {"q5_0", NULL,   NULL,  6,  32,  22,  hs_q5_0_to_f32, &hs_quant_q5_0},
    [HS_Q5_1] = {"q5_1", NULL,   NULL,  7,  32,  24,  hs_q5_1_to_f32, &hs_quant_q5_1},
    [HS_Q8_0] = {"q8_0", NULL,   NULL,  8,  32,  34,  hs_q8_0_to_f32, &hs_quant_q8_0},
    [HS_Q2_K] = {"q2_k", NULL,   NULL,  10, 256, 84,  hs_q2_k_to_f32, &hs_quant_q2_k},
    [HS_Q3_K] = {"q3_k", NULL,   NULL,  11, 256, 110, hs_q3_k_to_f32, &hs_quant_q3_k},
    [HS_Q4_K] = {"q4_k", NULL,   NULL,  12, 256, 144, hs_q4_k_to_f32, &hs_quant_q4_k},
    [HS_Q5_K] = {"q5_k", NULL,   NULL,  13, 256, 176, hs_q5_k_to_f32, &hs_quant_q5_k},
    [HS_Q6_K] = {"q6_k", NULL,   NULL,  14, 256, 210, hs_q6_k_to_f32, &hs_quant_q6_k},
};
// clang-format on

int hs_dtype_of_gguf(uint32_t type) {
    for (int t = 0; t < HS_N_DTYPE; t++)
        if (hs_dtypes[t].gguf >= 0 && (uint32_t)hs_dtypes[t].gguf == type) return t;
    return -1;
}

int hs_dtype_of_st(const char *name, size_t n) {
    if (n == 4 && !memcmp(name, "BOOL", 4)) return HS_U8; // one byte each, 0 or 1
    for (int t = 0; t < HS_N_DTYPE; t++) {
        const char *st = hs_dtypes[t].st;
        if (st && strlen(st) == n && !memcmp(st, name, n)) return t;
    }
    return -1;
}
