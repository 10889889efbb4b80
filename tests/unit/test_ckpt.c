// Checkpoints as users name them: folders with shards, files of other kinds, hub names; and
// fingerprints.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/ckpt_common.h"

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
    static const struct {
        const char *index;
        int rc;
        const char *says;
    } rows[] = {
        {"{\"weight_map\":{\"b\":\"m-2.safetensors\"}}", HS_OK, ""},
        {"{\"weight_map\":{\"b\":\"m-1.safetensors\",\"a.weight\":\"m-2.safetensors\"}}",
         HS_EFORMAT, "tensor b is not in m-1.safetensors"},
        {"{\"weight_map\":{\"a.weight\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}}",
         HS_EFORMAT, "tensor a.weight is not in m-2.safetensors"},
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
        {"{\"weight_map\":{}}", HS_EFORMAT, "no tensors"},
    };
    write_shards("{\"metadata\":{},\"weight_map\":{\"b\":\"m-2.safetensors\","
                 "\"a.weight\":\"m-1.safetensors\"}}");
    hs_ckpt *ck = opened(dir);
    check_two(ck);
    assert_int_equal(meta(ck, "hidden_size", HS_META_INT).i, 64);
    hs_ckpt_close(ck);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_shards(rows[i].index);
        if (rows[i].rc)
            refused(dir, rows[i].rc, rows[i].says);
        else
            hs_ckpt_close(opened(dir));
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
    static const struct {
        const char *name, *bytes;
        size_t n;
        int rc;
        const char *says;
    } rows[] = {
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
    assert_null(strstr(hs_errmsg(), "hub cache")); // not a name of the hub
    refused("../name", HS_ENOTFOUND, "no such file or folder");
    assert_null(strstr(hs_errmsg(), "hub cache"));
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

int main(void) {
    const struct CMUnitTest tests[] = {
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
