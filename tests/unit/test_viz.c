// Figures: labels, ticks, colour maps; layouts in which nothing is cut or overlaps; exact colours
// at known cells; equal bytes; metadata; refusals.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <png.h>

#include "model/core/mem.h"
#include "viz/label.h"
#include "viz/paint.h"

static const hs_fig_style PLAIN = {.lo = 1, .hi = 0};
enum { PAPER = 0xffffff };

// ---- labels -------------------------------------------------------------------------------------

typedef void label_fn(hs_buf *, const char *);

static void expect_label(label_fn *fn, const char *bytes, const char *want) {
    hs_buf b = {0};
    fn(&b, bytes);
    assert_int_equal(hs_buf_rc(&b), HS_OK);
    assert_string_equal(hs_buf_text(&b), want);
    hs_buf_free(&b);
}

#define PALE(x) "<span alpha=\"55%\">" x "</span>"

static void token_labels(void **state) {
    (void)state;
    static const char *const pair[][2] = {
        {"the", "the"},
        {" the", PALE("␣") "the"},
        {"a b", "a b"},
        {"a  b ", "a" PALE("␣␣") "b" PALE("␣")},
        {"   ", PALE("␣␣␣")},
        {"    ", PALE("␣×4")},
        {"\n\n\t", PALE("↵") PALE("↵") PALE("⇥")},
        {"\r", PALE("␍")},
        {"\x1b", PALE("&lt;U+001B&gt;")},
        {"", PALE("∅")},
        {"<|im_end|>", "&lt;|im_end|&gt;"},
        {"&amp;", "&amp;amp;"},
        {"\xe2\x82", PALE("&lt;0xE2&gt;") PALE("&lt;0x82&gt;")},
        {"\xc0\xaf", PALE("&lt;0xC0&gt;") PALE("&lt;0xAF&gt;")}, // overlong
        {"\xed\xa0\x80", PALE("&lt;0xED&gt;") PALE("&lt;0xA0&gt;") PALE("&lt;0x80&gt;")},
        {"\xf4\x90\x80\x80", PALE("&lt;0xF4&gt;") PALE("&lt;0x90&gt;") PALE("&lt;0x80&gt;")
                                 PALE("&lt;0x80&gt;")}, // beyond U+10FFFF
        {"\xff", PALE("&lt;0xFF&gt;")},
        {"日本", "日本"},
        {"\u200b", PALE("&lt;U+200B&gt;")},
        {"\u202eabc", PALE("&lt;U+202E&gt;") "abc"}, // would reverse the line
        {"a\u00a0b\u3000", "a" PALE("&lt;U+00A0&gt;") "b" PALE("&lt;U+3000&gt;")},
        {"\u0301", PALE("◌") "\u0301"}, // a mark without a base
        {"e\u0301", "e\u0301"},
        {"◌", "◌"},
        {"👩\u200d🔬", "👩\u200d🔬"}, // a joiner that joins
        {"\u200d", PALE("&lt;U+200D&gt;")},
    };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        expect_label(hs_label_token, pair[i][0], pair[i][1]);
    expect_label(hs_label_text, " a  <b>\n", " a  &lt;b&gt;" PALE("↵"));
    expect_label(hs_label_plain, " a  <b>\xff\n", " a  <b><0xFF>↵");
}

static void endless_token(void **state) {
    (void)state;
    static const char *const unit[] = {"x", "日", "👩", "\xff"};
    for (size_t k = 0; k < sizeof unit / sizeof *unit; k++)
        for (size_t lead = 0; lead < 4; lead++) { // the cut falls on every byte of a character
            hs_buf bytes = {0}, b = {0};
            for (size_t i = 0; i < lead; i++) hs_buf_chr(&bytes, 'a');
            for (int i = 0; i < 30000; i++) hs_buf_str(&bytes, unit[k]);
            hs_label_token(&b, hs_buf_text(&bytes));
            assert_true(b.len < 20000);
            assert_string_equal(b.data + b.len - 3, "…");
            if (k < 3) assert_null(strstr(b.data, "span"));
            hs_buf_free(&b);
            hs_buf_free(&bytes);
        }
}

// ---- scales -------------------------------------------------------------------------------------

static void ticks(void **state) {
    (void)state;
    static const struct {
        double lo, hi;
        int most;
        double first, step;
        int n;
    } want[] = {
        {0, 1, 6, 0, 0.2, 6},     {0, 1, 11, 0, 0.1, 11},       {0, 1, 10, 0, 0.2, 6},
        {-1, 1, 5, -1, 0.5, 5},   {0.13, 2.93, 6, 0.5, 0.5, 5}, {-0.187, 1.469, 4, 0, 0.5, 3},
        {0, 3e-7, 4, 0, 1e-7, 4}, {99, 100.5, 2, 99, 1, 2},     {0, 1e6, 3, 0, 5e5, 3},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double at[16], step;
        int n = hs_ticks(want[i].lo, want[i].hi, want[i].most, at, &step);
        assert_int_equal(n, want[i].n);
        assert_true(fabs(step / want[i].step - 1) < 1e-9);
        for (int k = 0; k < n; k++)
            assert_true(fabs(at[k] - want[i].first - k * step) <= 1e-9 * (want[i].hi - want[i].lo));
    }
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        double v;
        int decimals;
        const char *text;
    } want[] = {
        {0.5, 1, "0.5"}, {-0.25, 2, "−0.25"},  {-0.001, 2, "0.00"},      {12, 0, "12"},
        {NAN, 2, "NaN"}, {-INFINITY, 2, "−∞"}, {0.00012, -1, "1.2e-04"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char text[HS_NUMBER];
        assert_string_equal(hs_number(text, want[i].v, want[i].decimals), want[i].text);
    }
    assert_int_equal(hs_decimals(0.2), 1);
    assert_int_equal(hs_decimals(0.05), 2);
    assert_int_equal(hs_decimals(1), 0);
    assert_int_equal(hs_decimals(500), 0);
    assert_int_equal(hs_decimals(1e-7), -1);
    assert_int_equal(hs_round_up(1), 1);
    assert_int_equal(hs_round_up(3), 5);
    assert_int_equal(hs_round_up(21), 50);
}

static void colour_maps(void **state) {
    (void)state;
    // Published values of the 256-entry tables (blues, rdbu: the schemes' own classes).
    static const struct {
        const char *name;
        double t;
        uint32_t rgb;
        int off;
    } want[] = {
        {"viridis", 0, 0x440154, 0},         {"viridis", 1, 0xfde725, 0},
        {"viridis", 64 / 255., 0x3b528b, 2}, {"viridis", 128 / 255., 0x21918c, 2},
        {"magma", 1, 0xfcfdbf, 0},           {"magma", 0, 0x000004, 0},
        {"magma", 128 / 255., 0xb73779, 2},  {"cividis", 0, 0x00224e, 0},
        {"cividis", 1, 0xfee838, 0},         {"blues", 0.5, 0x6baed6, 0},
        {"grey", 0.2, 0xcccccc, 0},          {"rdbu", 0, 0x67001f, 0},
        {"rdbu", 0.5, 0xf7f7f7, 0},          {"rdbu_r", 0, 0x053061, 0},
        {"rdbu", 1.5, 0x053061, 0},          {"rdbu", -3, 0x67001f, 0},
        {"rdbu", NAN, 0x67001f, 0},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const hs_cmap *m = hs_cmap_find(want[i].name);
        assert_non_null(m);
        uint32_t got = hs_cmap_at(m, want[i].t);
        for (int shift = 0; shift < 24; shift += 8)
            assert_true(abs((int)(got >> shift & 255) - (int)(want[i].rgb >> shift & 255)) <=
                        want[i].off);
    }
    assert_null(hs_cmap_find("jet"));
    assert_null(hs_cmap_find(""));
    int diverging = 0;
    for (const hs_cmap *m = hs_cmaps; m->name; m++) {
        assert_true(m->n >= 2);
        diverging += m->diverging;
    }
    assert_int_equal(diverging, 2);
}

// ---- layouts ------------------------------------------------------------------------------------

static const char *const awkward[] = {
    "<|im_start|>",
    "The",
    " quick",
    "\n",
    " السلام",
    " 日本語",
    " नमस्ते",
    "\xe2\x82",
    " 🙂",
    "   ",
    "supercalifragilisticexpialidociousness and more of it than any page has room for",
    "fg|Âjy",
    "z\u0310\u0310\u0310\u0310\u0310\u0310\u0310\u0329\u0329\u0329\u0329\u0329",
    "",
    "é",
    "한국어",
    " internationalization",
    " & <b>",
    "\u200d",
    "עברית",
    "i",
    "W",
    "།",
    "ཧཱུྃ",
};
enum { AWKWARD = sizeof awkward / sizeof *awkward };

typedef struct drawing {
    hs_canvas *canvas;
    hs_sheet *sheet;
    hs_page page;
} drawing;

static void close_drawing(drawing *d) {
    hs_sheet_close(d->sheet);
    hs_canvas_close(d->canvas);
}

static drawing lay_map(const hs_fig_map *f, const hs_fig_style *style) {
    drawing d = {0};
    double dpi;
    assert_int_equal(hs_style_dpi(style, &dpi), HS_OK);
    assert_int_equal(hs_canvas_open(&d.canvas, dpi), HS_OK);
    assert_int_equal(hs_sheet_map(f, style, &d.sheet), HS_OK);
    assert_int_equal(hs_layout(d.sheet, d.canvas, &d.page), HS_OK);
    return d;
}

static drawing lay_grid(const hs_fig_grid *f, const hs_fig_style *style) {
    drawing d = {0};
    double dpi;
    assert_int_equal(hs_style_dpi(style, &dpi), HS_OK);
    assert_int_equal(hs_canvas_open(&d.canvas, dpi), HS_OK);
    assert_int_equal(hs_sheet_grid(f, style, d.canvas, &d.sheet), HS_OK);
    assert_int_equal(hs_layout(d.sheet, d.canvas, &d.page), HS_OK);
    return d;
}

static hs_box rect_box(hs_rect r, double px) {
    return (hs_box){r.x / px, r.y / px, r.w / px, r.h / px};
}

// Whether two boxes are nearer than `clear` points.
static bool meet(hs_box a, hs_box b, double clear) {
    return a.x < b.x + b.w + clear && b.x < a.x + a.w + clear && a.y < b.y + b.h + clear &&
           b.y < a.y + a.h + clear;
}

static bool inside(hs_box a, hs_box b) {
    return a.x >= b.x && a.y >= b.y && a.x + a.w <= b.x + b.w && a.y + a.h <= b.y + b.h;
}

// No text outside the page, none on another, none on the cells (but values inside one) or the bar.
static void check_layout(const drawing *d) {
    double px = d->sheet->dpi / 72;
    const hs_page *g = &d->page;
    hs_box page = {2, 2, g->width / px - 4, g->height / px - 4};
    hs_box cells = rect_box(g->cells, px), bar = rect_box(g->bar, px);
    assert_true(inside(cells, page) && inside(bar, page) && !meet(cells, bar, 4));
    for (int64_t i = 0; i < g->n_mark; i++) {
        const hs_mark *m = &g->mark[i];
        if (m->box.w == 0) continue;
        assert_true(inside(m->box, page));
        assert_false(meet(m->box, bar, 1));
        bool printed = m->tint == HS_TINT_ON_DARK || m->tint == HS_TINT_ON_LIGHT;
        if (!printed) assert_false(meet(m->box, cells, 1));
        for (int64_t k = 0; k < i; k++)
            assert_false(g->mark[k].box.w && meet(m->box, g->mark[k].box, 0.5));
        if (!printed) continue;
        double w = d->sheet->x.cell / px, h = d->sheet->y.cell / px;
        double left = cells.x + floor((m->box.x - cells.x) / w) * w;
        double top = cells.y + floor((m->box.y - cells.y) / h) * h;
        assert_true(inside(m->box, (hs_box){left, top, w, h}));
    }
    if (g->legend.w)
        for (int64_t i = 0; i < g->n_mark; i++)
            assert_false(meet(g->mark[i].box, rect_box(g->legend, px), 1));
}

// How many marks show the label of a position beside the y axis, at the height of its cell.
static int y_labels(const drawing *d, const char *const *label) {
    double px = d->sheet->dpi / 72;
    const hs_axis *a = &d->sheet->y;
    int found = 0;
    for (int64_t q = 0; q < a->count; q++) {
        hs_buf b = {0};
        hs_label_token(&b, label[a->first + q]);
        double cell = a->cell / px / (double)a->pool;
        double middle = d->page.cells.y / px + ((double)q + 0.5) * cell;
        for (int64_t i = 0; i < d->page.n_mark; i++) {
            const hs_mark *m = &d->page.mark[i];
            if (m->turned || m->x > d->page.cells.x / px || m->tint != HS_TINT_TEXT) continue;
            bool here = fabs(m->y - 0.36 * m->text.pt - middle) < 1e-6;
            found += here && strcmp(m->text.markup, hs_buf_text(&b)) == 0;
        }
        hs_buf_free(&b);
    }
    return found;
}

// Every number below the cells stands above a label of the same position.
static void check_numbers(const drawing *d) {
    const hs_page *g = &d->page;
    double px = d->sheet->dpi / 72, bottom = (g->cells.y + g->cells.h) / px;
    for (int64_t i = 0; i < g->n_mark; i++) {
        const hs_mark *m = &g->mark[i];
        if (m->turned || m->box.y < bottom || m->text.pt != 6.5) continue;
        int labels = 0;
        for (int64_t k = 0; k < g->n_mark; k++) {
            const hs_mark *l = &g->mark[k];
            double middle = l->x - 0.36 * l->text.pt;
            bool level = fabs(middle - (m->box.x + 0.5 * m->box.w)) < 1e-6;
            labels += level && l->turned && l->tint == HS_TINT_TEXT;
        }
        assert_int_equal(labels, 1);
    }
}

static const char **awkward_labels(int64_t n, int shift) {
    const char **label = calloc((size_t)n, sizeof *label);
    for (int64_t i = 0; i < n; i++) label[i] = awkward[(i * 7 + i / AWKWARD + shift) % AWKWARD];
    return label;
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
        float *value = calloc((size_t)(n * n), sizeof *value);
        const char **label = awkward_labels(n, 0);
        hs_fig_map f = {.title = "A title",
                        .subtitle = "model, run 1, prompt 0",
                        .value = value,
                        .n_q = n,
                        .n_k = n,
                        .label = label,
                        .causal = true,
                        .bar_label = "attention weight"};
        hs_fig_style style = PLAIN;
        style.dpi = each[i].dpi;
        drawing d = lay_map(&f, &style);
        check_layout(&d);
        check_numbers(&d);
        assert_in_range(y_labels(&d, label), each[i].least_labels, n);
        assert_true(d.page.width <= 20 * each[i].dpi && d.page.height <= 20 * each[i].dpi);
        for (int64_t k = 0; k < d.page.n_mark; k++) { // labels, bar numbers: never endless
            const hs_mark *m = &d.page.mark[k];
            if (m->tint == HS_TINT_TEXT && !m->text.bold) assert_true(m->box.w + m->box.h < 122);
        }
        close_drawing(&d);
        for (int64_t k = 0; k < n; k++) label[k] = "b|g"; // the full height of a line, everywhere
        d = lay_map(&f, &style);
        check_layout(&d);
        close_drawing(&d);
        f.label = NULL;
        d = lay_map(&f, &style);
        check_layout(&d);
        close_drawing(&d);
        free(label);
        free(value);
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
            float *value = calloc((size_t)(each[i].n_q * each[i].n_k), sizeof *value);
            bool far = each[i].q0 > 10000;
            int64_t positions = each[i].q0 + each[i].n_q + each[i].n_k;
            const char **label = far ? NULL : awkward_labels(positions, 3);
            hs_fig_map f = {.title = titles[t],
                            .subtitle = titles[t],
                            .bar_label = titles[t],
                            .value = value,
                            .n_q = each[i].n_q,
                            .n_k = each[i].n_k,
                            .q0 = each[i].q0,
                            .k0 = each[i].k0,
                            .label = label};
            drawing d = lay_map(&f, &PLAIN);
            check_layout(&d);
            close_drawing(&d);
            free(label);
            free(value);
        }
    free(prompt);
}

static int printed(const drawing *d) {
    int n = 0;
    for (int64_t i = 0; i < d->page.n_mark; i++)
        n += d->page.mark[i].tint == HS_TINT_ON_DARK || d->page.mark[i].tint == HS_TINT_ON_LIGHT;
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
            drawing d = lay_grid(&f, &PLAIN);
            check_layout(&d);
            assert_int_equal(printed(&d), each[i].values ? n - (n > 4) : 0);
            assert_int_equal(d.page.legend.w > 0, n > 4);
            close_drawing(&d);
            free(value);
        }
}

// ---- pixels -------------------------------------------------------------------------------------

static const uint32_t *paint(drawing *d, int *stride) {
    const uint32_t *pixel;
    assert_int_equal(hs_paint(d->sheet, &d->page, d->canvas), HS_OK);
    assert_int_equal(hs_canvas_pixels(d->canvas, &pixel, stride), HS_OK);
    return pixel;
}

// Rectangles are cut at the edges of the picture.
static void rectangles_are_cut(void **state) {
    (void)state;
    hs_canvas *c;
    const uint32_t *pixel;
    int stride;
    assert_int_equal(hs_canvas_open(&c, 72), HS_OK);
    assert_int_equal(hs_canvas_begin(c, 9, 5, PAPER), HS_OK);
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

// Ink lies only where the layout says: inside the boxes of texts, cells, bar, legend and ticks.
static void ink_stays_in_its_boxes(void **state) {
    (void)state;
    float value[AWKWARD * AWKWARD] = {0};
    const char **label = awkward_labels(AWKWARD, 0);
    hs_fig_map f = {.title = "Títle",
                    .subtitle = "السلام عليكم",
                    .value = value,
                    .n_q = AWKWARD,
                    .n_k = AWKWARD,
                    .label = label,
                    .bar_label = "weight"};
    drawing d = lay_map(&f, &PLAIN);
    int stride;
    const uint32_t *pixel = paint(&d, &stride);
    int w = d.page.width, h = d.page.height;
    double px = d.sheet->dpi / 72;
    bool *allowed = calloc((size_t)w * (size_t)h, 1);
    int64_t n_rect = 2 + d.page.n_tick, n = n_rect + d.page.n_mark, inked = 0;
    for (int64_t i = 0; i < n; i++) {
        hs_box b = i == 0       ? rect_box(d.page.cells, px)
                   : i == 1     ? rect_box(d.page.bar, px)
                   : i < n_rect ? rect_box(d.page.tick[i - 2], px)
                                : d.page.mark[i - n_rect].box;
        for (int y = (int)(b.y * px) - 2; y <= (b.y + b.h) * px + 2; y++)
            for (int x = (int)(b.x * px) - 2; x <= (b.x + b.w) * px + 2; x++)
                allowed[y * w + x] = true;
    }
    for (int64_t i = 0; i < d.page.n_mark; i++) { // and every text has some ink
        hs_box b = d.page.mark[i].box;
        bool any = false;
        for (int y = (int)(b.y * px); y < (b.y + b.h) * px; y++)
            for (int x = (int)(b.x * px); x < (b.x + b.w) * px; x++)
                any |= pixel[y * stride + x] != PAPER;
        assert_true(any || b.w == 0);
    }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            bool ink = pixel[y * stride + x] != PAPER;
            inked += ink;
            assert_true(!ink || allowed[y * w + x]);
        }
    assert_true(inked > 1000);
    free(allowed);
    free(label);
    close_drawing(&d);
}

static char folder[64];

static const char *path_of(const char *name) {
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/hs-viz-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int entries(bool delete) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        n += e->d_name[0] != '.';
        if (delete &&e->d_name[0] != '.') remove(path_of(e->d_name));
    }
    if (d) closedir(d);
    return n;
}

static int teardown(void **state) {
    (void)state;
    entries(true);
    return rmdir(folder);
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

// The colour of a whole cell; fails when its pixels differ (but for `skip` at the edges).
static uint32_t cell_colour(const image *im, const drawing *d, int64_t row, int64_t col, int skip) {
    int w = d->sheet->x.cell, h = d->sheet->y.cell;
    int x0 = d->page.cells.x + (int)col * w, y0 = d->page.cells.y + (int)row * h;
    uint32_t colour = at(im, x0 + w / 2, y0 + h / 2);
    for (int y = y0 + skip; y < y0 + h - skip; y++)
        for (int x = x0 + skip; x < x0 + w - skip; x++) assert_int_equal(at(im, x, y), colour);
    return colour;
}

// The height at which a number stands beside the bar.
static double bar_number(const drawing *d, const char *text) {
    for (int64_t i = 0; i < d->page.n_mark; i++) {
        const hs_mark *m = &d->page.mark[i];
        bool beside = m->x > d->page.bar.x / (d->sheet->dpi / 72);
        if (beside && strcmp(m->text.markup, text) == 0) return m->box.y + 0.5 * m->box.h;
    }
    fail_msg("no %s beside the bar", text);
    return 0;
}

static void map_colours(void **state) {
    (void)state;
    enum { N = 5 };
    float value[N * N];
    for (int i = 0; i < N * N; i++) value[i] = (float)(i % 11) / 10;
    value[3 * N + 1] = NAN;
    value[4 * N] = 7;
    hs_fig_map f = {.title = "t", .value = value, .n_q = N, .n_k = N, .causal = true};
    static const char *const maps[] = {NULL, "magma", "cividis", "blues", "grey", "rdbu", "rdbu_r"};
    for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
        hs_fig_style style = {.cmap = maps[m], .lo = 1, .dpi = m == 1 ? 96 : 0};
        assert_int_equal(hs_fig_draw_map(&f, &style, NULL, path_of("m.png")), HS_OK);
        image im = read_png(path_of("m.png"));
        drawing d = lay_map(&f, &style);
        assert_int_equal(im.w, d.page.width);
        const hs_cmap *cmap = hs_cmap_find(maps[m] ? maps[m] : "viridis");
        for (int q = 0; q < N; q++)
            for (int k = 0; k < N; k++) {
                bool blank = k > q || (q == 3 && k == 1);
                uint32_t want = blank ? PAPER : hs_cmap_at(cmap, (double)value[q * N + k]);
                assert_int_equal(cell_colour(&im, &d, q, k, blank ? 2 : 0), want);
            }
        // The bar: its ends are the ends of the map.
        hs_rect bar = d.page.bar;
        assert_int_equal(at(&im, bar.x + bar.w / 2, bar.y), hs_cmap_at(cmap, 1));
        assert_int_equal(at(&im, bar.x + bar.w / 2, bar.y + bar.h - 1), hs_cmap_at(cmap, 0));
        assert_int_equal(d.sheet->n_note, 1); // 7 lies beyond the bar
        double px = d.sheet->dpi / 72;
        assert_true(fabs(bar_number(&d, "1.0") - bar.y / px) < 1);
        assert_true(fabs(bar_number(&d, "0.0") - (bar.y + bar.h) / px) < 1);
        close_drawing(&d);
        free(im.rgb);
    }
}

// Rows that start later than keys: position, not index, decides what is masked.
static void mask_follows_positions(void **state) {
    (void)state;
    float value[2 * 4] = {0};
    hs_fig_map f = {.value = value, .n_q = 2, .n_k = 4, .q0 = 7, .k0 = 5, .causal = true};
    drawing d = lay_map(&f, &PLAIN);
    for (int i = 0; i < 8; i++) {
        bool blank = 5 + i % 4 > 7 + i / 4;
        assert_int_equal(d.sheet->colour[i] == HS_CELL_BLANK, blank);
    }
    close_drawing(&d);
}

static void pooled_by_max(void **state) {
    (void)state;
    enum { N = 2500 }; // two tokens a cell at 150 dpi
    float *value = calloc((size_t)N * N, sizeof *value);
    value[1001 * N + 700] = 1; // odd row: pooled with row 1000
    value[2001 * N + 2000] = 0.5f;
    value[2000 * N + 2001] = 0.75f; // above the diagonal: never seen
    hs_fig_map f = {.value = value, .n_q = N, .n_k = N, .causal = true};
    drawing d = lay_map(&f, &PLAIN);
    assert_int_equal(d.sheet->x.pool, 2);
    assert_int_equal(d.sheet->x.n, N / 2);
    assert_int_equal(d.sheet->n_note, 1);
    assert_string_equal(d.sheet->note[0], "Pooled by max, 2 x 2 tokens a cell.");
    const hs_cmap *cmap = hs_cmap_find("viridis");
    const uint32_t *row = d.sheet->colour + 500 * (N / 2);
    assert_int_equal(row[350], hs_cmap_at(cmap, 1));
    assert_int_equal(row[349], hs_cmap_at(cmap, 0));
    assert_int_equal(row[500], hs_cmap_at(cmap, 0)); // its lower left half is visible
    assert_int_equal(row[501], HS_CELL_BLANK);
    assert_int_equal(d.sheet->colour[1000 * (N / 2) + 1000], hs_cmap_at(cmap, 0.5));
    close_drawing(&d);

    f.causal = false; // the last cell of a row of odd length does not see the next row
    f.n_k = N - 3;
    value[f.n_k] = 1; // the start of row 1
    d = lay_map(&f, &PLAIN);
    int64_t n = d.sheet->x.n;
    assert_int_equal(n, N / 2 - 1);
    assert_int_equal(d.sheet->colour[0], hs_cmap_at(cmap, 1));
    assert_int_equal(d.sheet->colour[n - 1], hs_cmap_at(cmap, 0));
    close_drawing(&d);

    f.n_q = 4; // a strip: its few rows are not pooled
    d = lay_map(&f, &PLAIN);
    assert_string_equal(d.sheet->note[0], "Pooled by max, 1 x 2 tokens a cell.");
    assert_int_equal(d.sheet->y.n, 4);
    close_drawing(&d);
    f.n_q = f.n_k = N;

    hs_fig_style fine = {.lo = 1, .dpi = 200}; // here every cell has its pixel
    d = lay_map(&f, &fine);
    assert_int_equal(d.sheet->x.pool, 1);
    assert_int_equal(d.sheet->n_note, 0);
    close_drawing(&d);
    free(value);
}

static void grid_colours(void **state) {
    (void)state;
    double value[] = {-0.5, 0, 0.25, NAN, INFINITY, 0.125};
    hs_fig_grid f = {.value = value, .n_layer = 2, .n_head = 3, .diverging = true};
    hs_fig_style style = {.lo = 1, .theme = HS_THEME_SCREEN};
    assert_int_equal(hs_fig_draw_grid(&f, &style, NULL, path_of("g.png")), HS_OK);
    image im = read_png(path_of("g.png"));
    drawing d = lay_grid(&f, &style);
    uint32_t dark = at(&im, 0, 0);
    assert_true((dark & 0xff) < 0x40);
    const hs_cmap *cmap = hs_cmap_find("rdbu");
    static const double t[] = {0, 0.5, 0.75, 0, 1, 0.625};
    for (int i = 0; i < 6; i++) {
        int x0 = d.page.cells.x + i % 3 * d.sheet->x.cell;
        int y0 = d.page.cells.y + i / 3 * d.sheet->y.cell;
        if (i != 3) {
            assert_int_equal(at(&im, x0 + 1, y0 + 1), hs_cmap_at(cmap, t[i]));
            continue;
        }
        int lines = 0, empty = 0;
        for (int y = y0; y < y0 + d.sheet->y.cell; y++)
            for (int x = x0; x < x0 + d.sheet->x.cell; x++)
                at(&im, x, y) == dark ? empty++ : lines++;
        assert_true(lines > 50 && empty > lines);
    }
    assert_true(d.sheet->scale.lo == -0.5 && d.sheet->scale.hi == 0.5);
    static const struct {
        const char *text;
        enum hs_tint tint;
    } print[] = {{"−0.50", HS_TINT_ON_DARK},
                 {"0.00", HS_TINT_ON_LIGHT},
                 {"0.12", HS_TINT_ON_LIGHT},
                 {"∞", HS_TINT_ON_DARK}};
    int found = 0;
    for (int64_t i = 0; i < d.page.n_mark; i++)
        for (size_t k = 0; k < sizeof print / sizeof *print; k++)
            found += d.page.mark[i].tint == print[k].tint &&
                     strcmp(d.page.mark[i].text.markup, print[k].text) == 0;
    assert_int_equal(found, 4);
    close_drawing(&d);
    free(im.rgb);
}

static void grid_ranges(void **state) {
    (void)state;
    static const struct {
        double v[3];
        double lo, hi;
    } want[] = {
        {{0.5, 2, 1}, 0.5, 2},                     // the data's own range
        {{0.01, 2, 1}, 0, 2},                      // close to 0: from 0
        {{-3, -1, -2}, -3, -1}, {{4, 4, 4}, 2, 6}, // one value: a bar around it
        {{0, 0, 0}, -1, 1},     {{NAN, NAN, NAN}, -1, 1}, {{NAN, 1, INFINITY}, 0.5, 1.5},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        hs_fig_grid f = {.value = want[i].v, .n_layer = 1, .n_head = 3};
        drawing d = lay_grid(&f, &PLAIN);
        assert_true(d.sheet->scale.lo == want[i].lo && d.sheet->scale.hi == want[i].hi);
        assert_false(d.sheet->scale.centred);
        close_drawing(&d);
    }
}

// ---- files --------------------------------------------------------------------------------------

static bool file_has(const hs_map *m, const char *bytes, size_t n) {
    return memmem(m->data, m->size, bytes, n) != NULL;
}
#define HAS(map, text) file_has(map, text, sizeof text - 1)

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
        assert_int_equal(hs_fig_draw_grid(&f, &PLAIN, meta, path), HS_OK);
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
    assert_int_equal(hs_fig_draw_grid(&f, &PLAIN, NULL, path_of("a.PNG")), HS_OK);
    assert_int_equal(hs_map_open(&map[0], path_of("a.PNG")), HS_OK);
    assert_true(HAS(&map[0], "tEXtcmap\0viridis"));
    assert_false(HAS(&map[0], "centre"));
    hs_map_close(&map[0]);
}

static void refusals(void **state) {
    (void)state;
    float value[4] = {0};
    double cell[4] = {0};
    const hs_fig_map map = {.value = value, .n_q = 2, .n_k = 2};
    const hs_fig_grid grid = {.value = cell, .n_layer = 2, .n_head = 2};
    const char *ok = path_of("r.png");

    hs_fig_map m[] = {map, map, map, map, map, map};
    m[0].n_q = 0;
    m[1].n_k = -1;
    m[2].value = NULL;
    m[3].q0 = -1;
    m[4].k0 = INT64_MAX;
    m[5].n_q = INT64_MAX;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        assert_int_equal(hs_fig_draw_map(&m[i], NULL, NULL, ok), HS_EARG);

    hs_fig_grid g[] = {grid, grid, grid, grid};
    g[0].n_layer = 0;
    g[1].n_head = INT64_MAX;
    g[2].value = NULL;
    g[3].n_head = -2;
    for (size_t i = 0; i < sizeof g / sizeof *g; i++)
        assert_int_equal(hs_fig_draw_grid(&g[i], NULL, NULL, ok), HS_EARG);

    const hs_fig_style bad[] = {
        {.cmap = "jet", .lo = 1}, {.lo = 1, .dpi = 19},      {.lo = 1, .dpi = 1201},
        {.lo = 1, .dpi = NAN},    {.lo = 0, .hi = INFINITY}, {.lo = -1e308, .hi = 1e308},
        {.lo = 1, .theme = 9},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hs_fig_draw_map(&map, &bad[i], NULL, ok), HS_EARG);
        assert_int_equal(hs_fig_draw_grid(&grid, &bad[i], NULL, ok), HS_EARG);
        assert_null(strchr(hs_errmsg(), '\n'));
    }
    assert_int_equal(hs_fig_draw_map(&map, NULL, NULL, "a.svg"), HS_EARG);
    assert_int_equal(hs_fig_draw_map(&map, NULL, NULL, ".png"), HS_EARG);
    assert_int_equal(hs_fig_draw_map(&map, NULL, NULL, ""), HS_EARG);
    const char *meta[] = {" bad key", "v", NULL};
    assert_int_equal(hs_fig_draw_map(&map, NULL, meta, ok), HS_EARG);
    assert_int_equal(hs_fig_draw_map(&map, NULL, NULL, "/nonexistent/a.png"), HS_EIO);
    const char *many[601] = {NULL};
    for (int i = 0; i < 600; i++) many[i] = "k";
    assert_int_equal(hs_fig_draw_map(&map, NULL, many, ok), HS_EARG);

    double *big = calloc(512 * 512, sizeof *big); // fills the page: too large at 1,200 dpi
    hs_fig_grid huge = {.value = big, .n_layer = 512, .n_head = 512};
    hs_fig_style fine = {.lo = 1, .dpi = 1200};
    assert_int_equal(hs_fig_draw_grid(&huge, &fine, NULL, ok), HS_EARG);
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
        cmocka_unit_test(token_labels),
        cmocka_unit_test(endless_token),
        cmocka_unit_test(ticks),
        cmocka_unit_test(numbers),
        cmocka_unit_test(colour_maps),
        cmocka_unit_test(map_layouts),
        cmocka_unit_test(odd_layouts),
        cmocka_unit_test(grid_layouts),
        cmocka_unit_test(rectangles_are_cut),
        cmocka_unit_test(ink_stays_in_its_boxes),
        cmocka_unit_test_setup_teardown(map_colours, setup, teardown),
        cmocka_unit_test(mask_follows_positions),
        cmocka_unit_test(pooled_by_max),
        cmocka_unit_test_setup_teardown(grid_colours, setup, teardown),
        cmocka_unit_test(grid_ranges),
        cmocka_unit_test_setup_teardown(files_repeat_and_tell, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
