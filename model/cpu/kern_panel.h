// Weights as stored, in panels: unpacked to f32 rows, and multiplied by a few rows of x at once.
//
// A panel is nr = GEMM_NV W rows of a matrix, transposed in words of 32 bits: [k / digits][nr],
// where a word holds 1, 2, 4 or 8 consecutive numbers of a row. So every format is loaded alike,
// as whole vectors of words, and digit j of a word is one number:
//
//     f32   the word itself                 q8    (signed byte j) * scale + min
//     bf16  half j, shifted up              q4    (nibble j) * scale + min
//     f16   half j, widened
//
// A scale and a minimum belong to a group of 16 or 32 numbers of a row and lie beside the words,
// [k / group][nr]. The product with a scale is exact (quant.c), so the weight has the bits that the
// expanded f32 panel would hold, and a sum over it is the same chain of multiply-adds.
//
// Unpacked once for many rows of x, or in registers for up to 4: one weight costs 4 instructions a
// vector (shift, look-up, scale, multiply-add), so a one-row product runs at the speed of memory.
#ifndef HS_CPU_KERN_PANEL_H
#define HS_CPU_KERN_PANEL_H

#include <stdbool.h>

#include "model/cpu/kern.h"
#include "model/cpu/vec.h"

enum { NR = GEMM_NV * W, FEW = HS_PANEL_FEW };

// A binary16 in the low half of each lane, finite. Shifted into place its exponent is too small by
// 112, which a product with 2^112 mends, subnormal numbers included.
HS_INLINE vf v_half(vi x) {
    vf size = (vf)((x & 0x7fff) << 13) * v_set(0x1p112f);
    return (vf)((vi)size | (x & 0x8000) << 16);
}

// Digit j of a word; scale and min matter to integers only.
HS_INLINE vf panel_number(const enum hs_panel_format f, vi word, const int j, vf scale, vf min) {
    switch (f) {
    case HS_PANEL_F32:
        return (vf)word;
    case HS_PANEL_BF16:
        return (vf)(j ? word & (int32_t)0xffff0000 : word << 16);
    case HS_PANEL_F16:
        return v_half(j ? word >> 16 : word);
    case HS_PANEL_Q8:
        return v_fma(__builtin_convertvector(word << (24 - 8 * j) >> 24, vf), scale, min);
    case HS_PANEL_Q4:
        return v_fma(v_nibble(word, j), scale, min);
    default:
        return v_zero();
    }
}

// The first n digits of a word, the rows of the panel from k on: m = 0 stores them to c, [k][NR];
// m > 0 multiplies them by m rows of x and adds to sum.
HS_INLINE void panel_word(const enum hs_panel_format f, const int n, const int m, vf sum[][GEMM_NV],
                          float *c, const float *x, int64_t ld_x, const int32_t *word,
                          const vf *scale, const vf *min) {
    vi w[GEMM_NV];
    for (int v = 0; v < GEMM_NV; v++) w[v] = (vi)v_load((const float *)word + v * W);
#pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        vf row[GEMM_NV];
        for (int v = 0; v < GEMM_NV; v++) row[v] = panel_number(f, w[v], j, scale[v], min[v]);
        for (int v = 0; m == 0 && v < GEMM_NV; v++) v_store(c + j * NR + v * W, row[v]);
        for (int r = 0; r < m; r++) {
            vf a = v_set(x[r * ld_x + j]);
            for (int v = 0; v < GEMM_NV; v++) sum[r][v] = v_fma(a, row[v], sum[r][v]);
        }
    }
}

// All k rows of a panel: to c as they are (m = 0), or c[m, NR] (+)= x[m, k] panel.
HS_INLINE void panel_walk(const enum hs_panel_format f, const int digits, const int m, float *c,
                          int64_t ld_c, const float *x, int64_t ld_x, const hs_panel *p, int64_t k,
                          bool add) {
    const bool scaled = f == HS_PANEL_Q8 || f == HS_PANEL_Q4;
    const int32_t *word = p->word;
    const int64_t group = scaled ? p->group : k / digits * digits;
    vf sum[FEW][GEMM_NV], scale[GEMM_NV], min[GEMM_NV];
    for (int v = 0; v < GEMM_NV; v++) scale[v] = min[v] = v_zero();
    for (int r = 0; r < m; r++)
        for (int v = 0; v < GEMM_NV; v++) sum[r][v] = v_zero();
    int64_t i = 0;
    for (int64_t g = 0; i + digits <= k; g++) {
        for (int v = 0; scaled && v < GEMM_NV; v++) {
            scale[v] = v_load(p->scale + g * NR + v * W);
            min[v] = v_load(p->min + g * NR + v * W);
        }
        for (int64_t end = i + group; i < end; i += digits, word += NR)
            panel_word(f, digits, m, sum, c + i * NR, x + i, ld_x, word, scale, min);
    }
    if (digits == 2 && i < k) // an odd k leaves half a word
        panel_word(f, 1, m, sum, c + i * NR, x + i, ld_x, word, scale, min);
    for (int r = 0; r < m; r++)
        for (int v = 0; v < GEMM_NV; v++) {
            float *to = c + r * ld_c + v * W;
            v_store(to, add ? v_load(to) + sum[r][v] : sum[r][v]);
        }
}

HS_INLINE void panel_rows(const enum hs_panel_format f, const int digits, float *c, int64_t ld_c,
                          const float *x, int64_t ld_x, int64_t m, const hs_panel *p, int64_t k,
                          bool add) {
    switch (m) {
    case 0:
        panel_walk(f, digits, 0, c, ld_c, x, ld_x, p, k, add);
        break;
    case 1:
        panel_walk(f, digits, 1, c, ld_c, x, ld_x, p, k, add);
        break;
    case 2:
        panel_walk(f, digits, 2, c, ld_c, x, ld_x, p, k, add);
        break;
    case 3:
        panel_walk(f, digits, 3, c, ld_c, x, ld_x, p, k, add);
        break;
    case 4:
        panel_walk(f, digits, 4, c, ld_c, x, ld_x, p, k, add);
        break;
    }
}

static void panel_f16(float *c, int64_t ld_c, const float *x, int64_t ld_x, int64_t m,
                      const hs_panel *p, int64_t k, bool add) {
    panel_rows(HS_PANEL_F16, 2, c, ld_c, x, ld_x, m, p, k, add);
}
static void panel_bf16(float *c, int64_t ld_c, const float *x, int64_t ld_x, int64_t m,
                       const hs_panel *p, int64_t k, bool add) {
    panel_rows(HS_PANEL_BF16, 2, c, ld_c, x, ld_x, m, p, k, add);
}
static void panel_q8(float *c, int64_t ld_c, const float *x, int64_t ld_x, int64_t m,
                     const hs_panel *p, int64_t k, bool add) {
    panel_rows(HS_PANEL_Q8, 4, c, ld_c, x, ld_x, m, p, k, add);
}
static void panel_q4(float *c, int64_t ld_c, const float *x, int64_t ld_x, int64_t m,
                     const hs_panel *p, int64_t k, bool add) {
    panel_rows(HS_PANEL_Q4, 8, c, ld_c, x, ld_x, m, p, k, add);
}

// To nearest, ties to even, a NaN stays one; the upper half of the result is the bf16.
HS_INLINE uint32_t round_bf16(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return x == x ? b + 0x7fff + (b >> 16 & 1) : b | 0x400000;
}

// Rounds n numbers to bf16, two in a word; an odd one out gets a 0 beside it.
static void pairs(float *dst, const float *x, int64_t n) {
    for (int64_t i = 0; i < n / 2; i++) {
        uint32_t both = round_bf16(x[2 * i]) >> 16 | (round_bf16(x[2 * i + 1]) & 0xffff0000);
        memcpy(dst + i, &both, sizeof both);
    }
    if (n % 2) memcpy(dst + n / 2, &(uint32_t){round_bf16(x[n - 1]) >> 16}, sizeof *dst);
}

#endif
