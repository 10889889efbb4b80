// The regexes of tokenizer files: classes and syntax where PCRE2 and the reference differ. Patterns
// that are refused: test_tok_open.c.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/regex.h"

// The matches of a pattern, "0-1 3-5".
static const char *matches(const char *pattern, const char *text) {
    static char out[256];
    hs_regex *re;
    hs_regex_run *run;
    size_t n = strlen(text), used = 0, start, end;
    char *subject = malloc(n + 1);
    bool found = true;
    out[0] = 0;
    hs_regex_subject(text, n, subject);
    if (hs_regex_open(&re, pattern, strlen(pattern), false)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_regex_run_open(&run), HS_OK);
    for (size_t at = 0; at < n; at = end) {
        assert_int_equal(hs_regex_find(re, run, subject, n, at, &found, &start, &end), HS_OK);
        if (!found) break;
        used += (size_t)snprintf(out + used, sizeof out - used, used ? " %zu-%zu" : "%zu-%zu",
                                 start, end);
    }
    hs_regex_run_close(run);
    hs_regex_close(re);
    free(subject);
    return out;
}

static void classes(void **state) {
    (void)state;
    assert_string_equal(matches("\\s+", "a\xc2\x85"
                                        "b\u180ec\u3000d"),
                        "1-3 8-11");
    assert_string_equal(matches("\\w+", "a_1\u00b2\u0301\u2160 -\u2460"), "0-10");
    assert_string_equal(matches("\\W+", "a_- b"), "2-4");
    assert_string_equal(matches("[\\w-]+", "a-b c"), "0-3 4-5");
    assert_string_equal(matches("\\p{Han}+", "a\u4e2d\u3001b"), "1-4"); // by script, not extensions
    assert_string_equal(matches("(?i:'s|'ll)", "'S 'Ll '\u017f"), "0-2 3-6 7-10");
    assert_string_equal(matches("^a|a$", "ab\nba\na"), "0-1 4-5 6-7");
    assert_string_equal(matches(".", "\r\n\n"), "0-1");
    // Letters, numbers and symbols of Unicode 15 and 16; U+11DE0 is a number of 17 only.
    assert_string_equal(matches("\\p{L}+", "\U0002ebf0\U000105c0\u1c8a\ua7cb"), "0-14");
    assert_string_equal(matches("\\p{Lu}", "\u1c8a\ua7cb"), "3-6");
    assert_string_equal(matches("\\p{Han}", "\U0002ebf0\U000105c0"), "0-4");
    assert_string_equal(matches("\\p{N}", "\U00010d40\U00011de0"), "0-4");
    assert_string_equal(matches("\\p{S}", "\U0001fae9"), "0-4");
    assert_string_equal(matches("[^\\s\\p{L}\\p{N}\\p{P}\\p{S}]+", "a\xff\xc3z"), "1-3");
}

static void literal(void **state) {
    (void)state;
    hs_regex *re;
    hs_regex_run *run;
    bool found;
    size_t start, end;
    assert_int_equal(hs_regex_open(&re, "a.b(", 4, true), HS_OK);
    assert_int_equal(hs_regex_run_open(&run), HS_OK);
    assert_int_equal(hs_regex_find(re, run, "axb(a.b(", 8, 0, &found, &start, &end), HS_OK);
    assert_true(found && start == 4 && end == 8);
    assert_int_equal(hs_regex_find(re, run, "axb(a.b(", 8, 5, &found, &start, &end), HS_OK);
    assert_false(found);
    hs_regex_run_close(run);
    hs_regex_close(re);
    assert_int_equal(hs_regex_open(&re, "\xff", 1, false), HS_EFORMAT);
    assert_null(re);
}

// Look-behind sees what is before the place where the search begins.
static void look_behind(void **state) {
    (void)state;
    assert_string_equal(matches("(?<=a)b|a", "abb"), "0-1 1-2");
}

// A subject keeps every length and is valid; what both engines know stays as it is.
static void subjects(void **state) {
    (void)state;
    static const char text[] = "a\xff\u00e9\u4e2d\U0001f469\u1c8a\U0002ebf0\xe2\x82";
    static const char want[] = "a\x01\u00e9\u4e2d\U0001f469\u1e01\U00020000\x01\x01";
    char out[sizeof text] = {0};
    hs_regex_subject(text, sizeof text - 1, out);
    assert_string_equal(out, want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),
        cmocka_unit_test(literal),
        cmocka_unit_test(look_behind),
        cmocka_unit_test(subjects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
