// Given input embeddings: those of other tokens make the run of those tokens, to the bit; any rows
// are as a patch of hook_embed; whole prompts, decoding and batches agree; and what does not fit is
// told before the model runs.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/core/prng.h"
#include "tests/lib/edited.h"

enum { SEED = 1, OTHER = 2, AT = 7, N = 9 };

static char folder[PATH_MAX];

static int make_folder(void **state) {
    (void)state;
    mk_dir(folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    mk_remove(folder);
    return 0;
}

// n 0: a vector.
static void write_npy(const char *name, hs_dtype type, const float *v, int64_t n, int64_t width) {
    char head[128], shape[48];
    unsigned char number[8];
    hs_buf b = {0};
    snprintf(shape, sizeof shape, n ? "(%lld,%lld)" : "(%lld,)", (long long)(n ? n : width),
             (long long)width);
    const int len = snprintf(head, sizeof head, "{'descr':'<f%d','fortran_order':False,'shape':%s}",
                             (int)hs_dtypes[type].bytes, shape);
    hs_buf_add(&b, "\x93NUMPY\x01", 8);
    hs_buf_chr(&b, (char)len);
    hs_buf_chr(&b, 0);
    hs_buf_add(&b, head, (size_t)len);
    for (int64_t i = 0; i < (n ? n : 1) * width; i++) {
        const double wide = (double)v[i];
        const uint16_t half = hs_f16_of_f32(v[i]);
        const void *const as[] = {[HS_F32] = &v[i], [HS_F16] = &half, [HS_F64] = &wide};
        memcpy(number, as[type], (size_t)hs_dtypes[type].bytes);
        hs_buf_add(&b, number, (size_t)hs_dtypes[type].bytes);
    }
    mk_file(folder, name, b.data, b.len);
    hs_buf_free(&b);
}

// "$" in a spec is the folder.
static const char *spelled(const char *spec) {
    static char text[PATH_MAX + 200];
    const char *hole = strchr(spec, '$');
    if (!hole) return spec;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - spec), spec, folder, hole + 1);
    return text;
}

static void random_rows(float *x, int64_t n, uint64_t seed) {
    hs_prng rng = hs_prng_seed(seed);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(hs_prng_f64(&rng) * 2 - 1);
}

static void close_all(cap *a, cap *b, hs_model *m) {
    cap_close(a);
    cap_close(b);
    hs_model_close(m);
}

static void of_other_tokens(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        cap want, have;
        law_run(&want, m, (hs_context_opts){0}, OTHER, LAW_T);
        write_npy("own.npy", HS_F32, want.at[0][c->n_layer][HS_EMBED].data, LAW_T, c->d_model);
        const edited ways[] = {{.around = 0},
                               {.step = 1},
                               {.step = 5},
                               {.around = 2},
                               {.opts = {.row_block = 3}, .tile_rows = 2}};
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            edited e = ways[k];
            e.spec[0] = spelled("embeds:0,file=$/own.npy");
            edited_run(&have, m, &e, SEED, LAW_T);
            cap_same(&want, 0, &have, e.around, 0, LAW_T, LAW_ALL);
            cap_close(&have);
        }
        cap_close(&want);
        hs_model_close(m);
    }
}

// Rows that no token has, against the same rows patched in; those of pos= only, where it is given.
static void any_rows(void **state) {
    (void)state;
    static const char *const specs[][2] = {
        {"embeds:7,file=$/any.npy", "patch:embed,from=1,pos=7:16"},
        {"embeds:7:16,file=$/any.npy", "patch:embed,from=1,pos=7:16"},
        {"embeds:image,file=$/any.npy", "patch:embed,from=1,pos=image"},
        {"embeds:-34,file=$/any.npy,pos=0:9+15", "patch:embed,from=1,pos=7+8+15"},
    };
    const hs_span span = {"image", AT, AT + N};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        cap plain, want, have;
        law_run(&plain, m, (hs_context_opts){0}, SEED, LAW_T);
        float *rows = plain.at[0][c->n_layer][HS_EMBED].data + AT * c->d_model;
        random_rows(rows, N * c->d_model, 33);
        write_npy("any.npy", HS_F32, rows, N, c->d_model);
        const hs_ref ref = edited_ref(&plain, LAW_T);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            edited e = {.spec = {spelled(specs[k][0])}, .ref = &ref, .span = &span, .n_span = 1};
            edited_run(&have, m, &e, SEED, LAW_T);
            e.spec[0] = specs[k][1];
            edited_run(&want, m, &e, SEED, LAW_T);
            cap_same(&want, 0, &have, 0, 0, LAW_T, LAW_ALL);
            close_all(&want, &have, NULL);
        }
        close_all(&plain, &(cap){0}, m);
    }
}

// Types that numpy saves, and one row as a vector.
static void types_and_shapes(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const int64_t d = hs_model_config(m)->d_model;
    float x[2 * 64];
    assert_true(d <= 64);
    for (int64_t i = 0; i < 2 * d; i++) x[i] = (float)(i % 9 - 4) / 4;
    write_npy("two.npy", HS_F32, x, 2, d);
    write_npy("half.npy", HS_F16, x, 2, d);
    write_npy("double.npy", HS_F64, x, 2, d);
    write_npy("one.npy", HS_F32, x, 0, d);
    static const char *const same[][2] = {
        {"embeds:3,file=$/half.npy", "embeds:3,file=$/two.npy"},
        {"embeds:3,file=$/double.npy", "embeds:3,file=$/two.npy"},
        {"embeds:3,file=$/one.npy", "embeds:3,file=$/two.npy,pos=3"},
    };
    for (size_t k = 0; k < sizeof same / sizeof *same; k++) {
        cap a, b;
        edited_run(&a, m, &(edited){.spec = {spelled(same[k][0])}}, SEED, LAW_T);
        edited_run(&b, m, &(edited){.spec = {spelled(same[k][1])}}, SEED, LAW_T);
        cap_same(&a, 0, &b, 0, 0, LAW_T, LAW_ALL);
        close_all(&a, &b, NULL);
    }
    hs_model_close(m);
}

static void refused(const hs_model *m, const char *spec, int rc, const char *says) {
    const int got = edited_try(m, spelled(spec), LAW_T);
    if (got != rc) fail_msg("%s: rc %d: %s", spec, got, hs_errmsg());
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", spec, hs_errmsg(), says);
}

static void what_does_not_fit(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const int64_t d = hs_model_config(m)->d_model;
    float x[3 * 64] = {0};
    write_npy("three.npy", HS_F32, x, 3, d);
    write_npy("narrow.npy", HS_F32, x, 3, d - 1);
    x[d + 4] = NAN;
    write_npy("nan.npy", HS_F32, x, 3, d);
    refused(m, "embeds:38,file=$/three.npy", 0, "");
    refused(m, "embeds:39,file=$/three.npy", HS_ERANGE,
            "3 embeddings from position 39 on, and the prompt has 41");
    refused(m, "embeds:41,file=$/three.npy", HS_ERANGE, "position 41");
    refused(m, "embeds:2:4,file=$/three.npy", HS_ERANGE, "3 rows, and 2 positions are named");
    refused(m, "embeds:2+4+5,file=$/three.npy", HS_ERANGE, "one range");
    refused(m, "embeds:image,file=$/three.npy", HS_ENOTFOUND, "image");
    refused(m, "embeds:2,file=$/three.npy,pos=9", HS_ERANGE, "leaves out all");
    refused(m, "embeds:0,file=$/narrow.npy", HS_EARG, "embeddings of this model are");
    refused(m, "embeds:0,file=$/nan.npy", HS_EARG, "number 4 of row 1 is not finite");
    refused(m, "embeds:0,file=$/none.npy", HS_EIO, "none.npy");
    refused(m, "embeds:0,file=$", HS_EIO, "");
    refused(m, "embeds:0", HS_EARG, "file=FILE.npy");
    refused(m, "embeds:0,file=$/three.npy,heads=L0H0", HS_EARG, "no heads");
    refused(m, "embeds:all,file=$/three.npy", HS_EARG, "name the positions");
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_other_tokens),
        cmocka_unit_test(any_rows),
        cmocka_unit_test(types_and_shapes),
        cmocka_unit_test(what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
