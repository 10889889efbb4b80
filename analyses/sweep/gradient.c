// First-order estimates of a sweep (attribution patching): what an edit does to M is about
//
//     sum over the rows and numbers that it changes of (edited - value) dM/dvalue
//
// with the value and the gradient of the unedited run. One backward pass of a prompt gives the
// gradient of everything, so all units cost about three forward passes and one more where an edit
// takes its values from another prompt. The edits are those of the sweep themselves, put to work on
// copies of the values that the backward pass shows, so that positions, means and references are the
// same here and there.
//
// An estimate is a tangent: where softmax saturates it is near 0 whatever the edit would do
// (the tests' toy model has a head that is worth 2.2 nats and is said to be worth 0.004).
//
// What a unit's edit does at one position is the sum over the numbers of its row; the unit's estimate
// is the sum of those over the positions, both in order and in double, so that results do not depend
// on chunks. Neurons, of which there are too many to keep all positions, have their sum alone.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/slope.h"
#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

enum { MOST_AIMS = 1 << 20 }; // of a batch

struct chunk {
    const struct gradient *g;
    const int64_t *ord;
    int n;
    int64_t *row;               // [n] first rows of the sequences
    enum hs_effect effect;      // in work
    float *value[HS_N_POINT];   // [n_row][width] of the layer in work, where units lie
    float *edited;              // [n_row][widest]
    int64_t *first;             // [n] where a prompt's part of at[] begins
    double *at[HS_N_EFFECT];    // of each prompt [n_unit][n_at]
    double *all_base, *all_sum; // [n][HS_N_EFFECT], [n][n_unit][HS_N_EFFECT]
};

struct gradient {
    const hs_sweep_opts *o;
    hs_dims dims;
    hs_editing *editing;
    hs_hooks *hooks;      // the edits'
    hs_unit_cells *cells; // [n_unit]
    uint64_t *points;     // [n_layer + 1] where they lie
    uint64_t used;        // of them, in any layer
    int64_t memory;
    int n_effect;
    bool by_position;
};

// ---- units --------------------------------------------------------------------------------------

static int64_t width_of(const struct gradient *g, int point) {
    int64_t shape[4];
    const int ndim = hs_point_shape(&g->dims, (enum hs_point)point, 1, shape);
    return ndim == 3 ? shape[1] * shape[2] : shape[1];
}

// Sums that are kept of each unit on a prompt.
static int64_t n_at(const struct gradient *g, int64_t ord) {
    return g->by_position ? hs_prompts_at(g->o->prompts, ord)->n_token : 1;
}

// An edit must change its unit where the unit's output stands, and nothing else.
static int check_edit(const struct gradient *g, int64_t u) {
    const hs_edit *edit = hs_editing_at(g->editing, (int)u);
    for (int l = 0; l <= g->dims.n_layer; l++) {
        uint64_t at = 0;
        for (int64_t i = 0; i < g->cells[u].n; i++)
            if (g->cells[u].at[i].layer == l) at |= HS_BIT(g->cells[u].at[i].point);
        if (hs_edit_points(edit)[l] & ~at)
            return hs_fail(HS_EARG,
                           "%s changes more than the output of its unit: gradients estimate ops "
                           "zero, mean and resample",
                           hs_edit_spec(edit));
    }
    return HS_OK;
}

static int open_units(struct gradient *g) {
    const hs_units *units = g->o->units;
    int rc = hs_alloc(&g->cells, (size_t)units->n, sizeof *g->cells);
    if (!rc) rc = hs_alloc(&g->points, (size_t)g->dims.n_layer + 1, sizeof *g->points);
    for (int64_t u = 0; u < units->n && !rc; u++) {
        rc = hs_unit_cells_of(&g->cells[u], &g->dims, &(hs_units){&units->at[u], 1});
        if (rc) break;
        hs_unit_cells_points(&g->cells[u], g->points);
        rc = check_edit(g, u);
    }
    for (int l = 0; l <= g->dims.n_layer && !rc; l++) g->used |= g->points[l];
    return rc;
}

static void close_gradient(struct gradient *g) {
    for (int64_t u = 0; g->cells && u < g->o->units->n; u++) hs_unit_cells_free(&g->cells[u]);
    hs_hooks_close(g->hooks);
    hs_editing_close(g->editing);
    free(g->cells);
    free(g->points);
}

static int open_gradient(struct gradient *g) {
    const hs_sweep_opts *o = g->o;
    const hs_editing_opts editing = {.model = o->model,
                                     .prompts = o->prompts,
                                     .spans = o->spans,
                                     .runs = o->runs,
                                     .progress = o->progress};
    char **specs = NULL;
    int rc = HS_OK;
    for (int e = 0; e < HS_N_EFFECT && !rc; e++) {
        if (!(o->effects >> e & 1)) continue;
        rc = hs_slope_check((enum hs_effect)e);
        g->n_effect++;
    }
    if (rc) return rc;
    g->dims = hs_dims_of(o->model);
    g->memory = hs_chunk_memory(o->memory);
    g->by_position = o->units->at[0].kind != HS_UNIT_NEURON;
    rc = hs_walk_specs(&specs, o);
    if (!rc)
        rc = hs_editing_open(&g->editing, &editing, (const char *const *)specs, (int)o->units->n);
    if (!rc) rc = open_units(g);
    if (!rc) rc = hs_hooks_open(&g->hooks, &g->dims);
    if (!rc) rc = hs_editing_hook(g->editing, g->hooks, 0, (int)o->units->n);
    free(specs);
    return rc;
}

// ---- values and gradients -----------------------------------------------------------------------

static float *values_at(const struct chunk *c, const hs_site *site, int64_t width) {
    return c->value[site->point] + (c->row[site->seq] + site->row0) * width;
}

static int keep_values(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct chunk *c = ctx;
    const int64_t width = width_of(c->g, (int)site->point);
    (void)write;
    memcpy(values_at(c, site, width), view->data, (size_t)(site->n_row * width) * sizeof(float));
    return HS_OK;
}

// Adds what a unit's edit changes here, and leaves `edited` as it was.
static int add_unit(struct chunk *c, int64_t u, const hs_unit_cell *cell, const hs_site *site,
                    const hs_view *grad, const float *value) {
    const int64_t n_unit = c->g->o->units->n, width = width_of(c->g, (int)site->point);
    const hs_tap *tap = hs_hooks_tap(c->g->hooks);
    const int64_t n = n_at(c->g, c->ord[site->seq]);
    const float *slope = grad->data;
    double *sums = c->at[c->effect] + c->first[site->seq] + u * n;
    hs_site at = *site;
    hs_view view = *grad;
    at.seq = (int)(site->seq * n_unit + u);
    view.data = c->edited;
    int rc = tap->rows(tap->ctx, &at, &view, true);
    for (int64_t r = 0; r < site->n_row; r++) {
        double *sum = sums + (c->g->by_position ? site->row0 + r : 0);
        for (int64_t i = r * width + cell->from; i < r * width + cell->to; i++) {
            *sum += ((double)c->edited[i] - (double)value[i]) * (double)slope[i];
            c->edited[i] = value[i];
        }
    }
    return rc;
}

static int add_gradients(void *ctx, const hs_site *site, const hs_view *grad, bool write) {
    struct chunk *c = ctx;
    const int64_t width = width_of(c->g, (int)site->point);
    const float *value = values_at(c, site, width);
    int rc = HS_OK;
    (void)write;
    memcpy(c->edited, value, (size_t)(site->n_row * width) * sizeof *value);
    for (int64_t u = 0; u < c->g->o->units->n && !rc; u++) {
        const hs_unit_cells *cells = &c->g->cells[u];
        for (int64_t i = 0; i < cells->n && !rc; i++)
            if (cells->at[i].layer == site->layer && cells->at[i].point == site->point)
                rc = add_unit(c, u, &cells->at[i], site, grad, value);
    }
    return rc;
}

// ---- a chunk ------------------------------------------------------------------------------------

// One virtual sequence for the edits of every prompt and unit.
static int aim(struct chunk *c) {
    const int64_t n_unit = c->g->o->units->n;
    hs_editing_seq *seq;
    int rc = hs_alloc(&seq, (size_t)(c->n * n_unit), sizeof *seq);
    for (int64_t i = 0; i < c->n * n_unit && !rc; i++)
        seq[i] = (hs_editing_seq){c->ord[i / n_unit], (int)(i % n_unit), 1};
    if (!rc) rc = hs_editing_aim(c->g->editing, seq, (int)(c->n * n_unit));
    free(seq);
    return rc;
}

static void add_positions(struct chunk *c, int i, double base) {
    const int64_t n_unit = c->g->o->units->n, n = n_at(c->g, c->ord[i]);
    for (int64_t u = 0; u < n_unit; u++) {
        const double *at = c->at[c->effect] + c->first[i] + u * n;
        double sum = 0;
        for (int64_t t = 0; t < n; t++) sum += at[t];
        c->all_sum[(i * n_unit + u) * HS_N_EFFECT + c->effect] = base + sum;
    }
}

static int run_effect(struct chunk *c, hs_context *x) {
    const hs_sweep_opts *o = c->g->o;
    const hs_tap values = {.ctx = c, .read = c->g->points, .rows = keep_values};
    const hs_tap grads = {.ctx = c, .read = c->g->points, .rows = add_gradients};
    const hs_backward job = {.values = &values, .grads = &grads};
    const hs_slope slope = {o->model, o->prompts, o->answers, c->effect};
    double *base;
    int rc = hs_alloc(&base, (size_t)c->n, sizeof *base);
    if (!rc) rc = hs_slope_run(&slope, x, c->ord, c->n, &job, base);
    for (int i = 0; i < c->n && !rc; i++) {
        c->all_base[i * HS_N_EFFECT + c->effect] = base[i];
        add_positions(c, i, base[i]);
    }
    free(base);
    return rc;
}

// All sums begin at 0.
static int open_sums(struct chunk *c) {
    const struct gradient *g = c->g;
    int64_t all = 0;
    int rc = hs_alloc(&c->first, (size_t)c->n, sizeof *c->first);
    for (int i = 0; i < c->n && !rc; i++) {
        c->first[i] = all;
        all += g->o->units->n * n_at(g, c->ord[i]);
    }
    for (int e = 0; e < HS_N_EFFECT && !rc; e++)
        if (g->o->effects & 1u << e) rc = hs_alloc(&c->at[e], (size_t)all, sizeof *c->at[e]);
    return rc;
}

static int open_chunk(struct chunk *c) {
    const struct gradient *g = c->g;
    const size_t n_unit = (size_t)g->o->units->n, n = (size_t)c->n;
    int64_t rows = 0, widest = 0;
    int rc = hs_alloc(&c->row, n, sizeof *c->row);
    for (int i = 0; i < c->n && !rc; i++) {
        c->row[i] = rows;
        rows += hs_prompts_at(g->o->prompts, c->ord[i])->n_token;
    }
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        if (!(g->used & HS_BIT(p))) continue;
        const int64_t width = width_of(g, p);
        if (width > widest) widest = width;
        rc = hs_alloc(&c->value[p], (size_t)rows, (size_t)width * sizeof(float));
    }
    if (!rc) rc = hs_alloc(&c->edited, (size_t)rows, (size_t)widest * sizeof *c->edited);
    if (!rc) rc = open_sums(c);
    if (!rc) rc = hs_alloc(&c->all_base, n, HS_N_EFFECT * sizeof *c->all_base);
    if (!rc) rc = hs_alloc(&c->all_sum, n * n_unit, HS_N_EFFECT * sizeof *c->all_sum);
    for (size_t i = 0; i < n * HS_N_EFFECT && !rc; i++) c->all_base[i] = (double)NAN;
    for (size_t i = 0; i < n * n_unit * HS_N_EFFECT && !rc; i++) c->all_sum[i] = (double)NAN;
    return rc;
}

static void close_chunk(struct chunk *c) {
    for (int p = 0; p < HS_N_POINT; p++) free(c->value[p]);
    for (int e = 0; e < HS_N_EFFECT; e++) free(c->at[e]);
    void *const blocks[] = {c->row, c->edited, c->first, c->all_base, c->all_sum};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

static int run_chunk(const struct gradient *g, hs_context *x, const int64_t *ord, int n,
                     hs_sweep_fn fn, void *ctx) {
    struct chunk c = {.g = g, .ord = ord, .n = n};
    const int64_t n_unit = g->o->units->n;
    int rc = open_chunk(&c);
    if (!rc) rc = aim(&c);
    for (int e = 0; e < HS_N_EFFECT && !rc; e++) {
        if (!(g->o->effects & 1u << e)) continue;
        c.effect = (enum hs_effect)e;
        rc = run_effect(&c, x);
    }
    for (int i = 0; i < n && !rc; i++) {
        hs_sweep_result result = {.ord = ord[i],
                                  .base = c.all_base + i * HS_N_EFFECT,
                                  .value = c.all_sum + i * n_unit * HS_N_EFFECT};
        for (int e = 0; e < HS_N_EFFECT && g->by_position; e++)
            if (!isnan(result.base[e])) result.at[e] = c.at[e] + c.first[i];
        rc = fn(ctx, &result);
    }
    close_chunk(&c);
    return rc;
}

// ---- all chunks ---------------------------------------------------------------------------------

// Prompts from ord[0] on that go together, at least one.
static int fit(const struct gradient *g, const int64_t *ord, int64_t n) {
    int64_t rows = 0, width = 0, sums = 0;
    int i = 0;
    for (int p = 0; p < HS_N_POINT; p++)
        if (g->used & HS_BIT(p)) width += 2 * width_of(g, p);
    for (; i < n; i++) {
        rows += hs_prompts_at(g->o->prompts, ord[i])->n_token;
        sums += n_at(g, ord[i]) * g->o->units->n * g->n_effect;
        const hs_memory need = hs_backward_memory(g->o->model, rows);
        const int64_t bytes = hs_memory_sum(&need) + rows * width * (int64_t)sizeof(float) +
                              sums * (int64_t)sizeof(double);
        if (i &&
            (rows > HS_CHUNK_ROWS || (i + 1) * g->o->units->n > MOST_AIMS || bytes > g->memory))
            break;
    }
    return i;
}

int hs_sweep_gradient(const hs_sweep_opts *o, const int64_t *ord, int64_t n, hs_sweep_fn fn,
                      void *ctx) {
    struct gradient g = {.o = o};
    hs_context *x = NULL;
    int rc = open_gradient(&g);
    if (!rc) rc = hs_context_open(&x, o->model, NULL);
    for (int64_t i = 0; i < n && !rc;) {
        const int go = fit(&g, ord + i, n - i);
        rc = run_chunk(&g, x, ord + i, go, fn, ctx);
        i += go;
        if (!rc) rc = hs_progress_step(o->progress, "gradients", i, n);
    }
    hs_context_close(x);
    close_gradient(&g);
    return rc;
}
