// The canvas on Cairo and Pango; see canvas.h.
//
// Text is laid out at 72 units an inch, so a unit is a point, and Cairo scales to pixels. Hinting,
// metric hinting and sub-pixel colour are off: text measures the same at every resolution and
// does not depend on a screen's settings. Rectangles are written into the pixels directly: their
// colours are exact, whatever the antialiasing of text does.
#include "viz/canvas.h"

#include <math.h>
#include <stdlib.h>

#include <cairo.h>
#include <pango/pangocairo.h>

#include "model/core/mem.h"

// Asked for in this order; fontconfig adds every other installed font after them, by script.
static const char FAMILIES[] = "DejaVu Sans,Noto Sans";

struct hs_canvas {
    PangoFontMap *fonts;
    PangoContext *context;
    PangoLayout *layout; // used again for every text
    double scale;        // pixels a point
    cairo_surface_t *surface;
    cairo_t *cairo;
    uint32_t *pixel;
    int width, height, stride; // in pixels
};

static int have_fonts(PangoFontMap *fonts, PangoContext *context) {
    PangoFontDescription *wanted = pango_font_description_from_string(FAMILIES);
    PangoFont *found = pango_font_map_load_font(fonts, context, wanted);
    pango_font_description_free(wanted);
    if (!found)
        return hs_fail(HS_E, "no fonts are installed: install one, such as fonts-dejavu-core");
    g_object_unref(found);
    return HS_OK;
}

int hs_canvas_open(hs_canvas **out, double dpi) {
    *out = NULL;
    hs_canvas *c;
    int rc = hs_alloc(&c, 1, sizeof *c);
    if (rc) return rc;
    c->scale = dpi / 72;
    c->fonts = pango_cairo_font_map_new();
    c->context = pango_font_map_create_context(c->fonts);
    pango_cairo_context_set_resolution(c->context, 72);
    if ((rc = have_fonts(c->fonts, c->context))) goto out;
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    pango_cairo_context_set_font_options(c->context, options);
    cairo_font_options_destroy(options);
    pango_context_set_round_glyph_positions(c->context, FALSE);
    // The reader's locale must not choose between regional glyphs.
    pango_context_set_language(c->context, pango_language_from_string("en"));
    c->layout = pango_layout_new(c->context);
    *out = c;
    c = NULL;
out:
    hs_canvas_close(c);
    return rc;
}

void hs_canvas_close(hs_canvas *c) {
    if (!c) return;
    if (c->cairo) cairo_destroy(c->cairo);
    if (c->surface) cairo_surface_destroy(c->surface);
    if (c->layout) g_object_unref(c->layout);
    if (c->context) g_object_unref(c->context);
    if (c->fonts) g_object_unref(c->fonts);
    free(c);
}

static void set_text(hs_canvas *c, const hs_text *t) {
    PangoFontDescription *font = pango_font_description_from_string(FAMILIES);
    pango_font_description_set_absolute_size(font, t->pt * PANGO_SCALE);
    pango_font_description_set_weight(font, t->bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
    pango_layout_set_font_description(c->layout, font);
    pango_font_description_free(font);
    bool bound = t->width > 0;
    pango_layout_set_width(c->layout, bound ? (int)(t->width * PANGO_SCALE) : -1);
    pango_layout_set_height(c->layout, bound ? -t->lines : 0);
    pango_layout_set_wrap(c->layout, PANGO_WRAP_WORD_CHAR);
    pango_layout_set_ellipsize(c->layout, bound ? PANGO_ELLIPSIZE_END : PANGO_ELLIPSIZE_NONE);
    pango_layout_set_single_paragraph_mode(c->layout, TRUE);
    pango_layout_set_markup(c->layout, t->markup, -1);
}

hs_extent hs_canvas_measure(hs_canvas *c, const hs_text *t) {
    set_text(c, t);
    PangoRectangle ink, logical;
    pango_layout_get_extents(c->layout, &ink, &logical);
    double unit = 1.0 / PANGO_SCALE, base = pango_layout_get_baseline(c->layout) * unit;
    return (hs_extent){.x0 = ink.x * unit,
                       .x1 = (ink.x + ink.width) * unit,
                       .y0 = ink.y * unit - base,
                       .y1 = (ink.y + ink.height) * unit - base,
                       .height = logical.height * unit};
}

int hs_canvas_begin(hs_canvas *c, int width, int height, uint32_t colour) {
    if (c->cairo) cairo_destroy(c->cairo);
    if (c->surface) cairo_surface_destroy(c->surface);
    c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    c->cairo = cairo_create(c->surface);
    if (cairo_status(c->cairo) || !cairo_image_surface_get_data(c->surface))
        return hs_fail(HS_ENOMEM, "no memory for a picture of %d x %d pixels", width, height);
    c->pixel = (uint32_t *)(void *)cairo_image_surface_get_data(c->surface);
    c->stride = cairo_image_surface_get_stride(c->surface) / (int)sizeof *c->pixel;
    c->width = width;
    c->height = height;
    hs_canvas_fill(c, 0, 0, width, height, colour);
    return HS_OK;
}

static void set_colour(hs_canvas *c, uint32_t colour) {
    cairo_set_source_rgb(c->cairo, (colour >> 16 & 0xff) / 255.0, (colour >> 8 & 0xff) / 255.0,
                         (colour & 0xff) / 255.0);
}

void hs_canvas_text(hs_canvas *c, const hs_text *t, double x, double y, bool turned,
                    uint32_t colour) {
    set_text(c, t);
    cairo_save(c->cairo);
    cairo_scale(c->cairo, c->scale, c->scale);
    cairo_translate(c->cairo, x, y);
    if (turned) cairo_rotate(c->cairo, -M_PI / 2);
    set_colour(c, colour);
    pango_cairo_update_layout(c->cairo, c->layout);
    cairo_move_to(c->cairo, 0, -pango_layout_get_baseline(c->layout) / (double)PANGO_SCALE);
    pango_cairo_show_layout(c->cairo, c->layout);
    cairo_restore(c->cairo);
}

void hs_canvas_line(hs_canvas *c, const double *xy, int64_t n, double width, uint32_t colour) {
    cairo_save(c->cairo);
    cairo_scale(c->cairo, c->scale, c->scale);
    set_colour(c, colour);
    cairo_set_line_width(c->cairo, width);
    cairo_set_line_join(c->cairo, CAIRO_LINE_JOIN_ROUND);
    for (int64_t i = 0; i < n; i++) cairo_line_to(c->cairo, xy[2 * i], xy[2 * i + 1]);
    cairo_stroke(c->cairo);
    cairo_restore(c->cairo);
}

void hs_canvas_dot(hs_canvas *c, double x, double y, double r, uint32_t colour) {
    cairo_save(c->cairo);
    cairo_scale(c->cairo, c->scale, c->scale);
    set_colour(c, colour);
    cairo_arc(c->cairo, x, y, r, 0, 2 * M_PI);
    cairo_fill(c->cairo);
    cairo_restore(c->cairo);
}

void hs_canvas_fill(hs_canvas *c, int x, int y, int w, int h, uint32_t colour) {
    hs_canvas_hatch(c, x, y, w, h, 0, colour);
}

void hs_canvas_hatch(hs_canvas *c, int x, int y, int w, int h, int period, uint32_t colour) {
    int right = x + w < c->width ? x + w : c->width;
    int bottom = y + h < c->height ? y + h : c->height;
    cairo_surface_flush(c->surface);
    for (int v = y > 0 ? y : 0; v < bottom; v++)
        for (int u = x > 0 ? x : 0; u < right; u++)
            if (!period || (u + v) % period < (period + 3) / 6)
                c->pixel[(size_t)v * (size_t)c->stride + (size_t)u] = colour;
    cairo_surface_mark_dirty(c->surface);
}

int hs_canvas_pixels(hs_canvas *c, const uint32_t **out, int *stride) {
    cairo_surface_flush(c->surface);
    if (cairo_status(c->cairo))
        return hs_fail(HS_E, "drawing failed: %s", cairo_status_to_string(cairo_status(c->cairo)));
    *out = c->pixel;
    *stride = c->stride;
    return HS_OK;
}
