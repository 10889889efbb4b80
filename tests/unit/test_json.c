// JSON: what is accepted, what is refused and where, and that everything written reads back.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/json.h"
#include "model/core/prng.h"

static hs_json *parsed(const char *text) {
    hs_json *v;
    if (hs_json_parse(&v, text, strlen(text))) fail_msg("%s: %s", text, hs_errmsg());
    return v;
}

static void valid_text_prints_compactly(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"{}", "{}"},
        {" [ ] \n", "[]"},
        {"[[],[],{}]", "[[],[],{}]"},
        {"\t{\"a\" : [1, -2.50,3e2] ,\r\n\"b\":{\"c\":null}}",
         "{\"a\":[1,-2.5,300],\"b\":{\"c\":null}}"},
        {"[true,false,null]", "[true,false,null]"},
        {"\"a\\u00e9\\n\\\"\\\\\\/\\b\\f\\r\\t\"", "\"a\u00e9\\n\\\"\\\\/\\b\\f\\r\\t\""},
        {"\"\\ud83d\\ude00\\u20aC\"", "\"\U0001f600\u20ac\""},
        {"0", "0"},
        {"-0", "-0"},
        {"-0.0e-0", "-0"},
        {"5e-324", "5e-324"},
        {"[0.1,1E21,0.30000000000000004]", "[0.1,1e+21,0.30000000000000004]"},
        {"{\"\":1}", "{\"\":1}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        hs_buf out = {0};
        hs_json *v = parsed(pairs[i][0]);
        hs_json_print(v, &out);
        assert_string_equal(hs_buf_text(&out), pairs[i][1]);
        hs_json_free(v);
        hs_buf_free(&out);
    }
}

static void invalid_text_is_refused_where_it_goes_wrong(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        int line, column;
    } bad[] = {
        {"", 0, 1, 1},
        {"  ", 2, 1, 3},
        {"01", 2, 1, 2},
        {"[1,]", 4, 1, 4},
        {"{\"a\":1,}", 8, 1, 8},
        {"{,}", 3, 1, 2},
        {"[", 1, 1, 2},
        {"[1", 2, 1, 3},
        {"}", 1, 1, 1},
        {"{\"a\"}", 5, 1, 5},
        {"{a:1}", 5, 1, 2},
        {"[1 2]", 5, 1, 4},
        {"[1}", 3, 1, 3},
        {"{\"a\":1]", 7, 1, 7},
        {"[]]", 3, 1, 3},
        {"[1]\nx", 5, 2, 1},
        {"1\0", 2, 1, 2},
        {"\"a\0\"", 4, 1, 3},
        {"\"\\u0000\"", 8, 1, 4},
        {"\"\t\"", 3, 1, 2},
        {"\"a", 2, 1, 3},
        {"\"\\x\"", 4, 1, 3},
        {"\"\\u12g4\"", 8, 1, 4},
        {"\"\\u12", 5, 1, 4},
        {"\"\\ud800\"", 8, 1, 4},
        {"\"\\udc00\"", 8, 1, 4},
        {"\"\\ud800\\u0041\"", 14, 1, 4},
        {"\"\\udc00\\udc00\"", 14, 1, 4},
        {"\"\\ud800\\", 8, 1, 4},
        {"\"\xff\"", 3, 1, 2},
        {"\"\xe2\x82\"", 4, 1, 2},
        {"\"\xed\xa0\x80\"", 5, 1, 2},
        {"nul", 3, 1, 1},
        {"True", 4, 1, 1},
        {"NaN", 3, 1, 1},
        {"-", 1, 1, 2},
        {"+1", 2, 1, 1},
        {".5", 2, 1, 1},
        {"1.", 2, 1, 3},
        {"1e", 2, 1, 3},
        {"1e+x", 4, 1, 4},
        {"0x10", 4, 1, 2},
        {"'a'", 3, 1, 1},
        {"\xef\xbb\xbf{}", 5, 1, 1},
        {"[\n  1,\n  tru]", 12, 3, 3},
        {"// c", 4, 1, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char where[64];
        hs_json *v = NULL;
        // A copy of exactly n bytes, so that a sanitizer sees any read beyond.
        char *text = malloc(bad[i].n ? bad[i].n : 1);
        memcpy(text, bad[i].text, bad[i].n);
        assert_int_equal(hs_json_parse(&v, text, bad[i].n), HS_EFORMAT);
        assert_null(v);
        snprintf(where, sizeof where, "line %d column %d:", bad[i].line, bad[i].column);
        if (!strstr(hs_errmsg(), where))
            fail_msg("%s: '%s' does not say %s", bad[i].text, hs_errmsg(), where);
        free(text);
    }
}

static int parse_nested(int depth) {
    char text[512];
    hs_json *v;
    for (int i = 0; i < depth; i++) {
        text[i] = '[';
        text[2 * depth - 1 - i] = ']';
    }
    int rc = hs_json_parse(&v, text, (size_t)(2 * depth));
    hs_json_free(v);
    return rc;
}

static void depth_is_limited_to_100(void **state) {
    (void)state;
    assert_int_equal(parse_nested(100), HS_OK);
    assert_int_equal(parse_nested(101), HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), "deeper than 100"));
}

static void long_numbers_are_refused_and_the_longest_read(void **state) {
    (void)state;
    char text[65];
    hs_json *v;
    double d;
    memset(text, '1', sizeof text);
    assert_int_equal(hs_json_parse(&v, text, 64), HS_EFORMAT);
    assert_int_equal(hs_json_parse(&v, text, 63), HS_OK);
    assert_true(hs_json_num(v, &d) && d > 1.1e62 && d < 1.2e62);
    hs_json_free(v);
}

static void values_are_read_by_type(void **state) {
    (void)state;
    hs_json *doc = parsed("{\"i\":9007199254740992,\"big\":9007199254740994,\"neg\":-3,\"f\":1.5,"
                          "\"inf\":1e999,\"s\":\"x\",\"b\":true,\"n\":null,\"a\":[1,[2],3],"
                          "\"o\":{\"p\":{\"q\":7}},\"d\":1,\"d\":2,\"ab\":3}");
    int64_t i = -1;
    double d;
    bool b = false;
    assert_true(hs_json_int(hs_json_get(doc, "i"), &i) && i == INT64_C(1) << 53);
    assert_true(hs_json_int(hs_json_get(doc, "neg"), &i) && i == -3);
    assert_false(hs_json_int(hs_json_get(doc, "big"), &i));
    assert_false(hs_json_int(hs_json_get(doc, "f"), &i));
    assert_false(hs_json_int(hs_json_get(doc, "inf"), &i));
    assert_false(hs_json_int(hs_json_get(doc, "s"), &i));
    assert_int_equal(i, -3);
    assert_true(hs_json_num(hs_json_get(doc, "f"), &d) && d == 1.5);
    assert_true(hs_json_num(hs_json_get(doc, "inf"), &d) && isinf(d));
    assert_true(hs_json_bool(hs_json_get(doc, "b"), &b) && b);
    assert_false(hs_json_bool(hs_json_get(doc, "i"), &b));
    assert_string_equal(hs_json_str(hs_json_get(doc, "s")), "x");
    assert_null(hs_json_str(hs_json_get(doc, "n")));
    assert_int_equal(hs_json_type(hs_json_get(doc, "n")), HS_JSON_NULL);
    assert_null(hs_json_get(doc, "absent"));
    assert_null(hs_json_get(NULL, "a"));
    assert_null(hs_json_get(hs_json_get(doc, "a"), "a"));
    // The last of duplicates; a key that another begins with is another key.
    assert_true(hs_json_int(hs_json_get(doc, "d"), &i) && i == 2);
    assert_true(hs_json_int(hs_json_path(doc, "o.p.q"), &i) && i == 7);
    assert_null(hs_json_path(doc, "o.p.q.r"));
    assert_null(hs_json_path(doc, "o.x.q"));
    assert_null(hs_json_path(doc, "o."));
    const hs_json *a = hs_json_get(doc, "a");
    assert_int_equal(hs_json_size(a), 3);
    assert_int_equal(hs_json_size(hs_json_get(doc, "s")), 0);
    const hs_json *second = hs_json_next(hs_json_first(a));
    assert_int_equal(hs_json_type(second), HS_JSON_ARR);
    assert_null(hs_json_next(hs_json_next(second)));
    assert_string_equal(hs_json_key(hs_json_first(doc)), "i");
    hs_json_free(doc);
    hs_json_free(NULL);
}

static void a_writer_puts_the_commas(void **state) {
    (void)state;
    hs_buf out = {0};
    hs_jw w = {.out = &out};
    hs_jw_begin(&w, '{');
    hs_jw_key(&w, "a");
    hs_jw_begin(&w, '[');
    hs_jw_int(&w, INT64_MIN);
    hs_jw_bool(&w, true);
    hs_jw_null(&w);
    hs_jw_begin(&w, '{');
    hs_jw_end(&w, '}');
    hs_jw_raw(&w, "[0]");
    hs_jw_end(&w, ']');
    hs_jw_key(&w, "q\"");
    hs_jw_num(&w, NAN);
    hs_jw_key(&w, "f");
    hs_jw_f32(&w, -INFINITY);
    hs_jw_end(&w, '}');
    assert_string_equal(hs_buf_text(&out), "{\"a\":[-9223372036854775808,true,null,{},[0]],"
                                           "\"q\\\"\":null,\"f\":null}");
    hs_buf_free(&out);
}

static void strings_are_escaped_and_mended(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } rows[] = {
        {"plain", 5, "\"plain\""},
        {"\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\0\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\""},
        {"\xff", 1, "\"\ufffd\""},
        {"a\xf0\x9f\x98\x80z", 6, "\"a\U0001f600z\""},
        {"\xc3", 1, "\"\ufffd\""},
        {"\xc0\x80", 2, "\"\ufffd\ufffd\""},
        {"", 0, "\"\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hs_buf out = {0};
        hs_jw_strn(&(hs_jw){.out = &out}, rows[i].in, rows[i].n);
        assert_string_equal(hs_buf_text(&out), rows[i].out);
        hs_buf_free(&out);
    }
}

// Significant digits of a printed number: without sign, point, exponent and zeros at the ends.
static int digits_in(const char *text) {
    int n = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (!n && *text == '0')) continue;
        n++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return n - zeros;
}

// Whatever bits: the text reads back to them, and none with fewer digits does.
static void numbers_round_trip_shortest(void **state) {
    (void)state;
    hs_prng r = hs_prng_seed(3);
    hs_buf out = {0};
    for (int i = 0; i < 20000; i++) {
        const uint64_t wide = i % 2 ? hs_prng_u64(&r) : hs_prng_u64(&r) >> (i % 64);
        const uint32_t narrow = (uint32_t)wide;
        double d;
        float f;
        char shorter[400];
        memcpy(&d, &wide, sizeof d);
        memcpy(&f, &narrow, sizeof f);
        if (!isfinite(d) || !isfinite(f)) continue;
        hs_buf_clear(&out);
        hs_jw_num(&(hs_jw){.out = &out}, d);
        assert_memory_equal(&d, &(double){strtod(out.data, NULL)}, sizeof d);
        for (int digits = 1; digits < digits_in(out.data); digits++) {
            snprintf(shorter, sizeof shorter, "%.*g", digits, d);
            assert_true(strtod(shorter, NULL) != d);
        }
        hs_buf_clear(&out);
        hs_jw_f32(&(hs_jw){.out = &out}, f);
        assert_memory_equal(&f, &(float){strtof(out.data, NULL)}, sizeof f);
        for (int digits = 1; digits < digits_in(out.data); digits++) {
            snprintf(shorter, sizeof shorter, "%.*g", digits, (double)f);
            assert_true(strtof(shorter, NULL) != f);
        }
    }
    hs_buf_clear(&out);
    hs_jw_f32(&(hs_jw){.out = &out}, 0.1f);
    assert_string_equal(out.data, "0.1");
    hs_buf_free(&out);
}

// A vocabulary of a large tokenizer: linear in its size, or this test would never end.
static void large_objects_are_walked_once(void **state) {
    (void)state;
    enum { N = 200000 };
    hs_buf text = {0};
    hs_json *v;
    int64_t id, sum = 0;
    assert_non_null(hs_buf_reserve(&text, 24 * N));
    hs_buf_chr(&text, '{');
    for (int i = 0; i < N; i++) hs_buf_printf(&text, "%s\"t%d\":%d", i ? "," : "", i, i);
    hs_buf_chr(&text, '}');
    assert_int_equal(hs_json_parse(&v, text.data, text.len), HS_OK);
    for (const hs_json *m = hs_json_first(v); m; m = hs_json_next(m))
        if (hs_json_int(m, &id)) sum += id;
    assert_int_equal(sum, INT64_C(199999) * 100000);
    hs_json_free(v);
    hs_buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_text_prints_compactly),
        cmocka_unit_test(invalid_text_is_refused_where_it_goes_wrong),
        cmocka_unit_test(depth_is_limited_to_100),
        cmocka_unit_test(long_numbers_are_refused_and_the_longest_read),
        cmocka_unit_test(values_are_read_by_type),
        cmocka_unit_test(a_writer_puts_the_commas),
        cmocka_unit_test(strings_are_escaped_and_mended),
        cmocka_unit_test(numbers_round_trip_shortest),
        cmocka_unit_test(large_objects_are_walked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
