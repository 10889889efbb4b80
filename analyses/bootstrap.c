// The percentile bootstrap (Efron 1979) of a mean.
#include <math.h>
#include <stdlib.h>

#include "analyses/effect.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Quantile q of sorted values, between neighbours on a straight line.
static double quantile(const double *sorted, int64_t n, double q) {
    const double at = q * (double)(n - 1);
    const int64_t i = (int64_t)at;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

int hs_bootstrap(const double *value, int64_t n, int64_t rounds, uint64_t seed, double level,
                 double *low, double *high) {
    double *mean;
    *low = *high = NAN;
    if (n < 2 || rounds < 1) return HS_OK;
    int rc = hs_alloc(&mean, (size_t)rounds, sizeof *mean);
    if (rc) return rc;
    hs_prng random = hs_prng_seed(seed);
    for (int64_t r = 0; r < rounds; r++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += value[hs_prng_below(&random, (uint64_t)n)];
        mean[r] = sum / (double)n;
    }
    qsort(mean, (size_t)rounds, sizeof *mean, ascending);
    *low = quantile(mean, rounds, (1 - level) / 2);
    *high = quantile(mean, rounds, (1 + level) / 2);
    free(mean);
    return HS_OK;
}
