// GPT-2 (Radford et al. 2019): LayerNorm before each half, learned positions, biases everywhere,
// one fused projection for q, k and v, a plain MLP, the head tied to the embedding.
//
// HF's Conv1D stores weights [in, out]; GGUF has turned them round. Files made by different
// versions carry the prefix "transformer." or not, and the causal mask as a buffer or not.
#include "model/arch.h"

// clang-format off
#define NORM(role, hf, gguf) {role, hf, gguf, .need = HS_REQUIRED}
#define WEIGHT(role, hf, gguf) {role, hf, gguf, .layout_hf = HS_TRANSPOSED, .need = HS_REQUIRED}
#define FUSED(role, suffix, layout, n)                                                            \
    {role, "h.%d.attn.c_attn." suffix, "blk.%d.attn_qkv." suffix, .layout_hf = layout,            \
     .need = HS_REQUIRED, .part = n, .parts = 3}
// clang-format on

static const hs_tensor_rule tensors[] = {
    {HS_W_EMBED, "wte.weight", "token_embd.weight", .need = HS_REQUIRED},
    {HS_W_POS, "wpe.weight", "position_embd.weight", .need = HS_REQUIRED},
    NORM(HS_W_LN1, "h.%d.ln_1.weight", "blk.%d.attn_norm.weight"),
    NORM(HS_B_LN1, "h.%d.ln_1.bias", "blk.%d.attn_norm.bias"),
    FUSED(HS_W_Q, "weight", HS_TRANSPOSED, 0),
    FUSED(HS_W_K, "weight", HS_TRANSPOSED, 1),
    FUSED(HS_W_V, "weight", HS_TRANSPOSED, 2),
    FUSED(HS_B_Q, "bias", HS_PLAIN, 0),
    FUSED(HS_B_K, "bias", HS_PLAIN, 1),
    FUSED(HS_B_V, "bias", HS_PLAIN, 2),
    WEIGHT(HS_W_O, "h.%d.attn.c_proj.weight", "blk.%d.attn_output.weight"),
    NORM(HS_B_O, "h.%d.attn.c_proj.bias", "blk.%d.attn_output.bias"),
    NORM(HS_W_LN2, "h.%d.ln_2.weight", "blk.%d.ffn_norm.weight"),
    NORM(HS_B_LN2, "h.%d.ln_2.bias", "blk.%d.ffn_norm.bias"),
    WEIGHT(HS_W_UP, "h.%d.mlp.c_fc.weight", "blk.%d.ffn_up.weight"),
    NORM(HS_B_UP, "h.%d.mlp.c_fc.bias", "blk.%d.ffn_up.bias"),
    WEIGHT(HS_W_DOWN, "h.%d.mlp.c_proj.weight", "blk.%d.ffn_down.weight"),
    NORM(HS_B_DOWN, "h.%d.mlp.c_proj.bias", "blk.%d.ffn_down.bias"),
    NORM(HS_W_LNF, "ln_f.weight", "output_norm.weight"),
    NORM(HS_B_LNF, "ln_f.bias", "output_norm.bias"),
    {HS_W_HEAD, "lm_head.weight", "output.weight", .need = HS_OPTIONAL},
    {.hf = NULL},
};

// clang-format off
#define KEY(kind, field, hf, gguf, ...)                                                           \
    {kind, offsetof(hs_config, field), hf, gguf, .required = false, __VA_ARGS__}
#define NEEDED(kind, field, hf, gguf) {kind, offsetof(hs_config, field), hf, gguf, true, 0, NULL}
// clang-format on

static const hs_config_key keys[] = {
    NEEDED(HS_KEY_INT, n_layer, "n_layer|num_hidden_layers", "%s.block_count"),
    NEEDED(HS_KEY_INT, n_head, "n_head|num_attention_heads", "%s.attention.head_count"),
    NEEDED(HS_KEY_INT, d_model, "n_embd|hidden_size", "%s.embedding_length"),
    KEY(HS_KEY_INT, d_ff, "n_inner", "%s.feed_forward_length", .fallback = 0),
    NEEDED(HS_KEY_COUNT, n_vocab, "vocab_size", "%s.vocab_size|tokenizer.ggml.tokens"),
    KEY(HS_KEY_INT, n_ctx, "n_positions|max_position_embeddings", "%s.context_length",
        .fallback = 1024),
    KEY(HS_KEY_NUM, norm_eps, "layer_norm_epsilon", NULL, .fallback = 1e-5),
    NEEDED(HS_KEY_NUM, norm_eps, NULL, "%s.attention.layer_norm_epsilon"),
    KEY(HS_KEY_ENUM, act, "activation_function", NULL, .fallback = HS_ACT_GELU_TANH,
        .names = hs_act_names),
    KEY(HS_KEY_BOOL, tied, "tie_word_embeddings", NULL, .fallback = true),
    KEY(HS_KEY_BOOL, scale_by_layer, "scale_attn_by_inverse_layer_idx", NULL, .fallback = false),
    {.hf = NULL},
};

static const hs_refusal refusals[] = {
    {"is_causal", "%s.attention.causal", "true", "attention must be causal"},
    {"add_cross_attention", NULL, "false", "cross-attention is not supported"},
    {"pruned_heads", NULL, "{}", "pruned heads are not supported"},
    {"quantization_config", NULL, "", "quantised safetensors are not supported, GGUF files are"},
    {NULL, "%s.expert_count", "0", "mixtures of experts are not supported"},
    {NULL, "%s.attention.scale", "0", "another scale of scores is not in this family"},
    {.hf = NULL},
};

static int finish(hs_config *c, const hs_ckpt *ckpt) {
    hs_meta m;
    if (!c->d_ff) c->d_ff = c->d_model <= INT32_MAX ? 4 * c->d_model : 0;
    // reorder_and_upcast_attn only moves where half precision is widened: nothing in f32.
    if (hs_ckpt_meta(ckpt, "scale_attn_weights", &m) && m.type == HS_META_BOOL && !m.i)
        c->attn_scale = 1;
    return hs_arch_heads(c);
}

extern const hs_arch hs_arch_gpt2;
const hs_arch hs_arch_gpt2 = {
    .name = "gpt2",
    .title = "GPT-2",
    .paper = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    .example = "openai-community/gpt2",
    .hf_types = (const char *const[]){"gpt2", NULL},
    .gguf_types = (const char *const[]){"gpt2", NULL},
    .base = {.norm = HS_NORM_LAYER,
             .pos = HS_POS_LEARNED,
             .mlp = HS_MLP_PLAIN,
             .act = HS_ACT_GELU_TANH,
             .tied = true},
    .keys = keys,
    .tensors = tensors,
    .refusals = refusals,
    .skip = (const char *const[]){"h.*.attn.bias", "h.*.attn.masked_bias", NULL},
    .hf_prefix = "transformer.",
    .finish = finish,
};
