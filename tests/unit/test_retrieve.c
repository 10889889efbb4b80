// The parts of retrieval: recall and F1 of words and ids, the order in which prompts share most, and a
// timeline that is cut and goes on.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyses/retrieve/recall.h"
#include "analyses/retrieve/timeline.h"
#include "tests/lib/laws.h"

// ---- recall -----------------------------------------------------------------------------------

static hs_marks marks(const char *answer, const char *said) {
    hs_marks out;
    assert_int_equal(hs_mark_text(answer, strlen(answer), said, strlen(said), &out), HS_OK);
    return out;
}

static double recall(const char *of, const char *in) {
    return marks(of, in).recall;
}

static void words(void **state) {
    (void)state;
    assert_true(recall("Eat a sandwich.", "you should EAT, a sandwich!") == 1);
    assert_true(recall("eat a sandwich", "sandwiches eat") == 1.0 / 3);
    assert_true(recall("the cat the dog", "the dog barks") == 0.5); // "the" counts once
    assert_true(recall("the dog", "the the the dog dog") == 1);
    assert_true(recall("4-7", "74") == 0);
    assert_true(recall("4-7", "7 4") == 1);
    assert_true(recall("caf\xc3\xa9 noir", "caf\xc3\xa9") == 0.5);
    assert_true(recall("caf\xc3\xa9", "cafe") == 0);
    assert_true(recall("a", "") == 0);
    assert_true(isnan(recall("", "a")));
    assert_true(isnan(recall("... !", "a")));
}

static bool f1_is(double want, const char *answer, const char *said) {
    return fabs(marks(answer, said).f1 - want) < 1e-15;
}

// By SQuAD's rules: precision and recall of words without articles and punctuation.
static void answers(void **state) {
    (void)state;
    assert_true(f1_is(1, "the Silver Heron", " silver heron.\n"));
    assert_true(f1_is(2.0 / 3, "Anton Reyes", "Anton")); // 1 of 1, 1 of 2
    assert_true(f1_is(2.0 / 5, "Ashford", "in Ashford, by train"));
    assert_true(f1_is(2 * 0.5 * 1 / 1.5, "a cave", "an old cave")); // 1 of 2, 1 of 1
    assert_true(f1_is(4.0 / 7, "x y x", "x x z z"));                // each as often as it is there
    assert_true(f1_is(1, "farmer's field", "farmers FIELD"));
    assert_true(f1_is(0, "4-7", "7 4"));
    assert_true(f1_is(1, "4-7", "47"));
    assert_true(f1_is(1, "3 March", "3\tMarch"));
    assert_true(f1_is(1, "anthem", "the an a anthem"));
    assert_true(f1_is(0, "theatre", "the atre"));
    assert_true(f1_is(0, "cave", ""));
    assert_true(f1_is(1, "the", "A, an!") && f1_is(0, "the", "a dog")); // no words are left of it
    assert_true(isnan(marks("?!", "a").f1));
}

static void ids(void **state) {
    (void)state;
    static const int32_t of[] = {5, 6, 5, 7}, in[] = {5, 7, 7};
    hs_marks out;
    assert_int_equal(hs_mark(NULL, of, 4, in, 3, &out), HS_OK);
    assert_true(out.recall == 0.5 && out.f1 == 4.0 / 7);
    assert_int_equal(hs_mark(NULL, of, 4, in, 0, &out), HS_OK);
    assert_true(out.recall == 0 && out.f1 == 0);
    assert_int_equal(hs_mark(NULL, of, 2, of, 4, &out), HS_OK);
    assert_true(out.recall == 1 && out.f1 == 4.0 / 6);
}

// ---- timelines --------------------------------------------------------------------------------

static void order(void **state) {
    (void)state;
    static const int32_t p[][4] = {{1, 2, 3, 4}, {1, 2}, {1, 2, 3, 0}, {0, 9}, {1, 2, 3, 4}};
    static const int64_t n[] = {4, 2, 4, 2, 4}, want[] = {3, 1, 2, 0, 4};
    hs_prompts *set;
    int64_t ord[] = {0, 1, 2, 3, 4};
    assert_int_equal(hs_prompts_open(&set, NULL, HS_BOS_AUTO, LAW_N_VOCAB), HS_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(hs_prompts_add_tokens(set, NULL, p[i], n[i], 0, 0, NULL), HS_OK);
    hs_timeline_sort(set, ord, 5);
    assert_memory_equal(ord, want, sizeof want);
    hs_prompts_close(set);
}

static void seek(void **state) {
    (void)state;
    static const int32_t a[] = {3, 1, 4, 1, 5, 9, 2, 6}, b[] = {3, 1, 4, 2, 5}, c[] = {3, 1, 4, 2};
    static const struct {
        const int32_t *ids;
        int64_t n, run;
    } steps[] = {{a, 7, 7}, {a, 7, 0}, {b, 5, 2}, {c, 4, 0},
                 {b, 5, 1}, {a, 8, 5}, {a, 0, 0}, {a, 8, 8}};
    hs_model *m = law_model(0);
    hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 16}, NULL);
    hs_context *y = law_context(m, (hs_context_opts){0}, NULL);
    hs_timeline t = {.context = x};
    int64_t run;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const int32_t next = 7;
        int32_t whole[16];
        assert_int_equal(hs_timeline_seek(&t, steps[i].ids, steps[i].n, &run), HS_OK);
        assert_int_equal(run, steps[i].run);
        assert_int_equal(hs_context_len(x, 0), steps[i].n);
        law_eval_one(x, &next, 1, HS_LOGITS_LAST);
        memcpy(whole, steps[i].ids, (size_t)steps[i].n * sizeof *whole);
        whole[steps[i].n] = next;
        law_eval_one(y, whole, steps[i].n + 1, HS_LOGITS_LAST);
        assert_memory_equal(hs_context_logits(x), hs_context_logits(y),
                            LAW_N_VOCAB * sizeof(float));
        if (i % 2) hs_timeline_rewind(&t);
    }
    hs_timeline_forget(&t);
    assert_int_equal(hs_context_len(x, 0), 0);
    assert_int_equal(hs_timeline_seek(&t, a, 3, &run), HS_OK);
    assert_int_equal(run, 3);
    hs_context_close(x);
    hs_context_close(y);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(answers),
                                       cmocka_unit_test(ids), cmocka_unit_test(order),
                                       cmocka_unit_test(seek)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
