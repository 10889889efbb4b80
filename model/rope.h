// Rotary position embedding: from a config to the cosines and sines of a position, in the same
// steps of f32 arithmetic as transformers (modeling_rope_utils.py), so that patterns agree at long
// range: an angle of position 8,000 moves by 4e-4 when its frequency moves by one bit.
#ifndef HS_MODEL_ROPE_H
#define HS_MODEL_ROPE_H

#include "model/config.h"

// The frequencies of a sequence of n_total positions, [rope_dim / 2]. n_total matters to dynamic
// scaling only, which recomputes them once a sequence is longer than the trained context.
void hs_rope_freqs(const hs_config *cfg, int64_t n_total, float *freq);

// cos_sin [rope_dim]: rope_dim / 2 cosines, then as many sines. `freq` may be the second half of
// cos_sin.
void hs_rope_row(const hs_config *cfg, const float *freq, int64_t pos, float *cos_sin);

// The same by the formulas as they are written, in double: for the reference.
void hs_rope_freqs_f64(const hs_config *cfg, int64_t n_total, double *freq);
void hs_rope_row_f64(const hs_config *cfg, const double *freq, int64_t pos, double *cos_sin);

#endif
