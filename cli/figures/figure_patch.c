// heatmap --patch: what patching brought back. Of heads or KV groups at one place a grid of layers
// and heads; else what was patched downwards (layers, or heads by name) and the places across.
#include <math.h>
#include <stdlib.h>

#include "cli/figures/figure.h"

enum { MOST = 1024 }; // rows and columns of a grid

typedef struct cell {
    int64_t layer, head, place; // head -1: a layer's
    double recovered;
    const char *unit, *position;
} cell;

typedef struct cells {
    hs_job *j;
    cell *at;
    int64_t n;
    int layer;       // of --layer, -1: all
    int64_t n_place; // of the run
} cells;

static int on_row(void *ctx, const hs_query *q) {
    cells *c = ctx;
    const bool whole = hs_query_named(q, "head").type == HS_CELL_NULL;
    const cell one = {.layer = hs_query_int(q, "layer"),
                      .head = whole ? -1 : hs_query_int(q, "head"),
                      .place = hs_query_int(q, "place"),
                      .recovered = hs_query_num(q, "recovered")};
    char unit[40], position[64];
    if (c->layer >= 0 && one.layer != c->layer) return HS_OK;
    int rc = hs_grow(&c->at, (size_t)c->n + 1, sizeof *c->at);
    if (rc) return rc;
    c->at[c->n] = one;
    c->n_place = hs_query_int(q, "places");
    hs_query_text(q, "unit", unit, sizeof unit);
    hs_query_text(q, "position", position, sizeof position);
    rc = hs_job_text(c->j, &c->at[c->n].unit, "%s", unit);
    if (!rc) rc = hs_job_text(c->j, &c->at[c->n].position, "%s", position);
    c->n += !rc;
    return rc;
}

// Layers and heads, of the first place; the rows are those of the model.
static int grid_of_heads(const cells *c, hs_fig_grid *fig) {
    double *value;
    fig->n_layer = c->j->dims.n_layer;
    fig->n_head = 1;
    for (int64_t i = 0; i < c->n; i++)
        if (c->at[i].head >= fig->n_head && c->at[i].head < MOST) fig->n_head = c->at[i].head + 1;
    const int64_t n = fig->n_layer * fig->n_head;
    int rc = hs_arena_get(c->j->arena, &value, (size_t)n, sizeof *value);
    for (int64_t i = 0; i < n && !rc; i++) value[i] = NAN;
    for (int64_t i = 0; i < c->n && !rc; i++) {
        const int64_t layer = c->at[i].layer, head = c->at[i].head;
        if (layer < 0 || layer >= fig->n_layer || head < 0 || head >= fig->n_head) continue;
        value[layer * fig->n_head + head] = c->at[i].recovered;
    }
    fig->value = value;
    return rc;
}

// A row for each thing that was patched (they come one after the other), a column for each place.
static int grid_of_places(const cells *c, hs_fig_grid *fig) {
    double *value;
    const char **row, **col;
    int64_t n_row = 0, n_col = 0;
    for (int64_t i = 0; i < c->n; i++) {
        n_row += !i || c->at[i].layer != c->at[i - 1].layer || c->at[i].head != c->at[i - 1].head;
        if (c->at[i].place >= n_col && c->at[i].place < INT32_MAX) n_col = c->at[i].place + 1;
    }
    if (n_row > MOST || n_col > MOST)
        return hs_fail(HS_EARG,
                       "%lld rows and %lld places do not fit a picture: choose a layer with "
                       "--layer, or patch fewer places",
                       (long long)n_row, (long long)n_col);
    int rc = hs_arena_get(c->j->arena, &value, (size_t)(n_row * n_col), sizeof *value);
    if (!rc) rc = hs_arena_get(c->j->arena, &row, (size_t)n_row, sizeof *row);
    if (!rc) rc = hs_arena_get(c->j->arena, &col, (size_t)n_col, sizeof *col);
    if (rc) return rc;
    for (int64_t i = 0; i < n_row * n_col; i++) value[i] = NAN;
    for (int64_t k = 0; k < n_col; k++) col[k] = "";
    for (int64_t i = 0, r = -1; i < c->n; i++) {
        r += !i || c->at[i].layer != c->at[i - 1].layer || c->at[i].head != c->at[i - 1].head;
        row[r] = c->at[i].unit;
        if (c->at[i].place < 0 || c->at[i].place >= n_col) continue;
        col[c->at[i].place] = c->at[i].position;
        value[r * n_col + c->at[i].place] = c->at[i].recovered;
    }
    *fig = (hs_fig_grid){.value = value,
                         .n_layer = n_row,
                         .n_head = n_col,
                         .row_title = c->at[0].head < 0 ? NULL : "Head",
                         .row = row,
                         .col_title = "Position",
                         .col = col,
                         .unnumbered = true};
    return HS_OK;
}

static int draw(hs_job *j, hs_fig **out) {
    cells c = {.j = j, .layer = -1};
    hs_fig_grid fig = {0};
    const char *more = NULL;
    int rc = j->opt->layer ? hs_job_layer(j, &c.layer) : HS_OK;
    if (!rc && j->r.prompt) rc = hs_job_prompt(j);
    if (!rc) rc = hs_source_each(&j->r, "patch", NULL, 0, on_row, &c);
    if (!rc && !c.n) rc = hs_fail(HS_ENOTFOUND, "nothing was patched there");
    if (!rc)
        rc = c.at[0].head >= 0 && c.n_place == 1 ? grid_of_heads(&c, &fig)
                                                 : grid_of_places(&c, &fig);
    if (!rc && c.n_place == 1) rc = hs_job_text(j, &more, "at %s", c.at[0].position);
    free(c.at);
    if (!rc) rc = hs_job_say(j, "metric", "recovered");
    if (!rc) rc = hs_job_caption(j, more, "What patching brings back of the other half's result");
    if (rc) return rc;
    fig.title = j->title;
    fig.subtitle = j->subtitle;
    fig.diverging = true;
    fig.bar_label = "recovered, 1: all of it";
    return hs_fig_open_grid(out, &fig, &j->style);
}

const hs_figure hs_figure_patch = {
    .name = "patch",
    .title = "what patching recovered: layers or heads, and positions",
    .option = "patch",
    .takes = "layer",
    .example = "heatmap --patch",
    .draw = draw,
};
