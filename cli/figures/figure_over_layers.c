// heatmap --over-layers METRIC: its mean over the heads of each layer, as a curve over the layers.
// One metric: the heads are faint dots around the curve. Several, joined by commas: a curve each.
#include <math.h>
#include <string.h>

#include "cli/figures/figure.h"

typedef struct metrics {
    const char *name[HS_MOST_CURVES];
    hs_values v[HS_MOST_CURVES];
    int n;
} metrics;

static int split(hs_job *j, const char *list, metrics *m) {
    for (const char *s = list; *s;) {
        size_t n = strcspn(s, ",");
        if (m->n == HS_MOST_CURVES)
            return hs_fail(HS_EARG, "--over-layers draws at most %d metrics at once",
                           (int)HS_MOST_CURVES);
        int rc = n ? hs_arena_str(j->arena, &m->name[m->n++], s, n) : HS_OK;
        if (rc) return rc;
        s += n + (s[n] == ',');
    }
    return m->n ? HS_OK : hs_fail(HS_EARG, "--over-layers takes the name of a metric");
}

// The mean over the heads of each layer where the value is defined; NaN where it nowhere is.
static int mean(hs_job *j, const hs_values *v, double **out) {
    int rc = hs_arena_get(j->arena, out, (size_t)v->n_layer, sizeof **out);
    for (int l = 0; l < v->n_layer && !rc; l++) {
        double sum = 0;
        int n = 0;
        for (int h = 0; h < v->n_head; h++) {
            double x = v->at[l * v->n_head + h];
            if (isnan(x)) continue;
            sum += x;
            n++;
        }
        (*out)[l] = n ? sum / n : (double)NAN;
    }
    return rc;
}

// One head through the layers.
static int column(hs_job *j, const hs_values *v, int head, double **out) {
    int rc = hs_arena_get(j->arena, out, (size_t)v->n_layer, sizeof **out);
    for (int l = 0; l < v->n_layer && !rc; l++) (*out)[l] = v->at[l * v->n_head + head];
    return rc;
}

// Faint heads first, so that the means lie on top.
static int make_lines(hs_job *j, const metrics *m, hs_fig_line **out, int64_t *n) {
    bool heads = m->n == 1 && !m->v[0].layers;
    int faint = heads ? m->v[0].n_head : 0;
    int rc = hs_arena_get(j->arena, out, (size_t)(faint + m->n), sizeof **out);
    for (int h = 0; h < faint && !rc; h++) {
        double *y;
        rc = column(j, &m->v[0], h, &y);
        (*out)[h] = (hs_fig_line){.y = y, .faint = true};
    }
    for (int i = 0; i < m->n && !rc; i++) {
        double *y;
        rc = mean(j, &m->v[i], &y);
        (*out)[faint + i] = (hs_fig_line){.name = heads ? "mean of the heads" : m->name[i], .y = y};
    }
    *n = faint + m->n;
    return rc;
}

static int caption(hs_job *j, const metrics *m) {
    const hs_values *v = &m->v[0];
    if (m->n > 1) return hs_job_caption(j, "means of the heads", "Metrics through the layers");
    return hs_job_caption(j, NULL, "%s through the layers%s%s", m->name[0], *v->about ? ": " : "",
                          v->about);
}

// One name for the y axis; several metrics: their unit when it is one.
static const char *y_title(const metrics *m) {
    for (int i = 1; i < m->n; i++)
        if (strcmp(m->v[i].unit, m->v[0].unit) != 0) return "";
    return m->n == 1 ? m->v[0].label : m->v[0].unit;
}

static int draw(hs_job *j, hs_fig **out) {
    metrics m = {0};
    hs_fig_line *line;
    int64_t n = 0;
    int rc = split(j, j->opt->over_layers, &m);
    for (int i = 0; i < m.n && !rc; i++) rc = hs_values_read(&m.v[i], j, m.name[i]);
    if (!rc) rc = make_lines(j, &m, &line, &n);
    if (!rc) rc = hs_job_say(j, "metric", j->opt->over_layers);
    if (!rc) rc = caption(j, &m);
    if (rc) return rc;
    const hs_fig_curve fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = "Layer",
                              .y_title = y_title(&m),
                              .n = j->dims.n_layer,
                              .line = line,
                              .n_line = n,
                              .faint_name = "one head",
                              .dots = true};
    return hs_fig_open_curve(out, &fig, &j->style);
}

const hs_figure hs_figure_over_layers = {
    .name = "over-layers",
    .title = "a metric through the layers: the heads and their mean; several metrics",
    .option = "over-layers",
    .takes = "",
    .example = "heatmap --over-layers sink_alpha0",
    .draw = draw,
};
