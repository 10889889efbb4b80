// What commands print: typed cells, laid out for people or written for programs.
//
// A table keeps its cells until it is printed, because columns are aligned by the display width of
// all of them. On a terminal that is too narrow the widest text columns give way; a pipe gets
// everything. CSV is RFC 4180 but for bare line ends, with full precision.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/out.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

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

enum cell_type { NONE, INT, NUM, BOOL, STR };
typedef struct cell {
    enum cell_type type;
    int64_t i;
    double f;
    size_t at, n; // STR: bytes in the table's text
} cell;

struct hs_table {
    hs_col *col;
    int n_col;
    hs_arena *names; // keys and titles
    cell *cell;
    size_t n, cap;
    hs_buf text;
    int rc;
};

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

static void add(hs_table *t, cell c) {
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
    add(t, (cell){.type = INT, .i = v});
}

void hs_table_num(hs_table *t, double v) {
    add(t, (cell){.type = isnan(v) ? NONE : NUM, .f = v});
}

void hs_table_bool(hs_table *t, bool v) {
    add(t, (cell){.type = BOOL, .i = v});
}

void hs_table_null(hs_table *t) {
    add(t, (cell){.type = NONE});
}

void hs_table_strn(hs_table *t, const char *s, size_t n) {
    size_t at = t->text.len;
    hs_buf_add(&t->text, s, n);
    add(t, (cell){.type = STR, .at = at, .n = n});
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

static const cell *cell_at(const hs_table *t, int64_t row, int col) {
    return &t->cell[(size_t)row * (size_t)t->n_col + (size_t)col];
}

// ---- JSON -----------------------------------------------------------------------------------

static void json_cell(const hs_table *t, const cell *c, hs_jw *json) {
    switch (c->type) {
    case NONE:
        hs_jw_null(json);
        break;
    case INT:
        hs_jw_int(json, c->i);
        break;
    case NUM:
        hs_jw_num(json, c->f);
        break;
    case BOOL:
        hs_jw_bool(json, c->i != 0);
        break;
    case STR:
        hs_jw_strn(json, hs_buf_text(&t->text) + c->at, c->n);
        break;
    }
}

static void json_row(const hs_table *t, int64_t row, hs_jw *json) {
    hs_jw_begin(json, '{');
    for (int c = 0; c < t->n_col; c++) {
        if (!t->col[c].key) continue;
        hs_jw_key(json, t->col[c].key);
        json_cell(t, cell_at(t, row, c), json);
    }
    hs_jw_end(json, '}');
}

void hs_table_json(const hs_table *t, hs_jw *json, const char *key) {
    hs_jw_key(json, key);
    hs_jw_begin(json, '[');
    for (int64_t r = 0; r < hs_table_rows(t); r++) json_row(t, r, json);
    hs_jw_end(json, ']');
    if (t->rc) json->out->rc = t->rc;
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
    bool quote = false;
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

static void csv_cell(const hs_table *t, const cell *c, hs_buf *out) {
    if (c->type == STR) {
        csv_text(out, hs_buf_text(&t->text) + c->at, c->n);
    } else if (c->type != NONE) { // numbers are written as JSON does
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
        for (int c = 0; c < t->n_col; c++) {
            if (!t->col[c].key) continue;
            if (comma) hs_buf_chr(out, ',');
            csv_cell(t, cell_at(t, r, c), out);
            comma = true;
        }
        hs_buf_chr(out, '\n');
    }
}

// ---- tables for people ----------------------------------------------------------------------

static void table_cell(const hs_table *t, const cell *c, int digits, hs_buf *out) {
    switch (c->type) {
    case NONE:
        hs_buf_chr(out, '-');
        break;
    case INT:
        hs_buf_printf(out, "%lld", (long long)c->i);
        break;
    case NUM:
        if (digits < 0)
            hs_buf_printf(out, "%.6g", c->f);
        else
            hs_buf_printf(out, "%.*f", digits, c->f);
        break;
    case BOOL:
        hs_buf_str(out, c->i ? "yes" : "no");
        break;
    case STR:
        hs_utf8_visible(out, hs_buf_text(&t->text) + c->at, c->n, false);
        break;
    }
}

// Cuts text to a display width, the last cell being an ellipsis.
static void put_cut(hs_buf *out, const char *s, size_t n, int width) {
    size_t keep = 0;
    int32_t cp;
    for (size_t next; keep < n; keep = next) {
        next = keep + hs_utf8_decode(s + keep, n - keep, &cp);
        if (hs_utf8_width(s, next) > width - 1) break;
    }
    hs_buf_add(out, s, keep);
    hs_buf_str(out, "…");
    for (int w = hs_utf8_width(s, keep) + 1; w < width; w++) hs_buf_chr(out, ' ');
}

static void put_padded(hs_buf *out, const char *s, size_t n, int width, bool left) {
    int w = hs_utf8_width(s, n);
    if (w > width) {
        put_cut(out, s, n, width);
        return;
    }
    for (int i = w; !left && i < width; i++) hs_buf_chr(out, ' ');
    hs_buf_add(out, s, n);
    for (int i = w; left && i < width; i++) hs_buf_chr(out, ' ');
}

// Takes the spaces from the end of a line.
static void trim(hs_buf *out) {
    while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = 0;
}

// A column as it will be shown.
typedef struct shown {
    int col, width;
    bool left;
} shown;

static int measure(const hs_table *t, shown *show) {
    int n = 0;
    hs_buf b = {0};
    for (int c = 0; c < t->n_col; c++) {
        if (!t->col[c].title) continue;
        shown *s = &show[n++];
        *s = (shown){.col = c, .width = hs_utf8_width(t->col[c].title, strlen(t->col[c].title))};
        for (int64_t r = 0; r < hs_table_rows(t); r++) {
            const cell *x = cell_at(t, r, c);
            s->left |= x->type == STR;
            hs_buf_clear(&b);
            table_cell(t, x, t->col[c].digits, &b);
            int w = hs_utf8_width(hs_buf_text(&b), b.len);
            if (w > s->width) s->width = w;
        }
    }
    hs_buf_free(&b);
    return n;
}

// Takes width from the widest text column, a cell at a time, until the row fits.
static void fit(shown *show, int n, int width) {
    enum { LEAST = 12, GAP = 2 };
    int total = -GAP;
    for (int i = 0; i < n; i++) total += show[i].width + GAP;
    while (total > width) {
        int widest = -1;
        for (int i = 0; i < n; i++) {
            bool can = show[i].left && show[i].width > LEAST;
            if (can && (widest < 0 || show[i].width > show[widest].width)) widest = i;
        }
        if (widest < 0) return;
        show[widest].width--;
        total--;
    }
}

static int put_people(const hs_table *t, bool color, hs_buf *out) {
    shown *show;
    int rc = hs_alloc(&show, (size_t)t->n_col, sizeof *show);
    if (rc) return rc;
    int n = measure(t, show);
    struct winsize w;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
        fit(show, n, w.ws_col);
    if (color) hs_buf_str(out, "\033[1m");
    for (int i = 0; i < n; i++) {
        const char *title = t->col[show[i].col].title;
        if (i) hs_buf_str(out, "  ");
        put_padded(out, title, strlen(title), show[i].width, show[i].left);
    }
    trim(out);
    hs_buf_str(out, color ? "\033[0m\n" : "\n");
    hs_buf b = {0};
    for (int64_t r = 0; r < hs_table_rows(t); r++) {
        for (int i = 0; i < n; i++) {
            hs_buf_clear(&b);
            table_cell(t, cell_at(t, r, show[i].col), t->col[show[i].col].digits, &b);
            if (i) hs_buf_str(out, "  ");
            put_padded(out, hs_buf_text(&b), b.len, show[i].width, show[i].left);
        }
        trim(out);
        hs_buf_chr(out, '\n');
    }
    hs_buf_free(&b);
    free(show);
    return HS_OK;
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
        rc = put_people(t, color, &out);
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
