// heatmap --prune: the metric of sweep --prune as more and more units are edited together, least
// important first, most important first, and in random orders with the range of their draws. Between
// the numbers of units that were tried the curves are straight.
#include <math.h>
#include <string.h>

#include "cli/figures/figure.h"
#include "cli/metric.h"

enum { MOST_UNITS = 1 << 20 };

// What the rows of a ranking become: mean, and of several draws lowest and highest.
static const struct {
    const char *ranking, *name;
} rankings[] = {
    {"asc", "least important first"}, {"desc", "most important first"}, {"random", "random order"}};
enum { N_RANKING = 3, N_LINE = 2 + N_RANKING };

typedef struct curves {
    hs_job *j;
    char metric[64];
    int64_t most;                 // units
    double *mean[N_RANKING];      // [most + 1], NULL: not there
    double *low, *high;           // of random orders
    int64_t draws, at[N_RANKING]; // at: units of the row before
} curves;

// ---- reading ----------------------------------------------------------------------------------

// The metric that is drawn (nll where there are several), and how many units there are.
static int on_extent(void *ctx, const hs_query *q) {
    curves *c = ctx;
    char metric[sizeof c->metric];
    const int64_t removed = hs_query_int(q, "removed");
    hs_query_text(q, "metric", metric, sizeof metric);
    if (!*c->metric || strcmp(metric, "nll") == 0)
        snprintf(c->metric, sizeof c->metric, "%s", metric);
    if (removed > c->most) c->most = removed;
    return HS_OK;
}

// Puts y[at], and what lies on the line from y[from] to it.
static void draw_to(double *y, int64_t from, int64_t at, double value) {
    y[at] = value;
    for (int64_t i = from + 1; i < at; i++)
        y[i] = y[from] + (value - y[from]) * (double)(i - from) / (double)(at - from);
}

static int make(hs_job *j, int64_t n, double **out) {
    int rc = *out ? HS_OK : hs_arena_get(j->arena, out, (size_t)n, sizeof **out);
    return rc;
}

static int on_step(void *ctx, const hs_query *q) {
    curves *c = ctx;
    char ranking[16];
    const int64_t removed = hs_query_int(q, "removed"), draws = hs_query_int(q, "draws");
    int k = 0, rc;
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    while (k < N_RANKING && strcmp(rankings[k].ranking, ranking) != 0) k++;
    if (k == N_RANKING || removed < 0 || removed > c->most) return HS_OK;
    const bool first = !c->mean[k];
    const int64_t from = first ? removed : c->at[k];
    rc = make(c->j, c->most + 1, &c->mean[k]);
    for (int64_t i = 0; i <= c->most && first && !rc; i++) c->mean[k][i] = NAN;
    if (!rc) draw_to(c->mean[k], from, removed, hs_query_num(q, "value"));
    c->at[k] = removed;
    if (rc || draws < 2) return rc;
    const bool fresh = !c->low;
    rc = make(c->j, c->most + 1, &c->low);
    if (!rc) rc = make(c->j, c->most + 1, &c->high);
    for (int64_t i = 0; i <= c->most && fresh && !rc; i++) c->low[i] = c->high[i] = NAN;
    if (!rc) draw_to(c->low, from, removed, hs_query_num(q, "low"));
    if (!rc) draw_to(c->high, from, removed, hs_query_num(q, "high"));
    c->draws = draws;
    return rc;
}

static int read_curves(curves *c) {
    hs_buf param = {0};
    int rc = hs_source_each(&c->j->r, "sweep_curve", NULL, 0, on_extent, c);
    if (!rc && (!*c->metric || c->most > MOST_UNITS))
        rc = hs_fail(HS_ENOTFOUND,
                     "run %lld has no pruning curve: headscope sweep --prune makes one",
                     (long long)c->j->r.run);
    hs_buf_printf(&param, "metric=%s", c->metric);
    if (!rc) rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc) rc = hs_source_each(&c->j->r, "sweep_curve", &text, 1, on_step, c);
    hs_buf_free(&param);
    return rc;
}

// ---- drawing ----------------------------------------------------------------------------------

static int64_t make_lines(const curves *c, hs_fig_line line[N_LINE]) {
    int64_t n = 0;
    if (c->low) line[n++] = (hs_fig_line){.y = c->low, .faint = true};
    if (c->low) line[n++] = (hs_fig_line){.y = c->high, .faint = true};
    for (int k = 0; k < N_RANKING; k++)
        if (c->mean[k]) line[n++] = (hs_fig_line){.name = rankings[k].name, .y = c->mean[k]};
    return n;
}

static int draw(hs_job *j, hs_fig **out) {
    curves c = {.j = j};
    hs_fig_line line[N_LINE];
    char stored[80];
    const char *x_title = NULL, *y_title = NULL, *faint = NULL;
    int rc = read_curves(&c);
    snprintf(stored, sizeof stored, "delta_%s", c.metric);
    const hs_metric *info = hs_metric_info(stored);
    const bool unit = info && *info->unit;
    if (!rc) rc = hs_job_say(j, "metric", c.metric);
    if (!rc) rc = hs_job_caption(j, NULL, "%s as more and more of the model is edited", c.metric);
    if (!rc)
        rc = hs_job_text(j, &x_title, "Number of %s edited together",
                         j->swept ? j->swept : "units");
    if (!rc)
        rc = hs_job_text(j, &y_title, "%s%s%s%s", c.metric, unit ? " (" : "",
                         unit ? info->unit : "", unit ? ")" : "");
    if (!rc)
        rc = hs_job_text(j, &faint, "lowest and highest of %lld random orders", (long long)c.draws);
    if (rc) return rc;
    const hs_fig_curve fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = x_title,
                              .y_title = y_title,
                              .n = c.most + 1,
                              .line = line,
                              .n_line = make_lines(&c, line),
                              .faint_name = c.low ? faint : NULL};
    return hs_fig_open_curve(out, &fig, &j->style);
}

const hs_figure hs_figure_prune = {
    .name = "prune",
    .title = "the pruning curve of a sweep: a metric as more and more units are edited",
    .option = "prune",
    .takes = "",
    .example = "heatmap --prune",
    .draw = draw,
};
