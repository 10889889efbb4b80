// What sets two runs side by side: grids with ranges of their own, bars before and after; and tokens
// that are underlined.
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

// ---- before and after ---------------------------------------------------------------------------

// The i-th rectangle of an ink on the body, legend not counted.
static const hs_rect *filled(const hs_page *p, uint32_t ink, int i) {
    for (int64_t k = 0; k < p->n_mark; k++)
        if (p->mark[k].kind == HS_MARK_FILL && p->mark[k].ink == ink && i-- == 0)
            return &p->mark[k].rect;
    return NULL;
}

static int count(const hs_page *p, enum hs_mark_kind kind, uint32_t ink) {
    int n = 0;
    for (int64_t k = 0; k < p->n_mark; k++) n += p->mark[k].kind == kind && p->mark[k].ink == ink;
    return n;
}

static const hs_fig_shift some = {.title = "Where it went",
                                  .x_title = "Token",
                                  .y_title = "mean weight received",
                                  .change_title = "after − before",
                                  .before_name = "before",
                                  .after_name = "after"};
enum { BAND = 0xe3edf7 };

static void bars(void **state) {
    (void)state;
    const double before[] = {0.4, 0.2, 0.3, 0, NAN}, after[] = {0.2, 0.2, 0.4, 0, 0.1};
    hs_fig_shift f = some;
    hs_fig *d;
    f.before = before;
    f.after = after;
    f.n = 5;
    assert_int_equal(hs_fig_open_shift(&d, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(d);
    check_page(p);
    assert_string_equal(fact(p, "vmin"), "0");
    assert_string_equal(fact(p, "vmax"), "0.4");
    const hs_rect *a = filled(p, HS_INK_SERIES, 0), *c = filled(p, HS_INK_SERIES, 2);
    assert_true(abs(c->h - 2 * a->h) <= 1); // 0.4 and 0.2, from one ground
    assert_int_equal(c->y + c->h, a->y + a->h);
    assert_true(c->x > a->x);
    // Position 1 did not change, 3 is nothing, 4 cannot be compared: one gains, one loses.
    assert_int_equal(count(p, HS_MARK_FILL, HS_INK_SERIES), 4 + 1); // with the legend's
    assert_int_equal(count(p, HS_MARK_FILL, HS_INK_SERIES + 1), 1 + 1);
    assert_int_equal(count(p, HS_MARK_FILL, HS_INK_SERIES + 2), 1 + 1);
    const hs_rect *less = filled(p, HS_INK_SERIES + 1, 0), *more = filled(p, HS_INK_SERIES + 2, 0);
    assert_true(abs(less->h - 2 * more->h) <= 1); // -0.2 and 0.1
    assert_true(abs(more->y + more->h - less->y) <= 1);
    assert_true(more->y > a->y + a->h);
    assert_int_equal(p->n_note, 0);
    hs_fig_close(d);
    // A range that was asked for cuts, and tells.
    assert_int_equal(hs_fig_open_shift(&d, &f, &(hs_fig_style){.lo = 0, .hi = 0.35}), HS_OK);
    p = hs_fig_page(d);
    assert_string_equal(fact(p, "vmax"), "0.35");
    assert_int_equal(p->n_note, 1);
    assert_string_equal(p->note[0], "Broken bars go on: position 0 from 0.400 to 0.200, "
                                    "2 from 0.300 to 0.400.");
    hs_fig_close(d);
}

// One bar ten times as long as the next is cut, three times is not; all are whole when the data's
// own range is asked for.
static void far_bars(void **state) {
    (void)state;
    const double before[] = {0.7, 0.06, 0.05, 0.04}, after[] = {0.6, 0.07, 0.05, 0.04};
    const double near[] = {0.2, 0.07, 0.05, 0.04};
    hs_fig_shift f = some;
    hs_fig *d;
    f.before = before;
    f.after = after;
    f.n = 4;
    f.x0 = 20;
    assert_int_equal(hs_fig_open_shift(&d, &f, NULL), HS_OK);
    assert_string_equal(fact(hs_fig_page(d), "vmax"), "0.07");
    assert_string_equal(hs_fig_page(d)->note[0],
                        "Broken bars go on: position 20 from 0.700 to 0.600.");
    assert_int_equal(count(hs_fig_page(d), HS_MARK_FILL, HS_INK_PAGE), 2); // in both areas
    hs_fig_close(d);
    assert_int_equal(hs_fig_open_shift(&d, &f, &(hs_fig_style){.fit = true}), HS_OK);
    assert_string_equal(fact(hs_fig_page(d), "vmax"), "0.7");
    assert_int_equal(hs_fig_page(d)->n_note, 0);
    hs_fig_close(d);
    f.before = f.after = near;
    assert_int_equal(hs_fig_open_shift(&d, &f, NULL), HS_OK);
    assert_string_equal(fact(hs_fig_page(d), "vmax"), "0.2");
    assert_int_equal(hs_fig_page(d)->n_note, 0);
    hs_fig_close(d);
}

// Bands cover their positions in both areas, also where they reach out of the figure; marks stand
// above theirs.
static void bands(void **state) {
    (void)state;
    double before[40], after[40];
    bool mark[40] = {false};
    const hs_fig_band band[] = {
        {"<first>", 0, 12}, {"second", 12, 14}, {"gone", 60, 70}, {"last", 44, 99}};
    hs_fig_shift f = some;
    hs_fig *d;
    for (int i = 0; i < 40; i++) {
        before[i] = 0.2 + 0.001 * i;
        after[i] = 0.3 - 0.001 * i;
    }
    mark[3] = mark[39] = true;
    f.before = before;
    f.after = after;
    f.mark = mark;
    f.mark_name = "sink";
    f.x0 = 10;
    f.n = 40;
    f.band = band;
    f.n_band = 4;
    const char **label = awkward_labels(50, 0);
    f.label = label;
    assert_int_equal(hs_fig_open_shift(&d, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(d);
    check_page(p);
    assert_int_equal(count(p, HS_MARK_FILL, BAND), 2 * 3);
    const hs_rect *first = filled(p, BAND, 0), *second = filled(p, BAND, 2),
                  *last = filled(p, BAND, 4), *low = filled(p, BAND, 1);
    assert_true(first->x + first->w < second->x); // neighbours stand apart
    assert_true(last->w > second->w);
    assert_int_equal(low->x, first->x);
    assert_true(low->y > first->y + first->h);
    // Bars 0 and 1 lie on the first, 34 to 39 on the last.
    for (int i = 0; i < 40; i++) {
        const hs_rect *bar = filled(p, HS_INK_SERIES, i);
        const hs_rect *on = i < 2 ? first : i < 4 ? second : i >= 34 ? last : NULL;
        for (int k = 0; k < 6; k += 2) {
            const hs_rect *b = filled(p, BAND, k);
            assert_int_equal(bar->x >= b->x && bar->x + bar->w <= b->x + b->w, b == on);
        }
    }
    const hs_dot dot = nth(p, HS_MARK_DOT, 0)->dot;
    const hs_rect *bar = filled(p, HS_INK_SERIES, 3);
    assert_true(fabs(dot.x * p->px - (bar->x + 0.5 * bar->w)) < 1.5);
    assert_true(dot.y * p->px < first->y);
    assert_int_equal(count(p, HS_MARK_DOT, HS_INK_TEXT), 2 + 1); // with the legend's
    assert_string_equal(p->note[0],
                        "Shaded: &lt;first&gt; 0 to 11, second 12 to 13, last 44 to 98.");
    assert_non_null(find_label(p, "last"));
    hs_fig_close(d);
    free(label);
}

// Tokens are written where they have room, else numbers alone; the page holds any number of them.
static void shift_layouts(void **state) {
    (void)state;
    static const int64_t n[] = {1, 2, 30, 90, 120, 1000};
    for (size_t i = 0; i < 2 * sizeof n / sizeof *n; i++) {
        const int64_t k = n[i / 2];
        double *v = calloc((size_t)k, sizeof *v);
        const char **label = awkward_labels(k, (int)i);
        const hs_fig_band band[] = {{"a long name of a band", 0, 1}, {"another", 1, 2}};
        hs_fig_shift f = some;
        hs_fig *d;
        for (int64_t t = 0; t < k; t++) v[t] = 1.0 / (double)(t + 1);
        if (k > 1 && i % 2) v[1] = NAN;
        f.before = v;
        f.after = v;
        f.n = k;
        f.label = label;
        f.band = band;
        f.n_band = 2;
        const hs_fig_style style = {
            .lo = 1, .dpi = i % 2 ? 60 : 150, .theme = i % 2 ? HS_THEME_SCREEN : HS_THEME_PAPER};
        assert_int_equal(hs_fig_open_shift(&d, &f, &style), HS_OK);
        check_page(hs_fig_page(d));
        if (k >= 30) assert_int_equal(find_label(hs_fig_page(d), "The") != NULL, k <= 90);
        assert_true(hs_fig_page(d)->width / hs_fig_page(d)->px < HS_MAX_SPAN + 2 * HS_MARGIN);
        hs_fig_close(d);
        free(label);
        free(v);
    }
}

static void shift_refused(void **state) {
    (void)state;
    const double v[2] = {0, 1}, endless[2] = {0, INFINITY};
    hs_fig_shift ok = some, f[7];
    ok.before = ok.after = v;
    ok.n = 2;
    for (int i = 0; i < 7; i++) f[i] = ok;
    f[0].n = 0;
    f[1].n = 1001;
    f[2].before = NULL;
    f[3].after = NULL;
    f[4].x0 = -1;
    f[5].n_band = 1;
    f[6].after = endless;
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        hs_fig *d = (hs_fig *)f;
        assert_int_equal(hs_fig_open_shift(&d, &f[i], NULL), HS_EARG);
        assert_null(d);
    }
    hs_fig *d;
    assert_int_equal(hs_fig_open_shift(&d, &ok, &(hs_fig_style){.hi = INFINITY}), HS_EARG);
}

// ---- underlined tokens --------------------------------------------------------------------------

static void underlines(void **state) {
    (void)state;
    static const char *const label[] = {"one", " two", " three", "\xe7", "\x81", "\xaf"};
    static const double value[] = {0, 0.25, 0.5, 0.1, 0.1, 0.1};
    static const bool found[] = {false, true, true, false, true, false};
    hs_fig_strip f = {.label = label,
                      .value = value,
                      .n = 6,
                      .mark = 2,
                      .found = found,
                      .found_name = "sink <b>"};
    hs_fig *d;
    f.n = 3;
    assert_int_equal(hs_fig_open_strip(&d, &f, NULL), HS_OK);
    check_page(hs_fig_page(d));
    hs_fig_close(d);
    f.n = 6; // the last three share a character
    assert_int_equal(hs_fig_open_strip(&d, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(d);
    assert_int_equal(count(p, HS_MARK_FILL, HS_INK_SERIES + 1), 3);
    const hs_box two = find_label(p, "two")->box, three = find_label(p, "three")->box;
    hs_box line = rect_box(p, *filled(p, HS_INK_SERIES + 1, 0));
    assert_true(line.x <= two.x && line.x + line.w >= two.x + two.w && line.x + line.w < three.x);
    assert_true(line.y >= two.y + two.h && line.y < two.y + two.h + 9);
    // A third of the character.
    const hs_box whole = find_label(p, "灯")->box;
    line = rect_box(p, *filled(p, HS_INK_SERIES + 1, 2));
    assert_true(line.w < 0.6 * whole.w);
    assert_non_null(find_label(p, "sink &lt;b&gt;"));
    hs_fig_close(d);
    f.found = NULL;
    assert_int_equal(hs_fig_open_strip(&d, &f, NULL), HS_OK);
    assert_int_equal(count(hs_fig_page(d), HS_MARK_FILL, HS_INK_SERIES + 1), 0);
    assert_null(find_label(hs_fig_page(d), "sink &lt;b&gt;"));
    hs_fig_close(d);
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids),         cmocka_unit_test(ranges),
        cmocka_unit_test(grids_refused), cmocka_unit_test(bars),
        cmocka_unit_test(far_bars),      cmocka_unit_test(bands),
        cmocka_unit_test(shift_layouts), cmocka_unit_test(shift_refused),
        cmocka_unit_test(underlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
