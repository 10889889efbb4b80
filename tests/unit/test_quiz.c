// What prompts ask, read from their lines, good and bad; measures of given numbers, and totals.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/quiz/quiz_internal.h"
#include "tests/lib/randmodel.h"
#include "tests/lib/wordtok.h"

enum { N_CTX = 40 };

typedef struct lab {
    hs_model *words, *bare; // with a tokenizer, and without
} lab;

static hs_model *make_model(bool words) {
    char dir[PATH_MAX], path[PATH_MAX];
    rand_spec s = rand_default("llama", false);
    hs_model *m;
    hs_tok *tok = wordtok_make(WORDTOK_SPACED);
    s.n_vocab = (int)hs_tok_n_vocab(tok);
    s.n_ctx = N_CTX;
    hs_tok_close(tok);
    mk_dir(dir);
    rand_write(path, dir, &s);
    if (words) wordtok_write(dir, WORDTOK_SPACED);
    if (hs_model_open(&m, path, NULL)) fail_msg("%s", hs_errmsg());
    mk_remove(dir);
    return m;
}

static int set_up(void **state) {
    static lab l;
    l.words = make_model(true);
    l.bare = make_model(false);
    *state = &l;
    return 0;
}

static int tear_down(void **state) {
    const lab *l = *state;
    hs_model_close(l->words);
    hs_model_close(l->bare);
    return 0;
}

// ---- reading ------------------------------------------------------------------------------------

typedef struct asked {
    hs_prompts *prompts;
    hs_quiz *quiz;
} asked;

static int ask_of(asked *a, const hs_model *m, int n_token, const char *extra, hs_quiz_opts o) {
    int32_t ids[N_CTX + 1] = {5, 6, 7};
    assert_int_equal(
        hs_prompts_open(&a->prompts, hs_model_tok(m), HS_BOS_NO, hs_model_config(m)->n_vocab),
        HS_OK);
    assert_int_equal(hs_prompts_add_tokens(a->prompts, "q", ids, n_token, 0, 0, extra), HS_OK);
    o.model = m;
    o.prompts = a->prompts;
    return hs_quiz_open(&a->quiz, &o);
}

static const hs_quiz_item *ask(asked *a, const hs_model *m, const char *extra, hs_quiz_opts o) {
    const int rc = ask_of(a, m, 3, extra, o);
    if (rc) fail_msg("%s: %s", extra, hs_errmsg());
    assert_int_equal(hs_quiz_count(a->quiz), 1);
    return hs_quiz_at(a->quiz, 0);
}

static void done(asked *a) {
    hs_quiz_close(a->quiz);
    hs_prompts_close(a->prompts);
}

static void kinds(void **state) {
    const lab *l = *state;
    static const struct {
        const char *extra;
        enum hs_quiz_kind kind;
        int n, right;
    } cases[] = {
        {NULL, HS_QUIZ_TEXT, 0, -1},
        {"{\"answer\":7}", HS_QUIZ_TEXT, 0, -1},
        {"{\"answer\":7,\"answers\":[7,8]}", HS_QUIZ_TEXT, 0, -1},
        {"{\"answers\":[]}", HS_QUIZ_TEXT, 0, -1},
        {"{\"choices\":[\" dog\",\" cat\"],\"answer\":1}", HS_QUIZ_CHOICE, 2, 1},
        {"{\"choices\":[\" dog\",\" cat\"],\"answer\":\" dog\"}", HS_QUIZ_CHOICE, 2, 0},
        {"{\"choices\":[\" dog\",\" cat\"],\"answer\":\"cat\"}", HS_QUIZ_CHOICE, 2, 1},
        {"{\"choices\":[\" cat\",\"cat\"],\"answer\":\"cat\"}", HS_QUIZ_CHOICE, 2, 1},
        {"{\"choices\":[[1,2],[1],[3]],\"answer\":[3]}", HS_QUIZ_CHOICE, 3, 2},
        {"{\"choices\":[[1,2],\" cat\"],\"answer\":0}", HS_QUIZ_CHOICE, 2, 0},
        {"{\"choices\":[\" Yes\",\" no\"],\"answer\":1}", HS_QUIZ_YES_NO, 2, 1},
        {"{\"choices\":[\"NO\",\"yes\"],\"answer\":\"yes\"}", HS_QUIZ_YES_NO, 2, 1},
        {"{\"choices\":[\"no\",\"yes\",\"maybe\"],\"answer\":\"yes\"}", HS_QUIZ_CHOICE, 3, 1},
        {"{\"choices\":[\"no\",\"yess\"],\"answer\":1}", HS_QUIZ_CHOICE, 2, 1},
        {"{\"choices\":[\"yes\",\" yes\"],\"answer\":1}", HS_QUIZ_CHOICE, 2, 1},
        {"{\"answer\":\" cat\"}", HS_QUIZ_OPEN, 1, 0},
        {"{\"answer\":[4,4]}", HS_QUIZ_OPEN, 1, 0},
        {"{\"answers\":[\" cat\",[3]]}", HS_QUIZ_OPEN, 2, 0},
        {"{\"answer\":7,\"answers\":[\" cat\"]}", HS_QUIZ_TEXT, 0, -1},
        {"{\"answer\":\" dog\",\"answers\":[\" cat\",\" cats\"]}", HS_QUIZ_OPEN, 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        asked a = {0};
        const hs_quiz_item *item = ask(&a, l->words, cases[i].extra, (hs_quiz_opts){0});
        if (item->kind != cases[i].kind || item->n_choice != cases[i].n ||
            item->right != cases[i].right)
            fail_msg("%s: kind %d, %d choices, right %d", cases[i].extra, item->kind,
                     item->n_choice, item->right);
        assert_int_equal(item->ord, 0);
        assert_string_equal(item->prompt->id, "q");
        done(&a);
    }
}

static void choices_as_they_stand(void **state) {
    const lab *l = *state;
    asked a = {0};
    const hs_quiz_item *item = ask(&a, l->words,
                                   "{\"choices\":[\"  dog cat\",\"x\",[9,8,7]],\"answer\":0}",
                                   (hs_quiz_opts){0});
    const hs_quiz_choice *c = item->choice;
    hs_tokens tokens;
    assert_int_equal(hs_tok_encode(hs_model_tok(l->words), "  dog cat", 9, HS_BOS_NO, &tokens),
                     HS_OK);
    assert_int_equal(c[0].n, tokens.n);
    for (size_t i = 0; i < tokens.n; i++) assert_int_equal(c[0].at[i], tokens.at[i].id);
    hs_tokens_free(&tokens);
    assert_string_equal(c[0].text, "  dog cat");
    assert_int_equal(c[0].n_byte, 7);
    assert_int_equal(c[1].n_byte, 1);
    assert_null(c[2].text);
    assert_int_equal(c[2].n_byte, 3);
    assert_int_equal(c[2].at[2], 7);
    done(&a);
}

static void refuses(const hs_model *m, int n_token, const char *extra, hs_quiz_opts o, int rc,
                    const char *says) {
    asked a = {0};
    const int got = ask_of(&a, m, n_token, extra, o);
    if (got != rc || !strstr(hs_errmsg(), says) || !strstr(hs_errmsg(), "prompt 'q'"))
        fail_msg("%s gives %d '%s', not %d '%s'", extra, got, hs_errmsg(), rc, says);
    assert_null(a.quiz);
    done(&a);
}

static void bad_items(void **state) {
    const lab *l = *state;
    static const struct {
        const char *extra, *says;
    } cases[] = {
        {"{\"choices\":[[1],[2]]}", "no \"answer\""},
        {"{\"choices\":[[1],[2]],\"answer\":2}", "none of its 2 choices"},
        {"{\"choices\":[[1],[2]],\"answer\":-1}", "none of its 2 choices"},
        {"{\"choices\":[[1],[2]],\"answer\":0.5}", "none of its 2 choices"},
        {"{\"choices\":[[1],[2]],\"answer\":[3]}", "none of its 2 choices"},
        {"{\"choices\":[[1],[2]],\"answer\":[99999]}", "answer: token 99999"},
        {"{\"choices\":[[1],[2]],\"answer\":\"x\"}", "none of its 2 choices"},
        {"{\"choices\":[[1],[2]],\"answer\":true}", "none of its 2 choices"},
        {"{\"choices\":[\"cat\",\"dog\"],\"answer\":\"cats\"}", "none of its 2 choices"},
        {"{\"choices\":[[1]],\"answer\":0}", "not a list of 2"},
        {"{\"choices\":[],\"answer\":0}", "not a list of 2"},
        {"{\"choices\":\"cat\",\"answer\":0}", "not a list of 2"},
        {"{\"choices\":[[1],[2],[1]],\"answer\":0}", "choices 0 and 2 are the same"},
        {"{\"choices\":[\"cat\",\"cat\"],\"answer\":0}", "choices 0 and 1 are the same"},
        {"{\"choices\":[\"cat\",\"\"],\"answer\":0}", "choice 1: it is empty"},
        {"{\"choices\":[\" \",\"cat\"],\"answer\":0}", "choice 0: it is empty"},
        {"{\"choices\":[[],[1]],\"answer\":0}", "choice 0: it is empty"},
        {"{\"choices\":[[1],[-1]],\"answer\":0}", "choice 1: token -1"},
        {"{\"choices\":[[1],[99999]],\"answer\":0}", "choice 1: token 99999"},
        {"{\"choices\":[[1],[9999999999]],\"answer\":0}", "choice 1: token 9999999999"},
        {"{\"choices\":[[1],[2.5]],\"answer\":0}", "choice 1"},
        {"{\"choices\":[[1],7],\"answer\":0}", "choice 1: it is neither"},
        {"{\"answer\":\"\"}", "answer: it is empty"},
        {"{\"answer\":[]}", "answer: it is empty"},
        {"{\"answer\":[99999]}", "answer: token 99999"},
        {"{\"answers\":[\"cat\",\"\"]}", "answer 1: it is empty"},
        {"{\"answers\":[\"cat\",5]}", "answer 1: it is neither"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(l->words, 3, cases[i].extra, (hs_quiz_opts){0}, HS_EFORMAT, cases[i].says);
    refuses(l->bare, 3, "{\"answer\":\"cat\"}", (hs_quiz_opts){0}, HS_EARG, "tokenizer");
}

// The last token that follows is not run.
static void lengths(void **state) {
    const lab *l = *state;
    static const char three[] = "{\"choices\":[[1],[1,2,3]],\"answer\":0}";
    static const char open[] = "{\"answer\":[1,2,3]}", none[] = "{}";
    const hs_quiz_opts decode = {.decode = 5}, generate = {.generate = 5};
    asked a = {0};
    assert_int_equal(ask_of(&a, l->bare, N_CTX - 2, three, (hs_quiz_opts){0}), HS_OK);
    done(&a);
    refuses(l->bare, N_CTX - 1, three, (hs_quiz_opts){0}, HS_ERANGE, "41 are run");
    assert_int_equal(ask_of(&a, l->bare, N_CTX - 4, open, decode), HS_OK);
    done(&a);
    refuses(l->bare, N_CTX - 3, open, decode, HS_ERANGE, "41 are run");
    assert_int_equal(ask_of(&a, l->bare, N_CTX, none, decode), HS_OK);
    done(&a);
    refuses(l->bare, N_CTX - 3, none, generate, HS_ERANGE, "41 are run");
    refuses(l->bare, 0, none, decode, HS_ERANGE, "empty");
    refuses(l->bare, N_CTX + 1, none, decode, HS_ERANGE, "41");
}

// Twice the longest answer, or what room there is.
static void usual_decoding(void **state) {
    const lab *l = *state;
    const struct {
        int n_token;
        const char *extra;
        int64_t longest;
    } cases[] = {{10, "{\"answer\":[1,2,3]}", 15},
                 {10, "{\"answers\":[[1],[1,2,3,4]]}", 17},
                 {N_CTX - 3, "{\"answer\":[1,2,3]}", N_CTX},
                 {N_CTX, "{\"answer\":[1]}", N_CTX},
                 {10, "{\"choices\":[[1],[2,3]],\"answer\":0}", 11},
                 {N_CTX, "{}", N_CTX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        asked a = {0};
        if (ask_of(&a, l->bare, cases[i].n_token, cases[i].extra,
                   (hs_quiz_opts){.decode = HS_QUIZ_USUAL}))
            fail_msg("%s: %s", cases[i].extra, hs_errmsg());
        assert_int_equal(hs_quiz_longest(a.quiz), cases[i].longest);
        done(&a);
    }
}

static void what_there_is(void **state) {
    const lab *l = *state;
    const unsigned nll = 1u << HS_MEASURE_NLL, choice = nll | 1u << HS_MEASURE_CHOICE_NLL |
                                                        1u << HS_MEASURE_ACCURACY |
                                                        1u << HS_MEASURE_ACCURACY_NORM;
    const unsigned free_text = 1u << HS_MEASURE_REPETITION | 1u << HS_MEASURE_ENTROPY |
                               1u << HS_MEASURE_COLLAPSE;
    const struct {
        const char *extra;
        hs_quiz_opts o;
        unsigned has;
    } cases[] = {
        {"{}", {.decode = 3}, nll},
        {"{}", {.generate = 3}, nll | free_text},
        {"{\"choices\":[[1],[2]],\"answer\":0}", {.decode = 3}, choice},
        {"{\"choices\":[\"yes\",\"no\"],\"answer\":0}",
         {0},
         choice | 1u << HS_MEASURE_YES | 1u << HS_MEASURE_F1},
        {"{\"answer\":[1]}", {0}, nll},
        {"{\"answer\":[1]}",
         {.decode = 3},
         nll | 1u << HS_MEASURE_EXACT_MATCH | 1u << HS_MEASURE_RECALL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        asked a = {0};
        ask(&a, l->words, cases[i].extra, cases[i].o);
        assert_int_equal(hs_quiz_has(a.quiz), cases[i].has);
        done(&a);
    }
}

// ---- measures -----------------------------------------------------------------------------------

static void measure(double value[HS_N_MEASURE], const hs_model *m, const char *extra,
                    hs_quiz_opts o, const hs_quiz_found *found) {
    asked a = {0};
    const hs_quiz_item *item = ask(&a, m, extra, o);
    assert_int_equal(hs_quiz_measure(a.quiz, item, found, value), HS_OK);
    for (int i = 0; i < HS_N_MEASURE; i++)
        if (isnan(value[i]) != !(hs_quiz_has(a.quiz) >> i & 1))
            fail_msg("%s: %s is %g", extra, hs_measures[i].name, value[i]);
    done(&a);
}

static void close_to(double got, double want) {
    if (!(fabs(got - want) < 1e-12)) fail_msg("%.17g, not %.17g", got, want);
}

static void measures_of_choices(void **state) {
    const lab *l = *state;
    double v[HS_N_MEASURE];
    // Bytes: 3, 9, 3.
    static const char three[] = "{\"choices\":[\" cat\",\" dogs cats\",\" dog\"],\"answer\":1}";
    const double sums[] = {-2, -3, -4}, tie[] = {-5, -3, -3}, tie_before[] = {-3, -3, -5};
    measure(v, l->words, three, (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = sums});
    close_to(v[HS_MEASURE_NLL], 3.0 / 2);
    close_to(v[HS_MEASURE_CHOICE_NLL], log(exp(-2) + exp(-3) + exp(-4)) + 3);
    close_to(v[HS_MEASURE_ACCURACY], 0);
    close_to(v[HS_MEASURE_ACCURACY_NORM], 1);
    measure(v, l->words, three, (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = tie});
    close_to(v[HS_MEASURE_ACCURACY], 1);
    measure(v, l->words, three, (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = tie_before});
    close_to(v[HS_MEASURE_ACCURACY], 0);
    // Far below: shares must not become 0 / 0.
    const double far[] = {-2000, -2001, -2002};
    measure(v, l->words, three, (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = far});
    close_to(v[HS_MEASURE_CHOICE_NLL], log(1 + exp(-1) + exp(-2)) + 1);
}

static void measures_of_yes_and_no(void **state) {
    const lab *l = *state;
    static const char *const lines[] = {"{\"choices\":[\" yes\",\" no\"],\"answer\":0}",
                                        "{\"choices\":[\" No\",\" Yes\"],\"answer\":0}"};
    const double first[] = {-1, -2}, second[] = {-2, -1};
    double v[4][HS_N_MEASURE], f1[4];
    measure(v[0], l->words, lines[0], (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = first});
    measure(v[1], l->words, lines[0], (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = second});
    measure(v[2], l->words, lines[1], (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = first});
    measure(v[3], l->words, lines[1], (hs_quiz_opts){0}, &(hs_quiz_found){.ln_p = second});
    const double said[] = {1, 0, 0, 1}, code[] = {3, 2, 0, 1}, right[] = {1, 0, 1, 0};
    for (int i = 0; i < 4; i++) {
        close_to(v[i][HS_MEASURE_YES], said[i]);
        close_to(f1[i] = v[i][HS_MEASURE_F1], code[i]);
        close_to(v[i][HS_MEASURE_ACCURACY], right[i]);
    }
    close_to(hs_measure_total(HS_MEASURE_F1, f1, 1, 4), 0.5);
    close_to(hs_measure_total(HS_MEASURE_F1, f1, 1, 2), 2.0 / 3);
    close_to(hs_measure_total(HS_MEASURE_F1, f1 + 1, 1, 3), 0);
    close_to(hs_measure_total(HS_MEASURE_YES, v[0] + HS_MEASURE_YES, HS_N_MEASURE, 3), 1.0 / 3);
}

static void totals(void **state) {
    (void)state;
    const double some[] = {NAN, 9, 1, 9, NAN, 9, 2, 9}, none[] = {NAN, NAN}, no[] = {0, 0, NAN};
    close_to(hs_measure_total(HS_MEASURE_NLL, some, 2, 4), 1.5);
    assert_true(isnan(hs_measure_total(HS_MEASURE_NLL, none, 1, 2)));
    assert_true(isnan(hs_measure_total(HS_MEASURE_NLL, none, 1, 0)));
    assert_true(isnan(hs_measure_total(HS_MEASURE_F1, no, 1, 3)));
}

// What is said in words, after the answer's options.
static void say(double v[HS_N_MEASURE], const hs_model *words, const char *extra, int decode,
                const char *text) {
    hs_tokens tokens;
    int32_t said[64];
    const double ln_p[2] = {-1, -1};
    assert_int_equal(hs_tok_encode(hs_model_tok(words), text, strlen(text), HS_BOS_NO, &tokens),
                     HS_OK);
    for (size_t i = 0; i < tokens.n; i++) said[i] = tokens.at[i].id;
    measure(v, words, extra, (hs_quiz_opts){.decode = decode},
            &(hs_quiz_found){.ln_p = ln_p, .said = said, .n_said = (int64_t)tokens.n});
    hs_tokens_free(&tokens);
}

static void measures_of_answers(void **state) {
    const lab *l = *state;
    static const struct {
        const char *answer, *said;
        int decode;
        double match, recall;
    } cases[] = {
        {"{\"answer\":\" red dog\"}", " red dog", 20, 1, 1},
        {"{\"answer\":\" red dog\"}", " The Red, dog! is", 20, 1, 1},
        {"{\"answer\":\" the red dog\"}", " red dog", 20, 1, 2.0 / 3},
        {"{\"answer\":\" red dog\"}", " is red dog", 20, 0, 1},
        {"{\"answer\":\" red dog\"}", " red dogs", 20, 0, 0.5},
        {"{\"answer\":\" red dog\"}", " red", 20, 0, 0.5},
        {"{\"answer\":\" red dog\"}", " red dog", 1, 0, 0.5},
        {"{\"answer\":\" red dog\"}", " red\n dog", 20, 0, 0.5},
        {"{\"answer\":\" red\"}", " red\n dog", 20, 1, 1},
        {"{\"answer\":\" red\"}", "", 20, 0, 0},
        {"{\"answers\":[\" blue cat\",\" red dog\"]}", " red dog", 20, 1, 1},
        {"{\"answers\":[\" blue cat\",\" red\"]}", " blue dog", 20, 0, 0.5},
        {"{\"answer\":\"+-\"}", "+-+", 20, 1, 1},
        {"{\"answer\":\"+-\"}", "-+", 20, 0, 1},
        {"{\"answer\":\"++\"}", " red", 20, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double v[HS_N_MEASURE];
        say(v, l->words, cases[i].answer, cases[i].decode, cases[i].said);
        if (v[HS_MEASURE_EXACT_MATCH] != cases[i].match ||
            fabs(v[HS_MEASURE_RECALL] - cases[i].recall) > 1e-12)
            fail_msg("%s, said '%s': match %g, recall %g", cases[i].answer, cases[i].said,
                     v[HS_MEASURE_EXACT_MATCH], v[HS_MEASURE_RECALL]);
    }
    double v[HS_N_MEASURE];
    const int32_t said[] = {7, 8, 9};
    const double ln_p[] = {-3};
    const hs_quiz_found found = {.ln_p = ln_p, .said = said, .n_said = 3};
    measure(v, l->bare, "{\"answer\":[7,8]}", (hs_quiz_opts){.decode = 9}, &found);
    close_to(v[HS_MEASURE_EXACT_MATCH], 1);
    measure(v, l->bare, "{\"answer\":[8,9]}", (hs_quiz_opts){.decode = 9}, &found);
    close_to(v[HS_MEASURE_EXACT_MATCH], 0);
    close_to(v[HS_MEASURE_RECALL], 1);
    close_to(v[HS_MEASURE_NLL], 1.5);
}

static void measures_of_free_text(void **state) {
    const lab *l = *state;
    double v[HS_N_MEASURE];
    const int32_t said[] = {1, 2, 3, 4, 1, 2, 3, 4, 1, 9};
    const double entropy[] = {0.05, 2, 0.1, 1, 1, 1, 1, 1, 1, 7}, loss[] = {1, 2.5};
    const hs_quiz_found found = {
        .loss = loss, .said = said, .entropy = entropy, .n_said = sizeof said / sizeof *said};
    // Of the first nine: 1234 2341 3412 4123 1234 2341.
    measure(v, l->bare, "{}", (hs_quiz_opts){.generate = 9}, &found);
    close_to(v[HS_MEASURE_REPETITION], 2.0 / 6);
    close_to(v[HS_MEASURE_ENTROPY], 8.15 / 9);
    close_to(v[HS_MEASURE_COLLAPSE], 1.0 / 9);
    close_to(v[HS_MEASURE_NLL], 1.75);
}

static void bad_calls(void **state) {
    const lab *l = *state;
    asked a = {0};
    assert_int_equal(ask_of(&a, l->bare, 3, NULL, (hs_quiz_opts){.decode = -2}), HS_EARG);
    done(&a);
    assert_int_equal(ask_of(&a, l->bare, 3, NULL, (hs_quiz_opts){.generate = INT64_MAX}), HS_EARG);
    done(&a);
    ask(&a, l->bare, NULL, (hs_quiz_opts){0});
    assert_int_equal(hs_quiz_run(a.quiz, NULL, 0, NULL, 0, NULL, NULL), HS_EARG);
    const char *const spec[] = {"scale:L99H0,by=2"};
    assert_int_not_equal(
        hs_quiz_run(a.quiz, &(hs_quiz_variant){spec, 1}, 1, &(int64_t){0}, 1, NULL, NULL), HS_OK);
    done(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(choices_as_they_stand),
        cmocka_unit_test(bad_items),
        cmocka_unit_test(lengths),
        cmocka_unit_test(usual_decoding),
        cmocka_unit_test(what_there_is),
        cmocka_unit_test(measures_of_choices),
        cmocka_unit_test(measures_of_yes_and_no),
        cmocka_unit_test(totals),
        cmocka_unit_test(measures_of_answers),
        cmocka_unit_test(measures_of_free_text),
        cmocka_unit_test(bad_calls),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
