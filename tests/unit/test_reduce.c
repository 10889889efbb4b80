// Reductions of rows of logits: both backends and all instruction sets against sums in long double,
// and the contract on bits.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/backends.h"
#include "tests/lib/isas.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
static const double LN2 = 0.69314718055994530942;

static void each_dev(void (*check)(const hs_backend *, hs_dev *)) {
    hs_dev *dev;
    for (int i = 0; isa_names[i]; i++) {
        const hs_dev_opts opts = {.threads = 2, .isa = isa_names[i]};
        if (hs_backend_cpu.open(&dev, &opts)) continue;
        check(&hs_backend_cpu, dev);
        hs_backend_cpu.close(dev);
    }
    assert_int_equal(hs_backend_ref.open(&dev, &(hs_dev_opts){.threads = 2}), HS_OK);
    check(&hs_backend_ref, dev);
    hs_backend_ref.close(dev);
}

static double lse_of(const hs_backend *be, hs_dev *dev, const float *x, int64_t n) {
    double out;
    assert_int_equal(be->log_sum_exp(dev, &out, x, n, 1, n), HS_OK);
    return out;
}

static double true_lse(const float *x, int64_t n) {
    long double max = -INFINITY, sum = 0;
    for (int64_t k = 0; k < n; k++)
        if (x[k] > max) max = x[k];
    for (int64_t k = 0; k < n; k++) sum += expl((long double)x[k] - max);
    return (double)(max + logl(sum));
}

// A row of logits: normal numbers of a size, with an offset and a peak.
static float *logits(uint64_t seed, int64_t n, float size, float offset, float peak) {
    float *x = normal_floats(seed, n);
    for (int64_t k = 0; k < n; k++) x[k] = x[k] * size + offset;
    x[n / 3] += peak;
    return x;
}

static const int64_t lens[] = {1, 2, 15, 16, 17, 31, 127, 128, 129, 130, 1000, 5001, 49152};
static const float shapes[][3] = {{1, 0, 0},    {10, 20, 0},     {3, -1000, 0}, {2, 8, 60},
                                  {.01f, 3, 0}, {30, 3000, 300}, {0, 0, 0}};

static void sums(const hs_backend *be, hs_dev *dev) {
    for (int i = 0; i < COUNT(lens); i++)
        for (int j = 0; j < COUNT(shapes); j++) {
            const float *s = shapes[j];
            float *x = logits((uint64_t)(i + 1), lens[i], s[0], s[1], s[2]);
            const double want = true_lse(x, lens[i]);
            // Relative to the sum is absolute in its logarithm, but for the last digits of that.
            near(lse_of(be, dev, x, lens[i]), want, 5e-7 + 1e-15 * fabs(want), "log_sum_exp");
            free(x);
        }
}
static void test_sums(void **state) {
    (void)state;
    each_dev(sums);
}

// Numbers that are none, and tokens that are not allowed.
static void edges(const hs_backend *be, hs_dev *dev) {
    float x[40], y[40];
    double kl, jsd, lse[2];
    for (int k = 0; k < 40; k++) x[k] = y[k] = -INFINITY;
    assert_true(lse_of(be, dev, x, 40) == -INFINITY || isnan(lse_of(be, dev, x, 40)));
    x[3] = y[3] = 5;
    x[37] = 5;
    near(lse_of(be, dev, x, 40), 5 + LN2, 1e-12, "two tokens");
    near(lse_of(be, dev, y, 40), 5, 0, "one token");
    lse[0] = lse_of(be, dev, x, 40), lse[1] = lse_of(be, dev, y, 40);
    assert_int_equal(be->divergence(dev, &kl, &jsd, y, 40, lse + 1, x, 40, lse, 1, 40), HS_OK);
    near(kl, LN2, 1e-6, "one token of two");
    near(jsd, .5 * (log(4. / 3) + .5 * log(2. / 3) + .5 * LN2), 1e-6, "one token of two");
    assert_int_equal(be->divergence(dev, &kl, &jsd, x, 40, lse, y, 40, lse + 1, 1, 40), HS_OK);
    near(kl, INFINITY, 0, "a token that q forbids");
    near(jsd, .5 * (log(4. / 3) + .5 * log(2. / 3) + .5 * LN2), 1e-6, "two tokens of one");
    y[3] = -INFINITY;
    y[4] = 7;
    lse[1] = lse_of(be, dev, y, 40);
    assert_int_equal(be->divergence(dev, NULL, &jsd, x, 40, lse, y, 40, lse + 1, 1, 40), HS_OK);
    near(jsd, LN2, 1e-6, "nothing in common");
    x[20] = NAN;
    lse[0] = lse_of(be, dev, x, 40);
    assert_true(isnan(lse[0]));
    assert_int_equal(be->divergence(dev, &kl, &jsd, x, 40, lse, y, 40, lse + 1, 1, 40), HS_OK);
    assert_true(isnan(kl) && isnan(jsd));
}
static void test_edges(void **state) {
    (void)state;
    each_dev(edges);
}

static void true_divergence(const float *a, const float *b, int64_t n, double *kl, double *jsd) {
    const long double la = true_lse(a, n), lb = true_lse(b, n);
    long double k = 0, j = 0, rest = 0;
    for (int64_t i = 0; i < n; i++) {
        const long double ln_p = a[i] - la, ln_q = b[i] - lb, p = expl(ln_p), q = expl(ln_q);
        const long double m = (p + q) / 2;
        k += p * (ln_p - ln_q);
        rest += q - p; // 0, but for the rounding of la and lb to double
        if (p > 0) j += p * logl(p / m);
        if (q > 0) j += q * logl(q / m);
    }
    *kl = (double)(k + rest);
    *jsd = (double)(j / 2);
}

// From the same row twice over a small edit (1e-4 of the logits) to another row altogether.
static void divergences(const hs_backend *be, hs_dev *dev) {
    static const float changes[] = {0, 1e-4f, 1e-3f, .03f, .4f, 1, 3, 20};
    for (int i = 0; i < COUNT(lens); i++)
        for (int j = 0; j < COUNT(shapes) * COUNT(changes); j++) {
            const float *s = shapes[j % COUNT(shapes)], change = changes[j / COUNT(shapes)];
            const int64_t n = lens[i];
            float *a = logits((uint64_t)(i + 1), n, s[0], s[1], s[2]), *b = normal_floats(99, n);
            double lse[2], want[2], got[2], only = -1;
            if (n > 20000 && j % 3) {
                free(a), free(b);
                continue;
            }
            for (int64_t k = 0; k < n; k++) b[k] = a[k] + change * (b[k] + 1);
            true_divergence(a, b, n, &want[0], &want[1]);
            lse[0] = lse_of(be, dev, a, n), lse[1] = lse_of(be, dev, b, n);
            assert_int_equal(
                be->divergence(dev, &got[0], &got[1], a, n, &lse[0], b, n, &lse[1], 1, n), HS_OK);
            // What the logarithms are off by changes every t by as much.
            near(got[0], want[0], 3e-6 * want[0] + 1e-6 * sqrt(want[0]) + 1e-12, "kl");
            near(got[1], want[1], 3e-6 * want[1] + 1e-6 * sqrt(want[1]) + 1e-12, "jsd");
            assert_true(got[0] >= -1e-12 && got[1] >= -1e-12 && got[1] <= LN2 * (1 + 1e-6));
            if (change == 0 && be == &hs_backend_cpu) assert_true(got[0] == 0 && got[1] == 0);
            assert_int_equal(be->divergence(dev, &only, NULL, a, n, &lse[0], b, n, &lse[1], 1, n),
                             HS_OK);
            assert_true(only == got[0]);
            // KL of one way and the other differ, JSD does not.
            assert_int_equal(be->divergence(dev, NULL, &only, b, n, &lse[1], a, n, &lse[0], 1, n),
                             HS_OK);
            near(only, got[1], 1e-6 * got[1] + 1e-13, "jsd the other way round");
            free(a), free(b);
        }
}
static void test_divergences(void **state) {
    (void)state;
    each_dev(divergences);
}

// A row's result is its own: whatever the neighbours, the width of a row in memory, the threads.
enum { ROWS = 37, N = 3001, LD = N + 5 };
static void rows_stand_alone(const char *isa) {
    static const int64_t parts[][2] = {{0, 1}, {5, 7}, {36, 1}, {1, 36}};
    const hs_backend *be = &hs_backend_cpu;
    float *a = normal_floats(1, ROWS * LD), *b = normal_floats(2, ROWS * LD);
    double all[4][ROWS], some[4][ROWS];
    for (int threads = 1; threads <= 3; threads++) {
        hs_dev *dev;
        assert_int_equal(be->open(&dev, &(hs_dev_opts){.threads = threads, .isa = isa}), HS_OK);
        for (int i = -1; i < COUNT(parts); i++) {
            const int64_t r = i < 0 ? 0 : parts[i][0], n = i < 0 ? ROWS : parts[i][1];
            double(*to)[ROWS] = threads == 1 && i < 0 ? all : some;
            const float *x = a + r * LD, *y = b + r * LD;
            assert_int_equal(be->log_sum_exp(dev, to[0], x, LD, n, N), HS_OK);
            assert_int_equal(be->log_sum_exp(dev, to[1], y, LD, n, N), HS_OK);
            assert_int_equal(be->divergence(dev, to[2], to[3], x, LD, to[0], y, LD, to[1], n, N),
                             HS_OK);
            for (int k = 0; to == some && k < 4; k++)
                assert_memory_equal(all[k] + r, some[k], (size_t)n * sizeof(double));
        }
        be->close(dev);
    }
    free(a), free(b);
}
static void test_rows_stand_alone(void **state) {
    (void)state;
    on_each_isa(rows_stand_alone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_divergences),
        cmocka_unit_test(test_rows_stand_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
