// What a run of weights found, read back from the database.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/weights/weights.h"

// A query with its parameters.
enum { MAX_PARAM = 2 };
typedef struct asked {
    const char *query;
    char text[MAX_PARAM][64];
    const char *param[MAX_PARAM];
    int n_param;
} asked;

static asked *ask(asked *a, const char *query) {
    *a = (asked){.query = query};
    return a;
}

static asked *with(asked *a, const char *key, const char *value) {
    snprintf(a->text[a->n_param], sizeof *a->text, "%s=%s", key, value);
    a->param[a->n_param] = a->text[a->n_param];
    a->n_param++;
    return a;
}

static asked *with_top(asked *a, int64_t top) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, top);
    return with(a, "top", text);
}

static int each(const hs_weights_found *f, const asked *a, hs_row_fn fn, void *ctx) {
    return hs_source_each(&f->source, a->query, a->param, a->n_param, fn, ctx);
}

static const char *const kinds[] = {"Q", "K", "V"};

// ---- for programs -------------------------------------------------------------------------------

static int take_row(void *ctx, const hs_query *q) {
    hs_table **t = ctx;
    int rc = *t ? HS_OK : hs_table_of_query(t, q);
    if (!rc) hs_table_row(*t, q);
    return rc;
}

// "key": the rows of a table, which is closed.
static int json_rows(hs_jw *j, const char *key, hs_table *t, int rc) {
    if (!rc && t) hs_table_json(t, j, key);
    hs_table_close(t);
    return rc;
}

static int json_heads(hs_jw *j, const hs_weights_found *f) {
    asked a;
    hs_table *t = NULL;
    int rc = each(f, with(ask(&a, "weights"), "sort", "head"), take_row, &t);
    return json_rows(j, "heads", t, rc);
}

static int json_pairs(hs_jw *j, const hs_weights_found *f) {
    asked a;
    hs_table *t = NULL;
    int rc = HS_OK;
    for (int k = 0; k < 3 && !rc; k++) {
        with(ask(&a, "weights_composition"), "kind", kinds[k]);
        rc = each(f, with_top(&a, f->opt->composition), take_row, &t);
    }
    return json_rows(j, "composition", t, rc);
}

static int json_neurons(hs_jw *j, const hs_weights_found *f) {
    asked a;
    hs_table *t = NULL;
    int rc = each(f, with_top(ask(&a, "weights_neurons"), f->opt->neurons), take_row, &t);
    return json_rows(j, "neurons", t, rc);
}

static int put_json(const hs_weights_found *f) {
    const hs_weights_options *o = f->opt;
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->source.run);
    hs_jw_key_str(&j, "db", hs_db_path(f->source.db));
    hs_jw_key_str(&j, "embed", o->embed ? "mlp0" : "token");
    hs_jw_key_int(&j, "length", o->length);
    hs_jw_key(&j, "tokens");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < f->tokens->n; i++) hs_jw_int(&j, f->tokens->id[i]);
    hs_jw_end(&j, ']');
    int rc = json_heads(&j, f);
    if (!rc && o->composition) rc = json_pairs(&j, f);
    if (!rc && o->neurons) rc = json_neurons(&j, f);
    hs_jw_end(&j, '}');
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

static int put_rows(const hs_weights_found *f) {
    asked a;
    hs_table *t = NULL;
    int rc = each(f, with(ask(&a, "weights"), "sort", "head"), take_row, &t);
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

static int put_some(const hs_weights_found *f, const asked *a, const hs_col *columns, int n,
                    int64_t most) {
    struct people p = {.columns = columns, .n = n, .left = most};
    int rc = hs_table_open(&p.table, columns, n);
    if (!rc) rc = each(f, a, people_row, &p);
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
    asked a;
    return put_some(f, with(ask(&a, "weights"), "sort", f->opt->sort), columns,
                    sizeof columns / sizeof *columns, f->opt->top);
}

static int put_pairs(const hs_weights_found *f) {
    static const hs_col columns[] = {{"writes", "writes", 0},
                                     {"reads", "reads", 0},
                                     {"value", "value", 4},
                                     {"random", "random", 4}};
    asked a;
    int rc = HS_OK;
    for (int k = 0; k < 3 && !rc; k++) {
        printf("\n%s-composition\n", kinds[k]);
        with(ask(&a, "weights_composition"), "kind", kinds[k]);
        rc = put_some(f, with_top(&a, f->opt->composition), columns, 4, INT64_MAX);
    }
    return rc;
}

static int put_neurons(const hs_weights_found *f) {
    static const hs_col columns[] = {{"neuron", "neuron", 0},
                                     {"vector", "vector", 0},
                                     {"token", "id", 0},
                                     {"text", "token", 0},
                                     {"probability", "probability", 4}};
    asked a;
    puts("\nneurons through the LM head");
    return put_some(f, with_top(ask(&a, "weights_neurons"), f->opt->neurons), columns, 5,
                    INT64_MAX);
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
