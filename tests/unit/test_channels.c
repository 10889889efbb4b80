// Exact medians, and the channels by which a model's sinks are known: of a model whose embedding of
// one token is made massive.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/channels.h"
#include "analyses/editing.h"
#include "analyses/median.h"
#include "model/core/prng.h"
#include "tests/lib/laws.h"

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// ---- medians ------------------------------------------------------------------------------------

static int by_size(const void *a, const void *b) {
    const double x = fabs((double)*(const float *)a), y = fabs((double)*(const float *)b);
    return (x > y) - (x < y);
}

static void medians(void **state) {
    (void)state;
    static uint64_t count[HS_MEDIAN_COUNTS];
    hs_prng random = hs_prng_seed(1);
    for (int n = 1; n < 60; n++) {
        float x[60];
        uint32_t key[60];
        for (int i = 0; i < n; i++)
            x[i] = (float)((hs_prng_f64(&random) - 0.5) * (i % 3 ? 1 : 1e6));
        for (int i = 0; i < n; i++) key[i] = hs_size_key(x[i]);
        qsort(x, (size_t)n, sizeof *x, by_size);
        const double low = fabs((double)x[(n - 1) / 2]), high = fabs((double)x[n / 2]);
        assert_true(hs_median_size(key, n, count) == (low + high) / 2);
        assert_true(hs_key_size(hs_size_key(x[0])) == fabs((double)x[0]));
    }
}

static void massive(void **state) {
    (void)state;
    assert_true(hs_is_massive(101, 0.101));
    assert_false(hs_is_massive(101, 0.102));
    assert_false(hs_is_massive(100, 0));
}

// ---- a model with sink channels -----------------------------------------------------------------

enum { TOKEN = 5 };

// Token 5 enters with channels 3 and 7 massive, and 9 large but not a thousand medians.
static hs_model *massive_model(void) {
    const rand_spec spec = rand_default("llama", true);
    hs_model *m;
    mk all = {0};
    hs_buf json = {0};
    char dir[PATH_MAX], path[PATH_MAX];
    rand_fill(&all, &json, &spec);
    for (size_t i = 0; i < all.n_tensors; i++) {
        mk_tensor *t = &all.tensors[i];
        if (strcmp(t->name, "token_embd.weight") != 0) continue;
        assert_int_equal(t->dtype, HS_F32);
        float *row = (float *)(void *)t->bytes.data + TOKEN * t->shape[1];
        row[3] = 1e5f;
        row[7] = -2e5f;
        row[9] = 150;
    }
    mk_dir(dir);
    mk_write_gguf(&all, dir, "model.gguf");
    mk_path(path, dir, "model.gguf");
    must(hs_model_open(&m, path, &(hs_model_opts){.dev = {.threads = 1}}));
    mk_remove(dir);
    mk_free(&all);
    hs_buf_free(&json);
    return m;
}

// `with` prompts that begin with the token, then `without` that have it later.
static hs_prompts *prompts_of(const hs_model *m, int with, int without) {
    hs_prompts *p;
    must(hs_prompts_open(&p, NULL, HS_BOS_NO, hs_model_config(m)->n_vocab));
    for (int i = 0; i < with + without; i++) {
        const int32_t ids[] = {i < with ? TOKEN : 8, 9, 1, i < with ? 8 : TOKEN, 2, (int32_t)i % 9};
        char id[20];
        snprintf(id, sizeof id, "%d", i);
        must(hs_prompts_add_tokens(p, id, ids, 4 + i % 3, 0, 0, NULL));
    }
    return p;
}

static void check_found(const hs_model *m, int with, int without, bool found) {
    hs_prompts *p = prompts_of(m, with, without);
    hs_channels c;
    const int rc = hs_channels_find(&c, m, p, NULL);
    assert_int_equal(rc, found ? HS_OK : HS_ENOTFOUND);
    if (found) {
        assert_int_equal(c.n, 2);
        assert_int_equal(c.at[0], 3);
        assert_int_equal(c.at[1], 7);
    } else {
        assert_non_null(strstr(hs_errmsg(), "dims="));
        assert_null(c.at);
    }
    hs_channels_free(&c);
    hs_prompts_close(p);
}

static void found_in_half_of_the_layers(void **state) {
    (void)state;
    hs_model *m = massive_model();
    check_found(m, 1, 0, true);
    check_found(m, 2, 2, true);
    check_found(m, 2, 3, false);
    check_found(m, 0, 2, false);
    check_found(m, HS_CHANNELS_PROMPTS, 40, true); // those after the first 16 do not count
    hs_model_close(m);
}

// ---- and an edit that asks for them -------------------------------------------------------------

static int edit(const hs_model *m, const hs_prompts *p, const char *spec) {
    hs_editing *e;
    const hs_editing_opts opts = {.model = m, .prompts = p};
    int rc = hs_editing_open(&e, &opts, &spec, 1);
    if (!rc) rc = hs_editing_aim(e, &(hs_editing_seq){0, 0, 1}, 1);
    hs_editing_close(e);
    return rc;
}

static void asked_for_by_var(void **state) {
    (void)state;
    hs_model *m = massive_model();
    hs_prompts *with = prompts_of(m, 1, 0), *without = prompts_of(m, 0, 1);
    must(edit(m, with, "var:L0,span=0:2,tau=2"));
    must(edit(m, without, "var:L0,span=0:2,tau=2,dims=3"));
    assert_int_equal(edit(m, without, "var:L0,span=0:2,tau=2"), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "dims="));
    hs_prompts_close(with);
    hs_prompts_close(without);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians),
        cmocka_unit_test(massive),
        cmocka_unit_test(found_in_half_of_the_layers),
        cmocka_unit_test(asked_for_by_var),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
