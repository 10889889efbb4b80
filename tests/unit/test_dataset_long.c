// Needle tests and the long data sets: what is read, and what the generators promise.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "analyses/needles.h"

// ---- reading needles ----------------------------------------------------------------------------

enum { T = 5, V = 9 };

static hs_prompt prompt_with(const char *extra) {
    static const int32_t tokens[T] = {0, 1, 2, 3, 1};
    return (hs_prompt){.id = "p", .tokens = tokens, .n_token = T, .extra = extra};
}

static void reads(const char *extra, int64_t from, int64_t to, int64_t n, const int32_t *answer) {
    const hs_prompt p = prompt_with(extra);
    hs_needle needle;
    if (hs_needle_of(&needle, &p, V)) fail_msg("%s", hs_errmsg());
    assert_int_equal(needle.from, from);
    assert_int_equal(needle.to, to);
    assert_int_equal(needle.n_answer, n);
    assert_memory_equal(needle.answer, answer, (size_t)n * sizeof *answer);
    hs_needle_free(&needle);
}

static void refuses(const char *extra, int rc, const char *says) {
    const hs_prompt p = prompt_with(extra);
    hs_needle needle;
    const int got = hs_needle_of(&needle, &p, V);
    if (got != rc || !strstr(hs_errmsg(), says) || !strstr(hs_errmsg(), "prompt 'p': "))
        fail_msg("%s: %d '%s'", extra ? extra : "nothing", got, hs_errmsg());
    hs_needle_free(&needle);
}

static void needles_are_read(void **state) {
    (void)state;
    reads("{\"needle\": [1, 3], \"answer\": [8, 0]}", 1, 3, 2, (const int32_t[]){8, 0});
    reads("{\"answer\": 7, \"needle\": [0, 5]}", 0, 5, 1, (const int32_t[]){7});
    refuses(NULL, HS_EARG, "it has no \"needle\"");
    refuses("{\"answer\": 7}", HS_EARG, "it has no \"needle\"");
    refuses("{\"needle\": [1, 2]}", HS_EARG, "it has no \"answer\"");
    refuses("{\"needle\": 1, \"answer\": 1}", HS_EFORMAT, "two positions");
    refuses("{\"needle\": [1], \"answer\": 1}", HS_EFORMAT, "two positions");
    refuses("{\"needle\": [1, 2, 3], \"answer\": 1}", HS_EFORMAT, "two positions");
    refuses("{\"needle\": [1, 2.5], \"answer\": 1}", HS_EFORMAT, "two positions");
    refuses("{\"needle\": [1, 6], \"answer\": 1}", HS_EFORMAT, "the 5 positions");
    refuses("{\"needle\": [-1, 2], \"answer\": 1}", HS_EFORMAT, "[-1, 2)");
    refuses("{\"needle\": [2, 2], \"answer\": 1}", HS_EFORMAT, "[2, 2)");
    refuses("{\"needle\": [1, 2], \"answer\": []}", HS_EFORMAT, "answer: no token");
    refuses("{\"needle\": [1, 2], \"answer\": \"x\"}", HS_EFORMAT, "answer: not a list");
    refuses("{\"needle\": [1, 2], \"answer\": [1, 9]}", HS_EFORMAT, "answer: token 9 is not in");
    refuses("{\"needle\": [1, 2], \"answer\": -1}", HS_EFORMAT, "answer: token -1 is not in");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
