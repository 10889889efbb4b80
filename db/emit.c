// From an emitter of an observer or an experiment to rows: head_metric, series, and one table for
// each result table of its descriptor (NAME_OF_ANALYSIS "_" name), made when first needed with the
// prompt, the analysis run and the descriptor's columns, keyed by its key columns.
#include "db/record_internal.h"
#include "db/schema_internal.h"

#include <math.h>
#include <string.h>

void hs_emit_table(hs_buf *out, const char *analysis, const hs_result_table *table) {
    hs_buf_printf(out, "%s_%s", analysis, table->name);
}

static const char *or_empty(const char *s) {
    return s ? s : "";
}

static int put_docs(const hs_sink *sink, const char *tbl, const hs_column *c) {
    hs_v v[] = {hs_v_text(tbl), hs_v_text(c->name), hs_v_text(or_empty(c->unit)),
                hs_v_text(or_empty(c->about))};
    return sink->row(sink->ctx, HS_SQL_COLUMN_DOC, v, 4);
}

int hs_emit_make_table(const hs_sink *sink, const char *analysis, const hs_result_table *t) {
    static const hs_column prompt = {"prompt_id", NULL, "", "the prompt"},
                           run = {"analysis_run_id", NULL, "", "who found it"};
    hs_buf sql = {0}, name = {0};
    hs_emit_table(&name, analysis, t);
    const char *tbl = hs_buf_text(&name);
    hs_buf_printf(&sql,
                  "CREATE TABLE IF NOT EXISTS %s (\n"
                  "  prompt_id INTEGER NOT NULL REFERENCES prompt (id),\n"
                  "  analysis_run_id INTEGER NOT NULL REFERENCES analysis_run (id)",
                  tbl);
    for (int i = 0; t->columns[i].name; i++)
        hs_buf_printf(&sql, ",\n  \"%s\" %s%s", t->columns[i].name, t->columns[i].type,
                      i < t->n_key ? " NOT NULL" : "");
    hs_buf_str(&sql, ",\n  PRIMARY KEY (prompt_id, analysis_run_id");
    for (int i = 0; i < t->n_key; i++) hs_buf_printf(&sql, ", \"%s\"", t->columns[i].name);
    hs_buf_str(&sql, ")\n) STRICT, WITHOUT ROWID");
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_buf_rc(&sql);
    if (!rc) rc = sink->row(sink->ctx, hs_buf_text(&sql), NULL, 0);
    if (!rc) rc = put_docs(sink, tbl, &prompt);
    if (!rc) rc = put_docs(sink, tbl, &run);
    for (int i = 0; t->columns[i].name && !rc; i++) rc = put_docs(sink, tbl, &t->columns[i]);
    hs_buf_free(&sql);
    hs_buf_free(&name);
    return rc;
}

int hs_rec_check(hs_db *db, const hs_analysis *a) {
    hs_buf name = {0}, columns = {0};
    int rc = HS_OK;
    for (const hs_result_table *t = a->tables; t && t->name && !rc; t++) {
        int64_t differs = 0;
        hs_buf_clear(&name);
        hs_buf_clear(&columns);
        hs_emit_table(&name, a->name, t);
        hs_buf_str(&columns, "prompt_id,analysis_run_id");
        for (int i = 0; t->columns[i].name; i++) hs_buf_printf(&columns, ",%s", t->columns[i].name);
        hs_v v[] = {hs_v_text(hs_buf_text(&name)), hs_v_text(hs_buf_text(&columns))};
        rc = hs_buf_rc(&name) ? hs_buf_rc(&name) : hs_buf_rc(&columns);
        if (!rc)
            rc = hs_sql_int(db,
                            "SELECT group_concat(name, ',') <> ?2 FROM "
                            "(SELECT name FROM pragma_table_info(?1) ORDER BY cid)",
                            v, 2, &differs, NULL);
        if (!rc && differs)
            rc = hs_fail(HS_EFORMAT,
                         "%s: its table %s has other columns than this version of headscope "
                         "writes: record into another file (-o)",
                         hs_db_path(db), hs_buf_text(&name));
    }
    hs_buf_free(&name);
    hs_buf_free(&columns);
    return rc;
}

int hs_rec_check_observers(hs_db *db, const hs_observe_list *list) {
    int rc = HS_OK;
    for (int i = 0; i < list->n && !rc; i++) {
        const hs_analysis analysis = hs_analysis_of(list->item[i].observer);
        rc = hs_rec_check(db, &analysis);
    }
    return rc;
}

static int put_names(const hs_emit_to *to, const hs_metric *m, const char *kind) {
    int rc = HS_OK;
    for (; m && m->name && !rc; m++) {
        hs_v v[] = {hs_v_text(m->name),
                    hs_v_text(kind),
                    hs_v_text(to->analysis.name),
                    hs_v_text(or_empty(m->unit)),
                    hs_v_text(or_empty(m->about)),
                    hs_v_int(m->scale == HS_DIVERGING)};
        rc = to->sink.row(to->sink.ctx, HS_SQL_METRIC, v, 6);
    }
    return rc;
}

int hs_emit_begin(const hs_emit_to *to, const char *params_json, const char *source,
                  enum hs_store map_dtype) {
    const hs_analysis *a = &to->analysis;
    hs_v about[] = {hs_v_text(a->name), hs_v_text(or_empty(a->title)),
                    hs_v_text(or_empty(a->about)), hs_v_text(a->reference)};
    int rc = to->sink.row(to->sink.ctx,
                          "INSERT INTO analysis VALUES (NULL, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                          "SET title = excluded.title, about = excluded.about, "
                          "reference = excluded.reference",
                          about, 4);
    if (!rc) rc = put_names(to, a->metrics, "metric");
    if (!rc) rc = put_names(to, a->series, "series");
    for (const hs_result_table *t = a->tables; t && t->name && !rc; t++)
        rc = hs_emit_make_table(&to->sink, a->name, t);
    hs_v run[] = {to->analysis_run,
                  to->prompt,
                  hs_v_text(a->name),
                  hs_v_text(source),
                  hs_v_text(hs_store_name(map_dtype)),
                  hs_v_text(params_json)};
    if (!rc)
        rc = to->sink.row(to->sink.ctx,
                          "INSERT INTO analysis_run VALUES "
                          "(?, ?, (SELECT id FROM analysis WHERE name = ?), ?, ?, ?)",
                          run, 6);
    return rc;
}

static int check_cell(const hs_emit_to *to, int layer, int head, const char *name) {
    if (layer >= 0 && layer < to->n_layer && head >= -1 && head < to->n_head) return HS_OK;
    return hs_fail(HS_ERANGE, "%s gave %s for L%dH%d, which does not exist", to->analysis.name,
                   name, layer, head);
}

static int emit_metric(void *ctx, int layer, int head, const char *name, double value,
                       const char *reason) {
    const hs_emit_to *to = ctx;
    int rc = check_cell(to, layer, head, name);
    bool undefined = isnan(value);
    if (!rc && undefined && !reason)
        rc = hs_fail(HS_EARG, "%s gave no reason for an undefined %s", to->analysis.name, name);
    hs_v v[] = {to->prompt,
                hs_v_text(name),
                hs_v_int(layer),
                hs_v_int(head),
                to->analysis_run,
                undefined ? hs_v_null() : hs_v_num(value),
                hs_v_text(undefined ? reason : NULL)};
    return rc ? rc
              : to->sink.row(to->sink.ctx, "INSERT INTO head_metric VALUES (?, ?, ?, ?, ?, ?, ?)",
                             v, 7);
}

static int emit_series(void *ctx, int layer, int head, const char *name, const double *values,
                       int64_t n) {
    const hs_emit_to *to = ctx;
    int rc = check_cell(to, layer, head, name);
    hs_buf_clear(to->blob);
    if (!rc) rc = hs_series_pack_f64(to->blob, values, n);
    if (rc) return rc;
    hs_v v[] = {to->prompt,
                to->analysis_run,
                hs_v_text(name),
                hs_v_int(layer),
                head < 0 ? hs_v_null() : hs_v_int(head),
                hs_v_int(n),
                hs_v_blob(to->blob->data, to->blob->len)};
    return to->sink.row(to->sink.ctx, "INSERT INTO series VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", v,
                        7);
}

static hs_v value_of(const hs_value *v) {
    switch (v->type) {
    case HS_VAL_INT:
        return hs_v_int(v->i);
    case HS_VAL_NUM:
        return isnan(v->f) ? hs_v_null() : hs_v_num(v->f);
    case HS_VAL_TEXT:
        return hs_v_text(v->s);
    default:
        return hs_v_null();
    }
}

static int emit_row(void *ctx, const char *table, const hs_value *values) {
    enum { MAX_COLUMNS = 48 };
    const hs_emit_to *to = ctx;
    const hs_result_table *t = to->analysis.tables;
    while (t && t->name && strcmp(t->name, table) != 0) t++;
    if (!t || !t->name)
        return hs_fail(HS_EARG, "%s has no result table %s", to->analysis.name, table);
    hs_v v[MAX_COLUMNS + 2] = {to->prompt, to->analysis_run};
    int n = 0;
    hs_buf_clear(to->sql);
    hs_buf_str(to->sql, "INSERT INTO ");
    hs_emit_table(to->sql, to->analysis.name, t);
    hs_buf_str(to->sql, " (prompt_id, analysis_run_id");
    for (; n < MAX_COLUMNS && t->columns[n].name; n++) {
        hs_buf_printf(to->sql, ", \"%s\"", t->columns[n].name);
        v[n + 2] = value_of(&values[n]);
    }
    hs_buf_str(to->sql, ") VALUES (?, ?");
    for (int i = 0; i < n; i++) hs_buf_str(to->sql, ", ?");
    hs_buf_chr(to->sql, ')');
    int rc = hs_buf_rc(to->sql);
    return rc ? rc : to->sink.row(to->sink.ctx, hs_buf_text(to->sql), v, n + 2);
}

hs_emit hs_emit_of(hs_emit_to *to) {
    return (hs_emit){to, emit_metric, emit_series, emit_row};
}
