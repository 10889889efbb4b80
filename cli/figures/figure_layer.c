// heatmap --layer L: the maps of a layer's heads, side by side.
#include "cli/figures/figure.h"

static int draw(hs_job *j, hs_fig **out) {
    hs_heads heads = {0};
    char number[24];
    int layer;
    int rc = hs_job_layer(j, &layer);
    if (rc) return rc;
    snprintf(number, sizeof number, "%d", layer);
    rc = hs_job_heads(j, &heads);
    if (!rc) rc = hs_job_prompt(j);
    if (!rc) rc = hs_job_say(j, "layer", number);
    if (!rc) rc = hs_job_caption(j, NULL, "Attention of the heads of layer %d", layer);
    if (!rc) rc = hs_job_panels(j, &heads, (hs_fig_panels){0}, out);
    hs_heads_free(&heads);
    return rc;
}

const hs_figure hs_figure_layer = {
    .name = "layer",
    .title = "the maps of a layer's heads, side by side",
    .option = "layer",
    .takes = "pool rows cols",
    .example = "heatmap --layer 5",
    .draw = draw,
};
