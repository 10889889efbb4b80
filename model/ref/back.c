// The reference backend's gradients: every formula in plain loops, sums from the first term to the
// last.
//
//     y = x W^T             dx = dy W
//     y = n w + b           dx = (g - [mean g] - n mean(g n)) / scale, g = dy w; the mean of g for
//                           LayerNorm only
//     A = softmax(s), s = scale q k, z = A v
//                           dv_j = sum_i A_ij dz_i,  dA_ij = dz_i v_j,
//                           ds_ij = A_ij (dA_ij - sum_k A_ik dA_ik),
//                           dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i
#include <math.h>
#include <string.h>

#include "model/elem.h"
#include "model/ref/ref.h"

// ---- products -----------------------------------------------------------------------------------

enum { ROWS = 16 }; // of dx in a task: a row of W is opened once for them

struct linear_job {
    hs_dev *dev;
    double *dx;
    int64_t ld_dx;
    const hs_product_back *p;
    int n_product;
    int64_t n_rows;
};

static int linear_task(void *arg, int64_t task, int worker) {
    const struct linear_job *j = arg;
    const int64_t K = hs_ref_weight_view(j->p->w)->shape[1], from = task * ROWS;
    const int64_t end = j->n_rows - from < ROWS ? j->n_rows : from + ROWS;
    double *row = j->dev->scratch[worker];
    for (int64_t r = from; r < end; r++) memset(j->dx + r * j->ld_dx, 0, (size_t)K * sizeof *row);
    for (int i = 0; i < j->n_product; i++) {
        const hs_product_back *p = &j->p[i];
        for (int64_t n = 0; n < hs_ref_weight_view(p->w)->shape[0]; n++) {
            hs_ref_weight_row(p->w, n, row);
            for (int64_t r = from; r < end; r++) {
                const double dy = ((const double *)p->dy)[r * p->ld_dy + n];
                for (int64_t k = 0; k < K; k++) j->dx[r * j->ld_dx + k] += dy * row[k];
            }
        }
    }
    return HS_OK;
}

int hs_ref_linear_back(hs_dev *dev, void *dx, int64_t ld_dx, const hs_product_back *p,
                       int n_product, int64_t n_rows) {
    if (n_product < 1) return HS_OK;
    struct linear_job job = {dev, dx, ld_dx, p, n_product, n_rows};
    int rc = hs_ref_scratch(dev, hs_ref_weight_view(p->w)->shape[1]);
    return rc ? rc : hs_pool_run(dev->pool, (n_rows + ROWS - 1) / ROWS, linear_task, &job);
}

// ---- rows of logits -----------------------------------------------------------------------------

struct softmax_job {
    float *x;
    int64_t ld, n;
    const double *lse;
    float by;
};

static int softmax_task(void *arg, int64_t r, int worker) {
    (void)worker;
    const struct softmax_job *j = arg;
    float *x = j->x + r * j->ld;
    for (int64_t k = 0; k < j->n; k++)
        x[k] = (float)((double)j->by * exp((double)x[k] - j->lse[r]));
    return HS_OK;
}

int hs_ref_softmax(hs_dev *dev, float *x, int64_t ld, const double *lse, int64_t n_rows, int64_t n,
                   float by) {
    struct softmax_job job = {x, ld, n, lse, by};
    return hs_pool_run(dev->pool, n_rows, softmax_task, &job);
}

// ---- normalisation ------------------------------------------------------------------------------

struct norm_job {
    double *dx;
    const double *dy, *normalized, *scale;
    int64_t d;
    const float *w;
    bool centred;
};

static int norm_task(void *arg, int64_t r, int worker) {
    (void)worker;
    const struct norm_job *j = arg;
    const double *dy = j->dy + r * j->d, *n = j->normalized + r * j->d;
    double mean = 0, along = 0;
    for (int64_t i = 0; i < j->d; i++) {
        const double g = dy[i] * (double)j->w[i];
        mean += j->centred ? g : 0;
        along += g * n[i];
    }
    mean /= (double)j->d;
    along /= (double)j->d;
    for (int64_t i = 0; i < j->d; i++)
        j->dx[r * j->d + i] += (dy[i] * (double)j->w[i] - mean - n[i] * along) / j->scale[r];
    return HS_OK;
}

int hs_ref_norm_back(hs_dev *dev, void *dx, const void *dy, const void *normalized,
                     const void *scale, int64_t n_rows, int64_t d, const float *w,
                     enum hs_norm kind) {
    struct norm_job job = {dx, dy, normalized, scale, d, w, kind == HS_NORM_LAYER};
    if (kind != HS_NORM_RMS && kind != HS_NORM_LAYER)
        return hs_fail(HS_EARG, "this model has no normalisation to differentiate");
    return hs_pool_run(dev->pool, n_rows, norm_task, &job);
}

// ---- activations --------------------------------------------------------------------------------

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double silu_slope(double x) {
    const double s = sigmoid(x);
    return s + x * s * (1 - s);
}
static double gelu_slope(double x) {
    return 0.5 * erfc(-x * sqrt(0.5)) + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
}
static double gelu_tanh_slope(double x) {
    const double c = sqrt(2 / acos(-1)), t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}
static double gelu_quick_slope(double x) {
    const double s = sigmoid(1.702 * x);
    return s + 1.702 * x * s * (1 - s);
}
static double relu_slope(double x) {
    return x > 0 ? 1 : 0;
}

static double (*const slopes[HS_ACT_N])(double) = {
    [HS_ACT_SILU] = silu_slope,           [HS_ACT_GELU] = gelu_slope,
    [HS_ACT_GELU_TANH] = gelu_tanh_slope, [HS_ACT_GELU_QUICK] = gelu_quick_slope,
    [HS_ACT_RELU] = relu_slope,
};

enum { RUN = 4096 }; // numbers of a task

struct act_job {
    double *dpre, *dlinear;
    const double *dy, *pre, *linear;
    int64_t n;
    double (*act)(double), (*slope)(double);
};

static int act_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct act_job *j = arg;
    for (int64_t i = task * RUN; i < (task + 1) * RUN && i < j->n; i++) {
        const double dy = j->dy[i], pre = j->pre[i], linear = j->linear ? j->linear[i] : 1;
        j->dpre[i] = dy * linear * j->slope(pre);
        if (j->linear) j->dlinear[i] = dy * j->act(pre);
    }
    return HS_OK;
}

int hs_ref_act_back(hs_dev *dev, void *dpre, void *dlinear, const void *dy, const void *pre,
                    const void *linear, int64_t n, enum hs_act kind) {
    struct act_job job = {dpre, dlinear, dy, pre, linear, n, hs_ref_acts[kind], slopes[kind]};
    return hs_pool_run(dev->pool, (n + RUN - 1) / RUN, act_task, &job);
}

// ---- attention ----------------------------------------------------------------------------------

struct attn_job {
    hs_dev *dev;
    const hs_attn_back *a;
};

// The vectors of one head, from a sequence's first row on.
struct head {
    int head, seq;
    const double *q, *k, *v, *dz;
    double *dq, *dk, *dv;
};

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

// Has keys of a row masked as they were on the way up; `shown` has room for its scores.
static int mask_row(const hs_attn_back *a, const struct head *h, int64_t i, double *score,
                    float *shown, int worker) {
    const hs_tile tile = {.point = HS_SCORES,
                          .layer = a->layer,
                          .head = h->head,
                          .seq = h->seq,
                          .row0 = i,
                          .n_row = 1,
                          .n_key = i + 1,
                          .row = shown,
                          .ld = i + 1};
    if (!a->tile_want || !a->tile_want[h->head]) return HS_OK;
    for (int64_t j = 0; j <= i; j++) shown[j] = (float)score[j];
    int rc = a->edits->tile(a->edits->ctx, &tile, true, worker);
    hs_elem_take(HS_F64, score, shown, i + 1);
    return rc;
}

// Query row i sees the keys 0 .. i; `weight` and `slope` have room for as many numbers.
static int attn_row(const hs_attn_back *a, const struct head *h, int64_t i, double *weight,
                    double *slope, int worker) {
    const int64_t d = a->d_head;
    const double *q = h->q + i * a->ld_q, *dz = h->dz + i * a->ld_q;
    double most = -INFINITY, sum = 0, mean = 0;
    for (int64_t j = 0; j <= i; j++) weight[j] = a->scale * dot(q, h->k + j * a->ld_kv, d);
    int rc = mask_row(a, h, i, weight, (void *)slope, worker);
    if (rc) return rc;
    for (int64_t j = 0; j <= i; j++)
        if (weight[j] > most) most = weight[j];
    for (int64_t j = 0; j <= i; j++)
        sum += weight[j] = most == -INFINITY ? 0 : exp(weight[j] - most);
    for (int64_t j = 0; j <= i; j++) {
        if (sum > 0) weight[j] /= sum; // a row that sees no key weighs nothing
        slope[j] = dot(dz, h->v + j * a->ld_kv, d);
        mean += weight[j] * slope[j];
    }
    memset(h->dq + i * a->ld_q, 0, (size_t)d * sizeof *h->dq);
    for (int64_t j = 0; j <= i; j++) {
        const double ds = a->scale * weight[j] * (slope[j] - mean);
        for (int64_t c = 0; c < d; c++) {
            h->dq[i * a->ld_q + c] += ds * h->k[j * a->ld_kv + c];
            h->dk[j * a->ld_kv + c] += ds * q[c];
            h->dv[j * a->ld_kv + c] += weight[j] * dz[c];
        }
    }
    return HS_OK;
}

// A sequence's keys and values of one head, with all the heads that share them.
static int attn_task(void *arg, int64_t task, int worker) {
    const struct attn_job *j = arg;
    const hs_attn_back *a = j->a;
    const int64_t kv = task % a->n_kv_head, *seq = a->seq + task / a->n_kv_head;
    const int64_t n = seq[1] - seq[0], group = a->n_head / a->n_kv_head;
    const int64_t at_q = seq[0] * a->ld_q, at_kv = seq[0] * a->ld_kv + kv * a->d_head;
    double *weight = j->dev->scratch[worker];
    int rc = HS_OK;
    struct head h = {.seq = (int)(task / a->n_kv_head),
                     .k = (const double *)a->k + at_kv,
                     .v = (const double *)a->v + at_kv,
                     .dk = (double *)a->dk + at_kv,
                     .dv = (double *)a->dv + at_kv};
    for (int64_t i = 0; i < n; i++) {
        memset(h.dk + i * a->ld_kv, 0, (size_t)a->d_head * sizeof *h.dk);
        memset(h.dv + i * a->ld_kv, 0, (size_t)a->d_head * sizeof *h.dv);
    }
    for (int64_t at = kv * group; at < (kv + 1) * group; at++) {
        h.q = (const double *)a->q + at_q + at * a->d_head;
        h.dz = (const double *)a->dz + at_q + at * a->d_head;
        h.dq = (double *)a->dq + at_q + at * a->d_head;
        h.head = (int)at;
        for (int64_t i = 0; i < n && !rc; i++) rc = attn_row(a, &h, i, weight, weight + n, worker);
    }
    return rc;
}

int64_t hs_ref_back_scratch(const hs_extent *e) {
    return e->back_rows ? 2 * e->n_key > e->width ? 2 * e->n_key : e->width : 0;
}

int hs_ref_attention_back(hs_dev *dev, const hs_attn_back *a) {
    int64_t longest = 0;
    for (int s = 0; s < a->n_seq; s++)
        if (a->seq[s + 1] - a->seq[s] > longest) longest = a->seq[s + 1] - a->seq[s];
    if (a->n_kv_head < 1 || a->n_head % a->n_kv_head)
        return hs_fail(HS_EARG, "attention: %lld heads share %lld keys", (long long)a->n_head,
                       (long long)a->n_kv_head);
    int rc = hs_ref_scratch(dev, 2 * longest);
    return rc ? rc
              : hs_pool_run(dev->pool, a->n_seq * a->n_kv_head, attn_task,
                            &(struct attn_job){dev, a});
}
