// Prompts: from token lists, from JSON lines good and bad, and the line that is written back.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyses/prompt.h"
#include "tests/lib/mkmodel.h"

enum { N_VOCAB = 100 };

static hs_prompts *open_prompts(void) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, NULL, HS_BOS_AUTO, N_VOCAB), HS_OK);
    return p;
}

// Adds bytes as a file of that suffix; returns the rc.
static int add_bytes(hs_prompts *p, const char *suffix, const char *bytes, size_t n) {
    char path[] = "/tmp/hs_prompt_XXXXXX.jsonl";
    snprintf(strchr(path, '.'), 8, "%s", suffix);
    int fd = mkstemps(path, (int)strlen(suffix));
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
    int rc = hs_prompts_add_file(p, path);
    unlink(path);
    return rc;
}

static int add(hs_prompts *p, const char *text) {
    return add_bytes(p, ".jsonl", text, strlen(text));
}

static void refuses(const char *text, int rc, const char *says) {
    hs_prompts *p = open_prompts();
    int got = add(p, text);
    if (got != rc || !strstr(hs_errmsg(), says))
        fail_msg("'%s' gives %d '%s', not %d '%s'", text, got, hs_errmsg(), rc, says);
    hs_prompts_close(p);
}

static void tokens_are_taken_as_they_are(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    int32_t ids[] = {0, 99, 5};
    assert_int_equal(hs_prompts_add_tokens(p, "a", ids, 3, 1, 2, "{\"x\":1}"), HS_OK);
    assert_int_equal(hs_prompts_add_tokens(p, NULL, ids, 0, 0, 0, NULL), HS_OK);
    ids[1] = 7; // the set keeps a copy
    assert_int_equal(hs_prompts_count(p), 2);
    const hs_prompt *a = hs_prompts_at(p, 0), *b = hs_prompts_at(p, 1);
    assert_string_equal(a->id, "a");
    assert_int_equal(a->n_token, 3);
    assert_int_equal(a->tokens[1], 99);
    assert_int_equal(a->bos_len, 1);
    assert_int_equal(a->period, 2);
    assert_string_equal(a->extra, "{\"x\":1}");
    assert_null(a->text);
    assert_string_equal(b->id, "1");
    assert_int_equal(b->n_token, 0);
    assert_null(b->extra);
    ids[0] = 100;
    assert_int_equal(hs_prompts_add_tokens(p, "c", ids, 1, 0, 0, NULL), HS_ERANGE);
    assert_non_null(strstr(hs_errmsg(), "0 to 99"));
    ids[0] = -1;
    assert_int_equal(hs_prompts_add_tokens(p, "c", ids, 1, 0, 0, NULL), HS_ERANGE);
    assert_int_equal(hs_prompts_add_tokens(p, "c", ids, 0, 1, 0, NULL), HS_EARG);
    assert_int_equal(hs_prompts_add_tokens(p, "c", ids, 0, 0, -1, NULL), HS_EARG);
    assert_int_equal(hs_prompts_add_tokens(p, "a", ids, 0, 0, 0, NULL), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "'a'"));
    assert_int_equal(hs_prompts_count(p), 2);
    hs_prompts_close(p);
}

static void ids_differ_however_many(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    const int32_t id = 3;
    for (int i = 0; i < 5000; i++)
        assert_int_equal(hs_prompts_add_tokens(p, NULL, &id, 1, 0, 0, NULL), HS_OK);
    assert_string_equal(hs_prompts_at(p, 4999)->id, "4999");
    for (int i = 0; i < 5000; i += 499) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(hs_prompts_add_tokens(p, name, &id, 1, 0, 0, NULL), HS_EARG);
    }
    hs_prompts_close(p);
}

static void text_needs_a_tokenizer(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    assert_int_equal(hs_prompts_add_text(p, NULL, "a", 1), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "tokens"));
    assert_int_equal(add_bytes(p, ".txt", "a", 1), HS_EARG);
    assert_int_equal(add_bytes(p, ".txt", "", 0), HS_EARG);
    assert_int_equal(hs_prompts_count(p), 0);
    hs_prompts_close(p);
    refuses("{\"text\":\"x\"}", HS_EARG, ".jsonl:1: there is no tokenizer");
}

static void text_is_tokenised(void **state) {
    (void)state;
    hs_ckpt *ck;
    hs_tok *tok;
    assert_int_equal(hs_ckpt_open(&ck, "tests/golden/data/tok_llama3", false), HS_OK);
    assert_int_equal(hs_tok_open(&tok, ck), HS_OK);
    hs_ckpt_close(ck);
    const int64_t n_vocab = (int64_t)hs_tok_n_vocab(tok);
    hs_prompts *p, *bare;
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, n_vocab), HS_OK);
    assert_int_equal(hs_prompts_open(&bare, tok, HS_BOS_NO, n_vocab), HS_OK);
    static const char text[] = "The cat sat.\n";
    assert_int_equal(add_bytes(p, ".txt", text, sizeof text - 1), HS_OK);
    assert_int_equal(add(p, "{\"prompt\":\"The cat sat.\\n\",\"period\":3,\"label\":1}"), HS_OK);
    assert_int_equal(hs_prompts_add_text(bare, "x", "", 0), HS_OK); // refused only when run
    assert_int_equal(hs_prompts_at(bare, 0)->n_token, 0);
    const hs_prompt *a = hs_prompts_at(p, 0), *b = hs_prompts_at(p, 1);
    assert_string_equal(a->text, text);
    assert_int_equal(a->text_len, sizeof text - 1);
    assert_int_equal(a->bos_len, 1);
    assert_int_equal(a->tokens[0], hs_tok_bos(tok));
    assert_int_equal(a->end[0], 0);
    assert_int_equal(a->start[1], 0);
    assert_int_equal(a->end[a->n_token - 1], sizeof text - 1);
    assert_null(a->extra);
    assert_int_equal(b->n_token, a->n_token);
    assert_memory_equal(b->tokens, a->tokens, (size_t)a->n_token * sizeof *a->tokens);
    assert_int_equal(b->period, 3);
    assert_string_equal(b->extra, "{\"label\":1}");
    hs_prompts_close(p);
    // A model whose embedding is smaller than its tokenizer.
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, 10), HS_OK);
    assert_int_equal(hs_prompts_add_text(p, NULL, "The", 3), HS_ERANGE);
    hs_prompts_close(p);
    hs_prompts_close(bare);
    hs_tok_close(tok);
}

static void json_lines_are_read(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    assert_int_equal(add(p, "\xef\xbb\xbf{\"id\": \"a\", \"tokens\": [1, 2, 3]}\r\n"
                            "\n  \t\n"
                            "{\"tokens\":[0,5,6,5,6],\"bos_len\":1,\"period\":2,\"answer\":[4],"
                            "\"note\":{\"x\":\"\\u00e9\"},\"text\":\"kept\"}\n"
                            "{\"tokens\":[],\"id\":7}"),
                     HS_OK);
    assert_int_equal(hs_prompts_count(p), 3);
    const hs_prompt *b = hs_prompts_at(p, 1), *c = hs_prompts_at(p, 2);
    assert_string_equal(hs_prompts_at(p, 0)->id, "a");
    assert_int_equal(hs_prompts_at(p, 0)->n_token, 3);
    assert_string_equal(b->id, "1");
    assert_int_equal(b->bos_len, 1);
    assert_int_equal(b->period, 2);
    assert_string_equal(b->extra,
                        "{\"answer\":[4],\"note\":{\"x\":\"\xc3\xa9\"},\"text\":\"kept\"}");
    assert_string_equal(c->id, "7");
    assert_int_equal(c->n_token, 0);
    hs_buf line = {0};
    hs_prompt_jsonl(b, &line);
    assert_string_equal(line.data,
                        "{\"id\":\"1\",\"tokens\":[0,5,6,5,6],\"bos_len\":1,\"period\":2,"
                        "\"answer\":[4],\"note\":{\"x\":\"\xc3\xa9\"},\"text\":\"kept\"}\n");
    // And back.
    hs_prompts *again = open_prompts();
    assert_int_equal(add(again, line.data), HS_OK);
    assert_string_equal(hs_prompts_at(again, 0)->extra, b->extra);
    assert_memory_equal(hs_prompts_at(again, 0)->tokens, b->tokens, 5 * sizeof *b->tokens);
    hs_buf_free(&line);
    hs_prompts_close(again);
    hs_prompts_close(p);
}

static void long_lines_cross_the_blocks(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    hs_buf text = {0};
    for (int k = 0; k < 3; k++) {
        hs_buf_str(&text, "{\"tokens\":[0");
        for (int i = 1; i < 50000; i++) hs_buf_printf(&text, ",%d", (i + k) % N_VOCAB);
        hs_buf_str(&text, "]}\n");
    }
    assert_int_equal(add_bytes(p, ".jsonl", text.data, text.len), HS_OK);
    assert_int_equal(hs_prompts_count(p), 3);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(hs_prompts_at(p, k)->n_token, 50000);
        assert_int_equal(hs_prompts_at(p, k)->tokens[49999], (49999 + k) % N_VOCAB);
    }
    hs_buf_free(&text);
    hs_prompts_close(p);
}

static void has_span(const hs_prompt *p, const char *name, int64_t from, int64_t to) {
    int i = 0;
    while (i < p->spans.n && strcmp(p->spans.at[i].name, name) != 0) i++;
    if (i == p->spans.n) fail_msg("prompt '%s' has no '%s'", p->id, name);
    assert_int_equal(p->spans.at[i].from, from);
    assert_int_equal(p->spans.at[i].to, to);
}

static void positions_have_names(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    assert_int_equal(add(p,
                         "{\"tokens\":[1,2,3,4],\"positions\":{\"S2\":1,\"END\":-1,\"far\":4,"
                         "\"low\":-5,\"x\":\"y\",\"f\":1.5},"
                         "\"spans\":{\"doc\":[1,3],\"tail\":[-2,4],\"none\":[2,2],\"past\":[0,5],"
                         "\"three\":[0,1,2]}}\n"
                         "{\"tokens\":[1],\"positions\":[1],\"spans\":3}\n"
                         "{\"tokens\":[1],\"about\":\"spans\"}\n"),
                     HS_OK);
    const hs_prompt *a = hs_prompts_at(p, 0);
    assert_int_equal(a->spans.n, 4);
    has_span(a, "S2", 1, 2);
    has_span(a, "END", 3, 4);
    has_span(a, "doc", 1, 3);
    has_span(a, "tail", 2, 4);
    assert_int_equal(hs_prompts_at(p, 1)->spans.n, 0);
    assert_int_equal(hs_prompts_at(p, 2)->spans.n, 0);
    hs_prompts_close(p);
}

// One token a byte, "ab" and "dd" together, and no token for '~'.
static const char bytes[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,"
    "\"d\":4,\"dd\":5},\"merges\":[\"a b\",\"d d\"]},\"pre_tokenizer\":"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}";

static hs_prompts *open_text_prompts(hs_tok **tok) {
    char dir[PATH_MAX];
    hs_ckpt *ck;
    hs_prompts *p;
    mk_dir(dir);
    mk_file(dir, "tokenizer.json", bytes, strlen(bytes));
    assert_int_equal(hs_ckpt_open(&ck, dir, false), HS_OK);
    if (hs_tok_open(tok, ck)) fail_msg("%s", hs_errmsg());
    hs_ckpt_close(ck);
    mk_remove(dir);
    assert_int_equal(hs_prompts_open(&p, *tok, HS_BOS_NO, N_VOCAB), HS_OK);
    return p;
}

static void spans_may_be_texts(void **state) {
    (void)state;
    static const struct {
        const char *span;
        int64_t from, to;
    } cases[] = {
        {"ab", 0, 1}, {"b", 0, 1},  {"a", 0, 1},     {"bc", 0, 2},  {"c", 1, 2},
        {"cd", 1, 3}, {"dd", 2, 3}, {"abcdd", 0, 3}, {"cdd", 1, 3},
    };
    static const struct {
        const char *span, *says;
    } bad[] = {
        {"", "spans: \"doc\": it is empty"}, {"x", "does not say this"},
        {"abcddd", "does not say this"},     {"d", "more than once"},
        {"ddd", "does not say this"},
    };
    hs_tok *tok;
    char line[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_prompts *p = open_text_prompts(&tok);
        snprintf(line, sizeof line, "{\"text\":\"abcdd\",\"spans\":{\"doc\":\"%s\",\"all\":[0,3]}}",
                 cases[i].span);
        if (add(p, line)) fail_msg("%s: %s", line, hs_errmsg());
        assert_int_equal(hs_prompts_at(p, 0)->n_token, 3);
        has_span(hs_prompts_at(p, 0), "doc", cases[i].from, cases[i].to);
        has_span(hs_prompts_at(p, 0), "all", 0, 3);
        hs_prompts_close(p);
        hs_tok_close(tok);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs_prompts *p = open_text_prompts(&tok);
        snprintf(line, sizeof line,
                 "{\"text\":\"ab\"}\n{\"text\":\"abcdd\",\"spans\":{\"doc\":\"%s\"}}", bad[i].span);
        const int rc = add(p, line);
        if (rc != HS_EFORMAT || !strstr(hs_errmsg(), bad[i].says) || !strstr(hs_errmsg(), "l:2: "))
            fail_msg("%s gives %d '%s'", line, rc, hs_errmsg());
        hs_prompts_close(p);
        hs_tok_close(tok);
    }
    // Overlapping places are two; positions and tokens alone have no texts.
    hs_prompts *p = open_text_prompts(&tok);
    assert_int_equal(add(p, "{\"text\":\"ddd\",\"spans\":{\"doc\":\"dd\"}}"), HS_EFORMAT);
    assert_int_equal(add(p, "{\"text\":\"ab\",\"positions\":{\"doc\":\"x\"}}"), HS_OK);
    assert_int_equal(add(p, "{\"tokens\":[2],\"text\":\"ab\",\"spans\":{\"doc\":\"x\"}}"), HS_OK);
    assert_int_equal(hs_prompts_at(p, 0)->spans.n + hs_prompts_at(p, 1)->spans.n, 0);
    hs_prompts_close(p);
    hs_tok_close(tok);
}

static void pairs_know_each_other(void **state) {
    (void)state;
    hs_prompts *p = open_prompts();
    assert_int_equal(add(p, "{\"id\":\"a\",\"tokens\":[1,2],\"corrupt_tokens\":[1,3],"
                            "\"positions\":{\"S\":1}}\n"
                            "{\"id\":\"b\",\"tokens\":[4],\"corrupt_tokens\":[5]}\n"),
                     HS_OK);
    assert_int_equal(hs_prompts_pair(p, 0), -1);
    assert_int_equal(hs_prompts_add_pairs(p), HS_OK);
    assert_int_equal(hs_prompts_count(p), 4);
    assert_int_equal(hs_prompts_pair(p, 1), 3);
    assert_int_equal(hs_prompts_pair(p, 2), 0);
    const hs_prompt *half = hs_prompts_at(p, 2);
    assert_string_equal(half->id, "a~corrupt");
    assert_int_equal(half->n_token, 2);
    assert_int_equal(half->tokens[1], 3);
    has_span(half, "S", 1, 2);
    hs_prompts_close(p);
}

static void no_pair(const char *line, int rc, const char *says) {
    hs_prompts *p = open_prompts();
    assert_int_equal(add(p, line), HS_OK);
    int got = hs_prompts_add_pairs(p);
    if (got != rc || !strstr(hs_errmsg(), says))
        fail_msg("'%s' gives %d '%s', not %d '%s'", line, got, hs_errmsg(), rc, says);
    hs_prompts_close(p);
}

static void halves_must_match(void **state) {
    (void)state;
    no_pair("{\"id\":\"a\",\"tokens\":[1]}", HS_EARG, "prompt 'a': there is no corrupt");
    no_pair("{\"tokens\":[1],\"corrupt_tokens\":[1,2]}", HS_EFORMAT, "equally long");
    no_pair("{\"tokens\":[1],\"corrupt_tokens\":[1]}", HS_EFORMAT, "the prompt itself");
    no_pair("{\"tokens\":[1],\"corrupt_tokens\":7}", HS_EFORMAT, "not a list");
    no_pair("{\"tokens\":[1],\"corrupt_tokens\":[100]}", HS_ERANGE, "vocabulary");
}

static void bad_lines_are_refused_by_number(void **state) {
    (void)state;
    refuses("{\"tokens\":[1]}\n{\"tokens\":[1],}\n", HS_EFORMAT, ".jsonl:2: ");
    refuses("\n\nhello\n", HS_EFORMAT, ".jsonl:3: ");
    refuses("{\"tokens\":[1]}\n\xef\xbb\xbf{\"tokens\":[1]}", HS_EFORMAT, ".jsonl:2: ");
    refuses("[1,2]", HS_EFORMAT, ".jsonl:1: the line is not a JSON object");
    refuses("{}", HS_EFORMAT, "neither");
    refuses("{\"id\":\"a\"}", HS_EFORMAT, "neither");
    refuses("{\"prompt\":3}", HS_EFORMAT, "\"prompt\" is not a text");
    refuses("{\"text\":null}", HS_EFORMAT, "\"text\" is not a text");
    refuses("{\"tokens\":\"1 2\"}", HS_EFORMAT, "not a list");
    refuses("{\"tokens\":[1,\"2\"]}", HS_EFORMAT, "whole numbers");
    refuses("{\"tokens\":[1.5]}", HS_EFORMAT, "whole numbers");
    refuses("{\"tokens\":[100]}", HS_ERANGE, ".jsonl:1: prompt '0': token 100 at position 0");
    refuses("{\"tokens\":[-1]}", HS_ERANGE, "token -1");
    refuses("{\"tokens\":[4294967297]}", HS_ERANGE, "token 4294967297");
    refuses("{\"tokens\":[1],\"id\":[]}", HS_EFORMAT, "\"id\"");
    refuses("{\"tokens\":[1],\"id\":1.5}", HS_EFORMAT, "\"id\"");
    refuses("{\"tokens\":[1],\"period\":-1}", HS_EFORMAT, "\"period\"");
    refuses("{\"tokens\":[1],\"period\":\"8\"}", HS_EFORMAT, "\"period\"");
    refuses("{\"tokens\":[1],\"bos_len\":2}", HS_EFORMAT, "\"bos_len\"");
    refuses("{\"tokens\":[],\"bos_len\":1}", HS_EARG, "bos_len");
    refuses("{\"tokens\":[1],\"id\":\"a\"}\n{\"tokens\":[1],\"id\":\"a\"}", HS_EARG,
            ".jsonl:2: two");
    refuses("{\"tokens\":[1],\"id\":\"1\"}\n{\"tokens\":[1]}", HS_EARG, "two prompts");
    refuses("", HS_EARG, "no prompts");
    refuses("\n \n", HS_EARG, "no prompts");
    hs_prompts *p = open_prompts();
    assert_int_equal(add_bytes(p, ".jsonl", "{\"tokens\":[1]}\0", 15), HS_EFORMAT);
    assert_int_equal(hs_prompts_add_file(p, "/nowhere/at/all.jsonl"), HS_EIO);
    assert_non_null(strstr(hs_errmsg(), "/nowhere/at/all.jsonl"));
    assert_int_equal(hs_prompts_add_file(p, "/nowhere/at/all.txt"), HS_EIO);
    assert_int_equal(hs_prompts_add_file(p, "/tmp"), HS_EIO);
    hs_prompts_close(p);
    hs_prompts_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_taken_as_they_are),
        cmocka_unit_test(ids_differ_however_many),
        cmocka_unit_test(text_needs_a_tokenizer),
        cmocka_unit_test(text_is_tokenised),
        cmocka_unit_test(json_lines_are_read),
        cmocka_unit_test(long_lines_cross_the_blocks),
        cmocka_unit_test(positions_have_names),
        cmocka_unit_test(spans_may_be_texts),
        cmocka_unit_test(pairs_know_each_other),
        cmocka_unit_test(halves_must_match),
        cmocka_unit_test(bad_lines_are_refused_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
