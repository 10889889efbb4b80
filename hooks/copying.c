// Edits that copy from a reference; see copying.h. The state is the number of query heads that
// share a KV head, which tells whose keys and values belong to which of heads=.
#include "hooks/copying.h"

#include <string.h>

#include "model/core/mem.h"

int hs_copying_open(void **state, const hs_edit_setup *setup, uint64_t *points, hs_ref_need *need) {
    int *group;
    int rc = hs_alloc(&group, 1, sizeof *group);
    if (rc) return rc;
    *group = setup->dims->n_head / setup->dims->n_kv_head;
    *state = group;
    memcpy(points, setup->target, ((size_t)setup->dims->n_layer + 1) * sizeof *points);
    need->points = points;
    need->heads = setup->heads;
    return HS_OK;
}

// A row [n] or [heads, n] of a tensor.
static void copy_row(const hs_edit_at *at, const hs_site *site, const hs_view *view, int group,
                     float *row, const float *from) {
    const enum hs_shape shape = hs_point_infos[site->point].shape;
    const int64_t n_part = view->ndim > 2 ? view->shape[1] : 1;
    const int64_t width = view->shape[view->ndim - 1];
    const int first = shape == HS_SHAPE_KV ? group : 1; // query heads a part stands for
    for (int64_t p = 0; p < n_part; p++)
        if (view->ndim == 2 || hs_edit_head(at, site->layer, (int)p * first))
            memcpy(row + p * width, from + p * width, (size_t)width * sizeof *row);
}

int hs_copying_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const hs_ref *ref = at->ref;
    float *from;
    int rc = hs_edit_scratch(at, view->stride[0], &from);
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        const int64_t pos = site->row0 + r;
        if (pos >= ref->n_row || !hs_edit_row(at, pos)) continue;
        rc = ref->rows(ref->ctx, site->point, site->layer, pos, 1, from);
        if (!rc)
            copy_row(at, site, view, *(const int *)state, (float *)view->data + r * view->stride[0],
                     from);
    }
    return rc;
}

int hs_copying_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const hs_ref *ref = at->ref;
    int rc = HS_OK;
    (void)state;
    for (int64_t r = 0; r < tile->n_row && !rc; r++) {
        const int64_t pos = tile->row0 + r;
        if (pos < ref->n_row && hs_edit_row(at, pos))
            rc = ref->map(ref->ctx, tile->point, tile->layer, tile->head, pos, 1, pos + 1,
                          tile->row + r * tile->ld, tile->ld);
    }
    return rc;
}
