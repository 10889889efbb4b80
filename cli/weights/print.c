// What a run of weights found, read back from the database.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/weights/weights.h"

// ---- rows of queries ------------------------------------------------------------------------------

struct rows {
    hs_table *table;
    int64_t left; // rows to take
};

static int take_row(void *ctx, const hs_query *q) {
    struct rows *r = ctx;
    int rc = r->table ? HS_OK : hs_table_of_query(&r->table, q);
    if (!rc && r->left-- > 0) hs_table_row(r->table, q);
    return rc;
}

// The first `most` rows of a query with a parameter as a table; NULL where there is none.
static int read_rows(const hs_weights_found *f, const char *query, const char *key,
                     const char *value, int64_t most, hs_table **out) {
    hs_buf param = {0};
    struct rows r = {.left = most};
    hs_buf_printf(&param, "%s=%s", key, value);
    int rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc) rc = hs_source_each(&f->source, query, &text, 1, take_row, &r);
    hs_buf_free(&param);
    *out = r.table;
    return rc;
}

static int read_heads(const hs_weights_found *f, const char *sort, int64_t most, hs_table **out) {
    return read_rows(f, "weights", "sort", sort, most, out);
}

static int read_top(const hs_weights_found *f, const char *query, int64_t top, hs_table **out) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, top);
    return read_rows(f, query, "top", text, top, out);
}

// ---- for programs ---------------------------------------------------------------------------------

static int json_rows(hs_jw *j, const char *key, hs_table *t, int rc) {
    if (!rc && t) hs_table_json(t, j, key);
    hs_table_close(t);
    return rc;
}

static int put_json(const hs_weights_found *f) {
    const hs_weights_options *o = f->opt;
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_table *t = NULL;
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->source.run);
    hs_jw_key_str(&j, "db", hs_db_path(f->source.db));
    hs_jw_key_str(&j, "embed", o->embed ? "mlp0" : "token");
    hs_jw_key_int(&j, "length", o->length);
    hs_jw_key(&j, "tokens");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < f->tokens->n; i++) hs_jw_int(&j, f->tokens->id[i]);
    hs_jw_end(&j, ']');
    int rc = read_heads(f, "head", INT64_MAX, &t);
    rc = json_rows(&j, "heads", t, rc);
    if (!rc && o->composition) {
        rc = read_top(f, "weights_composition", o->composition, &t);
        rc = json_rows(&j, "composition", t, rc);
    }
    if (!rc && o->neurons) {
        rc = read_top(f, "weights_neurons", o->neurons, &t);
        rc = json_rows(&j, "neurons", t, rc);
    }
    hs_jw_end(&j, '}');
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

static int put_rows(const hs_weights_found *f) {
    hs_table *t = NULL;
    int rc = read_heads(f, "head", INT64_MAX, &t);
    if (!rc && t) rc = hs_table_put(t, f->call, &f->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people -----------------------------------------------------------------------------------

// A table of some of a query's columns.
struct people {
    hs_table *table;
    const hs_col *columns; // whose keys are the query's
    int n;
    int64_t left;
};

static int people_row(void *ctx, const hs_query *q) {
    struct people *p = ctx;
    if (p->left-- <= 0) return HS_OK;
    for (int i = 0; i < p->n; i++) {
        const hs_cell c = hs_query_named(q, p->columns[i].key);
        if (c.type == HS_CELL_INT)
            hs_table_int(p->table, c.i);
        else if (c.type == HS_CELL_NUM)
            hs_table_num(p->table, c.f);
        else if (c.type == HS_CELL_TEXT)
            hs_table_strn(p->table, c.data, c.n);
        else
            hs_table_null(p->table);
    }
    return HS_OK;
}

static int put_people_rows(const hs_weights_found *f, const char *query, const char *param,
                           const hs_col *columns, int n, int64_t most) {
    struct people p = {.columns = columns, .n = n, .left = most};
    int rc = hs_table_open(&p.table, columns, n);
    if (!rc) rc = hs_source_each(&f->source, query, &param, 1, people_row, &p);
    if (!rc) rc = hs_table_put(p.table, f->call, &f->opt->out);
    hs_table_close(p.table);
    return rc;
}

static int put_heads(const hs_weights_found *f) {
    static const hs_col columns[] = {
        {"name", "head", 0},
        {"ov_copying", "ov_copying", 3},
        {"qk_matching", "qk_matching", 3},
        {"copy_score", "copy_score", 3},
        {"copy_score_negative", "negative", 3},
        {"ov_norm", "ov_norm", 2},
        {"ov_rank", "ov_rank", 1},
        {"qk_norm", "qk_norm", 2},
        {"qk_rank", "qk_rank", 1},
        {"spectral_bound_nats", "spectral_bound", 3},
    };
    hs_buf param = {0};
    hs_buf_printf(&param, "sort=%s", f->opt->sort);
    int rc = hs_buf_rc(&param);
    if (!rc)
        rc = put_people_rows(f, "weights", hs_buf_text(&param), columns,
                             sizeof columns / sizeof *columns, f->opt->top);
    hs_buf_free(&param);
    return rc;
}

static int put_pairs(const hs_weights_found *f) {
    static const hs_col columns[] = {{"writes", "writes", 0},
                                     {"reads", "reads", 0},
                                     {"value", "value", 4},
                                     {"random", "random", 4}};
    static const char *const kinds[] = {"Q", "K", "V"};
    int rc = HS_OK;
    for (int k = 0; k < 3 && !rc; k++) {
        char text[64];
        const char *param[2] = {text, NULL};
        printf("\n%s-composition\n", kinds[k]);
        snprintf(text, sizeof text, "kind=%s", kinds[k]);
        rc = put_people_rows(f, "weights_composition", param[0], columns, 4, f->opt->composition);
    }
    return rc;
}

static int put_neurons(const hs_weights_found *f) {
    static const hs_col columns[] = {{"neuron", "neuron", 0},
                                     {"vector", "vector", 0},
                                     {"text", "token", 0},
                                     {"probability", "probability", 4}};
    char text[32];
    puts("\nneurons through the LM head");
    snprintf(text, sizeof text, "top=%" PRId64, f->opt->neurons);
    return put_people_rows(f, "weights_neurons", text, columns, 4, f->opt->neurons);
}

static void put_next(const hs_weights_found *f) {
    const char *path = hs_db_path(f->source.db), *db = " --db ";
    if (f->call->quiet) return;
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    printf("\nnext: headscope heatmap %" PRId64 " --grid %s -o weights.png%s%s\n", f->source.run,
           strcmp(f->opt->sort, "head") ? f->opt->sort : "ov_copying", db, path);
}

static int put_people(const hs_weights_found *f) {
    const hs_config *c = hs_model_config(f->model);
    printf("%" PRId64 " heads by their weights, copying of %" PRId64 " tokens: run %" PRId64
           " in %s\n\n",
           c->n_layer * c->n_head, f->tokens->n, f->source.run, hs_db_path(f->source.db));
    int rc = put_heads(f);
    if (!rc && f->opt->composition) rc = put_pairs(f);
    if (!rc && f->opt->neurons) rc = put_neurons(f);
    if (!rc) put_next(f);
    return rc;
}

int hs_weights_print(const hs_weights_found *f) {
    if (f->opt->out.json) return put_json(f);
    return f->opt->out.csv || f->opt->out.jsonl ? put_rows(f) : put_people(f);
}
