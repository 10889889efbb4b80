// Horizontal bars from zero, with their names and values; see fig.h.
//
//      name | bar, whiskers, value
//           | ruler
//
// Bars begin at zero, so that their lengths compare. A value stands behind its bar and whisker, on
// the side to which the bar points; the ruler leaves the widest value its room.
#include "viz/furniture.h"

enum { MOST = 1000 };

static const double AREA = 300, ROW = 13, BAR = 8.5, WHISKER = 0.8, CAP = 3.5; // points
static const double NAME_MOST = 160; // a name is cut when it is longer

typedef struct bars {
    hs_page *p;
    const hs_fig_bars *f;
    hs_rect area;
    hs_ruler x;
    double lo, hi; // bars end here, and the axis a little farther
    int decimals;
    double wide; // of the widest printed value
} bars;

static double x_at(const bars *b, double v) {
    v = fmin(fmax(v, b->lo), b->hi);
    return (b->area.x + hs_ruler_at(&b->x, HS_SIDE_BELOW, b->area, v)) / b->p->px;
}

static double middle(const bars *b, int64_t i) {
    return b->area.y / b->p->px + ((double)i + 0.5) * ROW;
}

// The far ends of what is drawn for bar i.
static double low_end(const bars *b, int64_t i) {
    double v = b->f->value[i], lo = b->f->lo ? b->f->lo[i] : v;
    return fmin(v, isnan(lo) ? v : lo);
}

static double high_end(const bars *b, int64_t i) {
    double v = b->f->value[i], hi = b->f->hi ? b->f->hi[i] : v;
    return fmax(v, isnan(hi) ? v : hi);
}

static hs_text value_text(const bars *b, int64_t i) {
    char number[HS_NUMBER];
    hs_number(number, b->f->value[i], b->decimals);
    bool none = isnan(b->f->value[i]);
    return (hs_text){.markup = hs_page_line(b->p, none ? "undefined" : number), .pt = HS_VALUE_PT};
}

// ---- sizes --------------------------------------------------------------------------------------

// Three digits that count, of the largest.
static int decimals_for(double most) {
    if (most == 0) return 0;
    if (most >= 1e6 || most < 1e-3) return -1;
    int d = 2 - (int)floor(log10(most));
    return d > 0 ? d : 0;
}

// Leaves the numbers beyond the ends their room, as the ruler is AREA points long.
static void leave_room(bars *b, const hs_reach *reach) {
    double room = b->wide + 2 * HS_GAP, span = b->x.hi - b->x.lo;
    bool left = reach->lo<0, right = reach->hi> 0 || !left;
    double unit = span / (AREA - room * (left + right));
    if (left) b->x.lo -= room * unit;
    if (right) b->x.hi += room * unit;
}

static int range_of(bars *b, const hs_fig_style *style) {
    hs_reach reach = HS_REACH_EMPTY;
    for (int64_t i = 0; i < b->f->n; i++) {
        hs_reach_add(&reach, low_end(b, i));
        hs_reach_add(&reach, high_end(b, i));
    }
    bool whole = reach.whole, none = reach.lo > reach.hi;
    double lo = none ? 0 : fmin(reach.lo, 0), hi = none ? 1 : fmax(reach.hi, 0);
    if (lo == hi) hi = 1;
    if (b->f->diverging && lo < 0 && hi > 0) {
        hi = fmax(hi, -lo);
        lo = -hi;
    }
    b->decimals = whole ? 0 : decimals_for(fmax(-lo, hi));
    for (int64_t i = 0; i < b->f->n; i++) {
        hs_text t = value_text(b, i);
        b->wide = fmax(b->wide, hs_page_measure(b->p, &t).x1);
    }
    b->x = (hs_ruler){.title = b->f->x_title, .lo = lo, .hi = hi};
    if (!style->fit && style->lo < style->hi) {
        b->x.lo = style->lo;
        b->x.hi = style->hi;
    }
    if (!isfinite(b->x.lo) || !isfinite(b->x.hi) || !isfinite(b->x.hi - b->x.lo))
        return hs_fail(HS_EARG, "an axis from %g to %g: give two finite numbers", b->x.lo, b->x.hi);
    if (reach.lo_any < b->x.lo || reach.hi_any > b->x.hi)
        hs_page_note(b->p, "Bars are cut at the ends of the axis.");
    hs_page_fact(b->p, "vmin", "%.9g", b->x.lo);
    hs_page_fact(b->p, "vmax", "%.9g", b->x.hi);
    b->lo = b->x.lo;
    b->hi = b->x.hi;
    leave_room(b, &reach);
    return HS_OK;
}

// ---- drawing ------------------------------------------------------------------------------------

static hs_rect strip(const bars *b, double from, double to, double y, double high) {
    double px = b->p->px, left = fmin(from, to), right = fmax(from, to);
    int x = (int)lround(left * px), h = hs_page_pixels(b->p, high);
    return (hs_rect){x, (int)lround(y * px - 0.5 * h), (int)fmax(1, lround(right * px) - x), h};
}

static void draw_whisker(const bars *b, int64_t i) {
    if (!b->f->lo || !b->f->hi || isnan(b->f->lo[i]) || isnan(b->f->hi[i])) return;
    double lo = x_at(b, b->f->lo[i]), hi = x_at(b, b->f->hi[i]), y = middle(b, i);
    hs_page_fill(b->p, strip(b, lo, hi, y, WHISKER), HS_INK_TEXT);
    hs_page_fill(b->p, strip(b, lo - 0.5 * WHISKER, lo + 0.5 * WHISKER, y, CAP), HS_INK_TEXT);
    hs_page_fill(b->p, strip(b, hi - 0.5 * WHISKER, hi + 0.5 * WHISKER, y, CAP), HS_INK_TEXT);
}

static void draw_value(const bars *b, int64_t i) {
    double v = b->f->value[i], zero = x_at(b, 0), y = hs_centred(middle(b, i), HS_VALUE_PT);
    hs_text t = value_text(b, i);
    hs_text_box e = hs_page_measure(b->p, &t);
    double x = isnan(v) ? zero + HS_GAP
               : v < 0  ? x_at(b, low_end(b, i)) - HS_GAP - e.x1
                        : x_at(b, high_end(b, i)) + HS_GAP;
    hs_page_label(b->p, &t, x, y, false, isnan(v) ? HS_INK_PALE : HS_INK_TEXT);
}

static void draw_name(const bars *b, int64_t i) {
    hs_text t = {.markup = hs_page_line(b->p, b->f->name[i]), .pt = HS_LABEL_PT};
    hs_text_box e = hs_page_measure(b->p, &t);
    if (e.x1 > NAME_MOST) {
        t.width = NAME_MOST;
        t.lines = 1;
        e = hs_page_measure(b->p, &t);
    }
    double left = b->area.x / b->p->px;
    hs_page_label(b->p, &t, left - HS_GAP - e.x1, hs_centred(middle(b, i), HS_LABEL_PT), false,
                  HS_INK_TEXT);
}

static void draw(const bars *b) {
    int thin = hs_page_pixels(b->p, 0.6);
    double zero = x_at(b, 0);
    hs_page_ruler(b->p, &b->x, HS_SIDE_BELOW, b->area);
    for (int64_t i = 0; i < b->f->n; i++) {
        double v = b->f->value[i];
        if (!isnan(v))
            hs_page_fill(b->p, strip(b, zero, x_at(b, v), middle(b, i), BAR),
                         v < 0 ? HS_INK_SERIES + 1 : HS_INK_SERIES);
        draw_whisker(b, i);
        draw_value(b, i);
        draw_name(b, i);
    }
    hs_page_fill(b->p,
                 (hs_rect){(int)lround(zero * b->p->px) - thin / 2, b->area.y, thin, b->area.h},
                 HS_INK_FRAME);
}

int hs_fig_open_bars(hs_fig **out, const hs_fig_bars *f, const hs_fig_style *style) {
    *out = NULL;
    if (f->n < 1 || f->n > MOST || !f->name || !f->value || !f->lo != !f->hi)
        return hs_fail(HS_EARG, "%lld bars: give 1 to %d", (long long)f->n, MOST);
    bars b = {.f = f};
    int rc = hs_page_open(&b.p, style);
    if (rc) return rc;
    b.area = (hs_rect){.w = hs_page_pixels(b.p, AREA),
                       .h = hs_page_pixels(b.p, ROW * (double)f->n)};
    rc = range_of(&b, &b.p->style);
    if (!rc) draw(&b);
    return hs_fig_take(out, b.p, rc ? rc : hs_page_finish(b.p, f->title, f->subtitle));
}
