// GGUF files: what was written reads back, every kind of damage is refused with its code and a
// message that says what it is.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/ckpt_common.h"

static void refused_gguf(const mk *m, int rc, const char *says) {
    hs_buf b = {0};
    mk_gguf(m, &b);
    refused_bytes("bad.gguf", b.data, b.len, rc, says);
    hs_buf_free(&b);
}

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
    mk_value(&m, "nested", 9,
             "\x09\0\0\0\x02\0\0\0\0\0\0\0"
             "\0\0\0\0\x01\0\0\0\0\0\0\0\x05"
             "\0\0\0\0\x01\0\0\0\0\0\0\0\x06",
             38);
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
    assert_int_equal(meta(ck, "huge", HS_META_NUM).i, 0);
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
        const char *says = n < 4             ? "GGUF"
                           : n < b.len - 159 ? "inside its header"
                           : n < b.len - 128 ? "truncated"
                                             : "past the end of the file";
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
    static const struct {
        size_t at, n;
        const char *bytes;
        int rc;
        const char *says;
    } rows[] = {
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
    static const struct {
        uint32_t type;
        size_t n;
        const char *bytes, *says;
    } rows[] = {
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
    refused_gguf(&empty, HS_EFORMAT, "no tensors");
    char path[PATH_MAX];
    hs_ckpt *ck;
    mk_path(path, dir, "bad.gguf");
    assert_int_equal(hs_ckpt_open(&ck, path, false), HS_OK);
    assert_int_equal(meta(ck, "key", HS_META_INT).i, 1);
    assert_null(hs_ckpt_find(ck, "t"));
    hs_ckpt_close(ck);
    mk_free(&empty);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(gguf_reads_back),
        TEST(gguf_metadata_of_every_type),
        TEST(truncated_gguf_is_refused),
        TEST(damaged_gguf_is_refused),
        TEST(damaged_gguf_metadata_is_refused),
        TEST(gguf_names_and_alignment_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
