// Figures: what is drawn, as plain data, and the renderer. Cairo and Pango draw (text in any
// script), libpng writes (png.c). Bytes are the same on every run.
#ifndef HS_VIZ_FIG_H
#define HS_VIZ_FIG_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/err.h"

enum hs_theme { HS_THEME_PAPER, HS_THEME_SCREEN }; // light, dark

typedef struct hs_fig_style {
    const char *cmap;     // NULL = the figure's default; names in hs_cmaps
    double lo, hi;        // colour range; lo > hi = the figure's default
    double dpi;           // 0 = 150
    enum hs_theme theme;
} hs_fig_style;

// One attention map. value [n_q][n_k] row-major, borrowed; cells above the diagonal are left blank
// when causal. Query on y (row 0 on top), key on x. Labels are the tokens' text (bytes, any), one a
// position, NULL = numbers only; they are thinned when there is no room, never overlapping or cut.
// Maps with more cells than the page shows are pooled by max, and the caption says so.
typedef struct hs_fig_map {
    const char *title, *subtitle;
    const float *value;
    int64_t n_q, n_k;
    int64_t q0, k0;           // position of the first row and column
    const char *const *label; // [max(q0 + n_q, k0 + n_k)]
    bool causal;
    const char *bar_label;    // under the colour bar
} hs_fig_map;

// Layer x head grid. value [n_layer][n_head], NaN = undefined (hatched or blank, said in the
// legend). Layers on y (0 on top), heads on x. Diverging maps are centred on 0.
typedef struct hs_fig_grid {
    const char *title, *subtitle;
    const double *value;
    int64_t n_layer, n_head;
    bool diverging;
    const char *bar_label;
} hs_fig_grid;

// path ends in .png (others: HS_EARG for now). meta: pairs of key, value for the PNG's text chunks,
// ended by NULL; the range, colour map and centre are added. Written beside and renamed.
int hs_fig_draw_map(const hs_fig_map *, const hs_fig_style *, const char *const *meta,
                    const char *path) HS_MUST_USE;
int hs_fig_draw_grid(const hs_fig_grid *, const hs_fig_style *, const char *const *meta,
                     const char *path) HS_MUST_USE;

// Colour maps: name, whether diverging, and the colour at t in [0, 1] as 0xRRGGBB.
typedef struct hs_cmap {
    const char *name, *about;
    bool diverging;
    int n;
    const uint32_t *stop; // n equally spaced colours
} hs_cmap;
extern const hs_cmap hs_cmaps[]; // ended by name NULL
const hs_cmap *hs_cmap_find(const char *name); // NULL when unknown
uint32_t hs_cmap_at(const hs_cmap *, double t); // clamped

#endif
