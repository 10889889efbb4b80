// Small dense linear algebra: matrices whose eigenvalues and singular values are known, and
// identities of random ones.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/linalg.h"
#include "model/core/prng.h"

enum { N = 12 };

static void draw(double *a, int64_t n, uint64_t seed) {
    hs_prng r = hs_prng_seed(seed);
    for (int64_t i = 0; i < n; i++) a[i] = hs_prng_normal(&r);
}

static void near(double a, double b) {
    if (!(fabs(a - b) < 1e-10)) fail_msg("%.15g is not %.15g", a, b);
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void a_rotation_has_imaginary_ones(void **state) {
    (void)state;
    const double a[] = {3, 0, 0, 0, 0, -2, 0, 2, 0};
    double re[3], im[3], size[3];
    assert_int_equal(hs_eigenvalues(re, im, a, 3), HS_OK);
    for (int i = 0; i < 3; i++) {
        size[i] = hypot(re[i], im[i]);
        near(fabs(im[i]), re[i] > 1 ? 0 : 2);
    }
    qsort(size, 3, sizeof *size, by_number);
    near(size[0], 2);
    near(size[2], 3);
}

static void those_of_a_triangle_stand_on_its_diagonal(void **state) {
    (void)state;
    double a[N * N], re[N], im[N];
    draw(a, N * N, 1);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            if (k < i) a[i * N + k] = 0;
    for (int i = 0; i < N; i++) a[i * N + i] = i - 3.5;
    assert_int_equal(hs_eigenvalues(re, im, a, N), HS_OK);
    qsort(re, N, sizeof *re, by_number);
    for (int i = 0; i < N; i++) near(re[i], i - 3.5);
    for (int i = 0; i < N; i++) near(im[i], 0);
}

// Sum and sum of squares of the eigenvalues are the traces of a and a a.
static void sums_are_traces(void **state) {
    (void)state;
    double a[N * N], kept[N * N], re[N], im[N], sum = 0, squares = 0, trace = 0, trace2 = 0;
    draw(a, N * N, 2);
    memcpy(kept, a, sizeof a);
    assert_int_equal(hs_eigenvalues(re, im, a, N), HS_OK);
    assert_memory_equal(a, kept, sizeof a);
    for (int i = 0; i < N; i++) {
        sum += re[i];
        squares += re[i] * re[i] - im[i] * im[i];
        trace += a[i * N + i];
        for (int k = 0; k < N; k++) trace2 += a[i * N + k] * a[k * N + i];
    }
    near(sum, trace);
    near(squares, trace2);
}

// diag(5, 3, 2) turned on both sides, wide and tall.
static void singular_values_outlive_turns(void **state) {
    (void)state;
    const double c = cos(0.4), s = sin(0.4);
    const double left[3][3] = {{c, -s, 0}, {s, c, 0}, {0, 0, 1}};
    const double right[3][3] = {{1, 0, 0}, {0, c, s}, {0, -s, c}};
    const double size[] = {3, 5, 2};
    double a[3 * 5] = {0}, t[5 * 3] = {0}, got[3];
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            for (int e = 0; e < 3; e++) a[i * 5 + k + 1] += left[i][e] * size[e] * right[e][k];
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 5; k++) t[k * 3 + i] = a[i * 5 + k];
    for (int tall = 0; tall < 2; tall++) {
        assert_int_equal(hs_singular_values(got, tall ? t : a, tall ? 5 : 3, tall ? 3 : 5), HS_OK);
        near(got[0], 5);
        near(got[1], 3);
        near(got[2], 2);
    }
}

static void gram_is_kept(const double *a, int64_t m, int64_t n) {
    double r[N * N];
    assert_int_equal(hs_triangular(r, a, m, n), HS_OK);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < n; k++) {
            double have = 0, want = 0;
            for (int64_t e = 0; e < n; e++) have += r[e * n + i] * r[e * n + k];
            for (int64_t e = 0; e < m; e++) want += a[e * n + i] * a[e * n + k];
            near(have, want);
            if (k < i) assert_true(r[i * n + k] == 0);
        }
}

static void a_triangle_has_the_same_gram_matrix(void **state) {
    (void)state;
    double a[3 * N * N];
    draw(a, 3 * N * N, 3);
    gram_is_kept(a, 3 * N, N);
    gram_is_kept(a, N, N);
    gram_is_kept(a, 5, N);
    gram_is_kept(a, 1, N);
}

static void what_is_not_finite_is_an_error(void **state) {
    (void)state;
    const double a[] = {1, NAN, 0, 1};
    double re[2], im[2];
    assert_int_equal(hs_eigenvalues(re, im, a, 2), HS_E);
    assert_non_null(strstr(hs_errmsg(), "not finite"));
    assert_int_equal(hs_singular_values(re, a, 2, 2), HS_E);
    assert_int_equal(hs_eigenvalues(re, im, a, 0), HS_ERANGE);
    assert_int_equal(hs_singular_values(re, a, INT64_MAX, 2), HS_ERANGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotation_has_imaginary_ones),
        cmocka_unit_test(those_of_a_triangle_stand_on_its_diagonal),
        cmocka_unit_test(sums_are_traces),
        cmocka_unit_test(singular_values_outlive_turns),
        cmocka_unit_test(a_triangle_has_the_same_gram_matrix),
        cmocka_unit_test(what_is_not_finite_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
