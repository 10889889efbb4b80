// A model family is one const table in model/arch/NAME.c. Nothing outside that file knows its
// name: the loader reads the config keys and the tensor rules, forward.c reads hs_config.
#ifndef HS_MODEL_ARCH_H
#define HS_MODEL_ARCH_H

#include <stddef.h>

#include "model/ckpt.h"
#include "model/config.h"

// What a tensor is for. Biases follow their weights; a role that a model's config does not use is
// absent.
enum hs_role {
    HS_W_EMBED,
    HS_W_POS,
    HS_W_LN1,
    HS_B_LN1,
    HS_W_Q,
    HS_B_Q,
    HS_W_K,
    HS_B_K,
    HS_W_V,
    HS_B_V,
    HS_W_O,
    HS_B_O,
    HS_W_LN2,
    HS_B_LN2,
    HS_W_GATE,
    HS_B_GATE,
    HS_W_UP,
    HS_B_UP,
    HS_W_DOWN,
    HS_B_DOWN,
    HS_W_LNF,
    HS_B_LNF,
    HS_W_HEAD,
    HS_B_HEAD,
    HS_W_ROPE_FREQS, // GGUF's stored frequency divisors (Llama 3)
    HS_N_ROLE,
};

// How a rule's tensor is stored.
enum hs_layout {
    HS_PLAIN,      // [out, in]
    HS_TRANSPOSED, // [in, out] (GPT-2's Conv1D)
    HS_ROPE_PAIRS, // [out, in] with each head's rows interleaved for pairwise RoPE (GGUF llama);
                   // undone at load, so that hooks see the same order in both containers
};

// An optional tensor of a layer is in all layers or in none.
enum hs_need { HS_REQUIRED, HS_OPTIONAL };

typedef struct hs_tensor_rule {
    enum hs_role role;
    const char *hf, *gguf; // names with %d for the layer; NULL: not in that container
    enum hs_layout layout_hf, layout_gguf;
    enum hs_need need;
    // Part `part` of `parts` equal or q/k/v-sized pieces along the out axis (fused projections);
    // parts 0 means the whole tensor.
    int part, parts;
    // Offset in hs_config of the bool by which config.json says whether an optional tensor is
    // there: required when true, unknown when false. 0: its presence tells.
    size_t flag;
} hs_tensor_rule;

// A number or switch of hs_config and where each container says it. Alternatives are separated by
// '|' and tried in order; "%s" in a GGUF key is the architecture's name there.
// An INT is a size, at least 1; an array of equal sizes (one a layer) counts as one. A COUNT may
// also be given by an array, whose length it is. null is as absent.
enum hs_key_type { HS_KEY_INT, HS_KEY_COUNT, HS_KEY_NUM, HS_KEY_BOOL, HS_KEY_ENUM };
typedef struct hs_enum_name {
    const char *name;
    int value;
} hs_enum_name;
typedef struct hs_config_key {
    enum hs_key_type type;
    size_t offset; // of the field in hs_config
    const char *hf, *gguf;
    bool required;
    double fallback;           // when absent in both and not required
    const hs_enum_name *names; // HS_KEY_ENUM: accepted names, ended by NULL; others are refused
} hs_config_key;

// A key that changes results when it differs from what this build computes: refused by name.
// `hf` and `gguf` are one key each.
typedef struct hs_refusal {
    const char *hf, *gguf; // NULL: not in that container
    // The values that leave results unchanged, as JSON text separated by '|' ("false|null|1");
    // an absent key is always fine. Numbers are compared as numbers.
    const char *accept;
    const char *why; // one clause for the message
} hs_refusal;

typedef struct hs_arch {
    const char *name, *title, *paper, *example;
    const char *const *hf_types;   // model_type, ended by NULL
    const char *const *gguf_types; // general.architecture, ended by NULL
    hs_config base;                // what every model of the family shares
    const hs_config_key *keys;     // ended by hf = gguf = NULL
    const hs_tensor_rule *tensors; // ended by hf = gguf = NULL
    const hs_refusal *refusals;    // ended by hf = gguf = NULL; NULL allowed
    // Name patterns (glob) of tensors that hold no parameters (mask buffers, rotary caches); NULL
    // ended.
    const char *const *skip;
    // Optional prefix that HF names may carry ("transformer."); NULL when there is none.
    const char *hf_prefix;
    // Last word on the config once the keys are read: derived numbers, family checks. NULL allowed.
    int (*finish)(hs_config *cfg, const hs_ckpt *ckpt);
} hs_arch;

// Defaults that families share, for `finish`: as many key/value heads as heads, d_head = d_model /
// n_head (HS_EFORMAT when that is no whole number), attn_scale = d_head^-1/2; each only where the
// field is still 0.
int hs_arch_heads(hs_config *cfg) HS_MUST_USE;
// transformers' names of activations.
extern const hs_enum_name hs_act_names[];

// RoPE's keys, the same in every family that rotates, and the last word on them: defaults, what
// one key implies for another, contradictions. For the tables and `finish` of such a family.
// clang-format off
#define HS_ROPE_KEY(type, field, name, gguf, ...)                                                 \
    {type, offsetof(hs_config, field), "rope_scaling." name "|rope_parameters." name, gguf,       \
     .required = false, __VA_ARGS__}
// clang-format on
extern const hs_enum_name hs_rope_types[];
int hs_rope_finish(hs_config *cfg, const hs_ckpt *ckpt) HS_MUST_USE;

// The registry that make writes from model/arch/*.c; ended by NULL.
extern const hs_arch *const hs_archs[];

// Finds the family by the checkpoint's own name for it (HS_EUNSUPPORTED names it and lists the
// known ones), and reads and checks its config. Sizes are bounded before any allocation.
int hs_arch_resolve(const hs_ckpt *ckpt, const hs_arch **arch, hs_config *cfg) HS_MUST_USE;

#endif
