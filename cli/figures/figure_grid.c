// heatmap --grid METRIC: a number a head, layers downwards and heads across.
#include "cli/figures/figure.h"

static int draw(hs_job *j, hs_fig **out) {
    const char *name = j->opt->grid;
    hs_values v;
    int rc = hs_values_read(&v, j, name);
    if (!rc) rc = hs_job_say(j, "metric", name);
    if (!rc) rc = hs_job_caption(j, NULL, "%s%s%s", name, *v.about ? ": " : "", v.about);
    if (rc) return rc;
    const hs_fig_grid fig = {.title = j->title,
                             .subtitle = j->subtitle,
                             .value = v.at,
                             .n_layer = v.n_layer,
                             .n_head = v.n_head,
                             .diverging = v.diverging,
                             .bar_label = v.label};
    return hs_fig_open_grid(out, &fig, &j->style);
}

const hs_figure hs_figure_grid = {
    .name = "grid",
    .title = "a layer x head grid of a metric, a row statistic's mean or a result's column",
    .option = "grid",
    .takes = "",
    .example = "heatmap --grid entropy_nats",
    .draw = draw,
};
