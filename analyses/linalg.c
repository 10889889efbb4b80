// LAPACK's routines for small dense matrices; see linalg.h.
//
// Work is done on copies, since LAPACK overwrites what it is given. Row-major matrices are handed
// over as the transposes that LAPACK sees in them, which saves LAPACKE's own copies: eigenvalues and
// singular values are the same, and a = Q R is the LQ factorisation of the transpose. Work memory is
// ours too: where LAPACKE finds none, it says so on standard output.
#include "analyses/linalg.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

// A copy of a[m][n]; HS_ERANGE when LAPACK cannot count it, HS_E when it would not come to an end.
static int copy_of(double **out, const double *a, int64_t m, int64_t n) {
    size_t count;
    *out = NULL;
    if (m < 1 || n < 1 || m > INT32_MAX || n > INT32_MAX || !hs_mul((size_t)m, (size_t)n, &count))
        return hs_fail(HS_ERANGE, "a matrix of %lld x %lld", (long long)m, (long long)n);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(a[i])) return hs_fail(HS_E, "a matrix with numbers that are not finite");
    int rc = hs_alloc(out, count, sizeof **out);
    if (!rc) memcpy(*out, a, count * sizeof **out);
    return rc;
}

// Work memory of as many numbers as a routine asked for, which was called with none.
static int room_of(double **out, double asked, lapack_int *n) {
    *n = (lapack_int)asked;
    return hs_alloc(out, (size_t)*n, sizeof **out);
}

static int result_of(const char *what, lapack_int info) {
    return info ? hs_fail(HS_E, "%s: the iteration did not converge", what) : HS_OK;
}

int hs_eigenvalues(double *re, double *im, const double *a, int64_t n) {
    const lapack_int k = (lapack_int)n;
    double *copy, *room = NULL, asked = 0;
    lapack_int n_room;
    int rc = copy_of(&copy, a, n, n);
    if (!rc)
        rc = result_of("eigenvalues", LAPACKE_dgeev_work(LAPACK_COL_MAJOR, 'N', 'N', k, copy, k, re,
                                                         im, NULL, 1, NULL, 1, &asked, -1));
    if (!rc) rc = room_of(&room, asked, &n_room);
    if (!rc)
        rc = result_of("eigenvalues", LAPACKE_dgeev_work(LAPACK_COL_MAJOR, 'N', 'N', k, copy, k, re,
                                                         im, NULL, 1, NULL, 1, room, n_room));
    free(room);
    free(copy);
    return rc;
}

int hs_singular_values(double *out, const double *a, int64_t m, int64_t n) {
    const lapack_int rows = (lapack_int)n, cols = (lapack_int)m;
    double *copy, *room = NULL, asked = 0;
    lapack_int *index = NULL, n_room;
    int rc = copy_of(&copy, a, m, n);
    if (!rc) rc = hs_alloc(&index, 8 * (size_t)(m < n ? m : n), sizeof *index);
    if (!rc)
        rc = result_of("singular values",
                       LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', rows, cols, copy, rows, out, NULL,
                                           1, NULL, 1, &asked, -1, index));
    if (!rc) rc = room_of(&room, asked, &n_room);
    if (!rc)
        rc = result_of("singular values",
                       LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', rows, cols, copy, rows, out, NULL,
                                           1, NULL, 1, room, n_room, index));
    free(room);
    free(index);
    free(copy);
    return rc;
}

int hs_triangular(double *r, const double *a, int64_t m, int64_t n) {
    const int64_t least = m < n ? m : n;
    const lapack_int rows = (lapack_int)n, cols = (lapack_int)m;
    double *copy, *tau = NULL, *room = NULL, asked = 0;
    lapack_int n_room;
    int rc = copy_of(&copy, a, m, n);
    if (!rc) rc = hs_alloc(&tau, (size_t)least, sizeof *tau);
    if (!rc)
        rc = result_of("a QR factor", LAPACKE_dgelqf_work(LAPACK_COL_MAJOR, rows, cols, copy, rows,
                                                          tau, &asked, -1));
    if (!rc) rc = room_of(&room, asked, &n_room);
    if (!rc)
        rc = result_of("a QR factor", LAPACKE_dgelqf_work(LAPACK_COL_MAJOR, rows, cols, copy, rows,
                                                          tau, room, n_room));
    for (int64_t i = 0; i < n && !rc; i++)
        for (int64_t k = 0; k < n; k++) r[i * n + k] = i < least && k >= i ? copy[i * n + k] : 0;
    free(room);
    free(tau);
    free(copy);
    return rc;
}
