// Gradients of log-sum-exps, norms and activations: rows and runs of numbers dealt to the threads.
#include "model/cpu/dev.h"

enum { BLOCK = 1 << 14 }; // numbers of a task

struct back_job {
    hs_dev *dev;
    int64_t n, per_task, d; // rows, those of a task, their width
    float *dx, *dlinear;
    const float *dy, *x, *linear, *scale, *w;
    int kind;
};

static int64_t end_of(const struct back_job *j, int64_t task) {
    return hs_min64((task + 1) * j->per_task, j->n);
}

static int norm_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct back_job *j = arg;
    for (int64_t r = task * j->per_task; r < end_of(j, task); r++)
        j->dev->kern->norm_back(j->dx + r * j->d, j->dy + r * j->d, j->x + r * j->d, j->scale[r],
                                j->d, j->w, j->kind == HS_NORM_LAYER);
    return HS_OK;
}

static int act_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct back_job *j = arg;
    const int64_t i = task * j->per_task;
    j->dev->kern->act_back[j->kind](j->dx + i, j->linear ? j->dlinear + i : NULL, j->dy + i,
                                    j->x + i, j->linear ? j->linear + i : NULL,
                                    end_of(j, task) - i);
    return HS_OK;
}

static int run(struct back_job *j, hs_task task) {
    j->per_task = j->d < BLOCK ? BLOCK / j->d : 1;
    return hs_cpu_run(j->dev, hs_div_up(j->n, j->per_task), task, j, j->n * j->d);
}

struct softmax_job {
    hs_dev *dev;
    float *x;
    int64_t ld, n;
    const double *lse;
    float by;
};

static int softmax_task(void *arg, int64_t r, int worker) {
    (void)worker;
    const struct softmax_job *j = arg;
    j->dev->kern->shares(j->x + r * j->ld, j->n, j->lse[r], j->by);
    return HS_OK;
}

int hs_cpu_softmax(hs_dev *dev, float *x, int64_t ld, const double *lse, int64_t n_rows, int64_t n,
                   float by) {
    struct softmax_job job = {dev, x, ld, n, lse, by};
    return hs_cpu_run(dev, n_rows, softmax_task, &job, n_rows * n);
}

int hs_cpu_norm_back(hs_dev *dev, void *dx, const void *dy, const void *normalized,
                     const void *scale, int64_t n_rows, int64_t d, const float *w,
                     enum hs_norm kind) {
    if (kind != HS_NORM_RMS && kind != HS_NORM_LAYER)
        return hs_fail(HS_EARG, "this model has no normalisation to differentiate");
    return run(&(struct back_job){.dev = dev,
                                  .n = n_rows,
                                  .d = d,
                                  .dx = dx,
                                  .dy = dy,
                                  .x = normalized,
                                  .scale = scale,
                                  .w = w,
                                  .kind = (int)kind},
               norm_task);
}

int hs_cpu_act_back(hs_dev *dev, void *dpre, void *dlinear, const void *dy, const void *pre,
                    const void *linear, int64_t n, enum hs_act kind) {
    return run(&(struct back_job){.dev = dev,
                                  .n = n,
                                  .d = 1,
                                  .dx = dpre,
                                  .dlinear = dlinear,
                                  .dy = dy,
                                  .x = pre,
                                  .linear = linear,
                                  .kind = (int)kind},
               act_task);
}
