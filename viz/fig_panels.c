// Small multiples: many maps of one size on a sheet; see fig.h.
//
//      name     name     name             0  1  2  3   Head
//    t [map]    [map]    [map]   bar    0 [] [] [] []
//    o [map]    [map]    [map]          1 [] [] [] []   bar
//       t o                         Layer [] [] [] []
//
// Panels share their axes: tokens stand left of the first column and below each column's last
// panel, where panels are large enough to read them. A sheet of layers x heads has numbers along
// its edges instead.
// Cost: one pass over the maps, O(cells drawn + n_k) memory.
#include "viz/furniture.h"

#include <math.h>

static const double LEAST_PANEL = 48, SHEET_SPAN = 1640; // a large sheet may be so large for it
static const double PREFER_LEAST = 60, PREFER_MOST = 240, TOKEN = 9.7; // points
static const double NARROW = 0.1; // a panel's shorter side, as a share of the other, counts as that
static const double WITH_AXES = 56, WITH_NAMES = 28, NAME_PT = 7;
static const double THIN =
    8; // a panel of few rows is at least so high, one of few columns has its name

typedef struct sheet {
    const hs_fig_panels *f;
    hs_pooling pool;
    int64_t n_row, n_col;
    bool edges, axes, names;
    int cell_w, cell_h, w, h; // pixels of a cell, of a panel
    int pitch_x, pitch_y;     // from panel to panel
    int head;                 // room above a panel, for its name
} sheet;

// How wide and how high a panel is, as shares of its longer side.
static void shares(const hs_pooling *m, double *w, double *h) {
    double longest = (double)(m->n_q > m->n_k ? m->n_q : m->n_k);
    *w = fmax((double)m->n_k / longest, NARROW);
    *h = fmax((double)m->n_q / longest, NARROW);
}

// Columns for n panels: the sheet about as wide as high, and none left blank where that can be had.
static int64_t choose_columns(const hs_pooling *m, int64_t n) {
    double w, h;
    shares(m, &w, &h);
    int64_t least = (int64_t)ceil(sqrt((double)n * h / w) - 1e-9);
    if (least > n) least = n;
    for (int64_t c = least; c <= 2 * least; c++)
        if (n % c == 0) return c;
    return least;
}

// One side of a panel of `count` positions on about `room` pixels: a third more or less, so that
// cells are whole pixels and no more are pooled than must be.
static int64_t fit(int64_t count, double room, int64_t *pool, int *cell) {
    *pool = (int64_t)ceil((double)count / fmax(1, floor(room * 4 / 3)));
    int64_t n = (count + *pool - 1) / *pool;
    *cell = (int)fmax(1, round(room / (double)n));
    return n;
}

// Both sides have the same pool and cell, unless the shorter one could hardly be seen then.
static void fit_panel(sheet *s, double room, double px) {
    hs_pooling *m = &s->pool;
    bool wide = m->n_k >= m->n_q;
    double thin = (wide ? THIN : WITH_NAMES) * px;
    int64_t pool, short_pool, shorter = wide ? m->n_q : m->n_k;
    int cell, short_cell;
    int64_t n = fit(wide ? m->n_k : m->n_q, room, &pool, &cell);
    int64_t n_short = (shorter + pool - 1) / pool;
    short_pool = pool;
    short_cell = cell;
    if ((double)(n_short * cell) < thin) n_short = fit(shorter, thin, &short_pool, &short_cell);
    m->pool_k = wide ? pool : short_pool;
    m->pool_q = wide ? short_pool : pool;
    m->n_col = wide ? n : n_short;
    m->n_row = wide ? n_short : n;
    s->cell_w = wide ? cell : short_cell;
    s->cell_h = wide ? short_cell : cell;
    s->w = (int)m->n_col * s->cell_w;
    s->h = (int)m->n_row * s->cell_h;
}

// The room that one number below a panel may need beyond it.
static double number_width(hs_page *p, const hs_fig_panels *f) {
    char number[HS_NUMBER];
    hs_number(number, (double)(f->k0 + f->n_k), 0);
    hs_text t = {.markup = hs_page_line(p, number), .pt = HS_LABEL_PT};
    return hs_page_measure(p, &t).x1;
}

static void fit_sheet(hs_page *p, sheet *s) {
    const hs_fig_panels *f = s->f;
    double w, h, longest = (double)(f->n_q > f->n_k ? f->n_q : f->n_k);
    shares(&s->pool, &w, &h);
    double most = fmax((double)s->n_col * w, (double)s->n_row * h); // longer sides in a row
    double span = fmin(fmax(HS_MAX_SPAN, LEAST_PANEL * most), SHEET_SPAN);
    double prefer = fmin(fmax(TOKEN * longest, PREFER_LEAST), PREFER_MOST / fmin(w, h));
    double pitch = fmin(1.06 * prefer, fmin(span / most, HS_MAX_SPAN)); // with a gap
    fit_panel(s, pitch / 1.06 * p->px, p->px);
    double side = fmax(s->w, s->h) / p->px;
    s->axes = !s->edges && side >= WITH_AXES;
    s->names = f->name && !s->edges && s->w / p->px >= WITH_NAMES - 1; // but for rounding
    double gap = fmin(fmax(0.06 * side, 1.5), 8);
    double across = s->axes ? fmax(3 * HS_GAP, number_width(p, f) + HS_GAP) : gap;
    s->head = s->names ? hs_page_pixels(p, 1.7 * NAME_PT) : 0;
    s->pitch_x = s->w + hs_page_pixels(p, across);
    s->pitch_y = s->h + s->head + hs_page_pixels(p, s->axes ? 3 * HS_GAP : gap);
}

static hs_rect panel(const sheet *s, int64_t m) {
    return (hs_rect){(int)(m % s->n_col) * s->pitch_x, (int)(m / s->n_col) * s->pitch_y, s->w,
                     s->h};
}

// The rectangle around all panels, without names.
static hs_rect all_panels(const sheet *s) {
    return (hs_rect){0, 0, (int)(s->n_col - 1) * s->pitch_x + s->w,
                     (int)(s->n_row - 1) * s->pitch_y + s->h};
}

// ---- what is drawn ------------------------------------------------------------------------------

static void put_name(hs_page *p, const sheet *s, int64_t m, hs_rect r) {
    if (!s->names || !s->f->name[m]) return;
    hs_text t = {.markup = hs_page_line(p, s->f->name[m]), .pt = NAME_PT};
    hs_text_box e = hs_page_measure(p, &t);
    double w = r.w / p->px;
    if (e.x1 > w) {
        t.width = w;
        t.lines = 1;
        e = hs_page_measure(p, &t);
    }
    // Stacked accents and tall scripts stay in the room of a name.
    double tall = fmax(-e.y0 / (1.1 * NAME_PT), e.y1 / (0.35 * NAME_PT));
    if (tall > 1) {
        t.pt /= tall;
        e = hs_page_measure(p, &t);
    }
    hs_page_label(p, &t, r.x / p->px - e.x0, r.y / p->px - 0.5 * NAME_PT, false, HS_INK_TEXT);
}

// Panels of which nothing is there are hatched; returns whether this one is.
static bool put_panel(hs_page *p, const sheet *s, int64_t m, const uint32_t *ink) {
    const hs_pooling *pool = &s->pool;
    hs_rect r = panel(s, m);
    int64_t n = pool->n_row * pool->n_col, there = 0;
    for (int64_t i = 0; i < n; i++) there += ink[i] != HS_INK_NONE;
    hs_cells cells = {.rect = r,
                      .w = s->cell_w,
                      .h = s->cell_h,
                      .n_row = pool->n_row,
                      .n_col = pool->n_col,
                      .ink = ink,
                      .edged = true};
    if (there)
        hs_page_cells(p, &cells);
    else
        hs_page_hatch(p, r, HS_INK_HATCH);
    hs_page_frame(p, r, HS_INK_FRAME);
    put_name(p, s, m, r);
    return !there;
}

static void put_panels(hs_page *p, const sheet *s, hs_scale *scale) {
    int64_t each = s->pool.n_row * s->pool.n_col, n = s->f->n * each;
    hs_pixel *cell = hs_page_get(p, n, sizeof *cell);
    hs_reach reach = HS_REACH_EMPTY;
    for (int64_t m = 0; m < s->f->n && !p->rc; m++)
        p->rc = hs_pool_map(&s->pool, m, cell + m * each);
    for (int64_t i = 0; i < n && !p->rc; i++) hs_reach_add(&reach, cell[i].value);
    *scale = hs_page_scale(p, (hs_range){0, 1, false}, &reach);
    if (p->rc) return;
    const uint32_t *ink = hs_pixel_inks(scale, cell, n);
    bool missing = false;
    for (int64_t m = 0; m < s->f->n; m++) missing |= put_panel(p, s, m, ink + m * each);
    if (missing) hs_page_key(p, HS_MARK_HATCH, HS_INK_HATCH, "not recorded");
}

// Tokens, once for all panels of a row or a column.
static void put_axes(hs_page *p, const sheet *s) {
    const hs_fig_panels *f = s->f;
    const hs_pooling *m = &s->pool;
    const hs_axis y = {NULL, f->q0, f->n_q, m->pool_q, s->cell_h, f->label, false};
    const hs_axis x = {NULL, f->k0, f->n_k, m->pool_k, s->cell_w, f->label, false};
    for (int64_t row = 0; row < s->n_row; row++) hs_axis_left(p, &y, panel(s, row * s->n_col));
    for (int64_t col = 0; col < s->n_col && col < f->n; col++)
        hs_axis_below(p, &x, panel(s, (f->n - 1 - col) / s->n_col * s->n_col + col));
    hs_side_title(p, HS_SIDE_LEFT, "Query", all_panels(s));
    hs_side_title(p, HS_SIDE_BELOW, "Key", all_panels(s));
}

// The middle of a number is that of its panels, not that of a panel and its gap.
static void put_edges(hs_page *p, const sheet *s) {
    const hs_fig_panels *f = s->f;
    hs_rect left = all_panels(s), below = left;
    left.y -= (s->pitch_y - s->h) / 2;
    below.x -= (s->pitch_x - s->w) / 2;
    const hs_axis y = {f->row_title, 0, s->n_row, 1, s->pitch_y, NULL, false};
    const hs_axis x = {f->col_title, 0, s->n_col, 1, s->pitch_x, NULL, false};
    hs_axis_left(p, &y, left);
    hs_axis_below(p, &x, below);
}

static int lay(hs_page *p, sheet *s) {
    const hs_fig_panels *f = s->f;
    hs_scale scale;
    char note[96];
    fit_sheet(p, s);
    put_panels(p, s, &scale);
    if (s->edges) put_edges(p, s);
    if (s->axes) put_axes(p, s);
    hs_colour_bar(p, &scale, f->bar_label, all_panels(s));
    if (!s->axes && f->n_q == 1)
        hs_page_note(p, "Each panel is query %lld; keys %lld to %lld go across.", (long long)f->q0,
                     (long long)f->k0, (long long)(f->k0 + f->n_k - 1));
    else if (!s->axes)
        hs_page_note(p, "In each panel queries %lld to %lld go down, keys %lld to %lld across.",
                     (long long)f->q0, (long long)(f->q0 + f->n_q - 1), (long long)f->k0,
                     (long long)(f->k0 + f->n_k - 1));
    hs_pool_tell(&s->pool, note, sizeof note);
    if (*note) hs_page_note(p, "%s", note);
    return hs_page_finish(p, f->title, f->subtitle);
}

int hs_fig_open_panels(hs_fig **out, const hs_fig_panels *f, const hs_fig_style *style) {
    *out = NULL;
    hs_page *p;
    sheet s = {.f = f,
               .edges = f->row_title || f->col_title,
               .pool = {.rows = f->rows,
                        .n_q = f->n_q,
                        .n_k = f->n_k,
                        .q0 = f->q0,
                        .k0 = f->k0,
                        .causal = f->causal,
                        .how = f->pool}};
    int rc = hs_pool_check(&s.pool, "a map");
    if (rc) return rc;
    if (f->n <= 0 || f->n > HS_MOST_MAPS || f->n_col < 0 || f->n_col > f->n)
        return hs_fail(HS_EARG, "a sheet of %lld maps in %lld columns: 1 to %d maps",
                       (long long)f->n, (long long)f->n_col, HS_MOST_MAPS);
    s.n_col = f->n_col ? f->n_col : choose_columns(&s.pool, f->n);
    s.n_row = (f->n + s.n_col - 1) / s.n_col;
    if (s.edges && s.n_row * s.n_col != f->n)
        return hs_fail(HS_EARG, "a sheet of %lld maps cannot have rows of %lld", (long long)f->n,
                       (long long)s.n_col);
    rc = hs_page_open(&p, style);
    return rc ? rc : hs_fig_take(out, p, lay(p, &s));
}
