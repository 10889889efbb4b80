// Strips, curves and bars: nothing is cut or overlaps, values stand where they belong, colours are
// those of the scale, long ones keep what matters, files repeat; and how tokens make pieces.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/viz_common.h"
#include "viz/pieces.h"
#include "viz/scale.h"

// ---- pieces -------------------------------------------------------------------------------------

static void pieces(void **state) {
    (void)state;
    static const struct {
        const char *token[6];
        int n[6]; // tokens of each piece
    } want[] = {
        {{"The", " lamp", "s"}, {1, 1, 1}},
        {{"\xe7", "\x81", "\xaf", "a"}, {3, 1}},                  // one character in three tokens
        {{" \xe3\x81", "\x8c\xe3\x81", "\xa8"}, {3}},             // two characters in three
        {{"\xe7", "\x81", "b"}, {1, 1, 1}},                       // never finished: single bytes
        {{"\x81", "\x81"}, {1, 1}},                               // nor begun
        {{"ا", "ل", "م", " و"}, {3, 1}},                          // letters that join
        {{"न", "\xe0\xa4", "\xae", "स्"}, {4}},                    // and reorder
        {{"e", "\u0301", "x"}, {2, 1}},                           // a mark on its letter
        {{"👩", "\xe2\x80", "\x8d", "\xf0\x9f\x94", "\xac"}, {5}}, // one emoji
        {{"א", "ב", "a", NULL, "b"}, {1, 1, 1, 1, 1}},            // Hebrew does not join
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        hs_buf bytes = {0};
        int32_t before = '\n';
        int64_t n = 0, at = 0;
        for (int k = 0; k < 6; k++) n += want[i].n[k];
        for (int k = 0; k < 6 && want[i].n[k]; k++) {
            hs_piece c = hs_piece_at(want[i].token, n, at, &before, &bytes);
            if (c.n != want[i].n[k] || c.token != at)
                fail_msg("text %zu: piece %d has %d tokens", i, k, (int)c.n);
            at += c.n;
        }
        hs_buf_free(&bytes);
    }
}

static void breaks_and_directions(void **state) {
    (void)state;
    static const struct {
        const char *token;
        bool opens, ends, rtl, neutral;
    } want[] = {
        {"a", true, false, false, false},  {"b", false, false, false, false},
        {".", false, false, false, true},  {" c", true, false, false, false},
        {" \n", true, true, false, true},  {"d", true, false, false, false},
        {"灯", true, false, false, false}, {"。", false, false, false, false},
        {"e", true, false, false, false},  {" שלום", true, false, true, false},
        {" 12", true, false, false, true}, {"다", true, false, false, false},
        {".", false, false, false, true},  {"\n", false, true, false, true},
        {"", true, false, false, true},    {"f", true, false, false, false},
    };
    enum { N = sizeof want / sizeof *want };
    const char *token[N];
    hs_buf bytes = {0};
    int32_t before = '\n';
    for (int i = 0; i < N; i++) token[i] = want[i].token;
    for (int i = 0; i < N; i++) {
        hs_piece c = hs_piece_at(token, N, i, &before, &bytes);
        if (c.opens != want[i].opens || c.ends != want[i].ends || c.rtl != want[i].rtl ||
            c.neutral != want[i].neutral)
            fail_msg("token %d: %d %d %d %d", i, c.opens, c.ends, c.rtl, c.neutral);
        assert_int_equal(c.n, 1);
    }
    hs_buf_free(&bytes);
}

// ---- strips -------------------------------------------------------------------------------------

static bool on_a_ground(const hs_page *p, double x, double y) {
    for (int64_t i = 0; i < p->n_mark; i++) {
        if (p->mark[i].kind != HS_MARK_FILL) continue;
        hs_box r = rect_box(p, p->mark[i].rect);
        if (x >= r.x && x <= r.x + r.w && y >= r.y && y <= r.y + r.h) return true;
    }
    return false;
}

// A text lies on grounds wholly or not at all. (A piece of several tokens lies on several.)
static void check_grounds(const hs_page *p) {
    for (int64_t i = 0; i < p->n_mark; i++) {
        hs_box b = p->mark[i].label.box;
        if (p->mark[i].kind != HS_MARK_LABEL || b.w == 0 || p->mark[i].label.turned) continue;
        bool on = on_a_ground(p, b.x, b.y);
        for (int k = 0; k <= 20; k++)
            for (int j = 0; j <= 2; j++)
                if (on_a_ground(p, b.x + b.w * k / 20, b.y + b.h * j / 2) != on)
                    fail_msg("'%s' lies partly on a ground", p->mark[i].label.text.markup);
    }
}

static void check_texts(const hs_page *p) {
    hs_box page = {2, 2, p->width / p->px - 4, p->height / p->px - 4};
    for (int64_t i = 0; i < p->n_mark; i++) {
        const hs_label *a = &p->mark[i].label;
        if (p->mark[i].kind != HS_MARK_LABEL || a->box.w == 0) continue;
        if (!inside(a->box, page)) fail_msg("'%s' leaves the page", a->text.markup);
        for (int64_t k = 0; k < i; k++) {
            const hs_label *b = &p->mark[k].label;
            if (p->mark[k].kind == HS_MARK_LABEL && b->box.w && meet(a->box, b->box, 0))
                fail_msg("'%s' lies on '%s'", a->text.markup, b->text.markup);
        }
    }
}

static void strip_layouts(void **state) {
    (void)state;
    static const int64_t size[] = {1, 2, 7, 40, 300, 1100};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int dpi = 72; dpi <= 150; dpi += 78) {
            int64_t n = size[i];
            const char **label = awkward_labels(n, (int)i);
            double *value = calloc((size_t)n, sizeof *value);
            for (int64_t k = 0; k < n; k++) value[k] = (double)(k % 10) / 10;
            hs_fig *fig;
            hs_fig_strip f = {.title = "Title",
                              .bar_label = "attention weight",
                              .label = label,
                              .value = value,
                              .n = n,
                              .mark = n - 1};
            hs_fig_style style = {.lo = 1, .dpi = dpi, .theme = dpi > 100};
            assert_int_equal(hs_fig_open_strip(&fig, &f, &style), HS_OK);
            check_texts(hs_fig_page(fig));
            check_grounds(hs_fig_page(fig));
            hs_fig_close(fig);
            free(label);
            free(value);
        }
}

// The ground around a label, as a colour.
static uint32_t ground_of(const hs_page *p, const char *text) {
    const hs_label *l = find_label(p, text);
    assert_non_null(l);
    for (int64_t i = 0; i < p->n_mark; i++) {
        hs_box r = rect_box(p, p->mark[i].rect);
        if (p->mark[i].kind == HS_MARK_FILL && inside(l->box, r)) return p->mark[i].ink;
    }
    return HS_INK_NONE;
}

static uint32_t ink_of(const hs_page *p, const char *text) {
    for (int64_t i = 0; i < p->n_mark; i++)
        if (p->mark[i].kind == HS_MARK_LABEL && !strcmp(p->mark[i].label.text.markup, text))
            return p->mark[i].ink;
    return HS_INK_NONE;
}

static void strip_colours(void **state) {
    (void)state;
    static const char *const label[] = {"zero", " half", " full", " later", " over"};
    static const double value[] = {0, 0.25, 0.5, NAN, 0.5};
    const hs_cmap *blues = hs_cmap_find("blues");
    hs_fig *fig;
    hs_fig_strip f = {.label = label, .value = value, .n = 5, .mark = 2, .pale_label = "Pale."};
    assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    assert_int_equal(ground_of(p, "zero"), hs_cmap_at(blues, 0));
    assert_int_equal(ground_of(p, "half"), hs_cmap_at(blues, 0.5));
    assert_int_equal(ground_of(p, "full"), hs_cmap_at(blues, 1));
    assert_int_equal(ground_of(p, "later"), HS_INK_NONE);
    assert_int_equal(ink_of(p, "zero"), hs_ink_over(hs_cmap_at(blues, 0)));
    assert_int_not_equal(ink_of(p, "zero"), ink_of(p, "full"));
    assert_int_equal(ink_of(p, "later"), HS_INK_PALE);
    assert_non_null(find_label(p, "Pale."));
    hs_box frame = rect_box(p, nth(p, HS_MARK_FRAME, 0)->rect);
    assert_true(inside(find_label(p, "full")->box, frame));
    assert_false(meet(find_label(p, "half")->box, frame, 0));
    hs_fig_close(fig);
    // A fixed range: what lies beyond has the colour of the end.
    hs_fig_style style = {.lo = 0, .hi = 0.25, .cmap = "magma"};
    assert_int_equal(hs_fig_open_strip(&fig, &f, &style), HS_OK);
    p = hs_fig_page(fig);
    assert_int_equal(ground_of(p, "half"), hs_cmap_at(hs_cmap_find("magma"), 1));
    assert_int_equal(ground_of(p, "full"), hs_cmap_at(hs_cmap_find("magma"), 1));
    hs_fig_close(fig);
}

// A character of three tokens is one text on three grounds.
static void strip_shared(void **state) {
    (void)state;
    static const char *const label[] = {"\xe7", "\x81", "\xaf"};
    static const double value[] = {0, 0.5, 1};
    hs_fig *fig;
    hs_fig_strip f = {.label = label, .value = value, .n = 3, .mark = -1};
    assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    const hs_label *l = find_label(p, "灯");
    assert_non_null(l);
    double right = -1;
    for (int i = 0; i < 3; i++) {
        const hs_mark *m = nth(p, HS_MARK_FILL, i);
        hs_box r = rect_box(p, m->rect);
        assert_int_equal(m->ink, hs_cmap_at(hs_cmap_find("blues"), i * 0.5));
        assert_true(meet(r, l->box, 0));
        assert_true(i == 0 || fabs(r.x - right) < 1e-9);
        right = r.x + r.w;
    }
    hs_fig_close(fig);
}

// Left-to-right words in order, right-to-left ones from right to left, the blank before them first.
static void strip_directions(void **state) {
    (void)state;
    static const char *const label[] = {"one", " אחת", " שתים", ",", " שלוש", ".", " two"};
    static const char *const seen[] = {"one", "שלוש", ",", "שתים", "אחת", ".", "two"};
    static const double value[7] = {0};
    hs_fig *fig;
    hs_fig_strip f = {.label = label, .value = value, .n = 7, .mark = -1};
    assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
    double right = 0;
    for (int i = 0; i < 7; i++) {
        const hs_label *l = find_label(hs_fig_page(fig), seen[i]);
        assert_non_null(l);
        double gap = l->box.x - right;
        assert_true(gap >= 0);
        if (i == 1 || i == 2 || i == 4 || i == 6) assert_true(gap > 3.2 && gap < 8); // one blank
        if (i == 3 || i == 5) assert_true(gap < 3.2);
        right = l->box.x + l->box.w;
    }
    hs_fig_close(fig);
}

static void strip_lines(void **state) {
    (void)state;
    static const char *const label[] = {"one", "\n", "two", " three", "\n", "\n", "forty"};
    static const double value[7] = {0};
    hs_fig *fig;
    hs_fig_strip f = {.label = label, .value = value, .n = 7, .mark = -1};
    assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    double one = find_label(p, "one")->y, two = find_label(p, "two")->y, pitch = two - one;
    assert_true(pitch > 1.5 * HS_LABEL_PT && pitch < 2.5 * HS_LABEL_PT);
    assert_true(fabs(find_label(p, "three")->y - two) < 1e-9);
    assert_true(fabs(find_label(p, "forty")->y - two - 2 * pitch) < 1e-6);
    assert_true(find_label(p, "forty")->box.x < find_label(p, "three")->box.x);
    hs_fig_close(fig);
}

// Tokens that are longer than a line are cut, by characters.
static void strip_endless(void **state) {
    (void)state;
    static const char *const unit[] = {"x", "日", "👩", " x", "\xff"};
    for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
        hs_buf b = {0};
        for (int i = 0; i < 300000; i++) hs_buf_str(&b, unit[u]);
        const char *const label[] = {"a", hs_buf_text(&b), "b"};
        static const double value[3] = {0};
        hs_fig *fig;
        hs_fig_strip f = {.label = label, .value = value, .n = 3, .mark = 1};
        assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
        check_texts(hs_fig_page(fig));
        check_grounds(hs_fig_page(fig));
        assert_true(hs_fig_page(fig)->width / hs_fig_page(fig)->px < 900);
        hs_fig_close(fig);
        hs_buf_free(&b);
    }
}

// A word of several tokens stays together.
static void strip_words(void **state) {
    (void)state;
    enum { N = 120 };
    const char *label[N];
    static const double value[N] = {0};
    for (int i = 0; i < N; i++) label[i] = i % 3 == 0 ? " long" : i % 3 == 1 ? "er" : "word";
    hs_fig *fig;
    hs_fig_strip f = {.label = label, .value = value, .n = N, .mark = -1};
    assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    double y = 0;
    int n = 0, lines = 0;
    for (int64_t i = 0; i < p->n_mark && n < N; i++) {
        const hs_label *l = &p->mark[i].label;
        if (p->mark[i].kind != HS_MARK_LABEL || l->turned) continue;
        if (n % 3 == 0) {
            lines += l->y > y;
            y = l->y;
        }
        assert_true(fabs(l->y - y) < 1e-9);
        n++;
    }
    assert_int_equal(n, N);
    assert_true(lines > 3 && lines < 30);
    hs_fig_close(fig);
}

// More than the page holds: the mark is always there, and a note says what else is.
static void strip_too_long(void **state) {
    (void)state;
    enum { N = 12000 };
    static const int64_t marks[] = {0, 5000, N - 1};
    const char **label = calloc(N, sizeof *label);
    double *value = calloc(N, sizeof *value);
    int64_t marks_of_first = 0;
    for (int i = 0; i < N; i++) label[i] = i % 2 ? " word" : " other";
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) {
        hs_fig *fig;
        hs_fig_strip f = {.label = label, .value = value, .n = N, .mark = marks[k]};
        label[marks[k]] = " marked";
        assert_int_equal(hs_fig_open_strip(&fig, &f, NULL), HS_OK);
        const hs_page *p = hs_fig_page(fig);
        assert_non_null(find_label(p, "marked"));
        assert_true(p->height / p->px < HS_MAX_SPAN + 100);
        assert_true(p->n_note == 1 && strstr(p->note[0], "of 12000"));
        assert_int_equal(strstr(p->note[0], "tokens 0 to") != NULL, k == 0);
        if (!k) marks_of_first = p->n_mark; // the page is as full
        assert_true(llabs(p->n_mark - marks_of_first) < 60);
        label[marks[k]] = marks[k] % 2 ? " word" : " other";
        hs_fig_close(fig);
    }
    free(label);
    free(value);
}

// ---- curves -------------------------------------------------------------------------------------

static int count(const hs_page *p, enum hs_mark_kind kind, uint32_t ink) {
    int n = 0;
    for (int64_t i = 0; i < p->n_mark; i++) n += p->mark[i].kind == kind && p->mark[i].ink == ink;
    return n;
}

static const hs_dot *dot(const hs_page *p, uint32_t ink, int n) {
    for (int64_t i = 0; i < p->n_mark; i++)
        if (p->mark[i].kind == HS_MARK_DOT && p->mark[i].ink == ink && n-- == 0)
            return &p->mark[i].dot;
    fail_msg("too few dots");
    return NULL;
}

static void curve_places(void **state) {
    (void)state;
    static const double y[] = {0, 10, NAN, 30, 20, NAN, 40},
                        heads[] = {40, 30, 20, 10, 0, NAN, NAN};
    const hs_fig_line line[] = {{.y = heads, .faint = true}, {.name = "mean", .y = y}};
    hs_fig *fig;
    hs_fig_curve f = {.x_title = "Layer",
                      .y_title = "y",
                      .n = 7,
                      .line = line,
                      .n_line = 2,
                      .faint_name = "one head",
                      .dots = true};
    assert_int_equal(hs_fig_open_curve(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    check_page(p);
    assert_int_equal(count(p, HS_MARK_DOT, HS_INK_SERIES), 5);
    assert_int_equal(count(p, HS_MARK_DOT, HS_INK_FRAME), 5 + 1); // and in the legend
    // Two stretches (a lone value has its dot only), and the way to the name.
    assert_int_equal(count(p, HS_MARK_LINE, HS_INK_SERIES), 3);
    assert_int_equal(count(p, HS_MARK_LINE, HS_INK_FRAME), 0);
    const hs_dot *a = dot(p, HS_INK_SERIES, 0), *b = dot(p, HS_INK_SERIES, 1),
                 *c = dot(p, HS_INK_SERIES, 2), *e = dot(p, HS_INK_SERIES, 4);
    double step = b->x - a->x, unit = a->y - b->y;
    assert_true(step > 0 && unit > 0);
    assert_true(fabs(c->x - a->x - 3 * step) < 1e-6 && fabs(e->x - a->x - 6 * step) < 1e-6);
    assert_true(fabs(a->y - c->y - 3 * unit) < 1e-6 && fabs(a->y - e->y - 4 * unit) < 1e-6);
    assert_true(fabs(dot(p, HS_INK_FRAME, 0)->y - e->y) < 1e-6);
    assert_non_null(find_label(p, "mean"));
    assert_non_null(find_label(p, "one head"));
    // The number 40 stands at the height of the value 40.
    const hs_label *forty = find_label(p, "40");
    assert_non_null(forty);
    assert_true(fabs(forty->box.y + 0.5 * forty->box.h - e->y) < 1);
    hs_fig_close(fig);
    // Without dots a lone value still has one.
    f.dots = false;
    assert_int_equal(hs_fig_open_curve(&fig, &f, NULL), HS_OK);
    assert_int_equal(count(hs_fig_page(fig), HS_MARK_DOT, HS_INK_SERIES), 1);
    assert_int_equal(count(hs_fig_page(fig), HS_MARK_LINE, HS_INK_FRAME), 1 + 1);
    hs_fig_close(fig);
}

// Names of curves that end together are moved apart.
static void curve_names(void **state) {
    (void)state;
    static const char *const name[] = {
        "L0H0", "a long name of a curve", "السلام", "日本語", "L11H1", "<b>", "z\u0310\u0329"};
    double y[HS_MOST_CURVES][40];
    hs_fig_line line[HS_MOST_CURVES];
    for (int at = 0; at < 3; at++)
        for (int n = 1; n <= HS_MOST_CURVES; n++) {
            for (int l = 0; l < n; l++) {
                for (int i = 0; i < 40; i++) y[l][i] = 0.5 * at + 1e-3 * l * (i % 2);
                y[l][0] = l % 2; // so that 0 and 1 are on the axis
                line[l] = (hs_fig_line){.name = name[l], .y = y[l]};
            }
            hs_fig *fig;
            hs_fig_curve f = {.title = "T", .n = 40, .line = line, .n_line = n};
            assert_int_equal(hs_fig_open_curve(&fig, &f, NULL), HS_OK);
            check_page(hs_fig_page(fig));
            assert_int_equal(find_label(hs_fig_page(fig), "L0H0") != NULL, n > 1);
            hs_fig_close(fig);
        }
}

static void curve_layouts(void **state) {
    (void)state;
    static const int64_t size[] = {1, 2, 12, 60, 300, 5000};
    static double y[5000];
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int labelled = 0; labelled < 2; labelled++) {
            int64_t n = size[i];
            const char **label = awkward_labels(n + 3, 1);
            for (int64_t k = 0; k < n; k++) y[k] = k % 7 == 6 ? NAN : sin(0.1 * (double)k) * 1e-4;
            const hs_fig_line line = {.name = "x", .y = y};
            hs_fig *fig;
            hs_fig_curve f = {.title = "T",
                              .subtitle = "s",
                              .x_title = "Position",
                              .y_title = "weight",
                              .x0 = 3,
                              .n = n,
                              .label = labelled ? label : NULL,
                              .line = &line,
                              .n_line = 1};
            assert_int_equal(hs_fig_open_curve(&fig, &f, NULL), HS_OK);
            check_page(hs_fig_page(fig));
            hs_fig_close(fig);
            free(label);
        }
}

// The box of all points of lines of an ink.
static hs_box reach_of(const hs_page *p, uint32_t ink, int64_t *points) {
    double lo = INFINITY, hi = -INFINITY, left = INFINITY, right = -INFINITY;
    *points = 0;
    for (int64_t i = 0; i < p->n_mark; i++) {
        if (p->mark[i].kind != HS_MARK_LINE || p->mark[i].ink != ink) continue;
        for (int64_t k = 0; k < p->mark[i].line.n; k++) {
            hs_xy at = p->mark[i].line.at[k];
            assert_true(isfinite(at.x) && isfinite(at.y));
            lo = fmin(lo, at.y);
            hi = fmax(hi, at.y);
            left = fmin(left, at.x);
            right = fmax(right, at.x);
            ++*points;
        }
    }
    return (hs_box){left, lo, right - left, hi - lo};
}

// A long curve keeps its peaks, however many positions a pixel has.
static void curve_peaks(void **state) {
    (void)state;
    enum { N = 200000 };
    double *y = calloc(N, sizeof *y);
    y[77777] = 1;
    y[123456] = -1;
    const hs_fig_line line = {.y = y};
    hs_fig *fig;
    hs_fig_curve f = {.n = N, .line = &line, .n_line = 1};
    assert_int_equal(hs_fig_open_curve(&fig, &f, NULL), HS_OK);
    int64_t points, all;
    hs_box b = reach_of(hs_fig_page(fig), HS_INK_SERIES, &points);
    assert_true(points < 10000);
    hs_fig_close(fig);
    y[77777] = y[123456] = 0;
    y[0] = 1;
    y[N - 1] = -1;
    assert_int_equal(hs_fig_open_curve(&fig, &f, NULL), HS_OK);
    hs_box ends = reach_of(hs_fig_page(fig), HS_INK_SERIES, &all);
    assert_true(fabs(b.h - ends.h) < 1e-6 && b.h > 100);
    hs_fig_close(fig);
    free(y);
}

// A given range cuts curves at the edges of the axis.
static void curve_cut(void **state) {
    (void)state;
    static const double y[] = {0, 10, 0, -10, 0.5, 10, 10, 10, 1};
    const hs_fig_line line = {.y = y};
    const hs_fig_style style = {.lo = -1, .hi = 1};
    hs_fig *fig;
    hs_fig_curve f = {.n = 9, .line = &line, .n_line = 1, .dots = true};
    assert_int_equal(hs_fig_open_curve(&fig, &f, &style), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    int64_t points;
    hs_box b = reach_of(p, HS_INK_SERIES, &points);
    double unit = dot(p, HS_INK_SERIES, 0)->y - dot(p, HS_INK_SERIES, 2)->y; // 0.5
    assert_true(fabs(b.h - 4 * unit) < 1.5);
    assert_int_equal(count(p, HS_MARK_DOT, HS_INK_SERIES), 4);
    assert_int_equal(count(p, HS_MARK_LINE, HS_INK_SERIES), 4);
    assert_int_equal(p->n_note, 1);
    hs_fig_close(fig);
}

// ---- bars ---------------------------------------------------------------------------------------

static hs_rect bar_of(const hs_page *p, uint32_t ink, int n) {
    for (int64_t i = 0; i < p->n_mark; i++)
        if (p->mark[i].kind == HS_MARK_FILL && p->mark[i].ink == ink && n-- == 0)
            return p->mark[i].rect;
    fail_msg("too few bars");
    return (hs_rect){0};
}

static void bar_lengths(void **state) {
    (void)state;
    static const char *const name[] = {"L0H0", "L1H1", "L2H2", "L3H3"};
    static const double value[] = {0.8, 0.4, NAN, 0.2};
    hs_fig *fig;
    hs_fig_bars f = {.x_title = "score", .n = 4, .name = name, .value = value};
    assert_int_equal(hs_fig_open_bars(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    check_page(p);
    hs_rect a = bar_of(p, HS_INK_SERIES, 0), b = bar_of(p, HS_INK_SERIES, 1),
            c = bar_of(p, HS_INK_SERIES, 2);
    assert_int_equal(count(p, HS_MARK_FILL, HS_INK_SERIES), 3);
    assert_true(a.x == b.x && b.x == c.x && abs(a.w - 2 * b.w) <= 2 && abs(b.w - 2 * c.w) <= 2);
    assert_true(a.y < b.y && b.y < c.y && c.y - b.y == 2 * (b.y - a.y));
    assert_non_null(find_label(p, "0.800"));
    assert_non_null(find_label(p, "undefined"));
    assert_true(find_label(p, "L1H1")->box.x < b.x / p->px);
    assert_true(find_label(p, "0.400")->box.x > (b.x + b.w) / p->px);
    hs_fig_close(fig);
}

static void bars_both_ways(void **state) {
    (void)state;
    static const char *const name[] = {"plus", "minus"};
    static const double value[] = {1, -2}, lo[] = {0.5, -2.5}, hi[] = {1.5, NAN};
    hs_fig *fig;
    hs_fig_bars f = {.n = 2, .name = name, .value = value, .lo = lo, .hi = hi, .diverging = true};
    assert_int_equal(hs_fig_open_bars(&fig, &f, NULL), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    check_page(p);
    hs_rect plus = bar_of(p, HS_INK_SERIES, 0), minus = bar_of(p, HS_INK_SERIES + 1, 0);
    assert_true(abs(minus.x + minus.w - plus.x) <= 1 && abs(minus.w - 2 * plus.w) <= 2);
    // One whisker: a line and two caps.
    assert_int_equal(count(p, HS_MARK_FILL, HS_INK_TEXT), 3);
    hs_rect whisker = bar_of(p, HS_INK_TEXT, 0);
    assert_true(abs(whisker.w - plus.w) <= 2 && abs(2 * whisker.x - 2 * plus.x - plus.w) <= 4);
    assert_true(find_label(p, "1.00")->box.x > (whisker.x + whisker.w) / p->px);
    assert_true(find_label(p, "−2.00")->box.x < minus.x / p->px);
    hs_fig_close(fig);
    // The axis reaches as far on the other side.
    static const double other[] = {4, -1};
    f = (hs_fig_bars){.n = 2, .name = name, .value = other, .diverging = true};
    for (int way = 0; way < 2; way++) {
        assert_int_equal(hs_fig_open_bars(&fig, &f, NULL), HS_OK);
        assert_int_equal(find_label(hs_fig_page(fig), "−4") != NULL, f.diverging);
        assert_non_null(find_label(hs_fig_page(fig), "4"));
        hs_fig_close(fig);
        f.diverging = false;
    }
}

static void bar_layouts(void **state) {
    (void)state;
    static const double scale[] = {1e-9, 1e-3, 1, 12345, 1e12, 0};
    enum { N = 50 };
    const char **name = awkward_labels(N, 2);
    double value[N], lo[N], hi[N];
    for (size_t s = 0; s < sizeof scale / sizeof *scale; s++)
        for (int way = 0; way < 4; way++) {
            for (int i = 0; i < N; i++) {
                double v = scale[s] * cos(i * (way > 1 ? 0.2 : 0.02));
                value[i] = i == 9 ? NAN : way == 3 ? -fabs(v) : v;
                lo[i] = value[i] - 0.1 * scale[s];
                hi[i] = value[i] + 0.3 * scale[s];
            }
            hs_fig *fig;
            hs_fig_bars f = {.title = "T", .x_title = "x", .n = N, .name = name, .value = value};
            if (way) {
                f.lo = lo;
                f.hi = hi;
            }
            f.diverging = way == 2;
            assert_int_equal(hs_fig_open_bars(&fig, &f, NULL), HS_OK);
            check_page(hs_fig_page(fig));
            hs_fig_close(fig);
        }
    free(name);
}

static void bars_cut(void **state) {
    (void)state;
    static const char *const name[] = {"a", "b"};
    static const double value[] = {5, 1};
    const hs_fig_style style = {.lo = 0, .hi = 2};
    hs_fig *fig;
    hs_fig_bars f = {.n = 2, .name = name, .value = value};
    assert_int_equal(hs_fig_open_bars(&fig, &f, &style), HS_OK);
    const hs_page *p = hs_fig_page(fig);
    check_page(p);
    hs_rect a = bar_of(p, HS_INK_SERIES, 0), b = bar_of(p, HS_INK_SERIES, 1);
    assert_true(abs(a.w - 2 * b.w) <= 2); // cut at 2, where the axis ends
    assert_int_equal(p->n_note, 1);
    hs_fig_close(fig);
}

// ---- files and refusals -------------------------------------------------------------------------

static char *read_all(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    char *all = calloc(1, 1 << 22);
    *n = file ? fread(all, 1, 1 << 22, file) : 0;
    if (file) fclose(file);
    return all;
}

static int open_kind(int kind, hs_fig **fig) {
    static const char *const label[] = {"The", " \xe7", "\x81", "\xaf", " مرحبا"};
    static const double value[] = {0, 0.5, NAN, -1, 1};
    static const hs_fig_line line[] = {{.name = "a", .y = value}, {.y = value, .faint = true}};
    const hs_fig_strip strip = {.title = "T", .label = label, .value = value, .n = 5, .mark = 0};
    const hs_fig_curve curve = {
        .title = "T", .n = 5, .label = label, .line = line, .n_line = 2, .faint_name = "b"};
    const hs_fig_bars bars = {.title = "T", .n = 5, .name = label, .value = value};
    return kind == 0   ? hs_fig_open_strip(fig, &strip, NULL)
           : kind == 1 ? hs_fig_open_curve(fig, &curve, NULL)
                       : hs_fig_open_bars(fig, &bars, NULL);
}

static void files_repeat(void **state) {
    (void)state;
    static const char *const ending[] = {"png", "svg", "pdf"};
    static const char *const meta[] = {"run", "7", NULL};
    for (int kind = 0; kind < 3; kind++)
        for (int e = 0; e < 3; e++) {
            char *bytes[2];
            size_t n[2];
            for (int k = 0; k < 2; k++) {
                char name[32];
                hs_fig *fig;
                snprintf(name, sizeof name, "%d%d.%s", kind, k, ending[e]);
                assert_int_equal(open_kind(kind, &fig), HS_OK);
                assert_int_equal(hs_fig_save(fig, meta, path_of(name)), HS_OK);
                hs_fig_close(fig);
                bytes[k] = read_all(path_of(name), &n[k]);
            }
            assert_true(n[0] > 500 && n[0] == n[1]);
            assert_memory_equal(bytes[0], bytes[1], n[0]);
            free(bytes[0]);
            free(bytes[1]);
        }
}

static void refusals(void **state) {
    (void)state;
    static const char *const label[] = {"a", "b"};
    static const double value[] = {1, 2}, none[] = {NAN, NAN}, endless[] = {1, INFINITY};
    hs_fig_line line[HS_MOST_CURVES + 1];
    for (int i = 0; i <= HS_MOST_CURVES; i++) line[i] = (hs_fig_line){.name = "x", .y = value};
    hs_fig *fig;
    const hs_fig_strip strips[] = {
        {.label = label, .value = value, .n = 0, .mark = -1},
        {.label = label, .value = value, .n = 2, .mark = 2},
        {.label = label, .value = value, .n = 2, .mark = -2},
        {.value = value, .n = 2, .mark = -1},
        {.label = label, .n = 2, .mark = -1},
    };
    for (size_t i = 0; i < sizeof strips / sizeof *strips; i++) {
        assert_int_equal(hs_fig_open_strip(&fig, &strips[i], NULL), HS_EARG);
        assert_null(fig);
    }
    const hs_fig_curve curves[] = {
        {.n = 0, .line = line, .n_line = 1},
        {.n = 2, .line = line, .n_line = 0},
        {.n = 2, .line = line, .n_line = HS_MOST_CURVES + 1},
        {.n = 2, .x0 = -1, .line = line, .n_line = 1},
        {.n = 2, .line = &(hs_fig_line){.name = "x"}, .n_line = 1},
    };
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        assert_int_equal(hs_fig_open_curve(&fig, &curves[i], NULL), HS_EARG);
        assert_null(fig);
    }
    const hs_fig_bars bars[] = {
        {.n = 0, .name = label, .value = value},
        {.n = 1001, .name = label, .value = value},
        {.n = 2, .value = value},
        {.n = 2, .name = label, .value = value, .lo = value},
    };
    for (size_t i = 0; i < sizeof bars / sizeof *bars; i++) {
        assert_int_equal(hs_fig_open_bars(&fig, &bars[i], NULL), HS_EARG);
        assert_null(fig);
    }
    // Nothing to show is a picture too, and what has no end does not stretch the axis.
    hs_fig_line odd = {.name = "x", .y = none};
    const hs_fig_curve empty = {.n = 2, .line = &odd, .n_line = 1};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hs_fig_open_curve(&fig, &empty, NULL), HS_OK);
        check_page(hs_fig_page(fig));
        hs_fig_close(fig);
        const hs_fig_bars b = {.n = 2, .name = label, .value = odd.y};
        assert_int_equal(hs_fig_open_bars(&fig, &b, NULL), HS_OK);
        check_page(hs_fig_page(fig));
        hs_fig_close(fig);
        const hs_fig_strip s = {.label = label, .value = odd.y, .n = 2, .mark = -1};
        assert_int_equal(hs_fig_open_strip(&fig, &s, NULL), HS_OK);
        hs_fig_close(fig);
        odd.y = endless;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces),
        cmocka_unit_test(breaks_and_directions),
        cmocka_unit_test(strip_layouts),
        cmocka_unit_test(strip_colours),
        cmocka_unit_test(strip_shared),
        cmocka_unit_test(strip_directions),
        cmocka_unit_test(strip_lines),
        cmocka_unit_test(strip_endless),
        cmocka_unit_test(strip_words),
        cmocka_unit_test(strip_too_long),
        cmocka_unit_test(curve_places),
        cmocka_unit_test(curve_names),
        cmocka_unit_test(curve_layouts),
        cmocka_unit_test(curve_peaks),
        cmocka_unit_test(curve_cut),
        cmocka_unit_test(bar_lengths),
        cmocka_unit_test(bars_both_ways),
        cmocka_unit_test(bar_layouts),
        cmocka_unit_test(bars_cut),
        cmocka_unit_test_setup_teardown(files_repeat, setup, teardown),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
