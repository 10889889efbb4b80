// The two products of attention on the matrix kernel's register tile: scores = scale q k, and
// z = pattern v. They end where a row's own keys end: row r takes the first min(seen + r, n) keys,
// as rows of consecutive queries do. So nothing is spent on keys that nobody sees but what fills
// the last vector of scores, and the values of such keys are not touched.
//
// Every element is one chain of multiply-adds in order of d or of keys, in all tiles the same.
#ifndef HS_CPU_KERN_ATTN_H
#define HS_CPU_KERN_ATTN_H

#include <stdbool.h>

#include "model/cpu/vec.h"

// sum[r][v] += a[r][i] b[i][v] for i of k.
HS_INLINE void attn_steps(const int m, const int nv, vf sum[GEMM_MR][GEMM_NV], const float *a,
                          int64_t ld_a, const float *b, int64_t ld_b, int64_t k) {
    for (int64_t i = 0; i < k; i++) {
        vf row[GEMM_NV];
        for (int v = 0; v < nv; v++) row[v] = v_load(b + i * ld_b + v * W);
        for (int r = 0; r < m; r++) {
            vf x = v_set(a[r * ld_a + i]);
            for (int v = 0; v < nv; v++) sum[r][v] = v_fma(x, row[v], sum[r][v]);
        }
    }
}

// ---- scores -------------------------------------------------------------------------------------

struct score_rows {
    float *s, *most; // [][ld_s], [][W]
    int64_t ld_s;
    const float *q;
    int64_t ld_q, d;
    float scale;
};

// m rows from r0 on against nv vectors of a panel from column c0 on. The first row sees the panel's
// first `keys` columns, none of them more than n; whole: all see all.
HS_INLINE void score_tile(const int m, const int nv, const bool whole, const struct score_rows *x,
                          int64_t r0, int64_t c0, const float *panel, int64_t keys, int64_t n) {
    vf sum[GEMM_MR][GEMM_NV];
    for (int r = 0; r < m; r++)
        for (int v = 0; v < nv; v++) sum[r][v] = v_zero();
    attn_steps(m, nv, sum, x->q + r0 * x->ld_q, x->ld_q, panel + c0, GEMM_NV * W, x->d);
    const vf scale = v_set(x->scale), low = v_set(-INFINITY);
    for (int r = 0; r < m; r++) {
        float *s = x->s + (r0 + r) * x->ld_s + c0, *most = x->most + (r0 + r) * W;
        vf top = v_load(most), end = v_set((float)(keys + r < n ? keys + r : n));
        for (int v = 0; v < nv; v++) {
            vf t = sum[r][v] * scale;
            v_store(s + v * W, t);
            if (!whole) t = v_if_lt(v_lane() + v_set((float)(c0 + v * W)), end, t, low);
            top = v_max(t, top);
        }
        v_store(most, top);
    }
}
// m rows against as much of a panel as the last of them sees.
HS_INLINE void score_group(const int m, const struct score_rows *x, int64_t r0, const float *panel,
                           int64_t keys, int64_t n) {
    const int64_t last = keys + m - 1 < n ? keys + m - 1 : n;
    if (keys >= GEMM_NV * W && n == GEMM_NV * W) {
        score_tile(m, GEMM_NV, true, x, r0, 0, panel, keys, n);
    } else if (last > (GEMM_NV - 1) * W) {
        score_tile(m, GEMM_NV, false, x, r0, 0, panel, keys, n);
    } else {
        int64_t c = 0;
#if GEMM_NV > 2
        for (; c + W < last; c += 2 * W) score_tile(m, 2, false, x, r0, c, panel, keys, n);
#endif
        for (; c < last; c += W) score_tile(m, 1, false, x, r0, c, panel, keys, n);
    }
}

static void scores(float *s, int64_t ld_s, float *most, const float *q, int64_t ld_q,
                   const float *panel, int64_t m, int64_t seen, int64_t n, int64_t d, float scale) {
    const struct score_rows x = {s, most, ld_s, q, ld_q, d, scale};
    int64_t r = 0;
    for (; r + GEMM_MR <= m; r += GEMM_MR) score_group(GEMM_MR, &x, r, panel, seen + r, n);
    switch (m - r) {
    case 1:
        score_group(1, &x, r, panel, seen + r, n);
        break;
    case 2:
        score_group(2, &x, r, panel, seen + r, n);
        break;
    case 3:
        score_group(3, &x, r, panel, seen + r, n);
        break;
#if GEMM_MR > 4
    case 4:
        score_group(4, &x, r, panel, seen + r, n);
        break;
    case 5:
        score_group(5, &x, r, panel, seen + r, n);
        break;
#endif
    }
}

// ---- z ------------------------------------------------------------------------------------------

HS_INLINE void mix_tile(const int m, const int nv, float *z, int64_t ld_z, const float *p,
                        int64_t ld_p, const float *value, int64_t ld_v, int64_t keys, int64_t n,
                        bool add) {
    const int64_t common = keys < n ? keys : n;
    vf sum[GEMM_MR][GEMM_NV];
    for (int r = 0; r < m; r++)
        for (int v = 0; v < nv; v++) sum[r][v] = add ? v_load(z + r * ld_z + v * W) : v_zero();
    attn_steps(m, nv, sum, p, ld_p, value, ld_v, common);
    // The stairs: key common + i - 1 is seen from row i on.
    for (int i = 1; i < m && common + i <= n; i++) {
        const int64_t k = common + i - 1;
        for (int r = i; r < m; r++) {
            vf x = v_set(p[r * ld_p + k]);
            for (int v = 0; v < nv; v++)
                sum[r][v] = v_fma(x, v_load(value + k * ld_v + v * W), sum[r][v]);
        }
    }
    for (int r = 0; r < m; r++)
        for (int v = 0; v < nv; v++) v_store(z + r * ld_z + v * W, sum[r][v]);
}

HS_INLINE void mix_rows(const int nv, float *z, int64_t ld_z, const float *p, int64_t ld_p,
                        const float *value, int64_t ld_v, int64_t m, int64_t seen, int64_t n,
                        bool add) {
    for (; m >= GEMM_MR; m -= GEMM_MR, seen += GEMM_MR) {
        mix_tile(GEMM_MR, nv, z, ld_z, p, ld_p, value, ld_v, seen, n, add);
        z += GEMM_MR * ld_z;
        p += GEMM_MR * ld_p;
    }
    switch (m) {
    case 1:
        mix_tile(1, nv, z, ld_z, p, ld_p, value, ld_v, seen, n, add);
        break;
    case 2:
        mix_tile(2, nv, z, ld_z, p, ld_p, value, ld_v, seen, n, add);
        break;
    case 3:
        mix_tile(3, nv, z, ld_z, p, ld_p, value, ld_v, seen, n, add);
        break;
#if GEMM_MR > 4
    case 4:
        mix_tile(4, nv, z, ld_z, p, ld_p, value, ld_v, seen, n, add);
        break;
    case 5:
        mix_tile(5, nv, z, ld_z, p, ld_p, value, ld_v, seen, n, add);
        break;
#endif
    }
}

static void mix(float *z, int64_t ld_z, const float *p, int64_t ld_p, const float *value,
                int64_t ld_v, int64_t m, int64_t n_col, int64_t seen, int64_t n, bool add) {
    int64_t j = 0;
    for (; j + GEMM_NV * W <= n_col; j += GEMM_NV * W)
        mix_rows(GEMM_NV, z + j, ld_z, p, ld_p, value + j, ld_v, m, seen, n, add);
#if GEMM_NV > 2
    for (; j + 2 * W <= n_col; j += 2 * W)
        mix_rows(2, z + j, ld_z, p, ld_p, value + j, ld_v, m, seen, n, add);
#endif
    for (; j < n_col; j += W) mix_rows(1, z + j, ld_z, p, ld_p, value + j, ld_v, m, seen, n, add);
}

#endif
