// Needle tests and the long data sets: what is read, and what the generators promise.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/prose.h"
#include "analyses/needles.h"
#include "model/core/json.h"
#include "tests/lib/mkmodel.h"

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

// ---- prose --------------------------------------------------------------------------------------

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void prose_is_clean_and_does_not_repeat(void **state) {
    (void)state;
    enum { MOST = 2000 };
    hs_buf text = {0}, again = {0};
    hs_prng a = hs_prng_seed(3), b = hs_prng_seed(3);
    hs_prose_write(&a, 60000, &text);
    hs_prose_write(&b, 60000, &again);
    assert_string_equal(text.data, again.data);
    assert_in_range(text.len, 60000, 61500);
    assert_null(strpbrk(text.data, "{}\n"));
    assert_null(strstr(text.data, "  "));
    assert_null(strstr(text.data, " ,"));
    const char *sentence[MOST];
    int n = 0;
    for (char *at = strtok(text.data, "."); at; at = strtok(NULL, ".")) {
        assert_true(at[0] == ' ' && at[1] >= 'A' && at[1] <= 'Z' && n < MOST);
        sentence[n++] = at;
    }
    assert_in_range(n, 400, MOST); // about 100 characters each
    qsort(sentence, (size_t)n, sizeof *sentence, by_text);
    for (int i = 1; i < n; i++) assert_string_not_equal(sentence[i - 1], sentence[i]);
    for (int i = 0; i < 100; i++) {
        hs_buf_clear(&again);
        hs_prose_line(&b, 9, &again);
        int words = 1;
        for (size_t k = 0; k < again.len; k++) words += again.data[k] == ' ';
        assert_in_range(words, 4, 9);
        assert_true(again.data[again.len - 1] >= 'a');
    }
    hs_buf_free(&text);
    hs_buf_free(&again);
}

// ---- generators ---------------------------------------------------------------------------------

static const char *const tokenizers[] = {
    "tests/golden/data/tok_smollm", "tests/golden/data/tok_llama3", "tests/golden/data/tok_gpt2"};
enum { N_TOK = sizeof tokenizers / sizeof *tokenizers, N_VOCAB = 520 };

static hs_tok *open_tok(const char *path) {
    hs_ckpt *ck;
    hs_tok *tok = NULL;
    if (hs_ckpt_open(&ck, path, false) || hs_tok_open(&tok, ck)) fail_msg("%s", hs_errmsg());
    hs_ckpt_close(ck);
    return tok;
}

static hs_prompts *generate(const hs_tok *tok, const char *spec) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, N_VOCAB), HS_OK);
    if (hs_prompts_add_dataset(p, spec)) fail_msg("%s: %s", spec, hs_errmsg());
    return p;
}

static void wont(const hs_tok *tok, const char *spec, int rc, const char *says) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, N_VOCAB), HS_OK);
    if (hs_prompts_add_dataset(p, spec) != rc || !strstr(hs_errmsg(), says))
        fail_msg("'%s': '%s' does not say '%s'", spec, hs_errmsg(), says);
    hs_prompts_close(p);
}

// Equal seeds give equal lines, other seeds others.
static void by_seed(const hs_tok *tok, const char *spec) {
    hs_buf line[3] = {{0}}, with = {0};
    for (int i = 0; i < 3; i++) {
        hs_buf_clear(&with);
        hs_buf_printf(&with, "%s%sseed=%d", spec, strchr(spec, ':') ? "," : ":", i / 2);
        hs_prompts *p = generate(tok, with.data);
        for (int64_t k = 0; k < hs_prompts_count(p); k++)
            hs_prompt_jsonl(hs_prompts_at(p, k), &line[i]);
        hs_prompts_close(p);
    }
    assert_string_equal(line[0].data, line[1].data);
    assert_string_not_equal(line[0].data, line[2].data);
    for (int i = 0; i < 3; i++) hs_buf_free(&line[i]);
    hs_buf_free(&with);
}

// A line's number, or what it says as text into `text`.
static double number_of(const hs_prompt *p, const char *key) {
    hs_json *doc;
    double v = NAN;
    assert_int_equal(hs_json_parse(&doc, p->extra, strlen(p->extra)), HS_OK);
    hs_json_num(hs_json_get(doc, key), &v);
    hs_json_free(doc);
    return v;
}

static const char *text_of(const hs_prompt *p, const char *key, char text[1 << 14]) {
    hs_json *doc;
    assert_int_equal(hs_json_parse(&doc, p->extra, strlen(p->extra)), HS_OK);
    const char *v = hs_json_str(hs_json_get(doc, key));
    assert_non_null(v);
    assert_true(strlen(v) < 1 << 14);
    strcpy(text, v);
    hs_json_free(doc);
    return text;
}

static void decode(const hs_tok *tok, const int32_t *ids, int64_t n, hs_buf *out) {
    hs_buf_clear(out);
    assert_int_equal(hs_tok_decode(tok, ids, (size_t)n, false, out), HS_OK);
}

// What every needle test is: its needle is its answer, its text its tokens, its length kept. The
// answer's text goes to *answer.
static hs_needle well_formed(const hs_tok *tok, const hs_prompt *p, hs_buf *answer) {
    char text[1 << 14];
    hs_needle n;
    hs_buf all = {0};
    if (hs_needle_of(&n, p, N_VOCAB)) fail_msg("%s", hs_errmsg());
    assert_int_equal(n.n_answer, n.to - n.from);
    assert_memory_equal(n.answer, p->tokens + n.from, (size_t)n.n_answer * sizeof *n.answer);
    decode(tok, n.answer, n.n_answer, answer);
    decode(tok, p->tokens + p->bos_len, p->n_token - p->bos_len, &all);
    assert_string_equal(all.data, text_of(p, "text", text));
    assert_true((double)p->n_token <= number_of(p, "length"));
    assert_int_equal(p->bos_len, hs_tok_adds_bos(tok));
    if (p->bos_len) assert_int_equal(p->tokens[0], hs_tok_bos(tok));
    hs_buf_free(&all);
    return n;
}

static int64_t shared(const hs_prompt *a, const hs_prompt *b) {
    int64_t n = 0;
    while (n < a->n_token && n < b->n_token && a->tokens[n] == b->tokens[n]) n++;
    return n;
}

// ---- needle -------------------------------------------------------------------------------------

static void needles_lie_where_they_should(void **state) {
    (void)state;
    static const int depth[] = {0, 11, 22, 33, 44, 56, 67, 78, 89, 100};
    hs_buf answer = {0}, expected = {0};
    char text[1 << 14];
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = open_tok(tokenizers[t]);
        hs_prompts *p = generate(tok, "needle:lengths=1000:3000:2+2500");
        assert_int_equal(hs_prompts_count(p), 3 * 3 * 10);
        for (int64_t i = 0; i < hs_prompts_count(p); i++) {
            const hs_prompt *a = hs_prompts_at(p, i);
            const hs_fact *fact = &hs_facts[i / 30];
            const int64_t length = i / 10 % 3 == 0 ? 1000 : i / 10 % 3 == 1 ? 3000 : 2500;
            hs_needle n = well_formed(tok, a, &answer);
            hs_buf_clear(&expected);
            hs_buf_printf(&expected, " %s", fact->answer);
            assert_string_equal(answer.data, expected.data);
            assert_true(number_of(a, "depth") == depth[i % 10]);
            assert_true(number_of(a, "length") == (double)length);
            assert_true(a->n_token > length - 200);
            // One whole sentence, not within another one, and the question with the cue.
            hs_buf_clear(&expected);
            hs_buf_printf(&expected, " %s", fact->needle);
            const char *at = strstr(text_of(a, "text", text), expected.data);
            assert_non_null(at);
            assert_true(at == text || at[-1] == '.');
            assert_null(strstr(at + strlen(fact->needle), fact->answer));
            hs_buf_clear(&expected);
            hs_buf_printf(
                &expected, "\nBased on the content of the book, Question: %s\nAnswer: %.*s",
                fact->question, (int)(strstr(fact->needle, fact->answer) - fact->needle) - 1,
                fact->needle);
            assert_string_equal(strchr(text, '\n'), expected.data);
            if (i % 10 == 0) assert_ptr_equal(at, text);
            if (i % 10 == 9) assert_ptr_equal(at + strlen(fact->needle) + 1, strchr(text, '\n'));
            hs_needle_free(&n);
        }
        hs_prompts_close(p);
        hs_tok_close(tok);
    }
    hs_buf_free(&answer);
    hs_buf_free(&expected);
}

static void depths_share_their_haystack(void **state) {
    (void)state;
    hs_tok *tok = open_tok(tokenizers[1]);
    hs_prompts *p = generate(tok, "needle:lengths=1500+2500,depths=6,n=2");
    assert_int_equal(hs_prompts_count(p), 2 * 2 * 6);
    for (int64_t i = 1; i < hs_prompts_count(p); i++) {
        const hs_prompt *a = hs_prompts_at(p, i - 1), *b = hs_prompts_at(p, i);
        hs_needle n, m;
        if (i % 6 == 0) continue;
        assert_int_equal(a->n_token, b->n_token);
        assert_int_equal(hs_needle_of(&n, a, N_VOCAB) || hs_needle_of(&m, b, N_VOCAB), 0);
        assert_true(n.from < m.from);
        // Up to the needle's sentence, which begins before its answer.
        const int64_t head = hs_prompts_at(p, i / 6 * 6)->bos_len, sentence = n.from - shared(a, b);
        assert_true(shared(a, b) >= head && sentence >= 0 && sentence < 60);
        hs_needle_free(&n);
        hs_needle_free(&m);
    }
    // Of two lengths too, but not of two needles.
    const hs_prompt *deep = hs_prompts_at(p, 5), *longer = hs_prompts_at(p, 11);
    assert_true(shared(deep, longer) > 1200);
    assert_true(shared(deep, hs_prompts_at(p, 17)) < 30);
    by_seed(tok, "needle:lengths=700,depths=2");
    hs_prompts_close(p);
    hs_tok_close(tok);
}

static void own_needles_and_haystacks(void **state) {
    (void)state;
    char dir[PATH_MAX], needles[PATH_MAX], book[PATH_MAX];
    hs_buf text = {0}, spec = {0}, answer = {0};
    char all[1 << 14];
    mk_dir(dir);
    mk_path(needles, dir, "n.jsonl");
    mk_path(book, dir, "book.txt");
    for (int i = 0; i < 300; i++) hs_buf_printf(&text, "Line %d says little. ", i);
    mk_file(dir, "book.txt", text.data, text.len);
    static const char lines[] =
        "{\"needle\": \"The cat is in the box.\", \"question\": \"Where is the cat?\", \"answer\": "
        "\"in the box\"}\n\n{\"needle\": \"Seven is it.\", \"question\": \"Which?\", "
        "\"answer\": \"Seven\", \"topic\": \"number\"}";
    mk_file(dir, "n.jsonl", lines, sizeof lines - 1);
    hs_tok *tok = open_tok(tokenizers[0]);
    hs_buf_printf(&spec, "needle:lengths=400,depths=3,cue=no,file=%s,needles=%s", book, needles);
    hs_prompts *p = generate(tok, spec.data);
    assert_int_equal(hs_prompts_count(p), 6);
    for (int64_t i = 0; i < 6; i++) {
        hs_needle n = well_formed(tok, hs_prompts_at(p, i), &answer);
        assert_string_equal(answer.data, i < 3 ? " in the box" : " Seven");
        text_of(hs_prompts_at(p, i), "text", all);
        assert_string_equal(strrchr(all, '\n'), "\nAnswer:");
        assert_string_equal(text_of(hs_prompts_at(p, i), "topic", all), i < 3 ? "own" : "number");
        hs_needle_free(&n);
    }
    assert_non_null(strstr(text_of(hs_prompts_at(p, 1), "text", all), "little. The cat is in the "
                                                                      "box. Line"));
    hs_prompts_close(p);
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"{\"needle\": \"A b.\", \"question\": \"?\"}", "n.jsonl:1: a needle is"},
        {"\n{\"needle\": \"A b.\", \"question\": \"?\", \"answer\": \"\"}", "n.jsonl:2: a needle"},
        {"{\"needle\": \"A b.\", \"question\": \"?\", \"answer\": \"c\"}", "'c' does not stand in"},
        {"{", "n.jsonl:1: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mk_file(dir, "n.jsonl", bad[i].line, strlen(bad[i].line));
        wont(tok, spec.data, HS_EFORMAT, bad[i].says);
    }
    mk_file(dir, "n.jsonl", "\n", 1);
    wont(tok, spec.data, HS_EARG, "holds no needles");
    hs_buf_clear(&spec);
    hs_buf_printf(&spec, "needle:lengths=50000,file=%s", book);
    wont(tok, spec.data, HS_EARG, "give a longer file or smaller lengths");
    wont(tok, "needle:file=/nowhere/at/all", HS_EIO, "/nowhere/at/all");
    hs_tok_close(tok);
    mk_remove(dir);
    hs_buf_free(&text);
    hs_buf_free(&spec);
    hs_buf_free(&answer);
}

static void what_cannot_be_is_said(void **state) {
    (void)state;
    hs_tok *tok = open_tok(tokenizers[0]);
    wont(NULL, "needle", HS_EARG, "tokenizer");
    wont(tok, "needle:lengths=100", HS_EARG, "no room for the needle 'city' and its question");
    wont(tok, "needle:lengths=100", HS_EARG, "lengths=");
    wont(tok, "needle:n=4", HS_EARG, "needles=FILE.jsonl");
    wont(tok, "needle:lengths=", HS_EARG, "256:2000:5");
    wont(tok, "needle:lengths=100+", HS_EARG, "256:2000:5");
    wont(tok, "needle:lengths=0", HS_EARG, "256:2000:5");
    wont(tok, "needle:lengths=1:2", HS_EARG, "256:2000:5");
    wont(tok, "needle:lengths=1:2:0", HS_EARG, "256:2000:5");
    wont(tok, "needle:lengths=99999999999999999999", HS_EARG, "256:2000:5");
    wont(tok, "needle:lengths=1:100:10000+5", HS_EARG, "at most 10000");
    hs_tok_close(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles_are_read),
        cmocka_unit_test(prose_is_clean_and_does_not_repeat),
        cmocka_unit_test(needles_lie_where_they_should),
        cmocka_unit_test(depths_share_their_haystack),
        cmocka_unit_test(own_needles_and_haystacks),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
