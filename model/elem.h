// The numbers a backend works in, f32 or f64, for those who only pass them on: where they lie, and
// how they become the f32 that everybody outside the engine sees. Nothing else looks at the type.
#ifndef HS_MODEL_ELEM_H
#define HS_MODEL_ELEM_H

#include <string.h>

#include "model/core/dtype.h"

// Element i of an array.
static inline void *hs_elem_at(int dtype, void *p, int64_t i) {
    return (char *)p + i * hs_dtypes[dtype].bytes;
}

static inline double hs_elem_get(int dtype, const void *p, int64_t i) {
    return dtype == HS_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static inline void hs_elem_set(int dtype, void *p, int64_t i, double v) {
    if (dtype == HS_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

// n numbers of f32 become elements; the arrays may overlap when they are of one type.
static inline void hs_elem_from_f32(int dtype, void *p, const float *from, int64_t n) {
    if (dtype == HS_F32)
        memmove(p, from, (size_t)n * sizeof *from);
    else
        for (int64_t i = 0; i < n; i++) hs_elem_set(dtype, p, i, (double)from[i]);
}

// Takes back what was changed in `shown`, which held the elements of p as f32. A number left alone
// keeps all its digits.
static inline void hs_elem_take(int dtype, void *p, const float *shown, int64_t n) {
    if (shown == p) return;
    for (int64_t i = 0; i < n; i++)
        if ((float)hs_elem_get(dtype, p, i) != shown[i]) hs_elem_set(dtype, p, i, (double)shown[i]);
}

#endif
