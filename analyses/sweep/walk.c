// Plans of walks: which layers an edit touches, which prompts go together, and the sweep itself.
//
// Cost of a head sweep of L layers and H heads: H L (L + 1) / 2 layers a prompt instead of
// H L^2, and one unedited pass. Rows that nobody scores, and what lies before the first edited
// position, are not run.
#include <stdlib.h>

#include "analyses/chunk.h"
#include "analyses/sweep/walk_internal.h"
#include "model/core/mem.h"

// ---- open and close -----------------------------------------------------------------------------

static int find_layers(hs_walk *w, int i) {
    const int n_layer = (int)hs_model_config(w->model)->n_layer;
    const hs_edit *edit = hs_editing_at(w->editing, i);
    const uint64_t *points = hs_edit_points(edit);
    w->low[i] = n_layer;
    w->high[i] = -1;
    for (int l = 0; l < n_layer; l++) {
        if (!points[l]) continue;
        if (w->low[i] == n_layer) w->low[i] = l;
        w->high[i] = l;
    }
    if (w->high[i] < 0 || points[n_layer])
        return hs_fail(HS_EARG, "%s edits what belongs to no layer, and a sweep goes by layers",
                       hs_edit_spec(edit));
    return HS_OK;
}

int hs_walk_open(hs_walk **out, const hs_sweep_opts *opts, const char *const *specs, int n) {
    const hs_editing_opts editing = {.model = opts->model,
                                     .prompts = opts->prompts,
                                     .spans = opts->spans,
                                     .runs = opts->runs,
                                     .progress = opts->progress};
    hs_walk *w;
    *out = NULL;
    int rc = hs_alloc(&w, 1, sizeof *w);
    if (rc) return rc;
    w->opts = opts;
    w->model = opts->model;
    w->memory = hs_chunk_memory(opts->memory);
    rc = hs_editing_open(&w->editing, &editing, specs, n);
    if (!rc) rc = hs_alloc(&w->low, (size_t)n, sizeof *w->low);
    if (!rc) rc = hs_alloc(&w->high, (size_t)n, sizeof *w->high);
    for (int i = 0; i < n && !rc; i++) rc = find_layers(w, i);
    if (rc)
        hs_walk_close(w);
    else
        *out = w;
    return rc;
}

void hs_walk_close(hs_walk *w) {
    if (!w) return;
    hs_editing_close(w->editing);
    free(w->low);
    free(w->high);
    free(w);
}

// ---- jobs ---------------------------------------------------------------------------------------

static struct hs_walk_layers layers_of(const hs_walk *w, const hs_walk_job *job) {
    struct hs_walk_layers at = {(int)hs_model_config(w->model)->n_layer, -1};
    for (int i = job->first; i < job->first + job->n; i++) {
        if (w->low[i] < at.low) at.low = w->low[i];
        if (w->high[i] > at.high) at.high = w->high[i];
    }
    return at;
}

// A counting sort: jobs of a layer stay in their order.
static int sort_jobs(hs_walk *w) {
    const int n_layer = (int)hs_model_config(w->model)->n_layer;
    int n = 0;
    for (int l = 0; l <= n_layer; l++)
        for (int j = 0; j < w->n_job; j++)
            if (w->at[j].low == l) w->by_layer[n++] = j;
    return n == w->n_job ? HS_OK : hs_fail(HS_E, "%d of %d jobs have a layer", n, w->n_job);
}

int64_t hs_walk_first(const hs_walk *w, const hs_walk_job *job, const hs_edit_prompt *p) {
    int64_t first = p->n_token;
    for (int i = job->first; i < job->first + job->n && first; i++) {
        const int64_t row = hs_edit_first(hs_editing_at(w->editing, i), p);
        if (row < first) first = row;
    }
    return first;
}

static int64_t first_of_all(const hs_walk *w, int64_t ord) {
    const hs_edit_prompt p = hs_walk_prompt(w, ord);
    int64_t first = p.n_token;
    for (int j = 0; j < w->n_job && first; j++) {
        const int64_t row = hs_walk_first(w, &w->job[j], &p);
        if (row < first) first = row;
    }
    return first;
}

int hs_walk_run(hs_walk *w, const hs_walk_job *job, int n_job, const int64_t *ord, int64_t n,
                hs_sweep_fn fn, void *ctx) {
    w->job = job;
    w->n_job = n_job;
    w->done = 0;
    w->total = n * n_job;
    int rc = hs_alloc(&w->at, (size_t)n_job, sizeof *w->at);
    if (!rc) rc = hs_alloc(&w->by_layer, (size_t)n_job, sizeof *w->by_layer);
    for (int j = 0; j < n_job && !rc; j++) w->at[j] = layers_of(w, &job[j]);
    if (!rc) rc = sort_jobs(w);
    if (!rc) rc = hs_alloc(&w->first, (size_t)hs_prompts_count(w->opts->prompts), sizeof *w->first);
    for (int64_t i = 0; i < n && !rc; i++) w->first[ord[i]] = first_of_all(w, ord[i]);
    for (int64_t i = 0; i < n && !rc;) {
        const int fit = hs_walk_fit(w, ord + i, n - i);
        rc = hs_walk_chunk(w, ord + i, fit, fn, ctx);
        i += fit;
    }
    free(w->at);
    free(w->by_layer);
    free(w->first);
    w->at = NULL;
    w->by_layer = NULL;
    w->first = NULL;
    return rc;
}

int hs_walk_show(hs_walk *w, const hs_walk_job *job, int n_job, const int64_t *ord, int64_t n,
                 const hs_walk_watch *watch) {
    w->watch = watch;
    w->top = (int)hs_model_config(w->model)->n_layer - 1;
    while (w->top > 0 && !watch->points[w->top]) w->top--;
    int rc = hs_walk_run(w, job, n_job, ord, n, NULL, NULL);
    w->watch = NULL;
    return rc;
}

// ---- the sweep ----------------------------------------------------------------------------------

int hs_sweep(const hs_sweep_opts *o, const int64_t *ord, int64_t n, hs_sweep_fn fn, void *ctx) {
    const int n_unit = (int)o->units->n;
    char **specs;
    hs_walk *w = NULL;
    hs_walk_job *job = NULL;
    int rc = hs_walk_specs(&specs, o);
    if (!rc) rc = hs_walk_open(&w, o, (const char *const *)specs, n_unit);
    if (!rc) rc = hs_alloc(&job, (size_t)n_unit, sizeof *job);
    for (int i = 0; i < n_unit && !rc; i++) job[i] = (hs_walk_job){i, 1};
    if (!rc) rc = hs_walk_run(w, job, n_unit, ord, n, fn, ctx);
    hs_walk_close(w);
    free(job);
    free(specs);
    return rc;
}
