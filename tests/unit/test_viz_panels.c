// Sheets of many maps: panels in their places, shared axes, numbers along edges, pooled cells.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/viz_common.h"

static hs_fig *lay(hs_fig_panels f, const float *value, const hs_fig_style *style) {
    matrices m = {.at = value, .n_q = f.n_q, .n_k = f.n_k};
    hs_fig *d;
    f.rows = (hs_fig_rows){&m, matrix_row};
    assert_int_equal(hs_fig_open_panels(&d, &f, style), HS_OK);
    assert_int_equal(m.asked, f.n * f.n_q);
    return d;
}

static bool same_pitch(const hs_page *p, int64_t n, int64_t n_col) {
    hs_rect first = nth(p, HS_MARK_CELLS, 0)->cells.rect, r = first;
    int dx = 0, dy = 0;
    for (int64_t m = 0; m < n; m++) {
        r = nth(p, HS_MARK_CELLS, (int)m)->cells.rect;
        if (m == 1 && n_col > 1) dx = r.x - first.x;
        if (m == n_col) dy = r.y - first.y;
        if (r.x != first.x + (int)(m % n_col) * dx || r.y != first.y + (int)(m / n_col) * dy)
            return false;
        if (r.w != first.w || r.h != first.h) return false;
    }
    return (n_col == 1 || dx > first.w) && (n <= n_col || dy > first.h);
}

// Below the last panel of every column stands a number.
static bool numbered_below(const hs_page *p, int64_t n, int64_t n_col) {
    for (int64_t col = 0; col < n_col && col < n; col++) {
        int64_t last = (n - 1 - col) / n_col * n_col + col;
        hs_box r = rect_box(p, nth(p, HS_MARK_CELLS, (int)last)->cells.rect);
        bool found = false;
        for (int64_t i = 0; i < p->n_mark; i++) {
            hs_box b = p->mark[i].label.box;
            double away = b.y - (r.y + r.h);
            found |= p->mark[i].kind == HS_MARK_LABEL && away > 0 && away < 9 && b.x > r.x - 20 &&
                     b.x < r.x + r.w;
        }
        if (!found) return false;
    }
    return true;
}

static int names_shown(const hs_page *p, const char *const *name, int64_t n) {
    int shown = 0;
    for (int64_t i = 0; i < n; i++) shown += find_label(p, name[i]) != NULL;
    return shown;
}

static void sheets(void **state) {
    (void)state;
    static const struct {
        int64_t n, n_col, n_q, n_k, q0;
        double dpi;
        bool edges, labels;
        int64_t columns; // drawn
        int names;
    } each[] = {
        {1, 0, 1, 1, 0, 150, false, true, 1, 1},
        {9, 0, 12, 12, 0, 150, false, true, 3, 9},
        {9, 0, 12, 12, 0, 40, false, true, 3, 9},
        {12, 0, 40, 40, 0, 300, false, true, 4, 12},
        {7, 0, 100, 100, 0, 150, false, true, 3, 7},
        {2, 2, 2000, 2000, 0, 150, false, false, 2, 2},
        {9, 0, 3, 313, 310, 150, false, true, 1, 9},
        {9, 0, 313, 2, 0, 150, false, true, 9, 9},
        {270, 9, 1, 313, 312, 150, true, true, 9, 0},
        {32, 0, 300, 300, 0, 96, false, true, 8, 32},
        {128, 16, 30, 30, 1999999, 150, false, false, 16, 128},
        {1000, 0, 5, 5, 0, 150, false, true, 40, 128},
        {270, 9, 12, 12, 0, 150, true, true, 9, 0},
        {270, 9, 313, 313, 0, 72, true, true, 9, 0},
        {144, 12, 2000, 2000, 0, 150, true, false, 12, 0},
        {256, 128, 7, 7, 0, 150, true, false, 128, 0},
        {5120, 64, 64, 64, 0, 20, true, false, 64, 0},
        {5120, 64, 12, 12, 0, 150, true, false, 64, 0},
    };
    char text[128][16];
    const char *name[1000];
    for (int i = 0; i < 1000; i++) {
        snprintf(text[i % 128], sizeof *text, "L7H%d", i % 128);
        name[i] = text[i % 128];
    }
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        const char **label = awkward_labels(each[i].labels ? 400 : 1, 0);
        hs_fig_panels f = {.title = "A layer",
                           .subtitle = "model, run 1, prompt 0",
                           .bar_label = "attention weight",
                           .n = each[i].n,
                           .n_col = each[i].n_col,
                           .name = name,
                           .n_q = each[i].n_q,
                           .n_k = each[i].n_k,
                           .q0 = each[i].q0,
                           .k0 = each[i].n_q == each[i].n_k ? each[i].q0 : 0,
                           .causal = true,
                           .label = each[i].labels ? label : NULL};
        if (each[i].edges) {
            f.row_title = "Layer";
            f.col_title = "Head";
        }
        hs_fig_style style = {.lo = 1, .dpi = each[i].dpi};
        hs_fig *d = lay(f, NULL, &style);
        const hs_page *p = hs_fig_page(d);
        check_page(p);
        assert_true(same_pitch(p, f.n, each[i].columns));
        assert_true(f.n > 40 || numbered_below(p, f.n, each[i].columns));
        assert_null(find_label(p, "not recorded"));
        if (each[i].edges && f.n / f.n_col < 50) { // a number stands at the middle of its row
            hs_box row = rect_box(p, nth(p, HS_MARK_CELLS, (int)f.n_col)->cells.rect);
            hs_box one = find_label(p, "1")->box;
            assert_true(fabs(one.y + 0.5 * one.h - (row.y + 0.5 * row.h)) < 0.7);
        }
        int64_t expected = each[i].names;
        assert_int_equal(names_shown(p, name, f.n < 128 ? f.n : 128), expected);
        assert_int_equal(find_label(p, "Layer") != NULL, each[i].edges);
        assert_true(p->width <= 40 * each[i].dpi && p->height <= 40 * each[i].dpi);
        hs_fig_close(d);
        free(label);
    }
}

// Long names, odd scripts: inside the width of their panels.
static void names(void **state) {
    (void)state;
    const char **name = awkward_labels(AWKWARD, 0);
    for (int64_t n_q = 1; n_q <= 64; n_q *= 4) {
        hs_fig_panels f = {.n = AWKWARD, .name = name, .n_q = n_q, .n_k = n_q};
        hs_fig *d = lay(f, NULL, NULL);
        check_page(hs_fig_page(d));
        hs_fig_close(d);
    }
    free(name);
}

static void colours(void **state) {
    (void)state;
    enum { N = 4, MAPS = 6 };
    float value[MAPS * N * N];
    for (int i = 0; i < MAPS * N * N; i++) value[i] = (float)(i % 97) / 97;
    for (int i = 0; i < N * N; i++) value[4 * N * N + i] = NAN; // a head without a map
    hs_fig_panels f = {.n = MAPS,
                       .n_col = 3,
                       .row_title = "Layer",
                       .n_q = N,
                       .n_k = N,
                       .causal = true,
                       .bar_label = "b"};
    hs_fig_style style = {.cmap = "magma", .fit = true};
    hs_fig *d = lay(f, value, &style);
    const hs_page *p = hs_fig_page(d);
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < MAPS * N * N; i++)
        if (i % N <= i / N % N && !isnan(value[i])) {
            lo = fmin(lo, value[i]);
            hi = fmax(hi, value[i]);
        }
    const hs_cmap *magma = hs_cmap_find("magma");
    int shown = 0;
    for (int m = 0; m < MAPS; m++) {
        if (m == 4) continue;
        const hs_cells *c = &nth(p, HS_MARK_CELLS, shown++)->cells;
        assert_int_equal(c->n_col, N);
        for (int i = 0; i < N * N; i++) {
            double t = (value[m * N * N + i] - lo) / (hi - lo);
            uint32_t want = i % N > i / N ? (uint32_t)HS_INK_NONE : hs_cmap_at(magma, t);
            assert_int_equal(c->ink[i], want);
        }
    }
    assert_true(nth(p, HS_MARK_HATCH, 0)->rect.w > 0); // the panel, then its sample in the legend
    assert_true(nth(p, HS_MARK_HATCH, 1)->rect.w > 0);
    assert_non_null(find_label(p, "not recorded"));
    hs_fig_close(d);
}

static void pooled_panels(void **state) {
    (void)state;
    enum { N = 1000, MAPS = 16 };
    float *value = calloc((size_t)MAPS * N * N, sizeof *value);
    value[(size_t)5 * N * N + 999 * N + 998] = 1;
    hs_fig_panels f = {
        .n = MAPS, .n_col = 4, .row_title = "Layer", .col_title = "Head", .n_q = N, .n_k = N};
    hs_fig *d = lay(f, value, NULL);
    const hs_cells *c = &nth(hs_fig_page(d), HS_MARK_CELLS, 5)->cells;
    assert_in_range(c->n_col, 300, N / 2);
    char note[96];
    int pool = (int)((N + c->n_col - 1) / c->n_col);
    snprintf(note, sizeof note, "Pooled by max, %d x %d tokens a cell.", pool, pool);
    assert_non_null(find_label(hs_fig_page(d), note));
    int lit = 0;
    for (int64_t i = 0; i < c->n_row * c->n_col; i++)
        lit += c->ink[i] == hs_cmap_at(hs_cmap_find("viridis"), 1);
    assert_int_equal(lit, 1);
    assert_int_equal(c->ink[c->n_row * c->n_col - 1], hs_cmap_at(hs_cmap_find("viridis"), 1));
    hs_fig_close(d);
    free(value);
}

static int failing_row(void *ctx, int64_t m, int64_t i, float *out) {
    (void)ctx, (void)out;
    return m == 2 && i == 1 ? hs_fail(HS_ENOTFOUND, "no such map") : HS_OK;
}

static void refusals(void **state) {
    (void)state;
    const hs_fig_panels ok = {.rows = {NULL, failing_row}, .n = 6, .n_q = 2, .n_k = 2};
    hs_fig_panels f[] = {ok, ok, ok, ok, ok, ok, ok};
    f[0].n = 0;
    f[1].n = INT64_MAX;
    f[2].n_col = 7;
    f[3].n_col = -1;
    f[4].n_q = 0;
    f[5].rows.row = NULL;
    f[6].n_col = 4; // 6 panels in rows of 4 are no layers x heads
    f[6].row_title = "Layer";
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        hs_fig *d = (hs_fig *)f;
        assert_int_equal(hs_fig_open_panels(&d, &f[i], NULL), HS_EARG);
        assert_null(d);
    }
    hs_fig *d;
    assert_int_equal(hs_fig_open_panels(&d, &ok, NULL), HS_ENOTFOUND);
    assert_string_equal(hs_errmsg(), "no such map");
    assert_null(d);
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sheets),        cmocka_unit_test(names),    cmocka_unit_test(colours),
        cmocka_unit_test(pooled_panels), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
