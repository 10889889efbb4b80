// verify: the laws of the residual stream and of the logits that it ends in.
#include <math.h>
#include <stdlib.h>

#include "analyses/experiments/lens.h"
#include "cli/verify/lab.h"
#include "model/core/mem.h"

static int residual_adds_up(const hs_lab *b) {
    hs_worst mid = {0}, post = {0};
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
        hs_worst_take(&mid, d_mid, hs_lab_largest(half, b->n * b->dims.d_model));
        hs_worst_take(&post, d_post, hs_lab_largest(end, b->n * b->dims.d_model));
    }
    int rc = hs_worst_add(
        b, mlp ? "resid_pre + attn_out = resid_mid" : "resid_pre + attn_out = resid_post", &mid,
        1e-6);
    return rc || !mlp ? rc : hs_worst_add(b, "resid_mid + mlp_out = resid_post", &post, 1e-6);
}

// What all layers added to the stream gives its last state: with the law of the logits below, that
// logits are sums of direct attributions.
static int stream_is_a_sum(const hs_lab *b) {
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
static void final_norm(const hs_lab *b, const float *x, double *y) {
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

static int logits_are_last_lens(const hs_lab *b) {
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
    double m = hs_lab_largest(logits, V);
    free(row);
    free(y);
    return rc ? rc
              : hs_checks_add(b->out, "last lens row = logits", d, m, hs_lab_product_share(b) * m);
}

static int attributions_add_up(const hs_lab *b) {
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
                           hs_lab_product_share(b) * m);
    hs_lens_close(lens);
    return rc;
}

hs_law *const hs_stream_laws[] = {residual_adds_up, stream_is_a_sum, logits_are_last_lens,
                                  attributions_add_up, NULL};
