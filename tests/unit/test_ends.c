// Ends of a generation: from either container, with and without a tokenizer.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "model/ends.h"
#include "model/model.h"
#include "tests/lib/randmodel.h"

// The ids below 12 that end a generation of the model at `path`, as bits.
static unsigned ends_of(const char *path) {
    hs_model *m;
    unsigned bits = 0;
    assert_int_equal(hs_model_open(&m, path, NULL), HS_OK);
    assert_null(hs_model_tok(m));
    for (int32_t id = 0; id < 12; id++) bits |= (unsigned)hs_model_is_eog(m, id) << id;
    assert_false(hs_model_is_eog(m, -1));
    hs_model_close(m);
    return bits;
}

// Of a folder whose config.json has `more` and, unless NULL, this generation_config.json.
static unsigned ends_of_folder(const char *more, const char *generation) {
    char dir[PATH_MAX], path[PATH_MAX];
    rand_spec spec = rand_default("llama", false);
    spec.more = more;
    mk_dir(dir);
    rand_write(path, dir, &spec);
    if (generation) mk_file(dir, "generation_config.json", generation, strlen(generation));
    unsigned bits = ends_of(dir);
    mk_remove(dir);
    return bits;
}

static void folders_name_one_or_several(void **state) {
    (void)state;
    assert_int_equal(ends_of_folder(NULL, NULL), 0);
    assert_int_equal(ends_of_folder(",\"eos_token_id\":0", NULL), 1 << 0);
    assert_int_equal(ends_of_folder(",\"eos_token_id\":[2,5]", NULL), 1 << 2 | 1 << 5);
    assert_int_equal(ends_of_folder(",\"eos_token_id\":null", "{\"eos_token_id\":3}"), 1 << 3);
    assert_int_equal(ends_of_folder(",\"eos_token_id\":2", "{\"eos_token_id\":[3,11]}"),
                     1 << 2 | 1 << 3 | 1 << 11);
    // What is no id names none: 4294967298 is 2 in 32 bits.
    assert_int_equal(ends_of_folder(",\"eos_token_id\":[-1,4294967298,1.5,\"7\",[8]]", "{}"), 0);
}

static void a_damaged_file_is_refused(void **state) {
    (void)state;
    char dir[PATH_MAX], path[PATH_MAX];
    rand_spec spec = rand_default("llama", false);
    hs_model *m;
    mk_dir(dir);
    rand_write(path, dir, &spec);
    mk_file(dir, "generation_config.json", "{\"eos", 5);
    assert_int_equal(hs_model_open(&m, dir, NULL), HS_EFORMAT);
    assert_non_null(strstr(hs_errmsg(), "generation_config.json"));
    assert_null(m);
    mk_remove(dir);
}

static void gguf_keys(void **state) {
    (void)state;
    char dir[PATH_MAX], path[PATH_MAX];
    rand_spec spec = rand_default("llama", true);
    mk m = {0};
    hs_buf json = {0};
    rand_fill(&m, &json, &spec);
    mk_u32(&m, "tokenizer.ggml.eos_token_id", 2);
    mk_u32(&m, "tokenizer.ggml.eot_token_id", 4);
    mk_u32(&m, "tokenizer.ggml.eom_token_id", 7);
    mk_u32(&m, "tokenizer.ggml.bos_token_id", 1);
    mk_dir(dir);
    mk_write_gguf(&m, dir, "m.gguf");
    mk_path(path, dir, "m.gguf");
    assert_int_equal(ends_of(path), 1 << 2 | 1 << 4 | 1 << 7);
    hs_buf_free(&json);
    mk_free(&m);
    mk_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_name_one_or_several),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(gguf_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
