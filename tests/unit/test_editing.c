// Edited runs: what is held of unedited ones, recorded runs as values, what is refused and how it
// is said.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/editing.h"
#include "analyses/reference.h"
#include "db/run_source.h"
#include "tests/lib/dbfix.h"
#include "tests/lib/laws.h"

#define MAPS (HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN))

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// Fails unless rc is `want` and the message holds `text`.
static void refused(int rc, int want, const char *text) {
    if (rc != want || !strstr(hs_errmsg(), text))
        fail_msg("rc %d, not %d with '%s': %s", rc, want, text, hs_errmsg());
}

// ---- what is held -------------------------------------------------------------------------------

static void all_points(uint64_t *points, const hs_dims *dims) {
    for (int l = 0; l <= dims->n_layer; l++) points[l] = 0;
    for (int p = 0; p < HS_N_POINT; p++) {
        if (!(dims->points & HS_BIT(p)) || p == HS_ROW_STATS) continue;
        const bool model = hs_point_infos[p].scope == HS_SCOPE_MODEL;
        for (int l = model ? dims->n_layer : 0; l < dims->n_layer + model; l++)
            points[l] |= HS_BIT(p);
    }
}

static hs_held *hold(const hs_model *m, const uint64_t *points, const hs_heads *heads,
                     uint64_t seed, int64_t n) {
    const hs_dims dims = hs_dims_of(m);
    int32_t ids[LAW_N_CTX];
    hs_held *held;
    law_tokens(ids, LAW_N_CTX, seed);
    const hs_prompt prompt = {.id = "p", .tokens = ids, .n_token = n};
    must(hs_held_open(&held, &dims, points, heads, 0, n, NULL));
    must(hs_unedited_run(m, &(hs_unedited){.prompt = &prompt, .held = held}, 1, NULL));
    return held;
}

static void check_tensor(const hs_ref *ref, const cap_tensor *t, enum hs_point p, int layer) {
    float *out = calloc((size_t)(LAW_T * t->width), sizeof *out);
    assert_non_null(t->data);
    must(ref->rows(ref->ctx, p, layer, 0, LAW_T, out));
    assert_memory_equal(out, t->data, (size_t)(LAW_T * t->width) * sizeof *out);
    must(ref->rows(ref->ctx, p, layer, LAW_T - 2, 1, out));
    assert_memory_equal(out, t->data + (LAW_T - 2) * t->width, (size_t)t->width * sizeof *out);
    free(out);
}

static void check_map(const hs_ref *ref, const cap *c, enum hs_point p, int layer, int head) {
    enum { LD = LAW_T + 3 };
    static float out[LAW_T * LD];
    const float *map = c->at[0][layer][p].data + (int64_t)head * c->t_max * c->t_max;
    must(ref->map(ref->ctx, p, layer, head, 3, LAW_T - 3, LAW_T, out, LD));
    for (int64_t r = 3; r < LAW_T; r++)
        for (int64_t k = 0; k < LAW_T; k++) {
            const float v = out[(r - 3) * LD + k];
            if (k > r)
                assert_true(p == HS_SCORES ? isinf(v) && v < 0 : v == 0);
            else
                assert_memory_equal(&v, &map[r * c->t_max + k], sizeof v);
        }
}

static void test_held(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_dims dims = hs_dims_of(m);
        uint64_t points[CAP_LAYERS + 1];
        cap c;
        law_run(&c, m, (hs_context_opts){0}, 5, LAW_T);
        all_points(points, &dims);
        hs_held *held = hold(m, points, NULL, 5, LAW_T);
        const hs_ref ref = hs_held_ref(held);
        assert_int_equal(ref.n_row, LAW_T);
        for (int l = 0; l <= dims.n_layer; l++)
            for (int p = 0; p < HS_N_POINT; p++) {
                const enum hs_point point = (enum hs_point)p;
                if (!(points[l] & HS_BIT(p))) continue;
                if (!(MAPS & HS_BIT(p)))
                    check_tensor(&ref, &c.at[0][l][p], point, l == dims.n_layer ? -1 : l);
                for (int h = 0; MAPS & HS_BIT(p) && h < dims.n_head; h++)
                    check_map(&ref, &c, point, l, h);
            }
        hs_held_close(held);
        cap_close(&c);
        hs_model_close(m);
    }
}

// Maps of chosen heads only, and not in memory.
static void test_held_maps(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const hs_dims dims = hs_dims_of(m);
    uint64_t points[CAP_LAYERS + 1] = {0};
    hs_heads heads;
    float row[LAW_T];
    must(hs_points_select(points, &dims, "pattern"));
    must(hs_heads_parse(&heads, &dims, "L1H1"));
    hs_held *held = hold(m, points, &heads, 5, LAW_T);
    const hs_ref ref = hs_held_ref(held);
    assert_int_equal(hs_held_bytes(held), LAW_T * (LAW_T + 1) / 2 * (int)sizeof *row);
    must(ref.map(ref.ctx, HS_PATTERN, 1, 1, 4, 1, 5, row, 5));
    refused(ref.map(ref.ctx, HS_PATTERN, 1, 0, 4, 1, 5, row, 5), HS_ENOTFOUND, "attn.hook_pattern");
    refused(ref.map(ref.ctx, HS_SCORES, 1, 1, 4, 1, 5, row, 5), HS_ENOTFOUND, "attn_scores");
    refused(ref.map(ref.ctx, HS_PATTERN, 1, 1, LAW_T, 1, LAW_T, row, LAW_T), HS_ENOTFOUND,
            "row 41");
    refused(ref.rows(ref.ctx, HS_Z, 0, 0, 1, row), HS_ENOTFOUND, "hook_z");
    hs_held_close(held);
    must(setenv("TMPDIR", "/nowhere/at/all", 1));
    refused(hs_held_open(&held, &dims, points, &heads, 0, 9, NULL), HS_EIO, "TMPDIR");
    assert_null(held);
    must(unsetenv("TMPDIR"));
    hs_heads_free(&heads);
    hs_model_close(m);
}

static void test_no_mean(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const hs_dims dims = hs_dims_of(m);
    uint64_t points[CAP_LAYERS + 1] = {0};
    hs_mean *mean;
    float row[256];
    must(hs_points_select(points, &dims, "z"));
    must(hs_mean_open(&mean, &dims, points, 3));
    const hs_ref ref = hs_mean_ref(mean);
    refused(ref.rows(ref.ctx, HS_Z, 0, 2, 1, row), HS_ENOTFOUND, "row 2"); // nothing was seen yet
    refused(ref.rows(ref.ctx, HS_Z, 0, 3, 1, row), HS_ENOTFOUND, "row 3");
    refused(ref.rows(ref.ctx, HS_Q, 0, 0, 1, row), HS_ENOTFOUND, "hook_q");
    hs_mean_close(mean);
    points[0] |= HS_BIT(HS_PATTERN);
    refused(hs_mean_open(&mean, &dims, points, 3), HS_EARG, "no mean");
    assert_null(mean);
    hs_model_close(m);
}

// ---- what is refused ----------------------------------------------------------------------------

static hs_prompts *prompts_of(int n) {
    hs_prompts *p;
    must(hs_prompts_open(&p, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < n; i++) {
        int32_t ids[LAW_T];
        char id[2] = {(char)('a' + i), 0};
        law_tokens(ids, LAW_T, (uint64_t)i);
        must(hs_prompts_add_tokens(p, id, ids, i ? 5 : LAW_T, 0, 0, NULL));
    }
    return p;
}

static int try_spec(const hs_model *m, int n_prompt, const char *spec) {
    static const hs_span span = {"late", 6, 9};
    hs_prompts *p = prompts_of(n_prompt);
    hs_editing *e;
    const hs_editing_opts opts = {.model = m, .prompts = p, .spans = {&span, 1}};
    int rc = hs_editing_open(&e, &opts, &spec, 1);
    if (!rc) rc = hs_editing_aim(e, &(hs_editing_seq){0, 0, 1}, 1);
    hs_editing_close(e);
    hs_prompts_close(p);
    return rc;
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        int n_prompt;
        const char *spec;
        int rc;
        const char *text; // of the message
    } cases[] = {
        {2, "ablate:L0H0,mode=resample", HS_OK, ""},
        {1, "ablate:L0H0,mode=resample", HS_EARG, "no other prompt"},
        {2, "ablate:L0H0,mode=resample,from=b", HS_OK, ""},
        {2, "ablate:L0H0,mode=resample,from=1", HS_OK, ""},
        {2, "ablate:L0H0,mode=resample,from=2", HS_ENOTFOUND, "no prompt '2'"},
        {2, "ablate:L0H0,mode=resample,from=b,pos=5,prompts=a", HS_ERANGE, "has only 5"},
        {2, "ablate:L0H0,mode=resample,from=a,pos=4", HS_OK, ""},
        {2, "patch:z,from=prompt:b", HS_ERANGE, "up to position"},
        {2, "patch:z,from=pair", HS_EARG, "no other halves"},
        {2, "patch:z,from=prompt:b,pos=2+5,prompts=a", HS_ERANGE, "up to position 5"},
        {2, "patch:z,from=prompt:b,pos=:5", HS_OK, ""},
        {2, "patch:z,from=prompt:b,prompts=b", HS_OK, ""},
        {2, "ablate:L0H0,pos=late", HS_ERANGE, "late"},
        {2, "ablate:L0H0,pos=late,prompts=0", HS_OK, ""},
        {2, "ablate:L0H0,pos=early", HS_ENOTFOUND, "early"},
        {2, "ablate:L0H0,prompts=c", HS_ENOTFOUND, "no prompt 'c'"},
        {2, "ablate:L0H0,mode=mean,reference=/nowhere.jsonl", HS_EIO, "/nowhere.jsonl"},
        {2, "ablate:L0H0,mode=mean,reference=repeat:k=8+n=3", HS_OK, ""},
        {2, "ablate:L0H0,mode=mean,reference=repeat:k=80", HS_ERANGE, "context"},
        {2, "ablate:L0H0,mode=mean,reference=repeat:kk=8", HS_EARG, "kk"},
        {2, "ablate:L0H0,mode=mean,by=position,pos=16,prompts=a,reference=repeat:k=8+n=3",
         HS_ERANGE, "longer than 16"},
        {2, "ablate:L0H0,mode=mean,by=position,pos=15,prompts=a,reference=repeat:k=8+n=3", HS_OK,
         ""},
        {2, "ablate:L9H0", HS_ERANGE, "L9H0"},
        {2, "melt:L0H0", HS_ENOTFOUND, "melt"},
    };
    hs_model *m = law_model(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rc = try_spec(m, cases[i].n_prompt, cases[i].spec);
        if (rc != cases[i].rc || (rc && !strstr(hs_errmsg(), cases[i].text)))
            fail_msg("%s: rc %d: %s", cases[i].spec, rc, hs_errmsg());
        const char *said = strstr(cases[i].spec, "reference=");
        if (rc && !strstr(hs_errmsg(), said ? said : cases[i].spec))
            fail_msg("%s is not in: %s", cases[i].spec, hs_errmsg());
    }
    hs_model_close(m);
}

static int count_calls(void *ctx, const char *what, int64_t done, int64_t total) {
    (void)what;
    assert_true(done <= total);
    ++*(int *)ctx;
    return HS_OK;
}

// More prompts than are kept when they are not needed; those that are, stay.
static void test_many(void **state) {
    (void)state;
    enum { N = 90 };
    hs_model *m = law_model(0);
    hs_prompts *p;
    hs_editing *e;
    hs_editing_seq seq[N];
    int calls = 0;
    const hs_progress progress = {count_calls, &calls};
    const char *const spec = "freeze:z+pattern";
    must(hs_prompts_open(&p, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N; i++) {
        const int32_t ids[] = {i % LAW_N_VOCAB, 1};
        must(hs_prompts_add_tokens(p, NULL, ids, 2, 0, 0, NULL));
        seq[i] = (hs_editing_seq){i, 0, 1};
    }
    must(hs_editing_open(&e, &(hs_editing_opts){.model = m, .prompts = p, .progress = &progress},
                         &spec, 1));
    must(hs_editing_aim(e, seq, N));
    const int once = calls;
    assert_true(once > 0);
    must(hs_editing_aim(e, seq, N));
    must(hs_editing_aim(e, seq + N - 1, 1)); // the others are not needed, the newest are kept
    must(hs_editing_aim(e, seq + N - 50, 50));
    assert_int_equal(calls, once);
    must(hs_editing_aim(e, seq, 1)); // the oldest are not
    assert_int_equal(calls, 2 * once);
    hs_editing_close(e);
    hs_prompts_close(p);
    hs_model_close(m);
}

static int stop(void *ctx, const char *what, int64_t done, int64_t total) {
    assert_string_equal(what, "unedited tokens");
    assert_true(done <= total);
    return ++*(int *)ctx == 2 ? hs_fail(HS_ESTOP, "stopped") : HS_OK;
}

// Unedited runs can be stopped, when a mean is taken and when a batch needs them.
static void test_stopped(void **state) {
    (void)state;
    static const char *const specs[] = {"ablate:L1H0,mode=mean", "ablate:L1H0,mode=resample"};
    hs_model *m = law_model(0);
    hs_prompts *p = prompts_of(2);
    for (int i = 0; i < 2; i++) {
        int calls = 0;
        const hs_progress progress = {stop, &calls};
        hs_editing *e;
        int rc = hs_editing_open(
            &e, &(hs_editing_opts){.model = m, .prompts = p, .progress = &progress}, &specs[i], 1);
        if (i) {
            must(rc);
            rc = hs_editing_aim(e, &(hs_editing_seq){0, 0, 1}, 1);
            calls = 2;
            must(hs_editing_aim(e, &(hs_editing_seq){0, 0, 1}, 1)); // anew, in whole
        }
        assert_int_equal(rc, HS_ESTOP);
        hs_editing_close(e);
    }
    hs_prompts_close(p);
    hs_model_close(m);
}

// ---- recorded runs ------------------------------------------------------------------------------

enum { ROWS = 70 };
static const dbrun recorded = {.n_prompt = 2,
                               .n_token = ROWS,
                               .n_decode = 2,
                               .maps = "L0H1,L1H*",
                               .acts = "z,embed,blocks.1.attn.hook_attn_scores"};

static int set_up(void **state) {
    *state = dbfix_open("run_source", &recorded, 2, NULL);
    return 0;
}

static void test_recorded(void **state) {
    const dbfix *f = *state;
    static float out[ROWS * ROWS];
    hs_runs *runs;
    hs_ref ref;
    must(hs_runs_open(&runs, f->path));
    const hs_run_source source = hs_runs_source(runs, &dbrun_dims);
    const hs_prompt prompt = {.id = "p1", .n_token = ROWS + 1};
    must(source.open(source.ctx, "2", &prompt, 0, &ref)); // by its id
    assert_int_equal(ref.n_row, ROWS + 1);
    const int64_t width = dbrun_dims.n_head * dbrun_dims.d_head;
    for (int l = 1; l >= 0; l--) {
        must(ref.rows(ref.ctx, HS_Z, l, 3, 60, out));
        for (int64_t r = 0; r < 60; r++)
            for (int64_t k = 0; k < width; k++)
                assert_true(out[r * width + k] == dbrun_act(1, HS_Z, l, 3 + r, k));
    }
    must(ref.rows(ref.ctx, HS_EMBED, -1, ROWS, 1, out));
    assert_true(out[1] == dbrun_act(1, HS_EMBED, dbrun_dims.n_layer, ROWS, 1));
    for (int p = 0; p < 2; p++) {
        must(ref.map(ref.ctx, p ? HS_SCORES : HS_PATTERN, 1, 2, 8, 3, 11, out, ROWS));
        for (int64_t r = 0; r < 3; r++)
            for (int64_t k = 0; k < 11; k++)
                assert_true(out[r * ROWS + k] ==
                            (p ? dbrun_score : dbrun_weight)(1, 1, 2, 8 + r, k));
    }
    must(ref.map(ref.ctx, HS_PATTERN, 0, 1, 0, 1, 1, out, 1));
    assert_true(out[0] == dbrun_weight(1, 0, 1, 0, 0));
    refused(ref.map(ref.ctx, HS_PATTERN, 0, 0, 0, 0, 0, NULL, 0), HS_ENOTFOUND, "--maps");
    refused(ref.map(ref.ctx, HS_SCORES, 0, 1, 0, 1, 1, out, 1), HS_ENOTFOUND, "attn_scores");
    refused(ref.rows(ref.ctx, HS_Q, 0, 0, 0, NULL), HS_ENOTFOUND, "--acts blocks.0.attn.hook_q");
    refused(ref.rows(ref.ctx, HS_Z, 0, ROWS, 2, out), HS_ENOTFOUND, "71 rows");
    source.close(source.ctx, &ref);
    assert_null(ref.ctx);
    hs_runs_close(runs);
}

static void test_not_recorded(void **state) {
    const dbfix *f = *state;
    hs_runs *runs;
    hs_ref ref;
    char there[300];
    must(hs_runs_open(&runs, "/nowhere.db"));
    hs_dims dims = dbrun_dims;
    const hs_prompt prompt = {.id = "other", .n_token = ROWS};
    hs_run_source s = hs_runs_source(runs, &dims);
    snprintf(there, sizeof there, "%s:1", f->path);
    must(s.open(s.ctx, there, &prompt, 0, &ref)); // by its number
    s.close(s.ctx, &ref);
    refused(s.open(s.ctx, there, &prompt, 1, &ref), HS_ERANGE, "71 tokens, not 70");
    refused(s.open(s.ctx, there, &prompt, 2, &ref), HS_ENOTFOUND, "no prompt 'other'");
    refused(s.open(s.ctx, "1", &prompt, 0, &ref), HS_EIO, "/nowhere.db");
    snprintf(there, sizeof there, "%s:3", f->path);
    refused(s.open(s.ctx, there, &prompt, 0, &ref), HS_ENOTFOUND, "no run 3");
    snprintf(there, sizeof there, "%s:0", f->path);
    refused(s.open(s.ctx, there, &prompt, 0, &ref), HS_ENOTFOUND, "from 1");
    for (int i = 0; i < 5; i++) {
        static const char *const bad[] = {"", "x", "1x", ":1", "99999999999999999999"};
        refused(s.open(s.ctx, bad[i], &prompt, 0, &ref), HS_EARG, "not a run");
        assert_null(ref.ctx);
    }
    dims.d_head++;
    s = hs_runs_source(runs, &dims);
    snprintf(there, sizeof there, "%s:1", f->path);
    refused(s.open(s.ctx, there, &prompt, 0, &ref), HS_EARG, "another model");
    hs_runs_close(runs);
}

static void test_specs_of_a_run(void **state) {
    const dbfix *f = *state;
    char path[256];
    hs_runs *runs;
    hs_buf specs = {0};
    int n;
    dbfix_copy(f, path, sizeof path,
               "INSERT INTO intervention VALUES (2, 1, 'scale', 'scale:L0H1,by=2'),"
               "(2, 0, 'ablate', 'ablate:L0H0')");
    must(hs_runs_open(&runs, path));
    must(hs_runs_edits(runs, "2", &specs, &n));
    assert_int_equal(n, 2);
    assert_string_equal(specs.data, "ablate:L0H0");
    assert_string_equal(specs.data + 12, "scale:L0H1,by=2");
    hs_buf_clear(&specs);
    refused(hs_runs_edits(runs, "1", &specs, &n), HS_ENOTFOUND, "under no intervention");
    hs_runs_close(runs);
    hs_buf_free(&specs);
    dbrun_remove(path);
}

// A stored tensor that does not fit is refused before anything of it is read.
static void test_damaged(void **state) {
    const dbfix *f = *state;
    static const char *const damage[] = {
        "UPDATE act SET width = width + 1 WHERE name LIKE '%hook_z'",
        "UPDATE act SET n_pos = 3 WHERE name LIKE '%hook_z'",
        "UPDATE act_chunk SET data = zeroblob(length(data))",
        "UPDATE map SET n_q = 5, n_k = 5",
        "UPDATE map SET causal = 0",
        "DELETE FROM map_chunk",
    };
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        static float out[ROWS * 64];
        char path[256];
        hs_runs *runs;
        hs_ref ref;
        const hs_prompt prompt = {.id = "p0", .n_token = ROWS};
        dbfix_copy(f, path, sizeof path, damage[i]);
        must(hs_runs_open(&runs, path));
        const hs_run_source s = hs_runs_source(runs, &dbrun_dims);
        must(s.open(s.ctx, "1", &prompt, 0, &ref));
        refused(i < 3 ? ref.rows(ref.ctx, HS_Z, 0, 0, ROWS, out)
                      : ref.map(ref.ctx, HS_PATTERN, 0, 1, 0, 9, 9, out, 9),
                HS_EFORMAT, path);
        s.close(s.ctx, &ref);
        hs_runs_close(runs);
        dbrun_remove(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_held_maps),
        cmocka_unit_test(test_no_mean),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test_setup_teardown(test_recorded, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(test_not_recorded, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(test_specs_of_a_run, set_up, dbfix_tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, dbfix_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
