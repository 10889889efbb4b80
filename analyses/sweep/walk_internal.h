// What walk.c and chunk.c share. Nobody else includes this.
#ifndef HS_ANALYSES_SWEEP_WALK_INTERNAL_H
#define HS_ANALYSES_SWEEP_WALK_INTERNAL_H

#include "analyses/sweep/walk.h"
#include "model/context.h"

struct hs_walk {
    const hs_sweep_opts *opts;
    const hs_model *model;
    hs_editing *editing;
    int *low, *high; // [specs] layers that each edits
    int64_t memory;  // bytes
    // The run at hand.
    const hs_walk_job *job;
    int n_job;
    struct hs_walk_layers *at;  // [n_job]
    int *by_layer;              // [n_job] jobs by their lowest layer
    int64_t *first;             // [prompts of the set] first row that a job edits
    int64_t done, total;        // evaluations, for progress
    const hs_walk_watch *watch; // NULL: evaluations are measured
    int top;                    // the last layer that is watched
};

// Layers that a job edits; n_layer, -1 for one that edits nothing.
struct hs_walk_layers {
    int low, high;
};

// Evaluates the prompts ord[0 .. n) all at once, and hands over their results in order.
int hs_walk_chunk(hs_walk *, const int64_t *ord, int n, hs_sweep_fn fn, void *ctx) HS_MUST_USE;
// Prompts from ord[0] on that make a chunk, at least one.
int hs_walk_fit(const hs_walk *, const int64_t *ord, int64_t n);

// The first row of a prompt that a job edits; the prompt's length when it edits none.
int64_t hs_walk_first(const hs_walk *, const hs_walk_job *, const hs_edit_prompt *);

static inline hs_edit_prompt hs_walk_prompt(const hs_walk *w, int64_t ord) {
    return hs_edit_prompt_of(w->opts->prompts, ord, w->opts->spans);
}

#endif
