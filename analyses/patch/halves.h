// The two halves of pairs, as the ways to patch see them.
#ifndef HS_ANALYSES_PATCH_HALVES_H
#define HS_ANALYSES_PATCH_HALVES_H

#include "analyses/experiments/patch.h"
#include "model/context.h"

// Numbers of the half that runs, and of the one that lends its values.
static inline int64_t hs_patch_running(const hs_patch_opts *o, int64_t pair) {
    return o->noise ? pair : hs_prompts_pair(o->prompts, pair);
}
static inline int64_t hs_patch_lending(const hs_patch_opts *o, int64_t pair) {
    return hs_prompts_pair(o->prompts, hs_patch_running(o, pair));
}

// Runs the lending halves of pair[0 .. n) under a hook set of one's own, to which the measurement is
// added, and measures them by answers, tokens and unedited run of the running halves: full[n].
// Sequence i of the evaluation is that of pair[i].
int hs_patch_lend(const hs_patch_opts *, hs_context *x, hs_hooks *hooks, const int64_t *pair, int n,
                  double *full) HS_MUST_USE;

// Whether the running half of a pair has position(s) of a place, and which.
int hs_patch_resolve(const hs_patch_opts *, int64_t pair, int64_t place,
                     hs_places *out) HS_MUST_USE;

#endif
