// Numbers by layer and head for figures, from metrics, row summaries and result tables; see
// figure.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiment.h"
#include "cli/figures/figure.h"
#include "cli/metric.h"

static int make(hs_values *v, hs_job *j, bool layers) {
    v->n_layer = j->dims.n_layer;
    v->n_head = layers ? 1 : j->dims.n_head;
    v->layers = layers;
    size_t n = (size_t)v->n_layer * (size_t)v->n_head;
    int rc = hs_arena_get(j->arena, &v->at, n, sizeof *v->at);
    for (size_t i = 0; i < n && !rc; i++) v->at[i] = NAN;
    return rc;
}

static void put(hs_values *v, int64_t layer, int64_t head, double value) {
    if (layer >= 0 && layer < v->n_layer && head >= 0 && head < v->n_head)
        v->at[layer * v->n_head + head] = value;
}

static int of_metric(hs_values *v, hs_job *j, const char *name) {
    hs_head_values read = {0};
    const hs_metric *info = hs_metric_info(name);
    int rc = hs_metric_read(&read, &j->r, name);
    if (!rc) rc = make(v, j, false);
    for (int64_t i = 0; i < read.n && !rc; i++)
        put(v, read.at[i].layer, read.at[i].head, read.at[i].value);
    hs_metric_free(&read);
    if (info) {
        v->unit = info->unit;
        v->about = info->about;
        v->diverging = info->scale == HS_DIVERGING;
    }
    return rc;
}

// ---- row summaries ------------------------------------------------------------------------------

// The mean of one head over the rows of one prompt, added to *sum.
static int add_mean(hs_job *j, int64_t prompt, int layer, int head, const char *name, double *sum) {
    double *row, mean = 0;
    int64_t n;
    int rc = hs_db_series(j->r.db, prompt, layer, head, name, &row, &n);
    for (int64_t i = 0; i < n && !rc; i++) mean += row[i] / (double)n;
    free(row);
    *sum += mean;
    return rc;
}

typedef struct prompts {
    hs_job *j;
    hs_values *v;
    const char *name;
    int64_t n;
} prompts;

static int on_prompt(void *ctx, const hs_query *q) {
    prompts *p = ctx;
    hs_job *j = p->j;
    char number[24];
    int64_t prompt;
    snprintf(number, sizeof number, "%lld", (long long)hs_query_int(q, "prompt"));
    int rc = hs_db_prompt(j->r.db, j->r.run, number, &prompt);
    for (int i = 0; i < p->v->n_layer * p->v->n_head && !rc; i++) {
        if (!p->n) p->v->at[i] = 0;
        rc = add_mean(j, prompt, i / p->v->n_head, i % p->v->n_head, p->name, &p->v->at[i]);
    }
    p->n++;
    return rc;
}

static int of_rows(hs_values *v, hs_job *j, const hs_stat_info *stat) {
    prompts p = {.j = j, .v = v, .name = stat->name};
    int rc = make(v, j, false);
    if (!rc) rc = hs_source_each(&j->r, "prompts", NULL, 0, on_prompt, &p);
    for (int i = 0; i < v->n_layer * v->n_head && !rc && p.n; i++) v->at[i] /= (double)p.n;
    v->unit = stat->unit;
    if (!rc) rc = hs_job_text(j, &v->about, "mean over rows of %s", stat->about);
    return rc;
}

// ---- result tables ------------------------------------------------------------------------------

static const hs_column *find_column(const hs_result_table *t, const char *name) {
    const hs_column *c = t->columns;
    while (c->name && strcmp(c->name, name) != 0) c++;
    return c->name ? c : NULL;
}

// A column of a result table.
typedef struct column {
    hs_analysis giver;
    const hs_result_table *table;
    const hs_column *column; // NULL: there is none
    char sql[128];           // the table's name in the database
} column;

// The one that OBSERVER_TABLE.COLUMN names, when it holds numbers by layer.
static column find(const char *name) {
    const char *dot = strchr(name, '.');
    hs_analysis a;
    for (int i = 0; dot && hs_analysis_at(i, &a); i++)
        for (const hs_result_table *t = a.tables; t && t->name; t++) {
            column c = {a, t, find_column(t, dot + 1), ""};
            snprintf(c.sql, sizeof c.sql, "%s_%s", a.name, t->name);
            bool named = strlen(c.sql) == (size_t)(dot - name) &&
                         !strncmp(c.sql, name, strlen(c.sql));
            if (named && c.column && strcmp(c.column->type, "TEXT") != 0 && find_column(t, "layer"))
                return c;
        }
    return (column){0};
}

static int on_table(void *ctx, const hs_query *q) {
    (void)q;
    *(bool *)ctx = true;
    return HS_OK;
}

// A table is made when its observer first gives it a row.
static int need_table(hs_job *j, const column *c) {
    hs_buf sql = {0};
    bool there = false;
    hs_buf_printf(&sql, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '%s'", c->sql);
    int rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_source_each(&j->r, hs_buf_text(&sql), NULL, 0, on_table, &there);
    hs_buf_free(&sql);
    if (rc || there) return rc;
    if (!c->giver.observer)
        return hs_fail(HS_ENOTFOUND, "run %lld has no %s: a run of headscope %s has",
                       (long long)j->r.run, c->sql, c->giver.name);
    return hs_fail(HS_ENOTFOUND,
                   "run %lld has no %s: record it with --observe %s, or add it with headscope "
                   "observe",
                   (long long)j->r.run, c->sql, c->giver.name);
}

static int on_value(void *ctx, const hs_query *q) {
    put(ctx, hs_query_int(q, "layer"), hs_query_int(q, "head"), hs_query_num(q, "value"));
    return HS_OK;
}

// The names come from descriptors, never from the user.
static int of_column(hs_values *v, hs_job *j, const column *c) {
    hs_buf sql = {0};
    bool layers = !find_column(c->table, "head");
    hs_buf_printf(&sql,
                  "SELECT layer, head, avg(value) AS value FROM ("
                  "SELECT t.layer, %s AS head, max(t.%s) AS value "
                  "FROM prompt AS p JOIN %s AS t ON t.prompt_id = p.id "
                  "WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) "
                  "AND t.analysis_run_id = "
                  "(SELECT max(analysis_run_id) FROM %s WHERE prompt_id = p.id) "
                  "GROUP BY p.id, t.layer, %s) GROUP BY layer, head",
                  layers ? "0" : "t.head", c->column->name, c->sql, c->sql,
                  layers ? "t.layer" : "t.head");
    int rc = need_table(j, c);
    if (!rc) rc = make(v, j, layers);
    if (!rc) rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_source_each(&j->r, hs_buf_text(&sql), NULL, 0, on_value, v);
    v->unit = c->column->unit;
    v->about = c->column->about;
    hs_buf_free(&sql);
    return rc;
}

int hs_values_read(hs_values *v, hs_job *j, const char *name) {
    const column c = find(name);
    int stat = 0, rc;
    *v = (hs_values){.unit = "", .about = ""};
    while (stat < HS_N_STAT && strcmp(hs_stat_infos[stat].name, name) != 0) stat++;
    if (c.column)
        rc = of_column(v, j, &c);
    else if (stat < HS_N_STAT && stat != HS_STAT_ARGMAX && !hs_metric_info(name))
        rc = of_rows(v, j, &hs_stat_infos[stat]); // but not of argmax: a mean key says nothing
    else
        rc = of_metric(v, j, name);
    if (rc) return rc;
    return *v->unit ? hs_job_text(j, &v->label, "%s (%s)", name, v->unit)
                    : hs_job_text(j, &v->label, "%s", name);
}
