// headscope eval MODEL: the loss of a model on prompts.
//
// nll is the mean over scored positions of -ln p(next token), weighted by token over all prompts:
// T-1 positions of a prompt of T tokens (the last row is run too, as in any other run). Prompts go
// through the engine in ragged batches; the logits of a row are reduced as soon as they are there,
// the log-softmax in double.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cli/out.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "model/core/mem.h"

struct options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_out_options out;
    bool per_token;
};

enum { BATCH_ROWS = 2048 };

typedef struct work {
    hs_session session;
    const hs_prompt **prompt; // [n_prompt]
    double **nll;             // [n_prompt][n_token - 1]
    int64_t n_prompt, first;  // first prompt of the batch under way
    int64_t done, total;      // tokens, for the bar
    int64_t rows;             // of the batch
} work;

// -ln softmax(logits)[id], in double.
static double row_nll(const float *logits, int64_t n, int32_t id) {
    double max = logits[0];
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > max) max = logits[i];
    double sum = exp(logits[0] - max);
    for (int64_t i = 1; i < n; i++) sum += exp(logits[i] - max);
    return max + log(sum) - logits[id];
}

static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    work *w = ctx;
    int64_t i = w->first + site->seq;
    const hs_prompt *p = w->prompt[i];
    for (int64_t r = 0; r < site->n_row; r++) {
        int64_t pos = site->row0 + r;
        if (pos + 1 >= p->n_token) break;
        const float *row = (const float *)view->data + r * view->stride[0];
        w->nll[i][pos] = row_nll(row, view->shape[1], p->tokens[pos + 1]);
    }
    return HS_OK;
}

static int on_layer_done(void *ctx, int layer) {
    work *w = ctx;
    int64_t n_layer = hs_model_config(w->session.model)->n_layer;
    return hs_progress_step(&w->session.bar.progress, "scoring tokens",
                            w->done + w->rows * (layer + 1) / n_layer, w->total);
}

// Evaluates prompts first .. first + n - 1 as one batch.
static int run_batch(work *w, hs_context *context, hs_seq *seq, int n) {
    w->rows = 0;
    for (int i = 0; i < n; i++) {
        const hs_prompt *p = w->prompt[w->first + i];
        seq[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
        w->rows += p->n_token;
    }
    hs_batch batch = {.seq = seq, .n_seq = n, .logits = HS_LOGITS_ALL};
    int rc = hs_context_eval(context, &batch);
    w->first += n;
    w->done += w->rows;
    return rc;
}

static int run_all(work *w, hs_context *context) {
    hs_seq *seq;
    int rc = hs_alloc(&seq, (size_t)w->n_prompt, sizeof *seq);
    while (!rc && w->first < w->n_prompt) {
        int64_t rows = w->prompt[w->first]->n_token;
        int n = 1;
        for (; w->first + n < w->n_prompt; n++) {
            rows += w->prompt[w->first + n]->n_token;
            if (rows > BATCH_ROWS) break;
        }
        rc = run_batch(w, context, seq, n);
    }
    free(seq);
    return rc;
}

static int score(work *w) {
    hs_dims dims = hs_dims_of(w->session.model);
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    uint64_t *points = NULL;
    int rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[dims.n_layer] = HS_BIT(HS_LOGITS);
    rc = hs_hooks_open(&hooks, &dims);
    if (!rc)
        rc = hs_hooks_add(
            hooks,
            &(hs_hook){.points = points, .rows = on_logits, .layer_done = on_layer_done, .ctx = w});
    if (!rc)
        rc = hs_cli_room_check(w->session.model, NULL, hs_cli_longest(w->session.prompts),
                               HS_LOGITS_ALL);
    if (!rc) rc = hs_context_open(&context, w->session.model, NULL);
    if (!rc) {
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = run_all(w, context);
    }
    hs_bar_clear(&w->session.bar);
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(points);
    return rc;
}

static int prepare(work *w) {
    w->n_prompt = hs_prompts_count(w->session.prompts);
    int rc = hs_alloc(&w->prompt, (size_t)w->n_prompt, sizeof *w->prompt);
    if (!rc) rc = hs_alloc(&w->nll, (size_t)w->n_prompt, sizeof *w->nll);
    for (int64_t i = 0; !rc && i < w->n_prompt; i++) {
        w->prompt[i] = hs_prompts_at(w->session.prompts, i);
        w->total += w->prompt[i]->n_token;
        rc = hs_alloc(&w->nll[i], (size_t)w->prompt[i]->n_token, sizeof **w->nll);
    }
    return rc;
}

// ---- what is printed ------------------------------------------------------------------------

// Mean over the scored positions of prompts [from, to); NaN when there are none.
static double mean_nll(const work *w, int64_t from, int64_t to, int64_t *scored) {
    double sum = 0;
    *scored = 0;
    for (int64_t i = from; i < to; i++) {
        for (int64_t t = 0; t + 1 < w->prompt[i]->n_token; t++) sum += w->nll[i][t];
        *scored += w->prompt[i]->n_token - 1;
    }
    return *scored ? sum / (double)*scored : NAN;
}

static void json_prompts(hs_jw *j, const work *w) {
    hs_jw_key(j, "prompts");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < w->n_prompt; i++) {
        int64_t scored;
        hs_jw_begin(j, '{');
        hs_jw_key(j, "id");
        hs_jw_str(j, w->prompt[i]->id);
        hs_jw_key(j, "nll");
        hs_jw_num(j, mean_nll(w, i, i + 1, &scored));
        hs_jw_key(j, "token_nll");
        hs_jw_begin(j, '[');
        for (int64_t t = 0; t < scored; t++) hs_jw_num(j, w->nll[i][t]);
        hs_jw_end(j, ']');
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}

static int put_json(const work *w, const struct options *opt) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    int64_t scored;
    double nll = mean_nll(w, 0, w->n_prompt, &scored);
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "nll");
    hs_jw_num(&j, nll);
    hs_jw_key(&j, "tokens");
    hs_jw_int(&j, scored);
    if (opt->per_token) json_prompts(&j, w);
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

static const hs_col prompt_columns[] = {
    {"prompt", "prompt", 0}, {"tokens", "scored", 0}, {"nll", "nll", 6}, {"perplexity", "ppl", 3}};
static const hs_col token_columns[] = {
    {"prompt", "prompt", 0}, {"position", "pos", 0}, {"token", "next id", 0}, {"nll", "nll", 6}};

static int put_table(const hs_call *call, const work *w, const struct options *opt) {
    hs_table *t;
    int rc = hs_table_open(&t, opt->per_token ? token_columns : prompt_columns, 4);
    if (rc) return rc;
    for (int64_t i = 0; i < w->n_prompt; i++) {
        int64_t scored;
        double nll = mean_nll(w, i, i + 1, &scored);
        if (!opt->per_token) {
            hs_table_str(t, w->prompt[i]->id);
            hs_table_int(t, scored);
            hs_table_num(t, nll);
            hs_table_num(t, exp(nll));
        }
        for (int64_t k = 0; opt->per_token && k < scored; k++) {
            hs_table_str(t, w->prompt[i]->id);
            hs_table_int(t, k);
            hs_table_int(t, w->prompt[i]->tokens[k + 1]);
            hs_table_num(t, w->nll[i][k]);
        }
    }
    rc = hs_table_put(t, call, &opt->out);
    hs_table_close(t);
    int64_t scored;
    double nll = mean_nll(w, 0, w->n_prompt, &scored);
    if (rc || opt->out.csv || opt->out.jsonl) return rc;
    if (scored)
        printf("\nnll %.6f over %" PRId64 " positions, perplexity %.3f\n", nll, scored, exp(nll));
    else
        puts("\nnll - over 0 positions, perplexity -");
    return HS_OK;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    work w = {0};
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = hs_session_open(&w.session, call, &opt->model, &opt->prompt);
    if (!rc) rc = hs_cli_prompts_check(w.session.prompts, 0, hs_cli_n_ctx(w.session.model));
    if (!rc) rc = prepare(&w);
    if (!rc) rc = score(&w);
    if (!rc) rc = opt->out.json ? put_json(&w, opt) : put_table(call, &w, opt);
    for (int64_t i = 0; w.nll && i < w.n_prompt; i++) free(w.nll[i]);
    free(w.nll);
    free(w.prompt);
    hs_session_close(&w.session);
    return rc;
}

static const hs_opt own[] = {
    {"per-token", 0, HS_OPT_FLAG, offsetof(struct options, per_token), NULL, NULL,
     "the loss of every scored position too"},
    {0},
};

const hs_cmd hs_cmd_eval = {
    .name = "eval",
    .group = "models",
    .title = "loss and perplexity on prompts",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about = "nll is the mean of -ln p(next token) in nats over the scored positions, T-1 of a "
             "prompt of T tokens, every position weighing the same.",
    .examples = (const char *const[][2]){{"eval model.gguf -f texts.jsonl", "loss of each text"},
                                         {"eval model.gguf -p \"the cat sat\" --per-token --json",
                                          "loss of each token, for scripts"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"prompts", hs_opts_prompt, offsetof(struct options, prompt)},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
