// What all heads look at in a few rows: the key of the largest weight, from the row summary, and,
// when asked for, the weight on keys of a span that hold a given token. No map is kept.
#ifndef HS_ANALYSES_RETRIEVE_WATCH_H
#define HS_ANALYSES_RETRIEVE_WATCH_H

#include "analyses/needles.h"
#include "hooks/hooks.h"

typedef struct hs_watch {
    hs_dims dims;
    const int32_t *tokens;   // of the prompt
    const hs_needle *needle; // of the prompt
    int64_t row0;            // position of the first row that is looked at
    const int32_t *target;   // the token that comes after each row; NULL: not known yet
    int64_t n_target;
    int64_t *top; // [n_layer][n_head] the last row's key of the largest weight
    double *hits; // [n_layer][n_head] rows whose key is one of the needle that holds the target
    double *soft; // [n_layer][n_head] sum over rows of the weight on such keys
} hs_watch;

int hs_watch_open(hs_watch *, const hs_dims *dims) HS_MUST_USE;
void hs_watch_close(hs_watch *); // in any state, zero included
// Before rows of another prompt, or other rows of this one: sums begin at 0.
void hs_watch_aim(hs_watch *, const int32_t *tokens, const hs_needle *needle, int64_t row0);
// The hooks: soft adds the weights, of maps.
int hs_watch_hook(hs_watch *, hs_hooks *hooks, bool soft) HS_MUST_USE;
// Counts the last row's key as a hit where it holds this token.
void hs_watch_next(hs_watch *, int32_t token);

#endif
