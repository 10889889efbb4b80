// Head metrics that the row summary of attention gives: entropy (Zhai et al. 2023; normalised as in
// Guo et al. 2024), attention to the first token (Gu et al. 2025), to itself and to the position
// before, mean distance and largest weight. Every recording runs it. O(1) state a head: sums in f64
// over the rows in order.
#include <math.h>
#include <stdlib.h>

#include "analyses/observer.h"
#include "model/core/mem.h"

struct sums {
    int64_t n_row, n_share;
    double entropy, norm, first, first_later, self, prev, max, distance;
};

struct state {
    int n_layer, n_head;
    double eps;
    struct sums *sums; // [n_layer][n_head]
};

static void rows_close(void *state) {
    struct state *st = state;
    if (!st) return;
    free(st->sums);
    free(st);
}

static int rows_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->eps = hs_args_num(args, "eps");
    return hs_alloc(&st->sums, (size_t)st->n_layer * (size_t)st->n_head, sizeof *st->sums);
}

// One row's statistics, `step` apart, into a head's sums.
static void add_row(struct sums *s, const float *stat, int64_t step, int64_t i, double eps) {
    const double entropy = (double)stat[HS_STAT_ENTROPY * step];
    const double first = (double)stat[HS_STAT_FIRST * step];
    s->n_row++;
    s->entropy += entropy;
    s->first += first;
    s->self += (double)stat[HS_STAT_SELF * step];
    s->max += (double)stat[HS_STAT_MAX * step];
    s->distance += (double)stat[HS_STAT_DISTANCE * step];
    if (i == 0) return;
    s->norm += entropy / log((double)(i + 1));
    s->first_later += first;
    s->prev += (double)stat[HS_STAT_PREV * step];
    s->n_share += first > eps;
}

static int rows_rows(void *state, const hs_site *site, const hs_view *view) {
    struct state *st = state;
    for (int h = 0; h < st->n_head; h++) {
        struct sums *s = &st->sums[site->layer * st->n_head + h];
        const float *head = (const float *)view->data + h * view->stride[0];
        for (int64_t r = 0; r < site->n_row; r++)
            add_row(s, head + r * view->stride[2], view->stride[1], site->row0 + r, st->eps);
    }
    return HS_OK;
}

static int emit_head(const struct sums *s, const hs_emit *emit, int layer, int head) {
    static const char *const none = "no row of this head was seen";
    static const char *const one =
        "it is a mean over the rows after the first, and there is one row";
    const double n = (double)s->n_row, later = n - 1;
    const struct {
        const char *name;
        double sum, count;
    } metrics[] = {
        {"entropy_nats", s->entropy, n},
        {"entropy_norm", s->norm, n},
        {"sink_alpha0", s->first, n},
        {"first_mass", s->first_later, later},
        {"sink_row_share", (double)s->n_share, later},
        {"distance", s->distance, n},
        {"self_mass", s->self, n},
        {"previous", s->prev, later},
        {"max_weight", s->max, n},
    };
    int rc = HS_OK;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics && !rc; i++) {
        const bool defined = metrics[i].count > 0;
        rc = emit->metric(emit->ctx, layer, head, metrics[i].name,
                          defined ? metrics[i].sum / metrics[i].count : (double)NAN,
                          defined    ? NULL
                          : s->n_row ? one
                                     : none);
    }
    return rc;
}

static int rows_finish(void *state, const hs_emit *emit) {
    const struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer; l++)
        for (int h = 0; h < st->n_head && !rc; h++)
            rc = emit_head(&st->sums[l * st->n_head + h], emit, l, h);
    return rc;
}

static const hs_param params[] = {
    {"eps", HS_PARAM_NUM, "0.3", 0, 1, NULL, NULL, "a row counts as sinking above this share"},
    {0},
};

static const hs_metric metrics[] = {
    {"entropy_nats", "nats", "mean over all rows of -sum_j A_ij ln A_ij", HS_SEQUENTIAL},
    {"entropy_norm", "", "mean over all rows of H_i / ln(i+1), row 0 counting 0", HS_SEQUENTIAL},
    {"sink_alpha0", "", "mean over all rows of the weight on position 0", HS_SEQUENTIAL},
    {"first_mass", "", "mean over rows i >= 1 of the weight on position 0", HS_SEQUENTIAL},
    {"sink_row_share", "", "share of rows i >= 1 with more than eps on position 0", HS_SEQUENTIAL},
    {"distance", "tokens", "mean over all rows of sum_j (i-j) A_ij", HS_SEQUENTIAL},
    {"self_mass", "", "mean over all rows of the weight on the row's own position", HS_SEQUENTIAL},
    {"previous", "", "mean over rows i >= 1 of the weight on the position before", HS_SEQUENTIAL},
    {"max_weight", "", "mean over all rows of the largest weight", HS_SEQUENTIAL},
    {0},
};

const hs_observer hs_observer_rows = {
    .name = "rows",
    .title = "Row summaries",
    .about = "Entropy, first-token, self and previous-token attention, distance and largest weight "
             "of every head, from the row summary that each recording keeps.",
    .reference = "Zhai et al. 2023, arXiv 2303.06296; Guo et al. 2024, arXiv 2410.13835; Gu et al. "
                 "2025, arXiv 2410.10781",
    .params = params,
    .points = HS_BIT(HS_ROW_STATS),
    .metrics = metrics,
    .always = true,
    .open = rows_open,
    .rows = rows_rows,
    .finish = rows_finish,
    .close = rows_close,
};
