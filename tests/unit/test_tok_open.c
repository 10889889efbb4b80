// Opening tokenizers: everything that is refused, everything that is damaged, and what the other
// files of a folder and GGUF metadata say.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/tok_impl.h"
#include "tests/lib/mkmodel.h"

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

// ---- asking them --------------------------------------------------------------------------------

// The ids as text, "7 3".
static const char *encode(const hs_tok *t, const char *text, size_t n, enum hs_bos bos) {
    static char out[512];
    hs_tokens got;
    size_t used = 0;
    out[0] = 0;
    if (hs_tok_encode(t, text, n, bos, &got)) fail_msg("%s", hs_errmsg());
    for (size_t i = 0; i < got.n && used < sizeof out - 64; i++) {
        const hs_token *k = &got.at[i];
        used += (size_t)snprintf(out + used, sizeof out - used, i ? " %d" : "%d", k->id);
    }
    hs_tokens_free(&got);
    return out;
}

static const char *ids(const hs_tok *t, const char *text) {
    return encode(t, text, strlen(text), HS_BOS_AUTO);
}

// ---- what is refused, and what is damaged -------------------------------------------------------

#define PRE(x) "{\"pre_tokenizer\":" x "," MODEL "}"
#define IN_MODEL(x) "{" BYTE_LEVEL ",\"model\":{" VOCAB "," MERGES "," x "}}"
#define WITH(x) "{" BYTE_LEVEL "," MODEL "," x "}"
#define TEMPLATE(single)                                                                           \
    WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" single "],"            \
         "\"special_tokens\":{\"S\":{\"ids\":[8]}}}")
#define S "{\"SpecialToken\":{\"id\":\"S\"}}"
#define A "{\"Sequence\":{\"id\":\"A\"}}"
#define SPLIT(regex)                                                                               \
    PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"    \
        "\"" regex                                                                                 \
        "\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]}")

static void refused(void **state) {
    (void)state;
    const struct {
        const char *json, *says;
    } cases[] = {
        {"{\"model\":{\"type\":\"WordPiece\"}}", "WordPiece"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram"},
        {WITH("\"version\":\"2.0\""), "2.0"},
        {IN_MODEL("\"dropout\":0.1"), "dropout"},
        {IN_MODEL("\"continuing_subword_prefix\":\"##\""), "continuing_subword_prefix"},
        {IN_MODEL("\"end_of_word_suffix\":\"</w>\""), "end_of_word_suffix"},
        {WITH("\"normalizer\":{\"type\":\"NFKC\"}"), "NFKC"},
        {WITH("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}"),
         "Lowercase"},
        {PRE("null"), "byte-level"},
        {PRE("{\"type\":\"Metaspace\"}"), "Metaspace"},
        {PRE("{\"type\":\"Digits\"}"), "byte-level"},
        {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},"
             "{\"type\":\"Digits\"}]}"),
         "Digits after ByteLevel"},
        {WITH("\"post_processor\":{\"type\":\"Other\"}"), "Other"},
        {TEMPLATE(S "," S "," A), "two tokens before"},
        {TEMPLATE(A "," S "," S "," S "," S "," S), "more than 4 tokens after"},
        {TEMPLATE(A "," S "," A), "more than one text"},
        {TEMPLATE("{\"Sequence\":{\"id\":\"B\"}}"), "more than one text"},
        {TEMPLATE(S), "without a text"},
        {SPLIT("a\\\\b"), "'\\b'"},
        {SPLIT("[\\\\W]"), "'\\W'"},
        {SPLIT("\\\\h"), "'\\h'"},
        {SPLIT("\\\\x80"), "'\\x'"},
        {SPLIT("[a[bc]]"), "'['"},
        {SPLIT("[a&&b]"), "'&'"},
        {SPLIT("[[:alpha:]]"), "'['"},
        {SPLIT("a(?i)b"), "'(?i'"},
        {SPLIT("(?m:a.b)"), "'(?m'"},
        {SPLIT("(?<n>a)"), "'(?<'"},
        {SPLIT("(*UCP)a"), "'(*U'"},
        {SPLIT("a{1,2}+"), "'}+'"},
        {SPLIT("a{,2}"), "'{,'"},
        {SPLIT("(a"), "not understood"},
        {SPLIT("a\\\\"), "'\\'"},
        {SPLIT("\\\\p{Nothing}"), "not understood"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_tok *t;
        int rc = read(&t, cases[i].json);
        if (rc != HS_EUNSUPPORTED || !strstr(hs_errmsg(), cases[i].says))
            fail_msg("case %zu: %d %s; expected '%s'", i, rc, hs_errmsg(), cases[i].says);
        assert_null(t);
    }
}

static void damaged(void **state) {
    (void)state;
    const char *const cases[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"model\":1}",
        "{\"model\":{}}",
        "{\"model\":{\"vocab\":{}}}",
        "{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":\"b\"},\"merges\":[]}}",
        "{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}",
        "{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}",
        "{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":2000000000},\"merges\":[]}}",
        "{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":2147483647},\"merges\":[]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[\"a\"]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[\"a b c\"]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[[\"a\"]]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[[\"a\",\"b\",\"c\"]]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[[\"a\",1]]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[[]]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[7]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[\"x a\"]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[\"a x\"]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":[\"a c\"]}}",
        "{" BYTE_LEVEL ",\"model\":{" VOCAB ",\"merges\":7}}",
        IN_MODEL("\"unk_token\":\"none\""),
        WITH("\"normalizer\":{}"),
        PRE("{}"),
        PRE("7"),
        PRE("{\"type\":\"Split\"}"),
        PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Other\"}"),
        WITH("\"post_processor\":{}"),
        WITH("\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\"]}"),
        WITH("\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",9],"
             "\"sep\":[\"a\",0]}"),
        WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
             "{\"SpecialToken\":{\"id\":\"S\"}},{\"Sequence\":{\"id\":\"A\"}}]}"),
        WITH("\"added_tokens\":[{}]"),
        WITH("\"added_tokens\":[1,2]"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_tok *t;
        int rc = read(&t, cases[i]);
        if (rc != HS_EFORMAT) fail_msg("case %zu: %d %s\n%s", i, rc, hs_errmsg(), cases[i]);
    }
}

static void runaway(void **state) {
    (void)state;
    hs_tok *t;
    assert_int_equal(read(&t, SPLIT("(a|aa)+[cd]")), HS_OK);
    char text[64];
    hs_tokens got;
    memset(text, 'a', sizeof text);
    assert_int_equal(hs_tok_encode(t, text, sizeof text, HS_BOS_AUTO, &got), HS_EUNSUPPORTED);
    assert_non_null(strstr(hs_errmsg(), "runs away"));
    assert_null(got.at);
    hs_tok_close(t);
}

// ---- folders ------------------------------------------------------------------------------------

static int open_at(hs_tok **t, const char *path) {
    hs_ckpt *ck;
    if (hs_ckpt_open(&ck, path, false)) fail_msg("%s", hs_errmsg());
    int rc = hs_tok_open(t, ck);
    hs_ckpt_close(ck);
    return rc;
}

// A folder with these files (name, content, ..., NULL), opened.
static int open_folder(hs_tok **t, const char *const *files) {
    char dir[PATH_MAX];
    mk_dir(dir);
    for (; *files; files += 2) mk_file(dir, files[0], files[1], strlen(files[1]));
    int rc = open_at(t, dir);
    mk_remove(dir);
    return rc;
}

#define TOKENIZER "tokenizer.json", "{" BYTE_LEVEL "," MODEL "}"

static void beside(void **state) {
    (void)state;
    hs_tok *t;
    assert_int_equal(
        open_folder(
            &t, (const char *const[]){TOKENIZER, "special_tokens_map.json",
                                      "{\"bos_token\":\"ab\",\"eos_token\":\"cd\"}", "config.json",
                                      "{\"bos_token_id\":1,\"eos_token_id\":[2,3,99]}",
                                      "generation_config.json", "{\"eos_token_id\":4}", NULL}),
        HS_OK);
    assert_int_equal(hs_tok_bos(t), 5);
    assert_false(hs_tok_adds_bos(t));
    for (int32_t id = 0; id < 9; id++)
        assert_int_equal(hs_tok_is_eog(t, id), id == 2 || id == 3 || id == 4 || id == 8);
    hs_tok_close(t);
    // tokenizer_config.json goes before special_tokens_map.json, and says what is added.
    assert_int_equal(
        open_folder(
            &t,
            (const char *const[]){
                TOKENIZER, "special_tokens_map.json", "{\"bos_token\":\"ab\"}",
                "tokenizer_config.json",
                "{\"bos_token\":{\"content\":\"bc\"},\"eos_token\":\"d\",\"add_bos_token\":true,"
                "\"add_eos_token\":true}",
                NULL}),
        HS_OK);
    assert_string_equal(ids(t, "a"), "6 0 3");
    assert_string_equal(encode(t, LIT("a"), HS_BOS_NO), "0");
    hs_tok_close(t);
    // Saying one of the two settles both; a BOS that is only named replaces none that is added.
    const char *const adds = "{" BYTE_LEVEL "," MODEL ",\"post_processor\":{\"type\":"
                             "\"RobertaProcessing\",\"cls\":[\"a\",0],\"sep\":[\"b\",1]}}";
    assert_int_equal(
        open_folder(&t, (const char *const[]){"tokenizer.json", adds, "tokenizer_config.json",
                                              "{\"bos_token\":\"cd\"}", NULL}),
        HS_OK);
    assert_string_equal(ids(t, "c"), "0 2 1");
    hs_tok_close(t);
    assert_int_equal(
        open_folder(&t, (const char *const[]){"tokenizer.json", adds, "tokenizer_config.json",
                                              "{\"add_bos_token\":false}", NULL}),
        HS_OK);
    assert_string_equal(ids(t, "c"), "2");
    assert_int_equal(hs_tok_bos(t), 0);
    hs_tok_close(t);
    assert_int_equal(
        open_folder(&t,
                    (const char *const[]){"tokenizer.json", adds, "tokenizer_config.json",
                                          "{\"eos_token\":\"d\",\"add_eos_token\":true}", NULL}),
        HS_OK);
    assert_string_equal(ids(t, "c"), "2 3");
    hs_tok_close(t);
    assert_int_equal(
        open_folder(&t, (const char *const[]){TOKENIZER, "config.json",
                                              "{\"bos_token_id\":1,\"eos_token_id\":2}", NULL}),
        HS_OK);
    assert_string_equal(encode(t, LIT("a"), HS_BOS_YES), "1 0");
    assert_string_equal(ids(t, "a"), "0");
    assert_true(hs_tok_is_eog(t, 2));
    hs_tok_close(t);
}

static void folders(void **state) {
    (void)state;
    hs_tok *t;
    assert_int_equal(open_folder(&t, (const char *const[]){"config.json", "{}", NULL}),
                     HS_ENOTFOUND);
    assert_int_equal(open_folder(&t, (const char *const[]){"tokenizer.model", "x", NULL}),
                     HS_EUNSUPPORTED);
    assert_non_null(strstr(hs_errmsg(), "SentencePiece"));
    assert_int_equal(open_folder(&t, (const char *const[]){"vocab.txt", "x", NULL}),
                     HS_EUNSUPPORTED);
    assert_int_equal(open_folder(&t, (const char *const[]){"tokenizer.json", "{", NULL}),
                     HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), "tokenizer.json"));
    assert_int_equal(
        open_folder(&t, (const char *const[]){TOKENIZER, "tokenizer_config.json", "[", NULL}),
        HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), "tokenizer_config.json"));
    assert_null(t);
}

#define PAIR "vocab.json", "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}", "merges.txt"

static void pair_of_files(void **state) {
    (void)state;
    hs_tok *t;
    assert_int_equal(open_folder(&t, (const char *const[]){PAIR, "#version: 0.2\r\na b\r\n", NULL}),
                     HS_OK);
    assert_string_equal(ids(t, "abb<|endoftext|>"), "2 1 3");
    assert_int_equal(hs_tok_bos(t), 3);
    assert_true(hs_tok_is_special(t, 3) && hs_tok_is_eog(t, 3));
    hs_tok_close(t);
    assert_int_equal(
        open_folder(
            &t, (const char *const[]){PAIR, "a b", "tokenizer_config.json",
                                      "{\"eos_token\":\"b\",\"tokenizer_class\":\"GPT2Tokenizer\"}",
                                      NULL}),
        HS_OK);
    assert_string_equal(ids(t, "ab"), "0 1"); // b is a special token
    hs_tok_close(t);
    assert_int_equal(open_folder(&t, (const char *const[]){PAIR, "ab", NULL}), HS_EFORMAT);
    assert_int_equal(open_folder(&t, (const char *const[]){PAIR, "a b c", NULL}), HS_EFORMAT);
    assert_int_equal(open_folder(&t, (const char *const[]){PAIR, "b a", NULL}), HS_EFORMAT);
    assert_int_equal(open_folder(&t, (const char *const[]){PAIR, "a b", "config.json",
                                                           "{\"model_type\":\"roberta\"}", NULL}),
                     HS_EUNSUPPORTED);
    assert_int_equal(
        open_folder(&t, (const char *const[]){PAIR, "a b", "tokenizer_config.json",
                                              "{\"tokenizer_class\":\"CLIPTokenizer\"}", NULL}),
        HS_EUNSUPPORTED);
}

// ---- GGUF ---------------------------------------------------------------------------------------

static int open_gguf(hs_tok **t, mk *m) {
    char dir[PATH_MAX], path[PATH_MAX];
    mk_dir(dir);
    mk_write_gguf(m, dir, "t.gguf");
    mk_path(path, dir, "t.gguf");
    int rc = open_at(t, path);
    mk_remove(dir);
    mk_free(m);
    return rc;
}

static const char *const gguf_tokens[] = {"a",    "b",   "c", "ab", "bc", "abc",
                                          "</s>", "<u>", "1", "2",  "12"};
enum { N_GGUF = sizeof gguf_tokens / sizeof *gguf_tokens };

static mk gguf_of(const char *pre) {
    mk m = {0};
    mk_str(&m, "tokenizer.ggml.model", "gpt2");
    if (pre) mk_str(&m, "tokenizer.ggml.pre", pre);
    mk_strs(&m, "tokenizer.ggml.tokens", N_GGUF, gguf_tokens);
    mk_strs(&m, "tokenizer.ggml.merges", 4, (const char *const[]){"b c", "a b", "1 2", "b c"});
    return m;
}

static void gguf(void **state) {
    (void)state;
    const int32_t types[N_GGUF] = {1, 1, 1, 1, 1, 1, 3, 4, 1, 1, 1};
    hs_tok *t;
    mk m = gguf_of("gpt-2");
    mk_i32s(&m, "tokenizer.ggml.token_type", N_GGUF, types);
    mk_u32(&m, "tokenizer.ggml.eos_token_id", 2);
    assert_int_equal(open_gguf(&t, &m), HS_OK);
    assert_string_equal(ids(t, "abc"), "0 4"); // of two equal merges the first counts
    assert_string_equal(ids(t, "a</s><u>12"), "0 6 7 10");
    assert_true(hs_tok_is_special(t, 6));
    assert_false(hs_tok_is_special(t, 7));
    for (int32_t id = 0; id < N_GGUF; id++)
        assert_int_equal(hs_tok_is_eog(t, id), id == 2 || id == 6);
    assert_int_equal(hs_tok_bos(t), -1);
    hs_tok_close(t);

    m = gguf_of("llama-bpe");
    mk_u32(&m, "tokenizer.ggml.bos_token_id", 7);
    mk_u32(&m, "tokenizer.ggml.eos_token_id", 6);
    mk_bool(&m, "tokenizer.ggml.add_eos_token", true);
    assert_int_equal(open_gguf(&t, &m), HS_OK);
    assert_string_equal(ids(t, "abc"), "7 5 6"); // BOS and whole words come with the name
    hs_tok_close(t);

    m = gguf_of("llama-bpe");
    mk_u32(&m, "tokenizer.ggml.bos_token_id", 7);
    mk_bool(&m, "tokenizer.ggml.add_bos_token", false);
    assert_int_equal(open_gguf(&t, &m), HS_OK);
    assert_string_equal(ids(t, "</s>"), "6"); // no types: only the names that end a text
    assert_string_equal(encode(t, LIT("b"), HS_BOS_YES), "7 1");
    hs_tok_close(t);
}

// Every name has splits that compile; and a look at how they differ.
static void gguf_pre(void **state) {
    (void)state;
    static const struct {
        const char *pre, *ids; // of "12a1"
    } cases[] = {
        {"default", "10 0 8"},     {"gpt-2", "10 0 8"},   {"olmo", "10 0 8"},
        {"smollm", "8 9 0 8"},     {"exaone", "8 9 0 8"}, {"llama3", "10 0 8"},
        {"dbrx", "10 0 8"},        {"qwen2", "8 9 0 8"},  {"grok-2", "8 9 0 8"},
        {"qwen35", "8 9 0 8"},     {"tekken", "8 9 0 8"}, {"gpt-4o", "10 0 8"},
        {"deepseek-v3", "10 0 8"}, {"falcon", "10 0 8"},  {NULL, "10 0 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_tok *t;
        mk m = gguf_of(cases[i].pre);
        mk_u32(&m, "tokenizer.ggml.bos_token_id", 7);
        if (open_gguf(&t, &m)) fail_msg("%s: %s", cases[i].pre, hs_errmsg());
        assert_string_equal(encode(t, LIT("12a1"), HS_BOS_NO), cases[i].ids);
        hs_tok_close(t);
    }
}

static void gguf_refused(void **state) {
    (void)state;
    hs_tok *t;
    mk m = gguf_of("gpt");
    assert_int_equal(open_gguf(&t, &m), HS_EUNSUPPORTED); // not a prefix of a name
    assert_non_null(strstr(hs_errmsg(), "'gpt'"));
    m = gguf_of("gpt-2 olmo");
    assert_int_equal(open_gguf(&t, &m), HS_EUNSUPPORTED);
    m = (mk){0};
    mk_str(&m, "tokenizer.ggml.model", "llama");
    assert_int_equal(open_gguf(&t, &m), HS_EUNSUPPORTED);
    m = (mk){0};
    mk_str(&m, "tokenizer.ggml.model", "none");
    assert_int_equal(open_gguf(&t, &m), HS_ENOTFOUND);
    m = (mk){0};
    assert_int_equal(open_gguf(&t, &m), HS_ENOTFOUND);
    m = (mk){0};
    mk_str(&m, "tokenizer.ggml.model", "gpt2");
    assert_int_equal(open_gguf(&t, &m), HS_EFORMAT); // no tokens
    mk_str(&m, "tokenizer.ggml.model", "gpt2");
    mk_strs(&m, "tokenizer.ggml.tokens", N_GGUF, gguf_tokens);
    assert_int_equal(open_gguf(&t, &m), HS_EFORMAT); // no merges
    m = gguf_of("llama-bpe");
    assert_int_equal(open_gguf(&t, &m), HS_EFORMAT); // BOS to be added, and none
    m = gguf_of("gpt-2");
    mk_bool(&m, "tokenizer.ggml.add_eos_token", true);
    assert_int_equal(open_gguf(&t, &m), HS_EFORMAT);
    m = gguf_of("gpt-2");
    mk_i32s(&m, "tokenizer.ggml.token_type", 2, (int32_t[]){1, 1});
    assert_int_equal(open_gguf(&t, &m), HS_EFORMAT);
    const char *const bad[] = {"ab", "a", "", "a x", "x a", " a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        m = (mk){0};
        mk_str(&m, "tokenizer.ggml.model", "gpt2");
        mk_strs(&m, "tokenizer.ggml.tokens", N_GGUF, gguf_tokens);
        mk_strs(&m, "tokenizer.ggml.merges", 1, &bad[i]);
        assert_int_equal(open_gguf(&t, &m), HS_EFORMAT);
        assert_null(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(damaged),  cmocka_unit_test(runaway),
        cmocka_unit_test(beside),  cmocka_unit_test(folders),  cmocka_unit_test(pair_of_files),
        cmocka_unit_test(gguf),    cmocka_unit_test(gguf_pre), cmocka_unit_test(gguf_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
