// What heads look at in a few rows; see watch.h. Rows of weights come by head, on different threads,
// each head's in order: sums are the same bits whatever the number of threads.
#include "analyses/retrieve/watch.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

static size_t cells(const hs_watch *w) {
    return (size_t)w->dims.n_layer * (size_t)w->dims.n_head;
}

int hs_watch_open(hs_watch *w, const hs_dims *dims) {
    *w = (hs_watch){.dims = *dims};
    int rc = hs_alloc(&w->top, cells(w), sizeof *w->top);
    if (!rc) rc = hs_alloc(&w->hits, cells(w), sizeof *w->hits);
    if (!rc) rc = hs_alloc(&w->soft, cells(w), sizeof *w->soft);
    return rc;
}

void hs_watch_close(hs_watch *w) {
    free(w->top);
    free(w->hits);
    free(w->soft);
    *w = (hs_watch){0};
}

void hs_watch_aim(hs_watch *w, const int32_t *tokens, const hs_needle *needle, int64_t row0) {
    w->tokens = tokens;
    w->needle = needle;
    w->row0 = row0;
    w->target = NULL;
    memset(w->hits, 0, cells(w) * sizeof *w->hits);
    memset(w->soft, 0, cells(w) * sizeof *w->soft);
}

static bool is_hit(const hs_watch *w, int64_t key, int32_t token) {
    return key >= w->needle->from && key < w->needle->to && w->tokens[key] == token;
}

void hs_watch_next(hs_watch *w, int32_t token) {
    for (size_t c = 0; c < cells(w); c++) w->hits[c] += is_hit(w, w->top[c], token);
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *v) {
    hs_watch *w = ctx;
    for (int64_t h = 0; h < v->shape[0]; h++) {
        const float *argmax = (const float *)v->data + h * v->stride[0] +
                              HS_STAT_ARGMAX * v->stride[1];
        const int64_t c = site->layer * w->dims.n_head + h;
        for (int64_t r = 0; r < site->n_row; r++) {
            const int64_t i = site->row0 + r - w->row0;
            w->top[c] = (int64_t)argmax[r * v->stride[2]];
            if (w->target && i < w->n_target) w->hits[c] += is_hit(w, w->top[c], w->target[i]);
        }
    }
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *t, int worker) {
    hs_watch *w = ctx;
    double *soft = &w->soft[t->layer * w->dims.n_head + t->head];
    (void)worker;
    for (int64_t r = 0; r < t->n_row; r++) {
        const int64_t i = t->row0 + r - w->row0;
        for (int64_t k = w->needle->from; k < w->needle->to && i < w->n_target; k++)
            if (w->tokens[k] == w->target[i]) *soft += (double)t->row[r * t->ld + k];
    }
    return HS_OK;
}

int hs_watch_hook(hs_watch *w, hs_hooks *hooks, bool soft) {
    const uint64_t wanted = HS_BIT(HS_ROW_STATS) | (soft ? HS_BIT(HS_PATTERN) : 0);
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)w->dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    for (int l = 0; l < w->dims.n_layer; l++) points[l] = wanted;
    rc = hs_hooks_add(hooks,
                      &(hs_hook){.points = points, .rows = on_rows, .tile = on_tile, .ctx = w});
    free(points);
    return rc;
}
