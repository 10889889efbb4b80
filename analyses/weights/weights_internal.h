// The parts of the weight analyses; see analyses/experiments/weights.h. Nobody else includes this.
#ifndef HS_ANALYSES_WEIGHTS_WEIGHTS_INTERNAL_H
#define HS_ANALYSES_WEIGHTS_WEIGHTS_INTERNAL_H

#include "analyses/experiments/weights.h"
#include "model/context.h"

// ---- product.c: the backend's arithmetic on plain f32 rows --------------------------------------

// y[n][n_out] = x[n][n_in] w^T.
int hs_weights_times(const hs_model *model, float *y, int64_t n_out, const hs_weight *w,
                     const float *x, int64_t n_in, int64_t n) HS_MUST_USE;
// The same of a matrix [n_out, n_in] in memory.
int hs_weights_times_view(const hs_model *model, float *y, const hs_view *w, const float *x,
                          int64_t n) HS_MUST_USE;
// Rows of d_model through a norm, in place; nothing where the model has none. NULL: no bias.
int hs_weights_norm(const hs_model *model, float *x, int64_t n, const float *gain,
                    const float *bias) HS_MUST_USE;

// ---- layer.c: what the heads of a layer read and write ------------------------------------------

// Rows of d_model numbers, with gains folded in and centred as weights.h says: row h * d_head + i of
// q is column i of W_Q of head h, and so k and v of KV heads; that of o is row i of W_O of head h.
// Triangles are [n][d_head][d_head] with |W x| = |triangle x| for W_Q, W_K, W_V, and for W_O^T.
typedef struct hs_weights_layer {
    int layer;
    float *q, *k, *v, *o;
    double *tq, *tk, *tv, *to;
    double *bq, *bk; // what the norm's and the projection's biases add to queries and keys
} hs_weights_layer;
int hs_weights_layer_open(hs_weights_layer *out, const hs_model *model, int layer) HS_MUST_USE;
void hs_weights_layer_close(hs_weights_layer *); // in any state, zero included
// A vector that is read through a norm: times its gain (NULL: 1), and without its mean where norms
// take that away.
void hs_weights_fold(const hs_model *model, float *row, const float *gain);

// Rows [d_head][d_model] times a triangle from the left.
void hs_weights_turn(float *out, const double *triangle, const float *rows, int64_t d_head,
                     int64_t d_model);
// out[d_head][d_head] = a b^T of two triangles: its singular values are those of the product of the
// matrices that they stand for.
void hs_weights_core(double *out, const double *a, const double *b, int64_t d_head);

// ---- embed.c ------------------------------------------------------------------------------------

// Tokens as they enter, [n][d_model]: rows of the embedding, or with a context (of one position
// each) the residual after layer 0 of each alone, with no position and attention to itself.
int hs_weights_embed(const hs_model *model, hs_context *mlp0, const int32_t *id, int64_t n,
                     float *out) HS_MUST_USE;

// ---- heads.c ------------------------------------------------------------------------------------

typedef struct hs_spectrum {
    double norm, spectral, nuclear; // of Frobenius; the largest singular value; their sum
    double rank;                    // exp of the entropy of their shares; NaN of a zero matrix
} hs_spectrum;
typedef struct hs_weights_head {
    double ov_copying, qk_matching; // NaN when all eigenvalues are 0
    double entropy_bound;           // NaN without a norm before attention
    hs_spectrum ov, qk;
} hs_weights_head;
// All heads, [n_layer * n_head].
int hs_weights_heads(const hs_weights_opts *, hs_weights_head *out) HS_MUST_USE;

// ---- copying.c ----------------------------------------------------------------------------------

// Shares of the tokens that a head has among the top 5 when it attends to them, and when what it
// writes is turned round: copy[n_layer * n_head][2]; NaN for a head that writes nothing.
int hs_weights_copying(const hs_weights_opts *, double *copy) HS_MUST_USE;

// ---- composition.c ------------------------------------------------------------------------------

enum hs_composition { HS_COMPOSE_Q, HS_COMPOSE_K, HS_COMPOSE_V, HS_N_COMPOSE };
// What composition of random matrices comes to: 1 / sqrt(d) of a residual of d directions.
double hs_weights_random(const hs_model *model);
// Called for each layer from 1 on: score[kind][head][earlier head], earlier heads counted over all
// layers before; NaN where one of the matrices is 0.
typedef int (*hs_composition_fn)(void *ctx, int layer, const float *score);
// heads: those of hs_weights_heads, for their norms.
int hs_weights_composition(const hs_weights_opts *, const hs_weights_head *heads,
                           hs_composition_fn fn, void *ctx) HS_MUST_USE;

// ---- neurons.c ----------------------------------------------------------------------------------

typedef struct hs_neuron {
    int layer;
    int64_t index;
    const char *vector; // "gate", "up", "down"
    int32_t token;
    double probability;
} hs_neuron;
typedef int (*hs_neuron_fn)(void *ctx, const hs_neuron *neuron);
int hs_weights_neurons(const hs_weights_opts *, hs_neuron_fn fn, void *ctx) HS_MUST_USE;

#endif
