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
typedef void hs_act_back_fn(float *dpre, float *dlinear, const float *dy, const float *pre,
                            const float *linear, int64_t n);

// How the numbers of a packed weight are stored; see kern_panel.h.
enum hs_panel_format {
    HS_PANEL_F32,
    HS_PANEL_F16,
    HS_PANEL_BF16,
    HS_PANEL_Q8,
    HS_PANEL_Q4,
    HS_N_PANEL,
};
enum { HS_PANEL_FEW = 4 }; // rows of x that are multiplied by a panel as it is

// nr rows of a weight from some column on, in words of 32 bits.
typedef struct hs_panel {
    const int32_t *word;      // [k / numbers of a word][nr]
    const float *scale, *min; // [k / group][nr], integers only
    int group;
} hs_panel;

// m = 0: the panel's columns as f32 to c, [k][nr]. m = 1 .. HS_PANEL_FEW: c[m, nr] = x[m, k] times
// them, added to c's numbers when `add`, summed as `gemm` does.
typedef void hs_panel_fn(float *c, int64_t ld_c, const float *x, int64_t ld_x, int64_t m,
                         const hs_panel *panel, int64_t k, bool add);

typedef struct hs_kern {
    const char *name;
    int width; // floats of a vector
    int mr;    // rows of C that the matrix kernel does at once
    int nr;    // columns of a packed panel, a multiple of width

    // C[m, n] = A[m, k] B[k, n], or added to C's numbers once when `add`. n is a multiple of
    // width. Every element is one chain of multiply-adds in order of k from 0 on.
    void (*gemm)(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b, int64_t ld_b,
                 int64_t m, int64_t n, int64_t k, bool add);
    // The same of A^T: A is stored as [k, m].
    void (*gemm_turned)(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                        int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add);
    // As gemm for numbers rounded to bf16, two in a word of a and b: k counts the pairs. Sums are
    // f32, a pair at a time.
    void (*gemm_pairs)(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                       int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add);
    void (*pairs)(float *dst, const float *x, int64_t n); // rounds n numbers to bf16, in pairs
    hs_panel_fn *panel[HS_N_PANEL];                       // NULL for f32, which `gemm` takes
    // dst[c][r] = src[r][c], words of any meaning.
    void (*transpose)(float *dst, int64_t ld_dst, const float *src, int64_t ld_src, int64_t rows,
                      int64_t cols);
    // Attention, rows of consecutive queries: row r takes the first min(seen + r, n) keys; seen is
    // 1 or more. Sums are as in gemm.
    //
    // s[m, n] = scale q[m, d] panel[d, n], n <= nr, in whole vectors; most[r, width] becomes the
    // larger of itself and the row's scores. NaN is never the largest.
    void (*scores)(float *s, int64_t ld_s, float *most, const float *q, int64_t ld_q,
                   const float *panel, int64_t m, int64_t seen, int64_t n, int64_t d, float scale);
    // `most` of the same rows from their scores.
    void (*largest)(const float *s, int64_t ld_s, float *most, int64_t m, int64_t seen, int64_t n);
    // Scores to their softmax in place, filled up with 0 to whole vectors. A row's last entry is
    // its own position. All -inf gives all 0. The summaries go to stats[s * ld + r] when not NULL.
    void (*softmax)(float *s, int64_t ld_s, const float *most, int64_t m, int64_t seen, int64_t n,
                    float *stats, int64_t ld);
    // z[m, n_col] = p[m, n] value[n, n_col], on top of z's numbers when `add`; n_col is a multiple
    // of width.
    void (*mix)(float *z, int64_t ld_z, const float *p, int64_t ld_p, const float *value,
                int64_t ld_v, int64_t m, int64_t n_col, int64_t seen, int64_t n, bool add);

    // Softmax differentiated: of the pattern p and the gradients dp of its numbers, dp becomes those
    // of the scores times `scale`. Both are filled up with 0 to n.
    void (*softmax_back)(float *p, float *dp, int64_t ld, int64_t m, int64_t seen, int64_t n,
                         float scale);

    // See the members of the same names in model/backend.h, here for one row.
    float (*norm_scale[HS_NORM_LAYER + 1])(float *normalized, const float *x, int64_t d,
                                           double eps);
    void (*norm_gain)(float *y, const float *x, int64_t d, const float *w, const float *b);
    void (*rope)(float *x, int64_t n_head, int64_t d_head, int64_t rope_dim, const float *cos_sin);
    void (*add)(float *y, const float *a, const float *b, int64_t n);
    hs_act_fn *act[HS_ACT_N];
    // x = by exp(x - lse), for x that are at most about lse.
    void (*shares)(float *x, int64_t n, double lse, float by);
    // dx += gradient of a norm; centred: the mean was taken off.
    void (*norm_back)(float *dx, const float *dy, const float *normalized, float scale, int64_t d,
                      const float *w, bool centred);
    hs_act_back_fn *act_back[HS_ACT_N];

    // Sum of exp(x - *max); *max is the largest x, -inf without one.
    double (*sum_exp)(const float *x, int64_t n, float *max);
    // KL and JSD of the distributions of two rows of logits, whose log_sum_exp are finite. NULL:
    // not wanted.
    void (*diverge)(double *kl, double *jsd, const float *a, double lse_a, const float *b,
                    double lse_b, int64_t n);

    // Ceilings of one core, for `bench`; see model/cpu/probe.h.
    struct {
        int64_t flops;                            // of a step of `fma`; `dot` has twice as many
        float (*fma)(int64_t steps);              // multiply-adds in registers
        float (*dot)(int64_t steps);              // of pairs of bf16
        float (*read)(const float *x, int64_t n); // loads; n is a multiple of 8 * width
    } probe;
} hs_kern;

extern const hs_kern hs_kern_generic;
#if defined __x86_64__
extern const hs_kern hs_kern_avx2, hs_kern_avx512, hs_kern_avx512bf16;
#endif

#endif
