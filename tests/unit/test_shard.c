// --shard: what is read of the option and of the environment of launchers.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/shard.h"
#include "model/core/err.h"

static const char *const all[] = {"OMPI_COMM_WORLD_RANK",
                                  "OMPI_COMM_WORLD_SIZE",
                                  "PMI_RANK",
                                  "PMI_SIZE",
                                  "PMIX_RANK",
                                  "SLURM_PROCID",
                                  "SLURM_NTASKS",
                                  "SLURM_ARRAY_TASK_ID",
                                  "SLURM_ARRAY_TASK_COUNT",
                                  "SLURM_ARRAY_TASK_MIN",
                                  "SLURM_ARRAY_TASK_STEP",
                                  NULL};

static int clear(void **state) {
    (void)state;
    for (int i = 0; all[i]; i++) unsetenv(all[i]);
    return 0;
}

static void test_given(void **state) {
    static const char *const wrong[] = {"5/4",  "0/0",   "1/1",       "x/y",   "1",
                                        "1/",   "/2",    "",          "/",     "-1/2",
                                        "1/-2", "1 / 2", "0/2000000", "0/1/2", "0x1/4"};
    hs_shard s;
    (void)state;
    assert_int_equal(hs_shard_parse(&s, NULL), HS_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(hs_shard_count(&s, 7), 7);
    assert_int_equal(hs_shard_ord(&s, 3), 3);
    assert_int_equal(hs_shard_parse(&s, "2/3"), HS_OK);
    assert_int_equal(s.i, 2);
    assert_int_equal(s.n, 3);
    assert_false(s.launched);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(hs_shard_parse(&s, wrong[i]), HS_EARG);
}

// Every prompt is of one shard, whatever their numbers.
static void test_parts(void **state) {
    (void)state;
    for (int64_t n_prompt = 1; n_prompt < 12; n_prompt++)
        for (int64_t n = 1; n <= n_prompt; n++) {
            int seen[12] = {0};
            for (int64_t i = 0; i < n; i++) {
                const hs_shard s = {.i = i, .n = n};
                const int64_t count = hs_shard_count(&s, n_prompt);
                assert_true(count > 0);
                for (int64_t k = 0; k < count; k++) seen[hs_shard_ord(&s, k)]++;
            }
            for (int64_t ord = 0; ord < n_prompt; ord++) assert_int_equal(seen[ord], 1);
        }
    assert_int_equal(hs_shard_check(&(hs_shard){.i = 0, .n = 3}, 3), HS_OK);
    assert_int_equal(hs_shard_check(&(hs_shard){.i = 0, .n = 4}, 3), HS_EARG);
    assert_int_equal(hs_shard_check(&(hs_shard){0}, 3), HS_OK);
}

// Environments as launchers make them, and what they mean; i -1: refused.
static void test_launched(void **state) {
    static const struct {
        const char *set[5];
        int64_t i, n;
    } cases[] = {
        {{NULL}, -1, 0},
        {{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=4"}, 1, 4},
        {{"OMPI_COMM_WORLD_RANK=1"}, -1, 0},
        {{"OMPI_COMM_WORLD_RANK=4", "OMPI_COMM_WORLD_SIZE=4"}, -1, 0},
        {{"OMPI_COMM_WORLD_RANK=x", "OMPI_COMM_WORLD_SIZE=4"}, -1, 0},
        {{"PMI_RANK=0", "PMI_SIZE=2"}, 0, 2},
        {{"PMIX_RANK=2", "SLURM_NTASKS=3", "SLURM_PROCID=2"}, 2, 3},
        {{"SLURM_PROCID=7", "SLURM_NTASKS=8"}, 7, 8},
        // mpirun within a job of Slurm
        {{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "SLURM_PROCID=0", "SLURM_NTASKS=1"},
         1,
         2},
        // a job array: 10-18:2, and what sbatch gives its script besides
        {{"SLURM_ARRAY_TASK_ID=14", "SLURM_ARRAY_TASK_COUNT=5", "SLURM_ARRAY_TASK_MIN=10",
          "SLURM_ARRAY_TASK_STEP=2"},
         2,
         5},
        {{"SLURM_ARRAY_TASK_ID=3", "SLURM_ARRAY_TASK_COUNT=4", "SLURM_PROCID=0", "SLURM_NTASKS=1"},
         3,
         4},
        {{"SLURM_ARRAY_TASK_ID=3", "SLURM_ARRAY_TASK_COUNT=4", "SLURM_PROCID=1", "SLURM_NTASKS=2"},
         7,
         8},
        {{"SLURM_ARRAY_TASK_ID=9", "SLURM_ARRAY_TASK_COUNT=4", "SLURM_ARRAY_TASK_MIN=1"}, -1, 0},
        {{"SLURM_ARRAY_TASK_ID=0", "SLURM_ARRAY_TASK_COUNT=4", "SLURM_ARRAY_TASK_STEP=0"}, -1, 0},
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        hs_shard s;
        clear(NULL);
        for (int j = 0; j < 5 && cases[k].set[j]; j++) {
            char *text = strdup(cases[k].set[j]), *eq = strchr(text, '=');
            *eq = 0;
            setenv(text, eq + 1, 1);
            free(text);
        }
        const int rc = hs_shard_parse(&s, "auto");
        assert_int_equal(rc, cases[k].i < 0 ? HS_EARG : HS_OK);
        if (rc) continue;
        assert_int_equal(s.i, cases[k].i);
        assert_int_equal(s.n, cases[k].n);
        assert_true(s.launched);
    }
}

static void test_path(void **state) {
    static const struct {
        hs_shard shard;
        const char *path, *want;
    } cases[] = {
        {{0}, "a.db", "a.db"},
        {{1, 2, false}, "a.db", "a.db"},
        {{1, 2, true}, "a.db", "a.1.db"},
        {{12, 20, true}, "x.y/a.db", "x.y/a.12.db"},
        {{0, 2, true}, "a.sqlite", "a.sqlite.0"},
        {{0, 2, true}, ".db", ".db.0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_buf b = {0};
        assert_int_equal(hs_shard_path(&b, &cases[i].shard, cases[i].path), HS_OK);
        assert_string_equal(hs_buf_text(&b), cases[i].want);
        hs_buf_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_given),
        cmocka_unit_test(test_parts),
        cmocka_unit_test_setup_teardown(test_launched, clear, clear),
        cmocka_unit_test(test_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
