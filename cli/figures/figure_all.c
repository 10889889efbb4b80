// heatmap --all: every head's map on one sheet, layers downwards and heads across.
#include "cli/figures/figure.h"

static int draw(hs_job *j, hs_fig **out) {
    hs_heads heads = {0};
    const hs_fig_panels sheet = {
        .n_col = j->dims.n_head, .row_title = "Layer", .col_title = "Head"};
    int rc = hs_job_heads(j, &heads);
    if (!rc) rc = hs_job_prompt(j);
    if (!rc) rc = hs_job_say(j, "heads", "all");
    if (!rc) rc = hs_job_caption(j, NULL, "Attention of every head");
    if (!rc) rc = hs_job_panels(j, &heads, sheet, out);
    hs_heads_free(&heads);
    return rc;
}

const hs_figure hs_figure_all = {
    .name = "all",
    .title = "every head's map on one sheet",
    .option = "all",
    .takes = "pool rows cols",
    .example = "heatmap --all",
    .draw = draw,
};
