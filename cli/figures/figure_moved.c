// heatmap --moved RUN RUN: where attention went from one run to another: what each position of one
// prompt receives, before and after, and the difference.
//
// A position receives the mean weight of the rows that see it (the column mean), the mean over the
// heads asked for: the series column_mean of the observers sinks and hidden_sinks, or without one
// the stored maps. Cost: without series, all rows of the heads' maps.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures/figure.h"
#include "db/diff.h"

#define ALPHA 5.0  // a sink receives more than so many times its share (ACT's rule)
enum { SEEN = 8 }; // by so many rows: the last ones see themselves, and little else

// ---- column means -------------------------------------------------------------------------------

// The sum of the column means of the heads added so far.
typedef struct columns {
    double *sum; // [n]
    int64_t n;
} columns;

static int add(hs_job *j, columns *c, const double *mean, int64_t n) {
    int rc = HS_OK;
    if (!c->sum) {
        c->n = n;
        rc = hs_arena_get(j->arena, &c->sum, (size_t)n, sizeof *c->sum);
    }
    if (!rc && n != c->n) rc = hs_fail(HS_EFORMAT, "the heads have different numbers of positions");
    for (int64_t k = 0; k < n && !rc; k++) c->sum[k] += mean[k];
    return rc;
}

// Of a stored map: a row adds to the columns that it sees.
static int add_map(hs_job *j, columns *c, hs_map_rows *map) {
    const int64_t n = hs_map_rows_keys(map);
    double *mean = NULL;
    float *row = NULL;
    int64_t *seen = NULL;
    int rc = hs_alloc(&mean, (size_t)n, sizeof *mean);
    if (!rc) rc = hs_alloc(&row, (size_t)n, sizeof *row);
    if (!rc) rc = hs_alloc(&seen, (size_t)n, sizeof *seen);
    for (int64_t i = 0; i < hs_map_rows_count(map) && !rc; i++) {
        rc = hs_map_rows_read(map, i, row);
        for (int64_t k = 0; k < n && !rc; k++) {
            if (isnan(row[k])) continue;
            mean[k] += (double)row[k];
            seen[k]++;
        }
    }
    for (int64_t k = 0; k < n && !rc; k++) mean[k] /= (double)seen[k];
    if (!rc) rc = add(j, c, mean, n);
    free(mean);
    free(row);
    free(seen);
    return rc;
}

static int add_head(hs_job *j, columns *c, const hs_source *r, int64_t prompt, int layer,
                    int head) {
    double *series = NULL;
    hs_map_rows *map = NULL;
    int64_t n;
    int rc = hs_db_series(r->db, prompt, layer, head, "column_mean", &series, &n);
    if (!rc) rc = add(j, c, series, n);
    free(series);
    if (rc != HS_ENOTFOUND) return rc;
    rc = hs_map_rows_open(&map, r->db, prompt, layer, head);
    if (!rc) rc = add_map(j, c, map);
    hs_map_rows_close(map);
    if (rc != HS_ENOTFOUND) return rc;
    return hs_fail(rc,
                   "run %lld has neither column means nor maps of L%dH%d: record it with --observe "
                   "sinks, or with --maps",
                   (long long)r->run, layer, head);
}

static int read_columns(hs_job *j, columns *c, const hs_source *r, int64_t prompt,
                        const hs_heads *heads) {
    const double n_head = (double)hs_heads_count(heads);
    int rc = n_head > 0 ? HS_OK : hs_fail(HS_EARG, "--head selects no head");
    for (int i = 0; i < heads->n_layer * heads->n_head && !rc; i++)
        if (heads->on[i]) rc = add_head(j, c, r, prompt, i / heads->n_head, i % heads->n_head);
    for (int64_t k = 0; k < c->n && !rc; k++) c->sum[k] /= n_head;
    return rc;
}

// ---- bands and marks ----------------------------------------------------------------------------

enum { MOST_BANDS = 64 };

typedef struct bands {
    hs_job *j;
    hs_fig_band at[MOST_BANDS];
    int n;
} bands;

static int on_span(void *ctx, const hs_query *q) {
    bands *b = ctx;
    char name[64];
    if (b->n == MOST_BANDS) return HS_OK;
    hs_fig_band *to = &b->at[b->n++];
    hs_query_text(q, "name", name, sizeof name);
    to->from = hs_query_int(q, "start");
    to->to = hs_query_int(q, "stop");
    return hs_job_text(b->j, &to->name, "%s", name);
}

// The spans that the edited run knew, else those of the other.
static int read_bands(hs_job *j, const char *label, bands *b) {
    const hs_source after = {j->after.db, j->after.run, label};
    const char *all = "";
    int rc = hs_source_each(&after, "spans", NULL, 0, on_span, b);
    if (!rc && !b->n) rc = hs_source_each(&j->r, "spans", NULL, 0, on_span, b);
    for (int i = 0; i < b->n && !rc; i++)
        rc = hs_job_text(j, &all, "%s%s%s=%lld:%lld", all, i ? " " : "", b->at[i].name,
                         (long long)b->at[i].from, (long long)b->at[i].to);
    return !rc && b->n ? hs_job_say(j, "spans", all) : rc;
}

// Without --mark, what receives more than its share before.
static int read_marks(hs_job *j, const hs_heads *heads, const columns *c, const bool **out,
                      const char **name) {
    bool *at;
    int rc = hs_job_marks(j, heads, c->n, out, name);
    if (rc || *out) return rc;
    rc = hs_arena_get(j->arena, &at, (size_t)c->n, sizeof *at);
    for (int64_t k = 0; k < c->n && !rc; k++)
        at[k] = c->sum[k] > ALPHA / (double)c->n && (!k || c->n - k >= SEEN);
    *out = at;
    *name = "sink before: more than 5 times its share";
    return rc;
}

// ---- the figure ---------------------------------------------------------------------------------

static int caption(hs_job *j, int64_t n_head) {
    const char *heads, *two = NULL;
    int rc = hs_job_name_heads(j, n_head, &heads);
    if (!rc) rc = hs_job_say(j, "heads", heads);
    if (!rc) rc = hs_job_two(j, &two);
    if (!rc) rc = hs_job_text(j, &two, "%s; %s", heads, two);
    return rc ? rc : hs_job_caption(j, two, "Where attention went: what each token receives");
}

static int part(const hs_job *j, int64_t n, int64_t *from, int64_t *to) {
    *from = 0;
    *to = n;
    int rc = j->opt->cols ? hs_prefix(hs_range_parse(from, to, n, j->opt->cols), "--cols") : HS_OK;
    if (!rc && *from == *to)
        rc = hs_fail(HS_ERANGE, "--cols: '%s' holds no position", j->opt->cols);
    if (!rc && *to - *from > 1000)
        rc = hs_fail(HS_ERANGE,
                     "the prompt has %lld positions: choose at most 1000 with --cols A:B",
                     (long long)n);
    return rc;
}

static int draw_columns(hs_job *j, const hs_heads *heads, const hs_diff_prompt *p, hs_fig **out) {
    columns was = {0}, is = {0};
    bands b = {.j = j};
    const bool *mark = NULL;
    const char *const *label = NULL, *mark_name = NULL;
    int64_t from, to;
    int rc = read_columns(j, &was, &j->r, p->id[HS_A], heads);
    if (!rc) rc = read_columns(j, &is, &j->after, p->id[HS_B], heads);
    if (!rc) rc = part(j, was.n < is.n ? was.n : is.n, &from, &to);
    if (!rc) rc = hs_job_labels(j, to, &label);
    if (!rc) rc = read_bands(j, p->label, &b);
    if (!rc) rc = read_marks(j, heads, &was, &mark, &mark_name);
    if (!rc) rc = caption(j, hs_heads_count(heads));
    if (rc) return rc;
    const hs_fig_shift fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = "Token",
                              .y_title = "mean weight received",
                              .change_title = "after − before",
                              .before_name = "before",
                              .after_name = "after",
                              .before = was.sum + from,
                              .after = is.sum + from,
                              .x0 = from,
                              .n = to - from,
                              .label = label,
                              .band = b.at,
                              .n_band = b.n,
                              .mark = mark + from,
                              .mark_name = mark_name};
    return hs_fig_open_shift(out, &fig, &j->style);
}

static int draw(hs_job *j, hs_fig **out) {
    hs_db *const db[HS_AB] = {j->r.db, j->after.db};
    const int64_t run[HS_AB] = {j->r.run, j->after.run};
    hs_heads heads = {0};
    hs_diff d = {0};
    int rc = hs_job_heads(j, &heads);
    if (!rc) rc = hs_job_prompt(j);
    if (!rc) rc = hs_diff_open(&d, db, run, j->r.prompt);
    if (!rc && !d.prompt[0].same_tokens)
        rc = hs_fail(HS_ENOTFOUND, "prompt %s has other tokens in run %lld", d.prompt[0].label,
                     (long long)j->after.run);
    if (!rc) rc = draw_columns(j, &heads, &d.prompt[0], out);
    hs_diff_close(&d);
    hs_heads_free(&heads);
    return rc;
}

const hs_figure hs_figure_moved = {
    .name = "moved",
    .title = "what each token receives before and after an edit, and where the difference went",
    .option = "moved",
    .takes = "head layer cols mark",
    .example = "heatmap --moved 1 2 --head L5H1",
    .two = true,
    .draw = draw,
};
