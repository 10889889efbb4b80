// The walk: many edits of many prompts, each evaluated from the lowest layer that it edits. What
// the sweep, joint sets and the race are made of.
#ifndef HS_ANALYSES_SWEEP_WALK_H
#define HS_ANALYSES_SWEEP_WALK_H

#include "analyses/experiments/sweep.h"

// One edited evaluation of every prompt: specs [first, first + n) act together, in order.
typedef struct hs_walk_job {
    int first, n;
} hs_walk_job;

typedef struct hs_walk hs_walk;
// The edits are opened and checked against all prompts of the options, which are borrowed. HS_EARG
// for an edit that belongs to no layer.
int hs_walk_open(hs_walk **out, const hs_sweep_opts *opts, const char *const *specs,
                 int n) HS_MUST_USE;
void hs_walk_close(hs_walk *);
// Evaluates all jobs on the prompts ord[0 .. n), ascending; value[n_job][HS_N_EFFECT] of each goes
// to fn, prompt by prompt.
int hs_walk_run(hs_walk *, const hs_walk_job *job, int n_job, const int64_t *ord, int64_t n,
                hs_sweep_fn fn, void *ctx) HS_MUST_USE;

// The same, shown instead of measured: every edited evaluation's rows at some tensor points, and no
// layer above the last of them is run. Jobs that leave a prompt alone, or begin above
// that layer, are not shown.
typedef struct hs_walk_watch {
    const uint64_t *points; // [n_layer + 1], of layers
    int (*rows)(void *ctx, int64_t ord, int job, const hs_site *site, const hs_view *view);
    void *ctx;
} hs_walk_watch;
int hs_walk_show(hs_walk *, const hs_walk_job *job, int n_job, const int64_t *ord, int64_t n,
                 const hs_walk_watch *watch) HS_MUST_USE;

// The edits of all units of the options, in order: *out is one block, free() frees it.
int hs_walk_specs(char ***out, const hs_sweep_opts *opts) HS_MUST_USE;

#endif
