// SVG and PDF: the page's size, everything on it, equal bytes, words about themselves.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "model/core/mem.h"
#include "tests/unit/viz_common.h"
#include "viz/svg.h"

static const char *const META[] = {"model", "Smol<LM2>", "prompt", "日本\xff & \"co\"", NULL};

// A map with labels of every kind, and a grid with gaps and hatches.
static hs_fig *open_map(const hs_fig_style *style) {
    int64_t n_k = AWKWARD;
    const char **label = awkward_labels(AWKWARD, 0);
    hs_fig_map f = {.title = "Títle <1>",
                    .subtitle = "a & b",
                    .rows = {&n_k, zero_row},
                    .n_q = AWKWARD,
                    .n_k = AWKWARD,
                    .label = label,
                    .causal = true,
                    .bar_label = "weight"};
    hs_fig *d;
    assert_int_equal(hs_fig_open_map(&d, &f, style), HS_OK);
    free(label);
    return d;
}

static hs_fig *open_grid(const hs_fig_style *style) {
    double value[] = {-0.5, 0, 0.25, NAN, 1, 0.125};
    hs_fig_grid f = {.title = "t", .value = value, .n_layer = 3, .n_head = 2};
    hs_fig *d;
    assert_int_equal(hs_fig_open_grid(&d, &f, style), HS_OK);
    return d;
}

static char *read_text(const char *path, size_t *n) {
    hs_map m;
    assert_int_equal(hs_map_open(&m, path), HS_OK);
    char *text = malloc(m.size + 1);
    memcpy(text, m.data, m.size);
    text[m.size] = 0;
    *n = m.size;
    hs_map_close(&m);
    return text;
}

// Every file again, in the same process and after others: the same bytes.
static void bytes_repeat(void **state) {
    (void)state;
    static const char *const ending[] = {"png", "svg", "pdf"};
    const hs_fig_style style = {.lo = 1, .theme = HS_THEME_SCREEN};
    for (int kind = 0; kind < 2; kind++)
        for (size_t e = 0; e < sizeof ending / sizeof *ending; e++) {
            char *text[3];
            size_t n[3];
            for (int turn = 0; turn < 3; turn++) {
                char name[32];
                snprintf(name, sizeof name, "%d.%s", turn, ending[e]);
                hs_fig *d = kind ? open_grid(&style) : open_map(&style);
                assert_int_equal(hs_fig_save(d, META, path_of(name)), HS_OK);
                if (turn == 1) // a figure may be saved twice
                    assert_int_equal(hs_fig_save(d, META, path_of(name)), HS_OK);
                text[turn] = read_text(path_of(name), &n[turn]);
                hs_fig_close(d);
            }
            for (int turn = 1; turn < 3; turn++) {
                assert_int_equal(n[turn], n[0]);
                assert_memory_equal(text[turn], text[0], n[0]);
            }
            for (int turn = 0; turn < 3; turn++) free(text[turn]);
        }
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (const char *s = text; (s = strstr(s, what)); s += strlen(what)) n++;
    return n;
}

// Every element is closed, in order; attributes are quoted; every entity is one.
static void check_xml(const char *text) {
    const char *open[64];
    int depth = 0, elements = 0;
    for (const char *s = text; *s; s++) {
        if (*s == '&') {
            size_t n = strcspn(s, ";");
            assert_true(n >= 3 && n <= 6);
        }
        if (*s != '<') continue;
        if (s[1] == '?') continue;
        bool end = s[1] == '/';
        const char *name = s + 1 + end;
        size_t n = strcspn(name, " />\n");
        assert_true(n > 0);
        if (end) {
            assert_true(depth > 0);
            depth--;
            assert_memory_equal(open[depth], name, n);
            assert_non_null(memchr(" >\n", open[depth][n], 3));
            continue;
        }
        elements++;
        const char *close = name + n;
        for (; *close != '>'; close++) {
            assert_true(*close && *close != '<');
            if (*close == '"') close = strchr(close + 1, '"');
            assert_non_null(close);
        }
        if (close[-1] == '/') continue;
        assert_true(depth < 64);
        open[depth++] = name;
        s = close - 1;
    }
    assert_int_equal(depth, 0);
    assert_true(elements > 20);
}

static void svg(void **state) {
    (void)state;
    size_t n;
    char size[64];
    hs_fig *d = open_map(NULL);
    const hs_page *p = hs_fig_page(d);
    assert_int_equal(hs_fig_save(d, META, path_of("m.svg")), HS_OK);
    char *text = read_text(path_of("m.svg"), &n);
    check_xml(text);
    snprintf(size, sizeof size, "width=\"%gpt\" height=\"%gpt\"", p->width / p->px,
             p->height / p->px);
    assert_non_null(strstr(text, size));
    assert_non_null(strstr(text, "<title>Títle &lt;1&gt;</title>"));
    assert_non_null(strstr(text, "<desc>a &amp; b</desc>"));
    assert_non_null(
        strstr(text, "<hs:fact name=\"prompt\">日本&lt;0xFF&gt; &amp; &quot;co&quot;<"));
    assert_non_null(strstr(text, "<hs:fact name=\"cmap\">viridis<"));
    assert_true(count(text, "<image") >= 2); // map and bar; emoji are more
    assert_true(count(text, "xlink:href=\"#glyph") > AWKWARD);
    free(text);
    hs_fig_close(d);

    d = open_grid(NULL);
    assert_int_equal(hs_fig_save(d, NULL, path_of("g.svg")), HS_OK);
    text = read_text(path_of("g.svg"), &n);
    check_xml(text);
    assert_int_equal(count(text, "<image"), 1); // the bar: cells with gaps are rectangles
    assert_int_equal(count(text, "fill:rgb(26.666667%,0.392157%,32.941176%)"), 1); // viridis at 0
    free(text);
    hs_fig_close(d);
}

static void pdf(void **state) {
    (void)state;
    size_t n;
    char size[64];
    hs_fig *d = open_map(NULL);
    const hs_page *p = hs_fig_page(d);
    assert_int_equal(hs_fig_save(d, META, path_of("m.PDF")), HS_OK);
    char *text = read_text(path_of("m.PDF"), &n);
    for (size_t i = 0; i < n; i++)
        if (!text[i]) text[i] = ' ';
    assert_memory_equal(text, "%PDF-1.", 7);
    assert_string_equal(text + n - 6, "%%EOF\n");
    snprintf(size, sizeof size, "/MediaBox [ 0 0 %.6g %.6g ]", p->width / p->px, p->height / p->px);
    assert_non_null(strstr(text, size));
    assert_non_null(strstr(text, "/Subject (a & b)"));
    assert_non_null(strstr(text, "19700101000000Z)"));
    assert_null(strstr(text, "/ModDate"));
    assert_true(count(text, "/FontFile") + count(text, "/FontDescriptor") > 0); // text is text
    assert_true(count(text, "/Subtype /Image") >= 2);
    free(text);
    hs_fig_close(d);
}

// A device that is always full: an error, and nothing is left behind.
static void full_disk(void **state) {
    (void)state;
    static const char *const name[] = {"a.png", "a.svg", "a.pdf"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        hs_fig *d = open_grid(NULL);
        assert_int_equal(symlink("/dev/full", path_of(name[i])), 0);
        assert_int_equal(hs_fig_save(d, NULL, path_of(name[i])), HS_EIO);
        assert_non_null(strstr(hs_errmsg(), name[i]));
        assert_int_equal(entries(true), 1);
        hs_fig_close(d);
    }
}

static void expect_tidy(const char *in, const char *want) {
    hs_buf svg = {0}, out = {0};
    hs_buf_str(&svg, in);
    int rc = hs_svg_tidy(&out, &svg, &(hs_svg_about){0});
    assert_int_equal(rc, want ? HS_OK : HS_E);
    if (want) assert_string_equal(hs_buf_text(&out), want);
    hs_buf_free(&svg);
    hs_buf_free(&out);
}

static void ids_are_counted_anew(void **state) {
    (void)state;
    expect_tidy("<?xml?><svg a=\"#x9\"><g id=\"surface17\"/><image id=\"image22\"/>"
                "<use href=\"#image22\" clip=\"url(#clip5)\"/><c id=\"clip5\"/> # #x </svg>",
                "<?xml?><svg a=\"#x9\">\n<g id=\"surface1\"/><image id=\"image2\"/>"
                "<use href=\"#image2\" clip=\"url(#clip3)\"/><c id=\"clip3\"/> # #x </svg>");
    expect_tidy("<svg><s id=\"glyph0-12\"/><use href=\"#glyph0-12\"/><f id=\"alpha\"/></svg>",
                "<svg>\n<s id=\"glyph0-12\"/><use href=\"#glyph0-12\"/><f id=\"alpha\"/></svg>");
    expect_tidy("<svg><a id=\"clip12\"/><a id=\"clip1\"/><a id=\"clip123\"/>"
                "<u x=\"url(#clip1)\" y=\"url(#clip12)\" z=\"url(#clip13)\"/></svg>",
                "<svg>\n<a id=\"clip1\"/><a id=\"clip2\"/><a id=\"clip3\"/>"
                "<u x=\"url(#clip2)\" y=\"url(#clip1)\" z=\"url(#clip13)\"/></svg>");
    expect_tidy("<svg></svg>", "<svg>\n</svg>");
    expect_tidy("<svg", NULL);
    expect_tidy("", NULL);
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_repeat, setup, teardown),
        cmocka_unit_test_setup_teardown(svg, setup, teardown),
        cmocka_unit_test_setup_teardown(pdf, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
        cmocka_unit_test(ids_are_counted_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
