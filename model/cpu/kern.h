// The kernels of one instruction set. kern.c is compiled once a set and exports one table; all
// else in this folder is ordinary code that calls through it.
//
// Rows in, rows out: no kernel knows of threads, tiles or models. Pointers need no alignment.
// What a row gives depends on that row alone, and sums run in an order fixed by its length.
#ifndef HS_CPU_KERN_H
#define HS_CPU_KERN_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"
#include "model/tap.h"

typedef void hs_act_fn(float *y, const float *pre, const float *linear, int64_t n);

typedef struct hs_kern {
    const char *name;
    int width; // floats of a vector
    int mr;    // rows of C that the matrix kernel does at once
    int nr;    // columns of a packed panel, a multiple of width

    // C[m, n] = A[m, k] B[k, n], on top of C's numbers when `add`. n is a multiple of width.
    // Every element is one chain of multiply-adds in order of k, so a sum cut into calls with
    // `add` has the same bits.
    void (*gemm)(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b, int64_t ld_b,
                 int64_t m, int64_t n, int64_t k, bool add);
    // dst[c][r] = src[r][c].
    void (*transpose)(float *dst, int64_t ld_dst, const float *src, int64_t ld_src, int64_t rows,
                      int64_t cols);
    // One row of attention scores: multiplies them in place and returns the largest, -inf when
    // all are.
    float (*scale_max)(float *s, int64_t n, float scale);
    // One row of scores, in place, to its softmax; `max` is their largest. The last entry is the
    // row's own position. All -inf gives all 0. The summary goes to stats[s * ld] when not NULL.
    void (*softmax)(float *s, int64_t n, float max, float *stats, int64_t ld);

    // See the members of the same names in model/backend.h, here for one row.
    float (*norm_scale[HS_NORM_LAYER + 1])(float *normalized, const float *x, int64_t d,
                                           double eps);
    void (*norm_gain)(float *y, const float *x, int64_t d, const float *w, const float *b);
    void (*rope)(float *x, int64_t n_head, int64_t d_head, int64_t rope_dim, const float *cos_sin);
    void (*add)(float *y, const float *a, const float *b, int64_t n);
    hs_act_fn *act[HS_ACT_N];
} hs_kern;

extern const hs_kern hs_kern_generic;
#if defined __x86_64__
extern const hs_kern hs_kern_avx2, hs_kern_avx512;
#endif

#endif
