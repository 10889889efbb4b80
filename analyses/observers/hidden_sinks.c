// Hidden sinks after ACT (Yu et al. 2024): positions after the first that receive much more than
// their share in some head. The paper's rule compares the column mean with alpha / T, the released
// code's with an absolute threshold; position 0 is never one. Late columns average few rows, so
// both rules fire there by chance; min_rows leaves those out. The column means are stored, and the
// named query redoes the detection at any rule.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/columns.h"
#include "model/core/mem.h"

struct state {
    int n_layer, n_head;
    bool relative;
    double alpha, thr;
    int64_t min_rows;
    hs_columns columns;
};

static void hidden_close(void *state) {
    struct state *st = state;
    if (!st) return;
    hs_columns_close(&st->columns);
    free(st);
}

static int hidden_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->relative = !strcmp(hs_args_text(args, "rule"), "alphaN");
    st->alpha = hs_args_num(args, "alpha");
    st->thr = hs_args_num(args, "thr");
    st->min_rows = hs_args_int(args, "min_rows");
    return hs_columns_open(&st->columns, subject);
}

static int hidden_tile(void *state, const hs_tile *tile) {
    hs_columns_tile(&((struct state *)state)->columns, tile);
    return HS_OK;
}

static int emit_head(struct state *st, const hs_emit *emit, int layer, int head) {
    const double *mean;
    const int64_t n = hs_columns_mean(&st->columns, layer, head, &mean);
    if (!n)
        return emit->metric(emit->ctx, layer, head, "hidden_sinks", (double)NAN,
                            "no row of this head was seen");
    const double limit = st->relative ? st->alpha / (double)n : st->thr;
    int64_t count = 0;
    int rc = emit->series(emit->ctx, layer, head, "column_mean", mean, n);
    for (int64_t j = 1; j <= n - st->min_rows && !rc; j++) {
        if (!(mean[j] > limit)) continue;
        const hs_value row[] = {{.type = HS_VAL_INT, .i = layer},
                                {.type = HS_VAL_INT, .i = head},
                                {.type = HS_VAL_INT, .i = j},
                                {.type = HS_VAL_NUM, .f = mean[j]}};
        rc = emit->row(emit->ctx, "found", row);
        count++;
    }
    if (rc) return rc;
    return emit->metric(emit->ctx, layer, head, "hidden_sinks", (double)count, NULL);
}

static int hidden_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer; l++)
        for (int h = 0; h < st->n_head && !rc; h++) rc = emit_head(st, emit, l, h);
    return rc;
}

static const hs_param params[] = {
    {"rule", HS_PARAM_ENUM, "alphaN", 0, 0, "alphaN|abs", NULL,
     "alphaN: column mean > alpha / T (the paper); abs: column mean > thr (the released code)"},
    {"alpha", HS_PARAM_NUM, "5", 0, INFINITY, NULL, NULL, "factor of the rule alphaN"},
    {"thr", HS_PARAM_NUM, "0.1", 0, 1, NULL, NULL, "threshold of the rule abs"},
    {"min_rows", HS_PARAM_INT, "1", 1, INFINITY, NULL, "rows",
     "positions that fewer rows see are left out"},
    {0},
};

static const hs_metric metrics[] = {
    {"hidden_sinks", "positions", "number of hidden sinks", HS_SEQUENTIAL},
    {0},
};

static const hs_metric series[] = {
    {"column_mean", "", "a_j = sum_i A_ij / (T - j), by position", HS_SEQUENTIAL},
    {0},
};

static const hs_column found_columns[] = {
    {"layer", "INTEGER", "", "layer, from 0"},
    {"head", "INTEGER", "", "query head, from 0"},
    {"position", "INTEGER", "position", "key position, at least 1"},
    {"column_mean", "REAL", "", "mean weight it receives from the rows that see it"},
    {0},
};

static const hs_result_table tables[] = {
    {"found", found_columns, 3, "hidden sinks at the rule of this analysis"},
    {0},
};

const hs_observer hs_observer_hidden_sinks = {
    .name = "hidden_sinks",
    .title = "Hidden sinks",
    .about =
        "Positions after the first that receive more attention than their share, head by head, "
        "by ACT's relative or absolute rule.",
    .reference = "Yu et al. 2024, arXiv 2406.15765; code GATECH-EIC/ACT",
    .params = params,
    .points = HS_BIT(HS_PATTERN),
    .metrics = metrics,
    .series = series,
    .tables = tables,
    .open = hidden_open,
    .tile = hidden_tile,
    .finish = hidden_finish,
    .close = hidden_close,
};
