// verify: the laws of the engine on one checkpoint, with a short sequence of arbitrary tokens.
//
// What is computed here is computed anew, in double and in the plainest way, from what the hooks
// deliver and the weights hold; what must not change anything is compared to the bit.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/lens.h"
#include "cli/capture.h"
#include "cli/verify/verify.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { ROWS = 24, OTHER_ROWS = 7 };

typedef struct lab {
    hs_checks *out;
    const hs_model *model;
    const char *path;
    const hs_model_options *again;
    hs_dims dims;
    int32_t tokens[ROWS], other[OTHER_ROWS];
    int64_t n;
    hs_capture *base; // every point but the heads' results, all rows
} lab;

double hs_worse(double seen, double a, double b) {
    double d = fabs(a - b);
    if (a == b) d = 0; // infinities
    return isnan(seen) || d <= seen ? seen : d;
}

int hs_checks_add(hs_checks *c, const char *name, double difference, double magnitude,
                  double limit) {
    int rc = hs_grow(&c->at, (size_t)c->n + 1, sizeof *c->at);
    if (rc) return rc;
    hs_check *k = &c->at[c->n++];
    *k = (hs_check){.difference = difference,
                    .magnitude = magnitude,
                    .limit = limit,
                    .passed = isnan(limit) || difference <= limit};
    snprintf(k->name, sizeof k->name, "%s", name);
    c->failed += !k->passed;
    return HS_OK;
}

static double largest(const float *x, int64_t n) {
    double max = 0;
    for (int64_t i = 0; i < n; i++)
        if (fabs(x[i]) > max) max = fabs(x[i]);
    return max;
}

// The layer (or the like) in which something is off by most, measured by its own magnitude.
typedef struct worst {
    double d, m;
} worst;

static void take_worst(worst *w, double d, double m) {
    bool first = w->m == 0;
    if (first || !(d * w->m <= w->d * m)) *w = (worst){d, m};
}

static int add_worst(const lab *b, const char *name, const worst *w, double share) {
    return hs_checks_add(b->out, name, w->d, w->m, share * w->m);
}

// How far products may be off; those of rounded factors are told, not judged.
static double product_share(const lab *b) {
    return hs_model_precision(b->model) == HS_PREC_BF16 ? NAN : 5e-5;
}

// ---- running --------------------------------------------------------------------------------

// Splits points of the model and of layers into sets, for every layer.
static int make_sets(const hs_dims *dims, uint64_t points, uint64_t **out) {
    int rc = hs_alloc(out, (size_t)dims->n_layer + 1, sizeof **out);
    for (int p = 0; !rc && p < HS_N_POINT; p++) {
        if (!(points & dims->points & HS_BIT(p))) continue;
        bool of_model = hs_point_infos[p].scope == HS_SCOPE_MODEL;
        int from = of_model ? dims->n_layer : 0, to = of_model ? dims->n_layer : dims->n_layer - 1;
        for (int l = from; l <= to; l++) (*out)[l] |= HS_BIT(p);
    }
    return rc;
}

// How a run differs from the plain one.
typedef struct variant {
    const hs_model *model; // NULL: the lab's
    uint64_t points;       // to capture
    const hs_hook *edit;   // NULL: none
    int64_t tile_rows;
    bool others;     // other sequences in the batch
    bool one_by_one; // token by token through the cache
} variant;

static int evaluate(const lab *b, const variant *v, hs_context *context) {
    hs_seq seq[3] = {{.tokens = b->tokens, .n = b->n},
                     {.tokens = b->other, .n = b->n < OTHER_ROWS ? b->n : OTHER_ROWS},
                     {.tokens = b->other, .n = 1}};
    hs_batch batch = {.seq = seq, .n_seq = v->others ? 3 : 1, .logits = HS_LOGITS_ALL};
    if (!v->one_by_one) return hs_context_eval(context, &batch);
    int rc = HS_OK;
    seq[0].n = 1;
    for (int64_t i = 0; !rc && i < b->n; i++) {
        seq[0].tokens = &b->tokens[i];
        rc = hs_context_eval(context, &batch);
    }
    return rc;
}

static int run(const lab *b, const variant *v, hs_capture **out) {
    const hs_model *model = v->model ? v->model : b->model;
    hs_context_opts opts = {.kv_capacity = v->one_by_one ? b->n : 0};
    hs_context *context = NULL;
    hs_hooks *hooks = NULL;
    uint64_t *sets = NULL;
    *out = NULL;
    int rc = make_sets(&b->dims, v->points, &sets);
    if (!rc) rc = hs_capture_open(out, &b->dims, sets, b->n, 0);
    if (!rc) rc = hs_hooks_open(&hooks, &b->dims);
    if (!rc) rc = hs_capture_hook(*out, hooks);
    if (!rc && v->edit) rc = hs_hooks_add(hooks, v->edit);
    if (!rc) hs_hooks_tile_rows(hooks, v->tile_rows);
    if (!rc) rc = hs_context_open(&context, model, &opts);
    if (!rc) {
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = evaluate(b, v, context);
    }
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(sets);
    if (rc) {
        hs_capture_close(*out);
        *out = NULL;
    }
    return rc;
}

// Runs a variant and checks that a point is the same to the bit in all layers.
static int same_bits(const lab *b, const char *name, const variant *v, enum hs_point point) {
    hs_capture *c;
    int rc = run(b, v, &c);
    if (rc) return rc;
    bool of_model = hs_point_infos[point].scope == HS_SCOPE_MODEL;
    double d = 0;
    for (int l = 0; l < (of_model ? 1 : b->dims.n_layer); l++) {
        const float *x = hs_capture_at(b->base, point, l), *y = hs_capture_at(c, point, l);
        for (int64_t i = 0; i < hs_capture_count(c, point); i++) d = hs_worse(d, x[i], y[i]);
    }
    hs_capture_close(c);
    return hs_checks_add(b->out, name, d, 0, 0);
}

// ---- laws of attention ----------------------------------------------------------------------

static int rows_sum_to_one(const lab *b) {
    double sum_off = 0, masked = 0;
    for (int l = 0; l < b->dims.n_layer; l++) {
        const float *a = hs_capture_at(b->base, HS_PATTERN, l);
        for (int64_t r = 0; r < b->dims.n_head * b->n; r++, a += b->n) {
            double sum = 0;
            int64_t i = r % b->n;
            for (int64_t j = 0; j <= i; j++) sum += a[j];
            for (int64_t j = i + 1; j < b->n; j++) masked = hs_worse(masked, a[j], 0);
            sum_off = hs_worse(sum_off, sum, 1);
        }
    }
    int rc = hs_checks_add(b->out, "pattern rows sum to 1", sum_off, 1, 1e-5);
    return rc ? rc : hs_checks_add(b->out, "pattern is 0 outside the mask", masked, 1, 0);
}

static int pattern_is_softmax(const lab *b) {
    double d = 0;
    for (int l = 0; l < b->dims.n_layer; l++) {
        const float *a = hs_capture_at(b->base, HS_PATTERN, l);
        const float *s = hs_capture_at(b->base, HS_SCORES, l);
        for (int64_t r = 0; r < b->dims.n_head * b->n; r++, a += b->n, s += b->n) {
            double max = -INFINITY, sum = 0;
            for (int64_t j = 0; j <= r % b->n; j++)
                if (s[j] > max) max = s[j];
            for (int64_t j = 0; j <= r % b->n; j++) sum += exp(s[j] - max);
            for (int64_t j = 0; j <= r % b->n; j++) d = hs_worse(d, a[j], exp(s[j] - max) / sum);
        }
    }
    return hs_checks_add(b->out, "pattern = softmax of the scores", d, 1, 1e-5);
}

static int z_is_pattern_v(const lab *b) {
    worst w = {0};
    int64_t H = b->dims.n_head, K = b->dims.n_kv_head, D = b->dims.d_head;
    for (int l = 0; l < b->dims.n_layer; l++) {
        const float *a = hs_capture_at(b->base, HS_PATTERN, l);
        const float *v = hs_capture_at(b->base, HS_V, l), *z = hs_capture_at(b->base, HS_Z, l);
        double d = 0;
        for (int64_t i = 0; i < b->n * H * D; i++) { // one number of z: row t, head h, column c
            int64_t t = i / (H * D), h = i / D % H, c = i % D;
            double sum = 0;
            for (int64_t j = 0; j <= t; j++)
                sum += (double)a[(h * b->n + t) * b->n + j] * v[(j * K + h / (H / K)) * D + c];
            d = hs_worse(d, z[i], sum);
        }
        take_worst(&w, d, largest(z, b->n * H * D));
    }
    return add_worst(b, "z = pattern x v", &w, 1e-5);
}

static int attn_out_is_z_w_o(const lab *b) {
    int64_t D = b->dims.d_model, K = b->dims.n_head * b->dims.d_head;
    worst w = {0};
    float *row;
    int rc = hs_alloc(&row, (size_t)K, sizeof *row);
    for (int l = 0; !rc && l < b->dims.n_layer; l++) {
        const float *z = hs_capture_at(b->base, HS_Z, l);
        const float *out = hs_capture_at(b->base, HS_ATTN_OUT, l);
        const float *bias = hs_model_vector(b->model, HS_B_O, l);
        double d = 0;
        for (int64_t c = 0; !rc && c < D; c++) {
            rc = hs_model_weight_row(b->model, HS_W_O, l, c, row);
            for (int64_t t = 0; !rc && t < b->n; t++) {
                double sum = bias ? bias[c] : 0;
                for (int64_t k = 0; k < K; k++) sum += (double)row[k] * z[t * K + k];
                d = hs_worse(d, out[t * D + c], sum);
            }
        }
        take_worst(&w, d, largest(out, b->n * D));
    }
    free(row);
    return rc ? rc : add_worst(b, "sum of z W_O + b = attn_out", &w, product_share(b));
}

// One row's summaries, in the order of enum hs_stat; lse comes from the scores.
static void summarise(const float *a, const float *s, int64_t i, double out[HS_N_STAT]) {
    double max_s = -INFINITY;
    memset(out, 0, HS_N_STAT * sizeof *out);
    for (int64_t j = 0; j <= i; j++) {
        if (a[j] > 0) out[HS_STAT_ENTROPY] -= a[j] * log(a[j]);
        out[HS_STAT_DISTANCE] += (double)(i - j) * a[j];
        if (a[j] > out[HS_STAT_MAX]) {
            out[HS_STAT_MAX] = a[j];
            out[HS_STAT_ARGMAX] = (double)j;
        }
        if (s[j] > max_s) max_s = s[j];
    }
    double sum = exp(s[0] - max_s);
    for (int64_t j = 1; j <= i; j++) sum += exp(s[j] - max_s);
    out[HS_STAT_LSE] = max_s + log(sum);
    out[HS_STAT_FIRST] = a[0];
    out[HS_STAT_SELF] = a[i];
    out[HS_STAT_PREV] = i ? a[i - 1] : 0;
}

static int summaries_match(const lab *b) {
    worst w[HS_N_STAT], all = {0};
    for (int k = 0; k < HS_N_STAT; k++) w[k] = (worst){0, 1}; // weights, nats: of the order of 1
    for (int l = 0; l < b->dims.n_layer; l++) {
        const float *a = hs_capture_at(b->base, HS_PATTERN, l);
        const float *s = hs_capture_at(b->base, HS_SCORES, l);
        const float *stat = hs_capture_at(b->base, HS_ROW_STATS, l);
        for (int64_t r = 0; r < b->dims.n_head * b->n; r++) {
            double want[HS_N_STAT];
            int64_t h = r / b->n, i = r % b->n;
            summarise(a + r * b->n, s + r * b->n, i, want);
            for (int k = 0; k < HS_N_STAT; k++) {
                w[k].d = hs_worse(w[k].d, stat[(h * HS_N_STAT + k) * b->n + i], want[k]);
                w[k].m = fmax(w[k].m, fabs(want[k]));
            }
        }
    }
    for (int k = 0; k < HS_N_STAT; k++) take_worst(&all, w[k].d, w[k].m);
    return add_worst(b, "row summaries = those of the pattern", &all, 1e-5);
}

// ---- laws of the residual stream and the head -----------------------------------------------

static int residual_adds_up(const lab *b) {
    worst mid = {0}, post = {0};
    bool mlp = b->dims.points & HS_BIT(HS_RESID_MID);
    for (int l = 0; l < b->dims.n_layer; l++) {
        const float *pre = hs_capture_at(b->base, HS_RESID_PRE, l);
        const float *out = hs_capture_at(b->base, HS_ATTN_OUT, l);
        const float *end = hs_capture_at(b->base, HS_RESID_POST, l);
        const float *half = mlp ? hs_capture_at(b->base, HS_RESID_MID, l) : end;
        const float *add = mlp ? hs_capture_at(b->base, HS_MLP_OUT, l) : NULL;
        double d_mid = 0, d_post = 0;
        for (int64_t i = 0; i < b->n * b->dims.d_model; i++) {
            d_mid = hs_worse(d_mid, half[i], (double)pre[i] + out[i]);
            if (mlp) d_post = hs_worse(d_post, end[i], (double)half[i] + add[i]);
        }
        take_worst(&mid, d_mid, largest(half, b->n * b->dims.d_model));
        take_worst(&post, d_post, largest(end, b->n * b->dims.d_model));
    }
    int rc = add_worst(
        b, mlp ? "resid_pre + attn_out = resid_mid" : "resid_pre + attn_out = resid_post", &mid,
        1e-6);
    return rc || !mlp ? rc : add_worst(b, "resid_mid + mlp_out = resid_post", &post, 1e-6);
}

// What all layers added to the stream gives its last state: with the law of the logits below, that
// logits are sums of direct attributions.
static int stream_is_a_sum(const lab *b) {
    double d = 0, m = 0;
    const float *pos = hs_capture_at(b->base, HS_POS_EMBED, -1);
    const float *embed = hs_capture_at(b->base, HS_EMBED, -1);
    const float *end = hs_capture_at(b->base, HS_RESID_POST, b->dims.n_layer - 1);
    for (int64_t i = 0; i < b->n * b->dims.d_model; i++) {
        double sum = (double)embed[i] + (pos ? pos[i] : 0);
        for (int l = 0; l < b->dims.n_layer; l++) {
            const float *mlp = hs_capture_at(b->base, HS_MLP_OUT, l);
            sum += (double)hs_capture_at(b->base, HS_ATTN_OUT, l)[i] + (mlp ? mlp[i] : 0);
            m = fmax(m, fabs(sum));
        }
        d = hs_worse(d, end[i], sum);
    }
    return hs_checks_add(b->out, "embedding + all that was added = last resid_post", d, m,
                         1e-5 * m);
}

// The last row through the final norm, in double.
static void final_norm(const lab *b, const float *x, double *y) {
    const hs_config *c = hs_model_config(b->model);
    const float *w = hs_model_vector(b->model, HS_W_LNF, -1);
    const float *bias = hs_model_vector(b->model, HS_B_LNF, -1);
    double mean = 0, var = 0, scale = 1;
    for (int64_t i = 0; c->norm == HS_NORM_LAYER && i < c->d_model; i++) mean += x[i];
    mean /= (double)c->d_model;
    for (int64_t i = 0; i < c->d_model; i++) var += (x[i] - mean) * (x[i] - mean);
    if (c->norm != HS_NORM_NONE) scale = sqrt(var / (double)c->d_model + c->norm_eps);
    for (int64_t i = 0; i < c->d_model; i++)
        y[i] = (x[i] - mean) / scale * (w ? w[i] : 1) + (bias ? bias[i] : 0);
}

static int logits_are_last_lens(const lab *b) {
    int64_t D = b->dims.d_model, V = b->dims.n_vocab;
    const float *bias = hs_model_vector(b->model, HS_B_HEAD, -1);
    const float *logits = hs_capture_at(b->base, HS_LOGITS, -1) + (b->n - 1) * V;
    double d = 0, *y = NULL;
    float *row = NULL;
    int rc = hs_alloc(&y, (size_t)D, sizeof *y);
    if (!rc) rc = hs_alloc(&row, (size_t)D, sizeof *row);
    if (!rc)
        final_norm(b, hs_capture_at(b->base, HS_RESID_POST, b->dims.n_layer - 1) + (b->n - 1) * D,
                   y);
    for (int64_t v = 0; !rc && v < V; v++) {
        rc = hs_model_weight_row(b->model, HS_W_HEAD, -1, v, row);
        double sum = bias ? bias[v] : 0;
        for (int64_t i = 0; i < D; i++) sum += y[i] * row[i];
        d = hs_worse(d, logits[v], sum);
    }
    double m = largest(logits, V);
    free(row);
    free(y);
    return rc ? rc : hs_checks_add(b->out, "last lens row = logits", d, m, product_share(b) * m);
}

static int attributions_add_up(const lab *b) {
    const hs_prompt prompt = {.id = "law", .tokens = b->tokens, .n_token = b->n};
    const int64_t last = b->n - 1;
    const hs_lens_at at = {&prompt, &last, 1, HS_LENS_TOP, HS_LENS_NONE};
    double m = 0;
    hs_lens *lens;
    hs_lens_result r;
    int rc = hs_lens_open(&lens, &(hs_lens_opts){.model = b->model, .dla = true});
    if (!rc) rc = hs_lens_run(lens, &at, &r);
    for (int h = 0; !rc && h < b->dims.n_layer * b->dims.n_head; h++) m += fabs(r.dla->head[h]);
    if (!rc) m += fabs(r.dla->logit) + fabs(r.dla->embed);
    if (!rc)
        rc = hs_checks_add(b->out, "sum of attributions = logit", fabs(r.dla->rest), m,
                           product_share(b) * m);
    hs_lens_close(lens);
    return rc;
}

// ---- laws of what changes nothing -----------------------------------------------------------

static int edit_nothing(void *ctx, const hs_site *site, const hs_view *view) {
    (void)ctx, (void)site, (void)view;
    return HS_OK;
}

static int edit_no_tile(void *ctx, const hs_tile *tile, int worker) {
    (void)ctx, (void)tile, (void)worker;
    return HS_OK;
}

// Zeroes what it is given: [n_row, a, b].
static int edit_zero(void *ctx, const hs_site *site, const hs_view *v) {
    (void)ctx;
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t a = 0; a < v->shape[1]; a++)
            for (int64_t b = 0; b < (v->ndim > 2 ? v->shape[2] : 1); b++)
                ((float *)v->data)[r * v->stride[0] + a * v->stride[1] +
                                   (v->ndim > 2 ? b * v->stride[2] : 0)] = 0;
    return HS_OK;
}

static int edits(const lab *b) {
    uint64_t *all = NULL, *z = NULL, writable = 0;
    hs_capture *c = NULL;
    for (int p = 0; p < HS_N_POINT; p++)
        if (hs_point_infos[p].writable) writable |= HS_BIT(p);
    int rc = make_sets(&b->dims, writable, &all);
    if (!rc) rc = make_sets(&b->dims, HS_BIT(HS_Z), &z);
    hs_hook nothing = {.points = all, .write = true, .rows = edit_nothing, .tile = edit_no_tile};
    hs_hook zero = {.points = z, .write = true, .rows = edit_zero};
    if (!rc)
        rc = same_bits(b, "edits that change nothing leave the logits",
                       &(variant){.points = HS_BIT(HS_LOGITS), .edit = &nothing}, HS_LOGITS);
    if (!rc) rc = run(b, &(variant){.points = HS_BIT(HS_LOGITS), .edit = &zero}, &c);
    if (!rc) {
        double d = 0;
        const float *x = hs_capture_at(b->base, HS_LOGITS, -1);
        const float *y = hs_capture_at(c, HS_LOGITS, -1);
        for (int64_t i = 0; i < hs_capture_count(c, HS_LOGITS); i++) d = hs_worse(d, x[i], y[i]);
        // Passes when something moved: 0 off says so, 1 says that nothing did.
        rc = hs_checks_add(b->out, "zeroing every head's z moves the logits", d > 0 ? 0 : 1, 0, 0);
    }
    hs_capture_close(c);
    free(all);
    free(z);
    return rc;
}

static int watching_changes_nothing(const lab *b) {
    return same_bits(b, "logits do not depend on who watches",
                     &(variant){.points = HS_BIT(HS_LOGITS)}, HS_LOGITS);
}

static int token_by_token(const lab *b) {
    return same_bits(b, "prefill = token by token",
                     &(variant){.points = HS_BIT(HS_LOGITS), .one_by_one = true}, HS_LOGITS);
}

static int batch_is_alone(const lab *b) {
    return same_bits(b, "in a batch = alone",
                     &(variant){.points = HS_BIT(HS_LOGITS), .others = true}, HS_LOGITS);
}

static int tiles_do_not_matter(const lab *b) {
    int rc = same_bits(b, "pattern in tiles of 1 row = whole",
                       &(variant){.points = HS_BIT(HS_PATTERN), .tile_rows = 1}, HS_PATTERN);
    if (rc) return rc;
    return same_bits(b, "pattern in tiles of 7 rows = whole",
                     &(variant){.points = HS_BIT(HS_PATTERN), .tile_rows = 7}, HS_PATTERN);
}

static int one_thread(const lab *b) {
    hs_model_options one = *b->again;
    hs_model *model;
    one.threads = 1;
    one.weights = HS_WEIGHT_EXPAND;
    int rc = hs_cli_model_open(&model, b->path, &one, NULL);
    if (rc) return rc;
    rc = same_bits(b, "one thread and packed weights = all threads and f32 weights",
                   &(variant){.model = model, .points = HS_BIT(HS_LOGITS)}, HS_LOGITS);
    hs_model_close(model);
    return rc;
}

// ---- all of them ----------------------------------------------------------------------------

static int (*const laws[])(const lab *b) = {
    rows_sum_to_one,
    pattern_is_softmax,
    z_is_pattern_v,
    attn_out_is_z_w_o,
    summaries_match,
    residual_adds_up,
    stream_is_a_sum,
    logits_are_last_lens,
    attributions_add_up,
    edits,
    watching_changes_nothing,
    token_by_token,
    batch_is_alone,
    tiles_do_not_matter,
    one_thread,
};
enum { N_LAW = sizeof laws / sizeof *laws };

int hs_verify_laws(hs_checks *out, const hs_model *model, const char *path,
                   const hs_model_options *again, const hs_progress *progress) {
    const hs_config *c = hs_model_config(model);
    lab b = {.out = out,
             .model = model,
             .path = path,
             .again = again,
             .dims = hs_dims_of(model),
             .n = c->n_ctx < ROWS ? c->n_ctx : ROWS};
    hs_prng random = hs_prng_seed(1);
    for (int i = 0; i < ROWS; i++)
        b.tokens[i] = (int32_t)hs_prng_below(&random, (uint64_t)c->n_vocab);
    for (int i = 0; i < OTHER_ROWS; i++)
        b.other[i] = (int32_t)hs_prng_below(&random, (uint64_t)c->n_vocab);
    int rc = run(&b, &(variant){.points = b.dims.points & ~HS_BIT(HS_RESULT)}, &b.base);
    for (int i = 0; !rc && i < N_LAW; i++) {
        rc = hs_progress_step(progress, "checking laws", i, N_LAW);
        if (!rc) rc = laws[i](&b);
    }
    hs_capture_close(b.base);
    return rc;
}
