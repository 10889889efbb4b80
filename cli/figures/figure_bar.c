// heatmap --bar METRIC: the heads with the largest values as bars; of a metric around zero, those
// farthest from it. A run of several prompts: the mean, with its standard error.
#include <math.h>
#include <stdlib.h>

#include "cli/figures/figure.h"

enum { TOP = 20, MOST = 200 };

typedef struct bar {
    int head; // layer * n_head + head
    double value, key;
} bar;

static int by_key(const void *a, const void *b) {
    const bar *x = a, *y = b;
    if (x->key > y->key || x->key < y->key) return x->key > y->key ? -1 : 1;
    return x->head - y->head;
}

// The standard error of each head's mean, from the values of the prompts one by one.
typedef struct spread {
    hs_job *j;
    double *sum, *square; // [n_layer * n_head]
    int *n;
    int64_t prompts;
} spread;

static int on_prompt(void *ctx, const hs_query *q) {
    spread *s = ctx;
    char number[24];
    hs_values v;
    const char *all = s->j->r.prompt;
    snprintf(number, sizeof number, "%lld", (long long)hs_query_int(q, "prompt"));
    s->j->r.prompt = number;
    int rc = hs_values_read(&v, s->j, s->j->opt->bar);
    s->j->r.prompt = all;
    for (int i = 0; i < v.n_layer * v.n_head && !rc; i++) {
        if (isnan(v.at[i])) continue;
        s->sum[i] += v.at[i];
        s->square[i] += v.at[i] * v.at[i];
        s->n[i]++;
    }
    s->prompts++;
    return rc;
}

static int read_spread(hs_job *j, spread *s, const hs_values *v) {
    size_t n = (size_t)v->n_layer * (size_t)v->n_head;
    *s = (spread){.j = j};
    int rc = hs_arena_get(j->arena, &s->sum, n, sizeof *s->sum);
    if (!rc) rc = hs_arena_get(j->arena, &s->square, n, sizeof *s->square);
    if (!rc) rc = hs_arena_get(j->arena, &s->n, n, sizeof *s->n);
    return rc ? rc : hs_source_each(&j->r, "prompts", NULL, 0, on_prompt, s);
}

static double error_of(const spread *s, int i) {
    double n = s->n[i];
    if (n < 2) return NAN;
    double square = s->square[i] - s->sum[i] * s->sum[i] / n;
    return sqrt(fmax(square, 0) / (n - 1) / n);
}

// The bars in order, at most `top`.
static int sort_bars(hs_job *j, const hs_values *v, bar **out, int64_t *n) {
    int64_t top = j->opt->top ? j->opt->top : TOP;
    int all = v->n_layer * v->n_head;
    *n = 0;
    if (top > MOST) return hs_fail(HS_EARG, "--top draws at most %d bars", MOST);
    int rc = hs_arena_get(j->arena, out, (size_t)all, sizeof **out);
    for (int i = 0; i < all && !rc; i++)
        if (!isnan(v->at[i]))
            (*out)[(*n)++] = (bar){i, v->at[i], v->diverging ? fabs(v->at[i]) : v->at[i]};
    if (!rc && !*n) rc = hs_fail(HS_ENOTFOUND, "%s is undefined for every head", j->opt->bar);
    if (!rc) qsort(*out, (size_t)*n, sizeof **out, by_key);
    if (*n > top) *n = top;
    return rc;
}

static int fill(hs_job *j, const hs_values *v, const bar *b, int64_t n, const spread *s,
                hs_fig_bars *fig) {
    const char **name;
    double *value, *lo, *hi;
    int rc = hs_arena_get(j->arena, &name, (size_t)n, sizeof *name);
    if (!rc) rc = hs_arena_get(j->arena, &value, 3 * (size_t)n, sizeof *value);
    if (rc) return rc;
    lo = value + n;
    hi = lo + n;
    for (int64_t i = 0; i < n && !rc; i++) {
        double e = s->prompts > 1 ? error_of(s, b[i].head) : (double)NAN;
        value[i] = b[i].value;
        lo[i] = b[i].value - e;
        hi[i] = b[i].value + e;
        rc = v->layers
                 ? hs_job_text(j, &name[i], "L%d", b[i].head)
                 : hs_job_text(j, &name[i], "L%dH%d", b[i].head / v->n_head, b[i].head % v->n_head);
    }
    fig->n = n;
    fig->name = name;
    fig->value = value;
    fig->lo = s->prompts > 1 ? lo : NULL;
    fig->hi = s->prompts > 1 ? hi : NULL;
    return rc;
}

static int draw(hs_job *j, hs_fig **out) {
    const char *metric = j->opt->bar, *more = NULL;
    hs_values v;
    bar *b;
    int64_t n;
    spread s = {0};
    hs_fig_bars fig = {0};
    int rc = hs_values_read(&v, j, metric);
    if (!rc) rc = sort_bars(j, &v, &b, &n);
    if (!rc && !j->r.prompt) rc = read_spread(j, &s, &v);
    if (!rc) rc = fill(j, &v, b, n, &s, &fig);
    if (!rc && s.prompts > 1)
        rc = hs_job_text(j, &more, "whiskers: standard error over %lld prompts",
                         (long long)s.prompts);
    if (!rc) rc = hs_job_say(j, "metric", metric);
    if (!rc)
        rc = hs_job_caption(j, more, "Top %lld %s by %s%s%s", (long long)n,
                            v.layers ? "layers" : "heads", metric, *v.about ? ": " : "", v.about);
    if (rc) return rc;
    fig.title = j->title;
    fig.subtitle = j->subtitle;
    fig.x_title = v.label;
    fig.diverging = v.diverging;
    return hs_fig_open_bars(out, &fig, &j->style);
}

const hs_figure hs_figure_bar = {
    .name = "bar",
    .title = "the top heads by a metric as bars",
    .option = "bar",
    .takes = "top",
    .example = "heatmap --bar induction --top 20",
    .draw = draw,
};
