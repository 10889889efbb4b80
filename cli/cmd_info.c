// headscope info MODEL: what a checkpoint is, and what running it takes. Weights stay in the file.
#include <inttypes.h>
#include <string.h>

#include "cli/memory.h"
#include "cli/out.h"
#include "cli/session.h"

struct options {
    hs_model_options model;
    hs_out_options out;
    int64_t tokens;
    bool tensors;
};

// Rows of "name value", the same for people and for JSON.
typedef struct facts {
    hs_jw json;
    bool people;
} facts;

static void fact_str(facts *f, const char *key, const char *v) {
    if (f->people) printf("%-14s %s\n", key, v ? v : "-");
    hs_jw_key(&f->json, key);
    if (v)
        hs_jw_str(&f->json, v);
    else
        hs_jw_null(&f->json);
}

static void fact_int(facts *f, const char *key, int64_t v) {
    if (f->people) printf("%-14s %" PRId64 "\n", key, v);
    hs_jw_key(&f->json, key);
    hs_jw_int(&f->json, v);
}

static void fact_bytes(facts *f, const char *key, int64_t v) {
    char text[32];
    hs_bytes_text(text, sizeof text, (double)v);
    if (f->people) printf("  %-22s %s\n", key, text);
    hs_jw_key(&f->json, key);
    hs_jw_int(&f->json, v);
}

static const char *norm_name(enum hs_norm norm) {
    static const char *const name[] = {"none", "rms", "layer"};
    return name[norm];
}

static const char *pos_name(enum hs_pos pos) {
    static const char *const name[] = {"none", "learned", "rope"};
    return name[pos];
}

static const char *mlp_name(enum hs_mlp mlp) {
    static const char *const name[] = {"none", "plain", "gated"};
    return name[mlp];
}

static void model_facts(facts *f, const hs_model *m) {
    const hs_config *c = hs_model_config(m);
    const hs_ckpt *ckpt = hs_model_ckpt(m);
    char fingerprint[24];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, hs_ckpt_fingerprint(ckpt));
    fact_str(f, "path", hs_ckpt_path(ckpt));
    fact_str(f, "arch", hs_model_arch(m)->name);
    fact_str(f, "title", hs_model_arch(m)->title);
    fact_str(f, "container", hs_ckpt_container(ckpt) == HS_GGUF ? "gguf" : "safetensors");
    fact_str(f, "fingerprint", fingerprint);
    fact_int(f, "n_layer", c->n_layer);
    fact_int(f, "n_head", c->n_head);
    fact_int(f, "n_kv_head", c->n_kv_head);
    fact_int(f, "d_model", c->d_model);
    fact_int(f, "d_head", c->d_head);
    fact_int(f, "d_ff", c->d_ff);
    fact_int(f, "n_vocab", c->n_vocab);
    fact_int(f, "n_ctx", c->n_ctx);
    fact_str(f, "norm", norm_name(c->norm));
    fact_str(f, "positions", pos_name(c->pos));
    fact_str(f, "mlp", mlp_name(c->mlp));
    fact_str(f, "dtype", hs_model_dtype(m));
    fact_int(f, "parameters", hs_model_n_params(m));
}

static void tok_facts(facts *f, const hs_model *m) {
    const hs_tok *tok = hs_model_tok(m);
    fact_str(f, "tokenizer", tok ? hs_tok_kind(tok) : NULL);
    if (!tok) {
        fact_str(f, "why_no_tokenizer", hs_model_why_no_tok(m, NULL));
        return;
    }
    fact_int(f, "n_token", (int64_t)hs_tok_n_vocab(tok));
    int32_t bos = hs_tok_bos(tok);
    size_t n;
    const char *piece = bos < 0 ? "" : hs_tok_piece(tok, bos, &n);
    fact_str(f, "bos", bos < 0 ? NULL : piece);
    fact_str(f, "adds_bos", hs_tok_adds_bos(tok) ? "yes" : "no");
}

static void tensor_facts(facts *f, const hs_ckpt *ckpt) {
    int64_t count[HS_N_DTYPE] = {0};
    for (size_t i = 0; i < hs_ckpt_count(ckpt); i++) count[hs_ckpt_at(ckpt, i)->view.dtype]++;
    if (f->people) printf("%-14s", "tensors");
    hs_jw_key(&f->json, "n_tensor");
    hs_jw_int(&f->json, (int64_t)hs_ckpt_count(ckpt));
    hs_jw_key(&f->json, "tensors_by_dtype");
    hs_jw_begin(&f->json, '{');
    for (int d = 0; d < HS_N_DTYPE; d++) {
        if (!count[d]) continue;
        if (f->people) printf(" %" PRId64 " %s", count[d], hs_dtypes[d].name);
        hs_jw_key(&f->json, hs_dtypes[d].name);
        hs_jw_int(&f->json, count[d]);
    }
    hs_jw_end(&f->json, '}');
    if (f->people) putchar('\n');
}

// What recording one prompt takes at its peak, by parts; and decoding instead.
static void memory_facts(facts *f, const hs_model *m, int64_t tokens) {
    const hs_context_opts keep = {.kv_capacity = tokens};
    const hs_footprint p = hs_footprint_of_recording(m, tokens);
    const hs_memory decode = hs_context_memory(m, &keep, 1, HS_LOGITS_LAST);
    if (f->people) printf("memory to record %" PRId64 " tokens\n", tokens);
    hs_jw_key(&f->json, "memory");
    hs_jw_begin(&f->json, '{');
    hs_jw_key(&f->json, "tokens");
    hs_jw_int(&f->json, tokens);
    fact_bytes(f, "program", p.program);
    fact_bytes(f, "weights", p.weights);
    fact_bytes(f, "tables", p.tables);
    fact_bytes(f, "rows", p.work.rows);
    fact_bytes(f, "keys_and_values", p.work.keys);
    fact_bytes(f, "block", p.work.block);
    fact_bytes(f, "scratch", p.work.scratch);
    fact_bytes(f, "recorder", p.recorder);
    fact_bytes(f, "recording", hs_footprint_sum(&p));
    fact_bytes(f, "decoding", p.program + p.weights + p.tables + hs_memory_sum(&decode));
    hs_jw_end(&f->json, '}');
}

static const hs_col tensor_columns[] = {
    {"name", "tensor", 0}, {"dtype", "dtype", 0}, {"shape", "shape", 0}, {"bytes", "bytes", 0}};
enum { N_TENSOR_COLUMN = 4 };

static int tensor_table(hs_table **t, const hs_ckpt *ckpt) {
    int rc = hs_table_open(t, tensor_columns, N_TENSOR_COLUMN);
    for (size_t i = 0; !rc && i < hs_ckpt_count(ckpt); i++) {
        const hs_tensor *x = hs_ckpt_at(ckpt, i);
        char shape[96] = "";
        size_t n = 0;
        for (int a = 0; a < x->view.ndim; a++)
            n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%" PRId64, a ? "x" : "",
                                  x->view.shape[a]);
        hs_table_str(*t, x->name);
        hs_table_str(*t, hs_dtypes[x->view.dtype].name);
        hs_table_str(*t, shape);
        hs_table_int(*t, (int64_t)x->bytes);
    }
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_model *model = NULL;
    hs_table *tensors = NULL;
    const char *path;
    if (opt->tokens > INT32_MAX)
        return hs_fail(HS_EARG, "--tokens must lie in 1..%d, not %" PRId64, INT32_MAX, opt->tokens);
    int rc = hs_cli_model_path(call, 0, &path);
    if (!rc) rc = hs_cli_model_look(&model, path, &opt->model);
    if (!rc) rc = tensor_table(&tensors, hs_model_ckpt(model));
    if (rc) goto out;
    hs_buf json = {0};
    facts f = {{&json, false}, !opt->out.json};
    hs_jw_begin(&f.json, '{');
    model_facts(&f, model);
    tok_facts(&f, model);
    tensor_facts(&f, hs_model_ckpt(model));
    int64_t n_ctx = hs_cli_n_ctx(model);
    memory_facts(&f, model, opt->tokens ? opt->tokens : n_ctx < 2048 ? n_ctx : 2048);
    if (opt->tensors && opt->out.json) hs_table_json(tensors, &f.json, "tensors");
    hs_jw_end(&f.json, '}');
    if (opt->out.json) {
        rc = hs_json_put(&json);
    } else {
        hs_buf_free(&json);
        if (opt->tensors) putchar('\n');
        if (opt->tensors) rc = hs_table_put(tensors, call, &opt->out);
    }
out:
    hs_table_close(tensors);
    hs_model_close(model);
    return rc;
}

static const hs_opt own[] = {
    {"tokens", 0, HS_OPT_COUNT, offsetof(struct options, tokens), "N", NULL,
     "estimate memory for N tokens (default: 2048, or the context length)"},
    {"tensors", 0, HS_OPT_FLAG, offsetof(struct options, tensors), NULL, NULL, "list every tensor"},
    {0},
};

const hs_cmd hs_cmd_info = {
    .name = "info",
    .group = "models",
    .title = "family, sizes, tokenizer and memory of a model",
    .synopsis = "MODEL [options]",
    .about = "Reads and checks the whole container: a damaged file, a tensor too many or too few, "
             "or a setting that cannot be honoured exactly is refused with exit 3.",
    .examples = (const char *const[][2]){{"info model.gguf", "what it is"},
                                         {"info model.gguf --tokens 8192 --json",
                                          "what 8,192 tokens take, for scripts"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
