// Llama (Touvron et al. 2023) and the models that share its block: Llama 1-3, TinyLlama, SmolLM,
// SmolLM2. RMSNorm before each half, RoPE on q and k, grouped key/value heads, SwiGLU, no biases
// but on demand.
//
// GGUF stores the rows of W_Q and W_K (and their biases) interleaved within each head, for the
// pairwise form of RoPE; HS_ROPE_PAIRS brings back the halves order of the HF files. Llama 3's
// frequency rule is a tensor of divisors there.
#include "model/arch.h"

// clang-format off
#define LAYER_RULE(role, hf, gguf) {role, "layers.%d." hf, "blk.%d." gguf, .need = HS_REQUIRED}
#define BIAS_RULE(role, hf, gguf, layout, says)                                                   \
    {role, "layers.%d." hf, "blk.%d." gguf, .layout_gguf = layout, .need = HS_OPTIONAL,           \
     .flag = offsetof(hs_config, says)}
// clang-format on

static const hs_tensor_rule tensors[] = {
    {HS_W_EMBED, "embed_tokens.weight", "token_embd.weight", .need = HS_REQUIRED},
    LAYER_RULE(HS_W_LN1, "input_layernorm.weight", "attn_norm.weight"),
    {HS_W_Q, "layers.%d.self_attn.q_proj.weight", "blk.%d.attn_q.weight",
     .layout_gguf = HS_ROPE_PAIRS, .need = HS_REQUIRED},
    {HS_W_K, "layers.%d.self_attn.k_proj.weight", "blk.%d.attn_k.weight",
     .layout_gguf = HS_ROPE_PAIRS, .need = HS_REQUIRED},
    LAYER_RULE(HS_W_V, "self_attn.v_proj.weight", "attn_v.weight"),
    LAYER_RULE(HS_W_O, "self_attn.o_proj.weight", "attn_output.weight"),
    BIAS_RULE(HS_B_Q, "self_attn.q_proj.bias", "attn_q.bias", HS_ROPE_PAIRS, attn_bias),
    BIAS_RULE(HS_B_K, "self_attn.k_proj.bias", "attn_k.bias", HS_ROPE_PAIRS, attn_bias),
    BIAS_RULE(HS_B_V, "self_attn.v_proj.bias", "attn_v.bias", HS_PLAIN, attn_bias),
    BIAS_RULE(HS_B_O, "self_attn.o_proj.bias", "attn_output.bias", HS_PLAIN, attn_bias),
    LAYER_RULE(HS_W_LN2, "post_attention_layernorm.weight", "ffn_norm.weight"),
    LAYER_RULE(HS_W_GATE, "mlp.gate_proj.weight", "ffn_gate.weight"),
    LAYER_RULE(HS_W_UP, "mlp.up_proj.weight", "ffn_up.weight"),
    LAYER_RULE(HS_W_DOWN, "mlp.down_proj.weight", "ffn_down.weight"),
    BIAS_RULE(HS_B_GATE, "mlp.gate_proj.bias", "ffn_gate.bias", HS_PLAIN, mlp_bias),
    BIAS_RULE(HS_B_UP, "mlp.up_proj.bias", "ffn_up.bias", HS_PLAIN, mlp_bias),
    BIAS_RULE(HS_B_DOWN, "mlp.down_proj.bias", "ffn_down.bias", HS_PLAIN, mlp_bias),
    {HS_W_LNF, "norm.weight", "output_norm.weight", .need = HS_REQUIRED},
    {HS_W_HEAD, "lm_head.weight", "output.weight", .need = HS_OPTIONAL},
    {HS_W_ROPE_FREQS, NULL, "rope_freqs.weight", .need = HS_OPTIONAL},
    {.hf = NULL},
};

// clang-format off
#define KEY(kind, field, hf, gguf, ...)                                                           \
    {kind, offsetof(hs_config, field), hf, gguf, .required = false, __VA_ARGS__}
#define NEEDED(kind, field, hf, gguf) {kind, offsetof(hs_config, field), hf, gguf, true, 0, NULL}
// clang-format on

static const hs_config_key keys[] = {
    NEEDED(HS_KEY_INT, n_layer, "num_hidden_layers", "%s.block_count"),
    NEEDED(HS_KEY_INT, n_head, "num_attention_heads", "%s.attention.head_count"),
    KEY(HS_KEY_INT, n_kv_head, "num_key_value_heads", "%s.attention.head_count_kv", .fallback = 0),
    NEEDED(HS_KEY_INT, d_model, "hidden_size", "%s.embedding_length"),
    KEY(HS_KEY_INT, d_head, "head_dim", "%s.attention.key_length", .fallback = 0),
    NEEDED(HS_KEY_INT, d_ff, "intermediate_size", "%s.feed_forward_length"),
    NEEDED(HS_KEY_COUNT, n_vocab, "vocab_size", "%s.vocab_size|tokenizer.ggml.tokens"),
    KEY(HS_KEY_INT, n_ctx, "max_position_embeddings", "%s.context_length", .fallback = 2048),
    KEY(HS_KEY_NUM, norm_eps, "rms_norm_eps", NULL, .fallback = 1e-6),
    NEEDED(HS_KEY_NUM, norm_eps, NULL, "%s.attention.layer_norm_rms_epsilon"),
    KEY(HS_KEY_ENUM, act, "hidden_act", NULL, .fallback = HS_ACT_SILU, .names = hs_act_names),
    KEY(HS_KEY_BOOL, tied, "tie_word_embeddings", NULL, .fallback = false),
    KEY(HS_KEY_BOOL, attn_bias, "attention_bias", NULL, .fallback = false),
    KEY(HS_KEY_BOOL, mlp_bias, "mlp_bias", NULL, .fallback = false),

    KEY(HS_KEY_INT, rope_dim, NULL, "%s.rope.dimension_count", .fallback = 0),
    KEY(HS_KEY_NUM, rope_theta, "rope_scaling.rope_theta|rope_parameters.rope_theta|rope_theta",
        "%s.rope.freq_base", .fallback = 10000),
    KEY(HS_KEY_ENUM, rope_scaling,
        "rope_scaling.rope_type|rope_scaling.type|"
        "rope_parameters.rope_type|rope_parameters.type",
        NULL, .fallback = HS_ROPE_DEFAULT, .names = hs_rope_types),
    KEY(HS_KEY_ENUM, rope_scaling, NULL, "%s.rope.scaling.type", .fallback = HS_ROPE_LINEAR,
        .names = hs_rope_types),
    HS_ROPE_KEY(HS_KEY_NUM, rope_factor, "factor", "%s.rope.scaling.factor|%s.rope.scale_linear",
                .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_low_freq, "low_freq_factor", NULL, .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_high_freq, "high_freq_factor", NULL, .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_beta_fast, "beta_fast", "%s.rope.scaling.yarn_beta_fast",
                .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_beta_slow, "beta_slow", "%s.rope.scaling.yarn_beta_slow",
                .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_mscale, "mscale", NULL, .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_mscale_all, "mscale_all_dim", NULL, .fallback = 0),
    HS_ROPE_KEY(HS_KEY_NUM, rope_attn_factor, "attention_factor", NULL, .fallback = 0),
    HS_ROPE_KEY(HS_KEY_BOOL, rope_truncate, "truncate", NULL, .fallback = true),
    KEY(HS_KEY_INT, rope_orig_ctx,
        "original_max_position_embeddings|"
        "rope_scaling.original_max_position_embeddings|"
        "rope_parameters.original_max_position_embeddings",
        "%s.rope.scaling.original_context_length", .fallback = 0),
    {.hf = NULL},
};

static const hs_refusal refusals[] = {
    {"is_causal", "%s.attention.causal", "true", "attention must be causal"},
    {"sliding_window", "%s.attention.sliding_window", "0", "no windowed attention in this family"},
    {"attention_chunk_size", NULL, "", "no chunked attention in this family"},
    {"layer_types", NULL, "", "layers of different kinds are not in this family"},
    {"rope_parameters.full_attention", NULL, "", "RoPE must be the same in every layer"},
    {"rope_parameters.sliding_attention", NULL, "", "RoPE must be the same in every layer"},
    {"partial_rotary_factor", NULL, "1", "transformers' versions disagree on it in this family"},
    {"rope_parameters.partial_rotary_factor", NULL, "1",
     "transformers' versions disagree on it in this family"},
    {"rope_scaling.partial_rotary_factor", NULL, "1",
     "transformers' versions disagree on it in this family"},
    {"quantization_config", NULL, "", "quantised safetensors are not supported, GGUF files are"},
    {"num_local_experts", "%s.expert_count", "0", "mixtures of experts are not supported"},
    {NULL, "%s.attention.scale", "0", "another scale of scores is not in this family"},
    {NULL, "%s.attention.clamp_kqv", "0", "clamped q, k, v are not in this family"},
    {NULL, "%s.logit_scale", "0|1", "multipliers are not in this family"},
    {NULL, "%s.residual_scale", "0|1", "multipliers are not in this family"},
    {NULL, "%s.embedding_scale", "0|1", "multipliers are not in this family"},
    {NULL, "%s.rope.scaling.attn_factor", "1", "another yarn gain is not supported"},
    {NULL, "%s.rope.scaling.yarn_attn_factor", "1|-1", "another yarn gain is not supported"},
    {NULL, "%s.rope.scaling.yarn_ext_factor", "1|-1", "another yarn mix is not supported"},
    {NULL, "%s.rope.scaling.yarn_log_multiplier", "0", "another yarn gain is not supported"},
    {.hf = NULL},
};

static int finish(hs_config *c, const hs_ckpt *ckpt) {
    hs_meta m;
    int rc = hs_arch_heads(c);
    if (rc) return rc;
    if (hs_ckpt_meta(ckpt, "llama.attention.value_length", &m) && m.i != c->d_head)
        return hs_fail(HS_EUNSUPPORTED,
                       "config key llama.attention.value_length is %lld: values "
                       "must be as long as keys (%lld)",
                       (long long)m.i, (long long)c->d_head);
    return hs_rope_finish(c, ckpt);
}

extern const hs_arch hs_arch_llama;
const hs_arch hs_arch_llama = {
    .name = "llama",
    .title = "Llama, TinyLlama, SmolLM",
    .paper = "arXiv:2302.13971",
    .example = "HuggingFaceTB/SmolLM2-135M-Instruct",
    .hf_types = (const char *const[]){"llama", NULL},
    .gguf_types = (const char *const[]){"llama", NULL},
    .base = {.norm = HS_NORM_RMS,
             .pos = HS_POS_ROPE,
             .mlp = HS_MLP_GATED,
             .act = HS_ACT_SILU,
             .tied = true,
             .rope_truncate = true},
    .keys = keys,
    .tensors = tensors,
    .refusals = refusals,
    .skip = (const char *const[]){"layers.*.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq",
                                  NULL},
    .hf_prefix = "model.",
    .finish = finish,
};
