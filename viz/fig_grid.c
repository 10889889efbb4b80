// The layer x head grid: range, numbers in cells, undefined heads; see fig.h.
#include "viz/furniture.h"

#include <math.h>
#include <string.h>

enum {
    MOST = 1024,        // layers, heads
    MOST_PRINTED = 4096 // cells whose values are worth measuring
};
#define WIDEST_TOKEN 46.0 // points that a token takes in a cell, and that one needs at least
#define LEAST_TOKEN 13.0

// Two or three digits that count: the cells are small, and the bar tells the rest.
static int decimals(const hs_reach *s) {
    double most = fmax(fabs(s->lo), fabs(s->hi));
    if (s->whole && most < 1e5) return 0;
    if (most >= 1e5 || most < 0.01) return -1;
    return most >= 100 ? 0 : most >= 10 ? 1 : most >= 0.1 ? 2 : 3;
}

static double ink_of(hs_page *p, const hs_text *text) {
    const hs_text_box e = hs_page_measure(p, text);
    return e.x1 - e.x0;
}

// A token, cut between characters to what `room` takes.
static hs_text print_token(hs_page *p, const char *bytes, double room) {
    char cut[48];
    hs_text text = {.markup = hs_page_token(p, bytes), .pt = HS_VALUE_PT};
    size_t n = strlen(bytes);
    if (n > sizeof cut - 4) n = sizeof cut - 4;
    while (!p->rc && n > 0 && ink_of(p, &text) > room) {
        do n--;
        while (n > 0 && ((unsigned char)bytes[n] & 0xC0) == 0x80);
        memcpy(cut, bytes, n);
        memcpy(cut + n, "\u2026", 4);
        text.markup = hs_page_token(p, cut);
    }
    return text;
}

// What is written in the cells; *widest gets the ink of the longest. NULL: there is no room.
static hs_text *print_cells(hs_page *p, const hs_fig_grid *f, int digits, double *widest) {
    const int64_t n = f->n_layer * f->n_head;
    const double room = fmin(WIDEST_TOKEN, (double)HS_MAX_SPAN / (double)f->n_head - 6);
    *widest = 0;
    if (n > MOST_PRINTED || (f->cell && room < LEAST_TOKEN)) return NULL;
    hs_text *text = hs_page_get(p, n, sizeof *text);
    for (int64_t i = 0; i < n && !p->rc; i++) {
        char number[HS_NUMBER];
        if (f->cell ? !f->cell[i] : isnan(f->value[i])) continue;
        text[i] = f->cell
                      ? print_token(p, f->cell[i], room)
                      : (hs_text){.markup = hs_page_line(p, hs_number(number, f->value[i], digits)),
                                  .pt = HS_VALUE_PT};
        *widest = fmax(*widest, ink_of(p, &text[i]));
    }
    return text;
}

// Cells wide enough for their numbers, or small ones when `span` points across have no room for that;
// whether the numbers are printed.
static bool fit(const hs_page *p, hs_cells *c, double span, bool measured, double widest) {
    double columns = (double)c->n_col, rows = (double)c->n_row;
    double w = fmax(widest + 6, fmin(44, 300 / columns));
    double h = fmax(HS_VALUE_PT + 6, fmin(0.7 * w, 300 / rows));
    bool printed = measured && w * columns <= span && h * rows <= HS_MAX_SPAN;
    if (!printed) {
        w = fmin(fmax(12, 300 / columns), span / columns);
        h = fmin(fmin(fmax(11, 300 / rows), w), HS_MAX_SPAN / rows);
    }
    c->w = (int)fmax(1, floor(w * p->px));
    c->h = (int)fmax(1, floor(h * p->px));
    int least = c->w < c->h ? c->w : c->h;
    c->gap = least < 8 * p->px ? 0 : (int)fmax(1, floor(0.5 * p->px));
    c->rect = (hs_rect){0, 0, c->w * (int)c->n_col, c->h * (int)c->n_row};
    return printed;
}

static void put_values(hs_page *p, const hs_cells *c, const hs_text *text) {
    for (int64_t i = 0; i < c->n_row * c->n_col; i++) {
        if (!text[i].markup) continue;
        double x = ((double)(i % c->n_col) * c->w + 0.5 * (c->w - c->gap)) / p->px;
        double y = ((double)(i / c->n_col) * c->h + 0.5 * (c->h - c->gap)) / p->px;
        hs_text_box e = hs_page_measure(p, &text[i]);
        hs_page_label(p, &text[i], x - 0.5 * (e.x0 + e.x1), hs_centred(y, text[i].pt), false,
                      hs_ink_over(c->ink[i]));
    }
}

static hs_range own_range(const hs_fig_grid *f, const hs_reach *data) {
    hs_range r = {.diverging = f->diverging};
    if (data->lo > data->hi) return r;
    double reach = fmax(fabs(data->lo), fabs(data->hi));
    // A scale that all but starts at 0 starts there: a reader expects the lowest colour to be none.
    bool from_zero = data->lo > 0 && data->lo < 0.1 * data->hi;
    r.lo = f->diverging ? -reach : from_zero ? 0 : data->lo;
    r.hi = f->diverging ? reach : data->hi;
    return r;
}

hs_rect hs_grid_body(hs_page *p, const hs_fig_grid *f, double span, hs_reach *data) {
    int64_t n = f->n_layer * f->n_head;
    hs_cells c = {.n_row = f->n_layer, .n_col = f->n_head};
    *data = HS_REACH_EMPTY;
    for (int64_t i = 0; i < n; i++) hs_reach_add(data, f->value[i]);
    hs_scale scale = hs_page_scale(p, own_range(f, data), data);

    uint32_t *ink = hs_page_get(p, n, sizeof *ink);
    for (int64_t i = 0; i < n && !p->rc; i++)
        ink[i] = isnan(f->value[i]) ? HS_INK_HATCHED : hs_scale_at(&scale, f->value[i]);
    c.ink = ink;
    double widest = 0;
    const hs_text *text = print_cells(p, f, decimals(data), &widest);
    bool printed = fit(p, &c, span, text != NULL, widest);
    hs_page_cells(p, &c);
    if (!c.gap) hs_page_frame(p, c.rect, HS_INK_FRAME);
    if (printed) put_values(p, &c, text);
    const char *row_title = f->row_title ? f->row_title : "Layer";
    const char *col_title = f->col_title ? f->col_title : "Head";
    hs_axis_left(p, &(hs_axis){row_title, 0, f->n_layer, 1, c.h, f->row, f->row != NULL}, c.rect);
    hs_axis_below(p, &(hs_axis){col_title, f->col0, f->n_head, 1, c.w, f->col, f->unnumbered},
                  c.rect);
    hs_colour_bar(p, &scale, f->bar_label, c.rect);
    if (f->cell && !printed) hs_page_note(p, "The cells have no room for their tokens.");
    return c.rect;
}

void hs_grid_tell(hs_page *p, const char *name, const hs_reach *data) {
    char a[HS_NUMBER], b[HS_NUMBER];
    if (data->lo > data->hi) return;
    int digits = hs_decimals(fmax(fmax(fabs(data->lo), fabs(data->hi)), 1e-300) / 100);
    hs_page_note(p, "%s from %s to %s.", hs_page_line(p, name), hs_number(a, data->lo, digits),
                 hs_number(b, data->hi, digits));
}

static int lay(hs_page *p, const hs_fig_grid *f) {
    hs_reach data;
    hs_grid_body(p, f, HS_MAX_SPAN, &data);
    if (data.missing) hs_page_key(p, HS_MARK_HATCH, HS_INK_HATCH, HS_UNDEFINED);
    hs_grid_tell(p, "Data", &data);
    return hs_page_finish(p, f->title, f->subtitle);
}

int hs_grid_check(const hs_fig_grid *f) {
    if (f->n_layer <= 0 || f->n_head <= 0 || f->n_layer > MOST || f->n_head > MOST)
        return hs_fail(HS_EARG, "a grid of %lld layers x %lld heads: both must be 1 to %d",
                       (long long)f->n_layer, (long long)f->n_head, MOST);
    return f->value ? HS_OK : hs_fail(HS_EARG, "a grid without values");
}

int hs_fig_open_grid(hs_fig **out, const hs_fig_grid *f, const hs_fig_style *style) {
    hs_page *p;
    *out = NULL;
    int rc = hs_grid_check(f);
    if (!rc) rc = hs_page_open(&p, style);
    return rc ? rc : hs_fig_take(out, p, lay(p, f));
}
