// What a model would say before it is done: the logit lens (nostalgebraist 2020), the ranks of chosen
// tokens through the layers (Li et al. 2025), and which head, MLP, neuron or source position a logit
// comes from (direct logit attribution, Elhage et al. 2021).
//
// The lens is the model's own head: the residual of a position after each layer goes through the
// final norm and the unembedding as the last one does, as rows injected after the last layer. It is
// an experiment and no observer, since it evaluates the model a second time.
#ifndef HS_ANALYSES_EXPERIMENTS_LENS_H
#define HS_ANALYSES_EXPERIMENTS_LENS_H

#include "analyses/experiment.h"
#include "analyses/prompt.h"
#include "model/core/progress.h"

extern const hs_experiment hs_experiment_lens;

enum hs_dla_by {
    HS_DLA_NEURON = 1, // of MLPs, the `top` largest
    HS_DLA_SOURCE = 2, // of heads, by the position that they look at
};

typedef struct hs_lens_opts {
    const hs_model *model;
    bool frozen;          // divide by the final norm's scale of the run, not by each row's own
    const int32_t *track; // [n_track] tokens whose ranks are wanted; borrowed
    int n_track;
    bool dla;
    unsigned by;         // bits of enum hs_dla_by
    int64_t top_neurons; // 0: all
} hs_lens_opts;

enum { HS_LENS_TOP = -1, HS_LENS_NONE = -1 };

// What is asked about one prompt.
typedef struct hs_lens_at {
    const hs_prompt *prompt;
    const int64_t *pos; // [n_pos] ascending
    int64_t n_pos;
    // Whose logit is attributed, less that of another one. HS_LENS_TOP: of each position the token
    // that the model says; HS_LENS_NONE: no other one.
    int32_t token, minus;
} hs_lens_at;

// The lens at one position and layer. Ranks are 0-based, among equal logits by id.
typedef struct hs_lens_row {
    int32_t top; // the token with the largest logit
    double logit, prob;
    double kl;    // KL(final || lens), nats
    int64_t rank; // of the token that the model says in the end
} hs_lens_row;
typedef struct hs_lens_seen {
    int64_t rank;
    double logit, prob;
} hs_lens_seen;

// Where the logit of a token at a position comes from, with the final norm's scale as it was. `embed`,
// `bias`, the heads and the MLPs add up to `logit`; `rest` is what rounding leaves of it. Biases of
// the heads' and MLPs' outputs, of the final norm and of the unembedding are one number.
typedef struct hs_dla_neuron {
    int layer;
    int64_t index;
    double value;
} hs_dla_neuron;
typedef struct hs_dla {
    int32_t token, minus;
    double logit, embed, bias, rest;
    const double *head;          // [n_layer][n_head]
    const double *mlp;           // [n_layer]; NULL: the model has none
    const hs_dla_neuron *neuron; // [n_neuron], the largest by size first
    int64_t n_neuron;
    const double *source; // [n_layer][n_head][n_token]: a head's, summed over positions; NULL: none
} hs_dla;

typedef struct hs_lens_result {
    int64_t n_pos;
    const int32_t *final_top;  // [n_pos]
    const hs_lens_row *row;    // [n_pos][n_layer + 1]: the embeddings, then after each layer
    const hs_lens_seen *track; // [n_pos][n_layer + 1][n_track]
    const hs_dla *dla;         // [n_pos], NULL: none
} hs_lens_result;

typedef struct hs_lens hs_lens;
// HS_EARG for neurons of a model without MLPs.
int hs_lens_open(hs_lens **out, const hs_lens_opts *opts) HS_MUST_USE;
void hs_lens_close(hs_lens *);
// Runs one prompt; the result lives until the next one. Cost: the run, (n_layer + 1) rows of the LM
// head a position, and with HS_DLA_SOURCE a second run. Memory: (n_layer + 1) rows of d_model a
// position, and a number a head and position. HS_EARG for HS_DLA_SOURCE at several positions,
// HS_ERANGE for positions and tokens that are not there.
int hs_lens_run(hs_lens *, const hs_lens_at *at, hs_lens_result *out) HS_MUST_USE;

#endif
