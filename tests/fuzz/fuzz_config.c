// Fuzz target: a config over the tensors of a small model. The first byte picks the family and the
// container; the rest is config.json, or the number of GGUF's keys and the keys as they are in the
// file. What the config may say of these tensors is loaded and run.
// covers: model/arch.c model/bind.c model/model.c model/rope.c model/arch/llama.c
// covers: model/arch/gpt2.c model/arch/attn_only.c model/context.c
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "model/context.h"
#include "tests/fuzz/shared.h"
#include "tests/lib/randmodel.h"

static struct {
    const char *family;
    bool gguf;
    bool made;
    mk tensors;
    char path[PATH_MAX]; // of the folder or file
} models[] = {
    {.family = "llama"},
    {.family = "gpt2"},
    {.family = "attn_only"},
    {.family = "llama", .gguf = true},
    {.family = "gpt2", .gguf = true},
};
enum { N_MODELS = sizeof models / sizeof *models };

static char folder[PATH_MAX];

static void forget(void) {
    mk_remove(folder);
    for (int i = 0; i < N_MODELS; i++) mk_free(&models[i].tensors);
}

// The tensors, in a folder of their own; a GGUF is written with its keys.
static void make(int i) {
    hs_buf json = {0};
    char name[32];
    rand_spec spec = rand_default(models[i].family, models[i].gguf);
    spec.n_layer = 2;
    spec.n_vocab = 20;
    spec.bias = i % 2;
    rand_fill(&models[i].tensors, &json, &spec);
    snprintf(name, sizeof name, "model%d%s", i, models[i].gguf ? ".gguf" : "");
    mk_path(models[i].path, folder, name);
    if (!models[i].gguf) {
        need(!mkdir(models[i].path, 0700));
        mk_write_st(&models[i].tensors, models[i].path, "model.safetensors");
    }
    hs_buf_free(&json);
    models[i].made = true;
}

static void put_config(int i, input in) {
    mk *m = &models[i].tensors;
    if (models[i].gguf) {
        m->n_meta = take_byte(&in);
        hs_buf_clear(&m->meta);
        hs_buf_add(&m->meta, in.at, in.n);
        mk_write_gguf(m, folder, strrchr(models[i].path, '/') + 1);
    } else {
        mk_file(models[i].path, "config.json", in.n ? (const void *)in.at : "", in.n);
    }
}

static void run(const hs_model *model) {
    static const int32_t tokens[] = {0, 3, 1, 3};
    const hs_config *c = hs_model_config(model);
    hs_seq seq = {.tokens = tokens, .n = 4};
    hs_batch batch = {.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_LAST};
    hs_context *context;
    need(c->n_layer >= 1 && c->n_head % c->n_kv_head == 0 && c->n_vocab >= 1 && c->n_ctx >= 1);
    need(isfinite(c->attn_scale));
    int rc = hs_context_open(&context, model, NULL);
    if (!rc) rc = hs_context_eval(context, &batch);
    need(!rc || *hs_errmsg());
    if (!rc) need(hs_context_logits(context) != NULL);
    hs_context_close(context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    const int i = take_byte(&in) % N_MODELS;
    hs_model_opts opts = {.dev = {.threads = 1}};
    hs_model *model;
    if (!*folder) {
        mk_dir(folder);
        atexit(forget);
    }
    if (!models[i].made) make(i);
    put_config(i, in);
    int rc = hs_model_open(&model, models[i].path, &opts);
    if (rc)
        need(!model && rc < 0 && *hs_errmsg());
    else
        run(model);
    hs_model_close(model);
    return 0;
}
