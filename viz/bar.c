// The colour scale of a figure and the bar that explains it; see furniture.h.
#include "viz/furniture.h"

#include <math.h>

static const double BAR_WIDTH = 10, BAR_GAP = 16, BAR_LEAST = 72, BAR_MOST = 220;

// The range that the style asks for.
static hs_range wanted(const hs_fig_style *style, hs_range fallback, bool diverging,
                       const hs_reach *data) {
    hs_range r = fallback;
    if (style->fit) {
        bool none = data->lo > data->hi;
        double reach = none ? 0 : fmax(fabs(data->lo), fabs(data->hi));
        bool both = diverging && !none && data->lo < 0 && data->hi > 0;
        r.lo = none ? 0 : both ? -reach : data->lo;
        r.hi = none ? 0 : both ? reach : data->hi;
    } else if (style->lo < style->hi) {
        r.lo = style->lo;
        r.hi = style->hi;
    }
    return r;
}

static int choose(const hs_fig_style *style, hs_range fallback, const hs_reach *data,
                  hs_scale *out) {
    const char *name = style->cmap ? style->cmap : fallback.diverging ? "rdbu" : "viridis";
    const hs_cmap *cmap = hs_cmap_find(name);
    if (!cmap)
        return hs_fail(HS_EARG, "no colour map is called \"%s\": see `list colormaps`", name);
    hs_range r = wanted(style, fallback, cmap->diverging, data);
    if (!isfinite(r.lo) || !isfinite(r.hi) || !isfinite(r.hi - r.lo))
        return hs_fail(HS_EARG, "a colour range from %g to %g: give two finite numbers", r.lo,
                       r.hi);
    // One value only still gets a bar around it, wide enough for doubles to tell its ends apart.
    if (r.hi - r.lo <= 1e-9 * fmax(fabs(r.lo), fabs(r.hi))) {
        double half = r.lo == 0 ? 1 : 0.5 * fabs(r.lo);
        r.lo -= half;
        r.hi += half;
    }
    *out = (hs_scale){.cmap = cmap,
                      .lo = r.lo,
                      .hi = r.hi,
                      .centred = r.diverging || (cmap->diverging && r.lo < 0 && r.hi > 0)};
    return HS_OK;
}

hs_scale hs_page_scale(hs_page *p, hs_range fallback, const hs_reach *data) {
    hs_scale s = {.cmap = hs_cmaps, .lo = 0, .hi = 1};
    if (!p->rc) p->rc = choose(&p->style, fallback, data, &s);
    if (data->lo_any <= data->hi_any && (data->lo_any < s.lo || data->hi_any > s.hi))
        hs_page_note(p, "Values beyond the colour bar have the colour of its end.");
    hs_page_fact(p, "cmap", "%s", s.cmap->name);
    hs_page_fact(p, "vmin", "%.9g", s.lo);
    hs_page_fact(p, "vmax", "%.9g", s.hi);
    if (s.centred) hs_page_fact(p, "centre", "0");
    return s;
}

const uint32_t *hs_pixel_inks(const hs_scale *s, hs_pixel *cell, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float v = cell[i].value;
        cell[i].ink = isnan(v) ? HS_INK_NONE : hs_scale_at(s, v);
    }
    return &cell->ink;
}

static void gradient(hs_page *p, const hs_scale *s, hs_rect bar) {
    uint32_t *ink = hs_page_get(p, bar.h, sizeof *ink);
    if (!ink) return;
    for (int i = 0; i < bar.h; i++) {
        double up = 1 - (double)i / (bar.h - 1);
        ink[i] = hs_scale_at(s, s->lo + up * (s->hi - s->lo));
    }
    hs_page_cells(
        p, &(hs_cells){.rect = bar, .w = bar.w, .h = 1, .n_row = bar.h, .n_col = 1, .ink = ink});
    hs_page_frame(p, bar, HS_INK_FRAME);
}

void hs_colour_bar(hs_page *p, const hs_scale *s, const char *label, hs_rect area) {
    hs_text t = {.markup = hs_page_line(p, label), .pt = HS_SUBTITLE_PT};
    double least = fmax(BAR_LEAST, hs_page_measure(p, &t).x1 + 1); // the label's room
    double height = fmin(fmax(area.h / p->px, least), BAR_MOST);
    hs_box drawn = hs_page_bounds(p);
    double x = fmax((area.x + area.w) / p->px + BAR_GAP, drawn.x + drawn.w + HS_GAP);
    hs_rect bar = {(int)ceil(x * p->px), area.y, hs_page_pixels(p, BAR_WIDTH),
                   hs_page_pixels(p, height)};
    gradient(p, s, bar);
    hs_page_ruler(p, &(hs_ruler){.title = label, .lo = s->lo, .hi = s->hi}, HS_SIDE_RIGHT, bar);
}
