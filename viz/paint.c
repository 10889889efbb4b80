// Drawing: the page's marks in the theme's colours; see paint.h.
#include "viz/paint.h"

#include <math.h>

enum { N_INKS = HS_INK_END - HS_INK_PAGE };

// The series are the colours of Okabe and Ito (2008), told apart with red-green blindness: those
// that stand out from the theme's ground, the clearest first.
static const uint32_t themes[][N_INKS] = {
    [HS_THEME_PAPER] = {0xffffff, 0x1a1a1a, 0x666666, 0xb4b4b4, 0xe6e6e6, 0x9a9a9a, 0x0072b2,
                        0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x666666},
    [HS_THEME_SCREEN] = {0x0f1318, 0xe8ebef, 0x9aa4b0, 0x4a525c, 0x252b33, 0x6b7480, 0x56b4e9,
                         0xe69f00, 0x009e73, 0xcc79a7, 0xf0e442, 0xd55e00, 0x9aa4b0},
};

static uint32_t colour(const hs_page *p, uint32_t ink) {
    return ink < HS_INK_NONE ? ink : themes[p->style.theme][ink - HS_INK_PAGE];
}

// Relative luminance, sRGB.
static double luminance(uint32_t rgb) {
    static const double weight[] = {0.2126, 0.7152, 0.0722};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double c = (rgb >> (16 - 8 * i) & 0xff) / 255.0;
        sum += weight[i] * (c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return sum;
}

uint32_t hs_ink_over(uint32_t ground) {
    return luminance(ground) > 0.2 ? 0x000000 : 0xffffff;
}

static void fill(const hs_page *p, hs_rect r, uint32_t ink) {
    hs_canvas_fill(p->canvas, r.x, r.y, r.w, r.h, colour(p, ink));
}

static void hatch(const hs_page *p, hs_rect r, uint32_t ink) {
    int period = (int)fmax(6, p->px * 4);
    hs_canvas_hatch(p->canvas, r.x, r.y, r.w, r.h, period, colour(p, ink));
}

static int thin(const hs_page *p) {
    return hs_page_pixels(p, 0.5);
}

// Four lines around a rectangle, just outside.
static void frame(const hs_page *p, hs_rect r, uint32_t ink) {
    int t = thin(p);
    fill(p, (hs_rect){r.x - t, r.y - t, r.w + 2 * t, t}, ink);
    fill(p, (hs_rect){r.x - t, r.y + r.h, r.w + 2 * t, t}, ink);
    fill(p, (hs_rect){r.x - t, r.y, t, r.h}, ink);
    fill(p, (hs_rect){r.x + r.w, r.y, t, r.h}, ink);
}

// A line where shown cells end and this blank one begins: the lowest colour of some maps is the
// page's.
static void edge(const hs_page *p, const hs_cells *c, int64_t row, int64_t col, hs_rect r) {
    int t = thin(p);
    const uint32_t *ink = &c->ink[row * c->n_col + col];
    if (c->w < 4 * t || c->h < 4 * t) return;
    if (col > 0 && ink[-1] != HS_INK_NONE) fill(p, (hs_rect){r.x, r.y, t, r.h}, HS_INK_FRAME);
    if (col + 1 < c->n_col && ink[1] != HS_INK_NONE)
        fill(p, (hs_rect){r.x + r.w - t, r.y, t, r.h}, HS_INK_FRAME);
    if (row > 0 && ink[-c->n_col] != HS_INK_NONE)
        fill(p, (hs_rect){r.x, r.y, r.w, t}, HS_INK_FRAME);
    if (row + 1 < c->n_row && ink[c->n_col] != HS_INK_NONE)
        fill(p, (hs_rect){r.x, r.y + r.h - t, r.w, t}, HS_INK_FRAME);
}

static void each_cell(const hs_page *p, const hs_cells *c) {
    for (int64_t row = 0; row < c->n_row; row++)
        for (int64_t col = 0; col < c->n_col; col++) {
            uint32_t ink = c->ink[row * c->n_col + col];
            hs_rect r = {c->rect.x + (int)col * c->w, c->rect.y + (int)row * c->h, c->w - c->gap,
                         c->h - c->gap};
            if (ink == HS_INK_HATCHED)
                hatch(p, r, HS_INK_HATCH);
            else if (ink != HS_INK_NONE)
                fill(p, r, ink);
            else if (c->edged)
                edge(p, c, row, col, r);
        }
}

// Cells that touch become one picture.
static int cells(const hs_page *p, const hs_cells *c) {
    hs_rect r = c->rect;
    int rc = HS_OK;
    if (!c->gap) rc = hs_canvas_raster(p->canvas, r.x, r.y, r.w, r.h, colour(p, HS_INK_PAGE));
    if (!rc) each_cell(p, c);
    if (!c->gap) hs_canvas_raster_end(p->canvas);
    return rc;
}

static int mark(const hs_page *p, const hs_mark *s) {
    hs_canvas *c = p->canvas;
    const hs_label *l = &s->label;
    switch (s->kind) {
    case HS_MARK_FILL:
        fill(p, s->rect, s->ink);
        break;
    case HS_MARK_HATCH:
        hatch(p, s->rect, s->ink);
        break;
    case HS_MARK_FRAME:
        frame(p, s->rect, s->ink);
        break;
    case HS_MARK_CELLS:
        return cells(p, &s->cells);
    case HS_MARK_LINE:
        hs_canvas_line(c, &s->line.at->x, s->line.n, s->line.width, colour(p, s->ink));
        break;
    case HS_MARK_DOT:
        hs_canvas_dot(c, s->dot.x, s->dot.y, s->dot.r, colour(p, s->ink));
        break;
    case HS_MARK_LABEL:
        hs_canvas_text(c, &l->text, l->x, l->y, l->turned, colour(p, s->ink));
        break;
    }
    return HS_OK;
}

int hs_paint(const hs_page *p, enum hs_output output) {
    int rc = hs_canvas_begin(p->canvas, output, p->width, p->height, colour(p, HS_INK_PAGE));
    for (int64_t i = 0; i < p->n_mark && !rc; i++) rc = mark(p, &p->mark[i]);
    return rc;
}
