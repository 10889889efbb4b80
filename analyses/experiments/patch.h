// Activation patching: which activations carry what tells a clean prompt from a corrupted one
// (Meng et al. 2022; Wang et al. 2022). One half of a pair runs with one activation of the other
// half in place, and a metric says how much of the other half's result came with it: denoising runs
// the corrupted half with clean values, noising the clean one with corrupted values.
//
// Prompts are pairs (hs_prompts_add_pairs): a pair goes by the number of its clean half. A cell is
// what is patched at once: a head's, group's or layer's part of one point at one place.
#ifndef HS_ANALYSES_EXPERIMENTS_PATCH_H
#define HS_ANALYSES_EXPERIMENTS_PATCH_H

#include "analyses/editing.h"
#include "analyses/effect.h"
#include "analyses/experiment.h"

extern const hs_experiment hs_experiment_patch;

typedef struct hs_patch_opts {
    const hs_model *model;
    const hs_prompts *prompts; // pairs
    const hs_answer *answers;  // [prompts], of both halves the clean one's
    enum hs_point point;
    const hs_units *units;    // of hs_patch_kind(point)
    const char *const *place; // [n_place] sets of positions (hooks/places.h)
    int64_t n_place;          // 0: each position of its own
    bool noise;               // else denoise
    enum hs_effect effect;
    bool grad_drop; // estimates: magnitudes with GradDrop too
    int64_t memory; // bytes that a chunk of work may take, 0: the default; results do not depend
    const hs_progress *progress;
    hs_spans spans; // of --span
} hs_patch_opts;

// Kind of a point's units: heads, KV groups (keys and values), layers (points without heads).
enum hs_unit_kind hs_patch_kind(enum hs_point point);
typedef struct hs_patch_cell {
    int64_t unit;  // of the options' units
    int64_t place; // of the options' places; a position when there are none
} hs_patch_cell;
typedef struct hs_patch_cells {
    hs_patch_cell *at; // owned; by unit, place
    int64_t n;
} hs_patch_cells;
int hs_patch_cells_of(hs_patch_cells *out, const hs_patch_opts *) HS_MUST_USE; // all of them
void hs_patch_cells_free(hs_patch_cells *);
// The place of a cell as --pos would have it: "END", "12".
int hs_patch_place(hs_buf *out, const hs_patch_opts *, int64_t place) HS_MUST_USE;
// The edit of a cell: "patch:blocks.3.attn.hook_z,heads=L3H1,from=pair,pos=END".
int hs_patch_spec(hs_buf *out, const hs_patch_opts *, const hs_patch_cell *) HS_MUST_USE;

enum hs_patch_by { HS_PATCH_EXACT, HS_PATCH_GRADIENT, HS_PATCH_ATP };
// HS_EARG, saying what to take instead, unless the point can be patched layer by layer, and, to be
// estimated, it and the effect have gradients.
int hs_patch_check(const hs_patch_opts *, enum hs_patch_by by) HS_MUST_USE;

// What was found of a pair, borrowed for the call.
typedef struct hs_patch_result {
    int64_t pair;
    double base; // the metric of the half that runs, unedited; of divergences 0
    double full; // the same with everything the other half's
    const double
        *value;         // [n_cell] the metric with the cell patched, or its estimate; NaN where the
                        // prompt lacks the position
    const double *drop; // [n_cell] of GradDrop, sizes of changes; NULL: not asked for
} hs_patch_result;
typedef int (*hs_patch_fn)(void *ctx, const hs_patch_result *result);

// Patches every cell of the pairs [0 .. n) listed, ascending, and hands over each one's results in
// that order.
int hs_patch(const hs_patch_opts *, const hs_patch_cells *, const int64_t *pair, int64_t n,
             hs_patch_fn fn, void *ctx) HS_MUST_USE;

// Attribution patching: estimates of the same by gradients of the half that runs, all cells from two
// forward passes and one backward pass: <n(other) - n, dM/dn>. HS_PATCH_ATP: queries and keys by
// what their softmax really becomes (Kramar et al. 2024, AtP*), and drop where it is asked for.
int hs_patch_estimate(const hs_patch_opts *, const hs_patch_cells *, enum hs_patch_by by,
                      const int64_t *pair, int64_t n, hs_patch_fn fn, void *ctx) HS_MUST_USE;

#endif
