// The percentile bootstrap (Efron 1979), of a mean and of any statistic of items.
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

int hs_bootstrap_of(hs_statistic fn, void *ctx, int64_t n, int64_t rounds, uint64_t seed,
                    double level, double *low, double *high) {
    double *found = NULL;
    int64_t *item = NULL, n_found = 0;
    *low = *high = (double)NAN;
    if (n < 2 || rounds < 1) return HS_OK;
    int rc = hs_alloc(&found, (size_t)rounds, sizeof *found);
    if (!rc) rc = hs_alloc(&item, (size_t)n, sizeof *item);
    hs_prng random = hs_prng_seed(seed);
    for (int64_t r = 0; r < rounds && !rc; r++) {
        for (int64_t i = 0; i < n; i++) item[i] = (int64_t)hs_prng_below(&random, (uint64_t)n);
        const double x = fn(ctx, item, n);
        if (!isnan(x)) found[n_found++] = x;
    }
    if (!rc && 2 * n_found >= rounds) {
        qsort(found, (size_t)n_found, sizeof *found, ascending);
        *low = quantile(found, n_found, (1 - level) / 2);
        *high = quantile(found, n_found, (1 + level) / 2);
    }
    free(found);
    free(item);
    return rc;
}

struct values {
    const double *at;
};

static double mean(void *ctx, const int64_t *item, int64_t n) {
    const struct values *values = ctx;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += values->at[item[i]];
    return sum / (double)n;
}

int hs_bootstrap(const double *value, int64_t n, int64_t rounds, uint64_t seed, double level,
                 double *low, double *high) {
    struct values values = {value};
    return hs_bootstrap_of(mean, &values, n, rounds, seed, level, low, high);
}
