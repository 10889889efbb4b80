// A typed window onto memory that somebody else owns. Passed by value.
#ifndef HS_CORE_VIEW_H
#define HS_CORE_VIEW_H

#include "model/core/dtype.h"
#include "model/core/err.h"

typedef struct hs_view {
    void *data; // first element; const memory (a mapped file) is never written through it
    hs_dtype dtype;
    int ndim;          // 1..4
    int64_t shape[4];  // row-major, slowest first: a weight is [out, in]
    int64_t stride[4]; // in elements; block formats need stride 1 on the last axis and whole
                       // blocks in every row
} hs_view;

// A dense row-major f32 matrix.
static inline hs_view hs_view_f32(float *data, int64_t rows, int64_t cols) {
    return (hs_view){data, HS_F32, 2, {rows, cols}, {cols, 1}};
}

// Elements, the product of the shape.
static inline int64_t hs_view_count(const hs_view *v) {
    int64_t n = 1;
    for (int i = 0; i < v->ndim; i++) n *= v->shape[i];
    return n;
}

// n numbers of a matrix's row from column k on, as f32. Block formats: k and n in whole blocks.
void hs_view_row(const hs_view *m, int64_t row, int64_t k, int64_t n, float *dst);
// HS_EUNSUPPORTED or HS_EARG unless hs_view_row can read m.
int hs_view_row_check(const hs_view *m) HS_MUST_USE;

#endif
