// Retrieval heads (Wu et al. 2024): while a model copies an answer out of its context, whose
// strongest attention points at the very token that is being copied?
//
// A needle test is a prompt and the positions of its answer in it. It is prefilled once, up to its
// last token; two things go on from there. Teacher-forced: the true answer after the prompt, all its
// rows in one evaluation. Decoded: greedy, token by token, until a token that ends a generation or
// holds a newline. Tests are walked in the order in which they share most, so that what two of them
// have in common at their beginning is run once; the results are equal to the bit to those of each
// test from scratch.
#ifndef HS_ANALYSES_EXPERIMENTS_RETRIEVE_H
#define HS_ANALYSES_EXPERIMENTS_RETRIEVE_H

#include "analyses/editing.h"
#include "analyses/experiment.h"
#include "analyses/needles.h"
#include "model/context.h"

extern const hs_experiment hs_experiment_retrieve;

// A test is passed when the decoded text recalls more than this of the answer's words.
#define HS_RETRIEVE_PASS 0.5

typedef struct hs_retrieve_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    const hs_needle *needles; // [n_test]
    int64_t n_test;           // the first of the prompts: tests, and questions, which are the same
    int64_t max_new;          // tokens to decode at most, >= 1
    bool from_scratch;        // every test anew, sharing nothing
    const hs_progress *progress;
} hs_retrieve_opts;

// The context that tests take: each decoded n_set times from one prefill, 0: once.
hs_context_opts hs_retrieve_context(const hs_retrieve_opts *, int n_set);

// What a test found, borrowed for the call. Scores are [n_layer][n_head]: hits over the needle's
// length, a hit being a row whose largest weight lies on a token of the needle that is the one which
// comes next. `decoded` is defined when the test was passed.
typedef struct hs_retrieve_result {
    int64_t ord;
    double recall, f1; // of the answer and what was said (analyses/retrieve/recall.h)
    bool passed;
    const double *decoded, *forced;
    const double *soft;  // mean over the answer's tokens of the weight on places of the needle that
                         // hold it, teacher-forced
    const int32_t *said; // [n_said], an end-of-generation token included
    int64_t n_said;
    int64_t n_run; // tokens of the prompt that were run, not shared
} hs_retrieve_result;
typedef int (*hs_retrieve_fn)(void *ctx, const hs_retrieve_result *result);
// The tests ord[0 .. n), ascending; results come in that order, some while after they are found.
int hs_retrieve(const hs_retrieve_opts *, const int64_t *ord, int64_t n, hs_retrieve_fn fn,
                void *ctx) HS_MUST_USE;

// The tests under masks: what is still recalled when sets of heads look at all that they see alike
// (ablate:...,mode=uniform) from the prompt's last token on, while the rest of it was prefilled
// unmasked; or in all rows.
typedef struct hs_retrieve_masks {
    const char *const *spec; // [n] of masks, as --do takes them; they may not tell prompts apart
    int n;                   // none is enough
    bool whole;              // all rows are masked
} hs_retrieve_masks;
// What was said of a test's answer, borrowed for the call: unmasked, and under each mask.
typedef struct hs_retrieve_masked_result {
    int64_t ord;
    const double *recall, *f1; // [1 + n]
    const int32_t *said;       // [n_said], unmasked
    int64_t n_said;
} hs_retrieve_masked_result;
typedef int (*hs_retrieve_masked_fn)(void *ctx, const hs_retrieve_masked_result *result);
// The tests ord[0 .. n), ascending; results come in that order, some while after they are found.
int hs_retrieve_masked(const hs_retrieve_opts *, const hs_retrieve_masks *, const int64_t *ord,
                       int64_t n, hs_retrieve_masked_fn fn, void *ctx) HS_MUST_USE;

#endif
