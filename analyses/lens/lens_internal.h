// What lens.c and dla.c share. Nobody else includes this.
#ifndef HS_ANALYSES_LENS_LENS_INTERNAL_H
#define HS_ANALYSES_LENS_LENS_INTERNAL_H

#include "analyses/experiments/lens.h"
#include "model/context.h"

// What a position leaves of the run for attributions, in double.
enum hs_lens_part { HS_PART_EMBED, HS_PART_Z, HS_PART_MLP, HS_PART_POST, HS_N_PART };

struct hs_lens {
    hs_lens_opts o;
    const hs_config *cfg;
    hs_dims dims;
    hs_context *x;
    hs_hooks *run, *lens, *sources;
    hs_tap tap; // of the run, in the backend's own numbers
    hs_lens_at at;

    // Of the run.
    float *resid;             // [n_pos][n_layer + 1][d_model], that after the last layer first
    double *scale;            // [n_pos] of the final norm, 1 without one
    double *part[HS_N_PART];  // [n_layer or 1][n_pos][width]
    int64_t width[HS_N_PART]; // 0: not kept
    double *said;             // [n_pos][2]: logits of the token and of the other one
    int32_t *top;             // [n_pos] the token that the model says

    // The lens.
    int64_t first; // position of the evaluation's first sequences
    float *final;  // [n_vocab] of the position in work
    double final_lse;
    hs_seq *seq;
    hs_lens_row *row;
    hs_lens_seen *seen;

    // Attributions.
    hs_dla *dla;             // [n_pos]
    double *direction;       // [n_pos][d_model]: what a residual has to say for the logit
    double *head, *mlp;      // [n_pos][n_layer][n_head], [n_pos][n_layer]
    hs_dla_neuron *neuron;   // [n_pos][n_neuron]
    double *through;         // [n_pos][widest]: the direction before a matrix
    double *looks;           // [n_layer][n_head * d_head]: the same before W_O, of the one position
    double *source, *spoken; // [n_layer][n_head][n_token], [n_head][n_token] of the layer in work
    float *weights;          // [widest] a row of a matrix
};

// Attributions of the prompt that was run.
int hs_dla_open(struct hs_lens *) HS_MUST_USE;
int hs_dla_run(struct hs_lens *) HS_MUST_USE;

#endif
