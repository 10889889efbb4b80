// AttentionInfluence (Hua et al. 2025): how much a text depends on a few heads, by how much its loss
// grows when they are masked. Masked heads attend to all keys that they see with equal weights, in
// every row. Random sets of as many heads say what masking costs whichever heads it takes.
//
// A text is run once unedited and, from its lowest masked layer on, once for each set.
#ifndef HS_ANALYSES_EXPERIMENTS_INFLUENCE_H
#define HS_ANALYSES_EXPERIMENTS_INFLUENCE_H

#include "analyses/experiment.h"
#include "analyses/prompt.h"
#include "model/core/prng.h"
#include "model/core/progress.h"

extern const hs_experiment hs_experiment_influence;

typedef struct hs_influence_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    const char *const *set; // [n_set] heads that are masked together, "L5H1+L7H2"; "none": none
    int n_set;
    const hs_progress *progress; // NULL allowed
} hs_influence_opts;

// What one text costs, nats a token; NaN where there is no scored position. Borrowed for the call.
typedef struct hs_influence_text {
    int64_t ord;
    double base;
    const double *masked; // [n_set]
} hs_influence_text;

// Goes through the prompts ord[0 .. n), ascending, and hands over each one's as soon as it is whole.
typedef int (*hs_influence_fn)(void *ctx, const hs_influence_text *text);
int hs_influence(const hs_influence_opts *, const int64_t *ord, int64_t n, hs_influence_fn fn,
                 void *ctx) HS_MUST_USE;

// (masked - base) / base, by equation 5 of the paper; NaN where that is undefined.
double hs_influence_score(double base, double masked);

// Appends the heads of a set, "L0H2+L5H1", in the order of layers; "none" for the empty one.
void hs_influence_name(hs_buf *out, const hs_heads *heads);
// The same of k of them drawn by chance. HS_EARG when there are fewer.
int hs_influence_draw(hs_buf *out, hs_prng *prng, const hs_heads *from, int64_t k) HS_MUST_USE;

#endif
