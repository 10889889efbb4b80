// Curves over layers or positions; see fig.h.
//
//      y numbers | rules, faint curves, curves | names
//                | axis of positions           |
//
// Names stand where their curves end, moved apart where they would touch, each with a line of its
// colour that leads to it; so no name lies on data and none needs a legend. Long curves keep the
// lowest and highest value of each half point, which draws the same picture.
// Cost: one pass over the values.
#include "viz/furniture.h"

#include <stdlib.h>

enum { MOST = 1 << 24, MOST_LINES = 1 << 16, MOST_NAMED = HS_MOST_CURVES };

static const double HEIGHT = 200, NARROW = 300, USUAL = 420, WIDE = 640; // of the area, points
static const double LABELLED = 9.7; // points that a position takes when its token is written
static const double LINE = 1.6, FAINT = 0.5, DOT = 2.1, FAINT_DOT = 1.3;
static const double INSET = 6;             // from the area's edge to the first position
static const double LEAD = 9, SAMPLE = 10; // from the curve's end to its name
static const double STEEP = 0.25;          // a scale starts at 0 unless the data lie above this
static const double BUCKET = 0.5;          // points of a long curve that are drawn as one

typedef struct curve {
    hs_page *p;
    const hs_fig_curve *f;
    hs_rect area;
    hs_ruler y;
    double cell;              // pixels a position
    const char *const *label; // NULL = numbers only
} curve;

static double x_at(const curve *c, int64_t i) {
    double inset = INSET * c->p->px;
    return (c->area.x + inset + ((double)i + 0.5) * c->cell) / c->p->px;
}

static double y_at(const curve *c, double v) {
    return (c->area.y + hs_ruler_at(&c->y, HS_SIDE_LEFT, c->area, v)) / c->p->px;
}

// ---- sizes --------------------------------------------------------------------------------------

static double round_out(double v, double step, bool up) {
    return (up ? ceil(v / step - 1e-9) : floor(v / step + 1e-9)) * step;
}

// The data's range out to round numbers, from 0 where that costs little.
static void default_range(const hs_reach *reach, double *lo, double *hi) {
    double ticks[16], step;
    *lo = 0;
    *hi = 1;
    if (reach->lo > reach->hi) return;
    *lo = reach->lo;
    *hi = reach->hi;
    if (*lo > 0 && *lo <= *hi * (1 - STEEP)) *lo = 0;
    if (*hi < 0 && *hi >= *lo * (1 - STEEP)) *hi = 0;
    if (*hi - *lo <= 1e-9 * fmax(fabs(*lo), fabs(*hi))) {
        double half = *lo == 0 ? 1 : 0.5 * fabs(*lo);
        *lo -= half;
        *hi += half;
    }
    hs_ticks(*lo, *hi, 8, ticks, &step);
    *lo = round_out(*lo, 0.5 * step, false);
    *hi = round_out(*hi, 0.5 * step, true);
}

static int range_of(curve *c, const hs_fig_style *style) {
    hs_reach reach = HS_REACH_EMPTY;
    for (int64_t l = 0; l < c->f->n_line; l++)
        for (int64_t i = 0; i < c->f->n; i++) hs_reach_add(&reach, c->f->line[l].y[i]);
    c->y = (hs_ruler){.title = c->f->y_title, .rules = true};
    default_range(&reach, &c->y.lo, &c->y.hi);
    if (style->fit && reach.lo < reach.hi) {
        c->y.lo = reach.lo;
        c->y.hi = reach.hi;
    } else if (!style->fit && style->lo < style->hi) {
        c->y.lo = style->lo;
        c->y.hi = style->hi;
    }
    if (!isfinite(c->y.lo) || !isfinite(c->y.hi) || !isfinite(c->y.hi - c->y.lo))
        return hs_fail(HS_EARG, "an axis from %g to %g: give two finite numbers", c->y.lo, c->y.hi);
    if (reach.lo_any < c->y.lo || reach.hi_any > c->y.hi)
        hs_page_note(c->p, "Values beyond the axis are not shown.");
    hs_page_fact(c->p, "vmin", "%.9g", c->y.lo);
    hs_page_fact(c->p, "vmax", "%.9g", c->y.hi);
    return HS_OK;
}

static void choose_area(curve *c) {
    double px = c->p->px, n = (double)c->f->n;
    bool labelled = c->f->label && n * LABELLED <= WIDE; // every token, or none
    double room = labelled ? fmax(n * LABELLED, NARROW) : n > USUAL / 4 ? WIDE : USUAL;
    int wide = hs_page_pixels(c->p, room + 2 * INSET);
    c->area = (hs_rect){.w = wide, .h = hs_page_pixels(c->p, HEIGHT)};
    c->label = labelled ? c->f->label : NULL;
    c->cell = (wide - 2 * INSET * px) / n;
}

// ---- curves -------------------------------------------------------------------------------------

// One stretch of a curve without gaps, as points under construction.
typedef struct stretch {
    hs_xy *at;
    int64_t n;
} stretch;

static void draw_stretch(const curve *c, stretch *s, double width, uint32_t ink) {
    if (s->n > 1) hs_page_polyline(c->p, s->at, s->n, width, ink);
    s->at += s->n;
    s->n = 0;
}

// Where the way from a to b crosses a level.
static hs_xy crossing(hs_xy a, hs_xy b, double y) {
    return (hs_xy){a.x + (b.x - a.x) * (y - a.y) / (b.y - a.y), y};
}

// Goes on to b; the part beyond the area is left out. The last point of s is a, or s is empty and a
// lies outside.
static void go_to(const curve *c, stretch *s, hs_xy a, hs_xy b, double width, uint32_t ink) {
    double top = c->area.y / c->p->px, bottom = (c->area.y + c->area.h) / c->p->px;
    double low = fmin(a.y, b.y), high = fmax(a.y, b.y);
    if (low > bottom || high < top) return;
    if (!s->n) s->at[s->n++] = crossing(a, b, a.y < top ? top : bottom);
    bool above = b.y<top, below = b.y> bottom;
    s->at[s->n++] = above || below ? crossing(a, b, above ? top : bottom) : b;
    if (above || below) draw_stretch(c, s, width, ink);
}

static bool inside(const curve *c, hs_xy at) {
    return at.y >= c->area.y / c->p->px && at.y <= (c->area.y + c->area.h) / c->p->px;
}

// Positions that one drawn point stands for.
static int64_t bucket_of(const curve *c) {
    int64_t n = (int64_t)(BUCKET * c->p->px / c->cell);
    return n > 2 ? n : 1;
}

// The positions of a bucket that are drawn: one, or its lowest and highest in their order.
static int chosen(const double *y, int64_t from, int64_t to, int64_t out[2]) {
    int64_t lo = -1, hi = -1;
    for (int64_t i = from; i < to; i++) {
        if (isnan(y[i])) continue;
        if (lo < 0 || y[i] < y[lo]) lo = i;
        if (hi < 0 || y[i] > y[hi]) hi = i;
    }
    out[0] = lo < hi ? lo : hi;
    out[1] = lo < hi ? hi : lo;
    return lo < 0 ? 0 : lo == hi ? 1 : 2;
}

static void draw_line(const curve *c, const double *y, double width, uint32_t ink) {
    int64_t step = bucket_of(c), n = c->f->n;
    // A point may be followed by the end of one stretch and the start of another.
    stretch s = {.at = hs_page_get(c->p, 4 * ((n + step - 1) / step) + 4, sizeof *s.at)};
    hs_xy last = {0};
    bool going = false; // there was a value just before
    for (int64_t i = 0; i < n && !c->p->rc; i += step) {
        int64_t at[2];
        int count = chosen(y, i, i + step < n ? i + step : n, at);
        if (!count) {
            draw_stretch(c, &s, width, ink);
            going = false;
        }
        for (int k = 0; k < count; k++) {
            hs_xy b = {x_at(c, at[k]), y_at(c, y[at[k]])};
            if (going)
                go_to(c, &s, last, b, width, ink);
            else if (inside(c, b))
                s.at[s.n++] = b;
            going = true;
            last = b;
        }
    }
    if (!c->p->rc) draw_stretch(c, &s, width, ink);
}

static void draw_dots(const curve *c, const double *y, double r, uint32_t ink) {
    for (int64_t i = 0; i < c->f->n; i++) {
        hs_xy at = {x_at(c, i), y_at(c, y[i])};
        if (!isnan(y[i]) && inside(c, at)) hs_page_dot(c->p, (hs_dot){at.x, at.y, r}, ink);
    }
}

// A value between two gaps would not be seen.
static void draw_lone(const curve *c, const double *y, double r, uint32_t ink) {
    for (int64_t i = 0; i < c->f->n; i++) {
        bool before = i > 0 && !isnan(y[i - 1]), after = i + 1 < c->f->n && !isnan(y[i + 1]);
        hs_xy at = {x_at(c, i), y_at(c, y[i])};
        if (!isnan(y[i]) && !before && !after && inside(c, at))
            hs_page_dot(c->p, (hs_dot){at.x, at.y, r}, ink);
    }
}

static void draw_faint(const curve *c) {
    bool any = false;
    for (int64_t l = 0; l < c->f->n_line; l++) {
        const hs_fig_line *line = &c->f->line[l];
        if (!line->faint) continue;
        any = true;
        if (c->f->dots)
            draw_dots(c, line->y, FAINT_DOT, HS_INK_FRAME);
        else
            draw_line(c, line->y, FAINT, HS_INK_FRAME);
    }
    if (any && c->f->faint_name)
        hs_page_key(c->p, c->f->dots ? HS_MARK_DOT : HS_MARK_LINE, HS_INK_FRAME,
                    hs_page_line(c->p, c->f->faint_name));
}

// ---- names --------------------------------------------------------------------------------------

typedef struct name {
    uint32_t ink;
    hs_xy end; // of its curve
    hs_text text;
    hs_text_box ink_box;
    double y; // of its middle
} name;

static int by_height(const void *a, const void *b) {
    const name *x = a, *y = b;
    if (x->end.y < y->end.y || x->end.y > y->end.y) return x->end.y < y->end.y ? -1 : 1;
    return x->ink < y->ink ? -1 : x->ink > y->ink;
}

// From the top down no closer than `apart`, then up again from the bottom where that went too far.
static void spread(name *at, int n, double top, double bottom, double apart) {
    for (int i = 0; i < n; i++) at[i].y = fmax(at[i].end.y, i ? at[i - 1].y + apart : top);
    for (int i = n; i-- > 0;) at[i].y = fmin(at[i].y, i + 1 < n ? at[i + 1].y - apart : bottom);
}

// Where a curve's last value stands, held within the area.
static hs_xy end_of(const curve *c, const double *y) {
    int64_t i = c->f->n - 1;
    while (i > 0 && isnan(y[i])) i--;
    double top = c->area.y / c->p->px, bottom = (c->area.y + c->area.h) / c->p->px;
    double at = isnan(y[i]) ? bottom : y_at(c, y[i]);
    return (hs_xy){x_at(c, i), fmin(fmax(at, top), bottom)};
}

static void draw_name(const curve *c, const name *m) {
    double right = (c->area.x + c->area.w) / c->p->px;
    hs_xy *at = hs_page_get(c->p, 4, sizeof *at);
    if (!at) return;
    at[0] = (hs_xy){right + 0.3 * LEAD, m->end.y};
    at[1] = (hs_xy){right + LEAD, m->y};
    at[2] = (hs_xy){right + LEAD + SAMPLE, m->y};
    hs_page_polyline(c->p, at, 3, 0.8 * LINE, m->ink);
    hs_page_label(c->p, &m->text, right + LEAD + SAMPLE + HS_GAP, hs_centred(m->y, m->text.pt),
                  false, HS_INK_TEXT);
}

static void draw_names(const curve *c) {
    name all[MOST_NAMED] = {0};
    int n = 0;
    double tall = 0, px = c->p->px;
    for (int64_t l = 0; l < c->f->n_line; l++) {
        const hs_fig_line *line = &c->f->line[l];
        if (line->faint) continue;
        name *m = &all[n];
        *m = (name){.ink = HS_INK_SERIES + (uint32_t)n, .end = end_of(c, line->y)};
        m->text = (hs_text){.markup = hs_page_line(c->p, line->name), .pt = HS_LABEL_PT};
        m->ink_box = hs_page_measure(c->p, &m->text);
        if (m->ink_box.x1 > USUAL / 2) {
            m->text.width = USUAL / 2;
            m->text.lines = 1;
            m->ink_box = hs_page_measure(c->p, &m->text);
        }
        tall = fmax(tall, m->ink_box.y1 - m->ink_box.y0);
        n++;
    }
    if (n == 1 && n == c->f->n_line) return; // the title says what it is
    qsort(all, (size_t)n, sizeof *all, by_height);
    spread(all, n, c->area.y / px, (c->area.y + c->area.h) / px, tall + 3);
    for (int i = 0; i < n; i++) draw_name(c, &all[i]);
}

// ---- the figure ---------------------------------------------------------------------------------

static void draw(curve *c) {
    hs_axis x = {.title = c->f->x_title,
                 .first = c->f->x0,
                 .count = c->f->n,
                 .pool = 1,
                 .cell = c->cell,
                 .label = c->label};
    hs_rect inner = c->area; // what the positions share
    inner.x += (int)lround(INSET * c->p->px);
    inner.w -= 2 * (int)lround(INSET * c->p->px);
    hs_page_ruler(c->p, &c->y, HS_SIDE_LEFT, c->area);
    if (c->y.lo < 0 && c->y.hi > 0) {
        int zero = (int)lround(hs_ruler_at(&c->y, HS_SIDE_LEFT, c->area, 0));
        hs_page_fill(c->p,
                     (hs_rect){c->area.x, c->area.y + zero, c->area.w, hs_page_pixels(c->p, 0.6)},
                     HS_INK_FRAME);
    }
    hs_page_fill(c->p,
                 (hs_rect){c->area.x, c->area.y + c->area.h, c->area.w, hs_page_pixels(c->p, 0.6)},
                 HS_INK_FRAME);
    hs_axis_below(c->p, &x, inner);
    draw_faint(c);
    uint32_t ink = HS_INK_SERIES;
    for (int64_t l = 0; l < c->f->n_line; l++) {
        const hs_fig_line *line = &c->f->line[l];
        if (line->faint) continue;
        draw_line(c, line->y, LINE, ink);
        if (c->f->dots)
            draw_dots(c, line->y, DOT, ink);
        else
            draw_lone(c, line->y, 0.7 * DOT, ink);
        ink++;
    }
    draw_names(c);
}

static int check(const hs_fig_curve *f) {
    int64_t named = 0;
    if (f->n < 1 || f->n > MOST || f->n_line < 1 || f->n_line > MOST_LINES || !f->line)
        return hs_fail(HS_EARG, "%lld curves over %lld positions", (long long)f->n_line,
                       (long long)f->n);
    if (f->x0 < 0 || f->x0 > INT32_MAX)
        return hs_fail(HS_EARG, "curves that start at position %lld", (long long)f->x0);
    for (int64_t l = 0; l < f->n_line; l++) {
        if (!f->line[l].y) return hs_fail(HS_EARG, "a curve without values");
        named += !f->line[l].faint;
    }
    if (named <= MOST_NAMED) return HS_OK;
    return hs_fail(HS_EARG, "%lld curves: colours tell at most %d apart", (long long)named,
                   (int)MOST_NAMED);
}

int hs_fig_open_curve(hs_fig **out, const hs_fig_curve *f, const hs_fig_style *style) {
    *out = NULL;
    curve c = {.f = f};
    int rc = check(f);
    if (!rc) rc = hs_page_open(&c.p, style);
    if (rc) return rc;
    choose_area(&c);
    rc = range_of(&c, &c.p->style);
    if (!rc) draw(&c);
    return hs_fig_take(out, c.p, rc ? rc : hs_page_finish(c.p, f->title, f->subtitle));
}
