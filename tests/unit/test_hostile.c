// Damaged checkpoints, through the command line as a user gives them: cut at every byte, every byte
// of a header changed, every number of it at its extremes, configs and headers that lie. Each ends
// in one line and status 3, or is a sound file after all; cli_run looks at the line and the status.
// Memory is limited to what such small files justify, but for sanitizers (HS_SANITIZED).
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/core/mem.h"
#include "tests/fuzz/cli.h"
#include "tests/lib/randmodel.h"

enum { SECONDS = 300, MEMORY = 1 << 30 };

static char dir[PATH_MAX];

static int group_setup(void **state) {
    (void)state;
    const struct rlimit memory = {MEMORY, MEMORY};
    alarm(SECONDS); // a hang is a failure
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 0);
    mk_dir(dir);
    return getenv("HS_SANITIZED") ? 0 : setrlimit(RLIMIT_AS, &memory);
}

static int group_teardown(void **state) {
    (void)state;
    mk_remove(dir);
    return 0;
}

// Fails unless the status is one of `allowed`'s digits.
static void expect(const char *allowed, const char *what, long long at, const char *const *words) {
    hs_buf said = {0};
    int status = cli_run(dir, words, &said);
    if (status > 9 || !strchr(allowed, '0' + status))
        fail_msg("%s %lld: status %d: %s", what, at, status, hs_buf_text(&said));
    hs_buf_free(&said);
}

static void expect_info(const char *allowed, const char *what, long long at, const char *model) {
    expect(allowed, what, at, (const char *const[]){"info", model, "--json", NULL});
}

// ---- GGUF ---------------------------------------------------------------------------------------

// A small model with a tokenizer; *header: bytes before the tensors.
static void make_gguf(hs_buf *file, size_t *header) {
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a", "b", "ab", "\xe2\x96\x81"};
    static const float scores[] = {0, 0, 0, -1, -2, -3, -4};
    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1};
    rand_spec spec = rand_default("llama", true);
    hs_buf json = {0};
    mk m = {0};
    spec.n_layer = 1;
    spec.n_vocab = 7;
    spec.tied = true;
    rand_fill(&m, &json, &spec);
    mk_str(&m, "tokenizer.ggml.model", "llama");
    mk_strs(&m, "tokenizer.ggml.tokens", 7, tokens);
    mk_f32s(&m, "tokenizer.ggml.scores", 7, scores);
    mk_i32s(&m, "tokenizer.ggml.token_type", 7, types);
    mk_u32(&m, "tokenizer.ggml.bos_token_id", 1);
    mk_gguf(&m, file);
    *header = file->len;
    for (size_t i = 0; i < m.n_tensors; i++)
        *header -= (m.tensors[i].bytes.len + 31) / 32 * 32; // as mk_gguf aligns them
    mk_free(&m);
    hs_buf_free(&json);
}

static void put(const char *name, const hs_buf *file, size_t n) {
    mk_file(dir, name, file->data, n);
}

static void gguf_sound(void **state) {
    (void)state;
    hs_buf file = {0};
    size_t header;
    make_gguf(&file, &header);
    put("m.gguf", &file, file.len);
    expect_info("0", "as it is", 0, "m.gguf");
    hs_buf_free(&file);
}

static void gguf_cut(void **state) {
    (void)state;
    hs_buf file = {0};
    size_t header;
    make_gguf(&file, &header);
    for (size_t n = 0; n < file.len; n += n < header ? 1 : 64) {
        put("m.gguf", &file, n);
        expect_info("3", "cut at byte", (long long)n, "m.gguf");
    }
    put("m.gguf", &file, file.len - 1);
    expect_info("3", "without its last byte", 0, "m.gguf");
    hs_buf_free(&file);
}

static void gguf_flipped(void **state) {
    (void)state;
    static const unsigned char masks[] = {0x01, 0x80, 0xff};
    hs_buf file = {0};
    size_t header;
    make_gguf(&file, &header);
    for (size_t i = 0; i < header; i++)
        for (size_t k = 0; k < sizeof masks; k++) {
            file.data[i] = (char)(file.data[i] ^ masks[k]);
            put("m.gguf", &file, file.len);
            expect_info("03", "flipped byte", (long long)i, "m.gguf");
            file.data[i] = (char)(file.data[i] ^ masks[k]);
        }
    hs_buf_free(&file);
}

// Every number is somewhere in the header; where there is none, the damage is another one.
static void gguf_extremes(void **state) {
    (void)state;
    static const uint64_t values[] = {0,
                                      1,
                                      UINT64_C(1) << 31,
                                      UINT32_MAX,
                                      INT64_MAX,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX,
                                      UINT64_MAX / 4 + 2};
    hs_buf file = {0};
    size_t header;
    char was[8];
    make_gguf(&file, &header);
    for (size_t i = 4; i + 8 <= header; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            for (size_t width = values[k] > UINT32_MAX ? 8 : 4; width <= 8; width += 4) {
                memcpy(was, file.data + i, width);
                memcpy(file.data + i, &values[k], width);
                put("m.gguf", &file, file.len);
                expect_info("03", "extreme at byte", (long long)i, "m.gguf");
                memcpy(file.data + i, was, width);
            }
    hs_buf_free(&file);
}

// ---- safetensors --------------------------------------------------------------------------------

static void put_st(const char *name, const char *header, size_t n_data) {
    hs_buf file = {0};
    const uint64_t n = strlen(header);
    hs_buf_add(&file, &n, sizeof n);
    hs_buf_add(&file, header, n);
    while (n_data--) hs_buf_chr(&file, 0);
    put(name, &file, file.len);
    hs_buf_free(&file);
}

static void make_folder(hs_buf *json) {
    rand_spec spec = rand_default("llama", false);
    mk m = {0};
    spec.n_layer = 1;
    spec.n_vocab = 7;
    rand_fill(&m, json, &spec);
    mk_write_st(&m, dir, "model.safetensors");
    mk_file(dir, "config.json", json->data, json->len);
    mk_free(&m);
}

static void st_cut_and_flipped(void **state) {
    (void)state;
    hs_buf json = {0}, file = {0};
    hs_map map;
    char path[PATH_MAX];
    uint64_t header;
    make_folder(&json);
    mk_path(path, dir, "model.safetensors");
    assert_int_equal(hs_map_open(&map, path), 0);
    hs_buf_add(&file, map.data, map.size);
    hs_map_close(&map);
    memcpy(&header, file.data, sizeof header);
    expect_info("0", "as it is", 0, ".");
    for (size_t n = 0; n < file.len; n += n < header + 8 ? 1 : 64) {
        put("model.safetensors", &file, n);
        expect_info("3", "cut at byte", (long long)n, ".");
    }
    for (size_t i = 0; i < header + 8; i++) {
        file.data[i] = (char)(file.data[i] ^ 1);
        put("model.safetensors", &file, file.len);
        expect_info("03", "flipped byte", (long long)i, ".");
        file.data[i] = (char)(file.data[i] ^ 1);
    }
    hs_buf_free(&json);
    hs_buf_free(&file);
}

// One tensor's description over 16 bytes of data, all of them refused.
static void st_lies(void **state) {
    (void)state;
#define T(shape, offsets)                                                                          \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(a, b) "{\"a\":" a ",\"b\":" b "}"
#define ONE(from, to) "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" from "," to "]}"
    static const char *const headers[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{\"a\":null}",
        T("[4]", "[0,15]"),
        T("[4]", "[0,17]"),
        T("[4]", "[1,17]"),
        T("[3]", "[0,12]"),
        T("[5]", "[0,20]"),
        T("[4]", "[16,0]"),
        T("[4]", "[-16,0]"),
        T("[-4]", "[0,16]"),
        T("[4]", "[0]"),
        T("[4]", "[0,16,16]"),
        T("[4]", "[0.5,16]"),
        T("[4]", "[\"0\",16]"),
        T("[4.5]", "[0,16]"),
        T("[\"4\"]", "[0,16]"),
        T("4", "[0,16]"),
        T("[]", "[0,16]"),
        T("[1,1,1,1,4]", "[0,16]"),
        T("[4294967296,4294967296]", "[0,0]"),
        T("[4611686018427387905]", "[0,4]"),
        T("[9223372036854775807,2]", "[0,16]"),
        T("[4,0,9223372036854775807]", "[0,0]"),
        T("[1e400]", "[0,16]"),
        T("[4]", "[9223372036854775792,9223372036854775808]"),
        T("[4]", "[18446744073709551600,18446744073709551616]"),
        "{\"a\":{\"dtype\":\"F33\",\"shape\":[4],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":7,\"shape\":[4],\"data_offsets\":[0,16]}}",
        TWO(ONE("0", "8"), ONE("0", "8")),
        TWO(ONE("0", "8"), ONE("4", "12")),
        TWO(ONE("8", "16"), ONE("4", "12")),
        TWO(ONE("0", "8"), ONE("12", "20")),
        "{\"a\":" ONE("0", "8") ",\"a\":" ONE("8", "16") "}",
        "{\"\\u0000\":" ONE("0", "8") "}",
        "{\"\xff\":" ONE("0", "8") "}",
    };
#undef T
#undef TWO
#undef ONE
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        put_st("lie.safetensors", headers[i], 16);
        expect("3", headers[i], 0,
               (const char *const[]){"info", "lie.safetensors", "--json", NULL});
    }
}

// ---- config.json --------------------------------------------------------------------------------

// The member `key` of json with another value.
static void with_value(hs_buf *out, const char *json, const char *key, const char *value) {
    char name[64];
    snprintf(name, sizeof name, "\"%s\": ", key);
    const char *at = strstr(json, name);
    assert_non_null(at);
    at += strlen(name);
    hs_buf_clear(out);
    hs_buf_add(out, json, (size_t)(at - json));
    hs_buf_str(out, value);
    hs_buf_str(out, at + strcspn(at, ",}"));
}

static void config_lies(void **state) {
    (void)state;
    static const char *const keys[] = {
        "model_type",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_size",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "max_position_embeddings",
        "vocab_size",
        "rms_norm_eps",
        "tie_word_embeddings",
        "attention_bias",
        "mlp_bias",
        "hidden_act",
    };
    static const char *const values[] = {
        "null",
        "true",
        "\"x\"",
        "\"\"",
        "[]",
        "{}",
        "[1, 2]",
        "[[]]",
        "-1",
        "0",
        "0.5",
        "1e-320",
        "1e308",
        "-1e308",
        "2147483648",
        "4294967295",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
    };
    hs_buf json = {0}, lie = {0};
    char what[128];
    make_folder(&json);
    mk_file(dir, "p.jsonl", "{\"tokens\":[1,2,3]}", 18);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            with_value(&lie, hs_buf_text(&json), keys[i], values[k]);
            put("config.json", &lie, lie.len);
            snprintf(what, sizeof what, "%s = %s", keys[i], values[k]);
            expect_info("03", what, 0, ".");
            // A config that leaves the sizes alone may allow fewer tokens, or none of these.
            expect(
                "023", what, 1,
                (const char *const[]){"eval", ".", "-f", "p.jsonl", "--threads", "1", "-q", NULL});
        }
    hs_buf_free(&json);
    hs_buf_free(&lie);
}

// Lists and nests that grow: what takes time or stack must be refused first.
static void config_bombs(void **state) {
    (void)state;
    hs_buf json = {0}, bomb = {0}, list = {0};
    make_folder(&json);
    hs_buf_str(&list, "[4");
    for (int i = 0; i < 1000000; i++) hs_buf_str(&list, ",4");
    hs_buf_chr(&list, ']');
    with_value(&bomb, hs_buf_text(&json), "num_attention_heads", hs_buf_text(&list));
    put("config.json", &bomb, bomb.len);
    expect_info("3", "a million sizes", 0, ".");
    for (int kind = 0; kind < 2; kind++) {
        hs_buf_clear(&bomb);
        for (int i = 0; i < 1000000; i++) hs_buf_str(&bomb, kind ? "[" : "{\"a\":");
        put("config.json", &bomb, bomb.len);
        expect_info("3", "a million levels", kind, ".");
    }
    hs_buf_free(&json);
    hs_buf_free(&bomb);
    hs_buf_free(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_sound),   cmocka_unit_test(gguf_cut),
        cmocka_unit_test(gguf_flipped), cmocka_unit_test(gguf_extremes),
        cmocka_unit_test(st_lies),      cmocka_unit_test(st_cut_and_flipped),
        cmocka_unit_test(config_lies),  cmocka_unit_test(config_bombs),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
