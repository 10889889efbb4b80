// patch, freeze and steer on made-up rows: every number is where it should come from, next to its
// formula, or as it was before.
#include "tests/unit/iv_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/mkmodel.h"

// ---- patch and freeze ---------------------------------------------------------------------------

enum { MOST = 40 };

// What a point holds there: numbers that say where they are from.
static float held(enum hs_point point, int layer, int64_t row, int64_t k) {
    return (float)(1000 * (int)point + 300 * layer + 20 * row) + (float)k / 64;
}

static int64_t width_of(enum hs_point point) {
    int64_t shape[4], width = 1;
    const int ndim = hs_point_shape(&dims, point, 1, shape);
    for (int i = 1; i < ndim; i++) width *= shape[i];
    return width;
}

static int fake_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                     float *out) {
    const int64_t width = width_of(point);
    assert_true(row0 + n <= *(const int64_t *)ctx);
    for (int64_t i = 0; i < n * width; i++)
        out[i] = held(point, layer, row0 + i / width, i % width);
    return HS_OK;
}

static int fake_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                    int64_t n_key, float *out, int64_t ld) {
    assert_true(row0 + n <= *(const int64_t *)ctx);
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < n_key; k++)
            out[r * ld + k] = held(point, layer, row0 + r, k) + (float)(100 * head);
    return HS_OK;
}

// Rows 2 .. T - 1 of a point: after the edit, row i holds the reference's numbers where `is` says so
// and its own elsewhere, the gaps of wider strides included.
typedef bool (*is_fn)(int64_t row, int64_t k);

static void check_copy(const char *spec, enum hs_point point, int layer, is_fn is) {
    int64_t n_held = 10, shape[4];
    const hs_ref ref = {.ctx = &n_held, .n_row = n_held, .rows = fake_rows, .map = fake_map};
    const int ndim = hs_point_shape(&dims, point, T - 2, shape);
    const int64_t width = width_of(point);
    float x[(T - 2) * MOST], before[(T - 2) * MOST];
    rig r;
    random_numbers(x, (T - 2) * MOST, 9);
    memcpy(before, x, sizeof x);
    open_rig(&r, &dims, spec, &ref);
    hs_view view = {x, HS_F32, ndim, {shape[0], shape[1], shape[2]}, {width, 1, 1}};
    if (ndim == 3) view.stride[1] = shape[2];
    const hs_site site = {point, layer, 0, 2, T - 2};
    const int set = layer < 0 ? dims.n_layer : layer;
    if (r.tap->write[set] & HS_BIT(point)) must(r.tap->rows(r.tap->ctx, &site, &view, true));
    for (int64_t i = 0; i < (T - 2) * width; i++) {
        const int64_t row = 2 + i / width, k = i % width;
        const float want = is(row, k) ? held(point, layer, row, k) : before[i];
        if (x[i] != want) fail_msg("%s: row %d number %d", spec, (int)row, (int)k);
    }
    assert_memory_equal(x + (T - 2) * width, before + (T - 2) * width,
                        sizeof x - (size_t)((T - 2) * width) * sizeof *x);
    close_rig(&r);
}

static bool whole(int64_t row, int64_t k) {
    (void)k;
    return row < 10;
}
static bool never(int64_t row, int64_t k) {
    (void)row, (void)k;
    return false;
}
static bool head_2(int64_t row, int64_t k) {
    return row < 10 && k / D_HEAD == 2;
}
static bool group_1_there(int64_t row, int64_t k) {
    return (row == 3 || row == 4 || row == 7) && k / D_HEAD == 1;
}

static void copies_of_rows(void **state) {
    (void)state;
    check_copy("patch:resid_pre:1,from=3", HS_RESID_PRE, 1, whole);
    check_copy("patch:resid_pre:1,from=3", HS_RESID_PRE, 0, never);
    check_copy("patch:z,from=prompt:p,heads=L1H2", HS_Z, 1, head_2);
    check_copy("patch:z,from=prompt:p,heads=L1H2", HS_Z, 0, never);
    check_copy("patch:rot_k+v,from=x.db:2,heads=L1G1,pos=name+7+11", HS_V, 1, group_1_there);
    check_copy("patch:ln1_scale,from=3", HS_LN1_SCALE, 0, whole);
    check_copy("patch:logits,from=3", HS_LOGITS, -1, whole);
    check_copy("freeze:q,heads=L*H2", HS_Q, 0, head_2);
    check_copy("freeze:resid_mid", HS_RESID_MID, 1, whole);
    check_copy("freeze:mlp_out:0,heads=all", HS_MLP_OUT, 0, whole);
}

static void copies_of_maps(void **state) {
    (void)state;
    int64_t n_held = 10;
    const hs_ref ref = {.ctx = &n_held, .n_row = n_held, .rows = fake_rows, .map = fake_map};
    static const char *const specs[] = {"patch:attn_scores:1,from=prompt:0,heads=L1H2,pos=3:",
                                        "freeze:pattern,heads=L1H2,pos=3:"};
    for (int p = 0; p < 2; p++)
        for (int head = 1; head < 3; head++) {
            const map before = random_map(1, head);
            map after = before;
            rig r;
            open_rig(&r, &dims, specs[p], &ref);
            float *got = p ? after.a : after.s;
            const float *had = p ? before.a : before.s;
            const enum hs_point point = p ? HS_PATTERN : HS_SCORES;
            for (int row0 = 0; row0 < T; row0 += 5)
                show(&r, &after, point, got, row0, row0 + 5 < T ? 5 : T - row0, HS_OK);
            for (int i = 0; i < T; i++)
                for (int j = 0; j < LD; j++)
                    assert_true(got[i * LD + j] == (head == 2 && i >= 3 && i < 10 && j <= i
                                                        ? held(point, 1, i, j) + 200
                                                        : had[i * LD + j]));
            close_rig(&r);
        }
}

static void what_copies_need(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        enum hs_ref_from from;
        const char *name;
    } needs[] = {
        {"patch:z,from=3", HS_REF_RUN, "3"},
        {"patch:z,from=a.db:3", HS_REF_RUN, "a.db:3"},
        {"patch:z,from=prompt:a7", HS_REF_PROMPT, "a7"},
        {"freeze:z+pattern:1,heads=L1H0", HS_REF_SELF, NULL},
    };
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        hs_edit *e;
        must(hs_edit_open(&e, &dims, needs[i].spec));
        const hs_ref_need *need = hs_edit_need(e);
        assert_int_equal(need->from, needs[i].from);
        if (needs[i].name) assert_string_equal(need->name, needs[i].name);
        assert_memory_equal(need->points, hs_edit_points(e), 3 * sizeof *need->points);
        assert_true(need->points[1] & HS_BIT(HS_Z));
        assert_true(hs_heads_has(need->heads, 1, 0));
        assert_int_equal(hs_heads_has(need->heads, 1, 1), i < 3);
        hs_edit_close(e);
    }
    refused("patch:z", HS_EARG, "from=RUN");
    refused("patch:z,from=prompt:", HS_EARG, "prompt:ID");
    refused("patch:z,from=prompt:random", HS_EARG, "one prompt");
    refused("patch:row_stats,from=3", HS_EARG, "row_stats");
    refused("patch:v,heads=L0H1,from=3", HS_EARG, "L0G0");
    refused("freeze:nothing", HS_ENOTFOUND, "nothing");
}

// ---- steer --------------------------------------------------------------------------------------

static char folder[PATH_MAX];

static void write_npy(const char *name, const char *shape, const float *v, int n) {
    char head[64];
    const int len = snprintf(head, sizeof head, "{'descr':'<f4','fortran_order':False,'shape':%s}",
                             shape);
    hs_buf b = {0};
    assert_true(len < (int)sizeof head);
    hs_buf_add(&b, "\x93NUMPY\x01", 8);
    hs_buf_chr(&b, (char)len);
    hs_buf_chr(&b, 0);
    hs_buf_add(&b, head, (size_t)len);
    hs_buf_add(&b, v, (size_t)n * sizeof *v);
    mk_file(folder, name, b.data, b.len);
    hs_buf_free(&b);
}

static float wide[2 * D_MODEL], head_wide[D_HEAD], all_heads[N_HEAD * D_HEAD];

static int write_files(void **state) {
    (void)state;
    const float zero[D_HEAD] = {0}, bad[D_HEAD] = {0, INFINITY};
    mk_dir(folder);
    random_numbers(wide, 2 * D_MODEL, 21);
    random_numbers(head_wide, D_HEAD, 22);
    random_numbers(all_heads, N_HEAD * D_HEAD, 23);
    wide[3] = 0;
    write_npy("d.npy", "(10,)", wide, D_MODEL);
    write_npy("row.npy", "(1,10)", wide, D_MODEL);
    write_npy("layers.npy", "(2,10)", wide, 2 * D_MODEL);
    write_npy("three.npy", "(3,4)", all_heads, 12);
    write_npy("head.npy", "(4,)", head_wide, D_HEAD);
    write_npy("heads.npy", "(16,)", all_heads, N_HEAD * D_HEAD);
    write_npy("zero.npy", "(4,)", zero, D_HEAD);
    write_npy("bad.npy", "(4,)", bad, D_HEAD);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    mk_remove(folder);
    return 0;
}

// "$" in a spec is the folder.
static const char *spelled(const char *spec) {
    static char text[PATH_MAX + 200];
    const char *hole = strchr(spec, '$');
    snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - spec), spec, folder, hole + 1);
    return text;
}

// The vector that meets numbers [first, first + n) of a row, which are steered together; NULL ends.
typedef struct part {
    int first, n;
    const float *v;
} part;

static void check_steer(const char *spec, enum hs_point point, int layer, double add,
                        double project, const part *parts) {
    const int64_t width = width_of(point);
    int64_t shape[4];
    float x[3 * MOST], before[3 * MOST];
    rig r;
    random_numbers(x, 3 * MOST, 31);
    x[3] = -0.0f;
    memcpy(before, x, sizeof x);
    open_rig(&r, &dims, spelled(spec), NULL);
    const int ndim = hs_point_shape(&dims, point, 3, shape);
    hs_view view = {x, HS_F32, ndim, {3, shape[1], shape[2]}, {width, 1, 1}};
    if (ndim == 3) view.stride[1] = shape[2];
    must(r.tap->rows(r.tap->ctx, &(hs_site){point, layer, 0, 6, 3}, &view, true));
    double want[3 * MOST];
    for (int i = 0; i < 3 * MOST; i++) want[i] = (double)before[i];
    for (int row = 0; row < 3; row++) // rows 6, 7 and 8; specs say pos=6+8
        for (const part *p = parts; row != 1 && p->v; p++) {
            double along = 0, square = 0, *y = want + row * width + p->first;
            for (int k = 0; k < p->n; k++) {
                along += (double)p->v[k] * y[k];
                square += (double)p->v[k] * (double)p->v[k];
            }
            for (int k = 0; k < p->n; k++)
                y[k] += (double)p->v[k] * (add - project * along / square);
        }
    for (int i = 0; i < 3 * MOST; i++)
        if (want[i] == (double)before[i])
            assert_memory_equal(&x[i], &before[i], sizeof x[i]);
        else if (!(fabs((double)x[i] - want[i]) <= 1e-5))
            fail_msg("%s: number %d: %.9g, not %.9g", spec, i, (double)x[i], want[i]);
    close_rig(&r);
}

static void steer(void **state) {
    (void)state;
    const part row[] = {{0, D_MODEL, wide}, {0, 0, NULL}};
    const part second[] = {{0, D_MODEL, wide + D_MODEL}, {0, 0, NULL}};
    const part heads_1_3[] = {{4, 4, head_wide}, {12, 4, head_wide}, {0, 0, NULL}};
    const part group_0[] = {{0, 4, head_wide}, {0, 0, NULL}};
    const part all[] = {{0, 16, all_heads}, {0, 0, NULL}};
    const part own_2[] = {{8, 4, all_heads + 8}, {0, 0, NULL}};
    const part none[] = {{0, 0, NULL}};
    check_steer("steer:resid_pre,vec=$/d.npy,pos=6+8", HS_RESID_PRE, 1, 1, 0, row);
    check_steer("steer:resid_pre,vec=$/d.npy,pos=6+8,scale=-2.5", HS_RESID_PRE, 0, -2.5, 0, row);
    check_steer("steer:embed,vec=$/row.npy,pos=6+8", HS_EMBED, -1, 1, 0, row);
    check_steer("steer:mlp_out,vec=$/layers.npy,pos=6+8", HS_MLP_OUT, 0, 1, 0, row);
    check_steer("steer:mlp_out,vec=$/layers.npy,pos=6+8", HS_MLP_OUT, 1, 1, 0, second);
    check_steer("steer:resid_mid,vec=$/layers.npy,pos=6+8,mode=project", HS_RESID_MID, 1, 0, 1,
                second);
    check_steer("steer:resid_mid,vec=$/d.npy,pos=6+8,mode=project,scale=0.5", HS_RESID_MID, 1, 0,
                0.5, row);
    check_steer("steer:z,vec=$/head.npy,heads=L0H1+L0H3,pos=6+8", HS_Z, 0, 1, 0, heads_1_3);
    check_steer("steer:z,vec=$/head.npy,heads=L0H1+L0H3,pos=6+8,mode=project", HS_Z, 0, 0, 1,
                heads_1_3);
    check_steer("steer:k,vec=$/head.npy,heads=L0G0,pos=6+8,mode=project", HS_K, 0, 0, 1, group_0);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,mode=project", HS_Q, 0, 0, 1, all);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,heads=L0H2", HS_Q, 0, 1, 0, own_2);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,heads=L0H2,mode=project", HS_Q, 0, 0, 1, own_2);
    check_steer("steer:z,vec=$/zero.npy,pos=6+8", HS_Z, 0, 1, 0, none);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,scale=0", HS_Q, 0, 0, 0, none);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,scale=0,mode=project", HS_Q, 0, 0, 0, none);
}

static void vectors_that_do_not_fit(void **state) {
    (void)state;
    refused("steer:resid_pre", HS_EARG, "vec=FILE.npy");
    refused(spelled("steer:resid_pre,vec=$/head.npy"), HS_EARG,
            "the vector is 4 wide, and rows of resid_pre are 10");
    refused(spelled("steer:z,vec=$/d.npy"), HS_EARG,
            "the vector is 10 wide, and rows of z are 16, of one head 4");
    refused(spelled("steer:k,vec=$/heads.npy"), HS_EARG, "rows of k are 8, of one head 4");
    refused(spelled("steer:pattern,vec=$/head.npy"), HS_EARG, "pattern has no rows");
    refused(spelled("steer:z,vec=$/three.npy"), HS_EARG, "3 vectors");
    refused(spelled("steer:embed,vec=$/layers.npy"), HS_EARG, "embed belongs to none");
    refused(spelled("steer:z,vec=$/bad.npy"), HS_EARG, "number 1 of the vector is not finite");
    refused(spelled("steer:z,vec=$/zero.npy,mode=project"), HS_EARG, "no direction");
    refused(spelled("steer:z,vec=$/none.npy"), HS_EIO, "none.npy");
    refused(spelled("steer:z,vec=$"), HS_EIO, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_rows),          cmocka_unit_test(copies_of_maps),
        cmocka_unit_test(what_copies_need),        cmocka_unit_test(steer),
        cmocka_unit_test(vectors_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, write_files, remove_files);
}
