// What sets two runs side by side: grids with ranges of their own.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/viz_common.h"

static const char *fact(const hs_page *p, const char *key) {
    for (int i = 0; i < p->n_fact; i += 2)
        if (strcmp(p->fact[i], key) == 0) return p->fact[i + 1];
    return NULL;
}

// ---- grids --------------------------------------------------------------------------------------

enum { MOST = 6 };

// Grid k holds (k + 1) times the numbers -0.5 to 0.5; with a hole in grid 1.
static void fill(hs_fig_grid *grid, double *value, int64_t n, int64_t n_layer, int64_t n_head) {
    static const char *const name[MOST] = {"entropy", "sink <0>", "span", "d", "e", "jgy"};
    for (int64_t k = 0; k < n; k++) {
        double *v = value + k * n_layer * n_head;
        for (int64_t i = 0; i < n_layer * n_head; i++)
            v[i] = (double)(k + 1) * ((double)i / (double)(n_layer * n_head - 1) - 0.5);
        if (k == 1) v[1] = NAN;
        grid[k] = (hs_fig_grid){.title = name[k],
                                .value = v,
                                .n_layer = n_layer,
                                .n_head = n_head,
                                .diverging = true,
                                .bar_label = "after − before"};
    }
}

// The cells of grid k: its bar has cells too.
static hs_rect cells(const hs_page *p, int64_t k) {
    return nth(p, HS_MARK_CELLS, 2 * (int)k)->cells.rect;
}

static void grids(void **state) {
    (void)state;
    static const struct {
        int64_t n, columns, n_layer, n_head;
        double dpi;
    } cases[] = {{1, 1, 30, 9, 150},  {2, 2, 30, 9, 100}, {3, 3, 30, 9, 150}, {3, 3, 2, 2, 72},
                 {4, 2, 12, 12, 100}, {5, 3, 4, 16, 150}, {6, 3, 48, 32, 60}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t n = cases[i].n, each = cases[i].n_layer * cases[i].n_head;
        double *value = calloc((size_t)(n * each), sizeof *value);
        hs_fig_grid grid[MOST];
        hs_fig *d;
        fill(grid, value, n, cases[i].n_layer, cases[i].n_head);
        const hs_fig_grids f = {.title = "What changed", .subtitle = "a", .grid = grid, .n = n};
        assert_int_equal(hs_fig_open_grids(&d, &f, &(hs_fig_style){.lo = 1, .dpi = cases[i].dpi}),
                         HS_OK);
        const hs_page *p = hs_fig_page(d);
        check_page(p);
        for (int64_t k = 0; k < n; k++) {
            const hs_rect r = cells(p, k), first = cells(p, k - k % cases[i].columns);
            assert_int_equal(r.y, first.y);
            assert_true(k % cases[i].columns == 0 || r.x > cells(p, k - 1).x + r.w);
            assert_true(k < cases[i].columns || r.y > cells(p, k - cases[i].columns).y + r.h);
        }
        free(value);
        hs_fig_close(d);
    }
}

// Each has its own reach on both sides of 0, unless one was asked for, and says it by its name.
static void ranges(void **state) {
    (void)state;
    double value[3 * 4];
    hs_fig_grid grid[3];
    hs_fig *d;
    fill(grid, value, 3, 2, 2);
    const hs_fig_grids f = {.grid = grid, .n = 3};
    assert_int_equal(hs_fig_open_grids(&d, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(d);
    assert_string_equal(fact(p, "entropy.vmax"), "0.5");
    assert_string_equal(fact(p, "entropy.vmin"), "-0.5");
    assert_string_equal(fact(p, "span.vmax"), "1.5");
    assert_string_equal(fact(p, "span.centre"), "0");
    assert_null(fact(p, "vmax"));
    assert_non_null(find_label(p, "entropy"));
    assert_non_null(find_label(p, "sink &lt;0&gt;"));
    assert_string_equal(p->note[0], "entropy from −0.500 to 0.500.");
    assert_int_equal(p->n_note, 3);
    assert_int_equal(p->n_key, 1); // one grid has a hole
    for (int k = 0; k < 3; k++) {
        const hs_cells *c = &nth(p, HS_MARK_CELLS, 2 * k)->cells;
        assert_int_equal(c->ink[0], nth(p, HS_MARK_CELLS, 0)->cells.ink[0]);
        assert_int_equal(c->ink[3], nth(p, HS_MARK_CELLS, 0)->cells.ink[3]);
    }
    assert_int_equal(nth(p, HS_MARK_CELLS, 2)->cells.ink[1], HS_INK_HATCHED);
    hs_fig_close(d);
    assert_int_equal(hs_fig_open_grids(&d, &f, &(hs_fig_style){.lo = -0.6, .hi = 0.6}), HS_OK);
    p = hs_fig_page(d);
    assert_string_equal(fact(p, "span.vmax"), "0.6");
    assert_int_equal(p->n_note, 4); // that some lie beyond is said once
    hs_fig_close(d);
}

static void grids_refused(void **state) {
    (void)state;
    double value[7 * 4];
    hs_fig_grid grid[7];
    fill(grid, value, MOST, 2, 2);
    grid[6] = grid[0];
    hs_fig_grids f[] = {{.grid = grid}, {.grid = grid, .n = 7}, {.n = 1}, {.grid = grid, .n = 3}};
    grid[2].n_head = 0;
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        hs_fig *d = (hs_fig *)f;
        assert_int_equal(hs_fig_open_grids(&d, &f[i], NULL), HS_EARG);
        assert_null(d);
    }
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids),
        cmocka_unit_test(ranges),
        cmocka_unit_test(grids_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
