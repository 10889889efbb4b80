// Hook points kept whole in memory; see capture.h. Tiles of different heads arrive on different
// threads, each into its own part of a tensor that is there already.
#include "cli/capture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

struct hs_capture {
    hs_dims dims;
    uint64_t *points; // [n_layer + 1]
    int64_t n_row;
    int seq;
    float **data; // [n_layer + 1][HS_N_POINT]
};

static float **slot(const hs_capture *c, enum hs_point point, int layer) {
    int set = hs_point_infos[point].scope == HS_SCOPE_MODEL ? c->dims.n_layer : layer;
    return &c->data[(size_t)set * HS_N_POINT + (size_t)point];
}

int64_t hs_capture_count(const hs_capture *c, enum hs_point point) {
    int64_t shape[4], n = 1;
    int ndim = hs_point_shape(&c->dims, point, c->n_row, shape);
    for (int a = 0; a < ndim; a++) n *= shape[a];
    return n;
}

const float *hs_capture_at(const hs_capture *c, enum hs_point point, int layer) {
    return *slot(c, point, layer);
}

// ---- what arrives ---------------------------------------------------------------------------

// Row statistics come as [n_head, stat, n_row] and are kept as [n_head, stat, T].
static void keep_stats(const hs_capture *c, float *to, const hs_site *site, const hs_view *v) {
    const float *from = v->data;
    for (int64_t h = 0; h < v->shape[0]; h++)
        for (int64_t s = 0; s < v->shape[1]; s++)
            for (int64_t r = 0; r < site->n_row; r++)
                to[(h * v->shape[1] + s) * c->n_row + site->row0 + r] =
                    from[h * v->stride[0] + s * v->stride[1] + r * v->stride[2]];
}

// [n_row, a, b] with any strides into dense rows.
static void keep_rows(float *to, const hs_site *site, const hs_view *v) {
    int64_t a_n = v->ndim > 1 ? v->shape[1] : 1, b_n = v->ndim > 2 ? v->shape[2] : 1;
    int64_t a_s = v->ndim > 1 ? v->stride[1] : 0, b_s = v->ndim > 2 ? v->stride[2] : 0;
    const float *from = v->data;
    to += site->row0 * a_n * b_n;
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t a = 0; a < a_n; a++)
            for (int64_t b = 0; b < b_n; b++) *to++ = from[r * v->stride[0] + a * a_s + b * b_s];
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view) {
    hs_capture *c = ctx;
    if (site->seq != c->seq || site->row0 + site->n_row > c->n_row) return HS_OK;
    float *to = *slot(c, site->point, site->layer);
    if (hs_point_infos[site->point].shape == HS_SHAPE_STATS)
        keep_stats(c, to, site, view);
    else
        keep_rows(to, site, view);
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *t, int worker) {
    hs_capture *c = ctx;
    (void)worker;
    if (t->seq != c->seq || t->row0 + t->n_row > c->n_row) return HS_OK;
    float *to = *slot(c, t->point, t->layer) + (t->head * c->n_row + t->row0) * c->n_row;
    for (int64_t r = 0; r < t->n_row; r++)
        memcpy(to + r * c->n_row, t->row + r * t->ld, (size_t)t->n_key * sizeof *to);
    return HS_OK;
}

int hs_capture_hook(hs_capture *c, hs_hooks *hooks) {
    return hs_hooks_add(
        hooks, &(hs_hook){.points = c->points, .rows = on_rows, .tile = on_tile, .ctx = c});
}

// ---- open and close -------------------------------------------------------------------------

static int open_point(hs_capture *c, enum hs_point point, int layer) {
    float **at = slot(c, point, layer);
    int64_t n = hs_capture_count(c, point);
    int rc = hs_alloc(at, (size_t)n, sizeof **at);
    if (!rc && point == HS_SCORES)
        for (int64_t i = 0; i < n; i++) (*at)[i] = -INFINITY;
    return rc;
}

int hs_capture_open(hs_capture **out, const hs_dims *dims, const uint64_t *points, int64_t n_row,
                    int seq) {
    size_t n_set = (size_t)dims->n_layer + 1;
    *out = NULL;
    hs_capture *c;
    int rc = hs_alloc(&c, 1, sizeof *c);
    if (rc) return rc;
    c->dims = *dims;
    c->n_row = n_row;
    c->seq = seq;
    rc = hs_alloc(&c->points, n_set, sizeof *c->points);
    if (!rc) memcpy(c->points, points, n_set * sizeof *points);
    if (!rc) rc = hs_alloc(&c->data, n_set * HS_N_POINT, sizeof *c->data);
    for (size_t l = 0; !rc && l < n_set; l++)
        for (int p = 0; !rc && p < HS_N_POINT; p++)
            if (points[l] & HS_BIT(p)) rc = open_point(c, (enum hs_point)p, (int)l);
    if (rc)
        hs_capture_close(c);
    else
        *out = c;
    return rc;
}

void hs_capture_close(hs_capture *c) {
    if (!c) return;
    size_t n = c->data ? ((size_t)c->dims.n_layer + 1) * HS_N_POINT : 0;
    for (size_t i = 0; i < n; i++) free(c->data[i]);
    free(c->data);
    free(c->points);
    free(c);
}
