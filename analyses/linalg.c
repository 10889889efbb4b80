// LAPACK's routines for small dense matrices; see linalg.h.
//
// Work is done on copies, since LAPACK overwrites what it is given. Row-major matrices are handed
// over as the transposes that LAPACK sees in them, which saves LAPACKE's own copies: eigenvalues and
// singular values are the same, and a = Q R is the LQ factorisation of the transpose.
#include "analyses/linalg.h"

#include <lapacke.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

// A copy of a[m][n]; HS_ERANGE when LAPACK cannot count it.
static int copy_of(double **out, const double *a, int64_t m, int64_t n) {
    size_t count;
    *out = NULL;
    if (m < 1 || n < 1 || m > INT32_MAX || n > INT32_MAX || !hs_mul((size_t)m, (size_t)n, &count))
        return hs_fail(HS_ERANGE, "a matrix of %lld x %lld", (long long)m, (long long)n);
    int rc = hs_alloc(out, count, sizeof **out);
    if (!rc) memcpy(*out, a, count * sizeof **out);
    return rc;
}

static int result_of(const char *what, lapack_int info) {
    if (!info) return HS_OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return hs_fail(HS_ENOMEM, "%s: no memory", what);
    return hs_fail(HS_E,
                   info < 0 ? "%s of a matrix with numbers that are not finite"
                            : "%s: the iteration did not converge",
                   what);
}

int hs_eigenvalues(double *re, double *im, const double *a, int64_t n) {
    double *work;
    int rc = copy_of(&work, a, n, n);
    if (!rc)
        rc = result_of("eigenvalues", LAPACKE_dgeev(LAPACK_COL_MAJOR, 'N', 'N', (lapack_int)n, work,
                                                    (lapack_int)n, re, im, NULL, 1, NULL, 1));
    free(work);
    return rc;
}

int hs_singular_values(double *out, const double *a, int64_t m, int64_t n) {
    double *work;
    int rc = copy_of(&work, a, m, n);
    if (!rc)
        rc = result_of("singular values",
                       LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (lapack_int)n, (lapack_int)m, work,
                                      (lapack_int)n, out, NULL, 1, NULL, 1));
    free(work);
    return rc;
}

int hs_triangular(double *r, const double *a, int64_t m, int64_t n) {
    const int64_t least = m < n ? m : n;
    double *work, *tau = NULL;
    int rc = copy_of(&work, a, m, n);
    if (!rc) rc = hs_alloc(&tau, (size_t)least, sizeof *tau);
    if (!rc)
        rc = result_of("a QR factor", LAPACKE_dgelqf(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)m,
                                                     work, (lapack_int)n, tau));
    for (int64_t i = 0; i < n && !rc; i++)
        for (int64_t k = 0; k < n; k++) r[i * n + k] = i < least && k >= i ? work[i * n + k] : 0;
    free(tau);
    free(work);
    return rc;
}
