// Runs a model on the tokens of a golden file (tests/ref/fixtures.py) and compares every activation
// in it. Asserts through cmocka.
#ifndef HS_TESTS_LIB_GOLDEN_H
#define HS_TESTS_LIB_GOLDEN_H

#include "model/backward.h"

// `golden`: a .safetensors file of `tokens` (i64) and f32 tensors by hook name. A pattern may
// differ by 1e-5, anything else by 5e-5 of the tensor's largest magnitude; every element of every
// tensor must have been seen. n_ctx 0 = the model's own.
void golden_check(const char *model, const char *golden, enum hs_weight_mode weights,
                  int64_t row_block, int64_t n_ctx);
// The same for a model opened in any way, on one thread.
void golden_check_as(const char *model, const char *golden, const hs_model_opts *opts,
                     int64_t row_block);
// Gradients in the same form (tests/ref/gradients.py): of the mean nll, or of logit[answer[0]] -
// logit[answer[1]] at the end where the file has `answer`. In double within 5e-6 of a tensor's
// largest magnitude: transformers makes its rotations in f32.
void golden_gradients(const char *model, const char *golden, const hs_model_opts *opts,
                      int64_t row_block);

#endif
