// headscope heads --metric METRIC: a metric of every head, sorted.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/metric.h"
#include "db/replay.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    hs_out_options out;
    const char *metric, *heads, *where;
    int64_t top;
    int sort;
};

enum sort { SORT_VALUE, SORT_ASCENDING, SORT_ABS, SORT_HEAD };

// Undefined values come last; equal ones in the order of layers and heads.
static int by_head(const hs_head_value *a, const hs_head_value *b) {
    return a->layer != b->layer ? a->layer - b->layer : a->head - b->head;
}

static int by_number(const hs_head_value *a, const hs_head_value *b, double x, double y) {
    if (isnan(x) != isnan(y)) return isnan(x) ? 1 : -1;
    if (x > y || x < y) return x > y ? -1 : 1;
    return by_head(a, b);
}

static int cmp_value(const void *a, const void *b) {
    const hs_head_value *x = a, *y = b;
    return by_number(x, y, x->value, y->value);
}

static int cmp_ascending(const void *a, const void *b) {
    const hs_head_value *x = a, *y = b;
    return by_number(x, y, -x->value, -y->value);
}

static int cmp_abs(const void *a, const void *b) {
    const hs_head_value *x = a, *y = b;
    return by_number(x, y, fabs(x->value), fabs(y->value));
}

static int cmp_head(const void *a, const void *b) {
    return by_head(a, b);
}

static int (*const compare[])(const void *, const void *) = {[SORT_VALUE] = cmp_value,
                                                             [SORT_ASCENDING] = cmp_ascending,
                                                             [SORT_ABS] = cmp_abs,
                                                             [SORT_HEAD] = cmp_head};

// Keeps the heads of a selection.
static int restrict_to(hs_head_values *v, const hs_source *r, const char *selection) {
    hs_dims dims;
    hs_heads set = {0};
    int rc = hs_db_dims(r->db, r->run, &dims);
    if (!rc) rc = hs_heads_parse(&set, &dims, selection);
    int64_t n = 0;
    for (int64_t i = 0; !rc && i < v->n; i++)
        if (hs_heads_has(&set, v->at[i].layer, v->at[i].head)) v->at[n++] = v->at[i];
    if (!rc) v->n = n;
    hs_heads_free(&set);
    return rc;
}

static int make_table(hs_table **out, const hs_head_values *v, const struct options *opt) {
    const hs_col columns[] = {
        {NULL, "head", 0},    {"layer", NULL, 0},  {"head", NULL, 0}, {"value", opt->metric, 6},
        {"prompts", NULL, 0}, {"reason", NULL, 0}, {NULL, "", 0}};
    int rc = hs_table_open(out, columns, sizeof columns / sizeof *columns);
    for (int64_t i = 0; !rc && i < v->n && (!opt->top || i < opt->top); i++) {
        const hs_head_value *h = &v->at[i];
        char name[24];
        hs_table_str(*out, hs_head_name(name, h->layer, h->head));
        hs_table_int(*out, h->layer);
        hs_table_int(*out, h->head);
        hs_table_num(*out, h->value);
        hs_table_int(*out, h->prompts);
        hs_table_str(*out, *h->reason ? h->reason : NULL);
        hs_table_str(*out, h->reason);
    }
    return rc;
}

static int print(const hs_call *call, const struct options *opt, const hs_source *r,
                 const hs_head_values *v) {
    hs_table *t = NULL;
    int rc = make_table(&t, v, opt);
    if (!rc && opt->out.json) {
        hs_buf json = {0};
        hs_jw j = {&json, false};
        hs_jw_begin(&j, '{');
        hs_jw_key(&j, "run");
        hs_jw_int(&j, r->run);
        hs_jw_key(&j, "metric");
        hs_jw_str(&j, opt->metric);
        hs_table_json(t, &j, "heads");
        hs_jw_end(&j, '}');
        rc = hs_json_put(&json);
    } else if (!rc) {
        rc = hs_table_put(t, call, &opt->out);
    }
    hs_table_close(t);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_source r = {0};
    hs_head_values v = {0};
    int rc = hs_out_check(&opt->out);
    if (!rc && !opt->metric)
        rc = hs_fail(HS_EARG, "which metric? --metric NAME: headscope list metrics shows them");
    if (!rc && opt->top < 0) rc = hs_fail(HS_EARG, "--top takes a number from 0 (all) on");
    if (!rc) rc = hs_source_open(&r, call, 0, &opt->db, &opt->run);
    if (!rc) rc = hs_metric_read(&v, &r, opt->metric);
    if (!rc && opt->where) {
        hs_metric_free(&v);
        rc = hs_metric_where(&v, &r, opt->metric, opt->where);
    }
    if (!rc && opt->heads) rc = restrict_to(&v, &r, opt->heads);
    if (!rc) {
        if (v.n) qsort(v.at, (size_t)v.n, sizeof *v.at, compare[opt->sort]);
        rc = print(call, opt, &r, &v);
    }
    hs_metric_free(&v);
    hs_source_close(&r);
    return rc;
}

static const hs_opt own[] = {
    {"metric", 'm', HS_OPT_TEXT, offsetof(struct options, metric), "METRIC", NULL,
     "which: see headscope list metrics"},
    {"top", 'n', HS_OPT_INT, offsetof(struct options, top), "N", "0",
     "the first N heads only; 0: all"},
    {"sort", 0, HS_OPT_ENUM, offsetof(struct options, sort), "value|ascending|abs|head", "value",
     "largest first, smallest first, by magnitude, or by layer and head"},
    {"where", 0, HS_OPT_TEXT, offsetof(struct options, where), "SQL", NULL,
     "only heads for which this holds, over layer, head and value: \"value > 0.5 and layer < 9\""},
    {"heads", 0, HS_OPT_TEXT, offsetof(struct options, heads), "HEADS", "all",
     "only these: L5H1, L0-3H*"},
    {0},
};

const hs_cmd hs_cmd_heads = {
    .name = "heads",
    .group = "reading",
    .title = "a metric of every head of a run",
    .synopsis = "[RUN] --metric NAME [options]",
    .about = "The mean over the run's prompts, or one prompt's value with --prompt. Where a metric "
             "is not defined there is no number but a reason.",
    .examples = (const char *const[][2]){{"heads --metric sink_alpha0 --top 10",
                                          "the ten strongest attention sinks"},
                                         {"heads --metric induction --prompt 2 --json",
                                          "every head on the third prompt, for scripts"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"database", hs_opts_db_read, offsetof(struct options, db)},
                                      {"", hs_opts_prompt_of, offsetof(struct options, run)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
