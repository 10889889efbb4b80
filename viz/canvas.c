// The canvas on Cairo and Pango; see canvas.h.
//
// Text is laid out at 72 units an inch, so a unit is a point, and Cairo scales to pixels. Hinting,
// metric hinting and sub-pixel colour are off: text measures the same at every resolution and
// does not depend on a screen's settings. Rectangles are written into pixels directly: their
// colours are exact, whatever the antialiasing of text does. In documents (SVG, PDF) they are paths
// on the same grid of pixels, or a picture where they touch.
#include "viz/canvas.h"

#include <math.h>
#include <stdlib.h>

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <cairo.h>
#include <pango/pangocairo.h>

#include "model/core/mem.h"

// Asked for in this order; fontconfig adds every other installed font after them, by script.
static const char FAMILIES[] = "DejaVu Sans,Noto Sans";

// A PDF tells when it was made; equal figures are equal files.
static const char NO_TIME[] = "1970-01-01T00:00:00Z";

// The pixels that rectangles are written into; none while a document takes paths.
typedef struct target {
    uint32_t *pixel;
    int x, y, w, h, stride;
} target;

struct hs_canvas {
    PangoFontMap *fonts;
    PangoContext *context;
    PangoLayout *layout; // used again for every text
    double scale;        // pixels a point
    enum hs_output output;
    cairo_surface_t *surface;
    cairo_t *cairo;
    cairo_surface_t *raster; // a part of a document that is drawn pixel by pixel; or NULL
    target target;
    hs_buf document; // what was written of it so far
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

static void drop_picture(hs_canvas *c) {
    if (c->raster) cairo_surface_destroy(c->raster);
    if (c->cairo) cairo_destroy(c->cairo);
    if (c->surface) cairo_surface_destroy(c->surface);
    hs_buf_free(&c->document); // a surface may write until it is destroyed
    c->raster = c->surface = NULL;
    c->cairo = NULL;
    c->document = (hs_buf){0};
    c->target = (target){0};
}

void hs_canvas_close(hs_canvas *c) {
    if (!c) return;
    drop_picture(c);
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

hs_text_box hs_canvas_measure(hs_canvas *c, const hs_text *t) {
    set_text(c, t);
    PangoRectangle ink, logical;
    pango_layout_get_extents(c->layout, &ink, &logical);
    double unit = 1.0 / PANGO_SCALE, base = pango_layout_get_baseline(c->layout) * unit;
    return (hs_text_box){.x0 = ink.x * unit,
                         .x1 = (ink.x + ink.width) * unit,
                         .y0 = ink.y * unit - base,
                         .y1 = (ink.y + ink.height) * unit - base,
                         .height = logical.height * unit,
                         .advance = (logical.x + logical.width) * unit};
}

static cairo_status_t write_bytes(void *out, const unsigned char *bytes, unsigned n) {
    hs_buf_add(out, bytes, n);
    return hs_buf_rc(out) ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

// Fills go to the pixels of an image surface from here on.
static void aim(hs_canvas *c, cairo_surface_t *image, int x, int y) {
    c->target = (target){
        .pixel = (uint32_t *)(void *)cairo_image_surface_get_data(image),
        .x = x,
        .y = y,
        .w = cairo_image_surface_get_width(image),
        .h = cairo_image_surface_get_height(image),
        .stride = cairo_image_surface_get_stride(image) / (int)sizeof(uint32_t),
    };
}

int hs_canvas_begin(hs_canvas *c, enum hs_output output, int width, int height, uint32_t colour) {
    double w = width / c->scale, h = height / c->scale; // points
    drop_picture(c);
    c->output = output;
    if (output == HS_OUTPUT_SVG)
        c->surface = cairo_svg_surface_create_for_stream(write_bytes, &c->document, w, h);
    else if (output == HS_OUTPUT_PDF)
        c->surface = cairo_pdf_surface_create_for_stream(write_bytes, &c->document, w, h);
    else
        c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    c->cairo = cairo_create(c->surface);
    if (cairo_status(c->cairo))
        return hs_fail(HS_ENOMEM, "no memory for a picture of %d x %d pixels", width, height);
    if (output == HS_OUTPUT_PIXELS)
        aim(c, c->surface, 0, 0);
    else
        cairo_scale(c->cairo, 1 / c->scale, 1 / c->scale);
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
    cairo_scale(c->cairo, c->scale, c->scale); // pixels to points
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
    cairo_scale(c->cairo, c->scale, c->scale); // pixels to points
    set_colour(c, colour);
    cairo_set_line_width(c->cairo, width);
    cairo_set_line_join(c->cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_new_path(c->cairo); // text leaves a point
    for (int64_t i = 0; i < n; i++) cairo_line_to(c->cairo, xy[2 * i], xy[2 * i + 1]);
    cairo_stroke(c->cairo);
    cairo_restore(c->cairo);
}

void hs_canvas_dot(hs_canvas *c, double x, double y, double r, uint32_t colour) {
    cairo_save(c->cairo);
    cairo_scale(c->cairo, c->scale, c->scale); // pixels to points
    set_colour(c, colour);
    cairo_new_path(c->cairo);
    cairo_arc(c->cairo, x, y, r, 0, 2 * M_PI);
    cairo_fill(c->cairo);
    cairo_restore(c->cairo);
}

void hs_canvas_fill(hs_canvas *c, int x, int y, int w, int h, uint32_t colour) {
    if (c->target.pixel) {
        hs_canvas_hatch(c, x, y, w, h, 0, colour);
        return;
    }
    set_colour(c, colour);
    cairo_new_path(c->cairo);
    cairo_rectangle(c->cairo, x, y, w, h);
    cairo_fill(c->cairo);
}

// Lines u + v = s, cut at the rectangle.
static void hatch_lines(hs_canvas *c, int x, int y, int w, int h, int period, uint32_t colour) {
    double thick = (period + 3) / 6;
    set_colour(c, colour);
    cairo_set_line_width(c->cairo, thick * M_SQRT1_2);
    cairo_new_path(c->cairo);
    for (int k = (x + y) / period; k * period < x + w + y + h; k++) {
        double s = k * period + 0.5 * thick;
        double left = fmax(x, s - (y + h)), right = fmin(x + w, s - y);
        if (left >= right) continue;
        cairo_move_to(c->cairo, left, s - left);
        cairo_line_to(c->cairo, right, s - right);
    }
    cairo_stroke(c->cairo);
}

void hs_canvas_hatch(hs_canvas *c, int x, int y, int w, int h, int period, uint32_t colour) {
    const target *t = &c->target;
    if (!t->pixel) {
        hatch_lines(c, x, y, w, h, period, colour);
        return;
    }
    int right = x + w < t->x + t->w ? x + w : t->x + t->w;
    int bottom = y + h < t->y + t->h ? y + h : t->y + t->h;
    cairo_surface_t *surface = c->raster ? c->raster : c->surface;
    cairo_surface_flush(surface);
    for (int v = y > t->y ? y : t->y; v < bottom; v++) {
        uint32_t *row = t->pixel + (size_t)(v - t->y) * (size_t)t->stride;
        for (int u = x > t->x ? x : t->x; u < right; u++)
            if (!period || (u + v) % period < (period + 3) / 6) row[u - t->x] = colour;
    }
    cairo_surface_mark_dirty(surface);
}

int hs_canvas_raster(hs_canvas *c, int x, int y, int w, int h, uint32_t colour) {
    if (c->output == HS_OUTPUT_PIXELS) return HS_OK;
    c->raster = cairo_image_surface_create(CAIRO_FORMAT_RGB24, w, h);
    if (cairo_surface_status(c->raster)) {
        cairo_surface_destroy(c->raster);
        c->raster = NULL;
        return hs_fail(HS_ENOMEM, "no memory for a picture of %d x %d pixels", w, h);
    }
    aim(c, c->raster, x, y);
    hs_canvas_fill(c, x, y, w, h, colour);
    return HS_OK;
}

void hs_canvas_raster_end(hs_canvas *c) {
    if (!c->raster) return;
    cairo_set_source_surface(c->cairo, c->raster, c->target.x, c->target.y);
    cairo_pattern_set_filter(cairo_get_source(c->cairo), CAIRO_FILTER_NEAREST);
    cairo_paint(c->cairo);
    cairo_surface_destroy(c->raster);
    c->raster = NULL;
    c->target = (target){0};
}

static int drawn(cairo_status_t status) {
    if (status == CAIRO_STATUS_SUCCESS) return HS_OK;
    return hs_fail(status == CAIRO_STATUS_NO_MEMORY ? HS_ENOMEM : HS_E, "drawing failed: %s",
                   cairo_status_to_string(status));
}

int hs_canvas_pixels(hs_canvas *c, const uint32_t **out, int *stride) {
    cairo_surface_flush(c->surface);
    *out = c->target.pixel;
    *stride = c->target.stride;
    return drawn(cairo_status(c->cairo));
}

static void tell(cairo_surface_t *s, cairo_pdf_metadata_t what, const char *text) {
    if (text) cairo_pdf_surface_set_metadata(s, what, text);
}

int hs_canvas_document(hs_canvas *c, const hs_canvas_about *about, const hs_buf **out) {
    if (c->output == HS_OUTPUT_PDF) {
        tell(c->surface, CAIRO_PDF_METADATA_TITLE, about->title);
        tell(c->surface, CAIRO_PDF_METADATA_SUBJECT, about->subject);
        tell(c->surface, CAIRO_PDF_METADATA_KEYWORDS, about->keywords);
        tell(c->surface, CAIRO_PDF_METADATA_CREATOR, "headscope");
        tell(c->surface, CAIRO_PDF_METADATA_CREATE_DATE, NO_TIME);
    }
    int rc = drawn(cairo_status(c->cairo));
    if (rc) return rc;
    cairo_surface_finish(c->surface);
    *out = &c->document;
    rc = hs_buf_rc(&c->document);
    return rc ? rc : drawn(cairo_surface_status(c->surface));
}
