// The layer x head grid as a sheet: range, numbers in cells, undefined heads; see fig.h.
#include "viz/sheet.h"

#include <math.h>
#include <string.h>

enum {
    MOST = 1024,        // layers, heads
    MOST_PRINTED = 4096 // cells whose values are worth measuring
};

static const double VALUE_PT = 7;

typedef struct span {
    double lo, hi;         // of the finite values; lo > hi: there are none
    double lo_any, hi_any; // of all but NaN
    bool undefined, whole; // some are NaN; all are integers
} span;

static span measure(const hs_fig_grid *f) {
    span s = {INFINITY, -INFINITY, INFINITY, -INFINITY, false, true};
    for (int64_t i = 0; i < f->n_layer * f->n_head; i++) {
        double v = f->value[i];
        s.undefined |= isnan(v);
        if (isnan(v)) continue;
        s.lo_any = fmin(s.lo_any, v);
        s.hi_any = fmax(s.hi_any, v);
        if (isinf(v)) continue;
        s.whole &= v == floor(v);
        s.lo = fmin(s.lo, v);
        s.hi = fmax(s.hi, v);
    }
    return s;
}

// Two or three digits that count: the cells are small, and the bar tells the rest.
static int decimals(const span *s) {
    double most = fmax(fabs(s->lo), fabs(s->hi));
    if (s->whole && most < 1e5) return 0;
    if (most >= 1e5 || most < 0.01) return -1;
    return most >= 100 ? 0 : most >= 10 ? 1 : most >= 0.1 ? 2 : 3;
}

// The values as text; *widest and *tallest get the ink of the largest.
static int print_values(const hs_fig_grid *f, hs_sheet *s, hs_canvas *canvas, int digits,
                        double *widest) {
    size_t n = (size_t)(f->n_layer * f->n_head);
    const char **text;
    *widest = 0;
    int rc = hs_arena_get(s->arena, &text, n, sizeof *text);
    for (size_t i = 0; i < n && !rc; i++) {
        if (isnan(f->value[i])) continue;
        char number[HS_NUMBER];
        hs_number(number, f->value[i], digits);
        if ((rc = hs_arena_str(s->arena, &text[i], number, strlen(number)))) break;
        hs_extent e = hs_canvas_measure(canvas, &(hs_text){.markup = text[i], .pt = VALUE_PT});
        *widest = fmax(*widest, e.x1 - e.x0);
    }
    s->value = text;
    s->value_pt = VALUE_PT;
    return rc;
}

// Cells wide enough for their numbers, or small ones when the page has no room for that.
static void fit(hs_sheet *s, double widest) {
    double px = s->dpi / 72, columns = (double)s->x.n, rows = (double)s->y.n;
    double w = fmax(widest + 6, fmin(44, 300 / columns));
    double h = fmax(VALUE_PT + 6, fmin(0.7 * w, 300 / rows));
    if (!s->value || w * columns > HS_MAX_SPAN || h * rows > HS_MAX_SPAN) {
        s->value = NULL;
        w = fmin(fmax(12, 300 / columns), HS_MAX_SPAN / columns);
        h = fmin(fmin(fmax(11, 300 / rows), w), HS_MAX_SPAN / rows);
    }
    s->x.cell = (int)fmax(1, floor(w * px));
    s->y.cell = (int)fmax(1, floor(h * px));
    int least = s->x.cell < s->y.cell ? s->x.cell : s->y.cell;
    s->gap = least < 8 * px ? 0 : (int)fmax(1, floor(0.5 * px));
}

static int colour_cells(const hs_fig_grid *f, hs_sheet *s) {
    size_t n = (size_t)(f->n_layer * f->n_head);
    uint32_t *colour;
    int rc = hs_arena_get(s->arena, &colour, n, sizeof *colour);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++)
        colour[i] = isnan(f->value[i]) ? HS_CELL_HATCHED : hs_scale_at(&s->scale, f->value[i]);
    s->colour = colour;
    return HS_OK;
}

static int check(const hs_fig_grid *f) {
    if (f->n_layer <= 0 || f->n_head <= 0 || f->n_layer > MOST || f->n_head > MOST)
        return hs_fail(HS_EARG, "a grid of %lld layers x %lld heads: both must be 1 to %d",
                       (long long)f->n_layer, (long long)f->n_head, MOST);
    return f->value ? HS_OK : hs_fail(HS_EARG, "a grid without values");
}

int hs_sheet_grid(const hs_fig_grid *f, const hs_fig_style *style, hs_canvas *canvas,
                  hs_sheet **out) {
    *out = NULL;
    hs_sheet *s = NULL;
    int rc = check(f);
    if (rc) return rc;
    rc = hs_sheet_open(&s, style, f->diverging ? "rdbu" : "viridis", f->title, f->subtitle,
                       f->bar_label);
    if (rc) return rc;
    s->x = (hs_axis){.title = "Head", .count = f->n_head, .pool = 1, .n = f->n_head};
    s->y = (hs_axis){.title = "Layer", .count = f->n_layer, .pool = 1, .n = f->n_layer};

    span data = measure(f);
    s->hatched = data.undefined;
    bool none = data.lo > data.hi;
    double reach = fmax(fabs(data.lo), fabs(data.hi));
    // A scale that all but starts at 0 starts there: a reader expects the lowest colour to be none.
    bool from_zero = data.lo > 0 && data.lo < 0.1 * data.hi;
    double lo = none ? 0 : f->diverging ? -reach : from_zero ? 0 : data.lo;
    double hi = none ? 0 : f->diverging ? reach : data.hi;
    s->scale.centred = f->diverging;
    if ((rc = hs_sheet_range(s, style, lo, hi, data.lo_any, data.hi_any))) goto out;
    if ((rc = colour_cells(f, s))) goto out;
    double widest = 0;
    if (f->n_layer * f->n_head <= MOST_PRINTED)
        rc = print_values(f, s, canvas, decimals(&data), &widest);
    if (rc) goto out;
    fit(s, widest);
    if (!none) {
        char a[HS_NUMBER], b[HS_NUMBER];
        int digits = hs_decimals(fmax(reach, 1e-300) / 100);
        rc = hs_sheet_note(s, "Data from %s to %s.", hs_number(a, data.lo, digits),
                           hs_number(b, data.hi, digits));
    }
    if (rc) goto out;
    *out = s;
    s = NULL;
out:
    hs_sheet_close(s);
    return rc;
}
