// Attention sinks after Gu et al. 2025: what each position receives, alpha_j = C_j / (T - j), the
// mean of its column over the rows that see it (the row of the position itself included). The sink
// rate at any position and threshold, a count of heads, is asked of the stored column means. Beside
// the column mean two other sink masses of the first token are in use, over the second half of the
// rows (Ran-Milo et al. 2026) and in the last row (Xiao et al. 2024); all are stored.
#include <math.h>
#include <stdlib.h>

#include "analyses/columns.h"
#include "model/core/mem.h"

struct state {
    int n_layer, n_head;
    int64_t cap, min_rows;
    double eps;
    hs_columns columns;
    float *first; // [n_layer][n_head][cap]: weight on position 0, by row
};

static void sinks_close(void *state) {
    struct state *st = state;
    if (!st) return;
    hs_columns_close(&st->columns);
    free(st->first);
    free(st);
}

static int sinks_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->cap = subject->n_row;
    st->eps = hs_args_num(args, "eps");
    st->min_rows = hs_args_int(args, "min_rows");
    rc = hs_columns_open(&st->columns, subject);
    if (rc) return rc;
    return hs_alloc(&st->first, (size_t)st->n_layer * (size_t)st->n_head,
                    (size_t)st->cap * sizeof *st->first);
}

static int sinks_tile(void *state, const hs_tile *tile) {
    struct state *st = state;
    float *first = st->first + ((int64_t)tile->layer * st->n_head + tile->head) * st->cap;
    hs_columns_tile(&st->columns, tile);
    for (int64_t r = 0; r < tile->n_row; r++) first[tile->row0 + r] = tile->row[r * tile->ld];
    return HS_OK;
}

// Mean of first[] over the rows i >= T/2; NaN when there is none.
static double second_half(const float *first, int64_t n) {
    double sum = 0;
    const int64_t from = (n + 1) / 2;
    for (int64_t i = from; i < n; i++) sum += (double)first[i];
    return n > from ? sum / (double)(n - from) : (double)NAN;
}

// Columns that enough rows see; the first one always counts.
static int64_t n_counted(const struct state *st, int64_t n) {
    return n - st->min_rows + 1 > 1 ? n - st->min_rows + 1 : 1;
}

static int emit_found(const struct state *st, const hs_emit *emit, int layer, int head,
                      const double *mean, int64_t n) {
    int rc = HS_OK;
    for (int64_t j = 0; j < n && !rc; j++) {
        if (!(mean[j] > st->eps)) continue;
        const hs_value row[] = {{.type = HS_VAL_INT, .i = layer},
                                {.type = HS_VAL_INT, .i = head},
                                {.type = HS_VAL_INT, .i = j},
                                {.type = HS_VAL_NUM, .f = mean[j]}};
        rc = emit->row(emit->ctx, "found", row);
    }
    return rc;
}

static int emit_head(struct state *st, const hs_emit *emit, int layer, int head) {
    static const char *const none = "no row of this head was seen";
    const float *first = st->first + ((int64_t)layer * st->n_head + head) * st->cap;
    const double *mean;
    const int64_t n = hs_columns_mean(&st->columns, layer, head, &mean);
    const int64_t counted = n_counted(st, n);
    int64_t top = 0;
    for (int64_t j = 1; j < counted; j++)
        if (mean[j] > mean[top]) top = j;
    const struct {
        const char *name;
        double value;
        const char *reason;
    } metrics[] = {
        {"sink_max", n ? mean[top] : (double)NAN, none},
        {"sink_position", n ? (double)top : (double)NAN, none},
        {"sink_half", second_half(first, n), n ? "there is one row" : none},
        {"sink_last", n ? (double)first[n - 1] : (double)NAN, none},
    };
    int rc = HS_OK;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics && !rc; i++)
        rc = emit->metric(emit->ctx, layer, head, metrics[i].name, metrics[i].value,
                          isnan(metrics[i].value) ? metrics[i].reason : NULL);
    if (!rc && n) rc = emit->series(emit->ctx, layer, head, "column_mean", mean, n);
    if (!rc && n) rc = emit_found(st, emit, layer, head, mean, counted);
    return rc;
}

static int sinks_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer; l++)
        for (int h = 0; h < st->n_head && !rc; h++) rc = emit_head(st, emit, l, h);
    return rc;
}

static const hs_param params[] = {
    {"eps", HS_PARAM_NUM, "0.3", 0, 1, NULL, NULL,
     "positions whose column mean exceeds this are listed in the table"},
    {"min_rows", HS_PARAM_INT, "8", 1, INFINITY, NULL, "rows",
     "positions that fewer rows see are left out of the table, sink_max and sink_position "
     "(position "
     "0 never is): the means of late columns average few rows"},
    {0},
};

static const hs_metric metrics[] = {
    {"sink_max", "", "largest column mean", HS_SEQUENTIAL},
    {"sink_position", "position", "position with the largest column mean", HS_SEQUENTIAL},
    {"sink_half", "", "mean over rows i >= T/2 of the weight on position 0", HS_SEQUENTIAL},
    {"sink_last", "", "weight of the last row on position 0", HS_SEQUENTIAL},
    {0},
};

static const hs_metric series[] = {
    {"column_mean", "", "alpha_j = sum_i A_ij / (T - j), by position", HS_SEQUENTIAL},
    {0},
};

static const hs_column found_columns[] = {
    {"layer", "INTEGER", "", "layer, from 0"},
    {"head", "INTEGER", "", "query head, from 0"},
    {"position", "INTEGER", "position", "key position, from 0; join it with the prompt's tokens"},
    {"column_mean", "REAL", "", "mean weight it receives from the rows that see it"},
    {0},
};

static const hs_result_table tables[] = {
    {"found", found_columns, 3, "positions whose column mean exceeds eps"},
    {0},
};

const hs_observer hs_observer_sinks = {
    .name = "sinks",
    .title = "Attention sinks",
    .about = "The mean attention that each position receives, from which the sink rate at any "
             "position and threshold follows, and the strongest sink of each head.",
    .reference =
        "Gu et al. 2025, arXiv 2410.10781; Xiao et al. 2024, arXiv 2309.17453; Ran-Milo et "
        "al. 2026, arXiv 2604.14722",
    .params = params,
    .points = HS_BIT(HS_PATTERN),
    .metrics = metrics,
    .series = series,
    .tables = tables,
    .open = sinks_open,
    .tile = sinks_tile,
    .finish = sinks_finish,
    .close = sinks_close,
};
