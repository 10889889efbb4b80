// Needle tests and the long data sets: what is read, and what the generators promise.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/prose.h"
#include "analyses/effect.h"
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

// ---- passkey ------------------------------------------------------------------------------------

static void numbers_are_found_in_their_text(void **state) {
    (void)state;
    hs_buf answer = {0}, expected = {0};
    char text[1 << 14];
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = open_tok(tokenizers[t]);
        hs_prompts *p = generate(tok, "passkey:lengths=600:1400:3,n=4");
        double least = 100, most = 0;
        assert_int_equal(hs_prompts_count(p), 12);
        for (int64_t i = 0; i < 12; i++) {
            const hs_prompt *a = hs_prompts_at(p, i);
            hs_needle n = well_formed(tok, a, &answer);
            assert_true(number_of(a, "length") == 600 + 400 * (double)(i / 4));
            assert_true((double)a->n_token > number_of(a, "length") - 120);
            const long key = strtol(answer.data, NULL, 10);
            assert_in_range(key, 1, 50000);
            hs_buf_clear(&expected);
            hs_buf_printf(&expected, " The pass key is %ld. Remember it. %ld is the pass key.", key,
                          key);
            text_of(a, "text", text);
            const char *at = strstr(text, expected.data);
            assert_non_null(at);
            assert_string_equal(strchr(text, '\n'), "\nWhat is the pass key? The pass key is");
            // The span is the first place, not the second one.
            hs_buf_clear(&expected);
            decode(tok, a->tokens + a->bos_len, n.from - a->bos_len, &expected);
            assert_int_equal(expected.len, at - text + (long)strlen(" The pass key is"));
            const double depth = number_of(a, "depth");
            least = depth < least ? depth : least;
            most = depth > most ? depth : most;
            hs_needle_free(&n);
        }
        assert_true(least >= 0 && most <= 100 && most - least > 30);
        hs_prompts_close(p);
        by_seed(tok, "passkey:lengths=600,n=2");
        wont(tok, "passkey:lengths=200", HS_EARG, "no room for the pass key");
        wont(NULL, "passkey", HS_EARG, "tokenizer");
        hs_tok_close(tok);
    }
    hs_buf_free(&answer);
    hs_buf_free(&expected);
}

static const hs_span *span_of(const hs_prompt *p, const char *name) {
    for (int i = 0; i < p->spans.n; i++)
        if (!strcmp(p->spans.at[i].name, name)) return &p->spans.at[i];
    return NULL;
}

static void words_are_told_and_asked(void **state) {
    (void)state;
    static const char *const ordinal[] = {"first", "second", "third", "fourth"};
    hs_buf answer = {0}, key = {0}, said = {0}, expected = {0};
    char text[1 << 14], name[32];
    int asked[4] = {0};
    hs_tok *tok = open_tok(tokenizers[1]);
    hs_prompts *p = generate(tok, "passkey:kind=words,keys=4,words=5,lengths=2500,n=12");
    for (int64_t i = 0; i < 12; i++) {
        const hs_prompt *a = hs_prompts_at(p, i);
        hs_needle n = well_formed(tok, a, &answer);
        int said_n = 0, last = -1, spaces = 0;
        assert_true(a->n_token > 2200);
        for (size_t k = 0; k < answer.len; k++) spaces += answer.data[k] == ' ';
        assert_int_equal(spaces, 5);
        text_of(a, "text", text);
        for (int k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "key_%d", k + 1);
            const hs_span *in = span_of(a, name);
            assert_non_null(in);
            decode(tok, a->tokens + in->from, in->to - in->from, &key);
            hs_buf_clear(&expected);
            hs_buf_printf(&expected, " Remember that it is the %s pass key to the vault:%s.",
                          ordinal[k], key.data);
            assert_non_null(strstr(text, expected.data));
            snprintf(name, sizeof name, "said_%d", k + 1);
            const hs_span *out = span_of(a, name);
            if (!out) {
                last = k;
                assert_string_equal(key.data, answer.data);
                assert_int_equal(in->from, n.from);
                continue;
            }
            said_n++;
            decode(tok, a->tokens + out->from, out->to - out->from, &said);
            assert_string_equal(said.data, key.data);
            assert_true(out->from > span_of(a, "qa")->from);
        }
        assert_int_equal(said_n, 3);
        assert_in_range(last, 0, 3);
        asked[last]++;
        assert_int_equal(span_of(a, "qa")->to, a->n_token);
        hs_buf_clear(&expected);
        hs_buf_printf(&expected,
                      "\nBased on the content of the book, what is the %s pass key to the vault? "
                      "Pass key:",
                      ordinal[last]);
        assert_string_equal(strrchr(text, '\n'), expected.data);
        hs_needle_free(&n);
    }
    int kinds = 0;
    for (int k = 0; k < 4; k++) kinds += asked[k] > 0;
    assert_true(kinds > 1);
    hs_prompts_close(p);
    by_seed(tok, "passkey:kind=words,lengths=1500,n=2");
    wont(tok, "passkey:kind=words,lengths=300", HS_EARG, "keys=, words=");
    hs_tok_close(tok);
    hs_buf_free(&answer);
    hs_buf_free(&key);
    hs_buf_free(&said);
    hs_buf_free(&expected);
}

// ---- qa -----------------------------------------------------------------------------------------

// Two words of the question, one after the other, that stand so in text[0, n): who is asked about.
static bool tells_of_asked(const char *question, const char *text, size_t n) {
    char in[512];
    snprintf(in, sizeof in, "%.*s", (int)n, text);
    for (const char *at = question; at; at = strchr(at, ' ')) {
        char pair[128];
        at += *at == ' ';
        const size_t one = strcspn(at, " "), two = at[one] ? strcspn(at + one + 1, " ?") : 0;
        snprintf(pair, sizeof pair, "%.*s", (int)(one + 1 + two), at);
        if (two && one > 2 && two > 2 && strcmp(pair, "last year") != 0 && strstr(in, pair))
            return true;
    }
    return false;
}

// What stands after "Answer:": words of the passage before its answer, others, or none.
static void check_cue(int t, const char *passage, const char *end, const char *cue,
                      const char *question, const char *answer) {
    char words[512];
    snprintf(words, sizeof words, "%s%s", cue, answer);
    const char *at = strstr(passage, words);
    assert_true(t == 2 || tells_of_asked(question, cue, strlen(cue)));
    assert_true(t == 0 ? !at : t == 1 ? at && at < end : !*cue);
}

static void answers_stand_in_their_passages(void **state) {
    (void)state;
    static const char *const cues[] = {"qa:n=30", "qa:n=30,cue=same", "qa:n=30,cue=no"};
    hs_buf answer = {0}, expected = {0}, head = {0}, tail = {0};
    char text[1 << 14];
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = open_tok(tokenizers[t]);
        hs_prompts *p = generate(tok, cues[t]);
        assert_int_equal(hs_prompts_count(p), 30);
        for (int64_t i = 0; i < 30; i++) {
            const hs_prompt *a = hs_prompts_at(p, i);
            const hs_span *asked = span_of(a, "asked");
            hs_needle n = well_formed(tok, a, &answer);
            int sentences = 0, of_asked = 0;
            assert_true(asked && asked->from < n.from && n.to < asked->to);
            assert_int_equal(asked->to, a->n_token);
            const char *question = text_of(a, "question", text);
            // The passage, up to its question.
            decode(tok, a->tokens + asked->from, a->n_token - asked->from, &tail);
            assert_true(!strncmp(tail.data, "Passage: ", 9));
            char *end = strchr(tail.data, '\n');
            hs_buf_clear(&expected);
            hs_buf_printf(&expected, "\nQuestion: %s\nAnswer:", question);
            assert_int_equal(strncmp(end, expected.data, expected.len), 0);
            check_cue(t, tail.data, end, end + expected.len, question, answer.data);
            decode(tok, a->tokens + asked->from, n.from - asked->from, &head);
            for (const char *at = tail.data; at < end; sentences++) {
                const char *stop = strstr(at, ". ");
                if (!stop || stop > end) stop = end;
                const bool is = tells_of_asked(question, at, (size_t)(stop - at));
                const int64_t from = at - tail.data, to = stop - tail.data;
                of_asked += is;
                if ((int64_t)head.len >= from && (int64_t)head.len < to) assert_true(is);
                at = stop + 1;
            }
            assert_int_equal(of_asked, 2); // each is told two things
            assert_int_equal(sentences, 1 + 4);
            assert_int_equal(strncmp(tail.data + head.len, answer.data, answer.len), 0);
            if (i) assert_true(shared(hs_prompts_at(p, 0), a) >= asked->from); // solved passages
            hs_needle_free(&n);
        }
        hs_prompts_close(p);
        by_seed(tok, "qa:n=3");
        p = generate(tok, "qa:n=2,shots=0");
        assert_int_equal(span_of(hs_prompts_at(p, 1), "asked")->from, hs_tok_adds_bos(tok));
        hs_prompts_close(p);
        hs_prompts_close(generate(tok, "qa:n=2,facts=24,shots=4"));
        wont(NULL, "qa", HS_EARG, "tokenizer");
        wont(tok, "qa:facts=1", HS_EARG, "facts");
        hs_tok_close(tok);
    }
    hs_buf_free(&answer);
    hs_buf_free(&expected);
    hs_buf_free(&head);
    hs_buf_free(&tail);
}

// ---- kv_json ------------------------------------------------------------------------------------

// The object of a prompt's text, and what comes after it.
static hs_json *object_of(const char *text, const char **rest) {
    hs_json *doc;
    const char *from = strchr(text, '{'), *to = strchr(text, '}');
    assert_true(from && to);
    if (hs_json_parse(&doc, from, (size_t)(to + 1 - from))) fail_msg("%s", hs_errmsg());
    *rest = to + 2;
    return doc;
}

static void values_are_those_of_their_keys(void **state) {
    (void)state;
    hs_buf answer = {0};
    char text[1 << 14], key[64], value[512];
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = open_tok(tokenizers[t]);
        hs_prompts *p = generate(tok, "kv_json:lengths=990+2000,n=5,words=6");
        assert_int_equal(hs_prompts_count(p), 10);
        for (int64_t i = 0; i < 10; i++) {
            const hs_prompt *a = hs_prompts_at(p, i);
            hs_needle n = well_formed(tok, a, &answer);
            const char *at;
            int used, shots = 0;
            hs_json *doc = object_of(text_of(a, "text", text), &at);
            assert_true(hs_json_size(doc) > 5);
            assert_true((double)a->n_token > number_of(a, "length") - 200);
            for (const hs_json *v = hs_json_first(doc); v; v = hs_json_next(v))
                assert_int_equal(strlen(hs_json_key(v)), i < 5 ? 8 : 32);
            while (sscanf(at, "Key: \"%63[^\"]\"\nValue: \"%511[^\"]\"\n%n", key, value, &used) ==
                   2) {
                assert_string_equal(hs_json_str(hs_json_get(doc, key)), value);
                at += used;
                shots++;
            }
            assert_int_equal(shots, 3);
            assert_int_equal(sscanf(at, "Key: \"%63[^\"]\"\nValue: \"%n", key, &used), 1);
            assert_int_equal(at[used], 0);
            assert_string_equal(hs_json_str(hs_json_get(doc, key)), answer.data);
            hs_json_free(doc);
            hs_needle_free(&n);
        }
        hs_prompts_close(p);
        by_seed(tok, "kv_json:lengths=800,n=2");
        wont(tok, "kv_json:lengths=300", HS_EARG, "shots=, words=");
        wont(NULL, "kv_json", HS_EARG, "tokenizer");
        hs_tok_close(tok);
    }
    hs_buf_free(&answer);
}

// ---- mqar, bigram_backcopy ----------------------------------------------------------------------

// A list of a prompt's line; returns how many.
static int64_t list_of(const hs_prompt *p, const char *key, int32_t *out, int64_t cap) {
    hs_json *doc;
    int64_t n = 0, v;
    assert_int_equal(hs_json_parse(&doc, p->extra, strlen(p->extra)), HS_OK);
    const hs_json *list = hs_json_get(doc, key);
    assert_non_null(list);
    for (const hs_json *i = hs_json_first(list); i; i = hs_json_next(i)) {
        assert_true(n < cap && hs_json_int(i, &v));
        out[n++] = (int32_t)v;
    }
    hs_json_free(doc);
    return n;
}

static void queries_have_the_labels_of_their_keys(void **state) {
    (void)state;
    enum { PAIRS = 6, LENGTH = 64, PASSES = 2 };
    hs_tok *llama = open_tok(tokenizers[1]);
    int64_t soon = 0, all = 0;
    for (int t = 0; t < 2; t++) {
        hs_tok *tok = t ? llama : NULL;
        const int bos = tok && hs_tok_adds_bos(tok);
        hs_prompts *p = generate(tok, "mqar:length=64,pairs=6,passes=2,n=40");
        assert_int_equal(hs_prompts_count(p), 40);
        for (int64_t i = 0; i < 40; i++) {
            const hs_prompt *a = hs_prompts_at(p, i);
            const int32_t *x = a->tokens + bos;
            int32_t query[PAIRS], label[PAIRS];
            hs_answer answer;
            assert_int_equal(a->n_token, LENGTH + bos);
            for (int k = 0; k < 2 * PAIRS; k++) {
                assert_int_equal(x[k], x[k + 2 * PAIRS]);
                assert_true(k % 2 ? x[k] >= 240 : x[k] >= 1 && x[k] < N_VOCAB / 2);
                for (int m = 0; m < k; m++) assert_int_not_equal(x[k], x[m]);
            }
            assert_int_equal(list_of(a, "queries", query, PAIRS), PAIRS);
            assert_int_equal(list_of(a, "labels", label, PAIRS), PAIRS);
            for (int k = 0; k < PAIRS; k++) {
                assert_true(!k || query[k] > query[k - 1]);
                const int at = query[k] - bos;
                assert_true(at >= 2 * PAIRS * PASSES && at < LENGTH && at % 2 == 0);
                int key = 0;
                while (key < PAIRS && x[2 * key] != x[at]) key++;
                assert_true(key < PAIRS);
                assert_int_equal(label[k], x[2 * key + 1]);
                soon += at < 2 * PAIRS * PASSES + 2 * PAIRS;
                all++;
            }
            if (hs_answer_of(&answer, a, NULL, N_VOCAB, NULL)) fail_msg("%s", hs_errmsg());
            assert_int_equal(answer.end, query[PAIRS - 1]);
            assert_int_equal(answer.answer, label[PAIRS - 1]);
            assert_int_not_equal(answer.wrong, answer.answer);
        }
        hs_prompts_close(p);
        by_seed(tok, "mqar:n=3");
    }
    // 20 places: evenly 30 % would be among the first six, and half of them with 1/g.
    assert_true((double)soon / (double)all > 0.42);
    hs_prompts *p = generate(NULL, "mqar:length=64,pairs=6,fill=zero,vocab=20,n=1");
    int zeros = 0;
    for (int64_t i = 0; i < 64; i++) {
        assert_in_range(hs_prompts_at(p, 0)->tokens[i], 0, 19);
        zeros += !hs_prompts_at(p, 0)->tokens[i];
    }
    assert_int_equal(zeros, 64 - 12 - 6);
    hs_prompts_close(p);
    wont(NULL, "mqar:length=23,pairs=6", HS_EARG, "length=24");
    wont(NULL, "mqar:vocab=13,pairs=6", HS_EARG, "14 ids");
    wont(NULL, "mqar:vocab=521", HS_EARG, "520 ordinary tokens, and 521");
    hs_tok_close(llama);
}

static void triggers_copy_back(void **state) {
    (void)state;
    enum { LENGTH = 200, SYMBOLS = 30, TRIGGERS = 4 };
    hs_tok *llama = open_tok(tokenizers[1]);
    for (int t = 0; t < 2; t++) {
        hs_tok *tok = t ? llama : NULL;
        const int bos = tok && hs_tok_adds_bos(tok);
        hs_prompts *p = generate(tok, "bigram-backcopy:length=200,symbols=30,triggers=4,n=20");
        int seen[N_VOCAB] = {0}, n_seen = 0;
        int64_t copies = 0;
        for (int64_t i = 0; i < 20; i++) {
            const hs_prompt *a = hs_prompts_at(p, i);
            int32_t trigger[TRIGGERS], copy[LENGTH], rest[LENGTH];
            int mark[LENGTH + 1] = {0};
            hs_answer answer;
            assert_int_equal(a->n_token, LENGTH + bos);
            assert_int_equal(list_of(a, "triggers", trigger, TRIGGERS), TRIGGERS);
            const int64_t n = list_of(a, "backcopy_rows", copy, LENGTH);
            assert_int_equal(list_of(a, "bigram_rows", rest, LENGTH), LENGTH - n);
            for (int64_t k = 0; k < n; k++) mark[copy[k]]++;
            for (int64_t k = 0; k < LENGTH - n; k++) mark[rest[k]] += 2;
            for (int64_t k = bos; k < a->n_token; k++) {
                bool is = false;
                for (int j = 0; j < TRIGGERS; j++) is |= a->tokens[k] == trigger[j];
                assert_int_equal(mark[k], is ? 1 : 2);
                assert_true(!is || k > bos);
                if (is && k + 1 < a->n_token) assert_int_equal(a->tokens[k + 1], a->tokens[k - 1]);
                seen[a->tokens[k]] = 1;
            }
            copies += n;
            if (hs_answer_of(&answer, a, NULL, N_VOCAB, NULL)) fail_msg("%s", hs_errmsg());
            assert_int_equal(answer.end, copy[n - 1]);
            assert_int_equal(answer.answer, a->tokens[copy[n - 1] - 1]);
        }
        for (int k = 0; k < N_VOCAB; k++) n_seen += seen[k];
        assert_in_range(n_seen, SYMBOLS - 6, SYMBOLS);
        // Triggers are 4 of 30 symbols and four times as likely: 16/42 of the draws.
        assert_in_range(copies, 20 * LENGTH / 6, 20 * LENGTH / 3);
        hs_prompts_close(p);
        by_seed(tok, "bigram_backcopy:n=2");
    }
    wont(NULL, "bigram_backcopy:symbols=4,triggers=4", HS_EARG, "some of the 4 symbols");
    wont(NULL, "bigram_backcopy:symbols=600", HS_EARG, "520 ordinary tokens, and 600");
    hs_tok_close(llama);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles_are_read),
        cmocka_unit_test(prose_is_clean_and_does_not_repeat),
        cmocka_unit_test(needles_lie_where_they_should),
        cmocka_unit_test(depths_share_their_haystack),
        cmocka_unit_test(own_needles_and_haystacks),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(numbers_are_found_in_their_text),
        cmocka_unit_test(words_are_told_and_asked),
        cmocka_unit_test(answers_stand_in_their_passages),
        cmocka_unit_test(values_are_those_of_their_keys),
        cmocka_unit_test(queries_have_the_labels_of_their_keys),
        cmocka_unit_test(triggers_copy_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
