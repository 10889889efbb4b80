// Keeps what hook points deliver for one sequence of a batch, whole, in memory.
#ifndef HS_CLI_CAPTURE_H
#define HS_CLI_CAPTURE_H

#include "hooks/hooks.h"

typedef struct hs_capture hs_capture;

// For n_row positions of sequence `seq`; points: [n_layer + 1] sets, copied. Everything is
// allocated here: rows that never come stay 0 (scores: -inf).
int hs_capture_open(hs_capture **out, const hs_dims *dims, const uint64_t *points, int64_t n_row,
                    int seq) HS_MUST_USE;
void hs_capture_close(hs_capture *);
int hs_capture_hook(hs_capture *, hs_hooks *hooks) HS_MUST_USE;

// Row-major, of the shape that hs_point_shape gives; layer ignored for points of the model. NULL
// when it was not asked for.
const float *hs_capture_at(const hs_capture *, enum hs_point point, int layer);
int64_t hs_capture_count(const hs_capture *, enum hs_point point); // numbers of one layer

#endif
