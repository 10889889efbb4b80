// What the tests of checkpoints share: a folder each, files of given bytes, refusals, and a model
// of two tensors. Include after cmocka.h.
#ifndef HS_TESTS_UNIT_CKPT_COMMON_H
#define HS_TESTS_UNIT_CKPT_COMMON_H

#include <stdio.h>
#include <string.h>

#include "model/ckpt.h"
#include "tests/lib/mkmodel.h"

static char dir[PATH_MAX]; // the running test's folder

static inline int make_dir(void **state) {
    (void)state;
    mk_dir(dir);
    return 0;
}

static inline int remove_dir(void **state) {
    (void)state;
    mk_remove(dir);
    return 0;
}

static inline hs_ckpt *opened(const char *path) {
    hs_ckpt *ck;
    if (hs_ckpt_open(&ck, path, true)) fail_msg("%s", hs_errmsg());
    return ck;
}

static inline void refused(const char *path, int rc, const char *says) {
    hs_ckpt *ck = (hs_ckpt *)&ck;
    assert_int_equal(hs_ckpt_open(&ck, path, true), rc);
    assert_null(ck);
    if (!strstr(hs_errmsg(), says)) fail_msg("'%s' does not say '%s'", hs_errmsg(), says);
}

// The same for a file of these bytes.
static inline void refused_bytes(const char *name, const void *bytes, size_t n, int rc,
                                 const char *says) {
    char path[PATH_MAX];
    mk_file(dir, name, bytes, n);
    mk_path(path, dir, name);
    refused(path, rc, says);
}

static const float numbers[24] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};

// Two tensors of different types and ranks.
static inline void add_two(mk *m) {
    mk_add(m, "a.weight", HS_F16, 2, (int64_t[]){2, 3}, numbers);
    mk_add(m, "b", HS_F32, 3, (int64_t[]){2, 3, 4}, numbers);
}

static inline void check_two(const hs_ckpt *ck) {
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

static inline hs_meta meta(const hs_ckpt *ck, const char *key, enum hs_meta_type type) {
    hs_meta m;
    if (!hs_ckpt_meta(ck, key, &m)) fail_msg("no %s", key);
    if (m.type != type) fail_msg("%s is of type %d", key, m.type);
    return m;
}

static inline void check_text(const hs_meta *m, const char *want) {
    assert_int_equal(m->type, HS_META_STR);
    assert_int_equal(m->n, strlen(want));
    assert_memory_equal(m->s, want, m->n);
}

static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":64,\"rope_theta\":10000.0,"
                             "\"eps\":1e-05,\"tie\":false,\"pad\":null,\"eos\":[1,2.5,[3]],"
                             "\"rope_scaling\":{\"factor\":8.0,\"kind\":\"yarn\"}}";

static inline void write_header(hs_buf *out, const char *header, size_t n_data) {
    uint64_t n = strlen(header);
    hs_buf_add(out, &n, sizeof n);
    hs_buf_add(out, header, n);
    for (size_t i = 0; i < n_data; i++) hs_buf_chr(out, 'x');
}

// The header of a file with one tensor, t.
#define T1(dtype, shape, offsets)                                                                  \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

#endif
