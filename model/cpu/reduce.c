// Reductions of rows of logits: ln of a row's sum of exponentials, divergences of two rows. Tasks
// are rows, as many of them as make some work.
#include <math.h>

#include "model/cpu/dev.h"

enum { TASK = 1 << 14 }; // numbers of a task

struct reduce_job {
    hs_dev *dev;
    const float *a, *b; // b: NULL for one row's sums
    int64_t ld_a, ld_b, n_rows, n, per_task;
    const double *lse_a, *lse_b;
    double *lse, *kl, *jsd;
};

static void reduce_row(const struct reduce_job *j, int64_t r) {
    const hs_kern *kern = j->dev->kern;
    const float *a = j->a + r * j->ld_a;
    if (!j->b) {
        float max;
        const double sum = kern->sum_exp(a, j->n, &max);
        j->lse[r] = (double)max + log(sum);
        return;
    }
    double kl = NAN, jsd = NAN;
    if (isfinite(j->lse_a[r]) && isfinite(j->lse_b[r]))
        kern->diverge(&kl, j->jsd ? &jsd : NULL, a, j->lse_a[r], j->b + r * j->ld_b, j->lse_b[r],
                      j->n);
    // A token that the second row forbids and the first does not.
    if (j->kl) j->kl[r] = kl > 1e20 ? INFINITY : kl;
    if (j->jsd) j->jsd[r] = jsd;
}

static int reduce_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct reduce_job *j = arg;
    const int64_t end = (task + 1) * j->per_task;
    for (int64_t r = task * j->per_task; r < end && r < j->n_rows; r++) reduce_row(j, r);
    return HS_OK;
}

static int run(struct reduce_job *j) {
    j->per_task = j->n < TASK ? TASK / (j->n > 0 ? j->n : 1) : 1;
    return hs_cpu_run(j->dev, hs_div_up(j->n_rows, j->per_task), reduce_task, j, j->n_rows * j->n);
}

int hs_cpu_log_sum_exp(hs_dev *dev, double *out, const float *x, int64_t ld, int64_t n_rows,
                       int64_t n) {
    return run(
        &(struct reduce_job){.dev = dev, .a = x, .ld_a = ld, .n_rows = n_rows, .n = n, .lse = out});
}

int hs_cpu_divergence(hs_dev *dev, double *kl, double *jsd, const float *a, int64_t ld_a,
                      const double *lse_a, const float *b, int64_t ld_b, const double *lse_b,
                      int64_t n_rows, int64_t n) {
    return run(&(struct reduce_job){.dev = dev,
                                    .a = a,
                                    .b = b,
                                    .ld_a = ld_a,
                                    .ld_b = ld_b,
                                    .n_rows = n_rows,
                                    .n = n,
                                    .lse_a = lse_a,
                                    .lse_b = lse_b,
                                    .kl = kl,
                                    .jsd = jsd});
}
