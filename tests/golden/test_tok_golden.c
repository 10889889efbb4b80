// Tokenizer ids against the reference's (tests/ref/tok.py), for every fixture and text; and what
// must hold of any encoding: ranges that tile the text, and decoding that gives the bytes back.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/tok.h"

#define DATA "tests/golden/data/"

// ---- fixtures -----------------------------------------------------------------------------------

typedef struct lines {
    hs_map map;
    size_t at;
} lines;

// The next line as JSON; NULL after the last.
static hs_json *next_line(lines *l) {
    if (l->at >= l->map.size) return NULL;
    const char *s = (const char *)l->map.data + l->at;
    const char *end = memchr(s, '\n', l->map.size - l->at);
    size_t n = end ? (size_t)(end - s) : l->map.size - l->at;
    hs_json *doc;
    assert_int_equal(hs_json_parse(&doc, s, n), HS_OK);
    l->at += n + 1;
    return doc;
}

static int nibble(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

// A text of tok_texts.jsonl: "text", or "hex" where JSON's reader refuses a NUL.
static hs_buf text_of(const hs_json *line) {
    hs_buf out = {0};
    const char *text = hs_json_str(hs_json_get(line, "text"));
    const char *hex = hs_json_str(hs_json_get(line, "hex"));
    assert_true(text || hex);
    if (text) hs_buf_str(&out, text);
    for (; hex && *hex; hex += 2) hs_buf_chr(&out, (char)(nibble(hex[0]) << 4 | nibble(hex[1])));
    return out;
}

static hs_tok *open_tok(const char *path) {
    hs_ckpt *ck = NULL;
    hs_tok *tok = NULL;
    if (hs_ckpt_open(&ck, path, false) || hs_tok_open(&tok, ck)) fail_msg("%s", hs_errmsg());
    hs_ckpt_close(ck); // a tokenizer keeps nothing of the checkpoint
    return tok;
}

// ---- one text -----------------------------------------------------------------------------------

static void check_ids(const hs_tokens *got, const hs_json *want, const hs_buf *text) {
    size_t i = 0;
    for (const hs_json *v = hs_json_first(want); v; v = hs_json_next(v), i++) {
        int64_t id;
        assert_true(hs_json_int(v, &id));
        if (i >= got->n || got->at[i].id != id)
            fail_msg("token %zu of '%s': expected %lld, got %d", i, hs_buf_text(text),
                     (long long)id, i < got->n ? got->at[i].id : -1);
    }
    assert_int_equal(got->n, i);
}

// Ranges lie in the text and never go back. tiles: each begins where the one before ended, and the
// last ends with the text.
static void check_ranges(const hs_tokens *t, int64_t n, bool tiles) {
    int64_t start = 0, end = 0;
    for (size_t i = 0; i < t->n; i++) {
        assert_true(t->at[i].start >= start && t->at[i].end >= t->at[i].start);
        assert_true(t->at[i].end >= end && t->at[i].end <= n);
        if (tiles) assert_int_equal(t->at[i].start, end);
        start = t->at[i].start;
        end = t->at[i].end;
    }
    if (tiles) assert_int_equal(end, n);
}

static void check_decode(const hs_tok *tok, const hs_tokens *t, const hs_buf *text) {
    hs_buf back = {0};
    int32_t *ids = NULL;
    assert_int_equal(hs_alloc(&ids, t->n, sizeof *ids), HS_OK);
    for (size_t i = 0; i < t->n; i++) ids[i] = t->at[i].id;
    assert_int_equal(hs_tok_decode(tok, ids, t->n, false, &back), HS_OK);
    assert_int_equal(back.len, text->len);
    if (text->len) assert_memory_equal(back.data, text->data, text->len);
    hs_buf_free(&back);
    free(ids);
}

enum { TILES = 1, DECODES = 2, EXACT = TILES | DECODES };

static void check_text(const hs_tok *tok, const hs_buf *text, const hs_json *want, int holds) {
    const hs_json *ids = hs_json_get(want, "ids"), *plain = hs_json_get(want, "plain");
    hs_tokens t;
    assert_int_equal(hs_tok_encode(tok, hs_buf_text(text), text->len, HS_BOS_AUTO, &t), HS_OK);
    check_ids(&t, ids, text);
    check_ranges(&t, (int64_t)text->len, holds & TILES);
    assert_int_equal(t.bos_len, hs_tok_adds_bos(tok));
    hs_tokens_free(&t);
    assert_int_equal(hs_tok_encode(tok, hs_buf_text(text), text->len, HS_BOS_NO, &t), HS_OK);
    check_ids(&t, plain ? plain : ids, text);
    assert_int_equal(t.bos_len, 0);
    if (holds & DECODES) check_decode(tok, &t, text);
    hs_tokens_free(&t);
}

// ---- one tokenizer ------------------------------------------------------------------------------

static void check(const char *path, const char *answers, int holds) {
    hs_tok *tok = open_tok(path);
    lines texts = {0}, ids = {0};
    assert_int_equal(hs_map_open(&texts.map, DATA "tok_texts.jsonl"), HS_OK);
    assert_int_equal(hs_map_open(&ids.map, answers), HS_OK);
    int n = 0;
    for (hs_json *line; (line = next_line(&texts)); n++) {
        hs_json *want = next_line(&ids);
        hs_buf text = text_of(line);
        check_text(tok, &text, want, holds);
        hs_buf_free(&text);
        hs_json_free(want);
        hs_json_free(line);
    }
    assert_true(n > 150);
    assert_null(next_line(&ids));
    hs_map_close(&texts.map);
    hs_map_close(&ids.map);
    hs_tok_close(tok);
}

#define FIXTURE(name, holds)                                                                       \
    static void name(void **state) {                                                               \
        (void)state;                                                                               \
        check(DATA "tok_" #name, DATA "tok_" #name "/ids.jsonl", holds);                           \
    }
FIXTURE(gpt2, EXACT)
FIXTURE(llama3, EXACT)
FIXTURE(smollm, EXACT)
FIXTURE(pair, EXACT)
FIXTURE(roberta, EXACT)
FIXTURE(qwen2, 0)    // NFC
FIXTURE(added, 0)    // NFD, NFC, an invented space
FIXTURE(unknown, 0)  // letters that are lost
FIXTURE(fallback, 0) // letters that become others
FIXTURE(splits, 0)   // a character that is removed
#undef FIXTURE

static void gguf(void **state) {
    (void)state;
    check(DATA "tok_gguf_smollm/tok.gguf", DATA "tok_gguf_smollm/ids.jsonl", EXACT);
    check(DATA "tok_gguf_llama/tok.gguf", DATA "tok_gguf_llama/ids.jsonl", EXACT);
}

// What the files beside the vocabulary say.
static int32_t id_of(const hs_tok *tok, const char *piece) {
    for (int32_t id = 0; id < (int32_t)hs_tok_n_vocab(tok); id++) {
        size_t n;
        const char *s = hs_tok_piece(tok, id, &n);
        if (n == strlen(piece) && !memcmp(s, piece, n)) return id;
    }
    fail_msg("no token %s", piece);
    return -1;
}

static void check_ends(const char *path, const char *bos, bool adds, const char *const *ends) {
    hs_tok *tok = open_tok(path);
    size_t n = 0, n_ends = 0;
    if (bos)
        assert_int_equal(hs_tok_bos(tok), id_of(tok, bos));
    else
        assert_int_equal(hs_tok_bos(tok), -1);
    assert_int_equal(hs_tok_adds_bos(tok), adds);
    for (; ends[n]; n++) assert_true(hs_tok_is_eog(tok, id_of(tok, ends[n])));
    for (int32_t id = 0; id < (int32_t)hs_tok_n_vocab(tok); id++) n_ends += hs_tok_is_eog(tok, id);
    assert_int_equal(n_ends, n);
    hs_tok_close(tok);
}

static void ends(void **state) {
    (void)state;
    const char *const text[] = {"<|endoftext|>", NULL}, *const im[] = {"<|im_end|>", NULL};
    const char *const both[] = {"<|im_end|>", "<|endoftext|>", NULL}, *const none[] = {NULL};
    const char *const llama[] = {"<|end_of_text|>", "<|eot_id|>", NULL};
    check_ends(DATA "tok_gpt2", "<|endoftext|>", false, text);
    check_ends(DATA "tok_pair", "<|endoftext|>", false, text);
    check_ends(DATA "tok_qwen2", NULL, false, none);
    check_ends(DATA "tok_llama3", "<|begin_of_text|>", true, llama);
    check_ends(DATA "tok_smollm", "<|im_start|>", false, im);
    check_ends(DATA "tok_roberta", "<s>", true, none);
    check_ends(DATA "tok_gguf_smollm/tok.gguf", "<|im_start|>", false, both);
    check_ends(DATA "tok_gguf_llama/tok.gguf", "<|begin_of_text|>", true, llama);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2),   cmocka_unit_test(llama3),  cmocka_unit_test(smollm),
        cmocka_unit_test(pair),   cmocka_unit_test(roberta), cmocka_unit_test(qwen2),
        cmocka_unit_test(added),  cmocka_unit_test(unknown), cmocka_unit_test(fallback),
        cmocka_unit_test(splits), cmocka_unit_test(gguf),    cmocka_unit_test(ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
