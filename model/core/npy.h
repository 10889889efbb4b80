// Vectors and matrices from numpy's .npy files.
#ifndef HS_CORE_NPY_H
#define HS_CORE_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "model/core/err.h"

typedef struct hs_npy {
    int ndim;         // 1 or 2
    int64_t shape[2]; // each at least 1; shape[1] is 1 for a vector
    float *data;      // owned, dense, row-major
} hs_npy;

// Reads a file of f2, f4 or f8 numbers, little endian, in C order. On failure *out is zero. HS_EIO
// when it cannot be read; HS_EFORMAT when it is damaged or not such a file; HS_EUNSUPPORTED for
// other types, orders and numbers of axes, with what to save instead.
int hs_npy_open(hs_npy *out, const char *path) HS_MUST_USE;
// The same from the n bytes of a file.
int hs_npy_read(hs_npy *out, const uint8_t *bytes, size_t n) HS_MUST_USE;
void hs_npy_free(hs_npy *);

#endif
