// One metric of a run; see metric.h.
#include "cli/metric.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiment.h"
#include "db/replay.h"
#include "model/core/mem.h"

const hs_metric *hs_metric_info(const char *name) {
    hs_analysis giver;
    return hs_analysis_metric(name, &giver);
}

// Values on their way in, and the heads that there are.
typedef struct values {
    hs_head_values *v;
    hs_dims dims;
} values;

static int add_value(void *ctx, const hs_query *q) {
    const values *to = ctx;
    hs_head_values *v = to->v;
    const int64_t layer = hs_query_int(q, "layer"), head = hs_query_int(q, "head");
    if (layer < 0 || layer >= to->dims.n_layer || head < 0 || head >= to->dims.n_head)
        return hs_fail(HS_EFORMAT,
                       "the database is damaged (a metric of head L%" PRId64 "H%" PRId64
                       ", which the model has not): restore a copy, or record again",
                       layer, head);
    int rc = hs_grow(&v->at, (size_t)v->n + 1, sizeof *v->at);
    if (rc) return rc;
    hs_head_value *h = &v->at[v->n++];
    *h = (hs_head_value){.layer = (int)layer,
                         .head = (int)head,
                         .value = hs_query_num(q, "value"),
                         .prompts = hs_query_int(q, "prompts")};
    hs_query_text(q, "reason", h->reason, sizeof h->reason);
    return HS_OK;
}

static int add_name(void *ctx, const hs_query *q) {
    hs_buf *names = ctx;
    hs_cell c = hs_query_named(q, "metric");
    if (c.type != HS_CELL_TEXT) return HS_OK;
    if (names->len) hs_buf_str(names, ", ");
    hs_buf_add(names, c.data, c.n);
    return hs_buf_rc(names);
}

static int no_metric(const hs_source *r, const char *metric) {
    hs_analysis giver = {0};
    hs_analysis_metric(metric, &giver);
    const hs_observer *o = giver.observer;
    if (giver.name && !o)
        return hs_fail(HS_ENOTFOUND, "run %lld has no %s: a run of headscope %s has",
                       (long long)r->run, metric, giver.command);
    if (o && !o->always)
        return hs_fail(HS_ENOTFOUND,
                       "run %lld has no %s: record it with --observe %s, or add it with headscope "
                       "observe",
                       (long long)r->run, metric, o->name);
    hs_buf names = {0};
    int rc = hs_source_each(r, "metrics", NULL, 0, add_name, &names);
    if (!rc)
        rc = hs_fail(HS_ENOTFOUND, "run %lld has no metric '%s': it has %s", (long long)r->run,
                     metric, names.len ? hs_buf_text(&names) : "none");
    hs_buf_free(&names);
    return rc;
}

// Reads the rows of a query that takes the parameter metric.
static int read_values(hs_head_values *out, const hs_source *r, const char *query,
                       const char *metric) {
    hs_buf param = {0};
    *out = (hs_head_values){0};
    hs_buf_printf(&param, "metric=%s", metric);
    values to = {.v = out};
    int rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc) rc = hs_db_dims(r->db, r->run, &to.dims);
    if (!rc) rc = hs_source_each(r, query, &text, 1, add_value, &to);
    hs_buf_free(&param);
    if (rc) hs_metric_free(out);
    return rc;
}

int hs_metric_read(hs_head_values *out, const hs_source *r, const char *metric) {
    int rc = read_values(out, r, "heads", metric);
    return rc || out->n ? rc : no_metric(r, metric);
}

int hs_metric_where(hs_head_values *out, const hs_source *r, const char *metric,
                    const char *where) {
    hs_buf sql = {0};
    const hs_query_info *q = hs_queries;
    while (strcmp(q->name, "heads") != 0) q++;
    hs_buf_printf(&sql, "SELECT * FROM (\n%s\n) WHERE (%s\n)", q->text, where);
    int rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_prefix(read_values(out, r, hs_buf_text(&sql), metric), "--where");
    if (!rc && !out->n) rc = hs_fail(HS_ENOTFOUND, "no head has %s", where);
    hs_buf_free(&sql);
    return rc;
}

void hs_metric_free(hs_head_values *v) {
    free(v->at);
    *v = (hs_head_values){0};
}
