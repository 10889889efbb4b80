// Prompts without some of their positions, as references: rows and maps are those of a run of what
// is left, asked for by positions of the whole prompt; sources keep them apart from whole ones.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "analyses/sources.h"
#include "tests/lib/laws.h"

enum { N = 23, LEFT = 16, FROM = 5, TO = 11 }; // [FROM, TO) and position 20 are left out

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static void is_gone(int rc, const char *says) {
    assert_int_equal(rc, HS_ENOTFOUND);
    if (!strstr(hs_errmsg(), says)) fail_msg("'%s' lacks '%s'", hs_errmsg(), says);
}

typedef struct rig {
    hs_model *model;
    hs_dims dims;
    int32_t ids[N];
    bool gone[N];
    int64_t at[N]; // where a position is in what is left
    cap left;      // a run of what is left
} rig;

static void open_rig(rig *r, int model) {
    int32_t left[N];
    int n = 0;
    memset(r, 0, sizeof *r);
    r->model = law_model(model);
    r->dims = hs_dims_of(r->model);
    law_tokens(r->ids, N, 3);
    for (int i = 0; i < N; i++) {
        r->gone[i] = (i >= FROM && i < TO) || i == 20;
        r->at[i] = n;
        if (!r->gone[i]) left[n++] = r->ids[i];
    }
    assert_int_equal(n, LEFT);
    cap_open(&r->left, r->model, LEFT);
    hs_context *x = law_context(r->model, (hs_context_opts){0}, &r->left.tap);
    law_eval_one(x, left, LEFT, HS_LOGITS_ALL);
    hs_context_close(x);
}

static void close_rig(rig *r) {
    cap_close(&r->left);
    hs_model_close(r->model);
}

static hs_cut *cut_of(const rig *r, const hs_prompt *prompt, const uint64_t *points, int64_t row0,
                      hs_held **held) {
    hs_cut *cut;
    must(hs_cut_open(&cut, prompt, r->gone));
    must(hs_held_open(held, &r->dims, points, NULL, row0, LEFT, NULL));
    must(hs_unedited_run(r->model, &(hs_unedited){.prompt = hs_cut_prompt(cut), .held = *held}, 1,
                         NULL));
    return cut;
}

static void check_rows(const rig *r, const hs_ref *ref) {
    float row[512];
    const cap_tensor *z = &r->left.at[0][1][HS_Z];
    const size_t bytes = (size_t)z->width * sizeof *row;
    for (int i = 0; i < N; i++) {
        const int rc = ref->rows(ref->ctx, HS_Z, 1, i, 1, row);
        if (r->gone[i])
            is_gone(rc, "was left out");
        else
            assert_memory_equal(row, z->data + r->at[i] * z->width, bytes);
    }
    must(ref->rows(ref->ctx, HS_Z, 1, TO, 2, row));
    assert_memory_equal(row, z->data + FROM * z->width, 2 * bytes);
    is_gone(ref->rows(ref->ctx, HS_Z, 1, FROM - 1, 2, row), "row 5 was");
    is_gone(ref->rows(ref->ctx, HS_Z, 1, N - 1, 2, row), "row 23");
    is_gone(ref->rows(ref->ctx, HS_Z, 1, -1, 1, row), "row -1");
}

static void check_map(const rig *r, const hs_ref *ref, enum hs_point point) {
    enum { LD = N + 2 };
    static float out[N * LD];
    const float *map = r->left.at[0][1][point].data + 1 * LEFT * LEFT; // head 1
    must(ref->map(ref->ctx, point, 1, 1, TO, 9, N, out, LD));
    for (int i = TO; i < 20; i++)
        for (int j = 0; j < N; j++) {
            const float v = out[(i - TO) * LD + j];
            if (r->gone[j] || j > i)
                assert_true(point == HS_SCORES ? isinf(v) && v < 0 : v == 0);
            else
                assert_memory_equal(&v, &map[r->at[i] * LEFT + r->at[j]], sizeof v);
        }
    is_gone(ref->map(ref->ctx, point, 1, 1, TO - 1, 2, N, out, LD), "was left out");
}

static void test_cut(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        rig r;
        hs_held *held;
        uint64_t points[CAP_LAYERS + 1] = {0};
        open_rig(&r, i);
        const hs_prompt prompt = {.id = "p", .tokens = r.ids, .n_token = N};
        must(hs_points_select(points, &r.dims, "z,pattern,attn_scores"));
        hs_cut *cut = cut_of(&r, &prompt, points, 0, &held);
        const hs_ref ref = hs_cut_ref(cut, held);
        assert_int_equal(ref.n_row, N);
        check_rows(&r, &ref);
        check_map(&r, &ref, HS_PATTERN);
        check_map(&r, &ref, HS_SCORES);
        hs_held_close(held);
        hs_cut_close(cut);
        close_rig(&r);
    }
}

// The last row alone takes no more memory than one row.
static void test_last(void **state) {
    (void)state;
    rig r;
    hs_held *held;
    uint64_t points[CAP_LAYERS + 1] = {0};
    float row[512];
    open_rig(&r, 0);
    const hs_prompt prompt = {.id = "p", .tokens = r.ids, .n_token = N};
    must(hs_points_select(points, &r.dims, "z:1"));
    hs_cut *cut = cut_of(&r, &prompt, points, LEFT - 1, &held);
    const hs_ref ref = hs_cut_ref(cut, held);
    const cap_tensor *z = &r.left.at[0][1][HS_Z];
    const size_t bytes = (size_t)z->width * sizeof *row;
    assert_int_equal(hs_held_bytes(held), bytes);
    must(ref.rows(ref.ctx, HS_Z, 1, N - 1, 1, row));
    assert_memory_equal(row, z->data + (LEFT - 1) * z->width, bytes);
    is_gone(ref.rows(ref.ctx, HS_Z, 1, N - 2, 1, row), "row 14");
    hs_held_close(held);
    hs_cut_close(cut);
    close_rig(&r);
}

// Whole, without one span and without another: three sources of a prompt, each run once.
static void test_sources(void **state) {
    (void)state;
    rig r;
    hs_prompts *prompts;
    hs_sources s;
    hs_source *whole, *cut, *other, *again;
    uint64_t points[CAP_LAYERS + 1] = {0};
    float a[512], b[512];
    bool first[N] = {true};
    open_rig(&r, 0);
    must(hs_prompts_open(&prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    must(hs_prompts_add_tokens(prompts, "p", r.ids, N, 0, 0, NULL));
    must(hs_points_select(points, &r.dims, "z:1"));
    const hs_editing_opts opts = {.model = r.model, .prompts = prompts};
    const size_t bytes = (size_t)r.left.at[0][1][HS_Z].width * sizeof *a;
    must(hs_sources_open(&s, &opts, &r.dims));
    hs_sources_rows(&s, &(hs_ref_need){.points = points, .last = true});
    assert_false(s.all_rows);
    hs_sources_begin(&s);
    must(hs_sources_want(&s, NULL, 0, NULL, &whole));
    must(hs_sources_want(&s, NULL, 0, r.gone, &cut));
    must(hs_sources_want(&s, NULL, 0, first, &other));
    must(hs_sources_want(&s, NULL, 0, r.gone, &again));
    assert_int_equal(s.n, 3);
    assert_ptr_equal(cut, again);
    must(hs_sources_fill(&s));
    must(cut->left.rows(cut->left.ctx, HS_Z, 1, N - 1, 1, a));
    assert_memory_equal(a, law_row(&r.left, 1, HS_Z, LEFT - 1), bytes);
    must(other->left.rows(other->left.ctx, HS_Z, 1, N - 1, 1, b));
    assert_memory_not_equal(a, b, bytes);
    const hs_ref all = hs_held_ref(whole->held);
    must(all.rows(all.ctx, HS_Z, 1, N - 1, 1, b));
    assert_memory_not_equal(a, b, bytes);
    is_gone(all.rows(all.ctx, HS_Z, 1, 0, 1, b), "row 0");
    hs_sources_close(&s);
    hs_prompts_close(prompts);
    close_rig(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_last),
        cmocka_unit_test(test_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
