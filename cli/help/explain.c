// Pages about observers, experiments, interventions, data sets, queries, metrics, hook points and
// tables; see explain.h.
#include "cli/help/explain.h"

#include <string.h>

#include "analyses/prompt.h"
#include "cli/figures/figure.h"
#include "db/doc.h"
#include "db/query.h"
#include "hooks/intervention.h"
#include "model/tap.h"

void hs_doc_explain(hs_doc *d, const char *name, const char *about, const char *unit,
                    const char *fallback) {
    enum { COLUMN = 20 };
    hs_buf text = {0};
    hs_buf_str(&text, about);
    if (unit && *unit) hs_buf_printf(&text, " [%s]", unit);
    if (fallback) hs_buf_printf(&text, " (default: %s)", *fallback ? fallback : "none");
    hs_doc_entry(d, name, hs_buf_text(&text), COLUMN);
    hs_buf_free(&text);
}

// "NAME (KIND): title", the text, and what to read.
static void head(hs_doc *d, const char *kind, const char *name, const char *title,
                 const char *about, const char *reference) {
    hs_buf text = {0};
    hs_buf_printf(&text, "%s (%s)", name, kind);
    hs_doc_title(d, hs_buf_text(&text), name, "7", title);
    if (about) hs_doc_para(d, about);
    hs_buf_clear(&text);
    hs_buf_printf(&text, "Reference: %s", reference ? reference : "");
    if (reference && *reference) hs_doc_para(d, hs_buf_text(&text));
    hs_buf_free(&text);
}

static void params(hs_doc *d, const char *spec, const hs_param *p) {
    if (!p || !p->name) return;
    hs_buf heading = {0};
    hs_buf_printf(&heading, "parameters (%s)", spec);
    hs_doc_head(d, hs_buf_text(&heading));
    hs_buf_free(&heading);
    for (; p->name; p++) {
        hs_buf text = {0};
        hs_buf_printf(&text, "%s%s%s", p->choices ? p->choices : "", p->choices ? ": " : "",
                      p->help);
        hs_doc_explain(d, p->name, hs_buf_text(&text), p->unit, p->fallback);
        hs_buf_free(&text);
    }
}

static void params_of(hs_doc *d, const char *name, const hs_param *p) {
    hs_buf spec = {0};
    hs_buf_printf(&spec, "%s:k=v,...", name);
    params(d, hs_buf_text(&spec), p);
    hs_buf_free(&spec);
}

static void metrics(hs_doc *d, const char *heading, const hs_metric *m) {
    if (!m || !m->name) return;
    hs_doc_head(d, heading);
    for (; m->name; m++) hs_doc_explain(d, m->name, m->about, m->unit, NULL);
}

// ---- observers, experiments -----------------------------------------------------------------

// What an analysis writes.
static void results(hs_doc *d, const hs_analysis *a) {
    metrics(d, "metrics, one number a head", a->metrics);
    metrics(d, "series", a->series);
    for (const hs_result_table *t = a->tables; t && t->name; t++) {
        hs_buf heading = {0};
        hs_buf_printf(&heading, "table %s_%s: %s", a->name, t->name, t->about);
        hs_doc_head(d, hs_buf_text(&heading));
        hs_buf_free(&heading);
        for (const hs_column *c = t->columns; c->name; c++)
            hs_doc_explain(d, c->name, c->about, c->unit, NULL);
    }
}

void hs_page_observer(hs_doc *d, int i) {
    const hs_observer *o = hs_observers[i];
    const hs_analysis a = hs_analysis_of(o);
    head(d, "observer", o->name, o->title, o->about, o->reference);
    params_of(d, o->name, o->params);
    results(d, &a);
}

void hs_page_experiment(hs_doc *d, int i) {
    const hs_analysis a = hs_analysis_of_experiment(hs_experiments[i]);
    head(d, "experiment", a.name, a.title, a.about, a.reference);
    results(d, &a);
}

// ---- interventions --------------------------------------------------------------------------

static void targets(hs_doc *d, const hs_intervention *v) {
    static const char *const unit[HS_N_UNIT][2] = {
        [HS_UNIT_HEAD] = {"L5H1", "query heads; L5H* all of a layer"},
        [HS_UNIT_GROUP] = {"L5G0", "a KV head with the query heads that share it"},
        [HS_UNIT_LAYER] = {"L5", "a layer, attention and MLP"},
        [HS_UNIT_MLP] = {"L5M", "the MLP of a layer"},
        [HS_UNIT_NEURON] = {"L5N7", "a neuron of an MLP"},
    };
    hs_doc_head(d, "targets, joined by +");
    for (int k = 0; v->target == HS_TARGET_UNITS && k < HS_N_UNIT; k++)
        if (v->units >> k & 1) hs_doc_explain(d, unit[k][0], unit[k][1], NULL, NULL);
    if (v->target == HS_TARGET_UNITS && !(v->units >> HS_UNIT_LAYER & 1))
        hs_doc_explain(d, "L5", "all heads of a layer", NULL, NULL);
    if (v->target == HS_TARGET_POINTS)
        hs_doc_explain(d, "z, blocks.3.attn.hook_z",
                       "hook points, by name, short name or glob: headscope help hooks", NULL,
                       NULL);
    if (v->target == HS_TARGET_WORD) hs_doc_para(d, v->choices);
    if (v->target == HS_TARGET_PLACES)
        hs_doc_explain(d, "doc, 5:20, -1",
                       "positions: a name (--span, or the prompt's own), a range, a position", NULL,
                       NULL);
}

void hs_page_intervention(hs_doc *d, int i) {
    const hs_intervention *v = hs_interventions[i];
    hs_buf text = {0};
    head(d, "intervention", v->name, v->title, v->about, v->reference);
    hs_buf_printf(&text, "headscope eval model.gguf -p \"Mary had a little lamb\" --do %s",
                  v->example);
    hs_doc_code(d, hs_buf_text(&text));
    targets(d, v);
    hs_buf_clear(&text);
    hs_buf_printf(&text, "%s:TARGET,k=v,...", v->name);
    params(d, hs_buf_text(&text), v->params);
    hs_doc_head(d, "parameters that interventions share");
    const hs_param *const all[] = {hs_edit_params,
                                   v->target == HS_TARGET_UNITS ? NULL : hs_edit_heads_param};
    for (int t = 0; t < 2; t++)
        for (const hs_param *p = all[t]; p && p->name; p++)
            hs_doc_explain(d, p->name, p->help, NULL, p->fallback);
    hs_doc_para(d, "headscope help interventions tells how specs are written.");
    hs_buf_free(&text);
}

// ---- calibrations -------------------------------------------------------------------------------

void hs_page_calibration(hs_doc *d, int i) {
    const hs_calibration *c = hs_calibrations[i];
    hs_buf text = {0};
    head(d, "calibration", c->name, c->title, c->about, c->reference);
    hs_buf_printf(&text, "headscope calibrate %s model.gguf", c->name);
    hs_doc_code(d, hs_buf_text(&text));
    params_of(d, c->name, c->params);
    hs_buf_clear(&text);
    hs_buf_printf(&text, "Calibrated on %s unless --on says otherwise.", c->usual);
    hs_doc_para(d, hs_buf_text(&text));
    hs_buf_free(&text);
}

// ---- data sets, queries ---------------------------------------------------------------------

void hs_page_dataset(hs_doc *d, int i) {
    const hs_dataset *s = hs_datasets[i];
    head(d, "data set", s->name, s->title, s->about, s->reference);
    params_of(d, s->name, s->params);
}

void hs_page_query(hs_doc *d, int i) {
    const hs_query_info *q = &hs_queries[i];
    char title[200], name[64], fallback[64], help[200];
    hs_query_title(q, title, sizeof title);
    head(d, "query", q->name, title, NULL, NULL);
    for (int k = 0;
         hs_query_param(q, k, name, sizeof name, fallback, sizeof fallback, help, sizeof help);
         k++) {
        if (k == 0) hs_doc_head(d, "parameters (--param NAME=VALUE)");
        hs_doc_explain(d, name, help, NULL, fallback);
    }
    hs_doc_head(d, "text");
    hs_doc_code(d, q->text);
}

// ---- metrics --------------------------------------------------------------------------------

const hs_metric *hs_metric_at(int i, hs_analysis *giver) {
    for (int k = 0; hs_analysis_at(k, giver); k++)
        for (const hs_metric *m = giver->metrics; m && m->name; m++)
            if (i-- == 0) return m;
    return NULL;
}

void hs_page_metric(hs_doc *d, int i) {
    hs_analysis giver;
    const hs_metric *m = hs_metric_at(i, &giver);
    const hs_observer *o = giver.observer;
    hs_buf text = {0};
    head(d, "metric", m->name, m->about, NULL, giver.reference);
    hs_buf_printf(&text, "One number a head%s%s, given by the %s %s (headscope help %s), ",
                  *m->unit ? ", in " : "", m->unit, o ? "observer" : "experiment", giver.name,
                  giver.name);
    if (!o)
        hs_buf_printf(&text, "a command of its own: headscope %s MODEL.", giver.command);
    else if (o->always)
        hs_buf_str(&text, "which watches every recording.");
    else
        hs_buf_printf(&text, "which has to be asked for: record --observe %s.", giver.name);
    hs_doc_para(d, hs_buf_text(&text));
    hs_buf_clear(&text);
    hs_buf_printf(&text,
                  "headscope heads --metric %s --top 10\nheadscope heatmap --grid %s -o %s.png",
                  m->name, m->name, m->name);
    hs_doc_code(d, hs_buf_text(&text));
    hs_buf_free(&text);
}

// ---- hook points ----------------------------------------------------------------------------

static const char *const point_about[HS_N_POINT] = {
    [HS_EMBED] = "token embeddings",
    [HS_POS_EMBED] = "learned position embeddings",
    [HS_RESID_PRE] = "residual stream entering the block",
    [HS_LN1_SCALE] = "what the norm before attention divides by",
    [HS_LN1_NORMALIZED] = "what the norm gives, before its gain and bias",
    [HS_Q] = "queries, before any rotation",
    [HS_K] = "keys, before any rotation; one a KV head",
    [HS_V] = "values; one a KV head",
    [HS_ROT_Q] = "queries after rotary positions",
    [HS_ROT_K] = "keys after rotary positions; one a KV head",
    [HS_SCORES] = "attention scores, as the softmax takes them; -inf where masked",
    [HS_PATTERN] = "attention weights, after the softmax; a row sums to 1",
    [HS_ROW_STATS] = "the summary of every row of the pattern",
    [HS_Z] = "each head's weighted mean of values",
    [HS_RESULT] = "each head's part of attn_out: z through its slice of W_O",
    [HS_ATTN_OUT] = "what attention adds to the residual",
    [HS_RESID_MID] = "residual stream between attention and MLP",
    [HS_LN2_SCALE] = "what the norm before the MLP divides by",
    [HS_LN2_NORMALIZED] = "what the norm gives, before its gain and bias",
    [HS_MLP_PRE] = "MLP before its activation; of a gated one, the gate",
    [HS_MLP_PRE_LINEAR] = "the linear branch of a gated MLP",
    [HS_MLP_POST] = "MLP after its activation, gate and all",
    [HS_MLP_OUT] = "what the MLP adds to the residual",
    [HS_RESID_POST] = "residual stream leaving the block",
    [HS_LNF_SCALE] = "what the final norm divides by",
    [HS_LNF_NORMALIZED] = "what the norm gives, before its gain and bias",
    [HS_LOGITS] = "logits over the vocabulary",
};

const char *hs_hook_about(enum hs_point point) {
    return point_about[point];
}

const char *hs_hook_shape(enum hs_point point) {
    static const char *const shape[] = {
        [HS_SHAPE_D] = "[T, d_model]",
        [HS_SHAPE_1] = "[T, 1]",
        [HS_SHAPE_HEAD] = "[T, n_head, d_head]",
        [HS_SHAPE_KV] = "[T, n_kv_head, d_head]",
        [HS_SHAPE_FF] = "[T, d_ff]",
        [HS_SHAPE_RESULT] = "[T, n_head, d_model]",
        [HS_SHAPE_VOCAB] = "[T, n_vocab]",
        [HS_SHAPE_MAP] = "[n_head, T, T]",
        [HS_SHAPE_STATS] = "[n_head, stat, T]",
    };
    return shape[hs_point_infos[point].shape];
}

void hs_hook_form(hs_buf *out, enum hs_point point) {
    const char *name = hs_point_infos[point].name, *layer = strstr(name, "%d");
    hs_buf_add(out, name, layer ? (size_t)(layer - name) : strlen(name));
    if (layer) hs_buf_printf(out, "L%s", layer + 2);
}

void hs_page_hook(hs_doc *d, int i) {
    const enum hs_point point = (enum hs_point)i;
    const hs_point_info *info = &hs_point_infos[i];
    hs_buf form = {0};
    head(d, "hook point", info->alias, point_about[i], NULL, NULL);
    hs_hook_form(&form, point);
    hs_doc_explain(d, "name", hs_buf_text(&form), NULL, NULL);
    hs_doc_explain(d, "shape", hs_hook_shape(point), NULL, NULL);
    hs_doc_explain(d, "may be edited", info->writable ? "yes" : "no", NULL, NULL);
    if (info->shape == HS_SHAPE_STATS) {
        hs_doc_head(d, "statistics of a row");
        for (int s = 0; s < HS_N_STAT; s++)
            hs_doc_explain(d, hs_stat_infos[s].name, hs_stat_infos[s].about, hs_stat_infos[s].unit,
                           NULL);
    }
    hs_buf_free(&form);
}

// ---- figures --------------------------------------------------------------------------------

void hs_page_figure(hs_doc *d, int i) {
    const hs_figure *f = hs_figures[i];
    hs_buf text = {0};
    head(d, "figure", f->name, f->title, NULL, NULL);
    hs_buf_printf(&text, "headscope %s -o %s.png", f->example, f->name);
    hs_doc_code(d, hs_buf_text(&text));
    hs_buf_free(&text);
    hs_doc_para(d, "See headscope help heatmap for all options, headscope help figures for all "
                   "kinds.");
}

// ---- tables of the database -----------------------------------------------------------------

void hs_doc_columns(hs_doc *d, int table) {
    hs_table_doc t;
    hs_column_doc c;
    if (!hs_table_doc_at(table, &t)) return;
    if (t.select) hs_doc_code(d, t.select);
    for (int k = 0; hs_column_doc_at(table, k, &c); k++) {
        hs_buf about = {0};
        hs_buf_str(&about, c.about);
        if (*c.unit) hs_buf_printf(&about, " [%s]", c.unit);
        hs_buf_printf(&about, ". %s", c.decl);
        hs_doc_entry(d, c.name, hs_buf_text(&about), 20);
        hs_buf_free(&about);
    }
}

void hs_page_table(hs_doc *d, int i) {
    hs_table_doc t;
    if (!hs_table_doc_at(i, &t)) return;
    head(d, t.select ? "view of the database" : "table of the database", t.name, t.about, NULL,
         NULL);
    hs_doc_columns(d, i);
}
