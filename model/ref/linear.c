// The reference backend's products y = x W^T + b.
//
// A weight stays as it is stored. A task opens a few of its rows as doubles and multiplies every
// row of x by them; several sums are in work at a time, so that one need not wait for another, but
// each runs over k from the first term to the last.
#include <math.h>
#include <stdlib.h>

#include "model/core/mem.h"
#include "model/ref/ref.h"

enum { TOGETHER = 8 }; // outputs of a task

struct hs_weight {
    hs_view view;
    const int32_t *row_of;
};

struct pack_job {
    hs_dev *dev;
    const hs_weight *w;
};

const hs_view *hs_ref_weight_view(const hs_weight *w) {
    return &w->view;
}

void hs_ref_weight_row(const hs_weight *w, int64_t n, double *out) {
    hs_ref_row(&w->view, w->row_of ? w->row_of[n] : n, out);
}

static int check_row(void *arg, int64_t n, int worker) {
    const struct pack_job *job = arg;
    const hs_view *view = &job->w->view;
    double *row = job->dev->scratch[worker];
    hs_ref_weight_row(job->w, n, row);
    for (int64_t k = 0; k < view->shape[1]; k++)
        if (!isfinite(row[k]))
            return hs_fail(HS_EFORMAT, "the weight at row %lld, column %lld is not a finite number",
                           (long long)n, (long long)k);
    return HS_OK;
}

int hs_ref_pack(hs_dev *dev, hs_weight **out, const hs_view *view, const int32_t *row_of,
                enum hs_weight_mode mode) {
    (void)mode;
    hs_weight *w = NULL;
    *out = NULL;
    int rc = hs_view_row_check(view);
    if (!rc) rc = hs_alloc(&w, 1, sizeof *w);
    if (!rc) rc = hs_ref_scratch(dev, view->shape[1]);
    if (!rc) {
        *w = (hs_weight){*view, row_of};
        rc = hs_pool_run(dev->pool, view->shape[0], check_row, &(struct pack_job){dev, w});
    }
    if (rc)
        free(w);
    else
        *out = w;
    return rc;
}

int64_t hs_ref_weight_bytes(const hs_dev *dev, const hs_view *view, enum hs_weight_mode mode) {
    (void)dev, (void)mode;
    return hs_view_row_check(view) ? 0 : (int64_t)sizeof(hs_weight);
}

void hs_ref_unpack(hs_weight *w) {
    free(w);
}

struct job {
    hs_dev *dev;
    const hs_product *p;
    const double *x;
    int64_t ld_x, n_rows;
};

// Rows n0 .. n0+n-1 of the weight into w [k][TOGETHER]; `row` holds one of them meanwhile.
static void open_rows(const hs_weight *from, int64_t n0, int64_t n, double *w, double *row) {
    const int64_t K = from->view.shape[1];
    for (int64_t j = 0; j < n; j++) {
        hs_ref_weight_row(from, n0 + j, row);
        for (int64_t k = 0; k < K; k++) w[k * TOGETHER + j] = row[k];
    }
}

static int task(void *arg, int64_t t, int worker) {
    const struct job *job = arg;
    const hs_product *p = job->p;
    const int64_t N = p->w->view.shape[0], K = p->w->view.shape[1], n0 = t * TOGETHER;
    const int64_t n = N - n0 < TOGETHER ? N - n0 : TOGETHER;
    double *w = job->dev->scratch[worker];
    open_rows(p->w, n0, n, w, w + K * TOGETHER);
    for (int64_t r = 0; r < job->n_rows; r++) {
        const double *x = job->x + r * job->ld_x;
        double *y = (double *)p->y + r * p->ld_y + n0, sum[TOGETHER] = {0};
        for (int64_t k = 0; k < K; k++)
            for (int j = 0; j < TOGETHER; j++) sum[j] += x[k] * w[k * TOGETHER + j];
        for (int64_t j = 0; j < n; j++) y[j] = sum[j] + (p->bias ? (double)p->bias[n0 + j] : 0);
    }
    return HS_OK;
}

int64_t hs_ref_linear_scratch(const hs_extent *e) {
    return e->width * (TOGETHER + 1);
}

int hs_ref_linear(hs_dev *dev, const hs_product *p, int n_product, const void *x, int64_t ld_x,
                  int64_t n_rows) {
    int rc = HS_OK;
    for (int i = 0; i < n_product && !rc; i++) {
        const hs_view *w = &p[i].w->view;
        struct job job = {dev, &p[i], x, ld_x, n_rows};
        rc = hs_ref_scratch(dev, w->shape[1] * (TOGETHER + 1));
        if (!rc) rc = hs_pool_run(dev->pool, (w->shape[0] + TOGETHER - 1) / TOGETHER, task, &job);
    }
    return rc;
}
