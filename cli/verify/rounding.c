// verify: how far every hook of a model is from the same hook in double precision.
//
// A passage of English (random tokens without a tokenizer) runs through two contexts, the one asked
// for and the reference, side by side and layer by layer, so that one layer of each is in memory.
// A difference is measured by the tensor's largest magnitude; of the layers the worst is told. For
// the last step, what matters of it: the Kullback-Leibler divergence of the next token's
// distribution, and the change of the passage's negative log-likelihood.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/capture.h"
#include "cli/verify/verify.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { ROWS = 64 };

static const char passage[] =
    "In March the river rose over the lower meadows, and for nine days nobody crossed it. On the "
    "tenth morning Anna walked down to the ferry with two letters in her bag, one for her brother "
    "and one that she had written to herself. The water was brown and quick. The ferryman looked "
    "at the sky, shook his head, and told her to come back on Sunday.";

// Where a point is off by most.
typedef struct worst {
    double d, m; // largest difference, largest magnitude
    int layer, stat;
} worst;

enum side { ASKED, REFERENCE, N_SIDE };

typedef struct lab {
    hs_checks *out;
    bool judge;
    hs_dims dims;
    int32_t tokens[ROWS];
    int64_t n;
    hs_context *context[N_SIDE];
    hs_capture *seen[N_SIDE]; // of the layer in work
    worst worst[HS_N_POINT];
} lab;

// ---- running --------------------------------------------------------------------------------

// The points of one layer, and with it those of the model that it runs next to. What heads add one
// by one (hook_result) is left out: it costs more than all the rest.
static int make_sets(const hs_dims *dims, int layer, uint64_t **out) {
    int rc = hs_alloc(out, (size_t)dims->n_layer + 1, sizeof **out);
    for (int p = 0; !rc && p < HS_N_POINT; p++) {
        const bool of_model = hs_point_infos[p].scope == HS_SCOPE_MODEL;
        const bool early = p == HS_EMBED || p == HS_POS_EMBED;
        if (p == HS_RESULT || !(dims->points & HS_BIT(p))) continue;
        if (!of_model || layer == (early ? 0 : dims->n_layer - 1))
            (*out)[of_model ? dims->n_layer : layer] |= HS_BIT(p);
    }
    return rc;
}

static int run_layer(lab *b, int side, const uint64_t *sets, int layer) {
    hs_seq seq = {.tokens = b->tokens, .n = b->n};
    hs_batch batch = {.seq = &seq,
                      .n_seq = 1,
                      .layer_from = layer,
                      .layer_to = layer + 1,
                      .resid = layer ? hs_context_resid(b->context[side]) : NULL,
                      .logits = HS_LOGITS_ALL};
    hs_hooks *hooks = NULL;
    int rc = hs_capture_open(&b->seen[side], &b->dims, sets, b->n, 0);
    if (!rc) rc = hs_hooks_open(&hooks, &b->dims);
    if (!rc) rc = hs_capture_hook(b->seen[side], hooks);
    if (!rc) {
        hs_context_set_tap(b->context[side], hs_hooks_tap(hooks));
        rc = hs_context_eval(b->context[side], &batch);
        hs_context_set_tap(b->context[side], NULL);
    }
    hs_hooks_close(hooks);
    return rc;
}

// ---- comparing ------------------------------------------------------------------------------

// Patterns are measured as they are, all else by its magnitude.
static double share(enum hs_point p, const worst *w) {
    return p == HS_PATTERN || w->m == 0 ? w->d : w->d / w->m;
}

static void take(lab *b, enum hs_point p, const worst *w) {
    worst *most = &b->worst[p];
    const double was = share(p, most), is = share(p, w);
    if (!isnan(was) && (most->m == 0 || !(is <= was))) *most = *w;
}

static void compare_stats(lab *b, int layer, const float *x, const float *y) {
    for (int s = 0; s < HS_N_STAT; s++) {
        worst w = {.m = 1, .layer = layer, .stat = s}; // weights, nats: of the order of 1
        if (s == HS_STAT_ARGMAX) continue;             // a key: between two equals it may be either
        for (int64_t h = 0; h < b->dims.n_head; h++)
            for (int64_t i = 0; i < b->n; i++) {
                const int64_t at = (h * HS_N_STAT + s) * b->n + i;
                w.d = hs_worse(w.d, x[at], y[at]);
                w.m = fmax(w.m, fabs(y[at]));
            }
        take(b, HS_ROW_STATS, &w);
    }
}

static void compare_point(lab *b, enum hs_point p, int layer) {
    const float *x = hs_capture_at(b->seen[ASKED], p, layer);
    const float *y = hs_capture_at(b->seen[REFERENCE], p, layer);
    const int64_t count = hs_capture_count(b->seen[ASKED], p);
    worst w = {.layer = layer, .stat = -1};
    if (p == HS_ROW_STATS) {
        compare_stats(b, layer, x, y);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        w.d = hs_worse(w.d, x[i], y[i]);
        if (isfinite(y[i])) w.m = fmax(w.m, fabs(y[i])); // masked scores are -inf in both
    }
    take(b, p, &w);
}

static int compare_layer(lab *b, int layer) {
    uint64_t *sets = NULL;
    int rc = make_sets(&b->dims, layer, &sets);
    for (int side = 0; side < N_SIDE; side++) {
        hs_capture_close(b->seen[side]);
        b->seen[side] = NULL;
        if (!rc) rc = run_layer(b, side, sets, layer);
    }
    for (int p = 0; !rc && p < HS_N_POINT; p++)
        if ((sets[layer] | sets[b->dims.n_layer]) & HS_BIT(p))
            compare_point(b, (enum hs_point)p, layer);
    free(sets);
    return rc;
}

// ---- what it comes to -----------------------------------------------------------------------

static double log_sum_exp(const float *x, int64_t n) {
    double max = x[0];
    for (int64_t i = 1; i < n; i++) max = fmax(max, x[i]);
    double sum = exp(x[0] - max);
    for (int64_t i = 1; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

// From the logits of the last layer's captures.
static int add_distributions(const lab *b) {
    const int64_t V = b->dims.n_vocab;
    double kl = 0, nll = 0;
    for (int64_t t = 0; t < b->n; t++) {
        const float *x = hs_capture_at(b->seen[ASKED], HS_LOGITS, -1) + t * V;
        const float *y = hs_capture_at(b->seen[REFERENCE], HS_LOGITS, -1) + t * V;
        const double x_sum = log_sum_exp(x, V), y_sum = log_sum_exp(y, V);
        for (int64_t i = 0; i < V; i++) kl += exp(y[i] - y_sum) * ((y[i] - y_sum) - (x[i] - x_sum));
        if (t + 1 < b->n) nll += (x_sum - x[b->tokens[t + 1]]) - (y_sum - y[b->tokens[t + 1]]);
    }
    int rc = hs_checks_add(b->out, "rounding: KL divergence, nats per token",
                           fmax(kl, 0) / (double)b->n, 0, NAN);
    if (rc || b->n < 2) return rc;
    return hs_checks_add(b->out, "rounding: change of nll, nats per token",
                         nll / (double)(b->n - 1), 0, NAN);
}

static int add_point(const lab *b, enum hs_point p) {
    const worst *w = &b->worst[p];
    const double limit = p == HS_PATTERN ? 1e-4 : 5e-4 * w->m;
    hs_buf name = {0};
    hs_buf_printf(&name, "rounding: ");
    hs_point_name(&name, p, w->layer);
    if (w->stat >= 0) hs_buf_printf(&name, ".%s", hs_stat_infos[w->stat].name);
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_checks_add(b->out, name.data, w->d, w->m, b->judge ? limit : NAN);
    hs_buf_free(&name);
    return rc;
}

// ---- all of it ------------------------------------------------------------------------------

static int choose_tokens(lab *b, const hs_model *model) {
    const hs_config *c = hs_model_config(model);
    const int64_t most = c->n_ctx < ROWS ? c->n_ctx : ROWS;
    hs_prompts *prompts = NULL;
    hs_prng random = hs_prng_seed(2);
    int rc = HS_OK;
    for (b->n = 0; b->n < most; b->n++)
        b->tokens[b->n] = (int32_t)hs_prng_below(&random, (uint64_t)c->n_vocab);
    if (!hs_model_tok(model)) return HS_OK;
    rc = hs_prompts_open(&prompts, hs_model_tok(model), HS_BOS_AUTO, c->n_vocab);
    if (!rc) rc = hs_prompts_add_text(prompts, NULL, passage, strlen(passage));
    if (!rc) {
        const hs_prompt *p = hs_prompts_at(prompts, 0);
        if (p->n_token < b->n) b->n = p->n_token;
        memcpy(b->tokens, p->tokens, (size_t)b->n * sizeof *b->tokens);
    }
    hs_prompts_close(prompts);
    return rc;
}

int hs_verify_rounding(hs_checks *out, const hs_model *model, const char *path,
                       const hs_model_options *asked, const hs_progress *progress) {
    lab b = {
        .out = out, .judge = hs_model_precision(model) == HS_PREC_EXACT, .dims = hs_dims_of(model)};
    hs_model_options options = *asked;
    hs_model *reference = NULL;
    options.precision = HS_PREC_F64;
    int rc = hs_cli_model_open(&reference, path, &options, NULL);
    if (!rc) rc = choose_tokens(&b, model);
    if (!rc) rc = hs_context_open(&b.context[ASKED], model, NULL);
    if (!rc) rc = hs_context_open(&b.context[REFERENCE], reference, NULL);
    for (int l = 0; !rc && l < b.dims.n_layer; l++) {
        rc = hs_progress_step(progress, "measuring rounding", l, b.dims.n_layer);
        if (!rc) rc = compare_layer(&b, l);
    }
    for (int p = 0; !rc && p < HS_N_POINT; p++)
        if (p != HS_RESULT && b.dims.points & HS_BIT(p)) rc = add_point(&b, (enum hs_point)p);
    if (!rc) rc = add_distributions(&b);
    for (int side = 0; side < N_SIDE; side++) {
        hs_capture_close(b.seen[side]);
        hs_context_close(b.context[side]);
    }
    hs_model_close(reference);
    return rc;
}
