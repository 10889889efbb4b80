// Data sets of clean and corrupted pairs: what every line promises, on three tokenizers made here.
// One takes the space before a word with it, has two-digit numbers and puts a BOS in front; one
// takes digits one by one; one leaves spaces alone. Everything is checked against the text, from
// what single tokens stand for.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "analyses/dataset/pair.h"
#include "analyses/effect.h"
#include "tests/lib/mkmodel.h"
#include "tests/lib/wordtok.h"

enum { N_PROMPT = 30 };

// ---- sets ---------------------------------------------------------------------------------------

static hs_prompts *generate(const hs_tok *tok, const char *spec) {
    hs_prompts *p;
    if (hs_prompts_open(&p, tok, HS_BOS_AUTO, (int64_t)hs_tok_n_vocab(tok)) ||
        hs_prompts_add_dataset(p, spec))
        fail_msg("%s: %s", spec, hs_errmsg());
    return p;
}

static void lines_of(const hs_prompts *p, int64_t n, hs_buf *out) {
    for (int64_t i = 0; i < n; i++) hs_prompt_jsonl(hs_prompts_at(p, i), out);
}

static const char *text_at(const hs_json *doc, const char *path) {
    const char *s = hs_json_str(hs_json_path(doc, path));
    if (!s) fail_msg("no text '%s'", path);
    return s;
}

static int64_t int_at(const hs_json *doc, const char *path) {
    int64_t v = 0;
    if (!hs_json_int(hs_json_path(doc, path), &v)) fail_msg("no number '%s'", path);
    return v;
}

// What one token stands for, with or without the space before it.
static const char *word_of(const hs_tok *tok, int32_t id, bool spaced) {
    static char out[4][64];
    static int at;
    size_t n;
    const char *piece = hs_tok_piece(tok, id, &n);
    while (!spaced && n && *piece == ' ') piece++, n--;
    at = (at + 1) % 4;
    snprintf(out[at], sizeof out[at], "%.*s", (int)n, piece);
    return out[at];
}

static void check_text(const hs_tok *tok, const int32_t *tokens, int64_t n, const char *text) {
    hs_buf got = {0};
    hs_tokens again;
    assert_int_equal(hs_tok_decode(tok, tokens, (size_t)n, false, &got), HS_OK);
    assert_string_equal(hs_buf_text(&got), text);
    assert_int_equal(hs_tok_encode(tok, text, strlen(text), HS_BOS_NO, &again), HS_OK);
    assert_int_equal(again.n, n);
    for (int64_t i = 0; i < n; i++) assert_int_equal(again.at[i].id, tokens[i]);
    hs_tokens_free(&again);
    hs_buf_free(&got);
}

// Every token where the halves differ is a word that differs, and the other way round.
static void check_words(const hs_tok *tok, const hs_json *doc, const hs_prompt *clean,
                        const hs_prompt *corrupt) {
    int64_t n_differ = 0, n_word = 0;
    for (int64_t i = 0; i < clean->n_token; i++) n_differ += clean->tokens[i] != corrupt->tokens[i];
    const hs_json *words = hs_json_get(doc, "words"), *others = hs_json_get(doc, "corrupt_words");
    for (const hs_json *v = hs_json_first(words); v; v = hs_json_next(v)) {
        const char *name = hs_json_key(v);
        const int64_t at = int_at(hs_json_get(doc, "positions"), name);
        const char *a = hs_json_str(v), *b = text_at(others, name);
        assert_string_equal(word_of(tok, clean->tokens[at], false), a);
        assert_string_equal(word_of(tok, corrupt->tokens[at], false), b);
        n_word += strcmp(a, b) != 0;
    }
    assert_int_equal(n_differ, n_word);
    assert_true(n_differ > 0);
}

static void check_answers(const hs_tok *tok, const hs_json *doc, const hs_prompt *p) {
    hs_answer a;
    hs_arena *lists;
    assert_int_equal(hs_arena_open(&lists), HS_OK);
    if (hs_answer_of(&a, p, tok, (int64_t)hs_tok_n_vocab(tok), lists)) fail_msg("%s", hs_errmsg());
    assert_int_equal(a.answers.n > 0, hs_json_get(doc, "answers") != NULL);
    hs_arena_close(lists);
    assert_int_equal(a.answer, int_at(doc, "answer"));
    assert_int_equal(a.wrong, int_at(doc, "wrong"));
    assert_int_not_equal(a.answer, a.wrong);
    assert_int_equal(a.end, p->n_token - 1);
    assert_int_equal(int_at(doc, "positions.END"), p->n_token - 1);
    assert_string_equal(word_of(tok, a.answer, true), text_at(doc, "answer_text"));
    assert_string_equal(word_of(tok, a.wrong, true), text_at(doc, "wrong_text"));
    // The prompt with its answer is a text that is cut just so.
    char text[1024];
    hs_tokens tokens;
    const int64_t n = p->n_token - p->bos_len;
    snprintf(text, sizeof text, "%s%s", text_at(doc, "text"), text_at(doc, "answer_text"));
    assert_int_equal(hs_tok_encode(tok, text, strlen(text), HS_BOS_NO, &tokens), HS_OK);
    assert_int_equal(tokens.n, n + 1);
    assert_int_equal(tokens.at[n].id, a.answer);
    hs_tokens_free(&tokens);
}

// What is particular to a data set: of its line, its words and their positions.
typedef void (*check_fn)(const hs_tok *tok, const hs_json *doc);

static void check_file(const hs_tok *tok, const hs_buf *lines) {
    char dir[PATH_MAX], path[PATH_MAX];
    hs_prompts *p;
    hs_buf again = {0};
    mk_dir(dir);
    mk_file(dir, "p.jsonl", lines->data, lines->len);
    mk_path(path, dir, "p.jsonl");
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, (int64_t)hs_tok_n_vocab(tok)), HS_OK);
    if (hs_prompts_add_file(p, path)) fail_msg("%s", hs_errmsg());
    lines_of(p, N_PROMPT, &again);
    assert_string_equal(again.data, lines->data);
    hs_prompts_close(p);
    mk_remove(dir);
    hs_buf_free(&again);
}

// The set is of seed 0, the default, and another one of another.
static void check_seeds(const hs_tok *tok, const char *spec, const hs_buf *lines) {
    for (int seed = 0; seed < 2; seed++) {
        char other[192];
        hs_buf again = {0};
        snprintf(other, sizeof other, "%s,seed=%d", spec, seed);
        hs_prompts *p = generate(tok, other);
        lines_of(p, N_PROMPT, &again);
        assert_int_equal(strcmp(again.data, lines->data) != 0, seed);
        hs_prompts_close(p);
        hs_buf_free(&again);
    }
}

static void check_set(enum wordtok kind, const char *spec, check_fn check) {
    char full[128];
    hs_buf lines = {0};
    hs_tok *tok = wordtok_make(kind);
    snprintf(full, sizeof full, "%s%sn=%d", spec, strchr(spec, ':') ? "," : ":", N_PROMPT);
    hs_prompts *p = generate(tok, full);
    assert_int_equal(hs_prompts_count(p), N_PROMPT);
    lines_of(p, N_PROMPT, &lines);
    if (hs_prompts_add_pairs(p)) fail_msg("%s", hs_errmsg());
    for (int64_t i = 0; i < N_PROMPT; i++) {
        const hs_prompt *a = hs_prompts_at(p, i), *b = hs_prompts_at(p, N_PROMPT + i);
        hs_json *doc;
        assert_int_equal(hs_json_parse(&doc, a->extra, strlen(a->extra)), HS_OK);
        assert_int_equal(a->bos_len, kind == WORDTOK_SPACED);
        if (a->bos_len) assert_int_equal(a->tokens[0], hs_tok_bos(tok));
        check_text(tok, a->tokens + a->bos_len, a->n_token - a->bos_len, text_at(doc, "text"));
        check_text(tok, b->tokens + b->bos_len, b->n_token - b->bos_len,
                   text_at(doc, "corrupt_text"));
        check_words(tok, doc, a, b);
        check_answers(tok, doc, a);
        check(tok, doc);
        hs_json_free(doc);
    }
    hs_prompts_close(p);
    check_file(tok, &lines);
    check_seeds(tok, full, &lines);
    hs_buf_free(&lines);
    hs_tok_close(tok);
}

static void check_on_all(const char *spec, check_fn check) {
    for (int k = 0; k < N_WORDTOK; k++) check_set((enum wordtok)k, spec, check);
}

// Without the space that an answer may begin with.
static const char *bare(const char *answer) {
    return answer + (*answer == ' ');
}

static const char *answer_of(const hs_json *doc) {
    return bare(text_at(doc, "answer_text"));
}
static const char *wrong_of(const hs_json *doc) {
    return bare(text_at(doc, "wrong_text"));
}

// ---- indirect objects ---------------------------------------------------------------------------

static void ioi_line(const hs_tok *tok, const hs_json *doc) {
    (void)tok;
    const char *io = text_at(doc, "words.IO"), *s = text_at(doc, "words.S1");
    const bool abba = !strcmp(text_at(doc, "order"), "ABBA");
    assert_string_equal(s, text_at(doc, "words.S2"));
    assert_string_not_equal(io, s);
    assert_string_equal(answer_of(doc), io);
    assert_string_equal(wrong_of(doc), s);
    assert_int_equal(int_at(doc, "positions.IO") < int_at(doc, "positions.S1"), abba);
    assert_true(int_at(doc, "positions.S2") > int_at(doc, "positions.S1"));
    assert_int_equal(int_at(doc, "positions.S1_next"), int_at(doc, "positions.S1") + 1);
    // The name that is there once.
    const char *text = text_at(doc, "text"), *first = strstr(text, io);
    assert_non_null(first);
    assert_null(strstr(first + 1, io));
}

static void ioi(void **state) {
    (void)state;
    check_on_all("ioi", ioi_line);
    check_on_all("ioi:order=abba,template=3,corrupt=s", ioi_line);
}

// Which of the clean half's names stand where in the other one: 'A' the indirect object, 'B' the
// subject, else others, equal ones by the same letter.
static void flips(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"abc", "xyz"}, {"s2_io", "ABA"}, {"io_s1", "BAB"}, {"io", "xBB"},
        {"s", "Axx"},   {"s1", "AxB"},    {"s2", "ABx"},
    };
    static const char *const names[] = {"IO", "S1", "S2"};
    hs_tok *tok = wordtok_make(WORDTOK_DIGITS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char spec[64];
        snprintf(spec, sizeof spec, "ioi:corrupt=%s,n=%d", cases[i][0], N_PROMPT);
        hs_prompts *p = generate(tok, spec);
        for (int64_t k = 0; k < N_PROMPT; k++) {
            const char *extra = hs_prompts_at(p, k)->extra, *seen[3];
            hs_json *doc;
            char pattern[4] = {0};
            int n_other = 0;
            assert_int_equal(hs_json_parse(&doc, extra, strlen(extra)), HS_OK);
            assert_string_equal(text_at(doc, "corrupt"), cases[i][0]);
            const char *io = text_at(doc, "words.IO"), *s = text_at(doc, "words.S1");
            for (int w = 0; w < 3; w++) {
                seen[w] = text_at(hs_json_get(doc, "corrupt_words"), names[w]);
                int same = 0;
                while (strcmp(seen[same], seen[w])) same++;
                pattern[w] = !strcmp(seen[w], io)  ? 'A'
                             : !strcmp(seen[w], s) ? 'B'
                             : same < w            ? pattern[same]
                                                   : "xyz"[n_other++];
            }
            assert_string_equal(pattern, cases[i][1]);
            hs_json_free(doc);
        }
        hs_prompts_close(p);
    }
    hs_tok_close(tok);
}

// The same seed has the same clean halves whatever is corrupted.
static void flips_leave_the_clean_half(void **state) {
    (void)state;
    hs_tok *tok = wordtok_make(WORDTOK_DIGITS);
    hs_prompts *a = generate(tok, "ioi:n=9"), *b = generate(tok, "ioi:n=9,corrupt=io_s1");
    for (int64_t i = 0; i < 9; i++) {
        const hs_prompt *x = hs_prompts_at(a, i), *y = hs_prompts_at(b, i);
        assert_int_equal(x->n_token, y->n_token);
        assert_memory_equal(x->tokens, y->tokens, (size_t)x->n_token * sizeof *x->tokens);
    }
    hs_prompts_close(a);
    hs_prompts_close(b);
    hs_tok_close(tok);
}

// ---- the others ---------------------------------------------------------------------------------

static void colored_line(const hs_tok *tok, const hs_json *doc) {
    char asked[64], thing[64];
    const hs_json *words = hs_json_get(doc, "words");
    const char *text = strstr(text_at(doc, "text"), "\n\n");
    assert_non_null(text);
    snprintf(asked, sizeof asked, "the %s?\nA:", text_at(words, "OBJECT"));
    assert_non_null(strstr(text, asked));
    snprintf(thing, sizeof thing, " %s %s", text_at(words, "COLOR"), text_at(words, "OBJECT"));
    assert_non_null(strstr(text, thing));
    snprintf(thing, sizeof thing, " %s %s", text_at(words, "WRONG"),
             text_at(words, "WRONG_OBJECT"));
    assert_non_null(strstr(text, thing));
    assert_null(strstr(text, " a o"));
    assert_string_equal(text_at(doc, "corrupt_words.ASKED"), text_at(words, "WRONG_OBJECT"));
    assert_int_equal(strcasecmp(answer_of(doc), text_at(words, "COLOR")), 0);
    assert_int_equal(strcasecmp(wrong_of(doc), text_at(words, "WRONG")), 0);
    assert_true(*answer_of(doc) < 'a');
    const hs_json *wrongs = hs_json_get(doc, "wrongs");
    assert_int_equal(hs_json_size(wrongs), 2);
    for (const hs_json *v = hs_json_first(wrongs); v; v = hs_json_next(v)) {
        int64_t id = -1;
        hs_json_int(v, &id);
        const char *colour = word_of(tok, (int32_t)id, false);
        assert_true(!strcasecmp(colour, text_at(words, "WRONG")) ||
                    !strcasecmp(colour, text_at(words, "OTHER")));
    }
}

static void colored_objects(void **state) {
    (void)state;
    check_on_all("colored-objects", colored_line);
}

static void greater_line(const hs_tok *tok, const hs_json *doc) {
    int from, to;
    char noun[32];
    const char *text = text_at(doc, "text");
    assert_int_equal(
        sscanf(text, "The %31s lasted from the year %d to the year %d", noun, &from, &to), 3);
    const int digits = (int)int_at(doc, "digits"), scale = digits == 2 ? 100 : 10;
    assert_int_equal(from / scale, to);
    assert_true(from >= 1100 && from < 1800);
    assert_int_equal(atoi(text_at(doc, "words.YY")), from % scale);
    assert_string_equal(text_at(doc, "corrupt_words.YY"), digits == 2 ? "01" : "0");
    assert_true(atoi(answer_of(doc)) > from % scale);
    assert_true(atoi(wrong_of(doc)) <= from % scale);
    const hs_json *sets[2] = {hs_json_get(doc, "answers"), hs_json_get(doc, "wrongs")};
    assert_int_equal(hs_json_size(sets[0]) + hs_json_size(sets[1]), scale);
    for (int k = 0; k < 2; k++)
        for (const hs_json *v = hs_json_first(sets[k]); v; v = hs_json_next(v)) {
            int64_t id = -1;
            hs_json_int(v, &id);
            const char *end = word_of(tok, (int32_t)id, true);
            assert_int_equal(strlen(end), digits);
            assert_int_equal(atoi(end) > from % scale, k == 0);
        }
}

static void two_digits(const hs_tok *tok, const hs_json *doc) {
    assert_int_equal(int_at(doc, "digits"), 2);
    greater_line(tok, doc);
}

static void one_digit(const hs_tok *tok, const hs_json *doc) {
    assert_int_equal(int_at(doc, "digits"), 1);
    greater_line(tok, doc);
}

static void greater_than(void **state) {
    (void)state;
    check_set(WORDTOK_SPACED, "greater_than", two_digits);
    check_set(WORDTOK_DIGITS, "greater_than", one_digit);
    check_set(WORDTOK_LONE, "greater_than", one_digit);
}

static void docstring_line(const hs_tok *tok, const hs_json *doc) {
    static const char *const all[] = {"P1", "P2", "M1", "M2", "M3", "S1"};
    const hs_json *words = hs_json_get(doc, "words"), *others = hs_json_get(doc, "corrupt_words");
    char def[256], documented[64];
    const char *text = text_at(doc, "text"), *name[6];
    for (int i = 0; i < 6; i++) name[i] = text_at(words, all[i]);
    snprintf(def, sizeof def, "(self, %s, %s, %s, %s, %s, %s):\n", name[0], name[1], name[2],
             name[3], name[4], name[5]);
    assert_non_null(strstr(text, def));
    for (int i = 0; i < 2; i++) {
        snprintf(documented, sizeof documented, "    :param %s: ", name[2 + i]);
        assert_non_null(strstr(text, documented));
    }
    assert_string_equal(answer_of(doc), name[4]);
    const hs_json *v = hs_json_first(hs_json_get(doc, "wrongs"));
    bool listed = false;
    for (int i = 0; i < 6; i++) {
        int64_t id = -1;
        if (i == 4) continue;
        assert_true(hs_json_int(v, &id));
        assert_string_equal(word_of(tok, (int32_t)id, false), name[i]);
        listed = listed || id == int_at(doc, "wrong");
        v = hs_json_next(v);
    }
    assert_null(v);
    assert_true(listed);
    // No name of the clean half is in the other one, whose documentation is about other names.
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 6; k++) assert_string_not_equal(name[i], text_at(others, all[k]));
        assert_string_not_equal(text_at(others, "DOC_M1"), text_at(others, all[i]));
    }
    assert_int_equal(int_at(doc, "positions.M1_next"), int_at(doc, "positions.M1") + 1);
}

static void docstring(void **state) {
    (void)state;
    check_on_all("docstring", docstring_line);
}

static bool one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(*list, word)) return true;
    return false;
}

static void gendered_line(const hs_tok *tok, const hs_json *doc) {
    static const char *const his[] = {"king",  "man",   "boy", "John", "Tom",
                                      "James", "Peter", "he",  "his",  NULL};
    static const char *const hers[] = {"queen", "woman", "girl", "Mary", "Anna",
                                       "Emma",  "Alice", "she",  "her",  NULL};
    (void)tok;
    const bool man = !strcmp(text_at(doc, "gender"), "masculine");
    assert_true(one_of(text_at(doc, "words.SUBJECT"), man ? his : hers));
    assert_true(one_of(text_at(doc, "corrupt_words.SUBJECT"), man ? hers : his));
    assert_true(one_of(answer_of(doc), man ? his : hers));
    assert_true(one_of(wrong_of(doc), man ? hers : his));
    const bool named = !strcmp(text_at(doc, "kind"), "name");
    assert_int_equal(text_at(doc, "words.SUBJECT")[0] < 'a', named);
}

static void gendered(void **state) {
    (void)state;
    check_on_all("gendered", gendered_line);
    check_on_all("gendered:who=nouns", gendered_line);
}

static void agreement_line(const hs_tok *tok, const hs_json *doc) {
    static const char *const plural[] = {"dogs", "cats", "teachers", "are", "were", NULL};
    static const char *const singular[] = {"dog", "cat", "teacher", "is", "was", NULL};
    const bool many = !strcmp(text_at(doc, "number"), "plural");
    const char *attractor = text_at(doc, "attractor");
    assert_true(one_of(text_at(doc, "words.SUBJECT"), many ? plural : singular));
    assert_true(one_of(text_at(doc, "corrupt_words.SUBJECT"), many ? singular : plural));
    assert_true(one_of(answer_of(doc), many ? plural : singular));
    assert_true(one_of(wrong_of(doc), many ? singular : plural));
    if (strcmp(attractor, "none") != 0) {
        const bool same = !strcmp(attractor, "same");
        const char *word = text_at(doc, "words.ATTRACTOR");
        assert_true(one_of(word, many == same ? plural : singular));
        assert_string_equal(word, text_at(doc, "corrupt_words.ATTRACTOR"));
    }
    for (int k = 0; k < 2; k++) {
        const hs_json *v = hs_json_first(hs_json_get(doc, k ? "wrongs" : "answers"));
        assert_non_null(v);
        for (; v; v = hs_json_next(v)) {
            int64_t id = -1;
            hs_json_int(v, &id);
            assert_true(one_of(word_of(tok, (int32_t)id, false), many != k ? plural : singular));
        }
    }
}

static void agreement(void **state) {
    (void)state;
    check_on_all("agreement", agreement_line);
    check_on_all("agreement:attractor=opposite", agreement_line);
    check_on_all("agreement:attractor=mixed", agreement_line);
}

// ---- pairs that do not fit ----------------------------------------------------------------------

// A pair of one word and an answer.
struct single {
    const char *before, *clean, *corrupt, *behind, *space, *right, *wrong;
};
static const struct single fits = {"so ", "Mary", "John", " is", " ", "he", "she"};

struct drawing {
    struct single misfit;
    int n_misfit, n_drawn; // so many before one that fits
};

static void draw_single(void *ctx, hs_prng *prng, hs_pair *pair) {
    (void)prng;
    struct drawing *d = ctx;
    const struct single *s = d->n_drawn++ < d->n_misfit ? &d->misfit : &fits;
    hs_pair_text(pair, s->before);
    hs_pair_word(pair, "WORD", NULL, s->clean, s->corrupt);
    hs_pair_text(pair, s->behind);
    hs_pair_answer(pair, s->space, s->right, s->wrong);
}

static int draw_all(hs_prompts **p, const hs_tok *tok, struct drawing *d) {
    static const hs_param params[] = {HS_DATASET_PARAMS("2"), {0}};
    hs_args args;
    assert_int_equal(hs_prompts_open(p, tok, HS_BOS_NO, (int64_t)hs_tok_n_vocab(tok)), HS_OK);
    assert_int_equal(hs_args_parse(&args, params, ""), HS_OK);
    int rc = hs_pairs_generate(*p, tok, &args, draw_single, d);
    hs_args_free(&args);
    return rc;
}

static void misfits_are_drawn_again(void **state) {
    (void)state;
    static const struct {
        struct single pair;
        const char *why;
    } cases[] = {
        {{"so ", "Mary", "Zoe", " is", " ", "he", "she"}, "halves are not equally many tokens"},
        {{"so ", "Zoe", "Zox", " is", " ", "he", "she"}, "a word is not one token"},
        {{"so ", "dog", "cat", "s are", " ", "he", "she"}, "a word is not one token"},
        {{"so ", "Mary", "Mary", " is", " ", "he", "she"}, "halves are the same"},
        {{"so ", "Mary", "John", " is", " ", "Zoe", "she"}, "an answer is not one token"},
        {{"so ", "Mary", "John", " is", " ", "he", "Zoe"}, "an answer is not one token"},
        // The space before the answer is the prompt's.
        {{"so ", "Mary", "John", " is ", "", "he", "she"}, "an answer is not one token"},
        // Two newlines are one token only at the end.
        {{"so ", "Mary", "John", " is\n\n", "", "x", "y"}, "changes the tokens before it"},
    };
    hs_tok *tok = wordtok_make(WORDTOK_SPACED);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct drawing always = {cases[i].pair, 1 << 30, 0}, some = {cases[i].pair, 7, 0};
        hs_prompts *p;
        if (draw_all(&p, tok, &always) != HS_EARG || !strstr(hs_errmsg(), cases[i].why))
            fail_msg("case %zu: '%s' does not say '%s'", i, hs_errmsg(), cases[i].why);
        assert_int_equal(hs_prompts_count(p), 0);
        hs_prompts_close(p);
        assert_int_equal(draw_all(&p, tok, &some), HS_OK);
        assert_int_equal(hs_prompts_count(p), 2);
        assert_int_equal(some.n_drawn, 9);
        for (int k = 0; k < 2; k++)
            assert_non_null(strstr(hs_prompts_at(p, k)->extra, "\"text\":\"so Mary is\""));
        hs_prompts_close(p);
    }
    hs_tok_close(tok);
}

// ---- what is refused ----------------------------------------------------------------------------

static void refuses(const hs_tok *tok, const char *spec, int rc, const char *says) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, 5000), HS_OK);
    if (hs_prompts_add_dataset(p, spec) != rc || !strstr(hs_errmsg(), says))
        fail_msg("'%s': '%s' does not say '%s'", spec, hs_errmsg(), says);
    assert_int_equal(hs_prompts_count(p), 0);
    hs_prompts_close(p);
}

static void refused(void **state) {
    (void)state;
    static const char *const all[] = {"ioi",       "colored_objects", "greater_than",
                                      "docstring", "gendered",        "agreement"};
    hs_tok *tok = wordtok_make(WORDTOK_SPACED), *bare_tok = wordtok_make(WORDTOK_LONE);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        refuses(NULL, all[i], HS_EARG, "words need a tokenizer");
    refuses(bare_tok, "ioi:bos=yes", HS_EARG, "no BOS token");
    refuses(tok, "ioi:names=Mary+Zoe+John+Tom+Bob", HS_EARG,
            "not: Zoe, Bob; these are: Mary, John, ");
    refuses(tok, "ioi:names=Mary++John+Tom+Anna", HS_EARG, "not: ''");
    refuses(tok, "ioi:names=Mary+John+Mary+Tom+Anna", HS_EARG, "'Mary' is there twice");
    refuses(tok, "ioi:names=Mary+John+Tom+Anna", HS_EARG, "give 5 at least");
    refuses(tok, "ioi:corrupt=xyz", HS_EARG, "abc|s2_io");
    refuses(tok, "ioi:template=15", HS_EARG, "from -1 to 14");
    hs_tok_close(tok);
    hs_tok_close(bare_tok);
}

// A tokenizer with hardly a word says what it has.
static void too_few_words(void **state) {
    (void)state;
    hs_tok *tok = wordtok_at("tests/golden/data/tok_gpt2");
    refuses(tok, "ioi", HS_EARG, "5 are needed: Mary, John would do, but not Anna, Tom, ");
    refuses(tok, "colored_objects", HS_EARG, "3 are needed: none would do, but not pencil, ");
    hs_tok_close(tok);
    // Nor is a word one whose letters it lacks, though that may be one token.
    tok = wordtok_at("tests/golden/data/tok_unknown");
    refuses(tok, "ioi", HS_EARG, "5 are needed: none would do, but not Mary, John, Anna, ");
    hs_tok_close(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ioi),
        cmocka_unit_test(flips),
        cmocka_unit_test(flips_leave_the_clean_half),
        cmocka_unit_test(colored_objects),
        cmocka_unit_test(greater_than),
        cmocka_unit_test(docstring),
        cmocka_unit_test(gendered),
        cmocka_unit_test(agreement),
        cmocka_unit_test(misfits_are_drawn_again),
        cmocka_unit_test(refused),
        cmocka_unit_test(too_few_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
