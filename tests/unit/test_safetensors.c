// Safetensors files: what was written reads back, every kind of damage is refused with its code
// and a message that says what it is.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/ckpt_common.h"

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
        assert_int_equal(hs_ckpt_side_file(ck, "./config.json", &side), HS_ENOTFOUND);
        hs_ckpt_close(ck);
    }
    mk_free(&m);
}

static void unusual_safetensors_are_read(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        int ndim;
        int64_t count;
    } rows[] = {
        {T1("F32", "[]", "[0,4]"), 4, 1, 1},               // a scalar
        {T1("BF16", "[0,3]", "[0,0]"), 0, 2, 0},           // nothing at all
        {T1("BOOL", "[1,1,2,2]", "[0,4]") "   ", 4, 4, 4}, // padding behind the header
        {T1("I64", "[2]", "[0,16]"), 16, 1, 2},
        {"{\"z\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]},"
         "\"__metadata__\":{\"a\":\"b\"},"
         "\"t\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
         4, 1, 1},
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
    static const struct {
        const char *header;
        size_t n_data;
        int rc;
        const char *says;
    } rows[] = {
        {"", 0, HS_EFORMAT, "header: not valid JSON"},
        {"[]", 0, HS_EFORMAT, "not a JSON object"},
        {"{}", 0, HS_EFORMAT, "no tensors"},
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
         "\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
         4, HS_EFORMAT, "tensors t and u share bytes"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, HS_EFORMAT, "two tensors are named t"},
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
                      n == 0            ? "empty"
                      : n < 8           ? "too short"
                      : n < b.len - 108 ? "header"
                                        : "");
    hs_buf_free(&b);
    mk_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(safetensors_reads_back),
        TEST(unusual_safetensors_are_read),
        TEST(damaged_safetensors_are_refused),
        TEST(truncated_safetensors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
