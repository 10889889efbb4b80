// heatmap --strip: the text itself, each token coloured by the attention between it and one token.
//
// From a position: the query's row of the map. To a position: the key's column, one number of each
// later row. Over several heads the mean. Cost: from, one chunk of each map; to, all rows from the
// position on.
#include <math.h>
#include <string.h>

#include "cli/figures/figure.h"

// Adds what map m holds between the token and the others.
static int add_map(hs_maps *m, int64_t i, int64_t pos, bool from, float *row, double *sum) {
    int rc = HS_OK;
    for (int64_t q = pos; q < (from ? pos + 1 : m->n_q) && !rc; q++) {
        rc = hs_maps_row(m, i, q, row);
        for (int64_t k = 0; from && k <= pos && !rc; k++) sum[k] += (double)row[k];
        if (!from && !rc) sum[q] += (double)row[pos];
    }
    return rc;
}

// value: NaN for tokens that cannot be seen from there, or cannot see it.
static int read_values(hs_job *j, hs_maps *m, int64_t pos, bool from, double **value) {
    float *row;
    int rc = hs_arena_get(j->arena, value, (size_t)m->n_key, sizeof **value);
    if (!rc) rc = hs_arena_get(j->arena, &row, (size_t)m->n_key, sizeof *row);
    for (int64_t i = 0; i < m->n && !rc; i++) rc = add_map(m, i, pos, from, row, *value);
    for (int64_t t = 0; t < m->n_key && !rc; t++)
        (*value)[t] = (from ? t > pos : t < pos) ? (double)NAN : (*value)[t] / (double)m->n;
    return rc;
}

static int caption(hs_job *j, const hs_maps *m, int64_t pos, bool from) {
    const char *heads, *where, *token = j->labels.text[pos];
    if (token) token += strspn(token, " ");
    int rc = hs_job_name_heads(j, m->n, &heads);
    if (!rc) rc = hs_job_text(j, &where, "%lld", (long long)pos);
    if (!rc) rc = hs_job_say(j, "heads", heads);
    if (!rc) rc = hs_job_say(j, from ? "from" : "to", where);
    if (rc) return rc;
    return hs_job_caption(j, heads, "What %stoken %lld%s%s%s%s", from ? "" : "looks at ",
                          (long long)pos, token ? ", “" : "", token ? token : "",
                          token ? from ? "”," : "”" : "", from ? " looks at" : "");
}

static int draw_strip(hs_job *j, hs_maps *m, hs_fig **out) {
    const bool from = !j->opt->to;
    const char *given = from ? j->opt->from ? j->opt->from : "-1" : j->opt->to;
    const char *const *label = NULL;
    const bool *found = NULL;
    const char *found_name = NULL;
    double *value;
    int64_t pos;
    int rc = hs_job_bytes(j, m->n_key, &label);
    if (!rc) rc = hs_prefix(hs_pos_parse(&pos, m->n_q, given), from ? "--from" : "--to");
    if (!rc) rc = read_values(j, m, pos, from, &value);
    if (!rc) rc = hs_job_marks(j, m->heads, m->n_key, &found, &found_name);
    if (!rc) rc = caption(j, m, pos, from);
    if (rc) return rc;
    const hs_fig_strip fig = {
        .title = j->title,
        .subtitle = j->subtitle,
        .bar_label = "attention weight",
        .label = label,
        .value = value,
        .n = m->n_key,
        .mark = pos,
        .found = found,
        .found_name = found_name,
        .pale_label = from ? "Pale: what comes later, and cannot be seen from there."
                           : "Pale: what comes earlier, and cannot see it."};
    return hs_fig_open_strip(out, &fig, &j->style);
}

static int draw(hs_job *j, hs_fig **out) {
    hs_heads heads = {0};
    hs_maps maps = {0};
    int rc = HS_OK;
    if (j->opt->from && j->opt->to) rc = hs_fail(HS_EARG, "either --from or --to, not both");
    if (!rc) rc = hs_job_heads(j, &heads);
    if (!rc) rc = hs_job_prompt(j);
    if (!rc) rc = hs_maps_open(&maps, j, &heads);
    if (!rc) rc = draw_strip(j, &maps, out);
    hs_maps_close(&maps);
    hs_heads_free(&heads);
    return rc;
}

const hs_figure hs_figure_strip = {
    .name = "strip",
    .title = "the text, coloured by attention from a token or to one",
    .option = "strip",
    .takes = "head layer from to mark",
    .example = "heatmap --strip --head L5H1 --from -1",
    .draw = draw,
};
