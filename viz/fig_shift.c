// What positions had and have: paired bars above, their differences below, over the tokens; see
// fig.h.
//
//      marks, names of bands
//      y numbers | bands, rules, bars of before and after
//      y numbers | bands, rules, bars of the difference
//                | tokens
//
// The bar of before is wide and pale, that of after narrow and dark in front of it: what stands out
// of the dark one is what was lost. A few bars that are much longer than all others would press
// these to the ground: they are cut, which shows, and a note says where they end.
#include "viz/furniture.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 1000, MOST_BANDS = 64, MOST_CUT = 3 };

static const double HIGH = 130, LOW = 90, BETWEEN = 12; // of the two areas, points
static const double NARROW = 300, WIDE = 640;           // of both
static const double LABELLED = 9.7;                     // a position whose token is written
static const double INSET = 5;                          // from an area's edge to the first bar
static const double LANE = 6, DOT = 1.9;                // of marks, above the areas
static const double FAR = 3; // so many times as long as the next one is much longer
static const double BREAK = 1.4;
static const double LONGEST = 1e100; // nothing that is drawn comes near

typedef struct shift {
    hs_page *p;
    const hs_fig_shift *f;
    double *change; // [n]
    hs_rect high, low;
    hs_ruler above, below;
    double cell;              // pixels a position
    const char *const *label; // NULL = numbers only
} shift;

// ---- ranges -------------------------------------------------------------------------------------

static int descending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// The largest of the lengths that the axis shows: that of all, or where a few are much longer, of
// the others.
static double longest(double *length, int64_t n) {
    qsort(length, (size_t)n, sizeof *length, descending);
    for (int64_t k = 1; k <= MOST_CUT && k < n; k++)
        if (length[k] > 0 && length[k - 1] > FAR * length[k]) return length[k];
    return n ? length[0] : 0;
}

static double larger(double a, double b) {
    return isnan(a) ? b : isnan(b) ? a : fmax(a, b);
}

// Out to half a tick; 0 is there.
static void round_out(hs_ruler *r, double lo, double hi) {
    double ticks[16], step;
    if (lo >= hi) hi = lo + 1;
    hs_ticks(lo, hi, 5, ticks, &step);
    r->lo = lo < 0 ? floor(2 * lo / step + 1e-9) * step / 2 : 0;
    r->hi = hi > 0 ? ceil(2 * hi / step - 1e-9) * step / 2 : 0;
}

static void choose_ranges(shift *s, const hs_fig_style *style) {
    const hs_fig_shift *f = s->f;
    double *length = hs_page_get(s->p, f->n, sizeof *length);
    int64_t n = 0;
    double lo = 0, hi = 0;
    if (s->p->rc) return;
    for (int64_t i = 0; i < f->n; i++) {
        const double v = larger(f->before[i], f->after[i]);
        if (!isnan(v)) length[n++] = v;
    }
    const double most_above = longest(length, n);
    round_out(&s->above, 0, style->fit && n ? length[0] : most_above);
    if (!style->fit && style->lo < style->hi) {
        s->above.lo = style->lo;
        s->above.hi = style->hi;
    }
    n = 0;
    for (int64_t i = 0; i < f->n; i++)
        if (!isnan(s->change[i])) length[n++] = fabs(s->change[i]);
    const double most = style->fit ? INFINITY : longest(length, n);
    for (int64_t i = 0; i < f->n; i++) {
        if (isnan(s->change[i])) continue;
        lo = fmin(lo, fmax(s->change[i], -most));
        hi = fmax(hi, fmin(s->change[i], most));
    }
    round_out(&s->below, lo, hi);
    hs_page_fact(s->p, "vmin", "%.9g", s->above.lo);
    hs_page_fact(s->p, "vmax", "%.9g", s->above.hi);
}

// ---- places -------------------------------------------------------------------------------------

// Pixels from the left of the areas to the left of position i.
static double left_of(const shift *s, int64_t i) {
    return INSET * s->p->px + (double)i * s->cell;
}

static hs_rect column(const shift *s, int64_t i, double share, double top, double bottom) {
    const double from = left_of(s, i) + 0.5 * (1 - share) * s->cell;
    const int x = (int)lround(from), end = (int)lround(from + share * s->cell);
    const int y = (int)lround(top), low = (int)lround(bottom);
    return (hs_rect){x, y, end > x ? end - x : 1, low > y ? low - y : 1};
}

// The bar of a value, within its area; whether it is cut.
static bool put_bar(const shift *s, const hs_ruler *r, hs_rect area, int64_t i, double v,
                    double share, uint32_t ink) {
    if (isnan(v) || v == 0) return false;
    const double in = fmin(fmax(v, r->lo), r->hi), zero = fmin(fmax(0, r->lo), r->hi);
    const double a = area.y + hs_ruler_at(r, HS_SIDE_LEFT, area, in);
    const double b = area.y + hs_ruler_at(r, HS_SIDE_LEFT, area, zero);
    hs_page_fill(s->p, column(s, i, share, fmin(a, b), fmax(a, b)), ink);
    return fabs(v - in) > 1e-6 * (r->hi - r->lo); // round ends are not exact
}

// A bar that goes on is broken near its end.
static void put_break(const shift *s, hs_rect area, int64_t i, bool up) {
    const double px = s->p->px, from = up ? 4 * px : area.h - (4 + BREAK) * px;
    hs_page_fill(s->p, column(s, i, 1, area.y + from, area.y + from + BREAK * px), HS_INK_PAGE);
}

// ---- bars ---------------------------------------------------------------------------------------

static bool put_pair(const shift *s, int64_t i) {
    const bool was = put_bar(s, &s->above, s->high, i, s->f->before[i], 0.86, HS_INK_FRAME);
    const bool is = put_bar(s, &s->above, s->high, i, s->f->after[i], 0.44, HS_INK_SERIES);
    if (was || is) put_break(s, s->high, i, true);
    return was || is;
}

static bool put_change(const shift *s, int64_t i) {
    const double v = s->change[i];
    const bool cut = put_bar(s, &s->below, s->low, i, v, 0.7,
                             v < 0 ? HS_INK_SERIES + 1 : HS_INK_SERIES + 2);
    if (cut) put_break(s, s->low, i, v > 0);
    return cut;
}

static void put_bars(const shift *s) {
    hs_buf cut = {0};
    int n = 0;
    for (int64_t i = 0; i < s->f->n; i++) {
        char a[HS_NUMBER], b[HS_NUMBER];
        const bool high = put_pair(s, i), low = put_change(s, i);
        if (!high && !low) continue;
        if (n++ < 2 * MOST_CUT)
            hs_buf_printf(&cut, "%s %lld from %s to %s", n > 1 ? "," : "",
                          (long long)(s->f->x0 + i), hs_number(a, s->f->before[i], 3),
                          hs_number(b, s->f->after[i], 3));
    }
    if (n && !s->p->rc) s->p->rc = hs_buf_rc(&cut);
    if (n)
        hs_page_note(s->p, "Broken bars go on: position%s%s.", hs_buf_text(&cut),
                     n > 2 * MOST_CUT ? ", and more" : "");
    hs_buf_free(&cut);
}

// ---- bands and marks ----------------------------------------------------------------------------

static uint32_t band_ink(const shift *s) {
    return s->p->style.theme == HS_THEME_PAPER ? 0xe3edf7 : 0x1f2d3d;
}

// Both areas behind a band's positions, and its name above where neighbours leave it room.
static void put_bands(const shift *s) {
    double end = -INFINITY; // of the last name
    hs_buf told = {0};
    int n = 0;
    for (int64_t k = 0; k < s->f->n_band; k++) {
        const hs_fig_band *b = &s->f->band[k];
        const int64_t from = b->from > s->f->x0 ? b->from - s->f->x0 : 0;
        const int64_t to = b->to - s->f->x0 < s->f->n ? b->to - s->f->x0 : s->f->n;
        if (from >= to) continue;
        const int x = (int)lround(left_of(s, from));
        const int gap = s->cell > 4 * s->p->px ? hs_page_pixels(s->p, BREAK) : 1; // to the next one
        const int right = (int)fmax(x + 1, lround(left_of(s, to)) - gap);
        hs_page_fill(s->p, (hs_rect){x, s->high.y, right - x, s->high.h}, band_ink(s));
        hs_page_fill(s->p, (hs_rect){x, s->low.y, right - x, s->low.h}, band_ink(s));
        const hs_text t = {.markup = hs_page_line(s->p, b->name), .pt = HS_NOTE_PT};
        const hs_text_box e = hs_page_measure(s->p, &t);
        const double left = x / s->p->px;
        if (left > end + HS_GAP && left + e.x1 < s->high.w / s->p->px) {
            hs_page_label(s->p, &t, left, -LANE - 0.5 * HS_GAP, false, HS_INK_PALE);
            end = left + e.x1;
        }
        if (n++ < 6)
            hs_buf_printf(&told, "%s %.24s %lld to %lld", n > 1 ? "," : "", b->name,
                          (long long)b->from, (long long)b->to - 1);
    }
    if (n && !s->p->rc) s->p->rc = hs_buf_rc(&told);
    if (n)
        hs_page_note(s->p, "Shaded:%s%s.", hs_page_line(s->p, hs_buf_text(&told)),
                     n > 6 ? ", and more" : "");
    hs_buf_free(&told);
}

static void put_marks(const shift *s) {
    bool any = false;
    for (int64_t i = 0; s->f->mark && i < s->f->n; i++) {
        if (!s->f->mark[i]) continue;
        const double x = (left_of(s, i) + 0.5 * s->cell) / s->p->px;
        hs_page_dot(s->p, (hs_dot){x, -0.5 * LANE, DOT}, HS_INK_TEXT);
        any = true;
    }
    if (any && s->f->mark_name) hs_page_key(s->p, HS_MARK_DOT, HS_INK_TEXT, s->f->mark_name);
}

// ---- the figure ---------------------------------------------------------------------------------

static void put_zero(const shift *s, const hs_ruler *r, hs_rect area) {
    const int at = (int)lround(hs_ruler_at(r, HS_SIDE_LEFT, area, fmin(fmax(0, r->lo), r->hi)));
    hs_page_fill(s->p, (hs_rect){area.x, area.y + at, area.w, hs_page_pixels(s->p, 0.6)},
                 HS_INK_FRAME);
}

// Each ruler by itself: its title stands beside its own numbers.
static void put_ruler(const shift *s, const hs_ruler *r, hs_rect area) {
    hs_page_part(s->p);
    hs_page_ruler(s->p, r, HS_SIDE_LEFT, area);
    hs_page_put(s->p, 0, 0);
}

static void choose_areas(shift *s) {
    const double n = (double)s->f->n;
    const bool labelled = s->f->label && n * LABELLED <= HS_MAX_SPAN - 2 * INSET - 60;
    const double room = labelled ? fmax(n * LABELLED, NARROW) : WIDE;
    const int wide = hs_page_pixels(s->p, room + 2 * INSET);
    s->high = (hs_rect){.w = wide, .h = hs_page_pixels(s->p, HIGH)};
    s->low = (hs_rect){
        .y = s->high.h + hs_page_pixels(s->p, BETWEEN), .w = wide, .h = hs_page_pixels(s->p, LOW)};
    s->cell = (wide - 2 * INSET * s->p->px) / n;
    s->label = labelled ? s->f->label : NULL;
}

static void draw(const shift *s) {
    const hs_fig_shift *f = s->f;
    const hs_axis x = {.title = f->x_title,
                       .first = f->x0,
                       .count = f->n,
                       .pool = 1,
                       .cell = s->cell,
                       .label = s->label};
    hs_rect inner = s->low; // what the positions share
    inner.x += (int)lround(INSET * s->p->px);
    inner.w -= 2 * (int)lround(INSET * s->p->px);
    put_bands(s);
    put_ruler(s, &s->above, s->high);
    put_ruler(s, &s->below, s->low);
    put_bars(s);
    put_zero(s, &s->above, s->high);
    put_zero(s, &s->below, s->low);
    hs_page_part(s->p);
    hs_axis_below(s->p, &x, inner);
    hs_page_put(s->p, 0, 0);
    hs_page_key(s->p, HS_MARK_FILL, HS_INK_FRAME, f->before_name);
    hs_page_key(s->p, HS_MARK_FILL, HS_INK_SERIES, f->after_name);
    hs_page_key(s->p, HS_MARK_FILL, HS_INK_SERIES + 2, "more than before");
    hs_page_key(s->p, HS_MARK_FILL, HS_INK_SERIES + 1, "less");
    put_marks(s);
}

static int check(const hs_fig_shift *f, const hs_fig_style *style) {
    if (f->n < 1 || f->n > MOST || !f->before || !f->after)
        return hs_fail(HS_EARG, "bars of %lld positions: give 1 to %d", (long long)f->n, MOST);
    if (f->x0 < 0 || f->x0 > INT32_MAX || f->n_band < 0 || f->n_band > MOST_BANDS ||
        (f->n_band && !f->band))
        return hs_fail(HS_EARG, "bars from position %lld on, with %lld bands", (long long)f->x0,
                       (long long)f->n_band);
    if (style && (fabs(style->lo) > LONGEST || fabs(style->hi) > LONGEST))
        return hs_fail(HS_EARG, "an axis from %g to %g: give two finite numbers", style->lo,
                       style->hi);
    for (int64_t i = 0; i < f->n; i++)
        if (fabs(f->before[i]) > LONGEST || fabs(f->after[i]) > LONGEST)
            return hs_fail(HS_EARG, "an endless bar at position %lld", (long long)(f->x0 + i));
    return HS_OK;
}

int hs_fig_open_shift(hs_fig **out, const hs_fig_shift *f, const hs_fig_style *style) {
    shift s = {.f = f};
    *out = NULL;
    int rc = check(f, style);
    if (!rc) rc = hs_page_open(&s.p, style);
    if (rc) return rc;
    s.above = (hs_ruler){.title = f->y_title, .rules = true};
    s.below = (hs_ruler){.title = f->change_title, .rules = true};
    s.change = hs_page_get(s.p, f->n, sizeof *s.change);
    for (int64_t i = 0; i < f->n && s.change; i++) s.change[i] = f->after[i] - f->before[i];
    choose_areas(&s);
    choose_ranges(&s, &s.p->style);
    if (!s.p->rc) draw(&s);
    return hs_fig_take(out, s.p, hs_page_finish(s.p, f->title, f->subtitle));
}
