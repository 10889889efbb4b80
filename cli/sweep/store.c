// A sweep into the database: one run an op, one transaction a prompt; see sweep.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sweep/sweep.h"
#include "model/core/mem.h"

// ---- what makes two runs the same one ---------------------------------------------------------

static void metrics_json(hs_jw *w, const hs_sweep_ask *ask) {
    hs_jw_key(w, "metrics");
    hs_jw_begin(w, '[');
    for (int i = 0; i < ask->n_metric; i++) {
        hs_buf text = {0};
        const hs_sweep_metric *m = &ask->metric[i];
        hs_buf_printf(&text, "%s%s%s", m->name, m->text ? "=" : "", m->text ? m->text : "");
        hs_jw_str(w, hs_buf_text(&text));
        hs_buf_free(&text);
    }
    hs_jw_end(w, ']');
}

// What a sweep is, of which the database keeps a copy with every prompt: members of an object.
static void what_json(hs_buf *out, const hs_sweep_run *r) {
    hs_jw w = {out, false};
    hs_jw_key_str(&w, "op", r->op->op);
    hs_jw_key_str(&w, "args", r->op->args ? r->op->args : "");
    hs_units_json(&w, &r->work->units);
    metrics_json(&w, &r->work->ask);
    hs_jw_key_str(&w, "by", r->by);
    hs_jw_key_int(&w, "seed", r->work->opt->seed);
}

// ---- the run ----------------------------------------------------------------------------------

// The experiment's description, with metrics of this sweep's own.
static void describe(hs_sweep_run *r) {
    const hs_sweep_ask *ask = &r->work->ask;
    r->as = hs_analysis_of_experiment(&hs_experiment_sweep);
    int n = 0;
    for (int i = 0; i < ask->n_metric; i++) {
        const hs_sweep_metric *m = &ask->metric[i];
        const hs_metric *known = hs_analysis_metric(m->stored, &(hs_analysis){0});
        snprintf(r->about[i], sizeof r->about[i], "%s%s", m->is_change ? "" : "change of ",
                 m->text ? m->text : "");
        r->metrics[n++] = known ? *known : (hs_metric){m->stored, "", r->about[i], HS_DIVERGING};
    }
    r->as.metrics = r->metrics;
}

int hs_sweep_run_open(hs_sweep_run *r, hs_sweep_work *w, const hs_sweep_op *op, const char *by,
                      const char *more) {
    hs_buf what = {0}, also = {0};
    *r = (hs_sweep_run){.work = w, .op = op, .by = by, .curve = !strcmp(by, "prune")};
    describe(r);
    what_json(&what, r);
    hs_buf_printf(&also, "\"edit\":%s%s", hs_buf_text(&op->edit), more);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->opt->prompt,
                                .db = &w->db,
                                .path = hs_buf_text(&w->path),
                                .how = &w->opt->study,
                                .seed = w->opt->seed,
                                .as = &r->as,
                                .what = &what,
                                .more = &also,
                                .shard = &w->ask.shard};
    return hs_study_open(&r->study, &opts);
}

int hs_sweep_run_close(hs_sweep_run *r, int rc) {
    hs_sweep_work *w = r->work;
    rc = hs_study_close(&r->study, rc);
    if (!rc) w->made[w->n_made++] = (hs_sweep_made){r->study.id, r->op, r->by, r->curve};
    return rc;
}

// ---- results ----------------------------------------------------------------------------------

void hs_sweep_key(hs_value out[4], const hs_unit *unit, const char *metric) {
    out[0] = (hs_value){.type = HS_VAL_TEXT, .s = hs_unit_kinds[unit->kind]};
    out[1] = (hs_value){.type = HS_VAL_INT, .i = unit->layer};
    out[2] = (hs_value){.type = HS_VAL_INT, .i = unit->index};
    out[3] = (hs_value){.type = HS_VAL_TEXT, .s = metric};
}

static int emit_unit(const hs_emit *emit, const hs_unit *unit, const hs_sweep_metric *m,
                     const double *base, const double *value) {
    double raw, raw_base;
    hs_value row[6];
    int rc = hs_sweep_measure(m, base, value, &raw, &raw_base);
    if (rc) return rc;
    hs_sweep_key(row, unit, m->name);
    row[4] = (hs_value){.type = HS_VAL_NUM, .f = raw};
    row[5] = (hs_value){.type = HS_VAL_NUM, .f = raw_base};
    rc = emit->row(emit->ctx, "unit", row);
    if (rc || unit->kind != HS_UNIT_HEAD) return rc;
    const double change = raw - raw_base;
    return emit->metric(emit->ctx, unit->layer, (int)unit->index, m->stored, change,
                        !isnan(change) ? NULL
                        : m->expr      ? "the expression is not a number here"
                                       : "a prompt of one token has no scored position");
}

// Estimates along the prompt, where there are any: of a head or group, else of its layer.
static int emit_positions(const hs_emit *emit, const hs_unit *unit, const hs_sweep_metric *m,
                          const double *at, int64_t n) {
    static const char *const of[HS_N_UNIT] = {[HS_UNIT_HEAD] = "",
                                              [HS_UNIT_GROUP] = "_group",
                                              [HS_UNIT_LAYER] = "",
                                              [HS_UNIT_MLP] = "_mlp",
                                              [HS_UNIT_NEURON] = ""};
    const bool in_layer = unit->kind == HS_UNIT_HEAD || unit->kind == HS_UNIT_GROUP;
    char name[HS_METRIC_NAME + 24];
    if (!at) return HS_OK;
    snprintf(name, sizeof name, "%s_at%s", m->stored, of[unit->kind]);
    return emit->series(emit->ctx, unit->layer, in_layer ? (int)unit->index : -1, name, at, n);
}

static int on_prompt(void *ctx, const hs_sweep_result *result) {
    hs_sweep_run *r = ctx;
    const hs_sweep_work *w = r->work;
    const int64_t n_token = hs_prompts_at(w->session.prompts, result->ord)->n_token;
    hs_emit emit;
    int rc = hs_study_begin(&r->study, result->ord, &emit);
    for (int64_t u = 0; u < w->units.n; u++)
        for (int k = 0; k < w->ask.n_metric && !rc; k++) {
            const hs_sweep_metric *m = &w->ask.metric[k];
            const double *at = m->expr ? NULL : result->at[m->effect];
            rc = emit_unit(&emit, &w->units.at[u], m, result->base,
                           result->value + u * HS_N_EFFECT);
            if (!rc)
                rc = emit_positions(&emit, &w->units.at[u], m, at ? at + u * n_token : at, n_token);
        }
    return hs_study_end(&r->study, rc);
}

int hs_sweep_store(hs_sweep_work *w, const hs_sweep_op *op) {
    const bool gradient = w->opt->by == HS_BY_GRADIENT;
    const hs_sweep_opts opts = hs_sweep_opts_of(w, op);
    hs_sweep_run r;
    int64_t *ord = NULL, n = 0;
    int rc = hs_sweep_run_open(&r, w, op, gradient ? "gradient" : "exact", "");
    if (!rc) rc = hs_study_left(&r.study, &ord, &n);
    if (!rc && n) rc = (gradient ? hs_sweep_gradient : hs_sweep)(&opts, ord, n, on_prompt, &r);
    free(ord);
    return hs_sweep_run_close(&r, rc);
}
