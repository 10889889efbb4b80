// .npy files: what numpy writes is read to the bit, anything else is refused with its reason.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/core/buf.h"
#include "model/core/npy.h"
#include "tests/lib/mkmodel.h"

// A file as numpy lays it out: the header filled up so that the numbers begin at a multiple of 64.
static hs_buf file_of(int version, const char *dict, const void *numbers, size_t n) {
    hs_buf b = {0};
    const size_t prefix = version == 1 ? 10 : 12, len = strlen(dict);
    const size_t pad = 63 - (prefix + len) % 64, total = len + pad + 1;
    hs_buf_add(&b, "\x93NUMPY", 6);
    hs_buf_chr(&b, (char)version);
    hs_buf_chr(&b, 0);
    for (size_t i = 0; i < prefix - 8; i++) hs_buf_chr(&b, (char)(total >> (8 * i)));
    hs_buf_str(&b, dict);
    for (size_t i = 0; i < pad; i++) hs_buf_chr(&b, ' ');
    hs_buf_chr(&b, '\n');
    hs_buf_add(&b, numbers, n);
    assert_int_equal(hs_buf_rc(&b), HS_OK);
    return b;
}

static int read_file(hs_npy *a, const hs_buf *b) {
    return hs_npy_read(a, (const uint8_t *)b->data, b->len);
}

static void all_types_and_versions(void **state) {
    (void)state;
    static const float f4[6] = {0, -1.5f, 3.25f, 1e-3f, 65504, -0.0f};
    static const double f8[6] = {0, -1.5, 3.25, 0.1, 1e300, 7};
    static const uint16_t f2[6] = {0, 0xbe00, 0x4280, 0x0001, 0x7bff, 0x8000};
    static const float of_f2[6] = {0, -1.5f, 3.25f, 0x1p-24f, 65504, -0.0f};
    for (int version = 1; version <= 3; version++) {
        hs_npy a;
        hs_buf b = file_of(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
                           f4, sizeof f4);
        assert_int_equal(read_file(&a, &b), HS_OK);
        assert_true(a.ndim == 2 && a.shape[0] == 2 && a.shape[1] == 3);
        assert_memory_equal(a.data, f4, sizeof f4);
        hs_npy_free(&a);
        assert_null(a.data);
        hs_buf_free(&b);

        // Keys in another order, no last comma, the other quotes; a vector's order says nothing.
        b = file_of(version, "{\"shape\":(6,),'fortran_order':True,'descr':\"<f8\"}", f8,
                    sizeof f8);
        assert_int_equal(read_file(&a, &b), HS_OK);
        assert_true(a.ndim == 1 && a.shape[0] == 6 && a.shape[1] == 1);
        for (int i = 0; i < 6; i++) assert_true(a.data[i] == (float)f8[i]);
        hs_npy_free(&a);
        hs_buf_free(&b);

        b = file_of(version, "{'descr': '<f2', 'fortran_order': False, 'shape': (6, 1), }", f2,
                    sizeof f2);
        assert_int_equal(read_file(&a, &b), HS_OK);
        assert_memory_equal(a.data, of_f2, sizeof of_f2);
        hs_npy_free(&a);
        hs_buf_free(&b);
    }
}

static void refuse(const char *dict, size_t n, int rc, const char *says) {
    static const char zero[64];
    hs_npy a;
    hs_buf b = file_of(1, dict, zero, n);
    assert_int_equal(read_file(&a, &b), rc);
    assert_null(a.data);
    assert_int_equal(a.ndim, 0);
    if (!strstr(hs_errmsg(), says)) fail_msg("'%s' in: %s", says, hs_errmsg());
    hs_buf_free(&b);
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

static void what_cannot_be_read_says_why(void **state) {
    (void)state;
    refuse(DICT(">f4", "False", "(4,)"), 16, HS_EUNSUPPORTED, "'>f4'");
    refuse(DICT("<i4", "False", "(4,)"), 16, HS_EUNSUPPORTED, "'<i4'");
    refuse(DICT("|O", "False", "(4,)"), 16, HS_EUNSUPPORTED, "astype");
    refuse(DICT("<f4", "True", "(2, 2)"), 16, HS_EUNSUPPORTED, "Fortran");
    refuse(DICT("<f4", "False", "()"), 4, HS_EUNSUPPORTED, "0 axes");
    refuse(DICT("<f4", "False", "(1, 2, 2)"), 16, HS_EUNSUPPORTED, "3 axes");
    refuse(DICT("<f4", "False", "(0,)"), 0, HS_EFORMAT, "empty");
    refuse(DICT("<f4", "False", "(3, 0)"), 0, HS_EFORMAT, "empty");
    refuse(DICT("<f4", "False", "(4,)"), 15, HS_EFORMAT, "15 bytes");
    refuse(DICT("<f4", "False", "(4,)"), 17, HS_EFORMAT, "17 bytes");
    // Products that wrap round to what is there.
    refuse(DICT("<f4", "False", "(4294967296, 4294967296)"), 0, HS_EFORMAT, "0 bytes");
    refuse(DICT("<f4", "False", "(4611686018427387905,)"), 4, HS_EFORMAT, "4 bytes");
    refuse(DICT("<f4", "False", "(18446744073709551617,)"), 4, HS_EFORMAT, "header");
}

static void damaged_headers(void **state) {
    (void)state;
    static const char *const dicts[] = {
        "",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'shape': (1,)}",
        "{'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': <f4, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 'x'}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
    };
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; i++)
        refuse(dicts[i], 4, HS_EFORMAT, "header is damaged");
}

// Every cut of a good file is refused, and so is every version that does not exist.
static void cuts(void **state) {
    (void)state;
    hs_npy a;
    hs_buf b = file_of(1, DICT("<f4", "False", "(2,)"), "\0\0\x80\x3f\0\0\0\x40", 8);
    assert_int_equal(read_file(&a, &b), HS_OK);
    assert_true(a.data[0] == 1 && a.data[1] == 2);
    hs_npy_free(&a);
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(hs_npy_read(&a, (const uint8_t *)b.data, n), HS_EFORMAT);
        assert_null(a.data);
    }
    b.data[6] = 0;
    assert_int_equal(read_file(&a, &b), HS_EUNSUPPORTED);
    b.data[6] = 4;
    assert_int_equal(read_file(&a, &b), HS_EUNSUPPORTED);
    b.data[6] = 1;
    b.data[0] = 'N';
    assert_int_equal(read_file(&a, &b), HS_EFORMAT);
    hs_buf_free(&b);
}

static void files(void **state) {
    (void)state;
    char dir[PATH_MAX], path[PATH_MAX];
    hs_npy a;
    mk_dir(dir);
    hs_buf b = file_of(1, DICT("<f4", "False", "(1,)"), "\0\0\x80\x3f", 4);
    mk_file(dir, "v.npy", b.data, b.len);
    mk_path(path, dir, "v.npy");
    assert_int_equal(hs_npy_open(&a, path), HS_OK);
    assert_true(a.data[0] == 1);
    hs_npy_free(&a);
    mk_file(dir, "v.npy", b.data, b.len - 1);
    assert_int_equal(hs_npy_open(&a, path), HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), path));
    mk_path(path, dir, "none.npy");
    assert_int_equal(hs_npy_open(&a, path), HS_EIO);
    assert_non_null(strstr(hs_errmsg(), path));
    assert_null(a.data);
    hs_buf_free(&b);
    mk_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types_and_versions),
        cmocka_unit_test(what_cannot_be_read_says_why),
        cmocka_unit_test(damaged_headers),
        cmocka_unit_test(cuts),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
