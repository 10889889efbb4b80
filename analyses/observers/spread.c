// How far attention spreads: the share of a row's mass in the nearest keys, the effective number
// of keys exp(H_i) and the smallest window that holds half of the mass, or 95 %. All are means over
// the rows i >= from, late enough to have a choice. The windows set sinks aside: the first `sink`
// positions always count as inside, so that a window says where the rest of the mass lies (0 when
// the sinks alone hold enough).
//
// State: two f64 sums a distance and head, of the mass on the sinks and on the other keys, O(T).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analyses/observer.h"
#include "model/core/mem.h"

struct cell {
    int64_t n_row, n_entropy; // rows counted so far, of the map and of the row summaries
    double keys;              // sum of exp(H_i)
};

struct state {
    int n_layer, n_head;
    int64_t cap, from, sink;
    struct cell *cell; // [n_layer][n_head]
    double *at_sink;   // [n_layer][n_head][cap] mass on keys j < sink, by distance i - j
    double *at_rest;   // the same of the other keys
};

static void spread_close(void *state) {
    struct state *st = state;
    if (!st) return;
    free(st->cell);
    free(st->at_sink);
    free(st->at_rest);
    free(st);
}

static int spread_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->cap = subject->n_row;
    st->from = hs_args_int(args, "from");
    st->sink = hs_args_int(args, "sink");
    const size_t n_cell = (size_t)st->n_layer * (size_t)st->n_head;
    const size_t bytes = (size_t)st->cap * sizeof(double);
    rc = hs_alloc(&st->cell, n_cell, sizeof *st->cell);
    if (!rc) rc = hs_alloc(&st->at_sink, n_cell, bytes);
    if (!rc) rc = hs_alloc(&st->at_rest, n_cell, bytes);
    return rc;
}

static int spread_rows(void *state, const hs_site *site, const hs_view *view) {
    struct state *st = state;
    for (int h = 0; h < st->n_head; h++) {
        struct cell *c = &st->cell[site->layer * st->n_head + h];
        const float *entropy = (const float *)view->data + h * view->stride[0] +
                               HS_STAT_ENTROPY * view->stride[1];
        for (int64_t r = 0; r < site->n_row; r++) {
            if (site->row0 + r < st->from) continue;
            c->keys += exp((double)entropy[r * view->stride[2]]);
            c->n_entropy++;
        }
    }
    return HS_OK;
}

static int spread_tile(void *state, const hs_tile *tile) {
    struct state *st = state;
    const int64_t cell = (int64_t)tile->layer * st->n_head + tile->head;
    double *sink = st->at_sink + cell * st->cap, *rest = st->at_rest + cell * st->cap;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const float *row = tile->row + r * tile->ld;
        const int64_t i = tile->row0 + r;
        if (i < st->from) continue;
        int64_t j = 0;
        for (; j <= i && j < st->sink; j++) sink[i - j] += (double)row[j];
        for (; j <= i; j++) rest[i - j] += (double)row[j];
        st->cell[cell].n_row++;
    }
    return HS_OK;
}

// ---- results ------------------------------------------------------------------------------------

static double sum_of(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

// The smallest w for which the mass on the sinks and at i - j < w is `enough`.
static double span(double at_sinks, const double *rest, int64_t n_key, double enough) {
    double sum = at_sinks;
    int64_t w = 0;
    while (w < n_key && sum < enough) sum += rest[w++];
    return (double)w;
}

enum { RECENT16, RECENT64, RECENT256, SINK_KEYS, SPAN50, SPAN95, EFFECTIVE, N_METRIC };

static const hs_metric metrics[] = {
    [RECENT16] = {"recent16", "", "mean mass on the nearest 16 keys, i - j < 16", HS_SEQUENTIAL},
    [RECENT64] = {"recent64", "", "mean mass on the nearest 64 keys", HS_SEQUENTIAL},
    [RECENT256] = {"recent256", "", "mean mass on the nearest 256 keys", HS_SEQUENTIAL},
    [SINK_KEYS] = {"sink_keys", "", "mean mass on the first `sink` positions", HS_SEQUENTIAL},
    [SPAN50] =
        {"span50", "tokens",
         "smallest w for which the first `sink` positions and i - j < w hold half of the mass",
         HS_SEQUENTIAL},
    [SPAN95] = {"span95", "tokens", "the same for 95 % of the mass", HS_SEQUENTIAL},
    [EFFECTIVE] = {"effective_keys", "keys", "mean of exp(H_i)", HS_SEQUENTIAL},
    [N_METRIC] = {0},
};

// The metrics of one head; NaN where the prompt is too short for a window to mean anything.
static void measure(const struct state *st, int64_t cell, double out[N_METRIC]) {
    static const int64_t near[] = {[RECENT16] = 16, [RECENT64] = 64, [RECENT256] = 256};
    const struct cell *c = &st->cell[cell];
    const double *sink = st->at_sink + cell * st->cap, *rest = st->at_rest + cell * st->cap;
    const double n = (double)c->n_row, at_sinks = sum_of(sink, st->cap);
    for (int k = RECENT16; k <= RECENT256; k++)
        out[k] = st->from + c->n_row > near[k] ? (sum_of(sink, near[k]) + sum_of(rest, near[k])) / n
                                               : (double)NAN;
    out[SINK_KEYS] = at_sinks / n;
    out[SPAN50] = span(at_sinks, rest, st->cap, 0.5 * n);
    out[SPAN95] = span(at_sinks, rest, st->cap, 0.95 * n);
    out[EFFECTIVE] = c->keys / (double)c->n_entropy;
}

static int emit_head(const struct state *st, const hs_emit *emit, int layer, int head) {
    const int64_t cell = (int64_t)layer * st->n_head + head;
    const bool seen = st->cell[cell].n_row && st->cell[cell].n_entropy;
    double value[N_METRIC];
    char few[96];
    snprintf(few, sizeof few, "it needs rows from row %lld on, and none was seen",
             (long long)st->from);
    for (int k = 0; k < N_METRIC; k++) value[k] = (double)NAN;
    if (seen) measure(st, cell, value);
    int rc = HS_OK;
    for (int k = 0; k < N_METRIC && !rc; k++) {
        const char *reason = seen ? "the prompt is no longer than this window" : few;
        rc = emit->metric(emit->ctx, layer, head, metrics[k].name, value[k],
                          isnan(value[k]) ? reason : NULL);
    }
    return rc;
}

static int spread_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer; l++)
        for (int h = 0; h < st->n_head && !rc; h++) rc = emit_head(st, emit, l, h);
    return rc;
}

static const hs_param params[] = {
    {"from", HS_PARAM_INT, "64", 0, INFINITY, NULL, "position", "the first row that counts"},
    {"sink", HS_PARAM_INT, "4", 0, INFINITY, NULL, "positions",
     "so many first positions are sinks, set aside by span50 and span95"},
    {0},
};

const hs_observer hs_observer_spread = {
    .name = "spread",
    .title = "Spread of attention",
    .about =
        "The share of mass in the nearest keys, the effective number of keys, and the smallest "
        "window that holds half of the mass with the sinks set aside.",
    .reference = "StreamingLLM (Xiao et al. 2024, arXiv 2309.17453) and MInference (Jiang et al. "
                 "2024, arXiv 2407.02490) rest on such profiles",
    .params = params,
    .points = HS_BIT(HS_PATTERN) | HS_BIT(HS_ROW_STATS),
    .metrics = metrics,
    .open = spread_open,
    .rows = spread_rows,
    .tile = spread_tile,
    .finish = spread_finish,
    .close = spread_close,
};
