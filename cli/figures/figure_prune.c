// heatmap --prune: the metric of sweep --prune as more and more units are edited together, least
// important first, most important first, and in random orders with the range of their draws. Between
// the numbers of units that were tried the curves are straight.
#include <string.h>

#include "cli/figures/steps.h"
#include "cli/metric.h"

// What the rows of a ranking become: mean, and of several draws lowest and highest.
static const char *const rankings[] = {"asc", "desc", "random"};
static const char *const names[] = {"least important first", "most important first",
                                    "random order"};
enum { N_RANKING = 3 };

typedef struct curves {
    hs_steps steps;
    char metric[64];
    int64_t most;  // units
    int64_t draws; // of random orders
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

static int on_step(void *ctx, const hs_query *q) {
    curves *c = ctx;
    char ranking[16];
    const int64_t removed = hs_query_int(q, "removed"), draws = hs_query_int(q, "draws");
    int k = 0;
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    while (k < N_RANKING && strcmp(rankings[k], ranking) != 0) k++;
    if (k == N_RANKING) return HS_OK;
    int rc = hs_steps_add(&c->steps, HS_STEPS_FIRST + k, removed, hs_query_num(q, "value"));
    if (rc || draws < 2) return rc;
    c->draws = draws;
    rc = hs_steps_add(&c->steps, HS_STEPS_LOW, removed, hs_query_num(q, "low"));
    return rc ? rc : hs_steps_add(&c->steps, HS_STEPS_HIGH, removed, hs_query_num(q, "high"));
}

static int read_curves(curves *c) {
    const hs_source *r = &c->steps.job->r;
    hs_buf param = {0};
    int rc = hs_source_each(r, "sweep_curve", NULL, 0, on_extent, c);
    if (!rc && (!*c->metric || c->most > HS_STEPS_MOST))
        rc = hs_fail(HS_ENOTFOUND,
                     "run %lld has no pruning curve: headscope sweep --prune makes one",
                     (long long)r->run);
    c->steps.most = c->most;
    hs_buf_printf(&param, "metric=%s", c->metric);
    if (!rc) rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc) rc = hs_source_each(r, "sweep_curve", &text, 1, on_step, c);
    hs_buf_free(&param);
    return rc;
}

// ---- drawing ----------------------------------------------------------------------------------

static int draw(hs_job *j, hs_fig **out) {
    curves c = {.steps = {.job = j}};
    hs_fig_line line[HS_STEPS_LINES];
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
                              .n_line = hs_steps_lines(&c.steps, names, line),
                              .faint_name = c.draws ? faint : NULL};
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
