// Effects differentiated: what a prompt's answer or loss gains or loses with each activation, to
// first order. One backward pass of a batch of prompts, whose logits are measured on the way.
#ifndef HS_ANALYSES_SLOPE_H
#define HS_ANALYSES_SLOPE_H

#include "analyses/effect.h"
#include "model/backward.h"

bool hs_slope_has(enum hs_effect effect); // whether it can be differentiated
// HS_EARG, saying which ones can, for an effect that cannot.
int hs_slope_check(enum hs_effect effect) HS_MUST_USE;

typedef struct hs_slope {
    const hs_model *model;
    const hs_prompts *prompts;
    const hs_answer *answers; // [prompts]
    enum hs_effect effect;
} hs_slope;

// Runs the prompts ord[0 .. n) and goes back through them; sequence i is prompt ord[i]. base[i]: the
// effect. job says who sees what (its seed is filled in here). Fails as
// hs_slope_check and hs_meter_open.
int hs_slope_run(const hs_slope *, hs_context *x, const int64_t *ord, int n, const hs_backward *job,
                 double *base) HS_MUST_USE;

#endif
