// The resolved numbers of one model, the same for every container and family. Every field is
// filled by the family's table (arch.h) from config.json or GGUF metadata, then checked.
#ifndef HS_MODEL_CONFIG_H
#define HS_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum hs_norm { HS_NORM_NONE, HS_NORM_RMS, HS_NORM_LAYER };
enum hs_pos { HS_POS_NONE, HS_POS_LEARNED, HS_POS_ROPE };
enum hs_mlp { HS_MLP_NONE, HS_MLP_PLAIN, HS_MLP_GATED };
enum hs_act {
    HS_ACT_SILU,
    HS_ACT_GELU,
    HS_ACT_GELU_TANH,
    HS_ACT_GELU_QUICK,
    HS_ACT_RELU,
    HS_ACT_N
};
enum hs_rope_scaling {
    HS_ROPE_DEFAULT,
    HS_ROPE_LINEAR,
    HS_ROPE_LLAMA3,
    HS_ROPE_YARN,
    HS_ROPE_DYNAMIC
};

typedef struct hs_config {
    int64_t n_layer, n_head, n_kv_head;
    int64_t d_model, d_head, d_ff;
    int64_t n_vocab, n_ctx;
    double norm_eps;

    enum hs_norm norm;
    enum hs_pos pos;
    enum hs_mlp mlp;
    enum hs_act act;
    bool tied;                // the head is the embedding matrix
    bool attn_bias, mlp_bias; // said by config.json only; GGUF tells by the tensors it holds

    double attn_scale;   // scores are multiplied by this
    bool scale_by_layer; // and divided by layer + 1 (GPT-2's scale_attn_by_inverse_layer_idx)

    double rope_theta;
    int64_t rope_dim; // the first rope_dim numbers of a head rotate
    enum hs_rope_scaling rope_scaling;
    double rope_factor, rope_low_freq, rope_high_freq, rope_beta_fast, rope_beta_slow;
    double rope_mscale, rope_mscale_all; // yarn: what the attention factor is derived from
    double rope_attn_factor;             // multiplies cos and sin; 1 but for yarn
    bool rope_truncate;                  // yarn: the ramp starts and ends on whole dimensions
    int64_t rope_orig_ctx;               // context length before scaling
} hs_config;

#endif
