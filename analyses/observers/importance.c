// Token importance as RSQ has it (attention concentration): R_j = sum over a layer's heads and all
// rows of A_ij, without any correction for how many rows see j, scaled between the least and the most
// of the layer to r_min .. r_max. Weights of a layer's calibration tokens are r_j / mean r. A sink at
// position 0 takes r_max and leaves all others near r_min, so r is told without position 0 too.
// Memory: column sums, O(T) a head.
#include <math.h>
#include <stdlib.h>

#include "analyses/columns.h"
#include "model/core/mem.h"

struct state {
    int n_layer, n_head;
    double r_min, r_max;
    hs_columns columns;
    double *sum, *scaled; // [n_row], of the layer at hand
};

static void importance_close(void *state) {
    struct state *st = state;
    if (!st) return;
    hs_columns_close(&st->columns);
    free(st->sum);
    free(st->scaled);
    free(st);
}

static int importance_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->r_min = hs_args_num(args, "r_min");
    st->r_max = hs_args_num(args, "r_max");
    if (!(st->r_min <= st->r_max))
        return hs_fail(HS_EARG, "r_min=%g is above r_max=%g", st->r_min, st->r_max);
    rc = hs_columns_open(&st->columns, subject);
    if (!rc) rc = hs_alloc(&st->sum, (size_t)subject->n_row, sizeof *st->sum);
    if (!rc) rc = hs_alloc(&st->scaled, (size_t)subject->n_row, sizeof *st->scaled);
    return rc;
}

static int importance_tile(void *state, const hs_tile *tile) {
    hs_columns_tile(&((struct state *)state)->columns, tile);
    return HS_OK;
}

// Sums R over the heads of a layer that were seen, and counts them. Heads have the same rows.
static int add_heads(struct state *st, int layer, int64_t *n) {
    int heads = 0;
    *n = 0;
    for (int h = 0; h < st->n_head; h++) {
        const int64_t at = (int64_t)layer * st->n_head + h;
        const double *column = st->columns.sum + at * st->columns.cap;
        if (!st->columns.n_row[at]) continue;
        *n = st->columns.n_row[at];
        for (int64_t j = 0; j < *n; j++) st->sum[j] = (heads ? st->sum[j] : 0) + column[j];
        heads++;
    }
    return heads;
}

// r of positions from .. n - 1, scaled by their least and most; those before have r_max.
static const double *scale(struct state *st, int64_t from, int64_t n) {
    double least = INFINITY, most = -INFINITY;
    for (int64_t j = from; j < n; j++) {
        least = fmin(least, st->sum[j]);
        most = fmax(most, st->sum[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        const double share = j < from       ? 1
                             : most > least ? (st->sum[j] - least) / (most - least)
                                            : 0;
        st->scaled[j] = st->r_min + share * (st->r_max - st->r_min);
    }
    return st->scaled;
}

static int64_t largest(const double *x, int64_t from, int64_t n) {
    int64_t best = from;
    for (int64_t j = from; j < n; j++)
        if (x[j] > x[best]) best = j;
    return best;
}

static int emit_layer(struct state *st, const hs_emit *emit, int layer) {
    int64_t n;
    double sum = 0, all = 0;
    const int heads = add_heads(st, layer, &n);
    if (!heads) return HS_OK;
    for (int64_t j = 0; j < n; j++) all += st->sum[j];
    const hs_value row[] = {
        {.type = HS_VAL_INT, .i = layer},
        {.type = HS_VAL_INT, .i = heads},
        {.type = HS_VAL_NUM, .f = st->sum[0] / all},
        {.type = HS_VAL_INT, .i = largest(st->sum, 0, n)},
        {.type = n > 1 ? HS_VAL_INT : HS_VAL_NULL, .i = largest(st->sum, 1, n)},
    };
    int rc = emit->row(emit->ctx, "layers", row);
    if (!rc) rc = emit->series(emit->ctx, layer, -1, "received", st->sum, n);
    if (!rc) rc = emit->series(emit->ctx, layer, -1, "importance_later", scale(st, 1, n), n);
    if (!rc) rc = emit->series(emit->ctx, layer, -1, "importance", scale(st, 0, n), n);
    for (int64_t j = 0; j < n; j++) sum += st->scaled[j];
    for (int64_t j = 0; j < n && sum > 0; j++) st->scaled[j] *= (double)n / sum;
    return rc ? rc : emit->series(emit->ctx, layer, -1, "weight", st->scaled, n);
}

static int importance_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer && !rc; l++) rc = emit_layer(st, emit, l);
    return rc;
}

static const hs_param params[] = {
    {"r_min", HS_PARAM_NUM, "1", 0, 1e6, NULL, NULL, "what the least position gets"},
    {"r_max", HS_PARAM_NUM, "3", 0, 1e6, NULL, NULL, "what the most gets"},
    {0},
};

static const hs_metric series[] = {
    {"received", "", "R_j, what a position receives from all rows and heads of the layer",
     HS_SEQUENTIAL},
    {"importance", "", "r_j: R_j scaled between the layer's least and most to r_min .. r_max",
     HS_SEQUENTIAL},
    {"importance_later", "", "the same without position 0, which is put at r_max", HS_SEQUENTIAL},
    {"weight", "", "r_j / mean r, the weight of a token in RSQ's second moments", HS_SEQUENTIAL},
    {0},
};

static const hs_column layer_columns[] = {
    {"layer", "INTEGER", "", "layer, from 0"},
    {"heads", "INTEGER", "heads", "heads whose maps were seen; all of them make R"},
    {"first_share", "REAL", "", "share of position 0 in the sum of R"},
    {"top", "INTEGER", "position", "position with the largest R"},
    {"top_later", "INTEGER", "position", "the same after position 0; NULL when there is none"},
    {0},
};

static const hs_result_table tables[] = {
    {"layers", layer_columns, 1, "where the importance of a layer lies"},
    {0},
};

const hs_observer hs_observer_importance = {
    .name = "importance",
    .title = "Token importance",
    .about = "What each position receives from all heads of a layer, scaled as RSQ weighs tokens "
             "when it quantises.",
    .reference = "Sung et al., RSQ: Learning from Important Tokens Leads to Better Quantized LLMs, "
                 "2025, arXiv 2503.01820",
    .params = params,
    .points = HS_BIT(HS_PATTERN),
    .series = series,
    .tables = tables,
    .open = importance_open,
    .tile = importance_tile,
    .finish = importance_finish,
    .close = importance_close,
};
