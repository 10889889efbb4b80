// Value drains and residual peaks (Guo et al. 2024, Gu et al. 2025): a sink's value vector is
// small, so that attending to it writes next to nothing, and its residual is large.
//
// value_drain is |v_0| over the mean |v_j| of the others; value_drain_out the same for v_j W_O^h,
// what the head would write if it looked at j alone. |v W|^2 = v G v' with the Gram matrix
// G = W W' of one head, d_head x d_head in f64, made once a layer: T x d_head^2 work a head instead
// of T x d_head x d_model. A layer's values are kept until its last row came, T x n_kv_head x d_head
// floats for each layer whose rows are still coming; norms, O(T) a head, stay.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/observer.h"
#include "model/core/mem.h"

struct layer {
    float *v;    // [n_row][n_kv_head][d_head], NULL before the first and after the last row
    int64_t n_v; // rows of v that came
    int64_t n_resid;
    double *value; // [n_kv_head][cap] |v_j|
    double *out;   // [n_head][cap] |v_j W_O^h|; NULL without weights
    double *resid; // [cap] |x_j| after the block
};

struct state {
    hs_dims dims;
    const hs_model *model;
    int64_t cap;
    struct layer *layer;
    double *gram;  // [n_head][d_head][d_head] of the layer in work
    float *weight; // [n_head][d_head], a row of W_O
};

static void drains_close(void *state) {
    struct state *st = state;
    if (!st) return;
    for (int l = 0; st->layer && l < st->dims.n_layer; l++) {
        free(st->layer[l].v);
        free(st->layer[l].value);
        free(st->layer[l].out);
        free(st->layer[l].resid);
    }
    free(st->layer);
    free(st->gram);
    free(st->weight);
    free(st);
}

static int open_layer(struct state *st, struct layer *y) {
    const size_t cap = (size_t)st->cap;
    int rc = hs_alloc(&y->value, (size_t)st->dims.n_kv_head, cap * sizeof *y->value);
    if (!rc && st->model) rc = hs_alloc(&y->out, (size_t)st->dims.n_head, cap * sizeof *y->out);
    if (!rc) rc = hs_alloc(&y->resid, cap, sizeof *y->resid);
    return rc;
}

static int drains_open(void **state, const hs_subject *subject, const hs_args *args) {
    (void)args;
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->dims = subject->dims;
    st->model = subject->model;
    st->cap = subject->n_row;
    const size_t d_head = (size_t)st->dims.d_head;
    const size_t n_gram = st->model ? (size_t)st->dims.n_head * d_head : 0;
    rc = hs_alloc(&st->layer, (size_t)st->dims.n_layer, sizeof *st->layer);
    if (!rc) rc = hs_alloc(&st->gram, n_gram, d_head * sizeof *st->gram);
    if (!rc) rc = hs_alloc(&st->weight, (size_t)st->dims.n_head, d_head * sizeof *st->weight);
    for (int l = 0; l < st->dims.n_layer && !rc; l++) rc = open_layer(st, &st->layer[l]);
    return rc;
}

static double norm(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

// ---- through the output projection --------------------------------------------------------------

// The upper triangles of every head's G, from W_O's rows: G_ab = sum_n W[n][a] W[n][b] over the
// columns of the head.
static int make_grams(struct state *st, int layer) {
    const int64_t d = st->dims.d_head;
    memset(st->gram, 0, (size_t)(st->dims.n_head * d * d) * sizeof *st->gram);
    for (int64_t n = 0; n < st->dims.d_model; n++) {
        int rc = hs_model_weight_row(st->model, HS_W_O, layer, n, st->weight);
        if (rc) return rc;
        for (int64_t a = 0; a < st->dims.n_head * d; a++) {
            double *row = st->gram + a * d;
            const float *w = st->weight + a / d * d;
            for (int64_t b = a % d; b < d; b++) row[b] += (double)w[a % d] * (double)w[b];
        }
    }
    return HS_OK;
}

static double gram_norm(const double *gram, const float *v, int64_t d) {
    double sum = 0;
    for (int64_t a = 0; a < d; a++) {
        double rest = 0;
        for (int64_t b = a + 1; b < d; b++) rest += gram[a * d + b] * (double)v[b];
        sum += (double)v[a] * (gram[a * d + a] * (double)v[a] + 2 * rest);
    }
    return sum > 0 ? sqrt(sum) : 0;
}

static int end_layer(struct state *st, int layer) {
    struct layer *y = &st->layer[layer];
    const int64_t d = st->dims.d_head, width = d * st->dims.n_kv_head;
    const int group = st->dims.n_head / st->dims.n_kv_head;
    int rc = make_grams(st, layer);
    for (int h = 0; h < st->dims.n_head && !rc; h++)
        for (int64_t j = 0; j < y->n_v; j++)
            y->out[h * st->cap + j] = gram_norm(st->gram + h * d * d,
                                                y->v + j * width + h / group * d, d);
    free(y->v);
    y->v = NULL;
    return rc;
}

// ---- rows ---------------------------------------------------------------------------------------

static int take_values(struct state *st, const hs_site *site, const hs_view *view) {
    struct layer *y = &st->layer[site->layer];
    const int64_t d = st->dims.d_head, width = d * st->dims.n_kv_head;
    if (!y->v && y->out) {
        int rc = hs_alloc(&y->v, (size_t)st->cap, (size_t)width * sizeof *y->v);
        if (rc) return rc;
    }
    for (int64_t r = 0; r < site->n_row; r++)
        for (int g = 0; g < st->dims.n_kv_head; g++) {
            const float *v = (const float *)view->data + r * view->stride[0] + g * view->stride[1];
            const int64_t j = site->row0 + r;
            y->value[g * st->cap + j] = norm(v, d);
            if (y->out) memcpy(y->v + j * width + g * d, v, (size_t)d * sizeof *v);
        }
    y->n_v += site->n_row;
    return y->v && y->n_v == st->cap ? end_layer(st, site->layer) : HS_OK;
}

static int drains_rows(void *state, const hs_site *site, const hs_view *view) {
    struct state *st = state;
    if (site->point == HS_V) return take_values(st, site, view);
    struct layer *y = &st->layer[site->layer];
    for (int64_t r = 0; r < site->n_row; r++)
        y->resid[site->row0 + r] = norm((const float *)view->data + r * view->stride[0],
                                        st->dims.d_model);
    y->n_resid += site->n_row;
    return HS_OK;
}

// ---- results ------------------------------------------------------------------------------------

// x_0 over the mean of the others, NaN with a reason when there are none or their mean is 0.
static double drain(const double *x, int64_t n, const char **reason) {
    double sum = 0;
    for (int64_t j = 1; j < n; j++) sum += x[j];
    *reason = n < 2 ? "there is no other position" : sum > 0 ? NULL : "the other values are 0";
    return *reason ? (double)NAN : x[0] / (sum / (double)(n - 1));
}

static int emit_norms(const hs_emit *emit, int layer, int head, const char *metric,
                      const char *series, const double *x, int64_t n) {
    const char *reason = "it needs the model's weights, and no model is at hand";
    const double value = x ? drain(x, n, &reason) : (double)NAN;
    int rc = emit->metric(emit->ctx, layer, head, metric, value, reason);
    if (!rc && x && n) rc = emit->series(emit->ctx, layer, head, series, x, n);
    return rc;
}

static int emit_peak(const struct layer *y, const hs_emit *emit, int layer) {
    int64_t other = 1;
    for (int64_t j = 2; j < y->n_resid; j++)
        if (y->resid[j] > y->resid[other]) other = j;
    if (!y->n_resid) return HS_OK;
    const bool two = y->n_resid > 1, peak = two && y->resid[other] > 0;
    const hs_value row[] = {
        {.type = HS_VAL_INT, .i = layer},
        {.type = HS_VAL_NUM, .f = y->resid[0]},
        {.type = two ? HS_VAL_NUM : HS_VAL_NULL, .f = two ? y->resid[other] : 0},
        {.type = two ? HS_VAL_INT : HS_VAL_NULL, .i = other},
        {.type = peak ? HS_VAL_NUM : HS_VAL_NULL, .f = peak ? y->resid[0] / y->resid[other] : 0},
    };
    int rc = emit->row(emit->ctx, "peak", row);
    if (!rc) rc = emit->series(emit->ctx, layer, -1, "resid_norm", y->resid, y->n_resid);
    return rc;
}

static int emit_layer(const struct state *st, const hs_emit *emit, int layer) {
    const struct layer *y = &st->layer[layer];
    const int group = st->dims.n_head / st->dims.n_kv_head;
    int rc = HS_OK;
    for (int h = 0; h < st->dims.n_head && !rc; h++) {
        rc = emit_norms(emit, layer, h, "value_drain", "value_norm", y->value + h / group * st->cap,
                        y->n_v);
        if (!rc)
            rc = emit_norms(emit, layer, h, "value_drain_out", "value_out_norm",
                            y->out ? y->out + h * st->cap : NULL, y->n_v);
    }
    return rc ? rc : emit_peak(y, emit, layer);
}

static int drains_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->dims.n_layer && !rc; l++) {
        if (st->layer[l].v) rc = end_layer(st, l);
        if (!rc) rc = emit_layer(st, emit, l);
    }
    return rc;
}

static const hs_metric metrics[] = {
    {"value_drain", "", "|v_0| over the mean |v_j| of the other positions", HS_SEQUENTIAL},
    {"value_drain_out", "", "|v_0 W_O| over the mean |v_j W_O| of the other positions",
     HS_SEQUENTIAL},
    {0},
};

static const hs_metric series[] = {
    {"value_norm", "", "|v_j| of the head's key-value head, by position", HS_SEQUENTIAL},
    {"value_out_norm", "", "|v_j W_O| of the head, by position", HS_SEQUENTIAL},
    {"resid_norm", "", "norm of the residual after the block, by position", HS_SEQUENTIAL},
    {0},
};

static const hs_column peak_columns[] = {
    {"layer", "INTEGER", "", "layer, from 0"},
    {"first_norm", "REAL", "", "norm of the residual after the block at position 0"},
    {"other_norm", "REAL", "", "the largest such norm at any other position"},
    {"other_pos", "INTEGER", "position", "and that position"},
    {"peak", "REAL", "", "first_norm / other_norm"},
    {0},
};

static const hs_result_table tables[] = {
    {"peak", peak_columns, 1, "residual norm of the first token against the others, by layer"},
    {0},
};

const hs_observer hs_observer_drains = {
    .name = "drains",
    .title = "Value drains and residual peaks",
    .about = "How small the first token's values are, plain and through the output projection, and "
             "how large its residual is, against the other positions.",
    .reference = "Guo et al. 2024, arXiv 2410.13835; Gu et al. 2025, arXiv 2410.10781",
    .points = HS_BIT(HS_V) | HS_BIT(HS_RESID_POST),
    .weights = true,
    .metrics = metrics,
    .series = series,
    .tables = tables,
    .open = drains_open,
    .rows = drains_rows,
    .finish = drains_finish,
    .close = drains_close,
};
