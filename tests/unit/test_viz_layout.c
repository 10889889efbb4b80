// Layouts of maps and grids: nothing is cut or overlaps, labels stand at their cells.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/viz_common.h"
#include "viz/furniture.h"

static const hs_fig_style PLAIN = {.lo = 1, .hi = 0};

// A map of zeroes unless f has rows.
static hs_fig *lay_map(hs_fig_map f, const hs_fig_style *style) {
    hs_fig *out;
    matrices zero = {.n_q = f.n_q, .n_k = f.n_k};
    if (!f.rows.row) f.rows = (hs_fig_rows){&zero, matrix_row};
    assert_int_equal(hs_fig_open_map(&out, &f, style), HS_OK);
    return out;
}

static hs_fig *lay_grid(const hs_fig_grid *f, const hs_fig_style *style) {
    hs_fig *out;
    assert_int_equal(hs_fig_open_grid(&out, f, style), HS_OK);
    return out;
}

static const hs_cells *cells_of(const hs_page *p) {
    return &nth(p, HS_MARK_CELLS, 0)->cells;
}

// How many labels show their position beside the y axis, at the height of its cell.
static int y_labels(const hs_page *p, const char *const *label, int64_t count) {
    const hs_cells *c = cells_of(p);
    double top = c->rect.y / p->px, pitch = (double)c->h * (double)c->n_row / p->px / (double)count;
    bool pooled = c->n_row < count;
    int found = 0;
    for (int64_t q = 0; q < count; q++) {
        hs_buf b = {0};
        hs_label_token(&b, label[q]);
        if (pooled) pitch = c->h / p->px / (double)((count + c->n_row - 1) / c->n_row);
        double middle = top + ((double)q + 0.5) * pitch;
        for (int64_t i = 0; i < p->n_mark; i++) {
            const hs_label *l = &p->mark[i].label;
            if (p->mark[i].kind != HS_MARK_LABEL || p->mark[i].ink != HS_INK_TEXT) continue;
            if (l->turned || l->x > c->rect.x / p->px) continue;
            bool here = fabs(l->y - 0.36 * HS_LABEL_PT - middle) < 1e-6;
            found += here && strcmp(l->text.markup, hs_buf_text(&b)) == 0;
        }
        hs_buf_free(&b);
    }
    return found;
}

// Every number below the cells stands above a label of the same position.
static void check_numbers(const hs_page *p) {
    const hs_cells *c = cells_of(p);
    double bottom = (c->rect.y + c->rect.h) / p->px;
    for (int64_t i = 0; i < p->n_mark; i++) {
        const hs_label *m = &p->mark[i].label;
        if (p->mark[i].kind != HS_MARK_LABEL) continue;
        if (m->turned || m->box.y < bottom || m->text.pt != HS_NUMBER_PT) continue;
        int labels = 0;
        for (int64_t k = 0; k < p->n_mark; k++) {
            const hs_label *l = &p->mark[k].label;
            if (p->mark[k].kind != HS_MARK_LABEL || p->mark[k].ink != HS_INK_TEXT) continue;
            double middle = l->x - 0.36 * HS_LABEL_PT;
            bool level = fabs(middle - (m->box.x + 0.5 * m->box.w)) < 1e-6;
            labels += level && l->turned;
        }
        assert_int_equal(labels, 1);
    }
}

static void map_layouts(void **state) {
    (void)state;
    static const struct {
        int64_t n;
        double dpi;
        int least_labels;
    } each[] = {
        {1, 150, 1},    {2, 150, 2},   {12, 150, 12},   {12, 37, 12},    {40, 150, 40},
        {40, 300, 40},  {64, 96, 64},  {64, 150, 64},   {101, 150, 101}, {120, 150, 55},
        {300, 150, 55}, {300, 72, 55}, {2000, 150, 35}, {2000, 20, 35},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        int64_t n = each[i].n;
        const char **label = awkward_labels(n, 0);
        hs_fig_map f = {.title = "A title",
                        .subtitle = "model, run 1, prompt 0",
                        .n_q = n,
                        .n_k = n,
                        .label = label,
                        .causal = true,
                        .bar_label = "attention weight"};
        hs_fig_style style = PLAIN;
        style.dpi = each[i].dpi;
        hs_fig *d = lay_map(f, &style);
        const hs_page *p = hs_fig_page(d);
        check_page(p);
        check_numbers(p);
        hs_box heading = find_label(p, f.subtitle)->box;
        assert_true(heading.y + heading.h + 6 < cells_of(p)->rect.y / p->px);
        assert_in_range(y_labels(p, label, n), each[i].least_labels, n);
        assert_true(p->width <= 20 * each[i].dpi && p->height <= 20 * each[i].dpi);
        for (int64_t k = 0; k < p->n_mark; k++) { // labels, bar numbers: never endless
            const hs_label *l = &p->mark[k].label;
            if (p->mark[k].kind == HS_MARK_LABEL && p->mark[k].ink == HS_INK_TEXT)
                assert_true(l->text.bold || l->box.w + l->box.h < 122);
        }
        hs_fig_close(d);
        for (int64_t k = 0; k < n; k++) label[k] = "b|g"; // the full height of a line, everywhere
        d = lay_map(f, &style);
        check_page(hs_fig_page(d));
        hs_fig_close(d);
        f.label = NULL;
        d = lay_map(f, &style);
        check_page(hs_fig_page(d));
        hs_fig_close(d);
        free(label);
    }
}

// Maps that are no squares and do not start at 0, texts of every length.
static void odd_layouts(void **state) {
    (void)state;
    static const struct {
        int64_t n_q, n_k, q0, k0;
    } each[] = {
        {1, 600, 599, 0},
        {600, 1, 0, 0},
        {4, 4000, 4000, 4},
        {300, 40, 1234567, 1234800},
        {3, 3, 1999999999, 1999999999},
        {12, 100, 88, 0},
        {301, 301, 1234500, 1234500},
    };
    char *prompt = malloc(4001);
    for (int i = 0; i < 4000; i++) prompt[i] = i % 7 ? 'm' : ' ';
    prompt[4000] = 0;
    const char *const titles[] = {NULL, "", "t", prompt, "عنوان\n\xff <b>"};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        for (size_t t = 0; t < sizeof titles / sizeof *titles; t++) {
            bool far = each[i].q0 > 10000;
            int64_t positions = each[i].q0 + each[i].n_q + each[i].n_k;
            const char **label = far ? NULL : awkward_labels(positions, 3);
            hs_fig_map f = {.title = titles[t],
                            .subtitle = titles[t],
                            .bar_label = titles[t],
                            .n_q = each[i].n_q,
                            .n_k = each[i].n_k,
                            .q0 = each[i].q0,
                            .k0 = each[i].k0,
                            .label = label};
            hs_fig *d = lay_map(f, NULL);
            check_page(hs_fig_page(d));
            hs_fig_close(d);
            free(label);
        }
    free(prompt);
}

static int printed(const hs_page *p) {
    int n = 0;
    for (int64_t i = 0; i < p->n_mark; i++)
        n += p->mark[i].kind == HS_MARK_LABEL && printed_on(p, cells_of(p), p->mark[i].label.box);
    return n;
}

static int hatches(const hs_page *p) {
    int n = 0;
    for (int64_t i = 0; i < p->n_mark; i++) n += p->mark[i].kind == HS_MARK_HATCH;
    return n;
}

static void grid_layouts(void **state) {
    (void)state;
    static const struct {
        int64_t layers, heads;
        double scale;
        bool values;
    } each[] = {
        {2, 2, 1, true},   {1, 1, 1, true},     {30, 9, 1, true},     {12, 12, 1, true},
        {32, 32, 1, true}, {80, 64, 1, false},  {12, 12, 1e-9, true}, {12, 12, 1e7, true},
        {12, 12, 0, true}, {1024, 3, 1, false}, {24, 16, 500, true},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        for (int diverging = 0; diverging < 2; diverging++) {
            int64_t n = each[i].layers * each[i].heads;
            double *value = calloc((size_t)n, sizeof *value);
            for (int64_t k = 0; k < n; k++)
                value[k] = each[i].scale * ((double)(k * 7919 % 1000) / 1000 - 0.4 * diverging);
            if (n > 4) value[3] = NAN;
            hs_fig_grid f = {.title = "A metric of every head",
                             .value = value,
                             .n_layer = each[i].layers,
                             .n_head = each[i].heads,
                             .diverging = diverging,
                             .bar_label = "delta_nll"};
            hs_fig *d = lay_grid(&f, &PLAIN);
            check_page(hs_fig_page(d));
            assert_int_equal(printed(hs_fig_page(d)), each[i].values ? n - (n > 4) : 0);
            assert_int_equal(hatches(hs_fig_page(d)), n > 4); // in the legend
            hs_fig_close(d);
            free(value);
        }
}

// Tokens in the cells, cut to fit, with other rows and columns; none where there is no room.
static void grid_tokens(void **state) {
    (void)state;
    static const struct {
        int64_t rows, cols;
        bool shown;
    } each[] = {{4, 1, true}, {30, 6, true}, {12, 40, true}, {31, 49, true}, {31, 60, false}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        const int64_t n = each[i].rows * each[i].cols;
        double *value = calloc((size_t)n, sizeof *value);
        const char **cell = awkward_labels(n, 0), **row = awkward_labels(each[i].rows, 1);
        const char **col = awkward_labels(each[i].cols + 3, 2);
        cell[0] = "supercalifragilistic";
        cell[1] = "of";
        for (int64_t k = 0; k < n; k++) value[k] = (double)k / (double)n;
        hs_fig_grid f = {.value = value,
                         .n_layer = each[i].rows,
                         .n_head = each[i].cols,
                         .bar_label = "probability",
                         .cell = cell,
                         .row_title = "After layer",
                         .row = row,
                         .col_title = "Position",
                         .col = col,
                         .col0 = 3};
        hs_fig *d = lay_grid(&f, &PLAIN);
        const hs_page *p = hs_fig_page(d);
        check_page(p);
        assert_non_null(find_label(p, "After layer"));
        assert_non_null(find_label(p, "Position"));
        assert_null(find_label(p, "supercalifragilistic"));
        assert_int_equal(find_label(p, "of") != NULL, each[i].shown);
        assert_int_equal(find_label(p, "The cells have no room for their tokens.") != NULL,
                         !each[i].shown);
        bool cut = false;
        for (int64_t k = 0; k < p->n_mark; k++)
            cut |= p->mark[k].kind == HS_MARK_LABEL &&
                   !strncmp(p->mark[k].label.text.markup, "su", 2) &&
                   strstr(p->mark[k].label.text.markup, "\u2026") &&
                   p->mark[k].label.box.w <= cells_of(p)->w / p->px;
        assert_int_equal(cut, each[i].shown);
        hs_fig_close(d);
        free(value);
        free(cell);
        free(row);
        free(col);
    }
}

static uint32_t ink_at(const hs_page *p, int64_t row, int64_t col) {
    const hs_cells *c = cells_of(p);
    return c->ink[row * c->n_col + col];
}

// Rows that start later than keys: position, not index, decides what is masked.
static void mask_follows_positions(void **state) {
    (void)state;
    hs_fig *d = lay_map((hs_fig_map){.n_q = 2, .n_k = 4, .q0 = 7, .k0 = 5, .causal = true}, NULL);
    for (int i = 0; i < 8; i++) {
        bool blank = 5 + i % 4 > 7 + i / 4;
        assert_int_equal(ink_at(hs_fig_page(d), i / 4, i % 4) == HS_INK_NONE, blank);
    }
    hs_fig_close(d);
}

static hs_fig *lay_values(hs_fig_map f, const float *value, const hs_fig_style *style) {
    matrices m = {.at = value, .n_q = f.n_q, .n_k = f.n_k};
    f.rows = (hs_fig_rows){&m, matrix_row};
    hs_fig *d = lay_map(f, style);
    assert_int_equal(m.asked, f.n_q);
    return d;
}

static void pooled(void **state) {
    (void)state;
    enum { N = 2500 }; // two tokens a cell at 150 dpi
    float *value = calloc((size_t)N * N, sizeof *value);
    value[1001 * N + 700] = 1; // odd row: pooled with row 1000
    value[2001 * N + 2000] = 0.6f;
    value[2000 * N + 2001] = 0.75f; // above the diagonal: never seen
    value[4 * N + 2] = NAN;
    value[4 * N + 3] = 0.5f;
    hs_fig_map f = {.n_q = N, .n_k = N, .causal = true};
    const hs_cmap *cmap = hs_cmap_find("viridis");
    hs_fig *d = lay_values(f, value, &PLAIN);
    const hs_page *p = hs_fig_page(d);
    assert_int_equal(cells_of(p)->n_col, N / 2);
    assert_non_null(find_label(p, "Pooled by max, 2 x 2 tokens a cell."));
    assert_int_equal(ink_at(p, 500, 350), hs_cmap_at(cmap, 1));
    assert_int_equal(ink_at(p, 500, 349), hs_cmap_at(cmap, 0));
    assert_int_equal(ink_at(p, 500, 500), hs_cmap_at(cmap, 0)); // its lower left half is visible
    assert_int_equal(ink_at(p, 500, 501), HS_INK_NONE);
    assert_int_equal(ink_at(p, 1000, 1000), hs_cmap_at(cmap, 0.6f));
    hs_fig_close(d);

    f.pool = HS_POOL_MEAN;
    d = lay_values(f, value, &PLAIN);
    p = hs_fig_page(d);
    assert_non_null(find_label(p, "Pooled by mean, 2 x 2 tokens a cell."));
    assert_int_equal(ink_at(p, 500, 350), hs_cmap_at(cmap, 0.25));
    assert_int_equal(ink_at(p, 1000, 1000), hs_cmap_at(cmap, 0.6f / 3)); // of what is visible
    assert_int_equal(ink_at(p, 2, 1), hs_cmap_at(cmap, 0.5f / 3));       // of what is there
    hs_fig_close(d);

    f.pool = HS_POOL_MAX;
    f.causal = false; // the last cell of a row of odd length does not see the next row
    f.n_k = N - 3;
    value[f.n_k] = 1; // the start of row 1
    d = lay_values(f, value, &PLAIN);
    p = hs_fig_page(d);
    int64_t n = cells_of(p)->n_col;
    assert_int_equal(n, N / 2 - 1);
    assert_int_equal(ink_at(p, 0, 0), hs_cmap_at(cmap, 1));
    assert_int_equal(ink_at(p, 0, n - 1), hs_cmap_at(cmap, 0));
    hs_fig_close(d);

    f.n_q = N - 1; // the last block has one row
    f.n_k = N;
    value[(size_t)(N - 2) * N + 5] = 0.5f;
    d = lay_values(f, value, &PLAIN);
    p = hs_fig_page(d);
    assert_int_equal(cells_of(p)->n_row, N / 2);
    assert_int_equal(ink_at(p, N / 2 - 1, 2), hs_cmap_at(cmap, 0.5));
    assert_int_equal(ink_at(p, N / 2 - 1, 3), hs_cmap_at(cmap, 0));
    hs_fig_close(d);
    f.n_k = N - 3;

    f.n_q = 4; // a strip: its few rows are not pooled
    d = lay_values(f, value, &PLAIN);
    assert_non_null(find_label(hs_fig_page(d), "Pooled by max, 1 x 2 tokens a cell."));
    assert_int_equal(cells_of(hs_fig_page(d))->n_row, 4);
    hs_fig_close(d);
    f.n_q = f.n_k = N;

    hs_fig_style fine = {.lo = 1, .dpi = 200}; // here every cell has its pixel
    d = lay_values(f, value, &fine);
    assert_int_equal(cells_of(hs_fig_page(d))->n_col, N);
    assert_int_equal(hs_fig_page(d)->n_note, 0);
    hs_fig_close(d);
    free(value);
}

static const char *fact(const hs_page *p, const char *key) {
    for (int i = 0; i < p->n_fact; i += 2)
        if (strcmp(p->fact[i], key) == 0) return p->fact[i + 1];
    return NULL;
}

static void grid_ranges(void **state) {
    (void)state;
    static const struct {
        double v[3];
        const char *lo, *hi;
    } want[] = {
        {{0.5, 2, 1}, "0.5", "2"}, // the data's own range
        {{0.01, 2, 1}, "0", "2"},  // close to 0: from 0
        {{-3, -1, -2}, "-3", "-1"},
        {{4, 4, 4}, "2", "6"}, // one value: a bar around it
        {{0, 0, 0}, "-1", "1"},
        {{NAN, NAN, NAN}, "-1", "1"},
        {{NAN, 1, INFINITY}, "0.5", "1.5"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        hs_fig_grid f = {.value = want[i].v, .n_layer = 1, .n_head = 3};
        hs_fig *d = lay_grid(&f, &PLAIN);
        assert_string_equal(fact(hs_fig_page(d), "vmin"), want[i].lo);
        assert_string_equal(fact(hs_fig_page(d), "vmax"), want[i].hi);
        assert_null(fact(hs_fig_page(d), "centre"));
        hs_fig_close(d);
    }
}

// A note says when values lie beyond the bar, on either side.
static void beyond_the_bar(void **state) {
    (void)state;
    static const struct {
        float v[2];
        int notes;
    } each[] = {{{0, 1}, 0}, {{-0.5f, 0.5f}, 1}, {{0.5f, 1.5f}, 1}, {{NAN, 0.5f}, 0}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        hs_fig *d = lay_values((hs_fig_map){.n_q = 1, .n_k = 2}, each[i].v, NULL);
        assert_int_equal(hs_fig_page(d)->n_note, each[i].notes);
        hs_fig_close(d);
    }
}

// Rulers of any size and range: numbers inside the page, none on another, in their order.
static void rulers(void **state) {
    (void)state;
    static const double range[][2] = {{0, 1},    {-1, 1},       {-123456, 123456},
                                      {0, 3e-9}, {0.1, 0.1001}, {1e8, 1e8 + 1}};
    for (size_t r = 0; r < sizeof range / sizeof *range; r++)
        for (int size = 3; size < 900; size = size * 3 / 2 + 1)
            for (int side = HS_SIDE_LEFT; side <= HS_SIDE_BELOW; side++) {
                hs_page *p;
                assert_int_equal(hs_page_open(&p, NULL), HS_OK);
                hs_rect area = {0, 0, size, size};
                const hs_ruler ruler = {"a title", range[r][0], range[r][1], true};
                hs_page_fill(p, area, 0x123456);
                hs_page_ruler(p, &ruler, (enum hs_side)side, area);
                assert_int_equal(hs_page_finish(p, "t", NULL), HS_OK);
                check_page(p);
                hs_page_close(p);
            }
}

// Many entries wrap inside the figure's width; each has its sample beside it.
static void legends(void **state) {
    (void)state;
    static const enum hs_mark_kind kind[] = {HS_MARK_FILL, HS_MARK_HATCH, HS_MARK_LINE,
                                             HS_MARK_DOT};
    hs_page *p;
    assert_int_equal(hs_page_open(&p, NULL), HS_OK);
    hs_page_fill(p, (hs_rect){0, 0, 400, 200}, 0x123456);
    for (int i = 0; i < AWKWARD; i++)
        hs_page_key(p, kind[i % 4], (uint32_t)(HS_INK_SERIES + i % HS_N_SERIES), awkward[i]);
    assert_int_equal(hs_page_finish(p, "t", NULL), HS_OK);
    check_page(p);
    assert_true(p->width <= 400 + 2 * HS_MARGIN * p->px + 2);
    for (int i = 0; i < AWKWARD; i++) assert_non_null(find_label(p, p->key[i].text));
    hs_page_close(p);
}

// A bar that is longer than its map, for its label's sake.
static void long_bar_label(void **state) {
    (void)state;
    const char *label = "mean attention weight of the row";
    hs_fig *d = lay_map((hs_fig_map){.n_q = 1, .n_k = 2, .bar_label = label}, NULL);
    const hs_page *p = hs_fig_page(d);
    check_page(p);
    hs_box bar = rect_box(p, nth(p, HS_MARK_CELLS, 1)->cells.rect);
    hs_box shown = find_label(p, label)->box;
    assert_true(shown.h > 100 && shown.y > bar.y - 1 && shown.y + shown.h < bar.y + bar.h + 1);
    hs_fig_close(d);
}

// The data's own range, on request; both sides of 0 reach as far with a diverging map.
static void fitted_ranges(void **state) {
    (void)state;
    float v[] = {0.25f, NAN, 0.5f, 0.375f};
    hs_fig_map f = {.n_q = 2, .n_k = 2};
    hs_fig_style style = {.fit = true, .lo = 0, .hi = 9};
    hs_fig *d = lay_values(f, v, &style);
    assert_string_equal(fact(hs_fig_page(d), "vmin"), "0.25");
    assert_string_equal(fact(hs_fig_page(d), "vmax"), "0.5");
    assert_int_equal(ink_at(hs_fig_page(d), 0, 0), hs_cmap_at(hs_cmap_find("viridis"), 0));
    hs_fig_close(d);
    v[0] = -0.125f;
    style.cmap = "rdbu";
    d = lay_values(f, v, &style);
    assert_string_equal(fact(hs_fig_page(d), "vmin"), "-0.5");
    assert_string_equal(fact(hs_fig_page(d), "centre"), "0");
    assert_int_equal(ink_at(hs_fig_page(d), 0, 0), hs_cmap_at(hs_cmap_find("rdbu"), 0.375));
    hs_fig_close(d);
}

// fontconfig keeps pointers as offsets, which the leak check cannot follow: it reports what the
// library still holds at exit.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_layouts),
        cmocka_unit_test(odd_layouts),
        cmocka_unit_test(grid_layouts),
        cmocka_unit_test(grid_tokens),
        cmocka_unit_test(mask_follows_positions),
        cmocka_unit_test(pooled),
        cmocka_unit_test(grid_ranges),
        cmocka_unit_test(fitted_ranges),
        cmocka_unit_test(beyond_the_bar),
        cmocka_unit_test(rulers),
        cmocka_unit_test(legends),
        cmocka_unit_test(long_bar_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
