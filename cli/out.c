// What commands print: typed cells, written for programs here and laid out for people in
// out_people.c.
//
// CSV is RFC 4180 but for bare line ends, with full precision and the texts' own bytes; nothing is
// NULL, "" an empty text.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/out_internal.h"
#include "model/core/mem.h"

const hs_opt hs_opts_json[] = {
    {"json", 0, HS_OPT_FLAG, offsetof(hs_out_options, json), NULL, NULL, "print one JSON object"},
    {0},
};
const hs_opt hs_opts_table[] = {
    {"json", 0, HS_OPT_FLAG, offsetof(hs_out_options, json), NULL, NULL, "print one JSON object"},
    {"jsonl", 0, HS_OPT_FLAG, offsetof(hs_out_options, jsonl), NULL, NULL,
     "print a JSON object a row"},
    {"csv", 0, HS_OPT_FLAG, offsetof(hs_out_options, csv), NULL, NULL,
     "print comma-separated values with a header"},
    {0},
};

int hs_out_check(const hs_out_options *out) {
    if (out->json + out->jsonl + out->csv > 1)
        return hs_fail(HS_EARG, "--json, --jsonl and --csv exclude each other: give one");
    return HS_OK;
}

// ---- cells ----------------------------------------------------------------------------------

static int copy_name(hs_table *t, const char **to, const char *from) {
    *to = NULL;
    return from ? hs_arena_str(t->names, to, from, strlen(from)) : HS_OK;
}

int hs_table_open(hs_table **out, const hs_col *cols, int n) {
    *out = NULL;
    hs_table *t;
    int rc = hs_alloc(&t, 1, sizeof *t);
    if (rc) return rc;
    rc = hs_alloc(&t->col, (size_t)n, sizeof *t->col);
    if (!rc) rc = hs_arena_open(&t->names);
    for (int i = 0; !rc && i < n; i++) {
        t->col[i].digits = cols[i].digits;
        rc = copy_name(t, &t->col[i].key, cols[i].key);
        if (!rc) rc = copy_name(t, &t->col[i].title, cols[i].title);
    }
    t->n_col = n;
    if (rc)
        hs_table_close(t);
    else
        *out = t;
    return rc;
}

void hs_table_close(hs_table *t) {
    if (!t) return;
    hs_buf_free(&t->text);
    hs_arena_close(t->names);
    free(t->cell);
    free(t->col);
    free(t);
}

static void add(hs_table *t, hs_out_cell c) {
    if (t->rc) return;
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        t->rc = hs_grow(&t->cell, cap, sizeof *t->cell);
        if (t->rc) return;
        t->cap = cap;
    }
    t->cell[t->n++] = c;
}

void hs_table_int(hs_table *t, int64_t v) {
    add(t, (hs_out_cell){.type = HS_OUT_INT, .i = v});
}

void hs_table_num(hs_table *t, double v) {
    add(t, (hs_out_cell){.type = isnan(v) ? HS_OUT_NONE : HS_OUT_NUM, .f = v});
}

void hs_table_bool(hs_table *t, bool v) {
    add(t, (hs_out_cell){.type = HS_OUT_BOOL, .i = v});
}

void hs_table_null(hs_table *t) {
    add(t, (hs_out_cell){.type = HS_OUT_NONE});
}

void hs_table_strn(hs_table *t, const char *s, size_t n) {
    size_t at = t->text.len;
    hs_buf_add(&t->text, s, n);
    add(t, (hs_out_cell){.type = HS_OUT_STR, .at = at, .n = n});
}

void hs_table_str(hs_table *t, const char *s) {
    if (s)
        hs_table_strn(t, s, strlen(s));
    else
        hs_table_null(t);
}

int64_t hs_table_rows(const hs_table *t) {
    return (int64_t)(t->n / (size_t)t->n_col);
}

// ---- JSON -----------------------------------------------------------------------------------

static void json_cell(const hs_table *t, const hs_out_cell *c, hs_jw *json) {
    switch (c->type) {
    case HS_OUT_NONE:
        hs_jw_null(json);
        break;
    case HS_OUT_INT:
        hs_jw_int(json, c->i);
        break;
    case HS_OUT_NUM:
        hs_jw_num(json, c->f);
        break;
    case HS_OUT_BOOL:
        hs_jw_bool(json, c->i != 0);
        break;
    case HS_OUT_STR:
        hs_jw_strn(json, hs_buf_text(&t->text) + c->at, c->n);
        break;
    }
}

static void json_row(const hs_table *t, int64_t row, hs_jw *json) {
    hs_jw_begin(json, '{');
    for (int c = 0; c < t->n_col; c++) {
        if (!t->col[c].key) continue;
        hs_jw_key(json, t->col[c].key);
        json_cell(t, hs_cell_at(t, row, c), json);
    }
    hs_jw_end(json, '}');
}

void hs_table_json(const hs_table *t, hs_jw *json, const char *key) {
    hs_jw_key(json, key);
    hs_jw_begin(json, '[');
    for (int64_t r = 0; r < hs_table_rows(t); r++) json_row(t, r, json);
    hs_jw_end(json, ']');
    if (t->rc || hs_buf_rc(&t->text)) json->out->rc = HS_ENOMEM;
}

static int write_out(const hs_buf *b) {
    int rc = hs_buf_rc(b);
    if (!rc) fwrite(hs_buf_text(b), 1, b->len, stdout); // main looks for write errors
    return rc;
}

int hs_json_put(hs_buf *json) {
    hs_buf_chr(json, '\n');
    int rc = write_out(json);
    hs_buf_free(json);
    return rc;
}

static void put_jsonl(const hs_table *t, hs_buf *out) {
    for (int64_t r = 0; r < hs_table_rows(t); r++) {
        hs_jw json = {out, false};
        json_row(t, r, &json);
        hs_buf_chr(out, '\n');
    }
}

// ---- CSV ------------------------------------------------------------------------------------

static void csv_text(hs_buf *out, const char *s, size_t n) {
    bool quote = n == 0;
    for (size_t i = 0; i < n; i++) quote |= strchr(",\"\r\n", s[i]) != NULL;
    if (!quote) {
        hs_buf_add(out, s, n);
        return;
    }
    hs_buf_chr(out, '"');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"') hs_buf_chr(out, '"');
        hs_buf_chr(out, s[i]);
    }
    hs_buf_chr(out, '"');
}

static void csv_cell(const hs_table *t, const hs_out_cell *c, hs_buf *out) {
    if (c->type == HS_OUT_STR) {
        csv_text(out, hs_buf_text(&t->text) + c->at, c->n);
    } else if (c->type == HS_OUT_NUM && isinf(c->f)) { // which JSON has no word for
        hs_buf_str(out, c->f > 0 ? "inf" : "-inf");
    } else if (c->type != HS_OUT_NONE) { // numbers are written as JSON does
        hs_jw json = {out, false};
        json_cell(t, c, &json);
    }
}

static void put_csv_header(const hs_table *t, hs_buf *out) {
    bool comma = false;
    for (int c = 0; c < t->n_col; c++) {
        if (!t->col[c].key) continue;
        if (comma) hs_buf_chr(out, ',');
        csv_text(out, t->col[c].key, strlen(t->col[c].key));
        comma = true;
    }
    hs_buf_chr(out, '\n');
}

static void put_csv(const hs_table *t, hs_buf *out) {
    for (int64_t r = 0; r < hs_table_rows(t); r++) {
        bool comma = false;
        size_t begin = out->len;
        for (int c = 0; c < t->n_col; c++) {
            if (!t->col[c].key) continue;
            if (comma) hs_buf_chr(out, ',');
            csv_cell(t, hs_cell_at(t, r, c), out);
            comma = true;
        }
        if (out->len == begin) hs_buf_str(out, "\"\""); // readers take an empty line for no row
        hs_buf_chr(out, '\n');
    }
}

static int put(const hs_table *t, bool header, bool color, const hs_out_options *opt) {
    hs_buf out = {0};
    int rc = t->rc ? t->rc : hs_buf_rc(&t->text);
    if (rc) return rc;
    if (opt->csv && header) put_csv_header(t, &out);
    if (opt->csv)
        put_csv(t, &out);
    else if (opt->jsonl)
        put_jsonl(t, &out);
    else
        rc = hs_out_people(t, color, &out);
    if (!rc) rc = write_out(&out);
    hs_buf_free(&out);
    return rc;
}

int hs_table_put(const hs_table *t, const hs_call *call, const hs_out_options *opt) {
    return put(t, true, call->color, opt);
}

int hs_table_more(const hs_table *t, const hs_out_options *opt) {
    return put(t, false, false, opt);
}

// ---- text -----------------------------------------------------------------------------------

void hs_bytes_text(char *out, size_t n, double bytes) {
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    int u = 0;
    while (bytes >= 999.5 && u < 4) {
        bytes /= 1000;
        u++;
    }
    snprintf(out, n, "%.*f %s", u && bytes < 99.5, bytes, unit[u]);
}

const char *hs_head_name(char out[24], int64_t layer, int64_t head) {
    snprintf(out, 24, "L%lldH%lld", (long long)layer, (long long)head);
    return out;
}
