// Edits that compare the prompt with itself without a span, on made-up numbers: what they write is
// compared with their formulas, written out plainly.
#include "tests/unit/iv_common.h"

#include <math.h>

enum { WIDTH = N_HEAD * D_HEAD }; // the widest row here

// The last rows of both runs, of each layer; every other row is not held.
typedef struct branch {
    float row[2][WIDTH];
} branch;

static int branch_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                       float *out) {
    const branch *b = ctx;
    const int width = point == HS_Z ? WIDTH : D_MODEL;
    if (row0 != T - 1 || n != 1) return hs_fail(HS_ENOTFOUND, "row %d is not held", (int)row0);
    memcpy(out, b->row[layer], (size_t)width * sizeof *out);
    return HS_OK;
}

static void show_rows(const rig *r, enum hs_point point, int layer, float *row, int row0, int n) {
    const bool heads = point == HS_Z;
    const hs_site site = {point, layer, 0, row0, n};
    const int64_t d = heads ? WIDTH : D_MODEL;
    const hs_view view = {row + row0 * d,
                          HS_F32,
                          heads ? 3 : 2,
                          {n, heads ? N_HEAD : D_MODEL, heads ? D_HEAD : 0},
                          {d, heads ? D_HEAD : 1, 1}};
    if (r->tap->write[layer] & HS_BIT(point)) must(r->tap->rows(r->tap->ctx, &site, &view, true));
}

// ---- vhr ----------------------------------------------------------------------------------------

static double distance(const float *a, const float *b) {
    double sum = 0;
    for (int k = 0; k < D_HEAD; k++) sum += pow((double)a[k] - (double)b[k], 2);
    return sqrt(sum);
}

static double spread(const double *x, int n) {
    double mean = 0, var = 0;
    for (int i = 0; i < n; i++) mean += x[i] / n;
    for (int i = 0; i < n; i++) var += pow(x[i] - mean, 2) / n;
    return mean + sqrt(var);
}

// The specification, over all heads of a layer: bit h is set when head h is chosen. keep 0: half.
static unsigned chosen(const float *with, const float *without, int keep, bool drop) {
    static const float zero[D_HEAD];
    double vhd[N_HEAD], ta[N_HEAD];
    unsigned set = 0;
    for (int h = 0; h < N_HEAD; h++) {
        vhd[h] = distance(with + h * D_HEAD, without + h * D_HEAD);
        ta[h] = pow(distance(without + h * D_HEAD, zero), 2);
    }
    const double v = spread(vhd, N_HEAD), a = spread(ta, N_HEAD);
    for (int h = 0; h < N_HEAD; h++)
        if (drop && vhd[h] > v && ta[h] > a) vhd[h] = 0;
    for (int h = 0; h < N_HEAD; h++) {
        int above = 0; // of four different numbers the upper two lie above the median
        for (int i = 0; i < N_HEAD; i++) above += vhd[i] > vhd[h];
        if (above < (keep ? keep : N_HEAD / 2)) set |= 1u << h;
    }
    return set;
}

static void check_vhr(const char *spec, const branch *with, branch *without, const unsigned *want,
                      float alpha, int first) {
    hs_ref other = {.ctx = without, .n_row = T, .rows = branch_rows};
    hs_ref ref = {.ctx = (void *)(uintptr_t)with, .n_row = T, .rows = branch_rows, .other = &other};
    rig r;
    open_rig(&r, &dims, spec, &ref);
    for (int layer = 0; layer < 2; layer++) {
        float z[T * WIDTH], before[T * WIDTH];
        random_numbers(z, T * WIDTH, 5);
        memcpy(before, z, sizeof z);
        show_rows(&r, HS_Z, layer, z, 0, 6);
        show_rows(&r, HS_Z, layer, z, 6, T - 6);
        for (int i = 0; i < T * WIDTH; i++) {
            const int h = i % WIDTH / D_HEAD;
            const bool louder = i / WIDTH >= first && want[layer] >> h & 1;
            if (z[i] != (louder ? alpha * before[i] : before[i]))
                fail_msg("%s: layer %d row %d head %d: %g, was %g", spec, layer, i / WIDTH, h,
                         (double)z[i], (double)before[i]);
        }
    }
    close_rig(&r);
}

static void vhr_formula(void **state) {
    (void)state;
    unsigned dropped = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        branch with, without;
        unsigned half[2], both[2], one[2];
        random_numbers(with.row[0], 2 * WIDTH, seed);
        random_numbers(without.row[0], 2 * WIDTH, 100 + seed);
        // A loud head, which moves as much as the rest together.
        for (int k = 0; seed % 2 && k < D_HEAD; k++) without.row[1][2 * D_HEAD + k] *= 8;
        for (int l = 0; l < 2; l++) {
            half[l] = chosen(with.row[l], without.row[l], 0, true);
            both[l] = chosen(with.row[l], without.row[l], 0, false);
            one[l] = chosen(with.row[l], without.row[l], 1, true);
            dropped += half[l] != both[l];
        }
        check_vhr("vhr:L*,span=name", &with, &without, half, 2, 0);
        check_vhr("vhr:L*,span=name,alpha=-0.5,outliers=keep", &with, &without, both, -0.5f, 0);
        check_vhr("vhr:L*,span=1+name,keep=1", &with, &without, one, 2, 0);
        check_vhr("vhr:L*,span=name,rows=last", &with, &without, half, 2, T - 1);
        check_vhr("vhr:L*,span=name,pos=4:", &with, &without, half, 2, 4);
        check_vhr("vhr:L*,span=name,keep=9,outliers=keep", &with, &without, (unsigned[]){15, 15}, 2,
                  0);
        check_vhr("vhr:L*,span=name,alpha=1", &with, &without, (unsigned[]){15, 15}, 1, 0);
        check_vhr("vhr:L*,span=name", &with, &with, (unsigned[]){0, 0}, 2, 0);
        check_vhr("vhr:L*,span=name,keep=2", &with, &with, (unsigned[]){0, 0}, 2, 0);
    }
    assert_in_range(dropped, 10, 40);
}

// Heads that are not of the target are neither chosen nor compared with.
static void vhr_compares_the_target(void **state) {
    (void)state;
    branch with = {{{0}}}, without = {{{0}}};
    for (int l = 0; l < 2; l++)
        for (int h = 0; h < N_HEAD; h++) with.row[l][h * D_HEAD] = (float)(h + 1); // VHD 1 2 3 4
    check_vhr("vhr:L*,span=name", &with, &without, (unsigned[]){12, 12}, 2, 0);
    check_vhr("vhr:L0H0+L0H1+L1H1-3,span=name", &with, &without, (unsigned[]){2, 8}, 2, 0);
    check_vhr("vhr:L1G0,span=name", &with, &without, (unsigned[]){0, 2}, 2, 0);
    check_vhr("vhr:L0H0,span=name,keep=1", &with, &without, (unsigned[]){1, 0}, 2, 0);
    with.row[0][2 * D_HEAD] = 2; // of equal ones the lower head is kept
    check_vhr("vhr:L0H0-2,span=name,keep=1", &with, &without, (unsigned[]){2, 0}, 2, 0);
}

static void vhr_refused(void **state) {
    (void)state;
    refused("vhr:L*", HS_EARG, "span=NAME");
    refused("vhr:L*,span=doc", HS_ENOTFOUND, "there is no span 'doc'");
    refused("vhr:L*,span=4:4", HS_ERANGE, "holds no position");
    refused("vhr:L*,span=4:40", HS_ERANGE, "4:40");
    refused("vhr:L*,span=0:13", HS_ERANGE, "the whole prompt");
    refused("vhr:L*,span=:7+5:", HS_ERANGE, "the whole prompt");
    refused("vhr:L*,span=5:", HS_ERANGE, "last position");
    refused("vhr:L*,span=2,alpha=inf", HS_EARG, "alpha");
    refused("vhr:L*,span=2,keep=0", HS_EARG, "keep=0");
    refused("vhr:L*,span=2,keep=1.5", HS_EARG, "keep=1.5");
    refused("vhr:L0H1+L1H1,span=2", HS_EARG, "keep=1");
    refused("vhr:L0M,span=2", HS_EARG, "L0M");
}

// ---- vista --------------------------------------------------------------------------------------

static void vista_refused(void **state) {
    (void)state;
    refused("vista:steer", HS_EARG, "span=NAME");
    refused("vista:steer,span=doc", HS_ENOTFOUND, "there is no span 'doc'");
    refused("vista:steer,span=4:4", HS_ERANGE, "holds no position");
    refused("vista:steer,span=0:", HS_ERANGE, "the whole prompt");
    refused("vista:steer,span=9:", HS_ERANGE, "last position");
    refused("vista:steer,span=1,lambda=nan", HS_EARG, "lambda");
    refused("vista:steer,span=1,lambda=inf", HS_EARG, "lambda");
    refused("vista:steer,span=1,layers=2", HS_ERANGE, "layers are 0 to 1");
    refused("vista:steer,span=1,layers=0:1", HS_EARG, "5-20");
    refused("vista:steer,span=1,gamma=0.1", HS_EARG, "vista:mix");
    refused("vista:steer,span=1,heads=L0H0", HS_EARG, "heads=");
    refused("vista:mix,span=1", HS_EARG, "vista:steer");
    refused("vista:mix,w=2", HS_ERANGE, "only 1 layers");
    refused("vista:mix,w=1,gamma=nan", HS_EARG, "gamma");
    hs_dims bare = dims;
    hs_edit *e;
    bare.points &= ~HS_BIT(HS_MLP_OUT);
    bare.norm = HS_NORM_NONE;
    assert_int_equal(hs_edit_open(&e, &bare, "vista:steer,span=1"), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "rule=paper"));
    assert_int_equal(hs_edit_open(&e, &bare, "vista:mix,w=1"), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "no final norm"));
}

// Rows without a direction, and branches that do not differ, keep their bits.
static void nothing_to_turn(void **state) {
    (void)state;
    static const char *const specs[] = {"vista:steer,span=name,lambda=-1,rule=simple",
                                        "vista:steer,span=name,lambda=-1,rule=paper"};
    branch with = {{{0}}}, without = {{{0}}};
    hs_ref other = {.ctx = &without, .n_row = T, .rows = branch_rows};
    const hs_ref ref = {.ctx = &with, .n_row = T, .rows = branch_rows, .other = &other};
    random_numbers(with.row[0], D_MODEL, 3); // layer 1 does not differ
    for (int k = 0; k < 2; k++) {
        const enum hs_point point = k ? HS_RESID_POST : HS_MLP_OUT;
        float x[T * D_MODEL], before[T * D_MODEL];
        rig r;
        open_rig(&r, &dims, specs[k], &ref);
        for (int layer = 0; layer < 2; layer++) {
            random_numbers(x, T * D_MODEL, 4);
            memset(x + 2 * D_MODEL, 0, D_MODEL * sizeof *x);
            memcpy(x + 3 * D_MODEL, with.row[0], D_MODEL * sizeof *x); // would vanish
            memcpy(before, x, sizeof x);
            show_rows(&r, point, layer, x, 0, T);
            for (int i = 0; i < T; i++) {
                const bool kept = layer || i == 2 || (i == 3 && k);
                const size_t at = (size_t)i * D_MODEL;
                if (kept) assert_memory_equal(x + at, before + at, D_MODEL * sizeof *x);
                if (!layer && i > 3) assert_memory_not_equal(x + at, before + at, D_MODEL);
                for (int c = 0; c < D_MODEL; c++) assert_true(isfinite(x[at + (size_t)c]));
            }
        }
        close_rig(&r);
    }
}

// ---- contrast -----------------------------------------------------------------------------------

static void contrast_refused(void **state) {
    (void)state;
    refused("contrast:without", HS_EARG, "span=NAME");
    refused("contrast:with,span=2", HS_EARG, "without|outliers|shuffled");
    refused("contrast:without,span=doc", HS_ENOTFOUND, "there is no span 'doc'");
    refused("contrast:without,span=4:4", HS_ERANGE, "holds no position");
    refused("contrast:without,span=4:", HS_ERANGE, "no row comes after");
    refused("contrast:without,span=0:13", HS_ERANGE, "no row comes after");
    refused("contrast:without,span=2,alpha=nan", HS_EARG, "alpha");
    refused("contrast:without,span=2,beta=1.5", HS_EARG, "beta");
    refused("contrast:without,span=2,beta=-0.1", HS_EARG, "beta");
    refused("contrast:without,span=2,k=3", HS_EARG, "contrast:outliers");
    refused("contrast:without,span=2,heads=L0H0", HS_EARG, "heads=");
    refused("contrast:outliers,span=2:8", HS_ERANGE, "k=10: the span has only 6");
    refused("contrast:outliers,span=2:8+7,k=6", HS_ERANGE, "only 6");
    refused("contrast:outliers,span=2:8,k=2,layer=2", HS_ERANGE, "0 to 1");
    refused("contrast:outliers,span=2:8,k=2,layer=-3", HS_ERANGE, "0 to 1");
    refused("contrast:shuffled,span=2", HS_ERANGE, "no other order");
}

static void what_is_left_out(void **state) {
    (void)state;
    const hs_edit_prompt p = {.ord = 1, .id = "p", .n_token = T};
    bool gone[T];
    hs_edit *e;
    must(hs_edit_open(&e, &dims, "vhr:L*,span=:2+-4:-1,prompts=1"));
    must(hs_edit_gone(e, &p, gone));
    for (int i = 0; i < T; i++) assert_int_equal(gone[i], i < 2 || (i >= T - 4 && i < T - 1));
    must(hs_edit_gone(e, &(hs_edit_prompt){.id = "p", .n_token = 3}, gone)); // not about it
    for (int i = 0; i < 3; i++) assert_false(gone[i]);
    hs_edit_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vhr_formula),      cmocka_unit_test(vhr_compares_the_target),
        cmocka_unit_test(vhr_refused),      cmocka_unit_test(vista_refused),
        cmocka_unit_test(nothing_to_turn),  cmocka_unit_test(contrast_refused),
        cmocka_unit_test(what_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
