// The weights of a layer's attention as heads see them: read row by row as stored, norm gains folded
// in, centred where the model's norms take the mean away, and reduced to triangles of d_head x
// d_head, from which all norms and singular values of products come.
#include <stdlib.h>
#include <string.h>

#include "analyses/linalg.h"
#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"

static void centre(float *row, int64_t d) {
    double mean = 0;
    for (int64_t i = 0; i < d; i++) mean += (double)row[i];
    mean /= (double)d;
    for (int64_t i = 0; i < d; i++) row[i] = (float)((double)row[i] - mean);
}

void hs_weights_fold(const hs_model *model, float *row, const float *gain) {
    const hs_config *c = hs_model_config(model);
    for (int64_t i = 0; i < c->d_model && gain; i++) row[i] *= gain[i];
    if (c->norm == HS_NORM_LAYER) centre(row, c->d_model);
}

// One of W_Q, W_K, W_V: n rows, and what biases add to their products.
static int read_in(const hs_model *m, int layer, enum hs_role weight, enum hs_role bias, int64_t n,
                   float **rows, double **add) {
    const int64_t d = hs_model_config(m)->d_model;
    const float *gain = hs_model_vector(m, HS_W_LN1, layer);
    const float *shift = hs_model_vector(m, HS_B_LN1, layer);
    const float *own = hs_model_vector(m, bias, layer);
    int rc = hs_alloc(rows, (size_t)(n * d), sizeof **rows);
    if (!rc && add) rc = hs_alloc(add, (size_t)n, sizeof **add);
    for (int64_t r = 0; r < n && !rc; r++) {
        float *row = *rows + r * d;
        rc = hs_model_weight_row(m, weight, layer, r, row);
        if (rc) break;
        if (add) (*add)[r] = own ? (double)own[r] : 0;
        for (int64_t i = 0; i < d && add && shift; i++)
            (*add)[r] += (double)shift[i] * (double)row[i];
        hs_weights_fold(m, row, gain);
    }
    return rc;
}

// W_O, whose stored rows are outputs.
static int read_out(const hs_model *m, int layer, float **rows) {
    const hs_config *c = hs_model_config(m);
    const int64_t d = c->d_model, n = c->n_head * c->d_head;
    float *stored = NULL;
    int rc = hs_alloc(rows, (size_t)(n * d), sizeof **rows);
    if (!rc) rc = hs_alloc(&stored, (size_t)n, sizeof *stored);
    for (int64_t i = 0; i < d && !rc; i++) {
        rc = hs_model_weight_row(m, HS_W_O, layer, i, stored);
        for (int64_t r = 0; r < n && !rc; r++) (*rows)[r * d + i] = stored[r];
    }
    for (int64_t r = 0; r < n && !rc; r++) hs_weights_fold(m, *rows + r * d, NULL);
    free(stored);
    return rc;
}

// ---- triangles ----------------------------------------------------------------------------------

struct triangle_job {
    const hs_config *c;
    const struct {
        const float *rows;
        double *to;
        int64_t n; // heads
    } part[4];
};

static int make_triangle(void *arg, int64_t task, int worker) {
    const struct triangle_job *j = arg;
    const int64_t d = j->c->d_model, dh = j->c->d_head;
    double *a;
    int part = 0;
    (void)worker;
    while (task >= j->part[part].n) task -= j->part[part++].n;
    const float *rows = j->part[part].rows + task * dh * d;
    int rc = hs_alloc(&a, (size_t)(d * dh), sizeof *a);
    if (rc) return rc;
    for (int64_t e = 0; e < dh; e++)
        for (int64_t i = 0; i < d; i++) a[i * dh + e] = (double)rows[e * d + i];
    rc = hs_triangular(j->part[part].to + task * dh * dh, a, d, dh);
    free(a);
    return rc;
}

static int make_triangles(hs_weights_layer *l, const hs_model *m) {
    const hs_config *c = hs_model_config(m);
    const int64_t h = c->n_head, g = c->n_kv_head;
    const size_t size = (size_t)(c->d_head * c->d_head) * sizeof(double);
    int rc = hs_alloc(&l->tq, (size_t)h, size);
    if (!rc) rc = hs_alloc(&l->tk, (size_t)g, size);
    if (!rc) rc = hs_alloc(&l->tv, (size_t)g, size);
    if (!rc) rc = hs_alloc(&l->to, (size_t)h, size);
    if (rc) return rc;
    struct triangle_job job = {
        c, {{l->q, l->tq, h}, {l->k, l->tk, g}, {l->v, l->tv, g}, {l->o, l->to, h}}};
    return hs_pool_run(hs_model_backend(m)->pool(hs_model_dev(m)), 2 * (h + g), make_triangle,
                       &job);
}

int hs_weights_layer_open(hs_weights_layer *l, const hs_model *m, int layer) {
    const hs_config *c = hs_model_config(m);
    const int64_t q = c->n_head * c->d_head, kv = c->n_kv_head * c->d_head;
    *l = (hs_weights_layer){.layer = layer};
    int rc = read_in(m, layer, HS_W_Q, HS_B_Q, q, &l->q, &l->bq);
    if (!rc) rc = read_in(m, layer, HS_W_K, HS_B_K, kv, &l->k, &l->bk);
    if (!rc) rc = read_in(m, layer, HS_W_V, HS_B_V, kv, &l->v, NULL);
    if (!rc) rc = read_out(m, layer, &l->o);
    if (!rc) rc = make_triangles(l, m);
    if (rc) hs_weights_layer_close(l);
    return rc;
}

void hs_weights_layer_close(hs_weights_layer *l) {
    free(l->q);
    free(l->k);
    free(l->v);
    free(l->o);
    free(l->tq);
    free(l->tk);
    free(l->tv);
    free(l->to);
    free(l->bq);
    free(l->bk);
    *l = (hs_weights_layer){0};
}

void hs_weights_turn(float *out, const double *triangle, const float *rows, int64_t d_head,
                     int64_t d_model) {
    enum { BLOCK = 256 }; // columns at once
    for (int64_t i0 = 0; i0 < d_model; i0 += BLOCK)
        for (int64_t r = 0; r < d_head; r++) {
            const int64_t n = d_model - i0 < BLOCK ? d_model - i0 : BLOCK;
            double sum[BLOCK] = {0};
            for (int64_t e = r; e < d_head; e++)
                for (int64_t i = 0; i < n; i++)
                    sum[i] += triangle[r * d_head + e] * (double)rows[e * d_model + i0 + i];
            for (int64_t i = 0; i < n; i++) out[r * d_model + i0 + i] = (float)sum[i];
        }
}

void hs_weights_core(double *out, const double *a, const double *b, int64_t d_head) {
    for (int64_t i = 0; i < d_head; i++)
        for (int64_t k = 0; k < d_head; k++) {
            double sum = 0;
            for (int64_t e = i > k ? i : k; e < d_head; e++)
                sum += a[i * d_head + e] * b[k * d_head + e];
            out[i * d_head + k] = sum;
        }
}
