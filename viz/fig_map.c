// The attention map; see fig.h.
//
// Cell sizes follow the number of tokens: large for a sentence, one label a cell up to about a
// hundred tokens, then smaller until MAX_SPAN is full. Below one pixel a cell, blocks of tokens
// share a cell; see pooling.h.
// Cost: one pass over the map, O(cells drawn + n_k) memory.
#include "viz/furniture.h"

#include <math.h>

// One direction: n cells of `pool` positions and `cell` pixels.
typedef struct side {
    int64_t count, pool, n;
    int cell;
} side;

// The cell size, in points, that suits n cells in a row.
static double suited(int64_t n) {
    return fmin(28, fmax(84 / sqrt((double)n), 9.7));
}

// Cells are square, except that a side of very few cells is stretched until it can be seen.
static void fit(side *a, side *b, double px) {
    int64_t room = (int64_t)(HS_MAX_SPAN * px);
    side *longer = a->count >= b->count ? a : b, *shorter = longer == a ? b : a;
    longer->pool = (longer->count + room - 1) / room;
    longer->n = (longer->count + longer->pool - 1) / longer->pool;
    int64_t most = room / longer->n; // at least 1
    longer->cell = (int)fmin(round(suited(longer->n) * px), (double)most);

    const double least_span = 60;
    double square = (double)longer->cell / px; // points
    bool thin = (double)(shorter->count / longer->pool) * square < least_span;
    shorter->pool = thin ? 1 : longer->pool;
    shorter->n = (shorter->count + shorter->pool - 1) / shorter->pool;
    double tall = fmin(suited(shorter->n), least_span / (double)shorter->n);
    shorter->cell = (int)fmax(longer->cell, floor(tall * px));
}

// The map's cells in colour, at the origin; returns their place.
static hs_rect put_cells(hs_page *p, const hs_pooling *m, const side *x, const side *y,
                         hs_scale *scale) {
    int64_t n = m->n_row * m->n_col;
    hs_pixel *cell = hs_page_get(p, n, sizeof *cell);
    if (!p->rc) p->rc = hs_pool_map(m, 0, cell);
    hs_reach reach = HS_REACH_EMPTY;
    for (int64_t i = 0; i < n && !p->rc; i++) hs_reach_add(&reach, cell[i].value);
    *scale = hs_page_scale(p, (hs_range){0, 1, false}, &reach);
    hs_cells cells = {.rect = {0, 0, (int)x->n * x->cell, (int)y->n * y->cell},
                      .w = x->cell,
                      .h = y->cell,
                      .n_row = m->n_row,
                      .n_col = m->n_col,
                      .ink = p->rc ? NULL : hs_pixel_inks(scale, cell, n),
                      .edged = true};
    hs_page_cells(p, &cells);
    hs_page_frame(p, cells.rect, HS_INK_FRAME);
    return cells.rect;
}

static int lay(hs_page *p, const hs_fig_map *f, hs_pooling *m) {
    side x = {.count = f->n_k}, y = {.count = f->n_q};
    fit(&x, &y, p->px);
    m->pool_q = y.pool;
    m->pool_k = x.pool;
    m->n_row = y.n;
    m->n_col = x.n;
    hs_scale scale;
    hs_rect area = put_cells(p, m, &x, &y, &scale);
    hs_axis_left(p, &(hs_axis){"Query", f->q0, f->n_q, y.pool, y.cell, f->label, false}, area);
    hs_axis_below(p, &(hs_axis){"Key", f->k0, f->n_k, x.pool, x.cell, f->label, false}, area);
    hs_colour_bar(p, &scale, f->bar_label, area);
    char note[96];
    hs_pool_tell(m, note, sizeof note);
    if (*note) hs_page_note(p, "%s", note);
    return hs_page_finish(p, f->title, f->subtitle);
}

int hs_fig_open_map(hs_fig **out, const hs_fig_map *f, const hs_fig_style *style) {
    *out = NULL;
    hs_page *p;
    hs_pooling m = {.rows = f->rows,
                    .n_q = f->n_q,
                    .n_k = f->n_k,
                    .q0 = f->q0,
                    .k0 = f->k0,
                    .causal = f->causal,
                    .how = f->pool};
    int rc = hs_pool_check(&m, "a map");
    if (!rc) rc = hs_page_open(&p, style);
    return rc ? rc : hs_fig_take(out, p, lay(p, f, &m));
}
