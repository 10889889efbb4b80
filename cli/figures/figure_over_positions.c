// heatmap --over-positions STAT: a row statistic, or a stored series, along the positions of a
// prompt; of heads, else of layers. A few: a curve each. More: their mean, with the heads as faint lines. Too many to
// see: their mean, with faint lines between which most of them lie.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures/figure.h"

enum { FEW = 6, MANY = 40 }; // curves with names of their own; with lines of their own
static const double share[] = {0.05, 0.25, 0.75, 0.95};
enum { N_SHARE = sizeof share / sizeof *share };

typedef struct curves {
    hs_fig_line *line; // [n_head + 1], the mean last
    int64_t n_line, n; // n: positions
    double *mean;
    int64_t *count;
    const char *faint_name;
    bool of_layers; // heads have no series of that name
} curves;

static int add(hs_job *j, curves *c, const double *v, int64_t n, const char *name) {
    double *y;
    if (n < 1 || (c->n && n != c->n))
        return hs_fail(HS_EFORMAT, "the series have different numbers of positions");
    int rc = HS_OK;
    if (!c->n) {
        c->n = n;
        rc = hs_arena_get(j->arena, &c->mean, (size_t)n, sizeof *c->mean);
        if (!rc) rc = hs_arena_get(j->arena, &c->count, (size_t)n, sizeof *c->count);
    }
    if (!rc) rc = hs_arena_get(j->arena, &y, (size_t)n, sizeof *y);
    for (int64_t i = 0; i < n && !rc; i++) {
        y[i] = v[i];
        if (isnan(v[i])) continue;
        c->mean[i] += v[i];
        c->count[i]++;
    }
    if (!rc) c->line[c->n_line++] = (hs_fig_line){.name = name, .y = y};
    return rc;
}

static int read_head(hs_job *j, curves *c, int layer, int head) {
    const char *name;
    double *v = NULL;
    int64_t n = 0;
    int rc = hs_db_series(j->r.db, j->prompt, layer, c->of_layers ? -1 : head,
                          j->opt->over_positions, &v, &n);
    if (!rc) rc = hs_job_text(j, &name, c->of_layers ? "L%d" : "L%dH%d", layer, head);
    if (!rc) rc = add(j, c, v, n, name);
    free(v);
    return rc;
}

static bool has_series(const hs_job *j, int layer, int head) {
    double *v = NULL;
    int64_t n;
    const int rc = hs_db_series(j->r.db, j->prompt, layer, head, j->opt->over_positions, &v, &n);
    free(v);
    return !rc;
}

static int ascending(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// Lines between which shares of the heads lie take the place of the heads'.
static int take_shares(hs_job *j, curves *c) {
    double *y[N_SHARE], *sorted;
    int rc = hs_arena_get(j->arena, &sorted, (size_t)c->n_line, sizeof *sorted);
    for (int k = 0; k < N_SHARE && !rc; k++)
        rc = hs_arena_get(j->arena, &y[k], (size_t)c->n, sizeof *y[k]);
    for (int64_t i = 0; i < c->n && !rc; i++) {
        int64_t n = 0;
        for (int64_t l = 0; l < c->n_line; l++)
            if (!isnan(c->line[l].y[i])) sorted[n++] = c->line[l].y[i];
        qsort(sorted, (size_t)n, sizeof *sorted, ascending);
        for (int k = 0; k < N_SHARE; k++)
            y[k][i] = n ? sorted[(int64_t)(share[k] * (double)(n - 1) + 0.5)] : (double)NAN;
    }
    if (rc) return rc;
    c->n_line = N_SHARE;
    for (int k = 0; k < N_SHARE; k++) c->line[k] = (hs_fig_line){.y = y[k]};
    c->faint_name = c->of_layers ? "5, 25, 75 and 95 % of the layers lie below"
                                 : "5, 25, 75 and 95 % of the heads lie below";
    return HS_OK;
}

// Many heads become faint lines under their mean.
static int summarise(hs_job *j, curves *c) {
    const char *name;
    if (c->n_line <= FEW) return HS_OK;
    int rc = hs_job_text(j, &name, "mean of %lld %s", (long long)c->n_line,
                         c->of_layers ? "layers" : "heads");
    c->faint_name = c->of_layers ? "one layer" : "one head";
    if (!rc && c->n_line > MANY) rc = take_shares(j, c);
    if (rc) return rc;
    for (int64_t i = 0; i < c->n_line; i++) c->line[i].faint = true;
    for (int64_t i = 0; i < c->n; i++)
        c->mean[i] = c->count[i] ? c->mean[i] / (double)c->count[i] : (double)NAN;
    c->line[c->n_line++] = (hs_fig_line){.name = name, .y = c->mean};
    return HS_OK;
}

static int read_curves(hs_job *j, const hs_heads *heads, curves *c) {
    int64_t n = hs_heads_count(heads);
    if (!n) return hs_fail(HS_EARG, "--head selects no head");
    int rc = hs_arena_get(j->arena, &c->line, (size_t)n + 1, sizeof *c->line);
    for (int i = 0; i < heads->n_layer * heads->n_head && !rc; i++) {
        const int layer = i / heads->n_head, head = i % heads->n_head;
        if (!heads->on[i] || (c->of_layers && head)) continue;
        if (!c->n_line && !j->opt->head && !has_series(j, layer, head))
            c->of_layers = has_series(j, layer, -1);
        rc = read_head(j, c, layer, head);
    }
    return rc ? rc : summarise(j, c);
}

static const hs_stat_info *stat_of(const char *name) {
    for (int s = 0; s < HS_N_STAT; s++)
        if (strcmp(hs_stat_infos[s].name, name) == 0) return &hs_stat_infos[s];
    return NULL;
}

static int draw_curves(hs_job *j, const curves *c, hs_fig **out) {
    const char *name = j->opt->over_positions, *y_title;
    const hs_stat_info *stat = stat_of(name);
    const char *heads = c->of_layers ? "all layers" : "all heads";
    const char *const *label = NULL;
    int rc = hs_job_labels(j, c->n, &label);
    if (!rc) rc = hs_job_say(j, "statistic", name);
    if (!rc && j->opt->layer) rc = hs_job_text(j, &heads, "layer %s", j->opt->layer);
    if (!rc && j->opt->head) rc = hs_job_text(j, &heads, "%s", j->opt->head);
    if (!rc) rc = hs_job_say(j, "heads", heads);
    if (!rc)
        rc = hs_job_caption(j, heads, "%s along the text%s%s", name, stat ? ": " : "",
                            stat ? stat->about : "");
    if (!rc)
        rc = hs_job_text(j, &y_title, stat && *stat->unit ? "%s (%s)" : "%s", name,
                         stat ? stat->unit : "");
    if (rc) return rc;
    const hs_fig_curve fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = "Position",
                              .y_title = y_title,
                              .n = c->n,
                              .label = label,
                              .line = c->line,
                              .n_line = c->n_line,
                              .faint_name = c->faint_name};
    return hs_fig_open_curve(out, &fig, &j->style);
}

static int draw(hs_job *j, hs_fig **out) {
    hs_heads heads = {0};
    curves c = {0};
    int rc = hs_job_heads(j, &heads);
    if (!rc) rc = hs_job_prompt(j);
    if (!rc) rc = read_curves(j, &heads, &c);
    if (!rc) rc = draw_curves(j, &c, out);
    hs_heads_free(&heads);
    return rc;
}

const hs_figure hs_figure_over_positions = {
    .name = "over-positions",
    .title = "a row statistic or stored series along the text, of some heads",
    .option = "over-positions",
    .takes = "head layer",
    .example = "heatmap --over-positions entropy --head L5H1,L7H0",
    .draw = draw,
};
