// The drawing surface: measured text in any script, exact rectangles; pixels, SVG or PDF from the
// same calls. canvas.c is the only file that knows Cairo and Pango. Text, lines and dots are placed
// in points, rectangles in pixels; (0, 0) is the top left corner. The same calls give the same
// output on every run with the same fonts.
#ifndef HS_VIZ_CANVAS_H
#define HS_VIZ_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/buf.h"

typedef struct hs_canvas hs_canvas;

// A text to set. `markup` is Pango's (labels come from label.h), borrowed.
typedef struct hs_text {
    const char *markup;
    double pt; // size
    bool bold;
    double width; // 0 = as wide as it is; else broken into lines at this width,
    int lines;    // at most so many, the last one ellipsised (1 = one line, ellipsised)
} hs_text;

// Where the ink of a text lies, from the left end of the first baseline, y downwards; the height of
// its lines; and where more text would go on, blanks counted.
typedef struct hs_text_box {
    double x0, y0, x1, y1;
    double height, advance;
} hs_text_box;

// A canvas that measures; HS_E when the system has no fonts at all.
int hs_canvas_open(hs_canvas **out, double dpi) HS_MUST_USE;
void hs_canvas_close(hs_canvas *);
hs_text_box hs_canvas_measure(hs_canvas *, const hs_text *);

// Begins a picture, all of one colour (0xRRGGBB, as everywhere here); what was drawn before is
// gone. HS_ENOMEM when its pixels do not fit.
enum hs_output { HS_OUTPUT_PIXELS, HS_OUTPUT_SVG, HS_OUTPUT_PDF };
int hs_canvas_begin(hs_canvas *, enum hs_output, int width, int height,
                    uint32_t colour) HS_MUST_USE;
// Draws a text from its first baseline's left end at (x, y) points; turned = upwards.
void hs_canvas_text(hs_canvas *, const hs_text *, double x, double y, bool turned, uint32_t colour);
// A connected line through n points (x and y by turns) and a filled dot, in points.
void hs_canvas_line(hs_canvas *, const double *xy, int64_t n, double width, uint32_t colour);
void hs_canvas_dot(hs_canvas *, double x, double y, double r, uint32_t colour);
// Fills a rectangle of pixels, cut at the edges.
void hs_canvas_fill(hs_canvas *, int x, int y, int w, int h, uint32_t colour);
// The same, only where a pixel lies on a pattern of diagonal lines `period` pixels apart.
void hs_canvas_hatch(hs_canvas *, int x, int y, int w, int h, int period, uint32_t colour);
// Between these two, fills and hatches inside the rectangle become one picture, pixel by pixel, so
// that no viewer shows seams between neighbours. `colour` is its ground where pixels are not the
// output anyway. HS_ENOMEM.
int hs_canvas_raster(hs_canvas *, int x, int y, int w, int h, uint32_t colour) HS_MUST_USE;
void hs_canvas_raster_end(hs_canvas *);
// The finished pixels, 0x??RRGGBB, *stride of them a row, valid until the canvas is closed or drawn
// on. HS_E when drawing failed.
int hs_canvas_pixels(hs_canvas *, const uint32_t **out, int *stride) HS_MUST_USE;
// The finished document (SVG, PDF), valid as long. title, subject and keywords go into a PDF, NULL
// for none. HS_ENOMEM, HS_E. Nothing can be drawn afterwards.
typedef struct hs_canvas_about {
    const char *title, *subject, *keywords;
} hs_canvas_about;
int hs_canvas_document(hs_canvas *, const hs_canvas_about *, const hs_buf **out) HS_MUST_USE;

#endif
