// Reading GGUF's block formats: n numbers (whole blocks) from src, at any alignment, into dst.
// Used through hs_dtypes (dtype.h); listed here for its table.
#ifndef HS_CORE_QUANT_H
#define HS_CORE_QUANT_H

#include <stdint.h>

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
