// Cutting text into words: the ways to split, and the splits that models use.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/tok_impl.h"

static int add_word(void *ctx, const char *word, size_t n, size_t start, bool prefixed) {
    hs_buf *out = ctx;
    (void)start;
    if (out->len) hs_buf_chr(out, '|');
    if (prefixed) hs_buf_chr(out, '+');
    hs_buf_add(out, word + prefixed, n - prefixed);
    return HS_OK;
}

// The words that `steps`, items of a pre_tokenizer Sequence, make of a text: "a| b"; a space that
// is not in the text is "+".
static void check(const char *steps, const char *text, const char *words) {
    hs_buf json = {0}, out = {0};
    hs_json *doc;
    hs_pre pre = {.n = 0};
    hs_regex_run *run;
    size_t n = strlen(text);
    char *subject = malloc(n + 1);
    hs_buf_printf(&json, "{\"type\":\"Sequence\",\"pretokenizers\":[%s]}", steps);
    assert_int_equal(hs_json_parse(&doc, json.data, json.len), HS_OK);
    if (hs_pre_from_json(&pre, doc)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_regex_run_open(&run), HS_OK);
    hs_regex_subject(text, n, subject);
    assert_int_equal(hs_pre_cut(&pre, run, text, subject, n, add_word, &out), HS_OK);
    assert_string_equal(hs_buf_text(&out), words);
    hs_regex_run_close(run);
    hs_pre_free(&pre);
    hs_json_free(doc);
    hs_buf_free(&json);
    hs_buf_free(&out);
    free(subject);
}

#define BYTES(space, regex)                                                                        \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":" space ",\"use_regex\":" regex "}"
#define WHOLE BYTES("false", "false")
#define SPLIT(regex, behavior, invert)                                                             \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior           \
    "\",\"invert\":" invert "}," WHOLE

// The reference's own example of the five behaviors.
static void behaviors(void **state) {
    (void)state;
    static const char text[] = "the-final--countdown";
    check(SPLIT("-", "Removed", "false"), text, "the|final|countdown");
    check(SPLIT("-", "Isolated", "false"), text, "the|-|final|-|-|countdown");
    check(SPLIT("-", "MergedWithPrevious", "false"), text, "the-|final-|-|countdown");
    check(SPLIT("-", "MergedWithNext", "false"), text, "the|-final|-|-countdown");
    check(SPLIT("-", "Contiguous", "false"), text, "the|-|final|--|countdown");
    check(SPLIT("[^-]+", "Removed", "true"), text, "the|final|countdown");
    check(SPLIT("[^-]", "MergedWithPrevious", "true"), text,
          "t|h|e-|f|i|n|a|l--|c|o|u|n|t|d|o|w|n");
    check(SPLIT("[^-]", "Contiguous", "true"), text, "the|-|final|--|countdown");
    check(SPLIT("-", "MergedWithNext", "false"), "-a-", "-a|-");
    check(SPLIT("-", "MergedWithPrevious", "false"), "-a-", "-|a-");
    check(SPLIT("x*", "Isolated", "false"), "axxb", "a|xx|b"); // empty matches cut
    check(SPLIT("(?=b)", "Isolated", "false"), "abab", "a|ba|b");
    check(SPLIT("-", "Removed", "false"), "-", "");
    check(WHOLE, "any thing", "any thing");
    check(WHOLE, "", "");
}

static void plain_string(void **state) {
    (void)state;
    check("{\"type\":\"Split\",\"pattern\":{\"String\":\"a.b\"},\"behavior\":\"Removed\","
          "\"invert\":false}," WHOLE,
          "xa.byaxb", "x|yaxb");
}

static void gpt2(void **state) {
    (void)state;
    static const char step[] = BYTES("false", "true");
    check(step, "Hello  world!!\n\n x", "Hello| | world|!!|\n\n| x");
    check(step, "I'm it's IT'S we'll 'tis", "I|'m| it|'s| IT|'|S| we|'ll| '|tis");
    check(step, "a1b23 4\u00bd", "a|1|b|23| 4\u00bd");
    check(step, "  a\n b", " | a|\n| b");
    check(step, "caf\u00e9\u0301\u3000\u4e2d", "caf\u00e9|\u0301|\u3000|\u4e2d");
    check(BYTES("true", "true"), "a b", "+a| b");
    check(BYTES("true", "true"), " a", " a");
    check(BYTES("true", "true"), "\na", "+|\n|a");
    check(BYTES("true", "false"), "a b", "+a b");
}

static void digits(void **state) {
    (void)state;
#define DIGITS(each) "{\"type\":\"Digits\",\"individual_digits\":" each "}," WHOLE
    check(DIGITS("true"), "ab12 \u00b2\u0967", "ab|1|2| |\u00b2|\u0967");
    check(DIGITS("false"), "ab12 \u00b2\u0967c", "ab|12| |\u00b2\u0967|c");
    check(DIGITS("true"), "\U00011de0\U00010d40", "\U00011de0|\U00010d40");
    check("{\"type\":\"Digits\",\"individual_digits\":true}," BYTES("true", "true"), "a12",
          "+a|+1|+2");
}

static void whitespace(void **state) {
    (void)state;
    check("{\"type\":\"WhitespaceSplit\"}," WHOLE, " a\u3000b!\u180e\n", "a|b!\u180e");
    check("{\"type\":\"Whitespace\"}," WHOLE, "a_1\u0301 b-\u00b2!", "a_1\u0301|b|-\u00b2!");
}

static void families(void **state) {
    (void)state;
    static const char llama3[] = SPLIT(
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"
        " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+",
        "Isolated", "false");
    check(llama3, "I'LL pay $1234567!\n\nOK  then\t\tx",
          "I|'LL| pay| $|123|456|7|!\n\n|OK| | then|\t|\tx");
    check(llama3, "it'\u017f (a)", "it|'\u017f| (|a|)"); // a long s is an s to (?i)
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaviors), cmocka_unit_test(plain_string), cmocka_unit_test(gpt2),
        cmocka_unit_test(digits),    cmocka_unit_test(whitespace),   cmocka_unit_test(families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
