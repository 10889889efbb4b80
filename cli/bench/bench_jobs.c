// Whole jobs of `headscope bench`: from file to first token, prefill unwatched and recorded, long
// batches of short prompts, decoding, maps to disk.
#include <math.h>
#include <stdlib.h>

#include "analyses/decode.h"
#include "cli/bench/bench.h"
#include "model/core/mem.h"

enum {
    FIRST_PROMPT = 10, // tokens before the first one that is decoded
    SHORT_PROMPT = 16, // before timed decoding, and the mean of the batch
    DECODED = 64,
    DECODED_QUICK = 24,
    BATCH = 64,
    LONG_PROMPT = 1024, // that the batch is set against
    MAP_PROMPT = 256,
};

static const int64_t lengths[] = {512, 1024, 2048, 4096};
enum { N_LENGTH = 4 };
static const int64_t quick_length = LONG_PROMPT;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// ---- loading ------------------------------------------------------------------------------------

// A model from its file, and on demand up to the first token.
typedef struct loading {
    hs_bench *b;
    const hs_model_options *options;
    bool first_token;
    int64_t n_params;
} loading;

static int first_token(const hs_model *model) {
    static const int32_t tokens[FIRST_PROMPT];
    const hs_seq seq = {.tokens = tokens, .n = least(FIRST_PROMPT, hs_cli_n_ctx(model))};
    const hs_batch batch = {.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_LAST};
    const hs_context_opts opts = {.kv_capacity = seq.n};
    hs_context *x;
    int rc = hs_context_open(&x, model, &opts);
    if (!rc) rc = hs_context_eval(x, &batch);
    hs_context_close(x);
    return rc;
}

static int load(void *arg, double *seconds) {
    loading *l = arg;
    hs_model *model;
    const double start = hs_now();
    int rc = hs_cli_model_open(&model, l->b->path, l->options, NULL);
    if (!rc && l->first_token) rc = first_token(model);
    *seconds = hs_now() - start;
    if (!rc) l->n_params = hs_model_n_params(model);
    hs_model_close(model);
    return rc;
}

int hs_bench_load(hs_bench *b) {
    static const struct {
        const char *name, *detail;
        int weights;
        bool first_token;
    } loads[] = {
        {"load", "expanded", HS_WEIGHT_EXPAND, false},
        {"load", "kept as stored", HS_WEIGHT_KEEP, false},
        {"load to first token", "expanded", HS_WEIGHT_EXPAND, true},
        {"load to first token", "kept as stored", HS_WEIGHT_KEEP, true},
    };
    const int n_load = sizeof loads / sizeof *loads;
    int rc = HS_OK;
    hs_bench_stage(b, "loading", n_load);
    for (int i = 0; i < n_load && !rc; i++) {
        hs_model_options options = *b->options;
        if (b->alone && loads[i].weights != options.weights) continue;
        options.weights = loads[i].weights;
        loading l = {b, &options, loads[i].first_token, 0};
        hs_bench_row row = {.name = loads[i].name, .detail = loads[i].detail};
        rc = hs_bench_one(b, load, &l, &row.seconds);
        row.n = l.first_token ? FIRST_PROMPT : 0;
        row.weights = (double)l.n_params / row.seconds;
        if (!rc) hs_bench_add(b->jobs, &row);
    }
    return rc;
}

// ---- one evaluation -----------------------------------------------------------------------------

typedef struct evaluation {
    hs_bench *b;
    hs_context *context;
    hs_batch batch;
} evaluation;

// Watched by nobody but Ctrl-C.
static int evaluate(void *arg, double *seconds) {
    const evaluation *e = arg;
    const hs_tap tap = {.ctx = e->b, .layer_done = hs_bench_layer_done};
    (void)seconds;
    hs_context_set_tap(e->context, &tap);
    int rc = hs_context_eval(e->context, &e->batch);
    hs_context_set_tap(e->context, NULL);
    return rc;
}

// Multiply-adds, times two, of one sequence of n tokens with the logits of the last.
static double flops(const hs_model *m, int64_t n) {
    const hs_config *c = hs_model_config(m);
    const double head = (double)c->d_model * (double)c->n_vocab, t = (double)n;
    const double attention = 2 * (double)(c->n_head * c->d_head) * t * (t + 1);
    double weights, bytes;
    hs_bench_matrices(m, &weights, &bytes);
    return 2 * (weights - head) * t + (double)c->n_layer * attention + 2 * head;
}

static void rate_products(const hs_bench *b, hs_bench_row *row) {
    row->share = flops(b->model, row->n) / row->seconds / hs_bench_products(b, &row->of);
}

// ---- prefill ------------------------------------------------------------------------------------

// Alone and recorded, in turns.
static int prefill(hs_bench *b, hs_context *x, const int32_t *tokens, int64_t n) {
    const hs_seq seq = {.tokens = tokens, .n = n};
    evaluation alone = {b, x, {.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_LAST}};
    hs_bench_recording recorded = {.b = b, .context = x, .tokens = tokens, .n = n};
    hs_thing things[2] = {{evaluate, &alone, 0}, {hs_bench_record, &recorded, 0}};
    int rc = hs_bench_best(b, 2, things);
    for (int i = 0; i < 2 && !rc; i++) {
        hs_bench_row row = {.name = i ? "record" : "prefill",
                            .detail = i ? "statistics of all heads" : "nothing watched",
                            .n = n,
                            .seconds = things[i].seconds,
                            .rate = (double)n / things[i].seconds,
                            .unit = "tokens/s",
                            .cost = things[1].seconds / things[0].seconds - 1,
                            .has_cost = i};
        rate_products(b, &row);
        hs_bench_add(b->jobs, &row);
    }
    return rc;
}

int hs_bench_prefill(hs_bench *b) {
    int64_t length[N_LENGTH];
    int32_t *tokens = NULL;
    hs_context *x = NULL;
    const int n = b->quick ? hs_bench_lengths(b, 1, &quick_length, length)
                           : hs_bench_lengths(b, N_LENGTH, lengths, length);
    int rc = hs_bench_tokens(b, &tokens, length[n - 1]);
    hs_bench_stage(b, "measuring prefill", n);
    if (!rc) rc = hs_context_open(&x, b->model, NULL);
    for (int i = 0; i < n && !rc; i++) rc = prefill(b, x, tokens, length[i]);
    hs_context_close(x);
    free(tokens);
    return rc;
}

// ---- decoding -----------------------------------------------------------------------------------

typedef struct decoding {
    hs_context *context;
    const int32_t *prompt;
    int64_t n_prompt, n; // tokens to decode
} decoding;

static int decode(void *arg, double *seconds) {
    const decoding *d = arg;
    const int64_t n_vocab = hs_model_config(hs_context_model(d->context))->n_vocab;
    int32_t id;
    hs_seq seq = {.tokens = d->prompt, .n = d->n_prompt};
    const hs_batch batch = {.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_LAST};
    hs_context_truncate(d->context, 0, 0);
    int rc = hs_context_eval(d->context, &batch);
    const double start = hs_now();
    seq = (hs_seq){.tokens = &id, .n = 1};
    for (int64_t i = 0; i < d->n && !rc; i++) {
        id = hs_argmax(hs_context_logits(d->context), n_vocab);
        rc = hs_context_eval(d->context, &batch);
    }
    *seconds = hs_now() - start;
    return rc;
}

static int decode_with(hs_bench *b, const hs_model *model) {
    const int64_t n_ctx = hs_cli_n_ctx(model), n_prompt = least(SHORT_PROMPT, (n_ctx + 1) / 2);
    const hs_context_opts opts = {
        .kv_capacity = least(n_prompt + (b->quick ? DECODED_QUICK : DECODED), n_ctx)};
    const bool kept = hs_model_weights(model) == HS_WEIGHT_KEEP;
    hs_bench_row row = {.name = "decode",
                        .detail = kept ? "weights kept as stored" : "weights expanded",
                        .n = opts.kv_capacity - n_prompt,
                        .unit = "tokens/s",
                        .of = "memory"};
    int32_t *tokens = NULL;
    decoding d = {.n_prompt = n_prompt, .n = row.n};
    double weights, bytes;
    hs_bench_matrices(model, &weights, &bytes);
    if (row.n < 1) return HS_OK;
    int rc = hs_bench_tokens(b, &tokens, n_prompt);
    d.prompt = tokens;
    if (!rc) rc = hs_context_open(&d.context, model, &opts);
    if (!rc) rc = hs_bench_one(b, decode, &d, &row.seconds);
    row.rate = (double)row.n / row.seconds;
    row.share = row.rate * bytes / b->ceiling.read[1];
    if (!rc) hs_bench_add(b->jobs, &row);
    hs_context_close(d.context);
    free(tokens);
    return rc;
}

// With the weights as they are, and the other way.
int hs_bench_decode(hs_bench *b) {
    hs_model_options options = *b->options;
    hs_model *other = NULL;
    options.weights = !options.weights;
    hs_bench_stage(b, "measuring decoding", 2);
    int rc = decode_with(b, b->model);
    if (rc || b->alone) return rc;
    rc = hs_cli_model_open(&other, b->path, &options, &b->bar.progress);
    if (!rc) rc = decode_with(b, other);
    hs_model_close(other);
    return rc;
}

// ---- a batch of short prompts -------------------------------------------------------------------

// Lengths in pairs around the mean: 16 16 15 17 14 18 .. 8 24 16 16 ..
static void short_prompts(hs_seq seq[BATCH], const int32_t *tokens, int64_t mean) {
    for (int i = 0; i < BATCH; i++) {
        const int64_t off = (i / 2) % (mean / 2 + 1);
        seq[i] = (hs_seq){.tokens = tokens, .n = i % 2 ? mean + off : mean - off};
        tokens += seq[i].n;
    }
}

// The batch against one prompt of as many tokens, a token, with attention and without: that of the
// long prompt is longer by nature.
int hs_bench_batch(hs_bench *b) {
    const double n_layer = (double)hs_model_config(b->model)->n_layer;
    const int64_t one = least(LONG_PROMPT, hs_cli_n_ctx(b->model));
    const int64_t mean = one < BATCH ? 1 : one / BATCH;
    hs_seq shorts[BATCH], whole = {.n = one};
    int32_t *tokens = NULL;
    hs_context *x = NULL;
    double attention[2][2];
    int rc = hs_bench_tokens(b, &tokens, LONG_PROMPT);
    hs_bench_stage(b, "measuring a batch", 3);
    if (!rc) rc = hs_context_open(&x, b->model, NULL);
    if (rc) goto out;
    whole.tokens = tokens;
    short_prompts(shorts, tokens, mean);
    evaluation e[2] = {{b, x, {.seq = shorts, .n_seq = BATCH}},
                       {b, x, {.seq = &whole, .n_seq = 1}}};
    hs_thing things[2] = {{evaluate, &e[0], 0}, {evaluate, &e[1], 0}};
    rc = hs_bench_best(b, 2, things);
    if (!rc) rc = hs_bench_attend(b, mean, attention[0]);
    if (!rc) rc = hs_bench_attend(b, one, attention[1]);
    if (rc) goto out;
    const double n = (double)(BATCH * mean), seconds[2] = {things[0].seconds, things[1].seconds};
    const double aside[2] = {seconds[0] - n_layer * BATCH * attention[0][0],
                             seconds[1] - n_layer * attention[1][0]};
    const hs_bench_row rows[] = {
        {.name = "batch",
         .detail = "64 ragged prompts",
         .n = BATCH * mean,
         .seconds = seconds[0],
         .rate = n / seconds[0],
         .share = seconds[1] / (double)one / (seconds[0] / n)},
        {.name = "batch",
         .detail = "attention aside",
         .n = BATCH * mean,
         .seconds = aside[0],
         .rate = n / aside[0],
         .share = aside[1] / (double)one / (aside[0] / n)},
    };
    for (int i = 0; i < 2; i++) {
        hs_bench_row row = rows[i];
        row.unit = "tokens/s";
        row.of = "one prompt";
        hs_bench_add(b->jobs, &row);
    }
out:
    hs_context_close(x);
    free(tokens);
    return rc;
}

// ---- maps ---------------------------------------------------------------------------------------

// All maps of a prompt to the disk, and the same without maps.
int hs_bench_maps(hs_bench *b) {
    static const int64_t usual = MAP_PROMPT;
    int64_t n;
    hs_bench_lengths(b, 1, &usual, &n);
    hs_bench_stage(b, "measuring maps", 1);
    hs_bench_recording r[2] = {{.b = b, .n = n, .maps = "none"}, {.b = b, .n = n, .maps = "all"}};
    hs_thing things[2] = {{hs_bench_record, &r[0], 0}, {hs_bench_record, &r[1], 0}};
    int32_t *tokens = NULL;
    hs_context *x = NULL;
    int rc = hs_bench_tokens(b, &tokens, n);
    if (!rc) rc = hs_context_open(&x, b->model, NULL);
    for (int i = 0; i < 2; i++) r[i].context = x, r[i].tokens = tokens;
    if (!rc) rc = hs_bench_best(b, 2, things);
    for (int i = 0; i < 2 && !rc; i++) {
        hs_bench_row row = {.name = "record",
                            .detail = i ? "all maps" : "statistics of all heads",
                            .n = n,
                            .seconds = things[i].seconds,
                            .rate = r[i].bytes / things[i].seconds * 1e-6,
                            .unit = "MB/s",
                            .of = "disk",
                            .cost = things[1].seconds / things[0].seconds - 1,
                            .has_cost = i};
        row.share = row.rate * 1e6 / b->ceiling.disk;
        hs_bench_add(b->jobs, &row);
    }
    hs_context_close(x);
    free(tokens);
    return rc;
}
