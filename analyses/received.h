// The attention that positions of a prompt receive: what finds the outliers of a span.
#ifndef HS_ANALYSES_RECEIVED_H
#define HS_ANALYSES_RECEIVED_H

#include "analyses/prompt.h"
#include "model/model.h"

// out[n_token]: the mean of the pattern of a layer over its heads and the rows from row0 on, which
// is inside the prompt; the prompt runs unedited as far as that layer. The same bits whatever the
// threads.
int hs_received(const hs_model *, const hs_prompt *, int layer, int64_t row0,
                double *out) HS_MUST_USE;

#endif
