// Massive activations (Sun et al. 2024): the largest |x| of the residual stream after each block,
// where it is, and the median of |x| over T x D. The median is exact (median.h): a layer's |x| are
// kept until its last row came. Memory: T x D floats for each layer whose rows are still coming;
// that is one layer in a recording, and all layers only when rows are decoded one by one.
// NaN entries are left out of the maxima and sort above everything in the median.
#include <math.h>
#include <stdlib.h>

#include "analyses/median.h"
#include "analyses/observer.h"
#include "model/core/mem.h"

enum { N_TOP = 3 };
static const uint32_t key_inf = 0x7f800000;

struct top {
    uint32_t key; // bits of |x|
    float value;
    int64_t pos, channel;
};

struct layer {
    uint32_t *key; // [n_row][d_model] bits of |x|; NULL before the first and after the last row
    int64_t n_row;
    struct top top[N_TOP]; // descending; ties keep the earlier entry
    int n_top;
    double median;
};

struct state {
    int n_layer;
    int64_t d_model, n_row;
    double thr, ratio;
    struct layer *layer;
    uint64_t *count; // [HS_MEDIAN_COUNTS]
};

static void massive_close(void *state) {
    struct state *st = state;
    if (!st) return;
    for (int l = 0; st->layer && l < st->n_layer; l++) free(st->layer[l].key);
    free(st->layer);
    free(st->count);
    free(st);
}

static int massive_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->d_model = subject->dims.d_model;
    st->n_row = subject->n_row;
    st->thr = hs_args_num(args, "thr");
    st->ratio = hs_args_num(args, "ratio");
    rc = hs_alloc(&st->layer, (size_t)st->n_layer, sizeof *st->layer);
    if (!rc) rc = hs_alloc(&st->count, HS_MEDIAN_COUNTS, sizeof *st->count);
    return rc;
}

static void end_layer(struct state *st, struct layer *y) {
    const int64_t n = y->n_row * st->d_model;
    if (n > 0) y->median = hs_median_size(y->key, n, st->count);
    free(y->key);
    y->key = NULL;
}

// ---- rows ---------------------------------------------------------------------------------------

static void insert_top(struct layer *y, struct top t) {
    int at = y->n_top < N_TOP ? y->n_top++ : N_TOP - 1;
    for (; at > 0 && y->top[at - 1].key < t.key; at--) y->top[at] = y->top[at - 1];
    y->top[at] = t;
}

static int massive_rows(void *state, const hs_site *site, const hs_view *view) {
    struct state *st = state;
    struct layer *y = &st->layer[site->layer];
    if (!y->key) {
        int rc = hs_alloc(&y->key, (size_t)st->n_row, (size_t)st->d_model * sizeof *y->key);
        if (rc) return rc;
    }
    for (int64_t r = 0; r < site->n_row; r++) {
        const float *row = (const float *)view->data + r * view->stride[0];
        uint32_t *key = y->key + (site->row0 + r) * st->d_model;
        for (int64_t c = 0; c < st->d_model; c++) {
            key[c] = hs_size_key(row[c]);
            const uint32_t least = y->n_top < N_TOP ? 0 : y->top[N_TOP - 1].key;
            if ((key[c] > least || y->n_top < N_TOP) && key[c] <= key_inf)
                insert_top(y, (struct top){key[c], row[c], site->row0 + r, c});
        }
    }
    y->n_row += site->n_row;
    if (y->n_row == st->n_row) end_layer(st, y);
    return HS_OK;
}

// ---- results ------------------------------------------------------------------------------------

static int emit_layer(const struct state *st, const hs_emit *emit, int layer) {
    const struct layer *y = &st->layer[layer];
    int rc = HS_OK;
    for (int i = 0; i < y->n_top && !rc; i++) {
        const struct top *t = &y->top[i];
        const double size = fabs((double)t->value);
        const hs_value values[] = {
            {.type = HS_VAL_INT, .i = layer},
            {.type = HS_VAL_INT, .i = i},
            {.type = HS_VAL_INT, .i = t->pos},
            {.type = HS_VAL_INT, .i = t->channel},
            {.type = HS_VAL_NUM, .f = (double)t->value},
            {.type = isnan(y->median) ? HS_VAL_NULL : HS_VAL_NUM, .f = y->median},
            {.type = y->median > 0 ? HS_VAL_NUM : HS_VAL_NULL, .f = size / y->median},
            {.type = HS_VAL_INT, .i = size > st->thr && size >= st->ratio * y->median},
        };
        rc = emit->row(emit->ctx, "top", values);
    }
    return rc;
}

static int massive_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer && !rc; l++) {
        if (st->layer[l].key) end_layer(st, &st->layer[l]);
        rc = emit_layer(st, emit, l);
    }
    return rc;
}

static const hs_param params[] = {
    {"thr", HS_PARAM_NUM, "100", 0, INFINITY, NULL, NULL, "|x| must exceed this"},
    {"ratio", HS_PARAM_NUM, "1000", 0, INFINITY, NULL, NULL,
     "|x| must be at least this times the median of |x|"},
    {0},
};

static const hs_column top_columns[] = {
    {"layer", "INTEGER", "", "layer, from 0"},
    {"rank", "INTEGER", "", "0 for the largest |x| of the layer, then 1 and 2"},
    {"pos", "INTEGER", "position", "where it is"},
    {"channel", "INTEGER", "", "and in which channel"},
    {"value", "REAL", "", "the activation, with its sign"},
    {"median", "REAL", "", "median of |x| over all positions and channels of the layer"},
    {"ratio", "REAL", "", "|value| / median; NULL when the median is 0"},
    {"massive", "INTEGER", "", "1 when |value| > thr and |value| >= ratio times the median"},
    {0},
};

static const hs_result_table tables[] = {
    {"top", top_columns, 2, "the three largest activations of the residual after each block"},
    {0},
};

const hs_observer hs_observer_massive = {
    .name = "massive",
    .title = "Massive activations",
    .about = "The largest activations of the residual stream after each block, against the median "
             "of their layer.",
    .reference = "Sun et al. 2024, arXiv 2402.17762",
    .params = params,
    .points = HS_BIT(HS_RESID_POST),
    .tables = tables,
    .open = massive_open,
    .rows = massive_rows,
    .finish = massive_finish,
    .close = massive_close,
};
