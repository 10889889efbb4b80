// The reference backend: the forward pass in double precision, written to be read. Each operation
// is its formula in plain loops, sums run from the first term to the last, exp, erf, tanh and the
// rest are libm's. It is what every other backend is measured against, so nothing here is shared
// with them.
//
// Rows go to the pool's threads one by one. A run of 64 tokens through 135 million weights takes a
// few seconds.
#include "model/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/ref/ref.h"

// ---- open and close -----------------------------------------------------------------------------

static void ref_close(hs_dev *dev) {
    if (!dev) return;
    for (int i = 0; dev->scratch && i < dev->n_worker; i++) free(dev->scratch[i]);
    free(dev->scratch);
    hs_pool_close(dev->pool);
    free(dev);
}

static int ref_open(hs_dev **out, const hs_dev_opts *opts) {
    hs_dev *dev;
    *out = NULL;
    int rc = hs_alloc(&dev, 1, sizeof *dev);
    if (rc) return rc;
    rc = hs_pool_open(&dev->pool, opts ? opts->threads : 0);
    if (!rc) dev->n_worker = hs_pool_threads(dev->pool);
    if (!rc) rc = hs_alloc(&dev->scratch, (size_t)dev->n_worker, sizeof *dev->scratch);
    if (rc)
        ref_close(dev);
    else
        *out = dev;
    return rc;
}

static const char *ref_isa(const hs_dev *dev) {
    (void)dev;
    return "f64";
}

static hs_pool *ref_pool(hs_dev *dev) {
    return dev->pool;
}

int hs_ref_scratch(hs_dev *dev, int64_t n) {
    if (n <= dev->cap) return HS_OK;
    dev->cap = 0;
    for (int i = 0; i < dev->n_worker; i++) {
        free(dev->scratch[i]);
        int rc = hs_alloc(&dev->scratch[i], (size_t)n, sizeof **dev->scratch);
        if (rc) return rc;
    }
    dev->cap = n;
    return HS_OK;
}

// ---- stored rows --------------------------------------------------------------------------------

void hs_ref_row(const hs_view *m, int64_t row, double *out) {
    enum { RUN = 256, SIZE = sizeof *out }; // whole blocks of every format
    const int64_t d = m->shape[1];
    if (m->dtype == HS_F64) {
        const char *first = (const char *)m->data + row * m->stride[0] * SIZE;
        for (int64_t k = 0; k < d; k++) memcpy(&out[k], first + k * m->stride[1] * SIZE, SIZE);
        return;
    }
    for (int64_t k = 0, n; k < d; k += n) {
        float run[RUN];
        n = d - k < RUN ? d - k : RUN;
        hs_view_row(m, row, k, n, run);
        for (int64_t i = 0; i < n; i++) out[k + i] = (double)run[i];
    }
}

// ---- row operations -----------------------------------------------------------------------------

// One job serves all: what happens to row r is `row`, the rest are its operands.
struct job {
    void (*row)(const struct job *, int64_t r);
    int64_t d; // numbers in a row
    double *y, *scale;
    const double *a, *b;
    const float *gain, *bias;
    int64_t ld, n_head, d_head, rope_dim;
    double eps;
    enum hs_norm norm;
    double (*act)(double);
    const hs_view *table;
    const int32_t *ids;
};

static int row_task(void *arg, int64_t r, int worker) {
    const struct job *j = arg;
    (void)worker;
    j->row(j, r);
    return HS_OK;
}

static int run_rows(hs_dev *dev, int64_t n_rows, struct job *j) {
    return hs_pool_run(dev->pool, n_rows, row_task, j);
}

static void embed_row(const struct job *j, int64_t r) {
    hs_ref_row(j->table, j->ids[r], j->y + r * j->d);
}

static int ref_embed(hs_dev *dev, void *y, const hs_view *table, const int32_t *ids, int64_t n) {
    int rc = hs_view_row_check(table);
    if (rc) return rc;
    return run_rows(
        dev, n,
        &(struct job){.row = embed_row, .d = table->shape[1], .y = y, .table = table, .ids = ids});
}

static void norm_scale_row(const struct job *j, int64_t r) {
    const double *x = j->a + r * j->d;
    double mean = 0, square = 0;
    for (int64_t i = 0; j->norm == HS_NORM_LAYER && i < j->d; i++) mean += x[i];
    mean /= (double)j->d;
    for (int64_t i = 0; i < j->d; i++) square += (x[i] - mean) * (x[i] - mean);
    j->scale[r] = sqrt(square / (double)j->d + j->eps);
    for (int64_t i = 0; i < j->d; i++) j->y[r * j->d + i] = (x[i] - mean) / j->scale[r];
}

static int ref_norm_scale(hs_dev *dev, void *scale, void *normalized, const void *x, int64_t n_rows,
                          int64_t d, enum hs_norm kind, double eps) {
    if (kind != HS_NORM_RMS && kind != HS_NORM_LAYER)
        return hs_fail(HS_EARG, "this model has no normalisation to compute");
    return run_rows(dev, n_rows,
                    &(struct job){.row = norm_scale_row,
                                  .d = d,
                                  .y = normalized,
                                  .scale = scale,
                                  .a = x,
                                  .eps = eps,
                                  .norm = kind});
}

static void norm_gain_row(const struct job *j, int64_t r) {
    for (int64_t i = 0; i < j->d; i++)
        j->y[r * j->d + i] = j->a[r * j->d + i] * (double)j->gain[i] +
                             (j->bias ? (double)j->bias[i] : 0);
}

static int ref_norm_gain(hs_dev *dev, void *y, const void *normalized, int64_t n_rows, int64_t d,
                         const float *w, const float *b) {
    return run_rows(
        dev, n_rows,
        &(struct job){.row = norm_gain_row, .d = d, .y = y, .a = normalized, .gain = w, .bias = b});
}

static void rope_row(const struct job *j, int64_t r) {
    const int64_t half = j->rope_dim / 2;
    const double *cosine = j->a + r * j->rope_dim, *sine = cosine + half;
    for (int64_t h = 0; h < j->n_head; h++) {
        double *lo = j->y + r * j->ld + h * j->d_head, *hi = lo + half;
        for (int64_t i = 0; i < half; i++) {
            const double a = lo[i], b = hi[i];
            lo[i] = a * cosine[i] - b * sine[i];
            hi[i] = b * cosine[i] + a * sine[i];
        }
    }
}

static int ref_rope(hs_dev *dev, void *x, int64_t ld, int64_t n_rows, int64_t n_head,
                    int64_t d_head, int64_t rope_dim, const void *cos_sin) {
    return run_rows(dev, n_rows,
                    &(struct job){.row = rope_row,
                                  .y = x,
                                  .a = cos_sin,
                                  .ld = ld,
                                  .n_head = n_head,
                                  .d_head = d_head,
                                  .rope_dim = rope_dim});
}

// ---- element-wise -------------------------------------------------------------------------------

static double silu(double x) {
    return x / (1 + exp(-x));
}
// x Phi(x); erfc keeps the digits of its left tail.
static double gelu(double x) {
    return x * 0.5 * erfc(-x * sqrt(0.5));
}
static double gelu_tanh(double x) {
    const double u = sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
    return x * 0.5 * (1 + tanh(u));
}
static double gelu_quick(double x) {
    return x / (1 + exp(-1.702 * x));
}
static double relu(double x) {
    return x < 0 ? 0 : x;
}

double (*const hs_ref_acts[HS_ACT_N])(double) = {
    [HS_ACT_SILU] = silu,           [HS_ACT_GELU] = gelu,
    [HS_ACT_GELU_TANH] = gelu_tanh, [HS_ACT_GELU_QUICK] = gelu_quick,
    [HS_ACT_RELU] = relu,
};

// Numbers go to threads in runs of this many.
enum { RUN = 4096 };

static void act_run(const struct job *j, int64_t r) {
    for (int64_t i = r * RUN; i < (r + 1) * RUN && i < j->d; i++)
        j->y[i] = j->act(j->a[i]) * (j->b ? j->b[i] : 1);
}

static int ref_act(hs_dev *dev, void *y, const void *pre, const void *linear, int64_t n,
                   enum hs_act kind) {
    return run_rows(
        dev, (n + RUN - 1) / RUN,
        &(struct job){
            .row = act_run, .d = n, .y = y, .a = pre, .b = linear, .act = hs_ref_acts[kind]});
}

static void add_run(const struct job *j, int64_t r) {
    for (int64_t i = r * RUN; i < (r + 1) * RUN && i < j->d; i++) j->y[i] = j->a[i] + j->b[i];
}

static int ref_add(hs_dev *dev, void *y, const void *a, const void *b, int64_t n) {
    return run_rows(dev, (n + RUN - 1) / RUN,
                    &(struct job){.row = add_run, .d = n, .y = y, .a = a, .b = b});
}

static int64_t worker_scratch(const hs_extent *e) {
    const int64_t need[] = {hs_ref_linear_scratch(e), hs_ref_attention_scratch(e),
                            hs_ref_back_scratch(e)};
    int64_t most = 0;
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        if (need[i] > most) most = need[i];
    return most;
}

static int64_t ref_scratch_bytes(const hs_dev *dev, const hs_extent *e) {
    return dev->n_worker * worker_scratch(e) * (int64_t)sizeof(double);
}

static int ref_reserve(hs_dev *dev, const hs_extent *e) {
    return hs_ref_scratch(dev, worker_scratch(e));
}

const hs_backend hs_backend_ref = {
    .name = "ref",
    .dtype = HS_F64,
    .open = ref_open,
    .close = ref_close,
    .isa = ref_isa,
    .pool = ref_pool,
    .pack = hs_ref_pack,
    .unpack = hs_ref_unpack,
    .weight_bytes = hs_ref_weight_bytes,
    .linear = hs_ref_linear,
    .embed = ref_embed,
    .norm_scale = ref_norm_scale,
    .norm_gain = ref_norm_gain,
    .rope = ref_rope,
    .act = ref_act,
    .add = ref_add,
    .log_sum_exp = hs_ref_log_sum_exp,
    .divergence = hs_ref_divergence,
    .kv_open = hs_ref_kv_open,
    .kv_close = hs_ref_kv_close,
    .kv_put = hs_ref_kv_put,
    .attention = hs_ref_attention,
    .kv_bytes = hs_ref_kv_bytes,
    .softmax = hs_ref_softmax,
    .linear_back = hs_ref_linear_back,
    .norm_back = hs_ref_norm_back,
    .act_back = hs_ref_act_back,
    .attention_back = hs_ref_attention_back,
    .scratch_bytes = ref_scratch_bytes,
    .reserve = ref_reserve,
};
