// Sink channels: where the residual stream of a model is massive at the first token (Sun et al.
// 2024), by which VAR (Kang et al. 2025) knows sink tokens.
#ifndef HS_ANALYSES_CHANNELS_H
#define HS_ANALYSES_CHANNELS_H

#include "analyses/prompt.h"
#include "model/core/progress.h"
#include "model/model.h"

// |x| > 100 and |x| >= 1000 times the median of |x| over all positions and channels of the layer.
static inline bool hs_is_massive(double size, double median) {
    return size > 100 && size >= 1000 * median;
}

enum { HS_CHANNELS_PROMPTS = 16 };

typedef struct hs_channels {
    int64_t *at; // owned; ascending
    int64_t n;
} hs_channels;
// Those that are massive at position 0 after at least half of the blocks, prompts and blocks counted
// together, over the first HS_CHANNELS_PROMPTS prompts; runs them unedited, one by one. HS_ENOTFOUND
// when there is none.
int hs_channels_find(hs_channels *out, const hs_model *model, const hs_prompts *prompts,
                     const hs_progress *progress) HS_MUST_USE;
void hs_channels_free(hs_channels *);

#endif
