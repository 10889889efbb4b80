// Layer x head grids side by side, each with its own range; see fig.h.
//
//      name            name            name
//      cells | bar     cells | bar     cells | bar
#include <stdio.h>
#include <string.h>

#include "viz/furniture.h"

enum { MOST = 6, IN_A_ROW = 3 };

static const double APART = 20;   // between a grid and the next one
static const double NAME = 18;    // above the cells
static const double BESIDE = 100; // a grid's axis, bar and numbers take about that much

// The facts of a grid get its name: "entropy_nats.vmin".
static void name_facts(hs_page *p, const char *name, int from) {
    for (int i = from; i < p->n_fact && !p->rc; i += 2) {
        char key[64];
        snprintf(key, sizeof key, "%.40s.%s", name, p->fact[i]);
        p->rc = hs_arena_str(p->arena, &p->fact[i], key, strlen(key));
    }
}

static void put_name(hs_page *p, const char *name, hs_rect cells) {
    const double room = cells.w / p->px;
    hs_text t = {.markup = hs_page_line(p, name), .pt = HS_SUBTITLE_PT, .bold = true};
    if (hs_page_measure(p, &t).x1 > room) {
        t.width = room;
        t.lines = 1;
    }
    hs_page_label(p, &t, cells.x / p->px, cells.y / p->px - 2 * HS_GAP, false, HS_INK_TEXT);
}

// Grid after grid, their cells' tops at one height; a row begins below all of the last one.
static void lay(hs_page *p, const hs_fig_grids *f) {
    const int64_t columns = f->n <= IN_A_ROW ? f->n : (f->n + 1) / 2;
    const double span = HS_MAX_SPAN / (double)columns - BESIDE;
    double x = 0, y = 0, end = 0; // where the next grid begins, and the row ends
    bool missing = false;
    for (int64_t i = 0; i < f->n && !p->rc; i++) {
        const char *name = f->grid[i].title ? f->grid[i].title : "";
        const int n_fact = p->n_fact;
        hs_reach data;
        if (i && i % columns == 0) {
            x = 0;
            y = end + APART;
        }
        hs_page_part(p);
        put_name(p, name, hs_grid_body(p, &f->grid[i], span, &data));
        const hs_box b = hs_page_bounds(p);
        hs_page_put(p, (int)lround((x - b.x) * p->px), (int)lround((y + NAME) * p->px));
        x += b.w + APART;
        end = fmax(end, y + NAME + b.y + b.h);
        name_facts(p, name, n_fact);
        hs_grid_tell(p, name, &data);
        missing |= data.missing;
    }
    if (missing) hs_page_key(p, HS_MARK_HATCH, HS_INK_HATCH, HS_UNDEFINED);
}

int hs_fig_open_grids(hs_fig **out, const hs_fig_grids *f, const hs_fig_style *style) {
    hs_page *p;
    int rc = HS_OK;
    *out = NULL;
    if (f->n < 1 || f->n > MOST || !f->grid)
        return hs_fail(HS_EARG, "%lld grids on a page: give 1 to %d", (long long)f->n, MOST);
    for (int64_t i = 0; i < f->n && !rc; i++) rc = hs_grid_check(&f->grid[i]);
    if (!rc) rc = hs_page_open(&p, style);
    if (rc) return rc;
    lay(p, f);
    return hs_fig_take(out, p, hs_page_finish(p, f->title, f->subtitle));
}
