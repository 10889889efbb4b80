// The models that laws are tested on, and what tests of the forward pass do all the time. Failures
// are cmocka's.
#ifndef HS_TESTS_LIB_LAWS_H
#define HS_TESTS_LIB_LAWS_H

#include "tests/lib/capture.h"
#include "tests/lib/randmodel.h"

enum { LAW_T = 41, LAW_N_CTX = 96, LAW_N_VOCAB = 50, LAW_N_SPEC = 6, LAW_N_MODEL = 2 * LAW_N_SPEC };
#define LAW_ALL (HS_BIT(HS_N_POINT) - 1)

// Every family and container, biases, tying, grouped heads, half precision among them. The models
// from LAW_N_SPEC on are the same once more, run in double precision.
rand_spec law_spec(int i);
enum hs_precision law_precision(int i);
hs_model *law_open(const rand_spec *s, const hs_model_opts *opts);
hs_model *law_model(int i); // law_spec(i) on two threads, in its precision
hs_context *law_context(const hs_model *m, hs_context_opts opts, const hs_tap *tap);
void law_tokens(int32_t *ids, int n, uint64_t seed);
void law_eval(hs_context *x, const hs_batch *b);
void law_eval_one(hs_context *x, const int32_t *ids, int64_t n, enum hs_logits logits);
// The first n tokens of a seed through a fresh context, all logits, into a capture.
void law_run(cap *c, const hs_model *m, hs_context_opts opts, uint64_t seed, int64_t n);
// Row r of what sequence 0 showed at a point.
const float *law_row(const cap *c, int layer, enum hs_point p, int64_t r);

#endif
