// Tables for people.
//
// Columns are aligned by the display width of all cells. On a terminal that is too narrow the widest
// text columns give way, numbers never; a pipe gets everything. What a text holds is made visible
// (control characters, invalid bytes, spaces at its ends), so that nothing in a stranger's database
// steers the terminal.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/out_internal.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

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
    const hs_out_cell *c = hs_cell_at(t, row, show->col);
    int digits = t->col[show->col].digits;
    hs_buf_clear(out);
    switch (c->type) {
    case HS_OUT_NONE: // "-" might be a text
        hs_buf_str(out, show->text ? "NULL" : "-");
        break;
    case HS_OUT_INT:
        hs_buf_printf(out, "%lld", (long long)c->i);
        break;
    case HS_OUT_NUM:
        if (digits < 0)
            hs_buf_printf(out, "%.6g", c->f);
        else
            hs_buf_printf(out, "%.*f", digits, c->f);
        break;
    case HS_OUT_BOOL:
        hs_buf_str(out, c->i ? "yes" : "no");
        break;
    case HS_OUT_STR:
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
        for (int64_t r = 0; r < hs_table_rows(t); r++)
            s->text |= hs_cell_at(t, r, c)->type == HS_OUT_STR;
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
    int64_t n;
    const char *columns = getenv("COLUMNS");
    if (!isatty(STDOUT_FILENO)) return 0;
    if (columns && hs_parse_int("COLUMNS", columns, 1, INT16_MAX, &n) == HS_OK) return (int)n;
    return hs_terminal_width(STDOUT_FILENO);
}

int hs_out_people(const hs_table *t, bool color, hs_buf *out) {
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
