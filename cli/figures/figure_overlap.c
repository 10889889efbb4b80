// heatmap --overlap METRICS: which sets of heads are the same heads. Metrics against metrics; in each
// cell the number of heads that are among the first of both, coloured by Spearman's rank correlation
// over all heads.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures/figure.h"

enum { TOP = 10, MOST = 64 };

typedef struct matrix {
    hs_job *j;
    const char *name[MOST]; // of the metrics, as they were asked for
    const char *cell[MOST][MOST];
    double spearman[MOST][MOST]; // NaN: undefined
    double chance;               // the most that two sets share by chance
    int64_t n;
} matrix;

// The number of a metric, at its first appearance the next. The pairs come in the order of their
// metrics, each of which is there, so that the first with all others names them all.
static int number_of(matrix *m, const hs_query *q, const char *column, int64_t *out) {
    const hs_cell name = hs_query_named(q, column);
    for (*out = 0; *out < m->n; ++*out)
        if (strlen(m->name[*out]) == name.n && memcmp(m->name[*out], name.data, name.n) == 0)
            return HS_OK;
    if (m->n == MOST) return hs_fail(HS_EARG, "--overlap draws at most %d metrics", MOST);
    int rc = hs_arena_str(m->j->arena, &m->name[m->n], name.data, name.n);
    for (int64_t i = 0; i <= m->n; i++) m->spearman[i][m->n] = m->spearman[m->n][i] = NAN;
    m->spearman[m->n][m->n] = 1;
    m->n++;
    return rc;
}

static int put(matrix *m, int64_t a, int64_t b, int64_t heads) {
    return hs_job_text(m->j, &m->cell[a][b], "%lld", (long long)heads);
}

static int on_pair(void *ctx, const hs_query *q) {
    matrix *m = ctx;
    int64_t a, b;
    int rc = number_of(m, q, "a", &a);
    if (!rc) rc = number_of(m, q, "b", &b);
    if (rc) return rc;
    m->spearman[a][b] = m->spearman[b][a] = hs_query_num(q, "spearman");
    m->chance = fmax(m->chance, hs_query_num(q, "expected"));
    rc = put(m, a, b, hs_query_int(q, "shared"));
    if (!rc) rc = put(m, b, a, hs_query_int(q, "shared"));
    if (!rc) rc = put(m, a, a, hs_query_int(q, "size_a"));
    return rc ? rc : put(m, b, b, hs_query_int(q, "size_b"));
}

static int read_matrix(matrix *m, int64_t k) {
    const char *param[2];
    int rc = hs_job_text(m->j, &param[0], "metrics=%s", m->j->opt->overlap);
    if (!rc) rc = hs_job_text(m->j, &param[1], "k=%lld", (long long)k);
    if (!rc) rc = hs_source_each(&m->j->r, "overlap", param, 2, on_pair, m);
    if (!rc && !m->n)
        rc = hs_fail(HS_ENOTFOUND,
                     "there are no two metrics to compare: --overlap takes two or more, as "
                     "induction,previous (headscope query metrics lists those of a run)");
    return rc;
}

// What the sets are of: several runs, all their prompts.
static int caption(const matrix *m, int64_t k) {
    hs_job *j = m->j;
    int rc = hs_job_say(j, "metrics", j->opt->overlap);
    if (!rc)
        rc = hs_job_caption(j, NULL, "Heads that the first %lld of two metrics share",
                            (long long)k);
    if (!rc)
        rc = hs_job_text(j, &j->subtitle, "%s; sets drawn at random share %.*f", j->model,
                         m->chance < 1 ? 2 : 1, m->chance);
    return rc;
}

static int draw_matrix(matrix *m, hs_fig **out) {
    hs_job *j = m->j;
    const int64_t k = j->opt->top ? j->opt->top : TOP;
    double *value;
    const char **cell;
    int rc = read_matrix(m, k);
    if (!rc) rc = caption(m, k);
    if (!rc) rc = hs_arena_get(j->arena, &value, (size_t)(m->n * m->n), sizeof *value);
    if (!rc) rc = hs_arena_get(j->arena, &cell, (size_t)(m->n * m->n), sizeof *cell);
    if (rc) return rc;
    for (int64_t i = 0; i < m->n * m->n; i++) {
        value[i] = m->spearman[i / m->n][i % m->n];
        cell[i] = m->cell[i / m->n][i % m->n];
    }
    const hs_fig_grid fig = {.title = j->title,
                             .subtitle = j->subtitle,
                             .value = value,
                             .n_layer = m->n,
                             .n_head = m->n,
                             .diverging = true,
                             .bar_label = "Spearman's rank correlation, all heads",
                             .cell = cell,
                             .row_title = "",
                             .row = m->name,
                             .col_title = "",
                             .col = m->name,
                             .unnumbered = true};
    return hs_fig_open_grid(out, &fig, &j->style);
}

static int draw(hs_job *j, hs_fig **out) {
    matrix *m;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    m->j = j;
    rc = draw_matrix(m, out);
    free(m);
    return rc;
}

const hs_figure hs_figure_overlap = {
    .name = "overlap",
    .title = "how many of their first heads metrics share, over all runs of a model, and their "
             "rank correlation",
    .option = "overlap",
    .takes = "top",
    .example = "heatmap --overlap induction,previous,sink_alpha0",
    .draw = draw,
};
