// heatmap --diff RUN RUN: how much each head changed from one run to another, layers downwards and
// heads across; several metrics side by side. The numbers are those of the command diff.
#include <math.h>
#include <string.h>

#include "cli/metric.h"
#include "cli/figures/figure.h"
#include "db/diff.h"

enum { MOST = 6 };

// What a calibration is about: how spread attention is, what sinks take, what the span gets.
static const char *const usual[] = {"entropy_nats", "sink_alpha0", "span_mass"};

typedef struct chosen {
    const char *name[MOST];
    int n;
} chosen;

// The names of --grid.
static int choose(hs_job *j, chosen *c) {
    for (const char *at = j->opt->grid;; at++) {
        const size_t n = strcspn(at, ",");
        if (c->n == MOST) return hs_fail(HS_EARG, "--grid: more than %d metrics", MOST);
        int rc = hs_job_text(j, &c->name[c->n++], "%.*s", (int)n, at);
        at += n;
        if (rc || !*at) return rc;
    }
}

// Those of the usual ones that both runs have.
static int choose_usual(const hs_diff *d, chosen *c) {
    hs_diff_names names;
    int rc = hs_diff_names_read(&names, d);
    for (size_t k = 0; k < sizeof usual / sizeof *usual && !rc; k++)
        for (int i = 0; i < names.n; i++)
            if (strcmp(names.at[i], usual[k]) == 0) c->name[c->n++] = usual[k];
    hs_diff_names_free(&names);
    if (!rc && !c->n)
        rc = hs_fail(HS_ENOTFOUND,
                     "the runs have none of %s, %s and %s in common: name a metric, as --grid %s",
                     usual[0], usual[1], usual[2], usual[0]);
    return rc;
}

static const char *unit_of(const char *name) {
    static const char rows[] = "rows.";
    const hs_metric *m = hs_metric_info(name);
    for (int s = 0; s < HS_N_STAT; s++)
        if (strncmp(name, rows, strlen(rows)) == 0 &&
            strcmp(hs_stat_infos[s].name, name + strlen(rows)) == 0)
            return hs_stat_infos[s].unit;
    return m && m->unit ? m->unit : "";
}

// One metric: what it became less what it was; of maps the mean of what weights changed by.
static int read_grid(hs_job *j, const hs_diff *d, const char *name, hs_fig_grid *out) {
    const size_t n = (size_t)d->dims.n_layer * (size_t)d->dims.n_head;
    const char *unit = unit_of(name), *label;
    const bool maps = strcmp(name, "maps") == 0;
    hs_diff_values v;
    double *at;
    int rc = hs_diff_read(&v, d, name, NULL);
    if (rc) return rc;
    rc = hs_arena_get(j->arena, &at, n, sizeof *at);
    for (size_t i = 0; i < n && !rc; i++) at[i] = v.head[i].n ? v.head[i].value : (double)NAN;
    hs_diff_values_free(&v);
    if (!rc)
        rc = hs_job_text(j, &label, "%s%s%s%s", maps ? "mean |after − before|" : "after − before",
                         *unit ? " (" : "", unit, *unit ? ")" : "");
    if (rc) return rc;
    *out = (hs_fig_grid){.title = name,
                         .value = at,
                         .n_layer = d->dims.n_layer,
                         .n_head = d->dims.n_head,
                         .diverging = !maps,
                         .bar_label = label};
    return HS_OK;
}

static int caption(hs_job *j, const chosen *c) {
    const hs_metric *one = c->n == 1 ? hs_metric_info(c->name[0]) : NULL;
    const char *names = "", *two = NULL;
    int rc = HS_OK;
    for (int i = 0; i < c->n && !rc; i++)
        rc = hs_job_text(j, &names, "%s%s%s", names, i ? ", " : "", c->name[i]);
    if (!rc) rc = hs_job_say(j, "metric", names);
    if (!rc) rc = hs_job_two(j, &two);
    if (rc) return rc;
    if (c->n > 1) return hs_job_caption(j, two, "How each head changed");
    return hs_job_caption(j, two, "How each head changed: %s%s%s", names, one ? ", " : "",
                          one ? one->about : "");
}

static int draw_chosen(hs_job *j, const hs_diff *d, const chosen *c, hs_fig **out) {
    hs_fig_grid grid[MOST];
    int rc = HS_OK;
    for (int i = 0; i < c->n && !rc; i++) rc = read_grid(j, d, c->name[i], &grid[i]);
    if (!rc) rc = caption(j, c);
    if (rc) return rc;
    if (c->n == 1) {
        grid[0].title = j->title;
        grid[0].subtitle = j->subtitle;
        return hs_fig_open_grid(out, &grid[0], &j->style);
    }
    const hs_fig_grids fig = {.title = j->title, .subtitle = j->subtitle, .grid = grid, .n = c->n};
    return hs_fig_open_grids(out, &fig, &j->style);
}

static int draw(hs_job *j, hs_fig **out) {
    hs_db *const db[HS_AB] = {j->r.db, j->after.db};
    const int64_t run[HS_AB] = {j->r.run, j->after.run};
    hs_diff d = {0};
    chosen c = {0};
    int rc = hs_diff_open(&d, db, run, j->r.prompt);
    if (!rc) rc = j->opt->grid ? choose(j, &c) : choose_usual(&d, &c);
    if (!rc) rc = draw_chosen(j, &d, &c, out);
    hs_diff_close(&d);
    return rc;
}

const hs_figure hs_figure_diff = {
    .name = "diff",
    .title = "how each head changed between two runs; several metrics side by side",
    .option = "diff",
    .takes = "grid",
    .example = "heatmap --diff 1 2 --grid sink_alpha0",
    .two = true,
    .draw = draw,
};
