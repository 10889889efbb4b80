// Gradients of a number that follows from the logits, by activations only (weights have none): what
// first-order importance, attribution patching and gate searches need.
//
// The residual that enters each layer is kept from one forward pass; then, from the last layer down,
// a layer is run again (hs_context_eval over that one layer) to have its activations, and
// differentiated. Cost: two forwards and the backward products, which are another. Memory: n_layer
// rows of d_model a token, and one layer's activations.
#ifndef HS_MODEL_BACKWARD_H
#define HS_MODEL_BACKWARD_H

#include "model/context.h"

typedef struct hs_backward {
    // Turns logits of some rows into dM/dlogits in place: once for every row that meets the LM
    // head, in order. M is the sum over rows of what this differentiates. NULL: no logits are made,
    // and all gradients are 0 but for what `grads` writes.
    int (*seed)(void *ctx, const hs_site *site, const hs_view *logits);
    void *ctx;
    // Sees the activations of the second run, layers from the last to the first, so none of the
    // embeddings (but with `once`); read masks only; NULL allowed.
    const hs_tap *values;
    // Receives gradients under the same names, after the layer's values: tensor points of layers
    // (not scales, normalized and results), embeddings; NULL allowed. What it writes goes on
    // downwards: so M may depend on activations directly, whose gradients are added there.
    const hs_tap *grads;
    // Acts on activations of the forward pass, and again when a layer runs again, before `values`
    // sees them: writes at tensor points of layers, and at scores what masks keys (-inf). NULL
    // allowed. The way back knows of masks. Of any other edit it does not: who edits an activation
    // makes its gradient that of what was there before, by writing at the same point of `grads`.
    const hs_tap *edits;
    // GradDrop (Kramar et al. 2024), NULL: none. Beside M's gradients, those that go around a layer,
    // as if nothing went back through what its attention and MLP add to the residual, of each layer
    // in turn. They are M's above that layer, and are not handed out again there: in every layer
    // come M's, then those around it and around each one above, ascending. This tells, with the ctx
    // of `grads`, which ones follow: -1 for M's, or the layer that they go around; layer_done
    // follows each. The activations are made once for all.
    int (*around)(void *ctx, int layer);
    // Everything is kept from the forward pass, so that no layer runs again: values are seen on the
    // way up, all of them before the first gradient. A forward less, for more memory.
    bool once;
} hs_backward;

// Points that have gradients here, as bits.
uint64_t hs_backward_points(const hs_model *model);
// Runs the batch (all layers, no kept keys and values, logits NONE: seeds take their place) and
// differentiates it. batch->logit_row says which rows count; NULL: all. The context's own tap sees
// nothing of it, and its residual is nobody's afterwards. HS_EARG for a context that keeps keys and
// values, and for a batch that is not all layers from its tokens on.
int hs_context_backward(hs_context *, const hs_batch *batch, const hs_backward *) HS_MUST_USE;
// Bytes of work memory, the context's with row blocks of the engine's choice included; within 5 %
// where a model is not tiny.
hs_memory hs_backward_memory(const hs_model *model, int64_t n_tokens);
// Bytes that `once` and `around` take beside that.
int64_t hs_backward_once(const hs_model *model, int64_t n_tokens);
int64_t hs_backward_around(const hs_model *model, int64_t n_tokens);

#endif
