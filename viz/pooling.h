// Maps read row by row and pooled on the way: blocks of tokens share a cell.
#ifndef HS_VIZ_POOLING_H
#define HS_VIZ_POOLING_H

#include <stddef.h>

#include "viz/fig.h"

// A cell: first a value, then, in the same place, its colour.
typedef union hs_pixel {
    float value;
    uint32_t ink;
} hs_pixel;

typedef struct hs_pooling {
    hs_fig_rows rows;
    int64_t n_q, n_k, q0, k0; // as in hs_fig_map
    bool causal;              // keys after the query are not there
    enum hs_pool_by how;
    int64_t pool_q, pool_k; // tokens a cell
    int64_t n_row, n_col;   // cells
} hs_pooling;

// Most positions an axis may have, maps a sheet may have.
enum { HS_MOST_POSITIONS = 1 << 24, HS_MOST_MAPS = 1 << 16 };

// Map m into cell [n_row][n_col], NaN where a block holds no value. HS_ENOMEM, or what the callback
// returned. Memory: O(n_k).
int hs_pool_map(const hs_pooling *, int64_t m, hs_pixel *cell) HS_MUST_USE;

// "Pooled by max, 2 x 2 tokens a cell.", cut at n bytes; "" when no two tokens share a cell.
void hs_pool_tell(const hs_pooling *, char *out, size_t n);

// HS_EARG for sizes and positions that cannot be, or no callback; `what` begins the message.
int hs_pool_check(const hs_pooling *, const char *what) HS_MUST_USE;

#endif
