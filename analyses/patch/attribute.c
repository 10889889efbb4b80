// Patching estimated (attribution patching; Nanda 2023, Kramar et al. 2024): what a cell does to the
// metric is about
//
//     sum over its numbers of (lent - own) dM/down
//
// with own values and gradients of the half that runs. The lending half runs once and the running
// half goes back once, for all cells and positions: two forward passes and a backward one.
//
// A unit's estimate at one position is the sum over the numbers of its row, in order and in double;
// a cell's is the sum of those over its positions. AtP* replaces queries and keys (softmax.c), and
// with GradDrop goes back once more for every layer, around it, to see effects that cancel: the mean
// of the sizes, by 1 / (n_layer - 1). Above that layer nothing changes, so that all of it is half as
// many ways back as there are layers.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/patch/attribute.h"
#include "model/core/mem.h"

// ---- taps ---------------------------------------------------------------------------------------

// The numbers of a row of a view that keeps its rows together.
static void copy_rows(const struct hs_attribute *a, float *block, const hs_site *site,
                      const hs_view *view) {
    const int64_t width = hs_attribute_width(a, site->point);
    memcpy(block + (a->row[site->seq] + site->row0) * width, view->data,
           (size_t)(site->n_row * width) * sizeof *block);
}

static int on_lent(void *ctx, const hs_site *site, const hs_view *view) {
    struct hs_attribute *a = ctx;
    const int64_t layer = a->n_row * hs_attribute_width(a, site->point);
    copy_rows(a, a->lent[site->point] + site->layer * layer, site, view);
    return HS_OK;
}

static int on_own(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct hs_attribute *a = ctx;
    (void)write;
    copy_rows(a, hs_attribute_own(a, site->point, site->layer), site, view);
    return HS_OK;
}

// Adds to the estimates of units [0 .. n_part) of a layer at one row.
static void add_row(const struct hs_attribute *a, const hs_site *site, int64_t r, const float *lent,
                    const float *own, const float *slope) {
    const int64_t width = hs_attribute_width(a, site->point), part = a->part;
    for (int64_t k = 0; k < width / part; k++) {
        double sum = 0;
        if (!hs_attribute_asks(a, site->layer, k)) continue;
        for (int64_t i = k * part; i < (k + 1) * part; i++)
            sum += ((double)lent[i] - own[i]) * slope[i];
        *hs_attribute_at(a, k, a->row[site->seq] + site->row0 + r) += sum;
    }
}

static int on_slope(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct hs_attribute *a = ctx;
    const int64_t width = hs_attribute_width(a, site->point),
                  first = a->row[site->seq] + site->row0;
    (void)write;
    if (a->fix) { // the gradient of z; the rest is done when all rows of the layer came
        copy_rows(a, a->slope, site, view);
        return HS_OK;
    }
    const float *lent = a->lent[site->point] + site->layer * a->n_row * width;
    const float *own = hs_attribute_own(a, site->point, site->layer);
    for (int64_t r = 0; r < site->n_row; r++)
        add_row(a, site, r, lent + (first + r) * width, own + (first + r) * width,
                (const float *)view->data + r * width);
    return HS_OK;
}

static int on_around(void *ctx, int layer) {
    struct hs_attribute *a = ctx;
    a->around = layer;
    return HS_OK;
}

// ---- cells --------------------------------------------------------------------------------------

// A cell of pair i is said to make a change. In layers below this one gradients around go around
// nothing, so that each of those layers adds the same.
static void take_change(const struct hs_attribute *a, int i, int64_t cell, int layer,
                        double change) {
    const int64_t at = i * a->cells->n + cell, times = a->around < 0 ? layer : 1;
    if (a->around < 0) a->value[at] = change;
    for (int64_t k = 0; a->drop && k < times; k++)
        a->drop[at] += fabs(change) / (a->dims.n_layer - 1);
}

// The change that each cell of the layer is said to make to pair i; NaN where the prompt lacks the
// place.
static int sum_cells(const struct hs_attribute *a, int i, int layer) {
    hs_places places = {0};
    int64_t of = -1;
    int rc = HS_OK;
    for (int64_t c = a->first_cell[layer]; c < a->first_cell[layer + 1] && !rc; c++) {
        const hs_patch_cell *cell = &a->cells->at[c];
        const int64_t n = a->row[i + 1] - a->row[i], part = a->o->units->at[cell->unit].index;
        const double *at = hs_attribute_at(a, part, a->row[i]);
        if (!a->o->n_place) { // a position of its own
            take_change(a, i, c, layer, cell->place < n ? at[cell->place] : (double)NAN);
            continue;
        }
        if (cell->place != of) rc = hs_patch_resolve(a->o, a->pair[i], cell->place, &places);
        of = cell->place;
        double change = !rc && hs_places_none(&places) ? (double)NAN : 0;
        for (int64_t t = 0; t < n && !rc; t++)
            if (hs_places_has(&places, t)) change += at[t];
        take_change(a, i, c, layer, change);
    }
    hs_places_free(&places);
    return rc;
}

// All gradients of a layer came.
static int on_layer(void *ctx, int layer) {
    struct hs_attribute *a = ctx;
    int rc = a->fix ? hs_attribute_softmax(a, layer) : HS_OK;
    for (int i = 0; i < a->n && !rc; i++) rc = sum_cells(a, i, layer);
    memset(a->at, 0, (size_t)(a->n_part * a->n_row) * sizeof *a->at);
    return rc;
}

// ---- a chunk ------------------------------------------------------------------------------------

static int open_chunk(struct hs_attribute *a) {
    const hs_patch_opts *o = a->o;
    int rc = hs_alloc(&a->row, (size_t)a->n + 1, sizeof *a->row);
    if (!rc) rc = hs_alloc(&a->ord, (size_t)a->n, sizeof *a->ord);
    for (int i = 0; i < a->n && !rc; i++) {
        a->ord[i] = hs_patch_running(o, a->pair[i]);
        a->row[i + 1] = a->row[i] + hs_prompts_at(o->prompts, a->ord[i])->n_token;
    }
    if (rc) return rc;
    a->n_row = a->row[a->n];
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        const size_t n = (size_t)(a->n_row * hs_attribute_width(a, (enum hs_point)p));
        if (a->lends & HS_BIT(p))
            rc = hs_alloc(&a->lent[p], n, (size_t)a->dims.n_layer * sizeof(float));
        if (!rc && a->owns & HS_BIT(p))
            rc = hs_alloc(&a->own[p], n, (size_t)(a->once ? a->dims.n_layer : 1) * sizeof(float));
    }
    if (!rc && a->fix)
        rc = hs_alloc(&a->slope, (size_t)(a->n_row * a->dims.n_head), // rows of z
                      (size_t)a->dims.d_head * sizeof *a->slope);
    if (!rc) rc = hs_alloc(&a->at, (size_t)(a->n_part * a->n_row), sizeof *a->at);
    if (!rc) rc = hs_alloc(&a->base, (size_t)a->n, sizeof *a->base);
    if (!rc) rc = hs_alloc(&a->full, (size_t)a->n, sizeof *a->full);
    const size_t n_value = (size_t)a->n * (size_t)a->cells->n;
    if (!rc) rc = hs_alloc(&a->value, n_value, sizeof *a->value);
    if (!rc && o->grad_drop) rc = hs_alloc(&a->drop, n_value, sizeof *a->drop);
    return rc;
}

static void close_chunk(struct hs_attribute *a) {
    for (int p = 0; p < HS_N_POINT; p++) {
        free(a->lent[p]);
        free(a->own[p]);
        a->lent[p] = a->own[p] = NULL;
    }
    void **const blocks[] = {(void **)&a->row,   (void **)&a->ord,  (void **)&a->slope,
                             (void **)&a->at,    (void **)&a->base, (void **)&a->full,
                             (void **)&a->value, (void **)&a->drop};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        free(*blocks[i]);
        *blocks[i] = NULL;
    }
}

static int lend(struct hs_attribute *a, hs_context *x) {
    const hs_hook hook = {.points = a->lend_points, .rows = on_lent, .ctx = a};
    hs_hooks *hooks;
    int rc = hs_hooks_open(&hooks, &a->dims);
    if (!rc) rc = hs_hooks_add(hooks, &hook);
    if (!rc) rc = hs_patch_lend(a->o, x, hooks, a->pair, a->n, a->full);
    hs_hooks_close(hooks);
    return rc;
}

static int go_back(struct hs_attribute *a, hs_context *x) {
    const hs_patch_opts *o = a->o;
    const hs_tap values = {.ctx = a, .read = a->own_points, .rows = on_own};
    const hs_tap grads = {
        .ctx = a, .read = a->slope_points, .rows = on_slope, .layer_done = on_layer};
    const hs_backward job = {.values = &values,
                             .grads = &grads,
                             .around = o->grad_drop ? on_around : NULL,
                             .once = a->once};
    const hs_slope slope = {o->model, o->prompts, o->answers, o->effect};
    a->around = -1;
    return hs_slope_run(&slope, x, a->ord, a->n, &job, a->base);
}

static int run_chunk(struct hs_attribute *a, hs_context *x, hs_patch_fn fn, void *ctx) {
    const int64_t n_cell = a->cells->n;
    int rc = open_chunk(a);
    if (!rc) rc = lend(a, x);
    if (!rc) rc = go_back(a, x);
    for (int i = 0; i < a->n && !rc; i++) {
        for (int64_t c = 0; c < n_cell; c++) a->value[i * n_cell + c] += a->base[i];
        const hs_patch_result r = {a->pair[i], a->base[i], a->full[i], a->value + i * n_cell,
                                   a->drop ? a->drop + i * n_cell : NULL};
        rc = fn(ctx, &r);
    }
    close_chunk(a);
    return rc;
}

// ---- all chunks ---------------------------------------------------------------------------------

static int open_units(struct hs_attribute *a) {
    const hs_units *units = a->o->units;
    const enum hs_unit_kind kind = units->at[0].kind;
    a->n_part = kind == HS_UNIT_HEAD    ? a->dims.n_head
                : kind == HS_UNIT_GROUP ? a->dims.n_kv_head
                                        : 1;
    a->part = hs_attribute_width(a, a->o->point) / a->n_part;
    int rc = hs_alloc(&a->asked, (size_t)a->dims.n_layer * (size_t)a->n_part, sizeof *a->asked);
    if (!rc) rc = hs_alloc(&a->first_cell, (size_t)a->dims.n_layer + 1, sizeof *a->first_cell);
    for (int64_t u = 0; u < units->n && !rc; u++)
        a->asked[units->at[u].layer * a->n_part + units->at[u].index] = true;
    for (int64_t c = 0; c < a->cells->n && !rc; c++)
        a->first_cell[units->at[a->cells->at[c].unit].layer + 1] = c + 1;
    for (int l = 0; l < a->dims.n_layer && !rc; l++) // layers that have none
        if (a->first_cell[l + 1] < a->first_cell[l]) a->first_cell[l + 1] = a->first_cell[l];
    return rc;
}

static int open_points(struct hs_attribute *a) {
    const size_t n = (size_t)a->dims.n_layer + 1;
    const hs_model *m = a->o->model;
    const enum hs_point point = a->o->point;
    const bool rope = hs_model_has_point(m, HS_ROT_Q, NULL);
    a->q = rope ? HS_ROT_Q : HS_Q;
    a->k = rope ? HS_ROT_K : HS_K;
    a->lends = a->owns = HS_BIT(point);
    uint64_t slopes = HS_BIT(point);
    if (a->fix) {
        a->lends = HS_BIT(a->fix == HS_FIX_QUERIES ? a->q : a->k);
        a->owns = HS_BIT(a->q) | HS_BIT(a->k) | HS_BIT(HS_V);
        slopes = HS_BIT(HS_Z);
    }
    int rc = hs_alloc(&a->lend_points, n, sizeof *a->lend_points);
    if (!rc) rc = hs_alloc(&a->own_points, n, sizeof *a->own_points);
    if (!rc) rc = hs_alloc(&a->slope_points, n, sizeof *a->slope_points);
    for (int l = 0; l < a->dims.n_layer && !rc; l++) {
        a->lend_points[l] = a->lends;
        a->own_points[l] = a->owns;
        a->slope_points[l] = slopes;
    }
    return rc;
}

static int open_attribute(struct hs_attribute *a, enum hs_patch_by by) {
    const hs_patch_opts *o = a->o;
    const enum hs_point p = o->point;
    int rc = hs_patch_check(o, by);
    if (rc) return rc;
    if (by == HS_PATCH_ATP && (p == HS_Q || p == HS_ROT_Q)) a->fix = HS_FIX_QUERIES;
    if (by == HS_PATCH_ATP && (p == HS_K || p == HS_ROT_K)) a->fix = HS_FIX_KEYS;
    rc = open_units(a);
    return rc ? rc : open_points(a);
}

static void close_attribute(struct hs_attribute *a) {
    free(a->asked);
    free(a->first_cell);
    free(a->lend_points);
    free(a->own_points);
    free(a->slope_points);
}

// Bytes that a chunk of pairs takes.
static int64_t bytes_of(const struct hs_attribute *a, int64_t rows, int64_t n_pair, bool once) {
    const int64_t L = a->dims.n_layer;
    const hs_memory need = hs_backward_memory(a->o->model, rows);
    int64_t width = 0;
    for (int p = 0; p < HS_N_POINT; p++) {
        const int64_t w = hs_attribute_width(a, (enum hs_point)p) * (int64_t)sizeof(float);
        if (a->lends & HS_BIT(p)) width += L * w;
        if (a->owns & HS_BIT(p)) width += (once ? L : 1) * w;
    }
    return hs_memory_sum(&need) + (once ? hs_backward_once(a->o->model, rows) : 0) +
           (a->o->grad_drop ? hs_backward_around(a->o->model, rows) : 0) +
           rows * (width + a->n_part * (int64_t)sizeof(double)) +
           n_pair * a->cells->n * 2 * (int64_t)sizeof(double);
}

// Takes the pairs from pair[0] on that go together, at least one; layers run once where the memory
// is enough for the first.
static void fit(struct hs_attribute *a, const int64_t *pair, int64_t n) {
    const int64_t memory = hs_chunk_memory(a->o->memory);
    int64_t rows = hs_prompts_at(a->o->prompts, pair[0])->n_token;
    a->pair = pair;
    a->once = bytes_of(a, rows, 1, true) <= memory;
    for (a->n = 1; a->n < n; a->n++) {
        rows += hs_prompts_at(a->o->prompts, pair[a->n])->n_token;
        if (rows > HS_CHUNK_ROWS || bytes_of(a, rows, a->n + 1, a->once) > memory) break;
    }
}

int hs_patch_estimate(const hs_patch_opts *o, const hs_patch_cells *cells, enum hs_patch_by by,
                      const int64_t *pair, int64_t n, hs_patch_fn fn, void *ctx) {
    struct hs_attribute a = {.o = o, .cells = cells, .dims = hs_dims_of(o->model)};
    hs_context *x = NULL;
    int rc = open_attribute(&a, by);
    if (!rc) rc = hs_context_open(&x, o->model, NULL);
    for (int64_t i = 0; i < n && !rc;) {
        fit(&a, pair + i, n - i);
        rc = run_chunk(&a, x, fn, ctx);
        i += a.n;
        if (!rc) rc = hs_progress_step(o->progress, "gradients", i, n);
    }
    hs_context_close(x);
    close_attribute(&a);
    return rc;
}
