// Names and layouts come from the family's own table: what is tested with these models is the
// arithmetic; that the names are right is for tests/golden.
#include "tests/lib/randmodel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/hash.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

static void need(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "randmodel: %s\n", what);
    abort();
}

rand_spec rand_default(const char *family, bool gguf) {
    const bool llama = !strcmp(family, "llama");
    return (rand_spec){.family = family,
                       .gguf = gguf,
                       .dtype = HS_F32,
                       .n_layer = 3,
                       .n_head = 4,
                       .n_kv_head = llama ? 2 : 4,
                       .d_model = 24,
                       .d_head = llama ? 8 : 6,
                       .d_ff = 40,
                       .n_vocab = 50,
                       .n_ctx = 96,
                       .seed = 1};
}

static const hs_arch *find_arch(const char *name) {
    for (const hs_arch *const *a = hs_archs; *a; a++)
        if (!strcmp((*a)->name, name)) return *a;
    need(false, name);
    return NULL;
}

// ---- one role's numbers -------------------------------------------------------------------------

// [out, in] of a role as drawn; in 0: a vector.
static void role_size(const rand_spec *s, enum hs_role role, int64_t *out, int64_t *in) {
    const int64_t d = s->d_model, q = s->n_head * s->d_head, kv = s->n_kv_head * s->d_head;
    // clang-format off
    const int64_t sizes[HS_N_ROLE][2] = {
        [HS_W_EMBED] = {s->n_vocab, d}, [HS_W_POS] = {s->n_ctx, d}, [HS_W_LN1] = {d, 0},
        [HS_B_LN1] = {d, 0}, [HS_W_Q] = {q, d}, [HS_B_Q] = {q, 0}, [HS_W_K] = {kv, d},
        [HS_B_K] = {kv, 0}, [HS_W_V] = {kv, d}, [HS_B_V] = {kv, 0}, [HS_W_O] = {d, q},
        [HS_B_O] = {d, 0}, [HS_W_LN2] = {d, 0}, [HS_B_LN2] = {d, 0}, [HS_W_GATE] = {s->d_ff, d},
        [HS_B_GATE] = {s->d_ff, 0}, [HS_W_UP] = {s->d_ff, d}, [HS_B_UP] = {s->d_ff, 0},
        [HS_W_DOWN] = {d, s->d_ff}, [HS_B_DOWN] = {d, 0}, [HS_W_LNF] = {d, 0},
        [HS_B_LNF] = {d, 0}, [HS_W_HEAD] = {s->n_vocab, d}, [HS_B_HEAD] = {s->n_vocab, 0},
    };
    // clang-format on
    *out = sizes[role][0];
    *in = sizes[role][1];
}

static float *draw(const rand_spec *s, enum hs_role role, int layer, int64_t n, int64_t in) {
    const bool gain = role == HS_W_LN1 || role == HS_W_LN2 || role == HS_W_LNF;
    const bool table = role == HS_W_EMBED || role == HS_W_POS;
    const bool sharp = role == HS_W_Q || role == HS_W_K; // attention far from uniform
    const double std = table ? 1 : in ? (sharp ? 2 : 1) / sqrt((double)in) : 0.3;
    const uint64_t at[] = {s->seed, (uint64_t)role, (uint64_t)layer};
    hs_prng rng = hs_prng_seed(hs_fnv(HS_FNV_SEED, at, sizeof at));
    float *x;
    need(!hs_alloc(&x, (size_t)n, sizeof *x), "memory");
    for (int64_t i = 0; i < n; i++) x[i] = (float)(std * hs_prng_normal(&rng) + gain);
    return x;
}

// Head of the drawn matrix that goes to head h of the written one.
static int64_t source_head(const rand_spec *s, bool kv, int64_t h) {
    if (s->perm) return s->perm[h];
    return kv && s->repeat_kv ? h / (s->n_head / s->n_kv_head) : h;
}

// The drawn numbers with heads repeated or reordered; *out is updated.
static float *arrange(const rand_spec *s, enum hs_role role, float *x, int64_t *out, int64_t in) {
    const bool kv = role == HS_W_K || role == HS_B_K || role == HS_W_V || role == HS_B_V;
    const bool rows = kv || role == HS_W_Q || role == HS_B_Q, columns = role == HS_W_O;
    if (!(s->perm && (rows || columns)) && !(s->repeat_kv && kv)) return x;
    const int64_t d = s->d_head, width = in ? in : 1;
    const int64_t n_head = kv && !s->repeat_kv ? s->n_kv_head : s->n_head;
    float *y;
    if (rows) *out = n_head * d;
    need(!hs_alloc(&y, (size_t)(*out * width), sizeof *y), "memory");
    for (int64_t i = 0; i < *out; i++)
        for (int64_t j = 0; j < width; j++) {
            const int64_t from_i = rows ? source_head(s, kv, i / d) * d + i % d : i;
            const int64_t from_j = columns ? source_head(s, false, j / d) * d + j % d : j;
            y[i * width + j] = x[from_i * width + from_j];
        }
    free(x);
    return y;
}

// ---- tensors ------------------------------------------------------------------------------------

static bool has_role(const rand_spec *s, const hs_tensor_rule *r) {
    const bool bias = r->role == HS_B_Q || r->role == HS_B_K || r->role == HS_B_V ||
                      r->role == HS_B_O || r->role == HS_B_GATE || r->role == HS_B_UP ||
                      r->role == HS_B_DOWN || r->role == HS_B_HEAD;
    if (!(s->gguf ? r->gguf : r->hf) || r->role == HS_W_ROPE_FREQS) return false;
    if (r->role == HS_W_HEAD) return !s->tied;
    if (r->role == HS_W_POS) return !s->no_positions;
    return !bias || r->need == HS_REQUIRED || s->bias;
}

// Appends the rows of one role, in the order of its layout, to a tensor's numbers.
static void add_rows(hs_buf *to, const rand_spec *s, const hs_tensor_rule *r, int layer,
                     int64_t *n_rows, int64_t *in) {
    int64_t out;
    role_size(s, r->role, &out, in);
    float *x = arrange(s, r->role, draw(s, r->role, layer, out * (*in ? *in : 1), *in), &out, *in);
    const int64_t width = *in ? *in : 1, d = s->d_head, half = d / 2;
    hs_buf_reserve(to, (size_t)(out * width) * sizeof *x); // at once: some tables are large
    const bool pairs = (s->gguf ? r->layout_gguf : r->layout_hf) == HS_ROPE_PAIRS;
    for (int64_t i = 0; i < out; i++) {
        // Stored row i of a head of pairs is logical row i/2, or i/2 of the second half.
        const int64_t from = pairs ? i - i % d + i % d / 2 + i % 2 * half : i;
        hs_buf_add(to, x + from * width, (size_t)width * sizeof *x);
    }
    *n_rows += out;
    free(x);
}

static void add_tensor(mk *m, const rand_spec *s, const hs_tensor_rule *r, int layer) {
    const char *form = s->gguf ? r->gguf : r->hf, *hole = strstr(form, "%d");
    const enum hs_layout layout = s->gguf ? r->layout_gguf : r->layout_hf;
    hs_buf rows = {0}, turned = {0};
    int64_t n = 0, in = 0;
    char name[128];
    if (hole)
        snprintf(name, sizeof name, "%.*s%d%s", (int)(hole - form), form, layer, hole + 2);
    else
        snprintf(name, sizeof name, "%s", form);
    for (int part = 0; part < (r->parts ? r->parts : 1); part++)
        add_rows(&rows, s, r + part, layer, &n, &in);
    const float *x = (const float *)(const void *)rows.data;
    if (layout == HS_TRANSPOSED)
        for (int64_t j = 0; j < in; j++)
            for (int64_t i = 0; i < n; i++) hs_buf_add(&turned, x + i * in + j, sizeof *x);
    if (layout == HS_TRANSPOSED) x = (const float *)(const void *)turned.data;
    const int64_t shape[2] = {layout == HS_TRANSPOSED ? in : n, layout == HS_TRANSPOSED ? n : in};
    const hs_dtype dtype = in ? s->dtype : HS_F32;
    if (dtype == HS_F32)
        mk_raw(m, name, dtype, in ? 2 : 1, shape, x, rows.len);
    else
        mk_add(m, name, dtype, in ? 2 : 1, shape, x);
    hs_buf_free(&rows);
    hs_buf_free(&turned);
}

// ---- config -------------------------------------------------------------------------------------

static const char *yes(bool b) {
    return b ? "true" : "false";
}

static void llama_json(hs_buf *j, const rand_spec *s, int n_kv) {
    hs_buf_printf(j,
                  "{\"model_type\": \"llama\", \"num_hidden_layers\": %d, "
                  "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"hidden_size\": %d, "
                  "\"head_dim\": %d, \"intermediate_size\": %d, \"vocab_size\": %d, "
                  "\"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, "
                  "\"hidden_act\": \"silu\", "
                  "\"attention_bias\": %s, \"mlp_bias\": %s, \"tie_word_embeddings\": %s%s}\n",
                  s->n_layer, s->n_head, n_kv, s->d_model, s->d_head, s->d_ff, s->n_vocab, s->n_ctx,
                  yes(s->bias), yes(s->bias), yes(s->tied), s->more ? s->more : "");
}

static void gpt2_json(hs_buf *j, const rand_spec *s, int n_kv) {
    (void)n_kv;
    hs_buf_printf(j,
                  "{\"model_type\": \"gpt2\", \"n_layer\": %d, \"n_head\": %d, \"n_embd\": %d, "
                  "\"n_inner\": %d, \"vocab_size\": %d, \"n_positions\": %d, "
                  "\"tie_word_embeddings\": %s%s}\n",
                  s->n_layer, s->n_head, s->d_model, s->d_ff, s->n_vocab, s->n_ctx, yes(s->tied),
                  s->more ? s->more : "");
}

static void attn_only_json(hs_buf *j, const rand_spec *s, int n_kv) {
    hs_buf_printf(j,
                  "{\"model_type\": \"attn_only\", \"n_layer\": %d, \"n_head\": %d, "
                  "\"n_kv_head\": %d, \"d_model\": %d, \"d_head\": %d, \"n_vocab\": %d, "
                  "\"n_ctx\": %d, \"positions\": \"%s\", \"tie_word_embeddings\": %s%s}\n",
                  s->n_layer, s->n_head, n_kv, s->d_model, s->d_head, s->n_vocab, s->n_ctx,
                  s->no_positions ? "none" : "learned", yes(s->tied), s->more ? s->more : "");
}

static void gguf_meta(mk *m, const rand_spec *s, int n_kv) {
    const struct {
        const char *key;
        int value;
    } sizes[] = {
        {"block_count", s->n_layer},         {"attention.head_count", s->n_head},
        {"attention.head_count_kv", n_kv},   {"embedding_length", s->d_model},
        {"attention.key_length", s->d_head}, {"attention.value_length", s->d_head},
        {"feed_forward_length", s->d_ff},    {"vocab_size", s->n_vocab},
        {"context_length", s->n_ctx},
    };
    char key[64];
    mk_str(m, "general.architecture", s->family);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(key, sizeof key, "%s.%s", s->family, sizes[i].key);
        mk_u32(m, key, (uint32_t)sizes[i].value);
    }
    const bool rms = !strcmp(s->family, "llama");
    snprintf(key, sizeof key, "%s.attention.layer_norm_%sepsilon", s->family, rms ? "rms_" : "");
    mk_f32(m, key, 1e-5f);
}

void rand_fill(mk *m, hs_buf *json, const rand_spec *s) {
    static const struct {
        const char *family;
        void (*json)(hs_buf *, const rand_spec *, int);
    } families[] = {{"llama", llama_json}, {"gpt2", gpt2_json}, {"attn_only", attn_only_json}};
    const int n_kv = s->repeat_kv ? s->n_head : s->n_kv_head;
    if (s->gguf) gguf_meta(m, s, n_kv);
    for (size_t i = 0; i < 3 && !s->gguf; i++)
        if (!strcmp(families[i].family, s->family)) families[i].json(json, s, n_kv);
    for (const hs_tensor_rule *r = find_arch(s->family)->tensors; r->hf || r->gguf; r++) {
        if (!has_role(s, r) || r->part > 0) continue;
        const bool in_layers = strstr(s->gguf ? r->gguf : r->hf, "%d") != NULL;
        for (int l = 0; l < (in_layers ? s->n_layer : 1); l++) add_tensor(m, s, r, l);
    }
}

void rand_write(char path[PATH_MAX], const char *dir, const rand_spec *s) {
    mk m = {0};
    hs_buf json = {0};
    rand_fill(&m, &json, s);
    if (s->gguf) {
        mk_write_gguf(&m, dir, "model.gguf");
        mk_path(path, dir, "model.gguf");
    } else {
        mk_write_st(&m, dir, "model.safetensors");
        mk_file(dir, "config.json", json.data, json.len);
        snprintf(path, PATH_MAX, "%s", dir);
    }
    mk_free(&m);
    hs_buf_free(&json);
}
