// What the weights alone say of every head: circuits of heads in the space of tokens (Elhage et al.
// 2021), copying scores (Wang et al. 2022), composition of heads, norms and ranks, a lower bound of
// attention's entropy (Zhai et al. 2023), and neurons read through the LM head. No prompt is run.
//
// Rows multiply from the left: q = x W_Q, OV = W_V W_O, QK = W_Q W_K^T. Gains of the norm before
// attention are folded into W_Q, W_K and W_V, the final norm's into the LM head; models with
// LayerNorm have what heads read and write centred. Rotations are left out: QK is that of offset 0.
// Heads that share keys and values share W_K and W_V.
#ifndef HS_ANALYSES_EXPERIMENTS_WEIGHTS_H
#define HS_ANALYSES_EXPERIMENTS_WEIGHTS_H

#include "analyses/experiment.h"

extern const hs_experiment hs_experiment_weights;

typedef struct hs_weights_opts {
    const hs_model *model;
    // ov_copying and qk_matching take a token for what layer 0 makes of it alone, from layer 1 on.
    bool mlp0;
    const int32_t *token; // [n_token] of the copying scores; checked by the caller
    int64_t n_token;      // 0: they are not scored
    int64_t length;       // of the prompts that the entropy bound is for, at least 1
    bool composition;     // of all pairs of heads, too
    bool neurons;         // and all neurons
    const hs_progress *progress;
} hs_weights_opts;

// Computes and emits everything. HS_ENOTFOUND for neurons of a model that has none.
int hs_weights(const hs_weights_opts *, const hs_emit *emit) HS_MUST_USE;

// The least entropy, in nats, of a softmax over n scores whose distances from their mean have the
// Euclidean norm `norm` (Zhai et al. 2023, theorem 3.1, which is attained): with
// b = exp(-norm sqrt(n / (n - 1))), ln(1 + (n - 1) b) + norm sqrt(n (n - 1)) b / (1 + (n - 1) b).
double hs_entropy_bound(double norm, int64_t n);

#endif
