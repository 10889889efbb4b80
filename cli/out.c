// What commands print: typed cells, laid out for people or written for programs.
//
// A table keeps its cells until it is printed, because columns are aligned by the display width of
// all of them. On a terminal that is too narrow the widest text columns give way, numbers never; a
// pipe gets everything. What a text holds is made visible (control characters, invalid bytes, spaces
// at its ends), so that nothing in a stranger's database steers the terminal.
//
// CSV is RFC 4180 but for bare line ends, with full precision and the texts' own bytes; nothing is
// NULL, "" an empty text.
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

static void csv_cell(const hs_table *t, const cell *c, hs_buf *out) {
    if (c->type == STR) {
        csv_text(out, hs_buf_text(&t->text) + c->at, c->n);
    } else if (c->type == NUM && isinf(c->f)) { // which JSON has no word for
        hs_buf_str(out, c->f > 0 ? "inf" : "-inf");
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
        size_t begin = out->len;
        for (int c = 0; c < t->n_col; c++) {
            if (!t->col[c].key) continue;
            if (comma) hs_buf_chr(out, ',');
            csv_cell(t, cell_at(t, r, c), out);
            comma = true;
        }
        if (out->len == begin) hs_buf_str(out, "\"\""); // readers take an empty line for no row
        hs_buf_chr(out, '\n');
    }
}

// ---- tables for people ----------------------------------------------------------------------

// A column as it will be shown.
typedef struct shown {
    int col, width;
    bool text; // some cell is one: aligned to the left, and cut where a terminal is narrow
} shown;

// Text with what is not seen made visible, the spaces at its ends too: " the" and "the" are two
// tokens.
static void put_visible(const char *s, size_t n, hs_buf *out) {
    size_t from = 0, to = n;
    while (from < to && s[from] == ' ') from++;
    while (to > from && s[to - 1] == ' ') to--;
    hs_utf8_visible(out, s, from, true);
    hs_utf8_visible(out, s + from, to - from, false);
    hs_utf8_visible(out, s + to, n - to, true);
}

static void table_cell(const hs_table *t, int64_t row, const shown *show, hs_buf *out) {
    const cell *c = cell_at(t, row, show->col);
    int digits = t->col[show->col].digits;
    hs_buf_clear(out);
    switch (c->type) {
    case NONE: // "-" might be a text
        hs_buf_str(out, show->text ? "NULL" : "-");
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
        put_visible(hs_buf_text(&t->text) + c->at, c->n, out);
        break;
    }
}

// Own SQL may call a column anything.
static void table_title(const hs_table *t, const shown *show, hs_buf *out) {
    const char *title = t->col[show->col].title;
    hs_buf_clear(out);
    put_visible(title, strlen(title), out);
}

// The longest beginning of s that is no wider than width. Widths never fall as text grows, so
// halving finds it, however many characters take no width at all.
static size_t prefix_of(const char *s, size_t n, int width) {
    size_t fits = 0, over = n + 1;
    while (over - fits > 1) {
        size_t mid = fits + (over - fits) / 2;
        while (mid > fits + 1 && mid < n && ((unsigned char)s[mid] & 0xc0) == 0x80) mid--;
        if (hs_utf8_width(s, mid) <= width)
            fits = mid;
        else
            over = mid;
    }
    while (fits && fits < n && ((unsigned char)s[fits] & 0xc0) == 0x80) fits--;
    return fits;
}

static void put_spaces(hs_buf *out, int n) {
    for (int i = 0; i < n; i++) hs_buf_chr(out, ' ');
}

// Whether text holds letters that run from right to left: Hebrew, Arabic and their neighbours.
static bool is_rtl(const char *s, size_t n) {
    static const int32_t blocks[][2] = {
        {0x590, 0x8ff}, {0xfb1d, 0xfdff}, {0xfe70, 0xfeff}, {0x10800, 0x10fff}, {0x1e800, 0x1efff}};
    int32_t cp;
    for (size_t i = 0; i < n;) {
        i += hs_utf8_decode(s + i, n - i, &cp);
        for (size_t k = 0; cp >= blocks[0][0] && k < sizeof blocks / sizeof *blocks; k++)
            if (cp >= blocks[k][0] && cp <= blocks[k][1]) return true;
    }
    return false;
}

// tty: for a terminal, where a left-to-right mark keeps the numbers after Arabic text in their order.
static void put_padded(hs_buf *out, const char *s, size_t n, const shown *show, bool tty) {
    int w = hs_utf8_width(s, n);
    bool cut = w > show->width;
    if (cut) n = prefix_of(s, n, show->width - 1);
    if (cut) w = hs_utf8_width(s, n) + 1;
    if (!show->text) put_spaces(out, show->width - w);
    hs_buf_add(out, s, n);
    if (cut) hs_buf_str(out, "…");
    if (tty && show->text && is_rtl(s, n)) hs_buf_str(out, "\u200e");
    if (show->text) put_spaces(out, show->width - w);
}

// Takes the spaces from the end of a line.
static void trim(hs_buf *out) {
    while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = 0;
}

// Each text is laid out in a scratch that begins anew: the first that found no memory is kept in *rc.
static int measure(const hs_table *t, shown *show, int *rc) {
    int n = 0;
    hs_buf b = {0};
    for (int c = 0; c < t->n_col; c++) {
        if (!t->col[c].title) continue;
        shown *s = &show[n++];
        *s = (shown){.col = c};
        table_title(t, s, &b);
        if (!*rc) *rc = hs_buf_rc(&b);
        s->width = hs_utf8_width(hs_buf_text(&b), b.len);
        for (int64_t r = 0; r < hs_table_rows(t); r++) s->text |= cell_at(t, r, c)->type == STR;
        for (int64_t r = 0; r < hs_table_rows(t); r++) {
            table_cell(t, r, s, &b);
            if (!*rc) *rc = hs_buf_rc(&b);
            int w = hs_utf8_width(hs_buf_text(&b), b.len);
            if (w > s->width) s->width = w;
        }
    }
    hs_buf_free(&b);
    return n;
}

// Takes width from the widest text column, a cell at a time, until the row fits.
static void fit(shown *show, int n, int width) {
    enum { LEAST = 4, GAP = 2 };
    int total = -GAP;
    for (int i = 0; i < n; i++) total += show[i].width + GAP;
    while (total > width) {
        int widest = -1;
        for (int i = 0; i < n; i++) {
            bool can = show[i].text && show[i].width > LEAST;
            if (can && (widest < 0 || show[i].width > show[widest].width)) widest = i;
        }
        if (widest < 0) return;
        show[widest].width--;
        total--;
    }
}

// Columns of the terminal that stdout is: $COLUMNS, else what it says itself; 0 for anything else.
static int terminal_width(void) {
    struct winsize w;
    int64_t n;
    const char *columns = getenv("COLUMNS");
    if (!isatty(STDOUT_FILENO)) return 0;
    if (columns && hs_parse_int("COLUMNS", columns, 1, INT16_MAX, &n) == HS_OK) return (int)n;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static int put_people(const hs_table *t, bool color, hs_buf *out) {
    shown *show;
    hs_buf b = {0};
    int rc = hs_alloc(&show, (size_t)t->n_col, sizeof *show);
    if (rc) return rc;
    int n = measure(t, show, &rc), width = terminal_width();
    if (width) fit(show, n, width);
    for (int64_t r = -1; r < hs_table_rows(t); r++) { // -1: the headings
        bool bold = color && r < 0;
        if (bold) hs_buf_str(out, "\033[1m");
        for (int i = 0; i < n; i++) {
            if (r < 0)
                table_title(t, &show[i], &b);
            else
                table_cell(t, r, &show[i], &b);
            if (!rc) rc = hs_buf_rc(&b);
            if (i) hs_buf_str(out, "  ");
            put_padded(out, hs_buf_text(&b), b.len, &show[i], width > 0);
        }
        trim(out);
        hs_buf_str(out, bold ? "\033[0m\n" : "\n");
    }
    hs_buf_free(&b);
    free(show);
    return rc;
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
