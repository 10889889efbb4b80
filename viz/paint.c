// Drawing: the page's rectangles and texts in the theme's colours; see paint.h.
#include "viz/paint.h"

#include <math.h>

typedef struct theme {
    uint32_t page, frame, hatch, tint[4]; // tint by enum hs_tint
} theme;

static const theme themes[] = {
    [HS_THEME_PAPER] = {0xffffff, 0xb4b4b4, 0x9a9a9a, {0x1a1a1a, 0x666666, 0xffffff, 0x000000}},
    [HS_THEME_SCREEN] = {0x0f1318, 0x4a525c, 0x6b7480, {0xe8ebef, 0x9aa4b0, 0xffffff, 0x000000}},
};

static void fill(hs_canvas *c, hs_rect r, uint32_t colour) {
    hs_canvas_fill(c, r.x, r.y, r.w, r.h, colour);
}

// Four lines around a rectangle, just outside.
static void frame(hs_canvas *c, hs_rect r, int thick, uint32_t colour) {
    hs_rect out = {r.x - thick, r.y - thick, r.w + 2 * thick, r.h + 2 * thick};
    fill(c, (hs_rect){out.x, out.y, out.w, thick}, colour);
    fill(c, (hs_rect){out.x, r.y + r.h, out.w, thick}, colour);
    fill(c, (hs_rect){out.x, r.y, thick, r.h}, colour);
    fill(c, (hs_rect){r.x + r.w, r.y, thick, r.h}, colour);
}

static void paint_cells(const hs_sheet *s, const hs_page *p, hs_canvas *c, const theme *t) {
    int period = (int)fmax(6, s->dpi / 72 * 4);
    for (int64_t row = 0; row < s->y.n; row++)
        for (int64_t col = 0; col < s->x.n; col++) {
            uint32_t colour = s->colour[row * s->x.n + col];
            int x = p->cells.x + (int)col * s->x.cell, y = p->cells.y + (int)row * s->y.cell;
            int w = s->x.cell - s->gap, h = s->y.cell - s->gap;
            if (colour == HS_CELL_HATCHED)
                hs_canvas_hatch(c, x, y, w, h, period, t->hatch);
            else if (colour != HS_CELL_BLANK)
                hs_canvas_fill(c, x, y, w, h, colour);
        }
}

// A line where shown cells end and blank ones begin: the lowest colour of some maps is the page's.
static void paint_edge(const hs_sheet *s, const hs_page *p, hs_canvas *c, int thick,
                       uint32_t colour) {
    int w = s->x.cell, h = s->y.cell;
    if (w < 4 * thick || h < 4 * thick) return;
    for (int64_t row = 0; row < s->y.n; row++)
        for (int64_t col = 0; col < s->x.n; col++) {
            const uint32_t *cell = &s->colour[row * s->x.n + col];
            if (*cell != HS_CELL_BLANK) continue;
            int x = p->cells.x + (int)col * w, y = p->cells.y + (int)row * h;
            bool left = col > 0 && cell[-1] != HS_CELL_BLANK;
            bool right = col + 1 < s->x.n && cell[1] != HS_CELL_BLANK;
            bool above = row > 0 && cell[-s->x.n] != HS_CELL_BLANK;
            bool below = row + 1 < s->y.n && cell[s->x.n] != HS_CELL_BLANK;
            if (left) hs_canvas_fill(c, x, y, thick, h, colour);
            if (right) hs_canvas_fill(c, x + w - thick, y, thick, h, colour);
            if (above) hs_canvas_fill(c, x, y, w, thick, colour);
            if (below) hs_canvas_fill(c, x, y + h - thick, w, thick, colour);
        }
}

static void paint_bar(const hs_sheet *s, hs_rect bar, hs_canvas *c) {
    for (int i = 0; i < bar.h; i++) {
        double up = 1 - (double)i / (bar.h - 1);
        double v = s->scale.lo + up * (s->scale.hi - s->scale.lo);
        hs_canvas_fill(c, bar.x, bar.y + i, bar.w, 1, hs_scale_at(&s->scale, v));
    }
}

int hs_paint(const hs_sheet *s, const hs_page *p, hs_canvas *c) {
    const theme *t = &themes[s->theme];
    int rc = hs_canvas_begin(c, p->width, p->height, t->page);
    if (rc) return rc;
    int thick = (int)fmax(1, round(0.5 * s->dpi / 72));
    paint_cells(s, p, c, t);
    paint_edge(s, p, c, thick, t->frame);
    if (!s->gap) frame(c, p->cells, thick, t->frame);
    paint_bar(s, p->bar, c);
    frame(c, p->bar, thick, t->frame);
    if (p->legend.w) {
        hs_rect r = p->legend;
        hs_canvas_hatch(c, r.x, r.y, r.w, r.h, (int)fmax(6, s->dpi / 72 * 4), t->hatch);
        frame(c, r, thick, t->frame);
    }
    for (int64_t i = 0; i < p->n_tick; i++) fill(c, p->tick[i], t->frame);
    for (int64_t i = 0; i < p->n_mark; i++) {
        const hs_mark *m = &p->mark[i];
        hs_canvas_text(c, &m->text, m->x, m->y, m->turned, t->tint[m->tint]);
    }
    return HS_OK;
}
