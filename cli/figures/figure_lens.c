// heatmap --lens: the logit lens of a prompt, layers downwards and the positions that were looked at
// across; in each cell the token that the model would say there, coloured by its probability, or by
// how far the lens is from the end.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures/figure.h"

// What colours stand for, by --value.
enum { PROB, RANK, KL };
static const struct {
    const char *name, *label;
} values[] = {{"prob", "probability of the token"},
              {"rank", "rank of the final token, log10(1 + rank)"},
              {"kl", "KL(final || lens) (nats)"}};

typedef struct lens {
    hs_job *j;
    int64_t *pos; // [n] of the columns
    int64_t n, n_depth, n_read;
    double *read; // [n][n_depth] position by position
    const char **text;
} lens;

static double value_of(const hs_job *j, const hs_query *q) {
    switch (j->opt->value) {
    case RANK:
        return log10(1 + hs_query_num(q, "rank"));
    case KL:
        return hs_query_num(q, "kl");
    default:
        return hs_query_num(q, "prob");
    }
}

static int damaged(const hs_job *j) {
    return hs_fail(HS_EFORMAT, "%s: damaged: the lens lacks layers", hs_db_path(j->r.db));
}

static int on_row(void *ctx, const hs_query *q) {
    lens *l = ctx;
    const hs_cell text = hs_query_named(q, "text");
    const int64_t i = l->n_read++, depth = i % l->n_depth, pos = hs_query_int(q, "position");
    int rc = hs_grow(&l->read, (size_t)i + 1, sizeof *l->read);
    if (!rc) rc = hs_grow(&l->text, (size_t)i + 1, sizeof *l->text);
    if (!rc && !depth) rc = hs_grow(&l->pos, (size_t)l->n + 1, sizeof *l->pos);
    if (rc) return rc;
    if (pos < (!depth && l->n ? l->pos[l->n - 1] + 1 : 0) || pos >= INT32_MAX) return damaged(l->j);
    if (!depth) l->pos[l->n++] = pos;
    if (hs_query_int(q, "layer") != depth - 1 || pos != l->pos[l->n - 1]) return damaged(l->j);
    l->read[i] = value_of(l->j, q);
    l->text[i] = NULL;
    return text.type == HS_CELL_TEXT
               ? hs_arena_str(l->j->arena, &l->text[i], text.data, text.n)
               : hs_job_text(l->j, &l->text[i], "%d", (int)hs_query_int(q, "top"));
}

// Positions in a row have the labels of the axis of positions; others their own.
static int name_columns(const lens *l, hs_fig_grid *fig) {
    const int64_t last = l->pos[l->n - 1];
    const char *const *label = NULL;
    const char **own;
    int rc = hs_job_labels(l->j, last + 1, &label);
    if (rc || last - l->pos[0] == l->n - 1) {
        fig->col = label;
        fig->col0 = l->pos[0];
        return rc;
    }
    rc = hs_arena_get(l->j->arena, &own, (size_t)l->n, sizeof *own);
    for (int64_t i = 0; i < l->n && !rc; i++) {
        const char *token = label ? label[l->pos[i]] : NULL;
        rc = hs_job_text(l->j, &own[i], "%d%s%s", (int)l->pos[i], token ? ":" : "",
                         token ? token : "");
    }
    if (rc) return rc;
    fig->col = own;
    fig->unnumbered = true;
    return HS_OK;
}

// Layer after layer, as the grid has them.
static int arrange(const lens *l, hs_fig_grid *fig) {
    const size_t n = (size_t)(l->n * l->n_depth);
    double *value;
    const char **cell = NULL, **row = NULL;
    int rc = hs_arena_get(l->j->arena, &value, n, sizeof *value);
    if (!rc) rc = hs_arena_get(l->j->arena, &cell, n, sizeof *cell);
    if (!rc) rc = hs_arena_get(l->j->arena, &row, (size_t)l->n_depth, sizeof *row);
    for (int64_t d = 0; d < l->n_depth && !rc; d++) {
        for (int64_t i = 0; i < l->n; i++) {
            value[d * l->n + i] = l->read[i * l->n_depth + d];
            cell[d * l->n + i] = l->text[i * l->n_depth + d];
        }
        row[d] = "input";
        if (d) rc = hs_job_text(l->j, &row[d], "%d", (int)d - 1);
    }
    if (rc) return rc;
    fig->value = value;
    fig->cell = cell;
    fig->row = row;
    return HS_OK;
}

static int draw(hs_job *j, hs_fig **out) {
    lens l = {.j = j, .n_depth = j->dims.n_layer + 1};
    const int value = j->opt->value;
    hs_fig_grid fig = {.bar_label = values[value].label,
                       .n_layer = l.n_depth,
                       .row_title = "After layer",
                       .col_title = "Position"};
    int rc = hs_job_prompt(j);
    if (!rc) rc = hs_source_each(&j->r, "lens", NULL, 0, on_row, &l);
    if (!rc && (!l.n || l.n_read % l.n_depth)) rc = damaged(j);
    if (!rc) rc = name_columns(&l, &fig);
    if (!rc) rc = arrange(&l, &fig);
    if (!rc) rc = hs_job_say(j, "value", values[value].name);
    if (!rc) rc = hs_job_caption(j, NULL, "What the model would say after each layer");
    fig.n_head = l.n;
    fig.title = j->title;
    fig.subtitle = j->subtitle;
    if (!rc) rc = hs_fig_open_grid(out, &fig, &j->style);
    free(l.pos);
    free(l.read);
    free(l.text);
    return rc;
}

const hs_figure hs_figure_lens = {
    .name = "lens",
    .title = "the logit lens: the token that each layer would say at each position",
    .option = "lens",
    .takes = "value",
    .example = "heatmap --lens",
    .draw = draw,
};
