// GGUF's block formats: small integers in groups that share a scale and a minimum.
#ifndef HS_CORE_QUANT_H
#define HS_CORE_QUANT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct hs_quant {
    int group;  // numbers that share a scale, 16 or 32
    int bits;   // that hold q + offset: 4, or 8 with its sign
    int offset; // makes q of 4 bits 0 or more
    bool has_min;
    // n numbers (whole blocks, at any address) as integers q[n] and, a group each, scale[n / group]
    // and min[n / group]: a number is q scale + min, q scale without minima; the product is exact.
    void (*split)(const void *src, int8_t *q, float *scale, float *min, int64_t n);
} hs_quant;

// Used through hs_dtypes (dtype.h); listed here for its table.
extern const hs_quant hs_quant_q4_0, hs_quant_q4_1, hs_quant_q5_0, hs_quant_q5_1, hs_quant_q8_0,
    hs_quant_q2_k, hs_quant_q3_k, hs_quant_q4_k, hs_quant_q5_k, hs_quant_q6_k;

// n numbers to f32, with the bits that ggml gives.
void hs_q4_0_to_f32(const void *src, float *dst, int64_t n);
void hs_q4_1_to_f32(const void *src, float *dst, int64_t n);
void hs_q5_0_to_f32(const void *src, float *dst, int64_t n);
void hs_q5_1_to_f32(const void *src, float *dst, int64_t n);
void hs_q8_0_to_f32(const void *src, float *dst, int64_t n);
void hs_q2_k_to_f32(const void *src, float *dst, int64_t n);
void hs_q3_k_to_f32(const void *src, float *dst, int64_t n);
void hs_q4_k_to_f32(const void *src, float *dst, int64_t n);
void hs_q5_k_to_f32(const void *src, float *dst, int64_t n);
void hs_q6_k_to_f32(const void *src, float *dst, int64_t n);

#endif
