// Patching as it is: a walk over the edits of all cells (analyses/sweep/walk.h), each evaluated from
// the layer that it changes, and the lending halves' own results.
//
// Cost a pair: the lending half's values and results, and place after place the running half once,
// and for a cell of layer l the layers from l on, of the rows from its first patched position on.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/patch/halves.h"
#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

// Pairs that go together: as many as the walk keeps the lending halves' values of.
enum { CHUNK = 32 };

struct exact {
    const hs_patch_opts *o;
    const hs_patch_cells *cells;
    hs_sweep_opts walked; // what the walk goes by
    hs_walk *walk;
    hs_walk_job *job; // [n_cell] those of the place in work, n_job of them
    int64_t *cell;    // [n_cell] which cells they are
    int n_job;
    hs_context *x;
    double *value; // [CHUNK][n_cell]
    double base[CHUNK], full[CHUNK];
    int at; // the next pair of the chunk
};

// The specs of all cells, one block.
static int make_specs(char ***out, const hs_patch_opts *o, const hs_patch_cells *cells) {
    hs_buf text = {0};
    int rc = HS_OK;
    for (int64_t i = 0; i < cells->n && !rc; i++) {
        rc = hs_patch_spec(&text, o, &cells->at[i]);
        hs_buf_chr(&text, 0);
    }
    if (!rc) return hs_buf_texts(out, &text, (size_t)cells->n);
    hs_buf_free(&text);
    return rc;
}

static int open_exact(struct exact *e) {
    const hs_patch_opts *o = e->o;
    char **specs = NULL;
    e->walked = (hs_sweep_opts){.model = o->model,
                                .prompts = o->prompts,
                                .answers = o->answers,
                                .effects = 1u << o->effect,
                                .memory = o->memory,
                                .progress = o->progress,
                                .spans = o->spans};
    int rc = make_specs(&specs, o, e->cells);
    if (!rc) rc = hs_walk_open(&e->walk, &e->walked, (const char *const *)specs, (int)e->cells->n);
    free(specs);
    if (!rc) rc = hs_alloc(&e->job, (size_t)e->cells->n, sizeof *e->job);
    if (!rc) rc = hs_alloc(&e->cell, (size_t)e->cells->n, sizeof *e->cell);
    if (!rc) rc = hs_alloc(&e->value, (size_t)e->cells->n, CHUNK * sizeof *e->value);
    return rc ? rc : hs_context_open(&e->x, o->model, NULL);
}

static void close_exact(struct exact *e) {
    hs_walk_close(e->walk);
    hs_context_close(e->x);
    free(e->job);
    free(e->cell);
    free(e->value);
}

// A run that was left as it is does not diverge from itself.
static double reading(const struct exact *e, const double *of) {
    const double v = of[e->o->effect];
    return hs_effects[e->o->effect].against && isnan(v) ? 0 : v;
}

static int take(void *ctx, const hs_sweep_result *r) {
    struct exact *e = ctx;
    double *value = e->value + e->at * e->cells->n;
    for (int j = 0; j < e->n_job; j++) value[e->cell[j]] = reading(e, r->value + j * HS_N_EFFECT);
    e->base[e->at++] = reading(e, r->base);
    return HS_OK;
}

// The pairs that lack the place have no values of its cells.
static int leave_out(const struct exact *e, const int64_t *pair, int n, int64_t place) {
    hs_places places = {0};
    int rc = HS_OK;
    for (int i = 0; i < n && !rc; i++) {
        rc = hs_patch_resolve(e->o, pair[i], place, &places);
        for (int j = 0; j < e->n_job && !rc && hs_places_none(&places); j++)
            e->value[i * e->cells->n + e->cell[j]] = (double)NAN;
    }
    hs_places_free(&places);
    return rc;
}

// All cells of a place: rows before it are shared.
static int run_place(struct exact *e, const int64_t *pair, int n, int64_t place) {
    int64_t ord[CHUNK];
    e->n_job = e->at = 0;
    for (int64_t i = 0; i < e->cells->n; i++) {
        if (e->cells->at[i].place != place) continue;
        e->job[e->n_job] = (hs_walk_job){(int)i, 1};
        e->cell[e->n_job++] = i;
    }
    if (!e->n_job) return HS_OK;
    for (int i = 0; i < n; i++) ord[i] = hs_patch_running(e->o, pair[i]);
    int rc = hs_walk_run(e->walk, e->job, e->n_job, ord, n, take, e);
    return rc ? rc : leave_out(e, pair, n, place);
}

// Pairs from pair[0] on that make a chunk.
static int fit(const struct exact *e, const int64_t *pair, int64_t n) {
    const int64_t memory = hs_chunk_memory(e->o->memory);
    int64_t bytes = 0;
    int i = 0;
    for (; i < n && i < CHUNK; i++) {
        const int64_t t = hs_prompts_at(e->o->prompts, pair[i])->n_token;
        bytes += hs_meter_bytes(e->o->model, 1u << e->o->effect, t);
        if (i && bytes > memory / 2) break;
    }
    return i;
}

static int run_chunk(struct exact *e, const int64_t *pair, int n) {
    const hs_dims dims = hs_dims_of(e->o->model);
    int64_t n_place = 0;
    hs_hooks *hooks;
    for (int64_t i = 0; i < e->cells->n; i++)
        if (e->cells->at[i].place >= n_place) n_place = e->cells->at[i].place + 1;
    int rc = hs_hooks_open(&hooks, &dims);
    if (!rc) rc = hs_patch_lend(e->o, e->x, hooks, pair, n, e->full);
    hs_hooks_close(hooks);
    for (int64_t k = 0; k < n_place && !rc; k++) rc = run_place(e, pair, n, k);
    return rc;
}

int hs_patch(const hs_patch_opts *o, const hs_patch_cells *cells, const int64_t *pair, int64_t n,
             hs_patch_fn fn, void *ctx) {
    struct exact e = {.o = o, .cells = cells};
    int rc = open_exact(&e);
    for (int64_t i = 0; i < n && !rc;) {
        const int go = fit(&e, pair + i, n - i);
        rc = run_chunk(&e, pair + i, go);
        for (int k = 0; k < go && !rc; k++) {
            const hs_patch_result r = {pair[i + k], e.base[k], e.full[k], e.value + k * cells->n,
                                       NULL};
            rc = fn(ctx, &r);
        }
        i += go;
    }
    close_exact(&e);
    return rc;
}
