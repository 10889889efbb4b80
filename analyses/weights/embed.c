// Tokens as vectors: what enters the first layer, or what layer 0 makes of a token alone (the
// effective embedding, which later layers see in the place of the token: its MLP rewrites much of
// the embedding of models like GPT-2).
#include <stdlib.h>

#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"

static int through_layer0(hs_context *x, float *rows, int64_t n, int64_t d) {
    hs_seq *seq;
    int rc = hs_alloc(&seq, (size_t)n, sizeof *seq);
    for (int64_t i = 0; i < n && !rc; i++)
        seq[i] = (hs_seq){.n = 1, .slot = HS_SLOT_NONE, .prefix_slot = HS_SLOT_NONE};
    const hs_batch batch = {
        .seq = seq, .n_seq = (int)n, .layer_to = 1, .resid = rows, .logits = HS_LOGITS_NONE};
    if (!rc) rc = hs_context_eval(x, &batch);
    const float *after = rc ? NULL : hs_context_resid(x);
    for (int64_t i = 0; i < n * d && !rc; i++) rows[i] = after[i];
    free(seq);
    return rc;
}

int hs_weights_embed(const hs_model *model, hs_context *mlp0, const int32_t *id, int64_t n,
                     float *out) {
    const hs_view *table = hs_model_table(model, HS_W_EMBED);
    const int64_t d = hs_model_config(model)->d_model;
    for (int64_t i = 0; i < n; i++) hs_view_row(table, id[i], 0, d, out + i * d);
    return mlp0 ? through_layer0(mlp0, out, n, d) : HS_OK;
}
