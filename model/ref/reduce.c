// Reductions of rows of logits in double, as their formulas stand.
#include <math.h>

#include "model/ref/ref.h"

struct reduce_job {
    const float *a, *b;
    int64_t ld_a, ld_b, n;
    const double *lse_a, *lse_b;
    double *lse, *kl, *jsd;
};

static int sum_task(void *arg, int64_t r, int worker) {
    const struct reduce_job *j = arg;
    const float *x = j->a + r * j->ld_a;
    double max = -INFINITY, sum = 0;
    (void)worker;
    for (int64_t k = 0; k < j->n; k++)
        if ((double)x[k] > max) max = (double)x[k];
    for (int64_t k = 0; k < j->n; k++) sum += exp((double)x[k] - max);
    j->lse[r] = sum == 0 ? -INFINITY : max + log(sum);
    return HS_OK;
}

int hs_ref_log_sum_exp(hs_dev *dev, double *out, const float *x, int64_t ld, int64_t n_rows,
                       int64_t n) {
    struct reduce_job j = {.a = x, .ld_a = ld, .n = n, .lse = out};
    return hs_pool_run(dev->pool, n_rows, sum_task, &j);
}

// p ln(p / q), of p = 0 too.
static double term(double p, double ln_p, double ln_q) {
    return p == 0 ? 0 : p * (ln_p - ln_q);
}

static int divergence_task(void *arg, int64_t r, int worker) {
    const struct reduce_job *j = arg;
    double kl = 0, jsd = 0;
    (void)worker;
    for (int64_t k = 0; k < j->n; k++) {
        const double ln_p = (double)j->a[r * j->ld_a + k] - j->lse_a[r];
        const double ln_q = (double)j->b[r * j->ld_b + k] - j->lse_b[r];
        const double p = exp(ln_p), q = exp(ln_q), ln_m = log((p + q) / 2);
        kl += term(p, ln_p, ln_q);
        jsd += (term(p, ln_p, ln_m) + term(q, ln_q, ln_m)) / 2;
    }
    if (j->kl) j->kl[r] = kl;
    if (j->jsd) j->jsd[r] = jsd;
    return HS_OK;
}

int hs_ref_divergence(hs_dev *dev, double *kl, double *jsd, const float *a, int64_t ld_a,
                      const double *lse_a, const float *b, int64_t ld_b, const double *lse_b,
                      int64_t n_rows, int64_t n) {
    struct reduce_job j = {.a = a,
                           .b = b,
                           .ld_a = ld_a,
                           .ld_b = ld_b,
                           .n = n,
                           .lse_a = lse_a,
                           .lse_b = lse_b,
                           .kl = kl,
                           .jsd = jsd};
    return hs_pool_run(dev->pool, n_rows, divergence_task, &j);
}
