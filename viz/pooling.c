// Pooling by max, so that a lone peak is never lost, or by mean, so that a block's weight is kept;
// see pooling.h. Only what is there counts: a block on the diagonal is the mean of its lower half.
// Cost: one pass over the map.
#include "viz/pooling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/core/mem.h"

typedef struct block {
    double sum, most;
    int64_t n;
} block;

static void add_row(const hs_pooling *p, int64_t i, const float *row, block *at) {
    int64_t seen = p->causal ? p->q0 + i - p->k0 + 1 : p->n_k; // keys up to the query itself
    if (seen > p->n_k) seen = p->n_k;
    for (int64_t k = 0; k < seen; k++) {
        if (isnan(row[k])) continue;
        block *b = &at[k / p->pool_k];
        b->most = b->n ? fmax(b->most, row[k]) : row[k];
        b->sum += row[k];
        b->n++;
    }
}

static void close_row(const hs_pooling *p, block *at, hs_pixel *cell) {
    for (int64_t c = 0; c < p->n_col; c++) {
        double v = p->how == HS_POOL_MEAN ? at[c].sum / (double)at[c].n : at[c].most;
        cell[c].value = at[c].n ? (float)v : NAN;
        at[c] = (block){0};
    }
}

int hs_pool_map(const hs_pooling *p, int64_t m, hs_pixel *cell) {
    float *row = NULL;
    block *at = NULL;
    int rc = hs_alloc(&row, (size_t)p->n_k, sizeof *row);
    if (!rc) rc = hs_alloc(&at, (size_t)p->n_col, sizeof *at);
    for (int64_t i = 0; i < p->n_q && !rc; i++) {
        if ((rc = p->rows.row(p->rows.ctx, m, i, row))) break;
        add_row(p, i, row, at);
        bool last = (i + 1) % p->pool_q == 0 || i + 1 == p->n_q;
        if (last) close_row(p, at, cell + i / p->pool_q * p->n_col);
    }
    free(at);
    free(row);
    return rc;
}

void hs_pool_tell(const hs_pooling *p, char *out, size_t n) {
    *out = 0;
    if (p->pool_q == 1 && p->pool_k == 1) return;
    snprintf(out, n, "Pooled by %s, %lld x %lld tokens a cell.",
             p->how == HS_POOL_MEAN ? "mean" : "max", (long long)p->pool_q, (long long)p->pool_k);
}

int hs_pool_check(const hs_pooling *p, const char *what) {
    if (p->n_q <= 0 || p->n_k <= 0 || p->n_q > HS_MOST_POSITIONS || p->n_k > HS_MOST_POSITIONS)
        return hs_fail(HS_EARG, "%s of %lld queries x %lld keys: both must be 1 to %d", what,
                       (long long)p->n_q, (long long)p->n_k, HS_MOST_POSITIONS);
    if (p->q0 < 0 || p->k0 < 0 || p->q0 > INT32_MAX || p->k0 > INT32_MAX)
        return hs_fail(HS_EARG, "%s that starts at query %lld, key %lld", what, (long long)p->q0,
                       (long long)p->k0);
    if (p->how != HS_POOL_MAX && p->how != HS_POOL_MEAN)
        return hs_fail(HS_EARG, "no way of pooling has the number %d", (int)p->how);
    return p->rows.row ? HS_OK : hs_fail(HS_EARG, "%s without values", what);
}
