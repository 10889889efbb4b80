// Layered graphs, such as circuits; see fig.h.
//
// Ranks become rows from the bottom up, those of many nodes several rows. Within a row, nodes are
// ordered by the mean place of their neighbours, a few times downwards and upwards (the barycentre
// method of Sugiyama et al. 1981). Lines are curves that leave upwards and arrive from below; one
// that skips rows bows outwards, so that it does not hide behind the nodes between.
#include <stdlib.h>
#include <string.h>

#include "viz/furniture.h"

enum { MOST_NODES = 500, MOST_LINKS = 10000, A_ROW = 16, SWEEPS = 8, BENDS = 24 };

// Points.
static const double HIGH = 14, PAD = 4, APART = 12, ROW_MOST = 46, ROW_LEAST = 24;
static const double ASIDE = 30, THIN = 0.5, WIDE = 4.5, BOW = 7, BOW_MOST = 90;

typedef struct spot {
    int64_t node;
    double place; // its neighbours'
} spot;

typedef struct graph {
    hs_page *p;
    const hs_fig_graph *f;
    int64_t *row;   // [n_node]
    spot *at;       // [n_node] row by row
    int64_t *first; // [n_row + 1] of `at`
    int64_t n_row;
    double *x, *wide;  // [n_node] middle and width of the boxes
    double step, most; // between rows; the largest |value|
} graph;

static double y_of(const graph *g, int64_t row) {
    return -(double)row * g->step; // the middle of a box
}

// ---- rows ---------------------------------------------------------------------------------------

static int by_rank(const void *a, const void *b, void *ctx) {
    const graph *g = ctx;
    const spot *x = a, *y = b;
    const int64_t i = g->f->node[x->node].rank, j = g->f->node[y->node].rank;
    if (i != j) return i < j ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static void make_rows(graph *g) {
    const int64_t n = g->f->n_node;
    for (int64_t i = 0; i < n; i++) g->at[i].node = i;
    qsort_r(g->at, (size_t)n, sizeof *g->at, by_rank, g);
    for (int64_t i = 0, end; i < n; i = end) {
        const int64_t rank = g->f->node[g->at[i].node].rank;
        for (end = i; end < n && g->f->node[g->at[end].node].rank == rank;) end++;
        const int64_t parts = (end - i + A_ROW - 1) / A_ROW;
        for (int64_t k = 0; k < parts; k++) g->first[g->n_row++] = i + (end - i) * k / parts;
    }
    g->first[g->n_row] = n;
    for (int64_t r = 0; r < g->n_row; r++)
        for (int64_t i = g->first[r]; i < g->first[r + 1]; i++) g->row[g->at[i].node] = r;
}

// Centres a row's boxes over 0, in order; those of short rows by turns left and right of it, so that
// lines between others show.
static void place_row(graph *g, int64_t row) {
    const bool few = g->first[row + 1] - g->first[row] < 3 && g->n_row > 4;
    double width = -APART;
    for (int64_t i = g->first[row]; i < g->first[row + 1]; i++)
        width += g->wide[g->at[i].node] + APART;
    double x = -0.5 * width + (few ? row % 2 ? ASIDE : -ASIDE : 0);
    for (int64_t i = g->first[row]; i < g->first[row + 1]; i++) {
        const int64_t node = g->at[i].node;
        g->x[node] = x + 0.5 * g->wide[node];
        x += g->wide[node] + APART;
    }
}

static int by_place(const void *a, const void *b) {
    const spot *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

// Orders a row by the mean place of its neighbours below, or above.
static void order_row(graph *g, int64_t row, bool below) {
    for (int64_t i = g->first[row]; i < g->first[row + 1]; i++) {
        const int64_t node = g->at[i].node;
        double sum = 0;
        int64_t n = 0;
        for (int64_t k = 0; k < g->f->n_link; k++) {
            const hs_fig_link *l = &g->f->link[k];
            if ((below ? l->to : l->from) != node) continue;
            sum += g->x[below ? l->from : l->to];
            n++;
        }
        g->at[i].place = n ? sum / (double)n : g->x[node];
    }
    qsort(g->at + g->first[row], (size_t)(g->first[row + 1] - g->first[row]), sizeof *g->at,
          by_place);
    place_row(g, row);
}

static void lay_out(graph *g) {
    make_rows(g);
    for (int64_t r = 0; r < g->n_row; r++) place_row(g, r);
    for (int s = 0; s < SWEEPS; s++)
        for (int64_t r = 0; r < g->n_row; r++)
            order_row(g, s % 2 ? g->n_row - 1 - r : r, s % 2 == 0);
    const double room = HS_MAX_SPAN / (double)g->n_row;
    g->step = fmax(ROW_LEAST, fmin(ROW_MOST, room));
}

// ---- drawing ------------------------------------------------------------------------------------

static double width_of(const graph *g, const hs_fig_link *l) {
    if (isnan(l->value) || g->most == 0) return THIN;
    return THIN + (WIDE - THIN) * fabs(l->value) / g->most;
}

static void draw_link(const graph *g, const hs_fig_link *l) {
    const int64_t from = g->row[l->from], to = g->row[l->to];
    const double x0 = g->x[l->from], y0 = y_of(g, from) - 0.5 * HIGH;
    const double x1 = g->x[l->to] + l->port * (0.5 * g->wide[l->to] - PAD);
    const double y1 = y_of(g, to) + 0.5 * HIGH, bend = 0.5 * (y1 - y0);
    const double side = x0 + x1 < 0 ? -1 : 1;
    const double bow = side * fmin(BOW_MOST, BOW * (double)(to - from - 1));
    hs_xy *at = hs_page_get(g->p, BENDS + 1, sizeof *at);
    for (int i = 0; at && i <= BENDS; i++) {
        const double t = (double)i / BENDS, s = 1 - t;
        const double a = s * s * s, b = 3 * s * s * t, c = 3 * s * t * t, d = t * t * t;
        at[i] = (hs_xy){a * x0 + b * (x0 + bow) + c * (x1 + bow) + d * x1,
                        a * y0 + b * (y0 + bend) + c * (y1 - bend) + d * y1};
    }
    const uint32_t ink = isnan(l->value) ? HS_INK_FRAME
                         : l->value < 0  ? HS_INK_SERIES + 1
                                         : HS_INK_SERIES;
    if (at) hs_page_polyline(g->p, at, BENDS + 1, width_of(g, l), ink);
}

static int by_size(const void *a, const void *b, void *ctx) {
    const graph *g = ctx;
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    const double x = width_of(g, &g->f->link[i]), y = width_of(g, &g->f->link[j]);
    if (x != y) return x < y ? -1 : 1;
    return (i > j) - (i < j);
}

// The widest last.
static void draw_links(const graph *g) {
    const int64_t n = g->f->n_link;
    int64_t *order = hs_page_get(g->p, n, sizeof *order);
    if (!order) return;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    graph copy = *g;
    qsort_r(order, (size_t)n, sizeof *order, by_size, &copy);
    for (int64_t i = 0; i < n; i++) draw_link(g, &g->f->link[order[i]]);
}

static hs_text name_of(const graph *g, int64_t node) {
    return (hs_text){.markup = hs_page_line(g->p, g->f->node[node].name), .pt = HS_LABEL_PT};
}

static void draw_node(const graph *g, int64_t node) {
    const double px = g->p->px, left = g->x[node] - 0.5 * g->wide[node];
    const double middle = y_of(g, g->row[node]);
    const hs_rect r = {(int)lround(left * px), (int)lround((middle - 0.5 * HIGH) * px),
                       hs_page_pixels(g->p, g->wide[node]), hs_page_pixels(g->p, HIGH)};
    const hs_text t = name_of(g, node);
    const hs_text_box e = hs_page_measure(g->p, &t);
    hs_page_fill(g->p, r, HS_INK_PAGE);
    hs_page_frame(g->p, r, HS_INK_PALE);
    hs_page_label(g->p, &t, g->x[node] - 0.5 * (e.x0 + e.x1), hs_centred(middle, HS_LABEL_PT),
                  false, HS_INK_TEXT);
}

static void draw(graph *g) {
    const hs_fig_graph *f = g->f;
    for (int64_t i = 0; i < f->n_node; i++) {
        const hs_text t = name_of(g, i);
        const hs_text_box e = hs_page_measure(g->p, &t);
        g->wide[i] = e.x1 - e.x0 + 2 * PAD;
    }
    for (int64_t i = 0; i < f->n_link; i++)
        if (!isnan(f->link[i].value)) g->most = fmax(g->most, fabs(f->link[i].value));
    lay_out(g);
    draw_links(g);
    for (int64_t i = 0; i < f->n_node; i++) draw_node(g, i);
    if (f->positive) hs_page_key(g->p, HS_MARK_LINE, HS_INK_SERIES, f->positive);
    if (f->negative) hs_page_key(g->p, HS_MARK_LINE, HS_INK_SERIES + 1, f->negative);
    if (f->value_name && g->most > 0)
        hs_page_note(g->p, "Lines go upwards. The widest is a %s of %.3g.", f->value_name, g->most);
    if (f->port_note) hs_page_note(g->p, "%s", f->port_note);
    hs_page_fact(g->p, "nodes", "%lld", (long long)f->n_node);
    hs_page_fact(g->p, "links", "%lld", (long long)f->n_link);
}

static int check(const hs_fig_graph *f) {
    if (f->n_node < 1 || f->n_node > MOST_NODES)
        return hs_fail(HS_EARG, "a graph of %lld nodes: give 1 to %d", (long long)f->n_node,
                       MOST_NODES);
    if (f->n_link < 0 || f->n_link > MOST_LINKS)
        return hs_fail(HS_EARG, "a graph of %lld lines: give at most %d", (long long)f->n_link,
                       MOST_LINKS);
    for (int64_t i = 0; i < f->n_link; i++) {
        const hs_fig_link *l = &f->link[i];
        if (l->from < 0 || l->from >= f->n_node || l->to < 0 || l->to >= f->n_node ||
            f->node[l->from].rank >= f->node[l->to].rank || isinf(l->value))
            return hs_fail(HS_EARG, "line %lld of a graph does not go to a higher rank",
                           (long long)i);
    }
    return HS_OK;
}

int hs_fig_open_graph(hs_fig **out, const hs_fig_graph *f, const hs_fig_style *style) {
    graph g = {.f = f};
    *out = NULL;
    int rc = check(f);
    if (!rc) rc = hs_page_open(&g.p, style);
    if (rc) return rc;
    g.row = hs_page_get(g.p, f->n_node, sizeof *g.row);
    g.at = hs_page_get(g.p, f->n_node, sizeof *g.at);
    g.first = hs_page_get(g.p, f->n_node + 1, sizeof *g.first);
    g.x = hs_page_get(g.p, f->n_node, sizeof *g.x);
    g.wide = hs_page_get(g.p, f->n_node, sizeof *g.wide);
    if (!g.p->rc) draw(&g);
    return hs_fig_take(out, g.p, g.p->rc ? g.p->rc : hs_page_finish(g.p, f->title, f->subtitle));
}
