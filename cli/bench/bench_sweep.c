// What a sweep over heads spends its time on: copies of short prompts, one a head, that enter at a
// layer and go through the layers above it; the LM head over their rows, each reduced to a loss;
// copies of one row each, where only the last token is edited.
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"
#include "model/core/mem.h"

enum { PROMPTS = 16, PROMPTS_QUICK = 2, TOKENS = 64 };

struct sweep {
    hs_bench *b;
    hs_context *context; // prompts on their slots, then the copies
    int64_t n_head, n_layer, from, d, tokens;
    int n_prompt, n_copy;
    int32_t *ids;    // [n_prompt][tokens]
    float *resid;    // [n_copy][tokens][d], enters layer `from`
    hs_seq *seq;     // [n_copy]
    int64_t *row;    // rows that meet the head
    double *sum;     // of a row of logits
    uint64_t *point; // [n_layer + 1]
};

static const hs_seq *copies(struct sweep *s, bool last_only) {
    const int64_t n = last_only ? 1 : s->tokens, before = s->tokens - n;
    for (int i = 0; i < s->n_copy; i++) {
        const int prompt = i / (int)s->n_head;
        s->seq[i] = (hs_seq){.tokens = s->ids + prompt * s->tokens + before,
                             .n = n,
                             .slot = HS_SLOT_NONE,
                             .prefix_slot = prompt,
                             .n_prefix = before};
    }
    return s->seq;
}

// Rows with a next token, of copies of n rows each.
static int64_t scored_rows(struct sweep *s, int64_t n) {
    int64_t k = 0;
    for (int64_t i = 0; i < s->n_copy; i++)
        for (int64_t t = 0; t < n; t++)
            if (n == 1 || t + 1 < n) s->row[k++] = i * n + t;
    return k;
}

// ---- what is timed ------------------------------------------------------------------------------

static int reduce(void *ctx, const hs_site *site, const hs_view *logits, bool write) {
    const struct sweep *s = ctx;
    const hs_model *m = s->b->model;
    (void)write;
    return hs_model_backend(m)->log_sum_exp(hs_model_dev(m), s->sum, logits->data,
                                            logits->stride[0], site->n_row, logits->shape[1]);
}

static int layer_done(void *ctx, int layer) {
    const struct sweep *s = ctx;
    return hs_bench_layer_done(s->b, layer);
}

// The copies, whole or their last rows, from layer `from` on; n_scored rows meet the head.
static int evaluate(struct sweep *s, bool last_only, int64_t from, int64_t n_scored) {
    const hs_tap tap = {.ctx = s, .read = s->point, .rows = reduce, .layer_done = layer_done};
    const hs_batch batch = {.seq = copies(s, last_only),
                            .n_seq = s->n_copy,
                            .layer_from = (int)from,
                            .resid = s->resid,
                            .logits = n_scored ? HS_LOGITS_ROWS : HS_LOGITS_NONE,
                            .logit_row = s->row,
                            .n_logit_row = n_scored};
    hs_context_set_tap(s->context, &tap);
    int rc = hs_context_eval(s->context, &batch);
    hs_context_set_tap(s->context, NULL);
    return rc;
}

static int layers(void *arg, double *seconds) {
    struct sweep *s = arg;
    (void)seconds;
    return evaluate(s, false, s->from, 0);
}

static int head(void *arg, double *seconds) {
    struct sweep *s = arg;
    (void)seconds;
    return evaluate(s, false, s->n_layer, scored_rows(s, s->tokens));
}

static int last_token(void *arg, double *seconds) {
    struct sweep *s = arg;
    (void)seconds;
    return evaluate(s, true, s->from, scored_rows(s, 1));
}

// ---- results ------------------------------------------------------------------------------------

// Multiply-adds, times two, of layers from `from` on over n rows of each copy, and of the head.
static void flops(const struct sweep *s, int64_t n, double *in_layers, double *in_head) {
    const hs_config *c = hs_model_config(s->b->model);
    const double of_head = (double)c->d_model * (double)c->n_vocab, rows = (double)(n * s->n_copy);
    const double keys = n == 1 ? (double)s->tokens : ((double)s->tokens + 1) / 2; // of a row
    const double above = (double)(s->n_layer - s->from), q = (double)(c->n_head * c->d_head);
    double weights, bytes;
    hs_bench_matrices(s->b->model, &weights, &bytes);
    *in_layers = rows * above * (2 * (weights - of_head) / (double)s->n_layer + 4 * q * keys);
    *in_head = 2 * of_head * (n == 1 ? rows : rows - (double)s->n_copy);
}

static void add_row(const struct sweep *s, const char *detail, int64_t n, double seconds,
                    double work) {
    hs_bench_row row = {.name = "sweep",
                        .detail = detail,
                        .n = n * s->n_copy,
                        .seconds = seconds,
                        .rate = (double)(n * s->n_copy) / seconds,
                        .unit = "tokens/s"};
    row.share = work / seconds / hs_bench_products(s->b, &row.of);
    hs_bench_add(s->b->jobs, &row);
}

static int measure(struct sweep *s) {
    hs_thing things[3] = {{layers, s, 0}, {head, s, 0}, {last_token, s, 0}};
    double of_layers, of_head, one_layers, one_head;
    int rc = hs_bench_best(s->b, 3, things);
    if (rc) return rc;
    flops(s, s->tokens, &of_layers, &of_head);
    flops(s, 1, &one_layers, &one_head);
    add_row(s, "upper half of the layers", s->tokens, things[0].seconds, of_layers);
    add_row(s, "LM head and losses", s->tokens, things[1].seconds, of_head);
    add_row(s, "last token alone, both", 1, things[2].seconds, one_layers + one_head);
    return HS_OK;
}

// ---- the model's own part -----------------------------------------------------------------------

// The prompts stay on their slots; what enters layer `from` is copied a head.
static int run_prompts(struct sweep *s) {
    const size_t bytes = (size_t)(s->tokens * s->d) * sizeof(float);
    hs_batch batch = {.seq = s->seq, .n_seq = s->n_prompt, .layer_to = (int)s->from};
    for (int i = 0; i < s->n_prompt; i++)
        s->seq[i] = (hs_seq){.tokens = s->ids + i * s->tokens, .n = s->tokens, .slot = i};
    int rc = s->from ? hs_context_eval(s->context, &batch) : HS_OK;
    for (int i = 0; i < s->n_copy && !rc && s->from; i++)
        memcpy(s->resid + i * s->tokens * s->d,
               hs_context_resid(s->context) + i / s->n_head * s->tokens * s->d, bytes);
    batch.layer_to = 0;
    return rc ? rc : hs_context_eval(s->context, &batch);
}

static int open_sweep(struct sweep *s) {
    const hs_config *c = hs_model_config(s->b->model);
    const int64_t rows = s->tokens * s->n_copy;
    const hs_context_opts opts = {.kv_capacity = s->tokens, .n_slot = s->n_prompt};
    int rc = hs_bench_tokens(s->b, &s->ids, s->n_prompt * s->tokens);
    if (!rc) rc = hs_alloc(&s->resid, (size_t)(rows * s->d), sizeof *s->resid);
    if (!rc) rc = hs_alloc(&s->seq, (size_t)s->n_copy, sizeof *s->seq);
    if (!rc) rc = hs_alloc(&s->row, (size_t)rows, sizeof *s->row);
    if (!rc) rc = hs_alloc(&s->sum, (size_t)rows, sizeof *s->sum);
    if (!rc) rc = hs_alloc(&s->point, (size_t)c->n_layer + 1, sizeof *s->point);
    if (!rc) rc = hs_context_open(&s->context, s->b->model, &opts);
    if (!rc) s->point[c->n_layer] = HS_BIT(HS_LOGITS);
    return rc ? rc : run_prompts(s);
}

int hs_bench_sweep(hs_bench *b) {
    const hs_config *c = hs_model_config(b->model);
    const int64_t n_ctx = hs_cli_n_ctx(b->model);
    struct sweep s = {.b = b,
                      .n_head = c->n_head,
                      .n_layer = c->n_layer,
                      .from = c->n_layer / 2,
                      .d = c->d_model,
                      .tokens = n_ctx < TOKENS ? n_ctx : TOKENS,
                      .n_prompt = b->quick ? PROMPTS_QUICK : PROMPTS};
    s.n_copy = s.n_prompt * (int)s.n_head;
    hs_bench_stage(b, "measuring a sweep", 3);
    int rc = open_sweep(&s);
    if (!rc) rc = measure(&s);
    hs_context_close(s.context);
    free(s.ids);
    free(s.resid);
    free(s.seq);
    free(s.row);
    free(s.sum);
    free(s.point);
    return rc;
}
