// Dense linear algebra of small matrices, in double: eigenvalues, singular values, triangular
// factors. linalg.c is the only file that includes LAPACKE. Matrices are row-major and dense; none is
// written to. Any number of threads may call at once.
#ifndef HS_ANALYSES_LINALG_H
#define HS_ANALYSES_LINALG_H

#include <stdint.h>

#include "model/core/err.h"

// The n eigenvalues of a[n][n], which need not be symmetric, into re[n] and im[n], in no order. HS_E
// where they are not found, as in a matrix with numbers that are not finite.
int hs_eigenvalues(double *re, double *im, const double *a, int64_t n) HS_MUST_USE;

// The singular values of a[m][n] into out[min(m, n)], largest first.
int hs_singular_values(double *out, const double *a, int64_t m, int64_t n) HS_MUST_USE;

// r[n][n], upper triangular, with r^T r = a^T a for a[m][n]: the factor R of a = Q R, with rows of
// zeros below where m < n. |a x| = |r x| for every x.
int hs_triangular(double *r, const double *a, int64_t m, int64_t n) HS_MUST_USE;

#endif
