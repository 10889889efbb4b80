// Labels, ticks, numbers, colour maps.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "viz/label.h"
#include "viz/scale.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_labels), cmocka_unit_test(endless_token), cmocka_unit_test(ticks),
        cmocka_unit_test(numbers),      cmocka_unit_test(colour_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
