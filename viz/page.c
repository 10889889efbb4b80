// The page: marks in the order of drawing, and what they cover; see page.h.
#include "viz/page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viz/label.h"

enum { DPI = 150, DPI_MIN = 20, DPI_MAX = 1200, NOTE_MAX = 256, FACT_MAX = 64 };

static const hs_fig_style DEFAULTS = {.lo = 1, .hi = 0};

int hs_page_open(hs_page **out, const hs_fig_style *style) {
    *out = NULL;
    if (!style) style = &DEFAULTS;
    double dpi = style->dpi == 0 ? DPI : style->dpi;
    if (!(dpi >= DPI_MIN && dpi <= DPI_MAX))
        return hs_fail(HS_EARG, "a resolution of %g dpi: give %d to %d", dpi, DPI_MIN, DPI_MAX);
    if (style->theme != HS_THEME_PAPER && style->theme != HS_THEME_SCREEN)
        return hs_fail(HS_EARG, "no theme has the number %d", (int)style->theme);
    hs_arena *arena;
    hs_page *p;
    int rc = hs_arena_open(&arena);
    if (rc) return rc;
    if ((rc = hs_arena_get(arena, &p, 1, sizeof *p))) goto out;
    if ((rc = hs_canvas_open(&p->canvas, dpi))) goto out;
    p->arena = arena;
    p->style = *style;
    p->style.dpi = dpi;
    p->px = dpi / 72;
    *out = p;
    arena = NULL;
out:
    hs_arena_close(arena);
    return rc;
}

void hs_page_close(hs_page *p) {
    if (!p) return;
    hs_canvas_close(p->canvas);
    hs_arena_close(p->arena); // the page itself lives there
}

void *hs_page_get(hs_page *p, int64_t n, size_t size) {
    void *got = NULL;
    if (!p->rc) p->rc = hs_arena_get(p->arena, &got, (size_t)n, size);
    return p->rc ? NULL : got;
}

// The buffer's text, kept by the page; frees the buffer.
static const char *keep(hs_page *p, hs_buf *b) {
    const char *text = "";
    if (!p->rc) p->rc = hs_buf_rc(b);
    if (!p->rc) p->rc = hs_arena_str(p->arena, &text, hs_buf_text(b), b->len);
    hs_buf_free(b);
    return p->rc ? "" : text;
}

const char *hs_page_token(hs_page *p, const char *bytes) {
    hs_buf b = {0};
    if (bytes) hs_label_token(&b, bytes);
    return keep(p, &b);
}

const char *hs_page_line(hs_page *p, const char *bytes) {
    hs_buf b = {0};
    if (bytes) hs_label_text(&b, bytes);
    return keep(p, &b);
}

const char *hs_page_plain(hs_page *p, const char *bytes) {
    hs_buf b = {0};
    if (!bytes) return NULL;
    hs_label_plain(&b, bytes);
    return keep(p, &b);
}

hs_text_box hs_page_measure(hs_page *p, const hs_text *t) {
    hs_text_box nothing = {0};
    return p->rc ? nothing : hs_canvas_measure(p->canvas, t);
}

// ---- marks --------------------------------------------------------------------------------------

static void add(hs_page *p, const hs_mark *s) {
    if (p->n_mark == p->cap_mark) {
        int64_t more = p->cap_mark ? 2 * p->cap_mark : 64;
        hs_mark *bigger = hs_page_get(p, more, sizeof *bigger);
        if (!bigger) return;
        if (p->n_mark) memcpy(bigger, p->mark, (size_t)p->n_mark * sizeof *bigger);
        p->mark = bigger;
        p->cap_mark = more;
    }
    if (!p->rc) p->mark[p->n_mark++] = *s;
}

void hs_page_fill(hs_page *p, hs_rect r, uint32_t ink) {
    add(p, &(hs_mark){.kind = HS_MARK_FILL, .ink = ink, .rect = r});
}

void hs_page_hatch(hs_page *p, hs_rect r, uint32_t ink) {
    add(p, &(hs_mark){.kind = HS_MARK_HATCH, .ink = ink, .rect = r});
}

void hs_page_frame(hs_page *p, hs_rect r, uint32_t ink) {
    add(p, &(hs_mark){.kind = HS_MARK_FRAME, .ink = ink, .rect = r});
}

void hs_page_cells(hs_page *p, const hs_cells *cells) {
    add(p, &(hs_mark){.kind = HS_MARK_CELLS, .cells = *cells});
}

void hs_page_polyline(hs_page *p, const hs_xy *at, int64_t n, double width, uint32_t ink) {
    add(p, &(hs_mark){.kind = HS_MARK_LINE, .ink = ink, .line = {at, n, width}});
}

void hs_page_dot(hs_page *p, hs_dot dot, uint32_t ink) {
    add(p, &(hs_mark){.kind = HS_MARK_DOT, .ink = ink, .dot = dot});
}

static hs_box ink_box(const hs_text_box *e, double x, double y, bool turned) {
    if (turned) return (hs_box){x + e->y0, y - e->x1, e->y1 - e->y0, e->x1 - e->x0};
    return (hs_box){x + e->x0, y + e->y0, e->x1 - e->x0, e->y1 - e->y0};
}

void hs_page_label(hs_page *p, const hs_text *t, double x, double y, bool turned, uint32_t ink) {
    hs_text_box e = hs_page_measure(p, t);
    add(p, &(hs_mark){.kind = HS_MARK_LABEL,
                      .ink = ink,
                      .label = {*t, x, y, turned, ink_box(&e, x, y, turned)}});
}

double hs_page_block(hs_page *p, const hs_text *t, double x, double top, uint32_t ink) {
    if (!*t->markup) return top;
    hs_text_box e = hs_page_measure(p, t);
    hs_page_label(p, t, x, top - e.y0, false, ink);
    return top + fmax(e.height, e.y1 - e.y0);
}

// ---- what they cover ----------------------------------------------------------------------------

int hs_page_pixels(const hs_page *p, double points) {
    return (int)fmax(1, lround(points * p->px));
}

static hs_box rect_box(const hs_page *p, hs_rect r) {
    return (hs_box){r.x / p->px, r.y / p->px, r.w / p->px, r.h / p->px};
}

static hs_box line_box(const hs_line *l) {
    double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY, half = 0.5 * l->width;
    for (int64_t i = 0; i < l->n; i++) {
        x0 = fmin(x0, l->at[i].x - half);
        y0 = fmin(y0, l->at[i].y - half);
        x1 = fmax(x1, l->at[i].x + half);
        y1 = fmax(y1, l->at[i].y + half);
    }
    return (hs_box){x0, y0, x1 - x0, y1 - y0};
}

static hs_box cover(const hs_page *p, const hs_mark *s) {
    switch (s->kind) {
    case HS_MARK_LABEL:
        return s->label.box;
    case HS_MARK_CELLS:
        return rect_box(p, s->cells.rect);
    case HS_MARK_LINE:
        return line_box(&s->line);
    case HS_MARK_DOT:
        return (hs_box){s->dot.x - s->dot.r, s->dot.y - s->dot.r, 2 * s->dot.r, 2 * s->dot.r};
    default:
        return rect_box(p, s->rect);
    }
}

hs_box hs_page_bounds(const hs_page *p) {
    double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;
    for (int64_t i = p->part; i < p->n_mark; i++) {
        hs_box b = cover(p, &p->mark[i]);
        if (!(b.w > 0)) continue; // nothing to see
        x0 = fmin(x0, b.x);
        y0 = fmin(y0, b.y);
        x1 = fmax(x1, b.x + b.w);
        y1 = fmax(y1, b.y + b.h);
    }
    return x0 <= x1 ? (hs_box){x0, y0, x1 - x0, y1 - y0} : (hs_box){0};
}

// ---- words --------------------------------------------------------------------------------------

static const char *print(hs_page *p, const char *fmt, va_list ap) {
    char text[NOTE_MAX];
    const char *kept = "";
    vsnprintf(text, sizeof text, fmt, ap);
    if (!p->rc) p->rc = hs_arena_str(p->arena, &kept, text, strlen(text));
    return kept;
}

static bool room(hs_page *p, int n, int most) {
    if (!p->rc && n >= most) p->rc = hs_fail(HS_EARG, "more than %d words on one page", most);
    return !p->rc;
}

void hs_page_note(hs_page *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = print(p, fmt, ap);
    va_end(ap);
    for (int i = 0; i < p->n_note; i++)
        if (strcmp(p->note[i], text) == 0) return;
    if (room(p, p->n_note, HS_MOST_NOTES)) p->note[p->n_note++] = text;
}

void hs_page_fact(hs_page *p, const char *key, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    const char *text = print(p, fmt, ap);
    va_end(ap);
    if (!room(p, p->n_fact + 1, HS_MOST_FACTS)) return;
    p->fact[p->n_fact++] = key;
    p->fact[p->n_fact++] = text;
}

void hs_page_key(hs_page *p, enum hs_mark_kind kind, uint32_t ink, const char *text) {
    const char *markup = hs_page_line(p, text);
    if (room(p, p->n_key, HS_MOST_KEYS)) p->key[p->n_key++] = (hs_key){kind, ink, markup};
}
