// UTF-8: decoding of every well- and ill-formed shape, display, normalisation.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "model/core/utf8.h"

#define LIT(s) (s), sizeof(s) - 1

static void every_scalar(void **state) {
    (void)state;
    for (int32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xd800 && cp < 0xe000) continue;
        char s[4];
        int32_t back;
        size_t n = hs_utf8_encode(cp, s);
        assert_int_equal(n, cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4);
        assert_int_equal(hs_utf8_decode(s, n, &back), n);
        assert_int_equal(back, cp);
        // Cut short, it begins with an invalid byte.
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(hs_utf8_decode(s, cut, &back), 1);
            assert_int_equal(back, HS_UTF8_INVALID);
        }
    }
}

static void ill_formed(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc3",
        "\xc3(",
        "\xe0\x9f\xbf",
        "\xe2\x28\xa1",
        "\xe2\x82(",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x28\x8c\xbc",
        "\xf0\x90\x28\xbc",
        "\xf0\x90\x8c(",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xfe",
        "\xff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t cp = 0;
        assert_int_equal(hs_utf8_decode(bad[i], strlen(bad[i]), &cp), 1);
        assert_int_equal(cp, HS_UTF8_INVALID);
        assert_false(hs_utf8_valid(bad[i], strlen(bad[i])));
    }
    assert_true(hs_utf8_valid(LIT("\xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf \xc2\x80")));
    assert_true(hs_utf8_valid("", 0));
}

static void spaces(void **state) {
    (void)state;
    int n = 0;
    for (int32_t cp = 0; cp < 0x110000; cp++) n += hs_utf8_is_space(cp);
    assert_int_equal(n, 25);
    const int32_t yes[] = {9, 13, 32, 0x85, 0xa0, 0x1680, 0x2000, 0x200a, 0x2028, 0x202f, 0x3000};
    const int32_t no[] = {0, 8, 14, 0x1c, 0x1f, 0x180e, 0x200b, 0x2060, 0xfeff, HS_UTF8_INVALID};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) assert_true(hs_utf8_is_space(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) assert_false(hs_utf8_is_space(no[i]));
}

static void width(void **state) {
    (void)state;
    static const struct {
        const char *s;
        int width;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\u00e9", 1},
        {"e\u0301", 1},
        {"\u4e2d\u6587", 4},
        {"\uff71", 1},
        {"\uac00", 2},
        {"\u1112\u1161\u11ab", 2},
        {"\u0928\u092e", 2},
        {"\u200b", 0},
        {"\n", 0},
        {"\U0001f44d", 2},
        {"\U0001f44d\U0001f3fd", 2},
        {"\u2764\ufe0f", 2},
        {"\U0001f469\u200d\U0001f469\u200d\U0001f467", 2},
        {"\U0001f1eb\U0001f1f7", 2},
        {"\xff", 1},
        {"a\xe2\x82z", 4},
        {"\U0001f44d\xff", 3},
        {"\xff\U0001f44d", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(hs_utf8_width(cases[i].s, strlen(cases[i].s)), cases[i].width);
}

static void visible(void **state) {
    (void)state;
    static const struct {
        const char *s;
        size_t n;
        bool mark;
        const char *shown;
    } cases[] = {
        {LIT(""), true, ""},
        {LIT(" the"), false, " the"},
        {LIT(" the "), true, "\u2423the\u2423"},
        {LIT("a\nb\tc\r"), false, "a\\nb\\tc\\r"},
        {LIT("\0\x1f\x7f"), false, "<U+0000><U+001F><U+007F>"},
        {LIT("\xe4\xb8"), false, "<0xE4><0xB8>"},
        {LIT("\xe4\xb8\xad\xff"), false, "\u4e2d<0xFF>"},
        {LIT("\u200b\u202e\ufeff\u2028"), false, "<U+200B><U+202E><U+FEFF><U+2028>"},
        {LIT("\ue000\u0378\U0010ffff"), false, "<U+E000><U+0378><U+10FFFF>"},
        {LIT("\u0301"), false, "\u25cc\u0301"},
        {LIT("e\u0301"), false, "e\u0301"},
        {LIT("\u200d"), false, "<U+200D>"},
        {LIT("\U0001f469\u200d\U0001f467"), false, "\U0001f469\u200d\U0001f467"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_buf out = {0};
        hs_utf8_visible(&out, cases[i].s, cases[i].n, cases[i].mark);
        assert_string_equal(hs_buf_text(&out), cases[i].shown);
        hs_buf_free(&out);
    }
}

static void check_form(enum hs_utf8_form form, const char *s, size_t n, const char *want) {
    hs_buf out = {0}, map = {0};
    assert_int_equal(hs_utf8_normalize(form, s, n, &out, &map), HS_OK);
    assert_string_equal(hs_buf_text(&out), want);
    assert_int_equal(map.len, out.len * sizeof(hs_utf8_from));
    const hs_utf8_from *span = (const hs_utf8_from *)(const void *)map.data;
    for (size_t i = 0; i < out.len; i++) {
        assert_true(span[i].from < span[i].to && span[i].to <= (int64_t)n);
        if (i) assert_true(span[i].from >= span[i - 1].from && span[i].to >= span[i - 1].to);
    }
    if (out.len) assert_int_equal(span[0].from, 0);
    if (out.len) assert_int_equal(span[out.len - 1].to, n);
    hs_buf_free(&out);
    hs_buf_free(&map);
}

static void normalize(void **state) {
    (void)state;
    static const struct {
        const char *s, *nfc, *nfd;
    } cases[] = {
        {"", "", ""},
        {"abc", "abc", "abc"},
        {"e\u0301", "\u00e9", "e\u0301"},
        {"\u00e9x", "\u00e9x", "e\u0301x"},
        {"a\u0302\u0323", "\u1ead", "a\u0323\u0302"}, // reordered, then composed twice
        {"a\u0301\u0301", "\u00e1\u0301", "a\u0301\u0301"},
        {"\u212b\u2126", "\u00c5\u03a9", "A\u030a\u03a9"}, // singletons
        {"\u0958", "\u0915\u093c", "\u0915\u093c"},        // excluded from composition
        {"\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab"},
        {"\ud558\u11ab", "\ud55c", "\u1112\u1161\u11ab"},
        {"\u0301a", "\u0301a", "\u0301a"},
        {"\u4e2d\u6587", "\u4e2d\u6587", "\u4e2d\u6587"},
        {"a\u1abf\u0323", "a\u1abf\u0323", "a\u1abf\u0323"}, // U+1ABF: a mark of Unicode 13
        {"\U00011935\U00011930", "\U00011935\U00011930", "\U00011935\U00011930"}, // composes in 13
        {"e\xff\u0301", "e\xff\u0301", "e\xff\u0301"},
        {"e\u0301\xe2\x82", "\u00e9\xe2\x82", "e\u0301\xe2\x82"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_form(HS_UTF8_NFC, cases[i].s, strlen(cases[i].s), cases[i].nfc);
        check_form(HS_UTF8_NFD, cases[i].s, strlen(cases[i].s), cases[i].nfd);
    }
}

// Marks of one base are sorted in linear time: half a million of them, in falling order.
static void many_marks(void **state) {
    (void)state;
    enum { N = 250000 };
    hs_buf s = {0}, out = {0}, map = {0};
    assert_non_null(hs_buf_reserve(&s, 4 * N + 1));
    hs_buf_chr(&s, 'x');
    for (int i = 0; i < N; i++) hs_buf_str(&s, "\u0301\u0323");
    assert_int_equal(hs_utf8_normalize(HS_UTF8_NFD, s.data, s.len, &out, &map), HS_OK);
    assert_int_equal(out.len, s.len);
    assert_memory_equal(out.data, "x\u0323\u0323", 5);
    assert_memory_equal(out.data + 1 + 2 * N - 2, "\u0323\u0301", 4);
    hs_buf_free(&s);
    hs_buf_free(&out);
    hs_buf_free(&map);
}

// Where the text changes, the new bytes map to the whole stretch; elsewhere byte to byte.
static void map_of(void **state) {
    (void)state;
    hs_buf out = {0}, map = {0};
    assert_int_equal(hs_utf8_normalize(HS_UTF8_NFC, LIT("ae\u0301\u4e2d"), &out, &map), HS_OK);
    assert_string_equal(out.data, "a\u00e9\u4e2d");
    const hs_utf8_from want[] = {{0, 1}, {1, 4}, {1, 4}, {4, 5}, {5, 6}, {6, 7}};
    assert_int_equal(map.len, sizeof want);
    assert_memory_equal(map.data, want, sizeof want);
    hs_buf_free(&out);
    hs_buf_free(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar), cmocka_unit_test(ill_formed), cmocka_unit_test(spaces),
        cmocka_unit_test(width),        cmocka_unit_test(visible),    cmocka_unit_test(normalize),
        cmocka_unit_test(many_marks),   cmocka_unit_test(map_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
