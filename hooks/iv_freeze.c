// freeze: points keep what the same prompt gives them unedited.
//
// What path patching holds still while an edit elsewhere runs through the model (Wang et al., 2023;
// Goldowsky-Dill et al., 2023): freezing hook_attn_out leaves only the ways through the MLPs.
// Freezing all of an otherwise unedited run changes nothing.
#include <stdlib.h>

#include "hooks/copying.h"

static int open_freeze(void **state, const hs_edit_setup *setup, uint64_t *points,
                       hs_ref_need *need) {
    need->from = HS_REF_SELF;
    return hs_copying_open(state, setup, points, need);
}

const hs_intervention hs_iv_freeze = {
    .name = "freeze",
    .title = "holds points at what the unedited run of the prompt has there",
    .about = "The prompt runs unedited first; then its values take the place of those that other "
             "edits would change. heads= narrows points that have heads. Decoded rows are left "
             "alone: the unedited run has none.",
    .reference = "Wang et al., Interpretability in the Wild, ICLR 2023; Goldowsky-Dill et al., "
                 "Localizing Model Behavior with Path Patching, 2023",
    .example = "freeze:attn_out",
    .target = HS_TARGET_POINTS,
    .open = open_freeze,
    .close = free,
    .rows = hs_copying_rows,
    .tile = hs_copying_tile,
};
