// The matrix kernel: C[m, n] (+)= A[m, k] B[k, n], B a packed panel (or the value rows of
// attention, which have the same shape). GEMM_MR rows x GEMM_NV vectors of C stay in registers
// while k runs; each step loads one row of B and broadcasts one number of A a row. With 512-bit
// vectors 24 sums hide the latency of the multiply-add, and a step has 10 loads for them.
//
// Numbers may also be pairs of bf16 in one word, which change nothing but the multiply-add; A may
// also be stored with its columns as rows, which changes where a number is read.
//
// The tile is one always-inline function; every height and width is an instance of it with
// constant bounds, so an element's chain is the same in all of them.
#ifndef HS_CPU_KERN_GEMM_H
#define HS_CPU_KERN_GEMM_H

#include <stdbool.h>

#include "model/cpu/vec.h"

HS_INLINE void gemm_tile(const bool pairs, const bool turned, const int m, const int nv, float *c,
                         int64_t ld_c, const float *a, int64_t ld_a, const float *b, int64_t ld_b,
                         int64_t k, bool add) {
    vf sum[GEMM_MR][GEMM_NV];
    for (int r = 0; r < m; r++)
        for (int v = 0; v < nv; v++) sum[r][v] = v_zero();
    for (int64_t i = 0; i < k; i++) {
        vf row[GEMM_NV];
        for (int v = 0; v < nv; v++) row[v] = v_load(b + i * ld_b + v * W);
        for (int r = 0; r < m; r++) {
            vf x = v_set(turned ? a[i * ld_a + r] : a[r * ld_a + i]);
            for (int v = 0; v < nv; v++)
                sum[r][v] = pairs ? v_dot(x, row[v], sum[r][v]) : v_fma(x, row[v], sum[r][v]);
        }
    }
    for (int r = 0; r < m; r++)
        for (int v = 0; v < nv; v++) {
            float *to = c + r * ld_c + v * W;
            v_store(to, add ? v_load(to) + sum[r][v] : sum[r][v]);
        }
}

// All rows of A against nv vectors of B.
HS_INLINE void gemm_rows(const bool pairs, const bool turned, const int nv, float *c, int64_t ld_c,
                         const float *a, int64_t ld_a, const float *b, int64_t ld_b, int64_t m,
                         int64_t k, bool add) {
    for (; m >= GEMM_MR; m -= GEMM_MR) {
        gemm_tile(pairs, turned, GEMM_MR, nv, c, ld_c, a, ld_a, b, ld_b, k, add);
        c += GEMM_MR * ld_c;
        a += turned ? GEMM_MR : GEMM_MR * ld_a;
    }
    switch (m) {
    case 1:
        gemm_tile(pairs, turned, 1, nv, c, ld_c, a, ld_a, b, ld_b, k, add);
        break;
    case 2:
        gemm_tile(pairs, turned, 2, nv, c, ld_c, a, ld_a, b, ld_b, k, add);
        break;
    case 3:
        gemm_tile(pairs, turned, 3, nv, c, ld_c, a, ld_a, b, ld_b, k, add);
        break;
#if GEMM_MR > 4
    case 4:
        gemm_tile(pairs, turned, 4, nv, c, ld_c, a, ld_a, b, ld_b, k, add);
        break;
    case 5:
        gemm_tile(pairs, turned, 5, nv, c, ld_c, a, ld_a, b, ld_b, k, add);
        break;
#endif
    }
}

// The whole rectangle: full panels take GEMM_NV vectors at once, a narrow one goes by halves.
HS_INLINE void gemm_all(const bool pairs, const bool turned, float *c, int64_t ld_c, const float *a,
                        int64_t ld_a, const float *b, int64_t ld_b, int64_t m, int64_t n, int64_t k,
                        bool add) {
    int64_t j = 0;
    for (; j + GEMM_NV * W <= n; j += GEMM_NV * W)
        gemm_rows(pairs, turned, GEMM_NV, c + j, ld_c, a, ld_a, b + j, ld_b, m, k, add);
#if GEMM_NV > 2
    for (; j + 2 * W <= n; j += 2 * W)
        gemm_rows(pairs, turned, 2, c + j, ld_c, a, ld_a, b + j, ld_b, m, k, add);
#endif
    for (; j < n; j += W) gemm_rows(pairs, turned, 1, c + j, ld_c, a, ld_a, b + j, ld_b, m, k, add);
}

static void gemm(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b, int64_t ld_b,
                 int64_t m, int64_t n, int64_t k, bool add) {
    gemm_all(false, false, c, ld_c, a, ld_a, b, ld_b, m, n, k, add);
}

static void gemm_pairs(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                       int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add) {
    gemm_all(true, false, c, ld_c, a, ld_a, b, ld_b, m, n, k, add);
}

static void transpose(float *dst, int64_t ld_dst, const float *src, int64_t ld_src, int64_t rows,
                      int64_t cols) {
    int64_t r = 0;
    for (; r + W <= rows; r += W) {
        int64_t c = 0;
        for (; c + W <= cols; c += W) {
            vf block[W];
            for (int i = 0; i < W; i++) block[i] = v_load(src + (r + i) * ld_src + c);
            v_transpose(block);
            for (int i = 0; i < W; i++) v_store(dst + (c + i) * ld_dst + r, block[i]);
        }
        for (; c < cols; c++)
            for (int i = 0; i < W; i++) dst[c * ld_dst + r + i] = src[(r + i) * ld_src + c];
    }
    for (; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) dst[c * ld_dst + r] = src[r * ld_src + c];
}

static void gemm_turned(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                        int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add) {
    gemm_all(false, true, c, ld_c, a, ld_a, b, ld_b, m, n, k, add);
}

#endif
