// The sizes that names and shapes are checked against; see names.h.
#include "hooks/names.h"

hs_dims hs_dims_of(const hs_model *model) {
    const hs_config *c = hs_model_config(model);
    hs_dims d = {
        .n_layer = (int)c->n_layer,
        .n_head = (int)c->n_head,
        .n_kv_head = (int)c->n_kv_head,
        .d_model = c->d_model,
        .d_head = c->d_head,
        .d_ff = c->d_ff,
        .n_vocab = c->n_vocab,
        .attn_scale = c->attn_scale,
        .scale_by_layer = c->scale_by_layer,
        .norm = c->norm,
        .norm_eps = c->norm_eps,
    };
    for (int p = 0; p < HS_N_POINT; p++)
        if (hs_model_has_point(model, (enum hs_point)p, NULL)) d.points |= HS_BIT(p);
    return d;
}
