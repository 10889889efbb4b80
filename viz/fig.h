// Figures: what is drawn, as plain data; a laid-out page; the file (PNG, SVG, PDF). Text in any
// script. Bytes are the same on every run with the same fonts.
#ifndef HS_VIZ_FIG_H
#define HS_VIZ_FIG_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/err.h"

enum hs_theme { HS_THEME_PAPER, HS_THEME_SCREEN }; // light, dark
enum hs_pool_by { HS_POOL_MAX, HS_POOL_MEAN };

typedef struct hs_fig_style {
    const char *cmap; // NULL = the figure's default; names in hs_cmaps
    double lo, hi;    // colour range; lo >= hi = the figure's default
    bool fit;         // the colour range is that of what is drawn; lo and hi are not looked at
    double dpi;       // 0 = 150; 20 to 1200. Text keeps its size in points.
    enum hs_theme theme;
} hs_fig_style;

typedef struct hs_page hs_page; // page.h
typedef struct hs_fig hs_fig;

// Every kind of figure is opened from a spec, borrowed until open returns, and a style (NULL = all
// defaults). Every text is bytes, NULL for none; what is not UTF-8 is spelled out. Errors of all
// opens: HS_EARG (sizes, range, colour map, resolution, a picture too large), HS_ENOMEM, HS_E (no
// fonts), or what a callback returned.

// Where maps come from: row i of map m as n_k numbers, NaN = not there. Each row is asked for once,
// in order, map after map, so that memory is O(cells drawn + n_k).
typedef struct hs_fig_rows {
    void *ctx;
    int (*row)(void *ctx, int64_t m, int64_t i, float *out);
} hs_fig_rows;

// One attention map (map 0 of its rows). Cells above the diagonal are left blank when causal, and
// so are NaN cells. Query on y (row 0 on top), key on x. The default range is 0 to 1, the default
// colour map viridis; a diverging one is centred on 0 when 0 lies inside the range. Labels are the
// tokens' text (bytes, any), one a position, NULL = numbers only (a NULL entry: its number); they
// are thinned when there is no room, never overlapping or cut. Maps with more cells than the page
// shows are pooled over blocks of tokens, and a note under the figure says so.
typedef struct hs_fig_map {
    const char *title, *subtitle;
    const char *bar_label; // beside the colour bar
    hs_fig_rows rows;
    int64_t n_q, n_k;
    int64_t q0, k0;           // position of the first row and column
    const char *const *label; // [max(q0 + n_q, k0 + n_k)]
    bool causal;
    enum hs_pool_by pool; // over the visible cells of a block
} hs_fig_map;

// Small multiples: maps 0 to n - 1, each n_q x n_k as above, row after row of n_col panels on one
// sheet with one colour bar. Names stand above the panels, and tokens along the first column and
// below the last row, where there is room. With row_title or col_title (layers x heads: n is a
// multiple of n_col) numbers from 0 stand along the sheet's edges instead. Panels are pooled to what
// they show; one of which nothing is there is hatched. A sheet of many is larger than other
// figures.
typedef struct hs_fig_panels {
    const char *title, *subtitle;
    const char *bar_label;
    hs_fig_rows rows;
    int64_t n, n_col;        // columns; 0 = chosen
    const char *const *name; // [n], NULL = none
    const char *row_title, *col_title;
    int64_t n_q, n_k, q0, k0;
    const char *const *label;
    bool causal;
    enum hs_pool_by pool;
} hs_fig_panels;

// Layer x head grid. value [n_layer][n_head], NaN = undefined (hatched, said in the legend). Layers
// on y (0 on top), heads on x; values are printed in the cells where the page has room. The default
// range is that of the data (from 0 when they begin close to it), viridis; when diverging, the same
// reach on both sides of 0, rdbu. Rows and columns, and what is written in the cells, may be others.
typedef struct hs_fig_grid {
    const char *title, *subtitle;
    const double *value;
    int64_t n_layer, n_head; // 1 to 1024
    bool diverging;
    const char *bar_label;
    const char *const *cell; // [n_layer][n_head] tokens (bytes) in place of the values, cut to
                             // fit; NULL entries: nothing; NULL = values
    const char *row_title;   // NULL = "Layer"
    const char *const *row;  // [n_layer] what rows are called; NULL = numbers
    const char *col_title;   // NULL = "Head"
    const char *const *col;  // [col0 + n_head] labels by number; NULL = numbers alone
    int64_t col0;            // number of the first column
    bool unnumbered;         // columns have labels alone
} hs_fig_grid;

// Several such grids side by side, each with its title above it, its own range and colour bar.
typedef struct hs_fig_grids {
    const char *title, *subtitle;
    const hs_fig_grid *grid; // [n]
    int64_t n;               // 1 to 6
} hs_fig_grids;

// The text itself, every token on a ground coloured by its value, set like prose; lines end where
// the text's lines do, and invisible characters show. Label: bytes of every token (not NULL as a
// whole); a character that several tokens share is set once, over all of their grounds. NaN: no
// ground, pale text. The default range is that of the data, from 0, the default colour map blues
// on paper and magma on a screen. Long texts are set smaller; what the page does not hold is left
// out, and a note says so; the marked token is always there.
typedef struct hs_fig_strip {
    const char *title, *subtitle, *bar_label;
    const char *const *label; // [n]
    const double *value;      // [n]
    int64_t n;
    int64_t mark;           // the token that the values are about, framed; -1 = none
    const bool *found;      // [n] tokens that are underlined; NULL = none
    const char *found_name; // what these are, for the legend; NULL = nothing is said
    const char *pale_label; // what the tokens without a value are; NULL = no note
} hs_fig_strip;

enum { HS_MOST_CURVES = 7 }; // colours tell so many apart
// Curves over whole numbers (layers, positions) from x0 on. NaN is a gap. Faint ones are thin and
// pale, or with `dots` pale dots, and lie below the others, at most HS_MOST_CURVES, each of which has its name at
// its end. With labels the positions show their tokens. The default range of y is that of the data
// out to round numbers, from 0 where it is not far.
typedef struct hs_fig_line {
    const char *name;
    const double *y; // [n]
    bool faint;
} hs_fig_line;
typedef struct hs_fig_curve {
    const char *title, *subtitle, *x_title, *y_title;
    int64_t x0, n;
    const char *const *label; // [x0 + n], NULL = numbers
    const hs_fig_line *line;  // [n_line]
    int64_t n_line;
    const char *faint_name; // what a faint one is, for the legend; NULL = nothing is said
    bool dots;              // values have dots: the axis has few positions
} hs_fig_curve;

// Horizontal bars from 0, from top to bottom, with their values, and with lo and hi (both or
// neither; NaN = none) a whisker over that interval. The axis spans the data and 0; when diverging
// the same on both sides of 0, if there are values on both.
typedef struct hs_fig_bars {
    const char *title, *subtitle, *x_title;
    int64_t n; // 1 to 1000
    const char *const *name;
    const double *value, *lo, *hi; // [n]
    bool diverging;
} hs_fig_bars;

// What positions x0 to x0 + n - 1 had and have, as bars (wide and pale, narrow and dark), and below
// their differences, over the tokens. Bands are ranges of positions, shaded; marked positions have a
// dot above. NaN = none. A few bars that are much longer than all others are cut, and a note says
// where they end; with a range of the style, of the upper axis, all that leave it.
typedef struct hs_fig_band {
    const char *name;
    int64_t from, to; // half open; what lies outside of the figure is not drawn
} hs_fig_band;
typedef struct hs_fig_shift {
    const char *title, *subtitle, *x_title, *y_title, *change_title;
    const char *before_name, *after_name; // for the legend
    const double *before, *after;         // [n]
    int64_t x0, n;                        // 1 to 1000 positions
    const char *const *label;             // [x0 + n], NULL = numbers
    const hs_fig_band *band;              // [n_band], at most 64
    int64_t n_band;
    const bool *mark;      // [n], NULL = none
    const char *mark_name; // what the marked ones are, for the legend; NULL = nothing is said
} hs_fig_shift;

// A layered graph, drawn from the bottom to the top: nodes of a rank stand side by side, ordered so
// that few lines cross (a rank of many takes several rows), and every line goes from a node to one
// of a higher rank. A line is as wide as its value is large, and its colour tells the sign; NaN: a
// thin pale line for what merely belongs together. A name is the node's text in its box; names never
// meet. Lines pass behind the boxes.
typedef struct hs_fig_node {
    const char *name;
    int64_t rank; // any numbers, the lowest at the bottom
} hs_fig_node;
typedef struct hs_fig_link {
    int64_t from, to; // of nodes
    double value;
    double port; // where it ends on the node's lower side: -1 left, 0 middle, 1 right
} hs_fig_link;
typedef struct hs_fig_graph {
    const char *title, *subtitle;
    const hs_fig_node *node; // [n_node], 1 to 500
    int64_t n_node;
    const hs_fig_link *link; // [n_link], at most 10,000
    int64_t n_link;
    const char *positive, *negative; // what the signs mean, for the legend; NULL = no entry
    const char *value_name;          // what width is, for the note
    const char *port_note;           // NULL = none
} hs_fig_graph;

int hs_fig_open_map(hs_fig **out, const hs_fig_map *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_panels(hs_fig **out, const hs_fig_panels *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_grid(hs_fig **out, const hs_fig_grid *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_grids(hs_fig **out, const hs_fig_grids *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_strip(hs_fig **out, const hs_fig_strip *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_curve(hs_fig **out, const hs_fig_curve *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_bars(hs_fig **out, const hs_fig_bars *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_shift(hs_fig **out, const hs_fig_shift *, const hs_fig_style *) HS_MUST_USE;
int hs_fig_open_graph(hs_fig **out, const hs_fig_graph *, const hs_fig_style *) HS_MUST_USE;
void hs_fig_close(hs_fig *);

// The laid-out page, valid until the figure is closed.
const hs_page *hs_fig_page(const hs_fig *);

// Draws the page into a file whose path ends in .png, .svg or .pdf; the three look alike. meta: pairs
// of key, value, ended by NULL, or NULL. A PNG keeps them as text chunks, an SVG as <metadata>, a
// PDF as keywords; Title, Description (the subtitle), Software and, with a colour scale, cmap, vmin,
// vmax and centre (where there is one) are added. Written beside and renamed: on failure path holds
// what it held before. HS_EARG (ending, key), HS_EIO (naming the path), HS_ENOMEM, HS_E. May be
// called again, for another file.
int hs_fig_save(hs_fig *, const char *const *meta, const char *path) HS_MUST_USE;

// HS_OK when the path has such an ending, else HS_EARG.
int hs_fig_format(const char *path) HS_MUST_USE;

// Colour maps: name, whether diverging, and the colour at t in [0, 1] as 0xRRGGBB.
typedef struct hs_cmap {
    const char *name, *about;
    bool diverging;
    int n;
    const uint32_t *stop; // n equally spaced colours
} hs_cmap;
extern const hs_cmap hs_cmaps[];                // ended by name NULL
const hs_cmap *hs_cmap_find(const char *name);  // NULL when unknown
uint32_t hs_cmap_at(const hs_cmap *, double t); // clamped

#endif
