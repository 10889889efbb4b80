// What the kinds of figure share around their data: axes of positions, rulers of values, the colour
// bar. Each is drawn beside a rectangle of pixels and takes the room it needs outwards.
#ifndef HS_VIZ_FURNITURE_H
#define HS_VIZ_FURNITURE_H

#include "viz/page.h"
#include "viz/pooling.h"
#include "viz/scale.h"

// Positions first .. first + count - 1, `pool` of them in `cell` pixels. Labels (bytes, by position;
// a NULL entry: its number) and numbers are two lanes, each thinned until its neighbours stand
// clear; ticks say which cell a label belongs to where some are left out.
typedef struct hs_axis {
    const char *title; // bytes, NULL = none
    int64_t first, count, pool;
    double cell;
    const char *const *label; // NULL = numbers only
    bool unnumbered;          // labels only
} hs_axis;

// The sides of an area; y grows downwards.
enum hs_side { HS_SIDE_LEFT, HS_SIDE_RIGHT, HS_SIDE_BELOW };

void hs_axis_below(hs_page *, const hs_axis *, hs_rect area);
void hs_axis_left(hs_page *, const hs_axis *, hs_rect area);

// A ruler of values from lo to hi along one side of the area, with round ticks. rules = faint lines
// across the area too (drawn now: data come after).
typedef struct hs_ruler {
    const char *title; // bytes, NULL = none
    double lo, hi;
    bool rules;
} hs_ruler;
void hs_page_ruler(hs_page *, const hs_ruler *, enum hs_side, hs_rect area);
// Where a value stands on the ruler: pixels from the area's left (HS_SIDE_BELOW) or top.
double hs_ruler_at(const hs_ruler *, enum hs_side, hs_rect area, double v);

// A title along a side of the area, outside of everything drawn so far; turned upwards left and
// right. Does nothing for NULL.
void hs_side_title(hs_page *, enum hs_side, const char *bytes, hs_rect area);

// A small line outwards, `at` pixels along the side; none where pixels are too coarse for it.
void hs_page_tick(hs_page *, enum hs_side, hs_rect area, double at);

// The colour bar, its numbers and its label, right of the area and of everything drawn so far.
void hs_colour_bar(hs_page *, const hs_scale *, const char *label, hs_rect area);

// Colour map and range from the page's style, or else the figure's default (lo, hi), or with style->fit
// the data's; what the reader has to know goes to notes and facts. Diverging: 0 has the middle
// colour, and the default map is rdbu. Failures go to the page.
typedef struct hs_range {
    double lo, hi;
    bool diverging;
} hs_range;
hs_scale hs_page_scale(hs_page *, hs_range fallback, const hs_reach *data);

// A layer x head grid with its axes and its bar, the cells no wider than `span` points together; what
// it holds, to be told. Returns where the cells are. A grid must have been checked: HS_EARG.
int hs_grid_check(const hs_fig_grid *) HS_MUST_USE;
hs_rect hs_grid_body(hs_page *, const hs_fig_grid *, double span, hs_reach *data);
void hs_grid_tell(hs_page *, const char *name, const hs_reach *data); // a note: "NAME from 0 to 1."
#define HS_UNDEFINED "undefined for this head"

// The values of pooled cells become colours where they lie; HS_INK_NONE for NaN.
const uint32_t *hs_pixel_inks(const hs_scale *, hs_pixel *, int64_t n);

#endif
