// Reading a database for the commands that do; see reader.h.
#include "cli/reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

int hs_source_open(hs_source *r, const hs_call *call, int i, const hs_db_options *db,
                   const hs_run_options *run) {
    *r = (hs_source){.prompt = run->prompt};
    int rc = hs_db_open(&r->db, hs_cli_db_path(db), HS_DB_READ);
    if (!rc) rc = hs_cli_run(call, i, run, r->db, &r->run);
    return rc ? rc : hs_tell_unfinished(call, r->db, r->run);
}

int hs_tell_unfinished(const hs_call *call, hs_db *db, int64_t run) {
    hs_buf text = {0};
    int rc = hs_db_unfinished(db, run, &text);
    if (!rc && text.len) hs_note(call, "%s", hs_buf_text(&text));
    hs_buf_free(&text);
    return rc;
}

void hs_source_close(hs_source *r) {
    hs_db_close(r->db);
    r->db = NULL;
}

int hs_source_each(const hs_source *r, const char *query, const char *const *param, int n_param,
                   hs_row_fn fn, void *ctx) {
    const hs_query_opts opts = {
        .run = r->run, .prompt = r->prompt, .param = param, .n_param = n_param};
    return hs_query_each(r->db, query, &opts, fn, ctx);
}

// ---- tables ---------------------------------------------------------------------------------

int hs_table_of_query(hs_table **out, const hs_query *q) {
    int n = hs_query_columns(q);
    hs_col *col;
    *out = NULL;
    int rc = hs_alloc(&col, (size_t)n, sizeof *col);
    if (rc) return rc;
    for (int i = 0; i < n; i++) col[i] = (hs_col){hs_query_column(q, i), hs_query_column(q, i), -1};
    rc = hs_table_open(out, col, n);
    free(col);
    return rc;
}

static int blob_text(char *out, size_t size, const hs_cell *c) {
    return snprintf(out, size, "<%zu bytes>", c->n);
}

void hs_table_row(hs_table *t, const hs_query *q) {
    char blob[40];
    for (int i = 0; i < hs_query_columns(q); i++) {
        hs_cell c = hs_query_cell(q, i);
        switch (c.type) {
        case HS_CELL_NULL:
            hs_table_null(t);
            break;
        case HS_CELL_INT:
            hs_table_int(t, c.i);
            break;
        case HS_CELL_NUM:
            hs_table_num(t, c.f);
            break;
        case HS_CELL_TEXT:
            hs_table_strn(t, c.data, c.n);
            break;
        case HS_CELL_BLOB:
            blob_text(blob, sizeof blob, &c);
            hs_table_str(t, blob);
            break;
        }
    }
}

int hs_source_table(const hs_source *r, const char *query, hs_table **out) {
    hs_query_opts opts = {.run = r->run, .prompt = r->prompt};
    hs_query *q = NULL;
    bool row = true;
    *out = NULL;
    int rc = hs_query_open(&q, r->db, query, &opts);
    if (!rc) rc = hs_table_of_query(out, q);
    while (!rc && row) {
        rc = hs_query_step(q, &row);
        if (!rc && row) hs_table_row(*out, q);
    }
    hs_query_close(q);
    return rc;
}

void hs_cell_json(hs_jw *json, const hs_cell *c) {
    char blob[40];
    switch (c->type) {
    case HS_CELL_NULL:
        hs_jw_null(json);
        break;
    case HS_CELL_INT:
        hs_jw_int(json, c->i);
        break;
    case HS_CELL_NUM:
        hs_jw_num(json, c->f);
        break;
    case HS_CELL_TEXT:
        hs_jw_strn(json, c->data, c->n);
        break;
    case HS_CELL_BLOB:
        hs_jw_strn(json, blob, (size_t)blob_text(blob, sizeof blob, c));
        break;
    }
}

// ---- tokens ---------------------------------------------------------------------------------

static int add_label(void *ctx, const hs_query *q) {
    hs_labels *l = ctx;
    hs_cell c = hs_query_named(q, "text");
    size_t n = (size_t)l->n + 1;
    int rc = hs_grow(&l->text, n, sizeof *l->text);
    if (!rc) rc = hs_grow(&l->id, n, sizeof *l->id);
    if (rc) return rc;
    bool text = c.type == HS_CELL_TEXT;
    l->text[l->n] = text ? strndup(c.data, c.n) : NULL;
    if (text && !l->text[l->n]) return hs_fail(HS_ENOMEM, "out of memory");
    l->id[l->n++] = (int32_t)hs_query_int(q, "token_id");
    return HS_OK;
}

int hs_labels_open(hs_labels *out, const hs_source *r) {
    *out = (hs_labels){0};
    hs_source one = *r;
    if (!one.prompt) one.prompt = "0";
    return hs_source_each(&one, "tokens", NULL, 0, add_label, out);
}

void hs_labels_free(hs_labels *l) {
    for (int64_t i = 0; i < l->n; i++) free(l->text[i]);
    free(l->text);
    free(l->id);
    *l = (hs_labels){0};
}

int hs_one_head(const hs_dims *dims, const char *text, int *layer, int *head) {
    hs_heads set = {0};
    int rc = hs_heads_parse(&set, dims, text);
    if (!rc && hs_heads_count(&set) != 1)
        rc = hs_fail(HS_EARG, "--head takes one head, as L5H1, not '%s'", text);
    for (int l = 0; !rc && l < set.n_layer; l++)
        for (int h = 0; h < set.n_head; h++)
            if (hs_heads_has(&set, l, h)) {
                *layer = l;
                *head = h;
            }
    hs_heads_free(&set);
    return rc;
}
