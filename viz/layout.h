// The page of a figure: where everything goes. Points from the top left corner for text, pixels for
// what has to be exact. Sizes come from measured text, so that nothing is cut and nothing overlaps.
#ifndef HS_VIZ_LAYOUT_H
#define HS_VIZ_LAYOUT_H

#include "viz/sheet.h"

enum hs_tint { HS_TINT_TEXT, HS_TINT_PALE, HS_TINT_ON_DARK, HS_TINT_ON_LIGHT };

typedef struct hs_box {
    double x, y, w, h;
} hs_box;

typedef struct hs_mark {
    hs_text text;
    double x, y; // left end of the first baseline
    bool turned; // reads upwards
    enum hs_tint tint;
    hs_box box; // its ink
} hs_mark;

typedef struct hs_rect {
    int x, y, w, h;
} hs_rect; // pixels

typedef struct hs_page {
    int width, height; // pixels
    hs_mark *mark;     // in the sheet's arena
    int64_t n_mark, cap_mark;
    hs_rect *tick; // small lines at labels and bar numbers
    int64_t n_tick, cap_tick;
    hs_rect cells, bar;
    hs_rect legend; // hatched swatch, w 0 = none
} hs_page;

// Places the sheet. HS_EARG when the page would be larger than HS_MOST_PIXELS.
enum { HS_MOST_PIXELS = 100 * 1000 * 1000, HS_MOST_SIDE = 30000 };
int hs_layout(hs_sheet *, hs_canvas *, hs_page *out) HS_MUST_USE;

#endif
