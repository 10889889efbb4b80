// headscope generate MODEL -p TEXT: goes on with each prompt.
//
// Greedy unless there is a temperature: then a token is drawn from softmax(logits / temperature),
// from a stream of its own for every prompt, so that a prompt's text does not depend on the others.
#include <math.h>
#include <stdlib.h>

#include "analyses/decode.h"
#include "cli/edits.h"
#include "cli/memory.h"
#include "cli/out.h"
#include "cli/session.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

struct options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_out_options out;
    hs_do_options edits;
    hs_db_options db;
    int64_t n, seed;
    double temperature;
};

typedef struct work {
    const struct options *opt;
    hs_session session;
    hs_do edits;
    hs_hooks *hooks;
    hs_context *context;
    int32_t *token; // [opt->n] of the prompt under way
    double *weight; // [n_vocab]
    hs_prng random; // of the prompt under way
    int64_t done, total;
} work;

static int32_t sample(work *w, const float *logits) {
    int64_t n = hs_model_config(w->session.model)->n_vocab;
    double max = logits[hs_argmax(logits, n)], sum = 0;
    for (int64_t i = 0; i < n; i++) {
        w->weight[i] = exp((logits[i] - max) / w->opt->temperature);
        sum += w->weight[i];
    }
    double at = hs_prng_f64(&w->random) * sum;
    int64_t i = 0;
    while (i + 1 < n && at >= w->weight[i]) at -= w->weight[i++];
    return (int32_t)i;
}

static int32_t on_pick(void *ctx, int seq, const float *logits) {
    work *w = ctx;
    (void)seq;
    w->done++;
    return w->opt->temperature > 0 ? sample(w, logits)
                                   : hs_argmax(logits, hs_model_config(w->session.model)->n_vocab);
}

static int on_turn(void *ctx, const int *seq, int n, int64_t n_row) {
    work *w = ctx;
    (void)seq;
    (void)n;
    (void)n_row;
    return hs_progress_step(&w->session.bar.progress, "tokens", w->done, w->total);
}

// Tokens that follow prompt p into w->token, *n of them; an end-of-generation token is the last.
static int follow(work *w, const hs_prompt *p, int64_t ord, int64_t *n) {
    const hs_decode_opts o = {.context = w->context,
                              .most = w->opt->n,
                              .logits = HS_LOGITS_LAST,
                              .ctx = w,
                              .turn = on_turn,
                              .pick = on_pick};
    hs_decoding d = {.in = {.tokens = p->tokens, .n = p->n_token}, .out = w->token};
    w->random = hs_prng_seed((uint64_t)w->opt->seed + (uint64_t)ord);
    hs_context_truncate(w->context, 0, 0);
    int rc = hs_editing_aim(w->edits.editing, &(hs_editing_seq){ord, 0, w->edits.n}, 1);
    if (!rc) rc = hs_decode(&o, &d, 1);
    *n = d.n_out;
    w->done += w->opt->n - *n;
    return rc;
}

static int put_prompt(const work *w, const hs_prompt *p, int64_t n, hs_jw *json) {
    const hs_tok *tok = hs_model_tok(w->session.model);
    hs_buf text = {0};
    int rc = tok ? hs_tok_decode(tok, w->token, (size_t)n, true, &text) : HS_OK;
    if (!rc) rc = hs_buf_rc(&text);
    if (!rc && w->opt->out.json) {
        hs_jw_begin(json, '{');
        hs_jw_key(json, "id");
        hs_jw_str(json, p->id);
        hs_jw_key(json, "tokens");
        hs_jw_begin(json, '[');
        for (int64_t i = 0; i < n; i++) hs_jw_int(json, w->token[i]);
        hs_jw_end(json, ']');
        hs_jw_key(json, "text");
        hs_jw_strn(json, hs_buf_text(&text), text.len);
        hs_jw_end(json, '}');
    } else if (!rc && tok) {
        if (p->text) fwrite(p->text, 1, (size_t)p->text_len, stdout);
        fwrite(hs_buf_text(&text), 1, text.len, stdout);
        putchar('\n');
    } else if (!rc) {
        for (int64_t i = 0; i < n; i++) printf(i ? " %d" : "%d", w->token[i]);
        putchar('\n');
    }
    hs_buf_free(&text);
    return rc;
}

static int generate_all(work *w) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    int64_t n_prompt = hs_prompts_count(w->session.prompts);
    w->total = n_prompt * w->opt->n;
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "prompts");
    hs_jw_begin(&j, '[');
    int rc = HS_OK;
    for (int64_t i = 0; !rc && i < n_prompt; i++) {
        const hs_prompt *p = hs_prompts_at(w->session.prompts, i);
        int64_t n;
        rc = follow(w, p, i, &n);
        hs_bar_clear(&w->session.bar);
        if (!rc) rc = put_prompt(w, p, n, &j);
    }
    hs_jw_end(&j, ']');
    hs_jw_end(&j, '}');
    if (!rc && w->opt->out.json) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

static int open_context(work *w) {
    const hs_dims dims = hs_dims_of(w->session.model);
    const int64_t n = hs_cli_longest(w->session.prompts);
    const hs_context_opts opts = {.kv_capacity = n + w->opt->n};
    int64_t n_vocab = hs_model_config(w->session.model)->n_vocab;
    int rc = hs_cli_room_check(w->session.model, &opts, n, HS_LOGITS_LAST);
    if (!rc) rc = hs_context_open(&w->context, w->session.model, &opts);
    if (!rc) rc = hs_hooks_open(&w->hooks, &dims);
    if (!rc) rc = hs_editing_hook(w->edits.editing, w->hooks, 0, w->edits.n);
    if (!rc) hs_context_set_tap(w->context, hs_hooks_tap(w->hooks));
    if (!rc) rc = hs_alloc(&w->token, (size_t)w->opt->n, sizeof *w->token);
    return rc ? rc : hs_alloc(&w->weight, (size_t)n_vocab, sizeof *w->weight);
}

static int check_options(const struct options *opt) {
    if (opt->n < 0) return hs_fail(HS_EARG, "-n takes a number from 0 on");
    if (opt->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    if (opt->temperature < 0 || !isfinite(opt->temperature))
        return hs_fail(HS_EARG, "--temperature takes a number from 0 (greedy) on");
    return HS_OK;
}

static int run(const hs_call *call, const void *options) {
    work w = {.opt = options};
    int rc = check_options(w.opt);
    if (!rc) rc = hs_session_open(&w.session, call, &w.opt->model, &w.opt->prompt);
    if (!rc)
        rc = hs_cli_prompts_check(w.session.prompts, w.opt->n ? w.opt->n - 1 : 0,
                                  hs_cli_n_ctx(w.session.model)); // the last one is not run
    if (!rc)
        rc = hs_do_open(&w.edits, &w.opt->edits, &w.opt->prompt.span, &w.session,
                        hs_cli_db_path(&w.opt->db));
    if (!rc) rc = open_context(&w);
    if (!rc) rc = generate_all(&w);
    free(w.token);
    free(w.weight);
    hs_context_close(w.context);
    hs_hooks_close(w.hooks);
    hs_do_close(&w.edits);
    hs_session_close(&w.session);
    return rc;
}

static const hs_opt own[] = {
    {"n", 'n', HS_OPT_INT, offsetof(struct options, n), "N", "64", "tokens to make at most"},
    {"temperature", 0, HS_OPT_NUM, offsetof(struct options, temperature), "T", "0",
     "draw tokens from softmax(logits / T); 0: always the likeliest"},
    {"seed", 0, HS_OPT_INT, offsetof(struct options, seed), "N", "0", "of the drawing"},
    {0},
};

const hs_cmd hs_cmd_generate = {
    .name = "generate",
    .group = "models",
    .title = "goes on with a text",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about = "Stops after N tokens or at an end-of-generation token, which is among the ids of "
             "--json but not in the text. Record what the heads do meanwhile with headscope record "
             "--generate N. Under --do the rows of new tokens are edited as those of the prompt: "
             "positions count from the prompt's start, and what refers to rows that the unedited "
             "prompt does not have leaves them alone.",
    .examples =
        (const char *const[][2]){
            {"generate model.gguf -p \"The capital of France is\" -n 16", "the likeliest text"},
            {"generate model.gguf -f prompts.jsonl -n 24 --json", "ids and texts, for scripts"},
            {"generate model.gguf -p \"The capital of France is\" --do ablate:L10H*",
             "without the heads of layer 10"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", hs_opts_do, offsetof(struct options, edits)},
                                      {"prompts", hs_opts_prompt, offsetof(struct options, prompt)},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"runs that --do names", hs_opts_db_read,
                                       offsetof(struct options, db)},
                                      {"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
