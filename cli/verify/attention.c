// verify: the laws of attention, from patterns and scores to what heads add to the residual.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verify/lab.h"
#include "model/core/mem.h"

static int rows_sum_to_one(const hs_lab *b) {
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

static int pattern_is_softmax(const hs_lab *b) {
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

static int z_is_pattern_v(const hs_lab *b) {
    hs_worst w = {0};
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
        hs_worst_take(&w, d, hs_lab_largest(z, b->n * H * D));
    }
    return hs_worst_add(b, "z = pattern x v", &w, 1e-5);
}

static int attn_out_is_z_w_o(const hs_lab *b) {
    int64_t D = b->dims.d_model, K = b->dims.n_head * b->dims.d_head;
    hs_worst w = {0};
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
        hs_worst_take(&w, d, hs_lab_largest(out, b->n * D));
    }
    free(row);
    return rc ? rc : hs_worst_add(b, "sum of z W_O + b = attn_out", &w, hs_lab_product_share(b));
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

static int summaries_match(const hs_lab *b) {
    hs_worst w[HS_N_STAT], all = {0};
    for (int k = 0; k < HS_N_STAT; k++) w[k] = (hs_worst){0, 1}; // weights, nats: of the order of 1
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
    for (int k = 0; k < HS_N_STAT; k++) hs_worst_take(&all, w[k].d, w[k].m);
    return hs_worst_add(b, "row summaries = those of the pattern", &all, 1e-5);
}

hs_law *const hs_attention_laws[] = {rows_sum_to_one,   pattern_is_softmax, z_is_pattern_v,
                                     attn_out_is_z_w_o, summaries_match,    NULL};
