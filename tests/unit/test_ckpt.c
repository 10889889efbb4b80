// Checkpoints: both containers read back what was written, folders and the hub cache are found,
// and every kind of damage is refused with its code and a message that says what it is.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/ckpt.h"
#include "tests/lib/mkmodel.h"

static char dir[PATH_MAX]; // the running test's folder

static int make_dir(void **state) {
    (void)state;
    mk_dir(dir);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    mk_remove(dir);
    return 0;
}

static hs_ckpt *opened(const char *path) {
    hs_ckpt *ck;
    if (hs_ckpt_open(&ck, path, true)) fail_msg("%s", hs_errmsg());
    return ck;
}

static void refused(const char *path, int rc, const char *says) {
    hs_ckpt *ck = (hs_ckpt *)&ck;
    assert_int_equal(hs_ckpt_open(&ck, path, true), rc);
    assert_null(ck);
    if (!strstr(hs_errmsg(), says)) fail_msg("'%s' does not say '%s'", hs_errmsg(), says);
}

// The same for a file of these bytes.
static void refused_bytes(const char *name, const void *bytes, size_t n, int rc, const char *says) {
    char path[PATH_MAX];
    mk_file(dir, name, bytes, n);
    mk_path(path, dir, name);
    refused(path, rc, says);
}

static void refused_gguf(const mk *m, int rc, const char *says) {
    hs_buf b = {0};
    mk_gguf(m, &b);
    refused_bytes("bad.gguf", b.data, b.len, rc, says);
    hs_buf_free(&b);
}

static const float numbers[24] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};

// Two tensors of different types and ranks.
static void add_two(mk *m) {
    mk_add(m, "a.weight", HS_F16, 2, (int64_t[]){2, 3}, numbers);
    mk_add(m, "b", HS_F32, 3, (int64_t[]){2, 3, 4}, numbers);
}

static void check_two(const hs_ckpt *ck) {
    float row[24];
    assert_int_equal(hs_ckpt_count(ck), 2);
    const hs_tensor *a = hs_ckpt_find(ck, "a.weight"), *b = hs_ckpt_find(ck, "b");
    assert_ptr_equal(a, hs_ckpt_at(ck, 0));
    assert_ptr_equal(b, hs_ckpt_at(ck, 1));
    assert_null(hs_ckpt_at(ck, 2));
    assert_null(hs_ckpt_find(ck, "a"));
    assert_null(hs_ckpt_find(ck, ""));
    assert_string_equal(b->name, "b");
    assert_int_equal(a->view.dtype, HS_F16);
    assert_int_equal(a->view.ndim, 2);
    assert_int_equal(a->view.shape[0], 2);
    assert_int_equal(a->view.shape[1], 3);
    assert_int_equal(a->view.stride[0], 3);
    assert_int_equal(a->view.stride[1], 1);
    assert_int_equal(a->bytes, 12);
    assert_int_equal(b->view.ndim, 3);
    assert_int_equal(b->view.shape[0], 2);
    assert_int_equal(b->view.shape[2], 4);
    assert_int_equal(b->view.stride[0], 12);
    assert_int_equal(b->bytes, 96);
    hs_dtypes[HS_F16].to_f32(a->view.data, row, 6);
    assert_memory_equal(row, numbers, 6 * sizeof *row);
    assert_memory_equal(b->view.data, numbers, sizeof numbers);
}

// ---- GGUF ---------------------------------------------------------------------------------------

static void gguf_reads_back(void **state) {
    (void)state;
    char path[PATH_MAX];
    for (uint32_t version = 2; version <= 3; version++) {
        for (uint32_t alignment = 8; alignment <= 256; alignment *= 2) {
            mk m = {.version = version, .alignment = alignment};
            mk_u32(&m, "general.alignment", alignment);
            add_two(&m);
            mk_write_gguf(&m, dir, "m.gguf");
            mk_path(path, dir, "m.gguf");
            hs_ckpt *ck = opened(path);
            assert_int_equal(hs_ckpt_container(ck), HS_GGUF);
            assert_string_equal(hs_ckpt_path(ck), path);
            check_two(ck);
            assert_int_equal((uintptr_t)hs_ckpt_at(ck, 1)->view.data % alignment, 0);
            hs_map side;
            assert_int_equal(hs_ckpt_side_file(ck, "m.gguf", &side), HS_ENOTFOUND);
            hs_ckpt_close(ck);
            mk_free(&m);
        }
    }
}

static hs_meta meta(const hs_ckpt *ck, const char *key, enum hs_meta_type type) {
    hs_meta m;
    if (!hs_ckpt_meta(ck, key, &m)) fail_msg("no %s", key);
    if (m.type != type) fail_msg("%s is of type %d", key, m.type);
    return m;
}

static void check_text(const hs_meta *m, const char *want) {
    assert_int_equal(m->type, HS_META_STR);
    assert_int_equal(m->n, strlen(want));
    assert_memory_equal(m->s, want, m->n);
}

static void gguf_metadata_of_every_type(void **state) {
    (void)state;
    char path[PATH_MAX];
    mk m = {0};
    mk_value(&m, "u8", 0, &(uint8_t){200}, 1);
    mk_value(&m, "i8", 1, &(int8_t){-100}, 1);
    mk_value(&m, "u16", 2, &(uint16_t){60000}, 2);
    mk_value(&m, "i16", 3, &(int16_t){-30000}, 2);
    mk_u32(&m, "u32", UINT32_MAX);
    mk_value(&m, "i32", 5, &(int32_t){INT32_MIN}, 4);
    mk_f32(&m, "f32", 0.5f);
    mk_f32(&m, "whole", -3);
    mk_f32(&m, "huge", 1e30f);
    mk_bool(&m, "yes", true);
    mk_bool(&m, "no", false);
    mk_str(&m, "text", "caf\u00e9");
    mk_str(&m, "empty", "");
    mk_value(&m, "u64", 10, &(uint64_t){INT64_MAX}, 8);
    mk_value(&m, "u64 large", 10, &(uint64_t){UINT64_MAX}, 8);
    mk_value(&m, "i64", 11, &(int64_t){INT64_MIN}, 8);
    mk_value(&m, "f64", 12, &(double){0.1}, 8);
    mk_strs(&m, "words", 3, (const char *const[]){"one", "", "three"});
    mk_i32s(&m, "ints", 3, (const int32_t[]){-1, 0, 70000});
    mk_f32s(&m, "none", 0, NULL);
    // Arrays in an array: two of one u8 each.
    mk_value(&m, "nested", 9, "\x09\0\0\0\x02\0\0\0\0\0\0\0"
                              "\0\0\0\0\x01\0\0\0\0\0\0\0\x05"
                              "\0\0\0\0\x01\0\0\0\0\0\0\0\x06", 38);
    mk_u32(&m, "last", 7);
    add_two(&m);
    mk_write_gguf(&m, dir, "m.gguf");
    mk_path(path, dir, "m.gguf");
    hs_ckpt *ck = opened(path);
    hs_meta v, item;
    assert_int_equal(meta(ck, "u8", HS_META_INT).i, 200);
    assert_int_equal(meta(ck, "i8", HS_META_INT).i, -100);
    assert_int_equal(meta(ck, "u16", HS_META_INT).i, 60000);
    assert_int_equal(meta(ck, "i16", HS_META_INT).i, -30000);
    assert_int_equal(meta(ck, "u32", HS_META_INT).i, UINT32_MAX);
    assert_int_equal(meta(ck, "i32", HS_META_INT).i, INT32_MIN);
    assert_true(meta(ck, "i32", HS_META_INT).f == INT32_MIN);
    assert_true(meta(ck, "f32", HS_META_NUM).f == 0.5);
    assert_true(meta(ck, "whole", HS_META_NUM).f == -3 && meta(ck, "whole", HS_META_NUM).i == -3);
    assert_true(meta(ck, "huge", HS_META_NUM).f == (double)1e30f);
    assert_int_equal(meta(ck, "yes", HS_META_BOOL).i, 1);
    assert_int_equal(meta(ck, "no", HS_META_BOOL).i, 0);
    v = meta(ck, "text", HS_META_STR);
    check_text(&v, "caf\u00e9");
    v = meta(ck, "empty", HS_META_STR);
    check_text(&v, "");
    assert_true(meta(ck, "u64", HS_META_INT).i == INT64_MAX);
    assert_true(meta(ck, "u64 large", HS_META_NUM).f == 0x1p64);
    assert_true(meta(ck, "i64", HS_META_INT).i == INT64_MIN);
    assert_true(meta(ck, "f64", HS_META_NUM).f == 0.1);
    v = meta(ck, "words", HS_META_ARR);
    assert_int_equal(v.n, 3);
    assert_true(hs_meta_item(&v, 2, &item));
    check_text(&item, "three");
    assert_true(hs_meta_item(&v, 0, &item));
    check_text(&item, "one");
    assert_true(hs_meta_item(&v, 1, &item));
    check_text(&item, "");
    assert_false(hs_meta_item(&v, 3, &item));
    v = meta(ck, "ints", HS_META_ARR);
    assert_true(hs_meta_item(&v, 0, &item) && item.type == HS_META_INT && item.i == -1);
    assert_true(hs_meta_item(&v, 2, &item) && item.i == 70000);
    assert_false(hs_meta_item(&v, 3, &item));
    v = meta(ck, "none", HS_META_ARR);
    assert_int_equal(v.n, 0);
    assert_false(hs_meta_item(&v, 0, &item));
    v = meta(ck, "nested", HS_META_ARR);
    assert_int_equal(v.n, 2);
    assert_false(hs_meta_item(&v, 0, &item));
    assert_int_equal(meta(ck, "last", HS_META_INT).i, 7);
    v = meta(ck, "last", HS_META_INT);
    assert_false(hs_meta_item(&v, 0, &item));
    assert_false(hs_ckpt_meta(ck, "absent", &v));
    assert_string_equal(hs_ckpt_meta_key(ck, 0), "u8");
    assert_string_equal(hs_ckpt_meta_key(ck, 21), "last");
    assert_null(hs_ckpt_meta_key(ck, 22));
    hs_ckpt_close(ck);
    mk_free(&m);
}

// Every proper prefix of a valid file.
static void truncated_gguf_is_refused(void **state) {
    (void)state;
    hs_buf b = {0};
    mk m = {0};
    mk_str(&m, "general.architecture", "llama");
    mk_strs(&m, "words", 2, (const char *const[]){"one", "two"});
    add_two(&m);
    mk_gguf(&m, &b);
    for (size_t n = 1; n < b.len; n++) {
        // 128 bytes of tensors, up to 31 of padding before them.
        const char *says = n < 4 ? "GGUF" : n < b.len - 159 ? "inside its header"
                         : n < b.len - 128 ? "truncated" : "past the end of the file";
        refused_bytes("cut.gguf", b.data, n, HS_EFORMAT, says);
    }
    refused_bytes("cut.gguf", "", 0, HS_EFORMAT, "empty");
    hs_buf_free(&b);
    mk_free(&m);
}

// One change to a good file at a time. The header of `base` without metadata: magic 0, version 4,
// counts 8 and 16, then tensor "a.weight": name 24 + 8, dims 40, sizes 44 and 52, type 60, offset
// 64; then "b": name 72 + 1, dims 81, sizes 85, 93 and 101, type 109, offset 113; data at 128.
static void damaged_gguf_is_refused(void **state) {
    (void)state;
    static const struct { size_t at, n; const char *bytes; int rc; const char *says; } rows[] = {
        {0, 1, "g", HS_EFORMAT, "not a GGUF"},
        {4, 4, "\1\0\0\0", HS_EUNSUPPORTED, "version 1"},
        {4, 4, "\4\0\0\0", HS_EUNSUPPORTED, "version 4"},
        {4, 4, "\0\0\0\3", HS_EUNSUPPORTED, "big-endian"},
        {4, 4, "\0\0\0\0", HS_EUNSUPPORTED, "version 0"},
        {8, 8, "\3\0\0\0\0\0\0\0", HS_EFORMAT, "tensor : 3932160 dimensions"},
        {8, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", HS_EFORMAT, "header"},
        {16, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f", HS_EFORMAT, "header"},
        {24, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", HS_EFORMAT, "header"},
        {32, 1, "\0", HS_EFORMAT, "NUL"},
        {40, 4, "\0\0\0\0", HS_EFORMAT, "tensor a.weight: 0 dimensions"},
        {40, 4, "\5\0\0\0", HS_EFORMAT, "5 dimensions"},
        {44, 8, "\0\0\0\0\0\0\0\0", HS_EFORMAT, "no size"},
        {44, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", HS_EFORMAT, "no size"},
        {44, 8, "\0\0\0\0\0\0\0\x7f", HS_EFORMAT, "overflows"},
        {44, 8, "\0\0\0\0\0\0\0\x20", HS_EFORMAT, "overflows"},
        {44, 8, "\0\1\0\0\0\0\0\0", HS_EFORMAT, "past the end"},
        {60, 4, "\x10\0\0\0", HS_EUNSUPPORTED, "16 (IQ2_XXS)"},
        {60, 4, "\xff\xff\xff\xff", HS_EUNSUPPORTED, "unknown"},
        {60, 4, "\2\0\0\0", HS_EFORMAT, "whole q4_0 blocks of 32"},
        {64, 8, "\1\0\0\0\0\0\0\0", HS_EFORMAT, "not aligned"},
        {64, 8, "\x80\0\0\0\0\0\0\0", HS_EFORMAT, "past the end"},
        {64, 8, "\xe0\xff\xff\xff\xff\xff\xff\xff", HS_EFORMAT, "past the end"},
        {64, 8, "\x20\0\0\0\0\0\0\0", HS_EFORMAT, "share bytes"},
        {113, 8, "\0\0\0\0\0\0\0\0", HS_EFORMAT, "share bytes"},
    };
    hs_buf b = {0};
    mk base = {0};
    add_two(&base);
    mk_gguf(&base, &b);
    assert_int_equal(b.len, 128 + 32 + 96);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hs_buf bad = {0};
        hs_buf_add(&bad, b.data, b.len);
        memcpy(bad.data + rows[i].at, rows[i].bytes, rows[i].n);
        refused_bytes("bad.gguf", bad.data, bad.len, rows[i].rc, rows[i].says);
        hs_buf_free(&bad);
    }
    hs_buf_free(&b);
    mk_free(&base);
}

static void damaged_gguf_metadata_is_refused(void **state) {
    (void)state;
    static const struct { uint32_t type; size_t n; const char *bytes, *says; } rows[] = {
        {13, 8, "\0\0\0\0\0\0\0\0", "key: damaged: value of unknown type 13"},
        {7, 1, "\2", "bool"},
        {8, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", "header"},
        {9, 12, "\x0d\0\0\0\0\0\0\0\0\0\0\0", "unknown type 13"},
        {9, 12, "\x04\0\0\0\0\0\0\0\0\0\0\x40", "header"},
        {9, 12, "\x08\0\0\0\xff\xff\xff\xff\0\0\0\0", "header"},
        {9, 12, "\x09\0\0\0\xff\xff\xff\xff\0\0\0\0", "header"},
        {9, 12, "\x00\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "header"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mk m = {0};
        mk_value(&m, "key", rows[i].type, rows[i].bytes, rows[i].n);
        refused_gguf(&m, HS_EFORMAT, rows[i].says);
        mk_free(&m);
    }
    mk deep = {0};
    hs_buf nested = {0};
    for (int i = 0; i < 100; i++) hs_buf_add(&nested, "\x09\0\0\0\x01\0\0\0\0\0\0\0", 12);
    mk_value(&deep, "key", 9, nested.data, nested.len);
    refused_gguf(&deep, HS_EFORMAT, "nested too deep");
    hs_buf_free(&nested);
    mk_free(&deep);
}

static void gguf_names_and_alignment_are_checked(void **state) {
    (void)state;
    mk twice = {0};
    mk_u32(&twice, "key", 1);
    mk_u32(&twice, "key", 1);
    refused_gguf(&twice, HS_EFORMAT, "two metadata keys are named key");
    mk_free(&twice);
    mk same = {0};
    mk_add(&same, "t", HS_F32, 1, (int64_t[]){8}, numbers);
    mk_add(&same, "t", HS_F32, 1, (int64_t[]){8}, numbers);
    refused_gguf(&same, HS_EFORMAT, "two tensors are named t");
    mk_free(&same);
    static const uint32_t wrong[] = {0, 24, 33, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        mk m = {0};
        mk_u32(&m, "general.alignment", wrong[i]);
        add_two(&m);
        refused_gguf(&m, HS_EFORMAT, "power of two");
        mk_free(&m);
    }
    mk text = {0};
    mk_str(&text, "general.alignment", "32");
    add_two(&text);
    refused_gguf(&text, HS_EFORMAT, "power of two");
    mk_free(&text);
    mk part = {0};
    mk_value(&part, "split.count", 2, &(uint16_t){3}, 2);
    add_two(&part);
    refused_gguf(&part, HS_EUNSUPPORTED, "one of 3 parts");
    mk_free(&part);
    mk empty = {0};
    mk_u32(&empty, "key", 1);
    refused_gguf(&empty, HS_ENOTFOUND, "no tensors");
    char path[PATH_MAX];
    hs_ckpt *ck;
    mk_path(path, dir, "bad.gguf");
    assert_int_equal(hs_ckpt_open(&ck, path, false), HS_OK);
    assert_int_equal(meta(ck, "key", HS_META_INT).i, 1);
    assert_null(hs_ckpt_find(ck, "t"));
    hs_ckpt_close(ck);
    mk_free(&empty);
}

// ---- safetensors --------------------------------------------------------------------------------

static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":64,\"rope_theta\":10000.0,"
                             "\"eps\":1e-05,\"tie\":false,\"pad\":null,\"eos\":[1,2.5,[3]],"
                             "\"rope_scaling\":{\"factor\":8.0,\"kind\":\"yarn\"}}";

static void safetensors_reads_back(void **state) {
    (void)state;
    char path[PATH_MAX];
    mk m = {0};
    add_two(&m);
    mk_write_st(&m, dir, "model.safetensors");
    mk_path(path, dir, "model.safetensors");
    // Alone, then with a config beside it, as a file and as a folder.
    hs_ckpt *ck = opened(path);
    hs_meta v;
    assert_int_equal(hs_ckpt_container(ck), HS_SAFETENSORS);
    check_two(ck);
    assert_false(hs_ckpt_meta(ck, "model_type", &v));
    assert_null(hs_ckpt_meta_key(ck, 0));
    hs_ckpt_close(ck);
    mk_file(dir, "config.json", config, strlen(config));
    mk_file(dir, "tokenizer.json", "{}", 2);
    const char *both[] = {path, dir};
    for (int i = 0; i < 2; i++) {
        ck = opened(both[i]);
        check_two(ck);
        assert_string_equal(hs_ckpt_path(ck), both[i]);
        v = meta(ck, "model_type", HS_META_STR);
        check_text(&v, "llama");
        assert_int_equal(meta(ck, "hidden_size", HS_META_INT).i, 64);
        assert_true(meta(ck, "rope_theta", HS_META_INT).f == 10000);
        assert_true(meta(ck, "eps", HS_META_NUM).f == 1e-5);
        assert_int_equal(meta(ck, "tie", HS_META_BOOL).i, 0);
        meta(ck, "pad", HS_META_NULL);
        assert_true(meta(ck, "rope_scaling.factor", HS_META_INT).f == 8);
        assert_int_equal(meta(ck, "rope_scaling", HS_META_OBJ).n, 2);
        assert_false(hs_ckpt_meta(ck, "rope_scaling.none", &v));
        hs_meta item;
        v = meta(ck, "eos", HS_META_ARR);
        assert_int_equal(v.n, 3);
        assert_true(hs_meta_item(&v, 1, &item) && item.type == HS_META_NUM && item.f == 2.5);
        assert_false(hs_meta_item(&v, 2, &item));
        assert_false(hs_meta_item(&v, 3, &item));
        assert_string_equal(hs_ckpt_meta_key(ck, 7), "rope_scaling");
        assert_null(hs_ckpt_meta_key(ck, 8));
        hs_map side;
        assert_int_equal(hs_ckpt_side_file(ck, "tokenizer.json", &side), HS_OK);
        assert_int_equal(side.size, 2);
        hs_map_close(&side);
        assert_int_equal(hs_ckpt_side_file(ck, "vocab.json", &side), HS_ENOTFOUND);
        assert_int_equal(hs_ckpt_side_file(ck, "../x", &side), HS_ENOTFOUND);
        hs_ckpt_close(ck);
    }
    mk_free(&m);
}

static void write_header(hs_buf *out, const char *header, size_t n_data) {
    uint64_t n = strlen(header);
    hs_buf_add(out, &n, sizeof n);
    hs_buf_add(out, header, n);
    for (size_t i = 0; i < n_data; i++) hs_buf_chr(out, 'x');
}

#define T1(dtype, shape, offsets) \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void unusual_safetensors_are_read(void **state) {
    (void)state;
    static const struct { const char *header; size_t n_data; int ndim; int64_t count; } rows[] = {
        {T1("F32", "[]", "[0,4]"), 4, 1, 1},                 // a scalar
        {T1("BF16", "[0,3]", "[0,0]"), 0, 2, 0},             // nothing at all
        {T1("BOOL", "[1,1,2,2]", "[0,4]") "   ", 4, 4, 4},   // padding behind the header
        {T1("I64", "[2]", "[0,16]"), 16, 1, 2},
        {"{\"z\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]},"
         "\"__metadata__\":{\"a\":\"b\"},"
         "\"t\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 4, 1, 1},
    };
    char path[PATH_MAX];
    mk_path(path, dir, "m.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hs_buf b = {0};
        write_header(&b, rows[i].header, rows[i].n_data);
        mk_file(dir, "m.safetensors", b.data, b.len);
        hs_ckpt *ck = opened(path);
        const hs_tensor *t = hs_ckpt_find(ck, "t");
        assert_non_null(t);
        assert_int_equal(t->view.ndim, rows[i].ndim);
        assert_int_equal(hs_view_count(&t->view), rows[i].count);
        assert_non_null(hs_ckpt_fingerprint(ck));
        hs_ckpt_close(ck);
        hs_buf_free(&b);
    }
}

static void damaged_safetensors_are_refused(void **state) {
    (void)state;
    static const struct { const char *header; size_t n_data; int rc; const char *says; } rows[] = {
        {"", 0, HS_EFORMAT, "header: not valid JSON"},
        {"[]", 0, HS_EFORMAT, "not a JSON object"},
        {"{}", 0, HS_ENOTFOUND, "no tensors"},
        {"{}", 1, HS_EFORMAT, "bytes of no tensor at the end"},
        {"{\"t\":1}", 4, HS_EFORMAT, "tensor t: damaged: no dtype"},
        {"{\"t\":{\"dtype\":1}}", 4, HS_EFORMAT, "no dtype"},
        {"{\"t\":{\"dtype\":\"F32\"}}", 4, HS_EFORMAT, "no shape"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, HS_EFORMAT, "data_offsets"},
        {T1("F8_E4M3", "[4]", "[0,4]"), 4, HS_EUNSUPPORTED, "tensor t: its dtype F8_E4M3"},
        {T1("F32", "[1,1,1,1,1]", "[0,4]"), 4, HS_EUNSUPPORTED, "more than 4 dimensions"},
        {T1("F32", "[1.5]", "[0,4]"), 4, HS_EFORMAT, "shape is not a list"},
        {T1("F32", "[-1]", "[0,4]"), 4, HS_EFORMAT, "shape is not a list"},
        {T1("F32", "[\"1\"]", "[0,4]"), 4, HS_EFORMAT, "shape is not a list"},
        {T1("F32", "[4294967296,4294967296]", "[0,4]"), 4, HS_EFORMAT, "overflows"},
        {T1("F32", "[4503599627370496,1024]", "[0,4]"), 4, HS_EFORMAT, "overflows"},
        {T1("F32", "[0,4503599627370496,4503599627370496]", "[0,0]"), 0, HS_EFORMAT, "overflows"},
        {T1("F32", "[1]", "[0]"), 4, HS_EFORMAT, "data_offsets"},
        {T1("F32", "[1]", "[0,4,8]"), 4, HS_EFORMAT, "data_offsets"},
        {T1("F32", "[1]", "[4,0]"), 4, HS_EFORMAT, "data_offsets"},
        {T1("F32", "[1]", "[-4,0]"), 4, HS_EFORMAT, "data_offsets"},
        {T1("F32", "[1]", "[0,5]"), 5, HS_EFORMAT, "its shape takes 4 bytes"},
        {T1("F32", "[2]", "[0,8]"), 4, HS_EFORMAT, "past the end"},
        {T1("F32", "[1]", "[1,5]"), 5, HS_EFORMAT, "bytes of no tensor before t"},
        {T1("F32", "[1]", "[0,4]"), 5, HS_EFORMAT, "at the end"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
         "\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}", 4, HS_EFORMAT,
         "tensors t and u share bytes"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, HS_EFORMAT,
         "two tensors are named t"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hs_buf b = {0};
        write_header(&b, rows[i].header, rows[i].n_data);
        refused_bytes("bad.safetensors", b.data, b.len, rows[i].rc, rows[i].says);
        hs_buf_free(&b);
    }
    refused_bytes("bad.safetensors", "1234567", 7, HS_EFORMAT, "too short");
    refused_bytes("bad.safetensors", "\1\0\0\0\0\0\0\0", 8, HS_EFORMAT, "inside its header");
    refused_bytes("bad.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, HS_EFORMAT,
                  "a header of 18446744073709551615 bytes");
}

static void truncated_safetensors_are_refused(void **state) {
    (void)state;
    hs_buf b = {0};
    mk m = {0};
    add_two(&m);
    mk_st(&m, &b);
    for (size_t n = 0; n < b.len; n++)
        refused_bytes("cut.safetensors", b.data, n, HS_EFORMAT,
                      n == 0 ? "empty" : n < 8 ? "too short" : n < b.len - 108 ? "header" : "");
    hs_buf_free(&b);
    mk_free(&m);
}

// ---- folders ------------------------------------------------------------------------------------

// Two shards, and an index of this text.
static void write_shards(const char *index) {
    mk a = {0}, b = {0};
    mk_add(&a, "a.weight", HS_F16, 2, (int64_t[]){2, 3}, numbers);
    mk_add(&b, "b", HS_F32, 3, (int64_t[]){2, 3, 4}, numbers);
    mk_write_st(&a, dir, "m-1.safetensors");
    mk_write_st(&b, dir, "m-2.safetensors");
    mk_file(dir, "model.safetensors.index.json", index, strlen(index));
    mk_file(dir, "config.json", config, strlen(config));
    mk_free(&a);
    mk_free(&b);
}

static void shards_are_joined_and_checked(void **state) {
    (void)state;
    static const struct { const char *index; int rc; const char *says; } rows[] = {
        {"{\"weight_map\":{\"b\":\"m-2.safetensors\"}}", HS_OK, ""},
        {"{\"weight_map\":{\"b\":\"m-1.safetensors\",\"a.weight\":\"m-2.safetensors\"}}",
         HS_EFORMAT, "tensor b is not in m-1.safetensors"},
        {"{\"weight_map\":{\"b\":\"m-2.safetensors\",\"c\":\"m-2.safetensors\"}}", HS_EFORMAT,
         "tensor c is not in m-2.safetensors"},
        {"{\"weight_map\":{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}}", HS_EFORMAT,
         "tensor a is not in"},
        {"{\"weight_map\":{\"b\":\"m-3.safetensors\"}}", HS_ENOTFOUND, "m-3.safetensors"},
        {"{\"weight_map\":{\"b\":\"../m-2.safetensors\"}}", HS_EFORMAT, "not a file name"},
        {"{\"weight_map\":{\"b\":\"..\"}}", HS_EFORMAT, "not a file name"},
        {"{\"weight_map\":{\"b\":\"\"}}", HS_EFORMAT, "not a file name"},
        {"{\"weight_map\":{\"b\":7}}", HS_EFORMAT, "not a file name"},
        {"{\"weight_map\":[]}", HS_EFORMAT, "no weight_map"},
        {"{}", HS_EFORMAT, "no weight_map"},
        {"{", HS_EFORMAT, "index.json: not valid JSON"},
        {"{\"weight_map\":{}}", HS_ENOTFOUND, "no tensors"},
    };
    write_shards("{\"metadata\":{},\"weight_map\":{\"b\":\"m-2.safetensors\","
                 "\"a.weight\":\"m-1.safetensors\"}}");
    hs_ckpt *ck = opened(dir);
    check_two(ck);
    assert_int_equal(meta(ck, "hidden_size", HS_META_INT).i, 64);
    hs_ckpt_close(ck);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_shards(rows[i].index);
        if (rows[i].rc) refused(dir, rows[i].rc, rows[i].says);
        else hs_ckpt_close(opened(dir));
    }
}

static void a_tensor_that_the_index_leaves_out_is_an_error(void **state) {
    (void)state;
    write_shards("{\"weight_map\":{\"b\":\"m-2.safetensors\"}}");
    mk two = {0};
    mk_add(&two, "b", HS_F32, 1, (int64_t[]){4}, numbers);
    mk_add(&two, "hidden", HS_F32, 1, (int64_t[]){4}, numbers);
    mk_write_st(&two, dir, "m-2.safetensors");
    refused(dir, HS_EFORMAT, "the index does not list tensor hidden");
    mk_free(&two);
}

static void one_file_wins_over_an_index(void **state) {
    (void)state;
    write_shards("{");
    mk m = {0};
    add_two(&m);
    mk_write_st(&m, dir, "model.safetensors");
    hs_ckpt *ck = opened(dir);
    check_two(ck);
    hs_ckpt_close(ck);
    mk_free(&m);
}

static void folders_without_weights_say_what_is_missing(void **state) {
    (void)state;
    hs_ckpt *ck;
    refused(dir, HS_ENOTFOUND, "no config.json and no model.safetensors in it");
    mk_file(dir, "config.json", config, strlen(config));
    refused(dir, HS_ENOTFOUND, "no model.safetensors and no model.safetensors.index.json");
    assert_int_equal(hs_ckpt_open(&ck, dir, false), HS_OK);
    assert_int_equal(hs_ckpt_count(ck), 0);
    assert_int_equal(meta(ck, "hidden_size", HS_META_INT).i, 64);
    hs_ckpt_close(ck);
    mk_file(dir, "pytorch_model.bin", "PK\3\4", 4);
    refused(dir, HS_EUNSUPPORTED, "pytorch_model.bin: pickle files can run code when loaded");
    mk m = {0};
    add_two(&m);
    mk_write_st(&m, dir, "model.safetensors");
    hs_ckpt_close(opened(dir));
    mk_file(dir, "config.json", "[1]", 3);
    refused(dir, HS_EFORMAT, "config.json: not an object");
    mk_file(dir, "config.json", "{\"a\":}", 6);
    refused(dir, HS_EFORMAT, "config.json: not valid JSON at line 1 column 6");
    char path[PATH_MAX];
    mk_path(path, dir, "config.json");
    assert_int_equal(unlink(path), 0);
    refused(dir, HS_ENOTFOUND, "no config.json in this folder");
    mk_free(&m);
}

static void pickles_and_strangers_are_refused(void **state) {
    (void)state;
    static const struct { const char *name, *bytes; size_t n; int rc; const char *says; } rows[] = {
        {"a.bin", "anything", 8, HS_EUNSUPPORTED, "pickle files can run code"},
        {"a.pt", "anything", 8, HS_EUNSUPPORTED, "convert to safetensors"},
        {"a.pth", "anything", 8, HS_EUNSUPPORTED, "pickle"},
        {"a.ckpt", "anything", 8, HS_EUNSUPPORTED, "pickle"},
        {"model", "PK\3\4rest", 8, HS_EUNSUPPORTED, "pickle"},
        {"model", "\x80\x02}q", 4, HS_EUNSUPPORTED, "pickle"},
        {"zip.gguf", "PK\3\4rest", 8, HS_EUNSUPPORTED, "pickle"},
        {"a.bin", "", 0, HS_EFORMAT, "the file is empty"},
        {"notes.txt", "hello there, world", 18, HS_EUNSUPPORTED, "neither GGUF nor safetensors"},
        {"text.gguf", "hello there, world", 18, HS_EFORMAT, "not a GGUF file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused_bytes(rows[i].name, rows[i].bytes, rows[i].n, rows[i].rc, rows[i].says);
    // What a file holds counts for more than its name.
    mk m = {0};
    char path[PATH_MAX];
    add_two(&m);
    mk_write_gguf(&m, dir, "ggml-model.bin");
    mk_path(path, dir, "ggml-model.bin");
    hs_ckpt_close(opened(path));
    mk_write_st(&m, dir, "blob");
    mk_path(path, dir, "blob");
    hs_ckpt_close(opened(path));
    mk_free(&m);
}

// A header's length whose first byte is that of a pickle must not hide a good file.
static void a_header_of_640_bytes_is_no_pickle(void **state) {
    (void)state;
    char header[641], path[PATH_MAX];
    hs_buf b = {0};
    memset(header, ' ', 640);
    header[640] = 0;
    static const char text[] = T1("F32", "[1]", "[0,4]");
    memcpy(header, text, strlen(text));
    write_header(&b, header, 4);
    assert_memory_equal(b.data, "\x80\x02", 2);
    mk_file(dir, "m.safetensors", b.data, b.len);
    mk_path(path, dir, "m.safetensors");
    hs_ckpt_close(opened(path));
    hs_buf_free(&b);
}

// ---- hub names ----------------------------------------------------------------------------------

static void make_folder(const char *path) {
    char full[PATH_MAX];
    mk_path(full, dir, path);
    assert_int_equal(mkdir(full, 0777), 0);
}

static void hub_names_are_looked_up_in_the_cache(void **state) {
    (void)state;
    char home[PATH_MAX], want[PATH_MAX], folder[PATH_MAX], hub[PATH_MAX];
    mk_path(home, dir, "home");
    mk_path(hub, dir, "home/hub");
    mk_path(folder, dir, "home/hub/models--org--name.x");
    mk_path(want, folder, "snapshots/abc");
    make_folder("home");
    make_folder("home/hub");
    make_folder("home/hub/models--org--name.x");
    setenv("HF_HOME", home, 1);
    unsetenv("HF_HUB_CACHE");
    refused("org/other", HS_ENOTFOUND, "no such model in the hub cache");
    refused("org/name.x", HS_ENOTFOUND, "no such model");
    refused("org/na me", HS_ENOTFOUND, "no such file or folder");
    refused("a/b/c", HS_ENOTFOUND, "no such file or folder");
    refused("../name", HS_ENOTFOUND, "no such file or folder");
    refused("", HS_ENOTFOUND, "no such file or folder");
    make_folder("home/hub/models--org--name.x/snapshots");
    make_folder("home/hub/models--org--name.x/snapshots/abc");
    mk m = {0};
    add_two(&m);
    mk_write_st(&m, want, "model.safetensors");
    mk_file(want, "config.json", config, strlen(config));
    // One snapshot and no refs/main.
    hs_ckpt *ck = opened("org/name.x");
    assert_string_equal(hs_ckpt_path(ck), want);
    hs_ckpt_close(ck);
    make_folder("home/hub/models--org--name.x/snapshots/def");
    refused("org/name.x", HS_ENOTFOUND, "2 snapshots");
    make_folder("home/hub/models--org--name.x/refs");
    mk_file(folder, "refs/main", "abc\n", 4);
    ck = opened("org/name.x");
    assert_string_equal(hs_ckpt_path(ck), want);
    check_two(ck);
    hs_ckpt_close(ck);
    mk_file(folder, "refs/main", "gone", 4);
    refused("org/name.x", HS_ENOTFOUND, "snapshot that is not there");
    mk_file(folder, "refs/main", "../../x", 7);
    refused("org/name.x", HS_ENOTFOUND, "2 snapshots");
    mk_file(folder, "refs/main", "abc", 3);
    // HF_HUB_CACHE comes before HF_HOME.
    setenv("HF_HUB_CACHE", dir, 1);
    refused("org/name.x", HS_ENOTFOUND, "no such model");
    setenv("HF_HUB_CACHE", hub, 1);
    setenv("HF_HOME", dir, 1);
    hs_ckpt_close(opened("org/name.x"));
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    mk_free(&m);
}

// ---- fingerprints -------------------------------------------------------------------------------

static uint64_t print_of(const char *name) {
    char path[PATH_MAX];
    mk_path(path, dir, name);
    hs_ckpt *ck = opened(path);
    uint64_t h = hs_ckpt_fingerprint(ck);
    hs_ckpt_close(ck);
    return h;
}

static void fingerprints_tell_weights_apart(void **state) {
    (void)state;
    enum { N = 5000 };
    static float v[N];
    for (int i = 0; i < N; i++) v[i] = (float)i;
    uint64_t seen[5];
    for (int change = 0; change < 5; change++) {
        mk m = {0};
        mk_u32(&m, "key", change == 1);
        v[0] = change == 2;
        v[N - 1] = change == 3;
        mk_add(&m, change == 4 ? "u" : "t", HS_F32, 1, (int64_t[]){N}, v);
        mk_write_gguf(&m, dir, "m.gguf");
        seen[change] = print_of("m.gguf");
        for (int i = 0; i < change; i++) assert_true(seen[i] != seen[change]);
        mk_write_gguf(&m, dir, "copy.gguf");
        assert_true(print_of("copy.gguf") == seen[change]);
        mk_free(&m);
    }
    hs_ckpt_close(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(gguf_reads_back),
        TEST(gguf_metadata_of_every_type),
        TEST(truncated_gguf_is_refused),
        TEST(damaged_gguf_is_refused),
        TEST(damaged_gguf_metadata_is_refused),
        TEST(gguf_names_and_alignment_are_checked),
        TEST(safetensors_reads_back),
        TEST(unusual_safetensors_are_read),
        TEST(damaged_safetensors_are_refused),
        TEST(truncated_safetensors_are_refused),
        TEST(shards_are_joined_and_checked),
        TEST(a_tensor_that_the_index_leaves_out_is_an_error),
        TEST(one_file_wins_over_an_index),
        TEST(folders_without_weights_say_what_is_missing),
        TEST(pickles_and_strangers_are_refused),
        TEST(a_header_of_640_bytes_is_no_pickle),
        TEST(hub_names_are_looked_up_in_the_cache),
        TEST(fingerprints_tell_weights_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
