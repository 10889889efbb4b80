// The taps of what a backward pass runs forward: edits, the seed and who sees values, as one.
#ifndef HS_MODEL_BACKWARD_TAPS_H
#define HS_MODEL_BACKWARD_TAPS_H

#include "model/backward.h"

typedef struct hs_back_taps {
    const hs_backward *job;
    int64_t n_head;
    hs_tap up;                        // of the forward pass
    hs_tap again;                     // of layers that run again
    uint64_t *write_up, *write_again; // [n_layer + 1], one block
    uint8_t *tile_want;               // [n_layer * n_head]
} hs_back_taps;

// The job is borrowed, and the taps point into `out`. HS_EARG for edits of patterns. Close in any
// state, zero included.
int hs_back_taps_open(hs_back_taps *out, const hs_backward *job, const hs_config *) HS_MUST_USE;
void hs_back_taps_close(hs_back_taps *);
// [n_head] where edits mask keys of a layer; NULL: nowhere.
const uint8_t *hs_back_taps_masks(const hs_back_taps *, int layer);

#endif
