// A walk over prompts that runs what they share at their beginning once. One slot of a context is
// the timeline: going to the next prompt, it is cut to what both begin with and goes on from there.
#ifndef HS_ANALYSES_RETRIEVE_TIMELINE_H
#define HS_ANALYSES_RETRIEVE_TIMELINE_H

#include "analyses/prompt.h"
#include "model/context.h"

// The prompts ord[0 .. n) in the order of their tokens, as words in a dictionary: neighbours share
// most, and a beginning that several share comes up once. Equal ones stay in their order.
void hs_timeline_sort(const hs_prompts *prompts, int64_t *ord, int64_t n);

// Tokens that a and b begin with alike.
int64_t hs_timeline_common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b);

typedef struct hs_timeline {
    hs_context *context; // its slot 0
    const int32_t *held; // [n_held] tokens whose keys and values it holds; borrowed from a prompt
    int64_t n_held;
} hs_timeline;
// Has the timeline hold tokens[0 .. n), which live until the next seek; *n_run of them were run.
// After anything else went on in the slot, it is cut to what was sought last first.
int hs_timeline_seek(hs_timeline *, const int32_t *tokens, int64_t n, int64_t *n_run) HS_MUST_USE;
// Cuts what went on after the tokens sought last.
void hs_timeline_rewind(hs_timeline *);
void hs_timeline_forget(hs_timeline *); // the next seek shares nothing

#endif
