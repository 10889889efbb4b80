// Head-importance sweep: every unit of a model is edited alone, and what that does to the output is
// measured prompt by prompt (Michel et al. 2019; methods in the literature of ablation).
//
// What lies below the edited layer is computed once: prompts are walked layer by layer, and at
// layer l the residual that enters it is copied for each unit of the layer, edited there, and the
// copies go as one ragged batch through the layers above. Only rows that the metric reads meet the
// LM head. What lies before the first edited position is a prefix that all copies share.
#ifndef HS_ANALYSES_EXPERIMENTS_SWEEP_H
#define HS_ANALYSES_EXPERIMENTS_SWEEP_H

#include "analyses/editing.h"
#include "analyses/effect.h"
#include "analyses/experiment.h"

extern const hs_experiment hs_experiment_sweep;

// One op of a sweep, "zero", "mean", "resample", "uniform", "bos", or an intervention's spec with @
// where a unit goes ("temper:@,t=2").
typedef struct hs_sweep_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    const hs_answer *answers; // [n_prompt]
    const hs_units *units;    // all of one kind
    const char *op;
    const char *op_args; // more parameters of the edits ("pos=-1"), NULL: none
    unsigned effects;    // bits
    int64_t memory; // bytes that a chunk of work may take, 0: the default; results do not depend
    uint64_t seed;  // of resample's prompts, unless op_args has one, and of the race
    const hs_progress *progress;
    hs_spans spans;            // that edits may name
    const hs_run_source *runs; // NULL: edits cannot refer to recorded runs
} hs_sweep_opts;

// The edit of one unit as --do takes it: "ablate:L5H1,mode=zero,pos=-1". HS_ENOTFOUND for an op
// that is neither a mode of ablate nor a spec with @.
int hs_sweep_spec(hs_buf *out, const hs_sweep_opts *, const hs_unit *unit) HS_MUST_USE;

// Results of one prompt, borrowed for the call.
typedef struct hs_sweep_result {
    int64_t ord;
    const double *base;  // [HS_N_EFFECT], NaN where not measured
    const double *value; // [n_unit][HS_N_EFFECT], raw values under the edit
    // By gradient, [n_unit][n_token]: what the edit does at each position, which adds up to value -
    // base. NULL where there is no such estimate, and of neurons.
    const double *at[HS_N_EFFECT];
} hs_sweep_result;

// Sweeps the prompts ord[0 .. n), ascending, and hands over each one's results in that order as
// soon as they are whole.
typedef int (*hs_sweep_fn)(void *ctx, const hs_sweep_result *result);
int hs_sweep(const hs_sweep_opts *, const int64_t *ord, int64_t n, hs_sweep_fn fn,
             void *ctx) HS_MUST_USE;

// First-order estimates from one backward pass a prompt, instead of the edits (effects that
// analyses/slope.h has; ops zero, mean and resample): dM ~ <edited - z, dM/dz>. The same results.
int hs_sweep_gradient(const hs_sweep_opts *, const int64_t *ord, int64_t n, hs_sweep_fn fn,
                      void *ctx) HS_MUST_USE;

// Joint edits of growing sets: set k holds the first k of `order` (indices into units); value[k] is
// for k in steps[0 .. n_step). One evaluation a step and prompt, from the lowest edited layer on.
typedef struct hs_sweep_joint {
    const int64_t *order; // [units->n]
    const int64_t *steps; // ascending, steps[0] may be 0
    int64_t n_step;
} hs_sweep_joint;
// value[n_step][HS_N_EFFECT] of each prompt in the place of units.
int hs_sweep_joint_run(const hs_sweep_opts *, const hs_sweep_joint *, const int64_t *ord, int64_t n,
                       hs_sweep_fn fn, void *ctx) HS_MUST_USE;

// Finds the k units of largest mean effect (of largest harm: logit_diff, probabilities and accuracy
// fall) over the prompts given, without measuring all units on all prompts: prompts come in a random
// order, in rounds that double their number; after each round, units that confidence bounds put
// above or below the cut are decided, and, where the budget asks for it, those farthest from it
// (successive rejects, Audibert et al. 2010; accepts and rejects, Bubeck et al. 2013).
//
// What is claimed: with probability 1 - delta all units called `settled` are on the side of the cut
// where a full sweep over the same prompts, of the units that the estimates let through, has them, IF
// the differences that a unit makes from prompt to prompt are like draws from a normal
// distribution (about a line through estimates, where these are given). Bounds are Student's t
// intervals for the mean of a finite population (drawn without replacement: of width 0 once all
// prompts are measured), with a union bound over units and rounds.
// Distribution-free bounds (Hoeffding, empirical Bernstein) need differences that are bounded, which
// those of a log-likelihood are not. Nothing is claimed about units decided by the budget or by
// estimates.
typedef struct hs_race_opts {
    int64_t k;
    double delta;  // 0: 0.05
    double budget; // at most this share of the full sweep's edits, 0: no limit
    // [n][n_unit] estimates of the changes on the prompts, in order of ord (by gradients, say), in
    // any one scale: with a budget their sizes say whom not to measure at all, and they carry what
    // was measured on some prompts to all of them. NULL: none.
    const double *estimate;
} hs_race_opts;
typedef struct hs_race_unit {
    double mean, low, high; // change against the baseline over all prompts, as known from the n
                            // measured; NaN, and infinite ends, where nothing is known
    int64_t n;
    bool in, settled; // among the top k; decided by the bounds (else by means or estimates)
} hs_race_unit;
typedef struct hs_race_report {
    int64_t edits, full; // unit-and-prompt evaluations made, and those of the full sweep
    bool certain;        // every unit settled
    double delta;
} hs_race_report;
// HS_EARG for k, delta or a budget out of range, one too small to measure each unit once, and a
// prompt on which the effect is undefined. HS_ESTOP passes through.
int hs_sweep_race(const hs_sweep_opts *, enum hs_effect effect, const hs_race_opts *race,
                  const int64_t *ord, int64_t n, hs_race_unit *out,
                  hs_race_report *report) HS_MUST_USE;

#endif
