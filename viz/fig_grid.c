// The layer x head grid: range, numbers in cells, undefined heads; see fig.h.
#include "viz/furniture.h"

#include <math.h>

enum {
    MOST = 1024,        // layers, heads
    MOST_PRINTED = 4096 // cells whose values are worth measuring
};

// Two or three digits that count: the cells are small, and the bar tells the rest.
static int decimals(const hs_reach *s) {
    double most = fmax(fabs(s->lo), fabs(s->hi));
    if (s->whole && most < 1e5) return 0;
    if (most >= 1e5 || most < 0.01) return -1;
    return most >= 100 ? 0 : most >= 10 ? 1 : most >= 0.1 ? 2 : 3;
}

// The values as text; *widest gets the ink of the longest.
static hs_text *print_values(hs_page *p, const hs_fig_grid *f, int digits, double *widest) {
    int64_t n = f->n_layer * f->n_head;
    hs_text *text = hs_page_get(p, n, sizeof *text);
    *widest = 0;
    for (int64_t i = 0; i < n && !p->rc; i++) {
        if (isnan(f->value[i])) continue;
        char number[HS_NUMBER];
        hs_number(number, f->value[i], digits);
        text[i] = (hs_text){.markup = hs_page_line(p, number), .pt = HS_VALUE_PT};
        hs_text_box e = hs_page_measure(p, &text[i]);
        *widest = fmax(*widest, e.x1 - e.x0);
    }
    return text;
}

// Cells wide enough for their numbers, or small ones when the page has no room for that; whether
// the numbers are printed.
static bool fit(const hs_page *p, hs_cells *c, bool measured, double widest) {
    double columns = (double)c->n_col, rows = (double)c->n_row;
    double w = fmax(widest + 6, fmin(44, 300 / columns));
    double h = fmax(HS_VALUE_PT + 6, fmin(0.7 * w, 300 / rows));
    bool printed = measured && w * columns <= HS_MAX_SPAN && h * rows <= HS_MAX_SPAN;
    if (!printed) {
        w = fmin(fmax(12, 300 / columns), HS_MAX_SPAN / columns);
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

static void put_notes(hs_page *p, const hs_reach *data) {
    if (data->missing) hs_page_key(p, HS_MARK_HATCH, HS_INK_HATCH, "undefined for this head");
    if (data->lo > data->hi) return;
    char a[HS_NUMBER], b[HS_NUMBER];
    int digits = hs_decimals(fmax(fmax(fabs(data->lo), fabs(data->hi)), 1e-300) / 100);
    hs_page_note(p, "Data from %s to %s.", hs_number(a, data->lo, digits),
                 hs_number(b, data->hi, digits));
}

static int lay(hs_page *p, const hs_fig_grid *f) {
    int64_t n = f->n_layer * f->n_head;
    hs_cells c = {.n_row = f->n_layer, .n_col = f->n_head};
    hs_reach data = HS_REACH_EMPTY;
    for (int64_t i = 0; i < n; i++) hs_reach_add(&data, f->value[i]);
    hs_scale scale = hs_page_scale(p, own_range(f, &data), &data);

    uint32_t *ink = hs_page_get(p, n, sizeof *ink);
    for (int64_t i = 0; i < n && !p->rc; i++)
        ink[i] = isnan(f->value[i]) ? HS_INK_HATCHED : hs_scale_at(&scale, f->value[i]);
    c.ink = ink;
    double widest = 0;
    const hs_text *text = n <= MOST_PRINTED ? print_values(p, f, decimals(&data), &widest) : NULL;
    bool printed = fit(p, &c, text != NULL, widest);
    hs_page_cells(p, &c);
    if (!c.gap) hs_page_frame(p, c.rect, HS_INK_FRAME);
    if (printed) put_values(p, &c, text);
    hs_axis_left(p, &(hs_axis){"Layer", 0, f->n_layer, 1, c.h, NULL, false}, c.rect);
    hs_axis_below(p, &(hs_axis){"Head", 0, f->n_head, 1, c.w, NULL, false}, c.rect);
    hs_colour_bar(p, &scale, f->bar_label, c.rect);
    put_notes(p, &data);
    return hs_page_finish(p, f->title, f->subtitle);
}

int hs_fig_open_grid(hs_fig **out, const hs_fig_grid *f, const hs_fig_style *style) {
    *out = NULL;
    if (f->n_layer <= 0 || f->n_head <= 0 || f->n_layer > MOST || f->n_head > MOST)
        return hs_fail(HS_EARG, "a grid of %lld layers x %lld heads: both must be 1 to %d",
                       (long long)f->n_layer, (long long)f->n_head, MOST);
    if (!f->value) return hs_fail(HS_EARG, "a grid without values");
    hs_page *p;
    int rc = hs_page_open(&p, style);
    return rc ? rc : hs_fig_take(out, p, lay(p, f));
}
