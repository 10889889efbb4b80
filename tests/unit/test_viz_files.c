// Pictures: exact colours at known cells, ink only where the page says, equal bytes, metadata,
// refusals.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <png.h>

#include "tests/unit/viz_common.h"
#include "viz/paint.h"
#include "model/core/mem.h"

static const hs_fig_style PLAIN = {.lo = 1, .hi = 0};
enum { PAPER = 0xffffff };

// Text, line and dot, one after the other: each begins anew.
static void marks_do_not_join(void **state) {
    (void)state;
    hs_canvas *c;
    const uint32_t *pixel;
    int stride;
    static const double flat[] = {30, 10, 50, 10};
    assert_int_equal(hs_canvas_open(&c, 72), HS_OK);
    assert_int_equal(hs_canvas_begin(c, HS_OUTPUT_PIXELS, 60, 60, PAPER), HS_OK);
    hs_canvas_text(c, &(hs_text){.markup = "i", .pt = 8}, 2, 50, false, 0);
    hs_canvas_line(c, flat, 2, 2, 0xff0000);
    hs_canvas_text(c, &(hs_text){.markup = "i", .pt = 8}, 2, 50, false, 0);
    hs_canvas_dot(c, 50, 50, 4, 0x0000ff);
    assert_int_equal(hs_canvas_pixels(c, &pixel, &stride), HS_OK);
    for (int y = 0; y < 60; y++)
        for (int x = 0; x < 60; x++) {
            uint32_t rgb = pixel[y * stride + x] & 0xffffff;
            bool text = x < 10 && y > 40, line = x >= 30 && x < 50 && (y == 9 || y == 10);
            double away = hypot(x + 0.5 - 50, y + 0.5 - 50);
            if (line) assert_int_equal(rgb, 0xff0000);
            if (away < 3) assert_int_equal(rgb, 0x0000ff);
            if (!text && !line && away > 5) assert_int_equal(rgb, PAPER);
        }
    hs_canvas_close(c);
}

// Rectangles are cut at the edges of the picture.
static void rectangles_are_cut(void **state) {
    (void)state;
    hs_canvas *c;
    const uint32_t *pixel;
    int stride;
    assert_int_equal(hs_canvas_open(&c, 72), HS_OK);
    assert_int_equal(hs_canvas_begin(c, HS_OUTPUT_PIXELS, 9, 5, PAPER), HS_OK);
    hs_canvas_fill(c, 7, -3, 100, 5, 0x112233);
    hs_canvas_fill(c, -4, 4, 6, 100, 0x445566);
    assert_int_equal(hs_canvas_pixels(c, &pixel, &stride), HS_OK);
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 9; x++)
            assert_int_equal(pixel[y * stride + x], x >= 7 && y < 2   ? 0x112233
                                                    : x < 2 && y == 4 ? 0x445566
                                                                      : PAPER);
    hs_canvas_close(c);
}

static void allow(bool *allowed, const hs_page *p, hs_box b) {
    for (int y = (int)(b.y * p->px) - 2; y <= (b.y + b.h) * p->px + 2; y++)
        for (int x = (int)(b.x * p->px) - 2; x <= (b.x + b.w) * p->px + 2; x++)
            allowed[y * p->width + x] = true;
}

// Ink lies only where the page says, and every text has some.
static void ink_stays_in_its_boxes(void **state) {
    (void)state;
    const char **label = awkward_labels(AWKWARD, 0);
    int64_t n_k = AWKWARD;
    hs_fig_map f = {.title = "Títle",
                    .subtitle = "السلام عليكم",
                    .rows = {&n_k, zero_row},
                    .n_q = AWKWARD,
                    .n_k = AWKWARD,
                    .label = label,
                    .bar_label = "weight"};
    hs_fig *d;
    assert_int_equal(hs_fig_open_map(&d, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(d);
    int stride, inked = 0;
    const uint32_t *pixel;
    assert_int_equal(hs_paint(p, HS_OUTPUT_PIXELS), HS_OK);
    assert_int_equal(hs_canvas_pixels(p->canvas, &pixel, &stride), HS_OK);
    bool *allowed = calloc((size_t)p->width * (size_t)p->height, 1);
    for (int64_t i = 0; i < p->n_mark; i++) {
        const hs_mark *s = &p->mark[i];
        if (s->kind != HS_MARK_LABEL) {
            allow(allowed, p, rect_box(p, s->kind == HS_MARK_CELLS ? s->cells.rect : s->rect));
            continue;
        }
        hs_box b = s->label.box;
        bool any = false;
        for (int y = (int)(b.y * p->px); y < (b.y + b.h) * p->px; y++)
            for (int x = (int)(b.x * p->px); x < (b.x + b.w) * p->px; x++)
                any |= pixel[y * stride + x] != PAPER;
        assert_true(any || b.w == 0);
        allow(allowed, p, b);
    }
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            bool ink = pixel[y * stride + x] != PAPER;
            inked += ink;
            assert_true(!ink || allowed[y * p->width + x]);
        }
    assert_true(inked > 1000);
    free(allowed);
    free(label);
    hs_fig_close(d);
}

typedef struct image {
    uint8_t *rgb;
    int w, h;
} image;

static image read_png(const char *path) {
    png_image png = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&png, path));
    png.format = PNG_FORMAT_RGB;
    image im = {.rgb = malloc(PNG_IMAGE_SIZE(png)), .w = (int)png.width, .h = (int)png.height};
    assert_true(png_image_finish_read(&png, NULL, im.rgb, 0, NULL));
    return im;
}

static uint32_t at(const image *im, int x, int y) {
    const uint8_t *c = im->rgb + 3 * ((size_t)y * (size_t)im->w + (size_t)x);
    return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
}

static const hs_cells *cells_of(const hs_page *p) {
    return &nth(p, HS_MARK_CELLS, 0)->cells;
}

// The colour of a whole cell; fails when its pixels differ (but for `skip` at the edges).
static uint32_t cell_colour(const image *im, const hs_page *p, int64_t row, int64_t col, int skip) {
    const hs_cells *c = cells_of(p);
    int x0 = c->rect.x + (int)col * c->w, y0 = c->rect.y + (int)row * c->h;
    uint32_t colour = at(im, x0 + c->w / 2, y0 + c->h / 2);
    for (int y = y0 + skip; y < y0 + c->h - skip; y++)
        for (int x = x0 + skip; x < x0 + c->w - skip; x++) assert_int_equal(at(im, x, y), colour);
    return colour;
}

// The height at which a number stands beside the bar.
static double bar_number(const hs_page *p, const char *text) {
    const hs_label *l = find_label(p, text);
    assert_non_null(l);
    assert_true(l->x > nth(p, HS_MARK_CELLS, 1)->cells.rect.x / p->px);
    return l->box.y + 0.5 * l->box.h;
}

static void save_map(const hs_fig_map *f, const hs_fig_style *style, const char *path,
                     hs_fig **out) {
    assert_int_equal(hs_fig_open_map(out, f, style), HS_OK);
    assert_int_equal(hs_fig_save(*out, NULL, path), HS_OK);
}

static void map_colours(void **state) {
    (void)state;
    enum { N = 5 };
    float value[N * N];
    for (int i = 0; i < N * N; i++) value[i] = (float)(i % 11) / 10;
    value[3 * N + 1] = NAN;
    value[4 * N] = 7;
    static const char *const maps[] = {NULL, "magma", "cividis", "blues", "grey", "rdbu", "rdbu_r"};
    for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
        matrices rows = {.at = value, .n_q = N, .n_k = N};
        hs_fig_map f = {
            .title = "t", .rows = {&rows, matrix_row}, .n_q = N, .n_k = N, .causal = true};
        hs_fig_style style = {.cmap = maps[m], .lo = 1, .dpi = m == 1 ? 96 : 0};
        hs_fig *d;
        save_map(&f, &style, path_of("m.png"), &d);
        const hs_page *p = hs_fig_page(d);
        image im = read_png(path_of("m.png"));
        assert_int_equal(im.w, p->width);
        const hs_cmap *cmap = hs_cmap_find(maps[m] ? maps[m] : "viridis");
        for (int q = 0; q < N; q++)
            for (int k = 0; k < N; k++) {
                bool blank = k > q || (q == 3 && k == 1);
                uint32_t want = blank ? PAPER : hs_cmap_at(cmap, (double)value[q * N + k]);
                assert_int_equal(cell_colour(&im, p, q, k, blank ? 2 : 0), want);
            }
        // A line where shown cells end at a blank one, on each of its sides.
        const hs_cells *c = cells_of(p);
        int x = c->rect.x + c->w, y = c->rect.y + 3 * c->h, half = c->w / 2;
        assert_int_not_equal(at(&im, x, y + half), PAPER);
        assert_int_not_equal(at(&im, x + c->w - 1, y + half), PAPER);
        assert_int_not_equal(at(&im, x + half, y), PAPER);
        assert_int_not_equal(at(&im, x + half, y + c->h - 1), PAPER);
        // The bar: its ends are the ends of the map.
        hs_rect bar = nth(p, HS_MARK_CELLS, 1)->cells.rect;
        assert_int_equal(at(&im, bar.x + bar.w / 2, bar.y), hs_cmap_at(cmap, 1));
        assert_int_equal(at(&im, bar.x + bar.w / 2, bar.y + bar.h - 1), hs_cmap_at(cmap, 0));
        assert_int_equal(p->n_note, 1); // 7 lies beyond the bar
        assert_true(fabs(bar_number(p, "1.0") - bar.y / p->px) < 1);
        assert_true(fabs(bar_number(p, "0.0") - (bar.y + bar.h) / p->px) < 1);
        hs_fig_close(d);
        free(im.rgb);
    }
}

static void grid_colours(void **state) {
    (void)state;
    double value[] = {-0.5, 0, 0.25, NAN, INFINITY, 0.125};
    hs_fig_grid f = {.value = value, .n_layer = 2, .n_head = 3, .diverging = true};
    hs_fig_style style = {.lo = 1, .theme = HS_THEME_SCREEN};
    hs_fig *d;
    assert_int_equal(hs_fig_open_grid(&d, &f, &style), HS_OK);
    assert_int_equal(hs_fig_save(d, NULL, path_of("g.png")), HS_OK);
    image im = read_png(path_of("g.png"));
    const hs_page *p = hs_fig_page(d);
    const hs_cells *c = cells_of(p);
    uint32_t dark = at(&im, 0, 0);
    assert_true((dark & 0xff) < 0x40);
    const hs_cmap *cmap = hs_cmap_find("rdbu");
    static const double t[] = {0, 0.5, 0.75, 0, 1, 0.625};
    for (int i = 0; i < 6; i++) {
        int x0 = c->rect.x + i % 3 * c->w, y0 = c->rect.y + i / 3 * c->h;
        if (i != 3) {
            assert_int_equal(at(&im, x0 + 1, y0 + 1), hs_cmap_at(cmap, t[i]));
            continue;
        }
        int lines = 0, empty = 0;
        for (int y = y0; y < y0 + c->h; y++)
            for (int x = x0; x < x0 + c->w; x++) at(&im, x, y) == dark ? empty++ : lines++;
        assert_true(lines > 50 && empty > lines);
    }
    static const struct {
        const char *text;
        uint32_t ink;
    } print[] = {{"−0.50", PAPER}, {"0.00", 0}, {"0.12", 0}, {"∞", PAPER}};
    int found = 0;
    for (int64_t i = 0; i < p->n_mark; i++)
        for (size_t k = 0; k < sizeof print / sizeof *print; k++)
            found += p->mark[i].kind == HS_MARK_LABEL && p->mark[i].ink == print[k].ink &&
                     strcmp(p->mark[i].label.text.markup, print[k].text) == 0;
    assert_int_equal(found, 4);
    hs_fig_close(d);
    free(im.rgb);
}

// ---- files --------------------------------------------------------------------------------------

static bool file_has(const hs_map *m, const char *bytes, size_t n) {
    return memmem(m->data, m->size, bytes, n) != NULL;
}
#define HAS(map, text) file_has(map, text, sizeof text - 1)

static int draw_map(const hs_fig_map *f, const hs_fig_style *style, const char *const *meta,
                    const char *path) {
    hs_fig *d;
    int rc = hs_fig_open_map(&d, f, style);
    if (!rc) rc = hs_fig_save(d, meta, path);
    hs_fig_close(d);
    return rc;
}

static int draw_grid(const hs_fig_grid *f, const hs_fig_style *style, const char *const *meta,
                     const char *path) {
    hs_fig *d;
    int rc = hs_fig_open_grid(&d, f, style);
    if (!rc) rc = hs_fig_save(d, meta, path);
    hs_fig_close(d);
    return rc;
}

static void files_repeat_and_tell(void **state) {
    (void)state;
    double value[] = {-0.5, 0, 0.25, 0.125};
    hs_fig_grid f = {.title = "Títle",
                     .subtitle = "sub",
                     .value = value,
                     .n_layer = 2,
                     .n_head = 2,
                     .diverging = true,
                     .bar_label = "b"};
    const char *meta[] = {"Model", "SmolLM2", "Prompt", "日本\xff", NULL};
    hs_map map[2];
    for (int i = 0; i < 2; i++) {
        const char *path = path_of(i ? "b.png" : "a.PNG");
        assert_int_equal(draw_grid(&f, &PLAIN, meta, path), HS_OK);
        assert_int_equal(hs_map_open(&map[i], path), HS_OK);
    }
    assert_int_equal(entries(false), 2);
    assert_int_equal(map[0].size, map[1].size);
    assert_memory_equal(map[0].data, map[1].data, map[0].size);
    assert_true(HAS(&map[0], "iTXtTitle\0\0\0\0\0Títle"));
    assert_true(HAS(&map[0], "tEXtDescription\0sub"));
    assert_true(HAS(&map[0], "tEXtSoftware\0headscope"));
    assert_true(HAS(&map[0], "tEXtModel\0SmolLM2"));
    assert_true(HAS(&map[0], "iTXtPrompt\0\0\0\0\0日本<0xFF>"));
    assert_true(HAS(&map[0], "tEXtcmap\0rdbu"));
    assert_true(HAS(&map[0], "tEXtvmin\0-0.5"));
    assert_true(HAS(&map[0], "tEXtvmax\0000.5"));
    assert_true(HAS(&map[0], "tEXtcentre\0000"));
    assert_true(HAS(&map[0], "pHYs\0\0\x17\x12\0\0\x17\x12\1")); // 5906 pixels a metre
    assert_false(HAS(&map[0], "tIME"));
    hs_map_close(&map[0]);
    hs_map_close(&map[1]);

    f.diverging = false; // then there is no centre
    assert_int_equal(draw_grid(&f, &PLAIN, NULL, path_of("a.PNG")), HS_OK);
    assert_int_equal(hs_map_open(&map[0], path_of("a.PNG")), HS_OK);
    assert_true(HAS(&map[0], "tEXtcmap\0viridis"));
    assert_false(HAS(&map[0], "centre"));
    hs_map_close(&map[0]);
}

static void refusals(void **state) {
    (void)state;
    int64_t n_k = 2;
    double cell[4] = {0};
    const hs_fig_map map = {.rows = {&n_k, zero_row}, .n_q = 2, .n_k = 2};
    const hs_fig_grid grid = {.value = cell, .n_layer = 2, .n_head = 2};
    const char *ok = path_of("r.png");

    hs_fig_map m[] = {map, map, map, map, map, map};
    m[0].n_q = 0;
    m[1].n_k = -1;
    m[2].rows.row = NULL;
    m[3].q0 = -1;
    m[4].k0 = INT64_MAX;
    m[5].n_q = INT64_MAX;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        assert_int_equal(draw_map(&m[i], NULL, NULL, ok), HS_EARG);

    hs_fig_grid g[] = {grid, grid, grid, grid};
    g[0].n_layer = 0;
    g[1].n_head = INT64_MAX;
    g[2].value = NULL;
    g[3].n_head = -2;
    for (size_t i = 0; i < sizeof g / sizeof *g; i++)
        assert_int_equal(draw_grid(&g[i], NULL, NULL, ok), HS_EARG);

    const hs_fig_style bad[] = {
        {.cmap = "jet", .lo = 1}, {.lo = 1, .dpi = 19},      {.lo = 1, .dpi = 1201},
        {.lo = 1, .dpi = NAN},    {.lo = 0, .hi = INFINITY}, {.lo = -1e308, .hi = 1e308},
        {.lo = 1, .theme = 9},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(draw_map(&map, &bad[i], NULL, ok), HS_EARG);
        assert_int_equal(draw_grid(&grid, &bad[i], NULL, ok), HS_EARG);
        assert_null(strchr(hs_errmsg(), '\n'));
    }
    assert_int_equal(draw_map(&map, NULL, NULL, "a.jpg"), HS_EARG);
    assert_int_equal(draw_map(&map, NULL, NULL, ".png"), HS_EARG);
    assert_int_equal(hs_fig_format("a.svgz"), HS_EARG);
    assert_int_equal(hs_fig_format("x/a.Pdf"), HS_OK);
    assert_int_equal(draw_map(&map, NULL, NULL, ""), HS_EARG);
    const char *meta[] = {" bad key", "v", NULL};
    assert_int_equal(draw_map(&map, NULL, meta, ok), HS_EARG);
    assert_int_equal(draw_map(&map, NULL, NULL, "/nonexistent/a.png"), HS_EIO);
    const char *many[601] = {NULL};
    for (int i = 0; i < 600; i++) many[i] = "k";
    assert_int_equal(draw_map(&map, NULL, many, ok), HS_EARG);

    double *big = calloc(512 * 512, sizeof *big); // fills the page: too large at 1,200 dpi
    hs_fig_grid huge = {.value = big, .n_layer = 512, .n_head = 512};
    hs_fig_style fine = {.lo = 1, .dpi = 1200};
    assert_int_equal(draw_grid(&huge, &fine, NULL, ok), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "resolution"));
    free(big);
    assert_int_equal(entries(false), 0);
}

// fontconfig keeps pointers as offsets, which the leak check cannot follow: it reports what the
// library still holds at exit.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rectangles_are_cut),
        cmocka_unit_test(marks_do_not_join),
        cmocka_unit_test(ink_stays_in_its_boxes),
        cmocka_unit_test_setup_teardown(map_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(grid_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(files_repeat_and_tell, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
