// Families: what their tables read from a config, refuse, and demand of the tensors; RoPE's
// numbers.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/rope.h"
#include "tests/lib/laws.h"

// ---- models with one thing changed --------------------------------------------------------------

typedef void change_fn(mk *m);

// Writes a model of the spec, with the first `from` of its config replaced by `to` (NULL: nothing)
// and `change` applied to its tensors and metadata, and opens it.
static int open_changed(hs_model **out, const rand_spec *s, const char *from, const char *to,
                        change_fn *change) {
    char dir[PATH_MAX], path[PATH_MAX];
    mk m = {0};
    hs_buf json = {0}, edited = {0};
    mk_dir(dir);
    rand_fill(&m, &json, s);
    if (change) change(&m);
    if (s->gguf) {
        mk_write_gguf(&m, dir, "model.gguf");
        mk_path(path, dir, "model.gguf");
    } else {
        const char *at = from ? strstr(json.data, from) : json.data;
        assert_non_null(at);
        hs_buf_add(&edited, json.data, (size_t)(at - json.data));
        if (from) hs_buf_str(&edited, to);
        hs_buf_str(&edited, at + (from ? strlen(from) : 0));
        mk_write_st(&m, dir, "model.safetensors");
        mk_file(dir, "config.json", edited.data, edited.len);
        snprintf(path, sizeof path, "%s", dir);
    }
    int rc = hs_model_open(out, path, NULL);
    mk_remove(dir);
    mk_free(&m);
    hs_buf_free(&json);
    hs_buf_free(&edited);
    return rc;
}

static void refused(const rand_spec *s, const char *from, const char *to, change_fn *change, int rc,
                    const char *says) {
    hs_model *m;
    const int got = open_changed(&m, s, from, to, change);
    if (got != rc || !strstr(hs_errmsg(), says) || m)
        fail_msg("%s: code %d, \"%s\"; wanted %d, \"%s\"", to ? to : "changed", got,
                 got ? hs_errmsg() : "opened", rc, says);
}

static hs_model *accepted(const rand_spec *s, const char *from, const char *to, change_fn *change) {
    hs_model *m;
    if (open_changed(&m, s, from, to, change)) fail_msg("%s: %s", to ? to : "changed", hs_errmsg());
    return m;
}

// ---- config.json --------------------------------------------------------------------------------

struct json_case {
    const char *family, *from, *to;
    int rc;
    const char *says; // part of the message
};

#define LLAMA_END "\"tie_word_embeddings\": false"
#define MORE(json) LLAMA_END ", " json

static const struct json_case json_refusals[] = {
    {"llama", "\"llama\"", "\"mamba\"", HS_EUNSUPPORTED, "known are attn_only, gpt2, llama"},
    {"llama", "\"llama\"", "7", HS_EFORMAT, "model_type"},
    {"llama", "\"model_type\"", "\"kind\"", HS_EFORMAT, "model_type"},
    {"llama", "\"hidden_size\"", "\"size\"", HS_EFORMAT, "hidden_size is missing"},
    {"llama", "\"silu\"", "\"gelu_10\"", HS_EUNSUPPORTED, "hidden_act is \"gelu_10\""},
    {"llama", "\"silu\"", "3", HS_EFORMAT, "hidden_act"},
    {"llama", "layers\": 3", "layers\": 0", HS_EFORMAT, "num_hidden_layers is 0"},
    {"llama", "layers\": 3", "layers\": 3.5", HS_EFORMAT, "num_hidden_layers"},
    {"llama", "layers\": 3", "layers\": \"3\"", HS_EFORMAT, "num_hidden_layers"},
    {"llama", "layers\": 3", "layers\": 20000", HS_EFORMAT, "layers is 20000"},
    {"llama", "layers\": 3", "layers\": 5000", HS_EFORMAT, "5000 layers"},
    {"llama", "layers\": 3", "layers\": 4", HS_EFORMAT, "layers.3"},
    {"llama", "layers\": 3", "layers\": 2", HS_EFORMAT, "that a llama model"},
    {"llama", "\"hidden_size\": 24", "\"hidden_size\": 4294967296", HS_EFORMAT, "the width"},
    {"llama", "\"hidden_size\": 24", "\"hidden_size\": 9007199254740992", HS_EFORMAT, "width"},
    {"llama", "attention_heads\": 4", "attention_heads\": 3", HS_EFORMAT, "evenly"},
    {"llama", "attention_heads\": 4", "attention_heads\": 65536", HS_EFORMAT, ""},
    {"llama", "\"head_dim\": 8", "\"head_dim\": 7", HS_EFORMAT, "even dimension"},
    {"llama", "\"head_dim\": 8", "\"head_dim\": -8", HS_EFORMAT, "head_dim"},
    {"llama", "\"head_dim\": 8", "\"head_dim\": 65536", HS_EFORMAT, "the config says"},
    {"llama", "\"head_dim\": 8, ", "", HS_EFORMAT, "q_proj"},
    {"llama", "1e-5", "-1", HS_EFORMAT, "epsilon"},
    {"llama", "1e-5", "true", HS_EFORMAT, "rms_norm_eps"},
    {"llama", "\"vocab_size\": 50", "\"vocab_size\": 51", HS_EFORMAT, "embed_tokens"},
    {"llama", "\"attention_bias\": false", "\"attention_bias\": true", HS_EFORMAT, "12 tensors"},
    {"llama", "\"mlp_bias\": false", "\"mlp_bias\": 0", HS_EFORMAT, "mlp_bias"},
    {"llama", LLAMA_END, MORE("\"is_causal\": false"), HS_EUNSUPPORTED, "is_causal"},
    {"llama", LLAMA_END, MORE("\"sliding_window\": 128"), HS_EUNSUPPORTED, "sliding_window is 128"},
    {"llama", LLAMA_END, MORE("\"attention_chunk_size\": 8"), HS_EUNSUPPORTED, "chunk"},
    {"llama", LLAMA_END, MORE("\"layer_types\": [\"full_attention\"]"), HS_EUNSUPPORTED,
     "layer_types"},
    {"llama", LLAMA_END, MORE("\"partial_rotary_factor\": 0.5"), HS_EUNSUPPORTED, "partial_rotary"},
    {"llama", LLAMA_END, MORE("\"quantization_config\": {\"bits\": 4}"), HS_EUNSUPPORTED, "quant"},
    {"llama", LLAMA_END, MORE("\"num_local_experts\": 8"), HS_EUNSUPPORTED, "experts"},
    {"llama", LLAMA_END, MORE("\"rope_theta\": 0"), HS_EFORMAT, "theta"},
    {"llama", LLAMA_END, MORE("\"rope_scaling\": {\"type\": \"longrope\"}"), HS_EUNSUPPORTED,
     "longrope"},
    {"llama", LLAMA_END, MORE("\"rope_scaling\": {\"rope_type\": \"su\"}"), HS_EUNSUPPORTED, "su"},
    {"llama", LLAMA_END, MORE("\"rope_scaling\": {\"type\": \"linear\"}"), HS_EFORMAT, "factor"},
    {"llama", LLAMA_END, MORE("\"rope_parameters\": {\"rope_type\": \"dynamic\", \"factor\": -2}"),
     HS_EFORMAT, "factor"},
    {"llama", LLAMA_END, MORE("\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8}"),
     HS_EFORMAT, "low_freq_factor"},
    {"llama", LLAMA_END,
     MORE("\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2, "
          "\"rope_theta\": 1}"),
     HS_EFORMAT, "yarn"},
    {"llama", LLAMA_END, MORE("\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5}}"),
     HS_EUNSUPPORTED, "every layer"},
    {"llama", LLAMA_END,
     MORE("\"rope_parameters\": {\"rope_theta\": 5}, "
          "\"rope_scaling\": {\"rope_theta\": 6}"),
     HS_EUNSUPPORTED, "differ"},
    {"gpt2", "\"n_layer\"", "\"layers\"", HS_EFORMAT, "n_layer is missing"},
    {"gpt2", "\"n_embd\": 24", "\"n_embd\": 22", HS_EFORMAT, "multiple"},
    {"gpt2", "\"n_inner\": 40", "\"n_inner\": null", HS_EFORMAT, "c_fc"},
    {"gpt2", "\"n_inner\"", "\"add_cross_attention\": true, \"n_inner\"", HS_EUNSUPPORTED, "cross"},
    {"gpt2", "\"n_inner\"", "\"pruned_heads\": {\"0\": [1]}, \"n_inner\"", HS_EUNSUPPORTED,
     "prune"},
    {"gpt2", "\"n_inner\"", "\"activation_function\": \"mish\", \"n_inner\"", HS_EUNSUPPORTED,
     "mish"},
    {"gpt2", "\"n_positions\": 96", "\"n_positions\": 95", HS_EFORMAT, "wpe"},
    {"attn_only", "\"learned\"", "\"rotary\"", HS_EUNSUPPORTED, "learned, none"},
    {"attn_only", "\"learned\"", "\"none\"", HS_EFORMAT, "pos_embed"},
    {"attn_only", "\"d_head\": 6", "\"d_head\": 5", HS_EFORMAT, "the config says"},
};

static void json_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof json_refusals / sizeof *json_refusals; i++) {
        const struct json_case *c = &json_refusals[i];
        const rand_spec s = rand_default(c->family, false);
        refused(&s, c->from, c->to, NULL, c->rc, c->says);
    }
}

// Keys that change nothing, and their harmless values, are no hindrance.
static void json_accepted(void **state) {
    (void)state;
    const rand_spec llama = rand_default("llama", false), gpt2 = rand_default("gpt2", false);
    hs_model *m = accepted(
        &llama, LLAMA_END,
        MORE("\"sliding_window\": null, \"partial_rotary_factor\": 1, \"is_causal\": true, "
             "\"rope_scaling\": null, \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": "
             "\"default\"}, \"rope_theta\": 7, \"num_local_experts\": 0, \"attention_dropout\": "
             "0.1, "
             "\"pretraining_tp\": 4, \"torch_dtype\": \"bfloat16\", \"dtype\": \"float16\", "
             "\"bos_token_id\": 1, \"use_cache\": false, \"initializer_range\": 1"),
        NULL);
    const hs_config *c = hs_model_config(m);
    assert_true(c->rope_theta == 5e5 && c->rope_scaling == HS_ROPE_DEFAULT);
    assert_true(c->attn_scale == pow(8, -0.5) && c->norm_eps == 1e-5);
    assert_int_equal(c->n_kv_head, 2);
    assert_int_equal(c->rope_dim, 8);
    assert_false(c->tied);
    hs_model_close(m);
    m = accepted(&llama, "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 2.0", NULL);
    hs_model_close(m);
    m = accepted(&gpt2, "\"n_layer\": 3, \"n_head\": 4, \"n_embd\": 24",
                 "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"hidden_size\": 24, "
                 "\"pruned_heads\": {}, \"reorder_and_upcast_attn\": true, \"n_ctx\": 7, "
                 "\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true, "
                 "\"activation_function\": \"quick_gelu\", \"layer_norm_epsilon\": 0.5",
                 NULL);
    c = hs_model_config(m);
    assert_true(c->attn_scale == 1 && c->scale_by_layer && c->act == HS_ACT_GELU_QUICK);
    assert_true(c->norm_eps == 0.5);
    hs_model_close(m);
}

// ---- GGUF keys ----------------------------------------------------------------------------------

static void experts(mk *m) {
    mk_u32(m, "llama.expert_count", 8);
}
static void window(mk *m) {
    mk_u32(m, "llama.attention.sliding_window", 64);
}
static void not_causal(mk *m) {
    mk_bool(m, "llama.attention.causal", false);
}
static void longrope(mk *m) {
    mk_str(m, "llama.rope.scaling.type", "longrope");
}
static void yarn_gain(mk *m) {
    mk_f32(m, "llama.rope.scaling.attn_factor", 1.5f);
}
static void yarn_mix(mk *m) {
    mk_f32(m, "llama.rope.scaling.yarn_ext_factor", 0.5f);
}
static void rope_wide(mk *m) {
    mk_u32(m, "llama.rope.dimension_count", 10);
}
static void nan_base(mk *m) {
    mk_f32(m, "llama.rope.freq_base", NAN);
}
static void harmless(mk *m) {
    mk_u32(m, "llama.expert_count", 0);
    mk_u32(m, "llama.attention.sliding_window", 0);
    mk_str(m, "llama.rope.scaling.type", "none");
    mk_f32(m, "llama.rope.scaling.factor", 4);
    mk_f32(m, "llama.rope.freq_base", 1e5f);
    mk_u32(m, "llama.rope.dimension_count", 6);
}
static void old_linear(mk *m) {
    mk_f32(m, "llama.rope.scale_linear", 2);
}

static void same_everywhere(mk *m) {
    mk_i32s(m, "llama.rope.dimension_count", 3, (const int32_t[]){6, 6, 6});
}
static void one_other(mk *m) {
    mk_i32s(m, "llama.rope.dimension_count", 3, (const int32_t[]){6, 6, 8});
}

static void gguf_keys(void **state) {
    (void)state;
    const rand_spec s = rand_default("llama", true);
    refused(&s, NULL, NULL, experts, HS_EUNSUPPORTED, "llama.expert_count is 8");
    refused(&s, NULL, NULL, window, HS_EUNSUPPORTED, "sliding_window");
    refused(&s, NULL, NULL, not_causal, HS_EUNSUPPORTED, "causal");
    refused(&s, NULL, NULL, longrope, HS_EUNSUPPORTED, "longrope");
    refused(&s, NULL, NULL, yarn_gain, HS_EUNSUPPORTED, "attn_factor");
    refused(&s, NULL, NULL, yarn_mix, HS_EUNSUPPORTED, "ext_factor");
    refused(&s, NULL, NULL, rope_wide, HS_EFORMAT, "even dimension");
    refused(&s, NULL, NULL, nan_base, HS_EFORMAT, "freq_base");
    hs_model *m = accepted(&s, NULL, NULL, harmless);
    assert_int_equal(hs_model_config(m)->rope_scaling, HS_ROPE_DEFAULT);
    assert_int_equal(hs_model_config(m)->rope_dim, 6);
    assert_true(hs_model_config(m)->rope_theta == 1e5);
    hs_model_close(m);
    refused(&s, NULL, NULL, one_other, HS_EUNSUPPORTED, "dimension_count differs from layer");
    m = accepted(&s, NULL, NULL, same_everywhere);
    assert_int_equal(hs_model_config(m)->rope_dim, 6);
    hs_model_close(m);
    m = accepted(&s, NULL, NULL, old_linear);
    assert_int_equal(hs_model_config(m)->rope_scaling, HS_ROPE_LINEAR);
    assert_true(hs_model_config(m)->rope_factor == 2);
    hs_model_close(m);
}

// ---- tensors ------------------------------------------------------------------------------------

static mk_tensor *named(mk *m, const char *name) {
    for (size_t i = 0; i < m->n_tensors; i++)
        if (!strcmp(m->tensors[i].name, name)) return &m->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void rename_tensor(mk *m, const char *from, const char *to) {
    snprintf(named(m, from)->name, sizeof m->tensors->name, "%s", to);
}

static void add_ones(mk *m, const char *name, int ndim, int64_t a, int64_t b) {
    float ones[4096];
    assert_true(a * b <= 4096);
    for (int i = 0; i < 4096; i++) ones[i] = 1;
    mk_add(m, name, HS_F32, ndim, (const int64_t[]){a, b}, ones);
}

static void lose_norm(mk *m) {
    rename_tensor(m, "layers.1.input_layernorm.weight", "x");
}
static void add_unknown(mk *m) {
    add_ones(m, "layers.1.self_attn.q_norm.weight", 1, 8, 1);
}
static void layer_beyond(mk *m) {
    add_ones(m, "layers.3.input_layernorm.weight", 1, 24, 1);
}
static void layer_zeros(mk *m) {
    add_ones(m, "layers.01.input_layernorm.weight", 1, 24, 1);
}
static void add_twin(mk *m) {
    add_ones(m, "model.norm.weight", 1, 24, 1);
}
static void whole_numbers(mk *m) {
    named(m, "norm.weight")->dtype = HS_I32;
}
static void flat(mk *m) {
    mk_tensor *t = named(m, "layers.2.mlp.up_proj.weight");
    t->shape[0] = 20;
    t->shape[1] = 48;
}
static void lose_head(mk *m) {
    rename_tensor(m, "lm_head.weight", "rotary_emb.inv_freq");
}
static void caches(mk *m) {
    add_ones(m, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, 4, 1);
    for (size_t i = 0; i < m->n_tensors; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s", m->tensors[i].name);
        if (strncmp(name, "lm_head", 7) && strncmp(name, "model.", 6))
            snprintf(m->tensors[i].name, sizeof name, "model.%.100s", name);
    }
}
static void one_bias(mk *m) {
    rename_tensor(m, "blocks.2.attn.v.bias", "blocks.2.attn.w.bias");
}

static void tensors(void **state) {
    (void)state;
    rand_spec s = rand_default("llama", false);
    refused(&s, NULL, NULL, lose_norm, HS_EFORMAT, "the first is x");
    refused(&s, NULL, NULL, add_unknown, HS_EFORMAT, "1 tensor that");
    refused(&s, NULL, NULL, layer_beyond, HS_EFORMAT, "layers.3.input_layernorm.weight");
    refused(&s, NULL, NULL, layer_zeros, HS_EFORMAT, "layers.01");
    refused(&s, NULL, NULL, add_twin, HS_EFORMAT, "twice");
    refused(&s, NULL, NULL, whole_numbers, HS_EFORMAT, "i32");
    refused(&s, NULL, NULL, flat, HS_EFORMAT,
            "up_proj.weight is [20, 48], the config says [40, 24]");
    refused(&s, NULL, NULL, lose_head, HS_EFORMAT, "unembedding is missing");
    hs_model_close(accepted(&s, NULL, NULL, caches));
    s = rand_default("attn_only", false);
    s.bias = true;
    refused(&s, NULL, NULL, one_bias, HS_EFORMAT, "blocks.2.attn.w.bias");
}

static void missing_in_one_layer(mk *m) {
    // An optional bias in two layers of three: nothing unknown, one missing.
    for (size_t i = 0; i < m->n_tensors; i++)
        if (!strcmp(m->tensors[i].name, "blk.1.attn_k.bias")) {
            hs_buf_free(&m->tensors[i].bytes);
            m->tensors[i] = m->tensors[--m->n_tensors];
            return;
        }
    fail_msg("no bias to lose");
}

static void optional_tensors(void **state) {
    (void)state;
    rand_spec s = rand_default("llama", true);
    s.bias = true;
    refused(&s, NULL, NULL, missing_in_one_layer, HS_EFORMAT,
            "1 tensor is missing, the first is blk.1.attn_k.bias");
    hs_model_close(accepted(&s, NULL, NULL, NULL));
}

// A head beside a config that ties it: the same bytes are one matrix, others are not believed.
static void same_head(mk *m) {
    mk_tensor *head = named(m, "lm_head.weight");
    const mk_tensor *embed = named(m, "embed_tokens.weight");
    hs_buf_clear(&head->bytes);
    hs_buf_add(&head->bytes, embed->bytes.data, embed->bytes.len);
}

static void tying(void **state) {
    (void)state;
    const rand_spec s = rand_default("llama", false);
    const char *tied = "\"tie_word_embeddings\": true";
    hs_model *own = accepted(&s, NULL, NULL, NULL);
    hs_model *same = accepted(&s, LLAMA_END, tied, same_head);
    hs_model *other = accepted(&s, LLAMA_END, tied, NULL);
    assert_true(hs_model_config(same)->tied);
    assert_false(hs_model_config(other)->tied);
    assert_int_equal(hs_model_n_params(own), hs_model_n_params(other));
    assert_int_equal(hs_model_n_params(own) - hs_model_n_params(same), 50 * 24);
    hs_model_close(own);
    hs_model_close(same);
    hs_model_close(other);
}

// ---- weights as others read them ----------------------------------------------------------------

static void weight_rows(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        rand_spec s = rand_default(i < 2 ? "llama" : "gpt2", i % 2);
        s.dtype = HS_F16;
        hs_model *m = law_open(&s, NULL);
        s.gguf = !s.gguf;
        hs_model *twin = law_open(&s, NULL);
        const enum hs_role roles[] = {HS_W_Q, HS_W_K, HS_W_V, HS_W_O, HS_W_UP, HS_W_DOWN};
        for (size_t r = 0; r < sizeof roles / sizeof *roles; r++) {
            float a[64], b[64];
            int64_t n = 0;
            for (; !hs_model_weight_row(m, roles[r], 1, n, a); n++) {
                assert_int_equal(hs_model_weight_row(twin, roles[r], 1, n, b), HS_OK);
                assert_memory_equal(a, b, 24 * sizeof *a);
            }
            assert_true(n >= 16);
            assert_int_equal(hs_model_weight_row(m, roles[r], 1, -1, a), HS_ERANGE);
        }
        // The head and the table of tokens: whole rows.
        float row[24];
        assert_int_equal(hs_model_weight_row(m, HS_W_HEAD, -1, 49, row), HS_OK);
        assert_int_equal(hs_model_weight_row(m, HS_W_HEAD, -1, 50, row), HS_ERANGE);
        assert_int_equal(hs_model_weight_row(m, HS_B_HEAD, -1, 0, row), HS_ERANGE);
        assert_non_null(hs_model_table(m, HS_W_EMBED));
        assert_true((hs_model_table(m, HS_W_POS) != NULL) == (i >= 2));
        assert_non_null(hs_model_vector(m, HS_W_LN1, 2));
        assert_null(hs_model_vector(m, HS_B_HEAD, -1));
        assert_non_null(hs_model_weight(m, HS_W_O, 0));
        hs_model_close(m);
        hs_model_close(twin);
    }
}

static void parameters(void **state) {
    (void)state;
    rand_spec s = rand_default("llama", false);
    hs_model *m = law_open(&s, NULL);
    const int64_t layer = 24 * (32 + 16 + 16 + 32 + 3 * 40 + 2);
    assert_int_equal(hs_model_n_params(m), 2 * 50 * 24 + 3 * layer + 24);
    assert_string_equal(hs_model_dtype(m), "f32");
    int rc;
    assert_null(hs_model_tok(m));
    assert_non_null(hs_model_why_no_tok(m, &rc));
    assert_int_equal(rc, HS_ENOTFOUND);
    hs_model_close(m);
    s = rand_default("gpt2", false);
    m = law_open(&s, NULL);
    const int64_t block = 24 * (4 * 24 + 2 * 40) + 4 * 24 + 40 + 24 + 4 * 24;
    assert_int_equal(hs_model_n_params(m), (2 * 50 + 96) * 24 + 3 * block + 2 * 24);
    hs_model_close(m);
    hs_model_close(NULL);
}

static void context_length(void **state) {
    (void)state;
    const rand_spec llama = rand_default("llama", false), gpt2 = rand_default("gpt2", false);
    char dir[PATH_MAX], path[PATH_MAX];
    hs_model *m = law_open(&llama, &(hs_model_opts){.n_ctx = 500});
    assert_int_equal(hs_model_config(m)->n_ctx, 500);
    hs_model_close(m);
    mk_dir(dir);
    rand_write(path, dir, &gpt2);
    assert_int_equal(hs_model_open(&m, path, &(hs_model_opts){.n_ctx = 97}), HS_ERANGE);
    assert_int_equal(hs_model_open(&m, path, &(hs_model_opts){.n_ctx = -1}), HS_ERANGE);
    assert_null(m);
    mk_remove(dir);
}

// ---- RoPE ---------------------------------------------------------------------------------------

// Far positions as transformers 5 computes it in f32: the cosines and sines of
// five dimensions.
static void rope_numbers(void **state) {
    (void)state;
    const struct {
        hs_config cfg;
        int64_t pos;
        double cos[5], sin[5];
    } cases[] = {
        {{.rope_dim = 64, .rope_theta = 1e5, .rope_attn_factor = 1},
         8000,
         {0.06564513, -0.99940884, -0.32183388, 0.98633903, 0.97241688},
         {0.99784303, -0.03437905, -0.94679618, 0.16472803, 0.23324965}},
        {{.rope_dim = 64,
          .rope_theta = 5e5,
          .rope_attn_factor = 1,
          .rope_scaling = HS_ROPE_LLAMA3,
          .rope_factor = 8,
          .rope_low_freq = 1,
          .rope_high_freq = 4,
          .rope_orig_ctx = 8192},
         8000,
         {0.06564513, 0.88628924, 0.58706570, -0.49133411, 0.99997658},
         {0.99784303, -0.46313217, -0.80953932, -0.87097120, 0.00684392}},
        {{.rope_dim = 128,
          .rope_theta = 1e4,
          .rope_attn_factor = 1.1386294361119890,
          .rope_scaling = HS_ROPE_YARN,
          .rope_factor = 4,
          .rope_beta_fast = 32,
          .rope_beta_slow = 1,
          .rope_truncate = true,
          .rope_orig_ctx = 8192},
         8000,
         {0.07474548, -0.99757576, 1.12310064, 1.06233466, 1.08505261},
         {1.13617349, -0.54892576, 0.18740882, 0.40978295, 0.34516338}},
        // The ramp ends beyond the last dimension.
        {{.rope_dim = 16,
          .rope_theta = 10,
          .rope_attn_factor = 1.1386294361119890,
          .rope_scaling = HS_ROPE_YARN,
          .rope_factor = 4,
          .rope_beta_fast = 200,
          .rope_beta_slow = 1,
          .rope_truncate = true,
          .rope_orig_ctx = 4096},
         5000,
         {0.17611000, -0.02263992, 0.61890584, -0.69189614, 0.61890584},
         {-1.12492764, -1.13840437, -0.95573664, -0.90429902, -0.95573664}},
        {{.rope_dim = 64,
          .rope_theta = 1e4,
          .rope_attn_factor = 1,
          .rope_scaling = HS_ROPE_LINEAR,
          .rope_factor = 3},
         3000,
         {0.56237906, -0.58454341, -0.05286108, -0.83907151, 0.97201443},
         {0.82687956, 0.81136245, -0.99860185, -0.54402113, 0.23492108}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t half = cases[i].cfg.rope_dim / 2;
        const int64_t at[5] = {0, 1, 5, half / 2, half - 3};
        float freq[64], row[128];
        hs_rope_freqs(&cases[i].cfg, cases[i].pos + 1, freq);
        hs_rope_row(&cases[i].cfg, freq, cases[i].pos, row);
        for (int j = 0; j < 5; j++) {
            assert_true(fabs((double)row[at[j]] - cases[i].cos[j]) < 2e-7);
            assert_true(fabs((double)row[half + at[j]] - cases[i].sin[j]) < 2e-7);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_refused),     cmocka_unit_test(json_accepted),
        cmocka_unit_test(gguf_keys),        cmocka_unit_test(tensors),
        cmocka_unit_test(optional_tensors), cmocka_unit_test(tying),
        cmocka_unit_test(weight_rows),      cmocka_unit_test(parameters),
        cmocka_unit_test(context_length),   cmocka_unit_test(rope_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
