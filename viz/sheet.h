// A figure ready to be laid out: cells with their colours, two axes, a colour bar, notes. Both
// kinds of figure become a sheet; layout.h gives it its place on a page, paint.h draws the page.
#ifndef HS_VIZ_SHEET_H
#define HS_VIZ_SHEET_H

#include "model/core/buf.h"
#include "model/core/mem.h"
#include "viz/canvas.h"
#include "viz/fig.h"
#include "viz/scale.h"

// Points. The cells of a figure never take more than MAX_SPAN in either direction (at 150 dpi 2,050
// pixels) unless one pixel a cell does.
enum { HS_MAX_SPAN = 984 };
enum { HS_MAX_NOTES = 4 };

// Colours of cells that are no colours.
enum { HS_CELL_BLANK = 0x1000000, HS_CELL_HATCHED = 0x2000000 };

// Positions first .. first + count - 1 in n cells of `pool` positions and `cell` pixels each.
typedef struct hs_axis {
    const char *title;
    int64_t first, count, pool, n;
    int cell;
    const char *const *label; // bytes of the token at a position; NULL = numbers only
} hs_axis;

typedef struct hs_sheet {
    hs_arena *arena;                          // owns what is below
    const char *title, *subtitle, *bar_label; // markup, "" = none
    hs_axis x, y;
    int gap; // pixels left blank between cells
    hs_scale scale;
    const uint32_t *colour;   // [y.n][x.n] 0xRRGGBB or HS_CELL_*
    const char *const *value; // [y.n][x.n] printed in the cells, NULL = not printed
    double value_pt;
    bool hatched;                   // some cell is, so a legend tells what it means
    const char *note[HS_MAX_NOTES]; // markup, below the figure
    int n_note;
    double dpi;
    enum hs_theme theme;
} hs_sheet;

// HS_EARG for sizes that are not positive, a NULL value, an unknown colour map, a range or a
// resolution that cannot be. A grid's canvas
// measures its numbers. The labels stay borrowed.
int hs_sheet_map(const hs_fig_map *, const hs_fig_style *, hs_sheet **out) HS_MUST_USE;
int hs_sheet_grid(const hs_fig_grid *, const hs_fig_style *, hs_canvas *,
                  hs_sheet **out) HS_MUST_USE;
void hs_sheet_close(hs_sheet *);

// Shared by the two: an empty sheet with titles, theme and colour map; then the range, once the
// smallest and largest value (data_lo > data_hi: there are none) are known; one more note.
int hs_sheet_open(hs_sheet **out, const hs_fig_style *, const char *fallback_cmap,
                  const char *title, const char *subtitle, const char *bar_label) HS_MUST_USE;
int hs_sheet_range(hs_sheet *, const hs_fig_style *, double lo, double hi, double data_lo,
                   double data_hi) HS_MUST_USE;
int hs_sheet_note(hs_sheet *, const char *fmt, ...) HS_PRINTF(2, 3) HS_MUST_USE;

// The resolution a style asks for; HS_EARG outside 20 to 1,200 dpi.
int hs_style_dpi(const hs_fig_style *, double *out) HS_MUST_USE;

#endif
