// heatmap --head L5H1: one attention map with its tokens; several heads, side by side.
#include "cli/figures/figure.h"

static int one(hs_job *j, const hs_heads *heads, hs_fig **out) {
    hs_maps maps = {0};
    const char *const *label = NULL;
    int rc = hs_maps_open(&maps, j, heads);
    if (!rc) rc = hs_job_labels(j, maps.n_key, &label);
    if (!rc) {
        const hs_fig_map fig = {.title = j->title,
                                .subtitle = j->subtitle,
                                .bar_label = "attention weight",
                                .rows = {&maps, hs_maps_row},
                                .n_q = maps.n_q,
                                .n_k = maps.n_k,
                                .q0 = maps.q0,
                                .k0 = maps.k0,
                                .label = label,
                                .pool = hs_job_pool(j)};
        rc = hs_fig_open_map(out, &fig, &j->style);
    }
    hs_maps_close(&maps);
    return rc;
}

static int draw(hs_job *j, hs_fig **out) {
    hs_heads heads = {0};
    int rc = hs_job_heads(j, &heads);
    if (!rc) rc = hs_job_prompt(j);
    if (!rc) rc = hs_job_say(j, "head", j->opt->head);
    if (!rc) rc = hs_job_caption(j, NULL, "Attention of %s", j->opt->head);
    if (!rc && hs_heads_count(&heads) == 1)
        rc = one(j, &heads, out);
    else if (!rc)
        rc = hs_job_panels(j, &heads, (hs_fig_panels){0}, out);
    hs_heads_free(&heads);
    return rc;
}

const hs_figure hs_figure_map = {
    .name = "map",
    .title = "one head's attention map with its tokens; several heads side by side",
    .option = "head",
    .takes = "pool rows cols",
    .example = "heatmap --head L5H1",
    .draw = draw,
};
