// Tokenizers on small vocabularies whose ids are worked out by hand. What is refused or damaged:
// test_tok_open.c. Equality with the reference: tests/golden/test_tok_golden.c.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tok_impl.h"

#define LIT(s) (s), sizeof(s) - 1

// ---- making tokenizers --------------------------------------------------------------------------

#define BYTE_LEVEL "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
// a b c d = 0 1 2 3, a space = 4, ab = 5, bc = 6, abc = 7, cd = 8
#define VOCAB                                                                                      \
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"\u0120\":4,\"ab\":5,\"bc\":6,"                   \
    "\"abc\":7,\"cd\":8}"
#define MERGES "\"merges\":[\"b c\",[\"a\",\"b\"],\"ab c\",\"c d\"]"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB "," MERGES "}"

static int read(hs_tok **t, const char *json) {
    assert_int_equal(hs_tok_new(t), HS_OK);
    int rc = hs_tok_read_json(*t, json, strlen(json));
    if (!rc) return HS_OK;
    hs_tok_close(*t);
    *t = NULL;
    return rc;
}

static hs_tok *tok_of(const char *json) {
    hs_tok *t;
    if (read(&t, json)) fail_msg("%s", hs_errmsg());
    return t;
}

// A vocabulary of all 256 letters, ids by byte, and nothing else; `more` follows in the object.
static hs_tok *letters(const char *more) {
    hs_buf b = {0};
    hs_buf_str(&b, "{" BYTE_LEVEL ",\"model\":{\"merges\":[],\"vocab\":{");
    for (int i = 0; i < 256; i++) {
        char s[4];
        hs_buf_str(&b, i ? ",\"" : "\"");
        size_t n = hs_utf8_encode(hs_byte_letter((unsigned char)i), s);
        if (*s == '"' || *s == '\\') hs_buf_chr(&b, '\\');
        hs_buf_add(&b, s, n);
        hs_buf_printf(&b, "\":%d", i);
    }
    hs_buf_printf(&b, "}}%s}", more);
    hs_tok *t = tok_of(b.data);
    hs_buf_free(&b);
    return t;
}

// ---- asking them --------------------------------------------------------------------------------

// The ids as text, "7 3"; with ranges, "7:0-3 3:3-4".
static const char *encode(const hs_tok *t, const char *text, size_t n, enum hs_bos bos,
                          bool ranges) {
    static char out[512];
    hs_tokens got;
    size_t used = 0;
    out[0] = 0;
    if (hs_tok_encode(t, text, n, bos, &got)) fail_msg("%s", hs_errmsg());
    for (size_t i = 0; i < got.n && used < sizeof out - 64; i++) {
        const hs_token *k = &got.at[i];
        used += (size_t)snprintf(out + used, sizeof out - used, i ? " %d" : "%d", k->id);
        if (ranges)
            used += (size_t)snprintf(out + used, sizeof out - used, ":%d-%d", (int)k->start,
                                     (int)k->end);
    }
    hs_tokens_free(&got);
    return out;
}

static const char *ids(const hs_tok *t, const char *text) {
    return encode(t, text, strlen(text), HS_BOS_AUTO, false);
}

static const char *ranges(const hs_tok *t, const char *text) {
    return encode(t, text, strlen(text), HS_BOS_AUTO, true);
}

// ---- merging ------------------------------------------------------------------------------------

static void ranks(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL "," MODEL "}");
    assert_string_equal(ids(t, ""), "");
    assert_string_equal(ids(t, "abc"), "0 6"); // b c has the lower rank, and a bc is no merge
    assert_string_equal(ids(t, "ab"), "5");
    assert_string_equal(ids(t, "bcd"), "6 3"); // b c before c d
    assert_string_equal(ids(t, "acd"), "0 8");
    assert_string_equal(ids(t, "abab"), "5 5");
    assert_string_equal(ids(t, "ab cd"), "5 4 8"); // the space stays with its word, unmerged
    assert_string_equal(ranges(t, "axb cd"), "5:0-3 4:3-4 8:4-6"); // x is lost, its sides meet
    assert_string_equal(ids(t, "x"), "");
    assert_int_equal(hs_tok_n_vocab(t), 9);
    assert_string_equal(hs_tok_kind(t), "bpe");
    hs_tok_close(t);
}

// A pair in the queue whose right side has merged meanwhile is not the pair it was.
static void stale(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL ",\"model\":{" VOCAB
                       ",\"merges\":[\"b c\",\"a b\",\"a bc\"]}}");
    assert_string_equal(ids(t, "abc"), "7");
    hs_tok_close(t);
}

static void ignore_merges(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL ",\"model\":{\"ignore_merges\":true," VOCAB "," MERGES "}}");
    assert_string_equal(ids(t, "abc"), "7"); // a word that is a token
    assert_string_equal(ids(t, "abcd"), "0 6 3");
    hs_tok_close(t);
}

// Of equal ranks the leftmost goes first, and one table of merges serves runs of any length.
static void runs(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2},"
                       "\"merges\":[\"a a\",\"aa aa\"]}}");
    assert_string_equal(ids(t, "aaa"), "1 0");
    assert_string_equal(ids(t, "aaaaaaa"), "2 1 0");
    enum { N = 1 << 20 };
    char *text = malloc(N);
    hs_tokens got;
    memset(text, 'a', N);
    assert_int_equal(hs_tok_encode(t, text, N, HS_BOS_AUTO, &got), HS_OK);
    assert_int_equal(got.n, N / 4);
    for (size_t i = 0; i < got.n; i++) {
        assert_int_equal(got.at[i].id, 2);
        assert_int_equal(got.at[i].start, 4 * i);
        assert_int_equal(got.at[i].end, 4 * i + 4);
    }
    hs_tokens_free(&got);
    free(text);
    hs_tok_close(t);
}

// Of two equal merges the later one counts in tokenizer.json.
static void same_merge_twice(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL ",\"model\":{" VOCAB
                       ",\"merges\":[\"b c\",\"a b\",\"b c\"]}}");
    assert_string_equal(ids(t, "abc"), "5 2");
    hs_tok_close(t);
}

static void unknown(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL ",\"model\":{\"unk_token\":\"d\"," VOCAB "," MERGES "}}");
    assert_string_equal(ranges(t, "axyb"), "0:0-1 3:1-2 3:2-3 1:3-4");
    hs_tok_close(t);
    t = tok_of("{" BYTE_LEVEL ",\"model\":{\"unk_token\":\"d\",\"fuse_unk\":true," VOCAB "," MERGES
               "}}");
    assert_string_equal(ranges(t, "axyb"), "0:0-1 3:1-3 1:3-4");
    assert_string_equal(ids(t, "cx"), "8"); // an unknown merges as what it is
    hs_tok_close(t);
    // x is <0x78>; y has no byte token, and waits behind the bytes.
    t = tok_of("{" BYTE_LEVEL ",\"model\":{\"unk_token\":\"d\",\"byte_fallback\":true,"
               "\"vocab\":{\"a\":0,\"<0x78>\":1,\"d\":3},\"merges\":[]}}");
    assert_string_equal(ids(t, "axa"), "0 1 0");
    assert_string_equal(ranges(t, "yxa"), "1:1-2 3:1-2 0:2-3");
    hs_tok_close(t);
}

// ---- bytes --------------------------------------------------------------------------------------

// GPT-2's alphabet at the ends of its ranges.
static void alphabet(void **state) {
    (void)state;
    static const int pairs[][2] = {{0, 0x100},   {' ', 0x120}, {'!', '!'}, {'~', '~'},
                                   {127, 0x121}, {160, 0x142}, {161, 161}, {172, 172},
                                   {173, 0x143}, {174, 174},   {255, 255}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_int_equal(hs_byte_letter((unsigned char)pairs[i][0]), pairs[i][1]);
}

static void any_bytes(void **state) {
    (void)state;
    hs_tok *t = letters("");
    char text[512];
    int32_t back[512];
    hs_tokens got;
    hs_buf out = {0};
    for (int i = 0; i < 256; i++) text[2 * i] = (char)i, text[2 * i + 1] = (char)(255 - i);
    assert_int_equal(hs_tok_encode(t, text, sizeof text, HS_BOS_AUTO, &got), HS_OK);
    assert_int_equal(got.n, sizeof text);
    for (size_t i = 0; i < got.n; i++) {
        assert_int_equal(got.at[i].id, (unsigned char)text[i]);
        assert_int_equal(got.at[i].start, i);
        assert_int_equal(got.at[i].end, i + 1);
        back[i] = got.at[i].id;
    }
    assert_int_equal(hs_tok_decode(t, back, got.n, false, &out), HS_OK);
    assert_int_equal(out.len, sizeof text);
    assert_memory_equal(out.data, text, sizeof text);
    for (int32_t i = 0; i < 256; i++) {
        size_t n;
        const char *piece = hs_tok_piece(t, i, &n);
        assert_int_equal(n, 1);
        assert_int_equal((unsigned char)*piece, i);
    }
    hs_buf_free(&out);
    hs_tokens_free(&got);
    hs_tok_close(t);
}

// A character cut in two keeps exact ranges; an invalid byte is a word character to nobody.
static void byte_ranges(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL
                       ",\"model\":{\"vocab\":{\"\u00c3\":0,\"\u00a9\":1,\"\u0120\":2,"
                       "\"\u0120\u00c3\":3,\"a\":4,\"a\u00c3\":5},"
                       "\"merges\":[\"\u0120 \u00c3\",\"a \u00c3\"]}}");
    assert_string_equal(ranges(t, " \u00e9"), "3:0-2 1:2-3");
    assert_string_equal(ranges(t, "a\u00e9"), "5:0-2 1:2-3"); // one word of two letters
    assert_string_equal(ranges(t, "a\xc3"), "4:0-1 0:1-2");   // two words
    assert_string_equal(ranges(t, " \xc3"), "3:0-2");         // a space joins what is no letter
    hs_tok_close(t);
}

static void nfc_ranges(void **state) {
    (void)state;
    hs_tok *t = letters(",\"normalizer\":{\"type\":\"NFC\"}");
    // e with a mark becomes C3 A9: both bytes come from all three.
    assert_string_equal(ranges(t, "xe\u0301y"), "120:0-1 195:1-4 169:1-4 121:4-5");
    hs_tok_close(t);
    t = letters(",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},"
                "{\"type\":\"NFC\"}]}");
    assert_string_equal(ranges(t, "x\u00e9y"), "120:0-1 195:1-3 169:1-3 121:3-4");
    assert_string_equal(ranges(t, "e\u0301a\u0301"), "195:0-3 169:0-3 195:3-6 161:3-6");
    hs_tok_close(t);
}

static void prefix_space(void **state) {
    (void)state;
    hs_tok *t = tok_of("{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{\"a\":0,"
                       "\"\u0120\":1,\"\u0120a\":2},\"merges\":[\"\u0120 a\"]},\"added_tokens\":["
                       "{\"content\":\"<x>\",\"normalized\":false}]}");
    assert_string_equal(ranges(t, "a"), "2:0-1");
    assert_string_equal(ranges(t, " a"), "2:0-2");
    assert_string_equal(ranges(t, "a a"), "2:0-1 2:1-3");
    assert_string_equal(ranges(t, "a<x>a"), "2:0-1 3:1-4 2:4-5"); // each stretch gets its own
    assert_string_equal(ranges(t, "\n"), "1:0-0");                // nothing of the text in it
    assert_string_equal(ids(t, ""), "");
    hs_tok_close(t);
}

// ---- added tokens -------------------------------------------------------------------------------

#define ADDED(content, flags) "{\"content\":\"" content "\",\"normalized\":false" flags "}"

static void added(void **state) {
    (void)state;
    hs_tok *t = letters(",\"added_tokens\":[" ADDED("<a", "") "," ADDED("<ab>", "") "," ADDED(
        "b>", ",\"special\":true") "," ADDED("", "") "]");
    assert_string_equal(ids(t, "<ab>"), "257"); // the longest of those that begin first
    assert_string_equal(ids(t, "<ab"), "256 98");
    assert_string_equal(ids(t, "<<ab>b>"), "60 257 258");
    assert_string_equal(ids(t, "xb>"), "120 258");
    assert_string_equal(ranges(t, "x<ay"), "120:0-1 256:1-3 121:3-4");
    assert_int_equal(hs_tok_n_vocab(t), 259);
    assert_true(hs_tok_is_special(t, 258));
    assert_false(hs_tok_is_special(t, 257));
    hs_buf out = {0};
    const int32_t some[] = {258, 120, 257, 258};
    assert_int_equal(hs_tok_decode(t, some, 4, false, &out), HS_OK);
    assert_string_equal(out.data, "b>x<ab>b>");
    hs_buf_clear(&out);
    assert_int_equal(hs_tok_decode(t, some, 4, true, &out), HS_OK);
    assert_string_equal(out.data, "x<ab>");
    hs_buf_free(&out);
    hs_tok_close(t);
}

static void added_flags(void **state) {
    (void)state;
    hs_tok *t = letters(",\"added_tokens\":[" ADDED("L!", ",\"lstrip\":true") "," ADDED(
        "!R", ",\"rstrip\":true") "," ADDED("WW", ",\"single_word\":true") "]");
    assert_string_equal(ranges(t, "x \u3000L! y"), "120:0-1 256:1-7 32:7-8 121:8-9");
    assert_string_equal(ranges(t, "x !R\n\u00a0y"), "120:0-1 32:1-2 257:2-7 121:7-8");
    assert_string_equal(ids(t, " L!"), "256");
    assert_string_equal(ranges(t, "!R L!"), "257:0-3 256:3-5"); // the first takes the space
    assert_string_equal(ids(t, "L!  L!"), "256 256");
    assert_string_equal(ids(t, "WW"), "258");
    assert_string_equal(ids(t, "-WW.WW"), "45 258 46 258");
    assert_string_equal(ids(t, "aWW"), "97 87 87");
    assert_string_equal(ids(t, "WW_"), "87 87 95");
    assert_string_equal(ids(t, "WW\u0301"), "87 87 204 129");
    assert_string_equal(ids(t, "\u00e9WW"), "195 169 87 87");
    assert_string_equal(ids(t, "\u4e2d WW"), "228 184 173 32 258");
    assert_string_equal(ids(t, "WWWW"), "87 87 87 87"); // each is a word character to the other
    hs_tok_close(t);
}

// A normalized token is found in normalised text, in the stretches that the others leave.
static void added_normalized(void **state) {
    (void)state;
    hs_tok *t = letters(",\"normalizer\":{\"type\":\"NFC\"},\"added_tokens\":["
                        "{\"content\":\"e\u0301\",\"normalized\":true},"
                        "{\"content\":\"<\u00e9>\",\"normalized\":false}]");
    assert_string_equal(ranges(t, "e\u0301"), "256:0-3");
    assert_string_equal(ranges(t, "\u00e9"), "256:0-2");
    assert_string_equal(ranges(t, "<\u00e9>"), "257:0-4");
    assert_string_equal(ranges(t, "<e\u0301>"), "60:0-1 256:1-4 62:4-5");
    hs_tok_close(t);
}

// A token that the model has keeps its id; new ones follow the number of the model's tokens.
static void added_ids(void **state) {
    (void)state;
    hs_tok *t = tok_of(
        "{" BYTE_LEVEL "," MODEL ",\"added_tokens\":[" ADDED("abc", ",\"id\":99") "," ADDED(
            "new", ",\"id\":50") "," ADDED("bc", "") "," ADDED("new", ",\"rstrip\":true") "]}");
    assert_string_equal(ids(t, "abcnewa"), "7 9 0");
    assert_string_equal(ids(t, "new bc"), "9 6"); // the last description counts
    assert_int_equal(hs_tok_n_vocab(t), 10);
    hs_tok_close(t);
}

// Ids may have gaps: an unused one has no bytes.
static void gaps(void **state) {
    (void)state;
    hs_tok *t = tok_of("{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"b\":7},\"merges\":[]}}");
    size_t n = 9;
    assert_int_equal(hs_tok_n_vocab(t), 8);
    assert_string_equal(hs_tok_piece(t, 3, &n), "");
    assert_int_equal(n, 0);
    assert_string_equal(hs_tok_piece(t, -1, &n), "");
    assert_string_equal(hs_tok_piece(t, 8, &n), "");
    assert_false(hs_tok_is_special(t, 8));
    assert_false(hs_tok_is_eog(t, -1));
    hs_buf out = {0};
    assert_int_equal(hs_tok_decode(t, (int32_t[]){7, 3, 0}, 3, false, &out), HS_OK);
    assert_string_equal(out.data, "ba");
    assert_int_equal(hs_tok_decode(t, (int32_t[]){8}, 1, false, &out), HS_ERANGE);
    assert_int_equal(hs_tok_decode(t, (int32_t[]){-1}, 1, false, &out), HS_ERANGE);
    hs_buf_free(&out);
    hs_tok_close(t);
}

// ---- around the text ----------------------------------------------------------------------------

static void bos(void **state) {
    (void)state;
    hs_tokens got;
    hs_tok *t = tok_of("{" BYTE_LEVEL "," MODEL "}");
    assert_int_equal(hs_tok_bos(t), -1);
    assert_int_equal(hs_tok_encode(t, "a", 1, HS_BOS_YES, &got), HS_EARG);
    assert_null(got.at);
    hs_tok_close(t);
    t = tok_of("{" BYTE_LEVEL "," MODEL
               ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
               "{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":["
               "{\"SpecialToken\":{\"id\":\"S\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}},"
               "{\"SpecialToken\":{\"id\":\"E\"}}],\"special_tokens\":{\"S\":{\"ids\":[8]},"
               "\"E\":{\"ids\":[3,7]}}}]}}");
    assert_int_equal(hs_tok_bos(t), 8);
    assert_true(hs_tok_adds_bos(t));
    assert_string_equal(encode(t, LIT("ab"), HS_BOS_AUTO, true), "8:0-0 5:0-2 3:2-2 7:2-2");
    assert_string_equal(encode(t, LIT("ab"), HS_BOS_YES, false), "8 5 3 7");
    assert_string_equal(encode(t, LIT("ab"), HS_BOS_NO, false), "5");
    assert_string_equal(encode(t, "", 0, HS_BOS_AUTO, false), "8 3 7");
    assert_string_equal(encode(t, "", 0, HS_BOS_NO, false), "");
    assert_int_equal(hs_tok_encode(t, "", 0, HS_BOS_AUTO, &got), HS_OK);
    assert_int_equal(got.bos_len, 1);
    hs_tokens_free(&got);
    assert_int_equal(hs_tok_encode(t, "", 0, HS_BOS_NO, &got), HS_OK);
    assert_int_equal(got.bos_len, 0);
    hs_tokens_free(&got);
    hs_tok_close(t);
    t = tok_of("{" BYTE_LEVEL "," MODEL ",\"post_processor\":{\"type\":\"RobertaProcessing\","
               "\"cls\":[\"a\",0],\"sep\":[\"b\",1]}}");
    assert_string_equal(ids(t, "cd"), "0 8 1");
    hs_tok_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks),        cmocka_unit_test(stale),
        cmocka_unit_test(alphabet),     cmocka_unit_test(ignore_merges),
        cmocka_unit_test(runs),         cmocka_unit_test(same_merge_twice),
        cmocka_unit_test(unknown),      cmocka_unit_test(any_bytes),
        cmocka_unit_test(byte_ranges),  cmocka_unit_test(nfc_ranges),
        cmocka_unit_test(prefix_space), cmocka_unit_test(added),
        cmocka_unit_test(added_flags),  cmocka_unit_test(added_normalized),
        cmocka_unit_test(added_ids),    cmocka_unit_test(gaps),
        cmocka_unit_test(bos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
