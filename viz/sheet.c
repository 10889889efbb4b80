// What maps and grids share: style checks, titles, ranges, notes; see sheet.h.
#include "viz/sheet.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viz/label.h"

enum { DPI = 150, DPI_MIN = 20, DPI_MAX = 1200, NOTE_MAX = 256 };

int hs_style_dpi(const hs_fig_style *style, double *out) {
    *out = style->dpi == 0 ? DPI : style->dpi;
    if (*out >= DPI_MIN && *out <= DPI_MAX) return HS_OK;
    return hs_fail(HS_EARG, "a resolution of %g dpi: give %d to %d", *out, DPI_MIN, DPI_MAX);
}

// The text as markup, kept by the sheet; "" for NULL.
static int keep_text(hs_sheet *s, const char **out, const char *text) {
    hs_buf b = {0};
    hs_label_text(&b, text ? text : "");
    int rc = hs_buf_rc(&b);
    if (!rc) rc = hs_arena_str(s->arena, out, hs_buf_text(&b), b.len);
    hs_buf_free(&b);
    return rc;
}

int hs_sheet_open(hs_sheet **out, const hs_fig_style *style, const char *fallback_cmap,
                  const char *title, const char *subtitle, const char *bar_label) {
    *out = NULL;
    const char *name = style->cmap ? style->cmap : fallback_cmap;
    const hs_cmap *cmap = hs_cmap_find(name);
    if (!cmap)
        return hs_fail(HS_EARG, "no colour map is called \"%s\": see `list colormaps`", name);
    if (style->theme != HS_THEME_PAPER && style->theme != HS_THEME_SCREEN)
        return hs_fail(HS_EARG, "no theme has the number %d", (int)style->theme);
    hs_arena *arena;
    hs_sheet *s;
    int rc = hs_arena_open(&arena);
    if (rc) return rc;
    if ((rc = hs_arena_get(arena, &s, 1, sizeof *s))) goto out;
    s->arena = arena;
    s->scale.cmap = cmap;
    s->theme = style->theme;
    if ((rc = hs_style_dpi(style, &s->dpi))) goto out;
    if ((rc = keep_text(s, &s->title, title))) goto out;
    if ((rc = keep_text(s, &s->subtitle, subtitle))) goto out;
    if ((rc = keep_text(s, &s->bar_label, bar_label))) goto out;
    *out = s;
    arena = NULL;
out:
    hs_arena_close(arena);
    return rc;
}

void hs_sheet_close(hs_sheet *s) {
    if (s) hs_arena_close(s->arena); // the sheet itself lives there
}

int hs_sheet_range(hs_sheet *s, const hs_fig_style *style, double lo, double hi, double data_lo,
                   double data_hi) {
    hs_scale *scale = &s->scale;
    if (style->lo < style->hi) {
        lo = style->lo;
        hi = style->hi;
    }
    if (!isfinite(lo) || !isfinite(hi) || !isfinite(hi - lo))
        return hs_fail(HS_EARG, "a colour range from %g to %g: give two finite numbers", lo, hi);
    // One value only still gets a bar around it, wide enough for doubles to tell its ends apart.
    if (hi - lo <= 1e-9 * fmax(fabs(lo), fabs(hi))) {
        double half = lo == 0 ? 1 : 0.5 * fabs(lo);
        lo -= half;
        hi += half;
    }
    scale->lo = lo;
    scale->hi = hi;
    scale->centred |= scale->cmap->diverging && lo < 0 && hi > 0;
    scale->clipped = data_lo <= data_hi && (data_lo < lo || data_hi > hi);
    if (!scale->clipped) return HS_OK;
    return hs_sheet_note(s, "Values beyond the colour bar have the colour of its end.");
}

int hs_sheet_note(hs_sheet *s, const char *fmt, ...) {
    char text[NOTE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return hs_arena_str(s->arena, &s->note[s->n_note++], text, strlen(text));
}
