// headscope dataset NAME[:k=v,...]: writes generated prompts as JSON lines.
#include <stdlib.h>

#include "cli/session.h"

struct options {
    const char *model, *file;
    int64_t n_vocab;
};

static int write_all(const char *path, const hs_prompts *prompts) {
    hs_buf text = {0};
    for (int64_t i = 0; i < hs_prompts_count(prompts); i++)
        hs_prompt_jsonl(hs_prompts_at(prompts, i), &text);
    int rc = hs_write_file(path ? path : "-", &text);
    hs_buf_free(&text);
    return rc;
}

// The size of the vocabulary to draw from: the model's own, which may exceed the tokenizer's.
static int vocabulary(const hs_ckpt *ckpt, int64_t *n_vocab) {
    const hs_arch *arch;
    hs_config config;
    int rc = hs_arch_resolve(ckpt, &arch, &config);
    if (!rc) *n_vocab = config.n_vocab;
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_ckpt *ckpt = NULL;
    hs_tok *tok = NULL;
    hs_prompts *prompts = NULL;
    int64_t n_vocab = opt->n_vocab;
    const char *path = opt->model;
    int rc = HS_OK;
    if (!call->n_arg) return hs_fail(HS_EARG, "which data set? headscope list datasets shows them");
    if (n_vocab < 0) return hs_fail(HS_EARG, "--n-vocab takes a positive number");
    if (!path && !n_vocab) path = getenv("HEADSCOPE_MODEL");
    if (!path && !n_vocab)
        rc = hs_fail(HS_EARG, "whose vocabulary? -m MODEL, HEADSCOPE_MODEL, or --n-vocab N");
    if (!rc && path) rc = hs_cli_tok_open(&ckpt, &tok, path);
    if (!rc && path && !n_vocab) rc = vocabulary(ckpt, &n_vocab);
    if (!rc) rc = hs_prompts_open(&prompts, tok, HS_BOS_AUTO, n_vocab);
    if (!rc) rc = hs_prompts_add_dataset(prompts, call->arg[0]);
    if (!rc) rc = write_all(opt->file, prompts);
    hs_prompts_close(prompts);
    hs_tok_close(tok);
    hs_ckpt_close(ckpt);
    return rc;
}

static const hs_opt own[] = {
    {"model", 'm', HS_OPT_TEXT, offsetof(struct options, model), "MODEL", NULL,
     "whose tokenizer and vocabulary to use (default: $HEADSCOPE_MODEL)"},
    {"n-vocab", 0, HS_OPT_INT, offsetof(struct options, n_vocab), "N", NULL,
     "draw ids below N (default: the model's vocabulary); needs no model"},
    {"output", 'o', HS_OPT_TEXT, offsetof(struct options, file), "FILE.jsonl", NULL,
     "where to write (default: stdout)"},
    {0},
};

const hs_cmd hs_cmd_dataset = {
    .name = "dataset",
    .group = "models",
    .title = "writes generated prompts as JSON lines",
    .synopsis = "DATASET[:k=v,...] [options]",
    .about = "The same name, parameters, seed and vocabulary give the same bytes everywhere. "
             "headscope list datasets shows what there is, headscope help NAME the parameters.",
    .examples = (const char *const[][2]){{"dataset repeat:k=50,n=4 -m model.gguf -o repeat.jsonl",
                                          "repeated random tokens, for induction heads"},
                                         {"dataset ioi:n=100,corrupt=s2_io -m model.gguf",
                                          "pairs of prompts for patching"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0}, {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
