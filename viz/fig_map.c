// The attention map as a sheet: masks, pools, colours; see fig.h.
//
// Cell sizes follow the number of tokens: large for a sentence, one label a cell up to about a
// hundred tokens, then smaller until MAX_SPAN is full. Below one pixel a cell, blocks of tokens
// share a cell that shows their largest weight, so that a lone peak is never lost.
// Cost: one pass over the map.
#include "viz/sheet.h"

#include <math.h>

enum { MOST = 1 << 24 }; // positions an axis may have

// The cell size, in points, that suits n cells in a row.
static double suited(int64_t n) {
    return fmin(28, fmax(84 / sqrt((double)n), 9.7));
}

// Chooses pool, cells and pixels of both axes. Cells are square, except that an axis of very few
// cells is stretched until it can be seen.
static void fit(hs_axis *a, hs_axis *b, double dpi) {
    double px = dpi / 72;
    int64_t room = (int64_t)(HS_MAX_SPAN * px);
    hs_axis *longer = a->count >= b->count ? a : b, *shorter = longer == a ? b : a;
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

// The largest visible value of a block, NaN when it has none.
static float pooled(const hs_fig_map *f, const hs_sheet *s, int64_t row, int64_t col) {
    float most = NAN;
    int64_t bottom = (row + 1) * s->y.pool, right = (col + 1) * s->x.pool;
    if (bottom > f->n_q) bottom = f->n_q;
    if (right > f->n_k) right = f->n_k;
    for (int64_t q = row * s->y.pool; q < bottom; q++) {
        int64_t seen = f->causal ? f->q0 + q - f->k0 + 1 : right; // keys up to the query itself
        for (int64_t k = col * s->x.pool; k < right && k < seen; k++)
            most = fmaxf(most, f->value[q * f->n_k + k]);
    }
    return most;
}

static int colour_cells(const hs_fig_map *f, const hs_fig_style *style, hs_sheet *s) {
    float *cell;
    uint32_t *colour;
    double least = INFINITY, most = -INFINITY;
    size_t n;
    if (!hs_mul((size_t)s->y.n, (size_t)s->x.n, &n)) n = SIZE_MAX; // then hs_arena_get refuses
    int rc = hs_arena_get(s->arena, &cell, n, sizeof *cell);
    if (!rc) rc = hs_arena_get(s->arena, &colour, n, sizeof *colour);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++) {
        cell[i] = pooled(f, s, (int64_t)i / s->x.n, (int64_t)i % s->x.n);
        least = fmin(least, cell[i]);
        most = fmax(most, cell[i]);
    }
    if ((rc = hs_sheet_range(s, style, 0, 1, least, most))) return rc;
    for (size_t i = 0; i < n; i++)
        colour[i] = isnan(cell[i]) ? HS_CELL_BLANK : hs_scale_at(&s->scale, cell[i]);
    s->colour = colour;
    return HS_OK;
}

static int check(const hs_fig_map *f) {
    if (f->n_q <= 0 || f->n_k <= 0 || f->n_q > MOST || f->n_k > MOST)
        return hs_fail(HS_EARG, "a map of %lld queries x %lld keys: both must be 1 to %d",
                       (long long)f->n_q, (long long)f->n_k, MOST);
    if (f->q0 < 0 || f->k0 < 0 || f->q0 > INT32_MAX || f->k0 > INT32_MAX)
        return hs_fail(HS_EARG, "a map that starts at query %lld, key %lld", (long long)f->q0,
                       (long long)f->k0);
    return f->value ? HS_OK : hs_fail(HS_EARG, "a map without values");
}

int hs_sheet_map(const hs_fig_map *f, const hs_fig_style *style, hs_sheet **out) {
    *out = NULL;
    hs_sheet *s = NULL;
    int rc = check(f);
    if (rc) return rc;
    rc = hs_sheet_open(&s, style, "viridis", f->title, f->subtitle, f->bar_label);
    if (rc) return rc;
    s->x = (hs_axis){.title = "Key", .first = f->k0, .count = f->n_k, .label = f->label};
    s->y = (hs_axis){.title = "Query", .first = f->q0, .count = f->n_q, .label = f->label};
    fit(&s->x, &s->y, s->dpi);
    if ((rc = colour_cells(f, style, s))) goto out;
    if (s->x.pool > 1 || s->y.pool > 1)
        rc = hs_sheet_note(s, "Pooled by max, %lld x %lld tokens a cell.", (long long)s->y.pool,
                           (long long)s->x.pool);
    if (rc) goto out;
    *out = s;
    s = NULL;
out:
    hs_sheet_close(s);
    return rc;
}
