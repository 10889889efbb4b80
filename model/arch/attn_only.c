// Attention only: embedding, optional learned positions, layers of attention added to the residual,
// unembedding. No norm, no MLP: the toy models of A Mathematical Framework for Transformer Circuits
// (Elhage et al. 2021), and models built by hand whose patterns are known in closed form.
//
// A folder with config.json and model.safetensors:
//   model_type "attn_only"; n_layer, n_head, d_model, n_vocab, n_ctx; n_kv_head (n_head), d_head
//   (d_model / n_head), attn_scale (d_head^-1/2), positions "learned" or "none", and
//   tie_word_embeddings (false).
//   embed.weight [n_vocab, d_model], pos_embed.weight [n_ctx, d_model] when positions are learned,
//   blocks.L.attn.{q,k,v,o}.weight [out, in], each with an optional .bias, unembed.weight
//   [n_vocab, d_model] with an optional unembed.bias.
#include "model/arch.h"

// clang-format off
#define WEIGHT(role, hf) {role, hf, NULL, .need = HS_REQUIRED}
#define OPTION(role, hf) {role, hf, NULL, .need = HS_OPTIONAL}
// clang-format on

static const hs_tensor_rule tensors[] = {
    WEIGHT(HS_W_EMBED, "embed.weight"),
    WEIGHT(HS_W_POS, "pos_embed.weight"),
    WEIGHT(HS_W_Q, "blocks.%d.attn.q.weight"),
    OPTION(HS_B_Q, "blocks.%d.attn.q.bias"),
    WEIGHT(HS_W_K, "blocks.%d.attn.k.weight"),
    OPTION(HS_B_K, "blocks.%d.attn.k.bias"),
    WEIGHT(HS_W_V, "blocks.%d.attn.v.weight"),
    OPTION(HS_B_V, "blocks.%d.attn.v.bias"),
    WEIGHT(HS_W_O, "blocks.%d.attn.o.weight"),
    OPTION(HS_B_O, "blocks.%d.attn.o.bias"),
    OPTION(HS_W_HEAD, "unembed.weight"),
    OPTION(HS_B_HEAD, "unembed.bias"),
    {.hf = NULL},
};

// clang-format off
#define KEY(kind, field, hf, ...)                                                                 \
    {kind, offsetof(hs_config, field), hf, NULL, .required = false, __VA_ARGS__}
#define NEEDED(kind, field, hf) {kind, offsetof(hs_config, field), hf, NULL, true, 0, NULL}
// clang-format on

static const hs_enum_name positions[] = {
    {"learned", HS_POS_LEARNED},
    {"none", HS_POS_NONE},
    {NULL, 0},
};

static const hs_config_key keys[] = {
    NEEDED(HS_KEY_INT, n_layer, "n_layer"),
    NEEDED(HS_KEY_INT, n_head, "n_head"),
    KEY(HS_KEY_INT, n_kv_head, "n_kv_head", .fallback = 0),
    NEEDED(HS_KEY_INT, d_model, "d_model"),
    KEY(HS_KEY_INT, d_head, "d_head", .fallback = 0),
    NEEDED(HS_KEY_INT, n_vocab, "n_vocab"),
    NEEDED(HS_KEY_INT, n_ctx, "n_ctx"),
    KEY(HS_KEY_NUM, attn_scale, "attn_scale", .fallback = 0),
    {HS_KEY_ENUM, offsetof(hs_config, pos), "positions", NULL, true, 0, positions},
    KEY(HS_KEY_BOOL, tied, "tie_word_embeddings", .fallback = false),
    {.hf = NULL},
};

static int finish(hs_config *c, const hs_ckpt *ckpt) {
    (void)ckpt;
    return hs_arch_heads(c);
}

extern const hs_arch hs_arch_attn_only;
const hs_arch hs_arch_attn_only = {
    .name = "attn_only",
    .title = "attention only (toy models)",
    .paper = "transformer-circuits.pub/2021/framework",
    .example = "a folder made by hand",
    .hf_types = (const char *const[]){"attn_only", NULL},
    .gguf_types = NULL,
    .base = {.norm = HS_NORM_NONE, .mlp = HS_MLP_NONE},
    .keys = keys,
    .tensors = tensors,
    .skip = NULL,
    .finish = finish,
};
