// ACT on made-up maps, against the specification written out plainly: which columns are hidden sinks
// by either rule, what becomes of a row, decoded rows, and what it asks of those who run it.
#include "tests/unit/iv_common.h"

#include <math.h>

// ---- the specification --------------------------------------------------------------------------

typedef struct rule {
    const char *spec;
    bool relative;
    double level, beta; // alpha or thr
    int min_rows, n_token;
} rule;

static bool expect_sink(const map *m, const rule *r, int row, int j) {
    const int n = r->n_token;
    double sum = 0;
    if (row >= n) // decoded
        return j > 0 &&
               (double)m->a[row * LD + j] > (r->relative ? r->level / (row + 1) : r->level);
    for (int i = j; i < n; i++) sum += (double)m->a[i * LD + j];
    return j > 0 && n - j >= r->min_rows && sum / (n - j) > (r->relative ? r->level / n : r->level);
}

static void expect_row(const map *m, const rule *r, int row, double want[T]) {
    double sinks = 0, rest = 0;
    for (int j = 0; j <= row; j++)
        *(expect_sink(m, r, row, j) ? &sinks : &rest) += (double)m->a[row * LD + j];
    for (int j = 0; j <= row; j++) {
        const double a = (double)m->a[row * LD + j], freed = (1 - r->beta) * sinks;
        want[j] = expect_sink(m, r, row, j) ? r->beta * a : a + freed * a / rest;
    }
}

// ---- runs ---------------------------------------------------------------------------------------

static void prompt_of(rig *r, int n_token) {
    r->seq.prompt.n_token = n_token;
    must(hs_edits_aim(r->edits, &r->seq, 1));
}

static void begin_layer(const rig *r, const map *m, int row0, int n) {
    float row[D_MODEL] = {0};
    const hs_view view = {row, HS_F32, 2, {n, D_MODEL}, {D_MODEL, 1}};
    const hs_site site = {HS_RESID_PRE, m->layer, 0, row0, n};
    must(r->tap->rows(r->tap->ctx, &site, &view, true));
}

static int meet(const rig *r, map *m, int row0, int n, bool survey) {
    const hs_tile tile = {.point = HS_PATTERN,
                          .layer = m->layer,
                          .head = m->head,
                          .row0 = row0,
                          .n_row = n,
                          .n_key = row0 + n,
                          .row = m->a + row0 * LD,
                          .ld = LD,
                          .survey = survey};
    return r->tap->tile(r->tap->ctx, &tile, true, 1);
}

// Rows [from, to) in tiles of `height`.
static void all_tiles(const rig *r, map *m, int from, int to, int height, bool survey) {
    for (int row0 = from; row0 < to; row0 += height)
        must(meet(r, m, row0, row0 + height < to ? height : to - row0, survey));
}

// Rows that sum to 1 and look at a few columns more than at others.
static map random_pattern(int layer, int head) {
    map m = random_map(layer, head);
    for (int i = 0; i < T; i++) {
        double sum = 0;
        for (int j = 0; j <= i; j++) sum += exp((double)m.a[i * LD + j] + (j % 4 == 2 ? 3 : 0));
        for (int j = 0; j <= i; j++)
            m.a[i * LD + j] = (float)(exp((double)m.a[i * LD + j] + (j % 4 == 2 ? 3 : 0)) / sum);
    }
    return m;
}

static const rule rules[] = {
    {"act:L1H2,alpha=1.6", true, 1.6, 0.4, 1, T},
    {"act:L1H2+L0H1,alpha=1.6,beta=0.7", true, 1.6, 0.7, 1, T},
    {"act:L1,alpha=1.1,min_rows=4", true, 1.1, 0.4, 4, T},
    {"act:L1H2,alpha=0", true, 0, 0.4, 1, T}, // all but the first
    {"act:L1G1,rule=abs,thr=0.15", false, 0.15, 0.4, 1, T},
    {"act:L1H2,rule=abs,beta=0", false, 0.1, 0, 1, T},
    {"act:L1H2,rule=abs,thr=0.05,min_rows=7", false, 0.05, 0.4, 7, T},
    {"act:L1H2,alpha=2", true, 2, 0.4, 1, 9}, // the last rows are decoded
    {"act:L1H2,alpha=2,min_rows=3", true, 2, 0.4, 3, 9},
    {"act:L1H2,rule=abs,thr=0.3", false, 0.3, 0.4, 1, 9},
};

static int count_sinks(const map *m, const rule *r, int row) {
    int n = 0;
    for (int j = 0; j <= row; j++) n += expect_sink(m, r, row, j);
    return n;
}

static void rows_are_those_of_the_specification(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        const rule *u = &rules[k];
        const map before = random_pattern(1, 2);
        assert_in_range(count_sinks(&before, u, u->n_token - 1), 1, u->n_token - 1);
        if (u->n_token < T) assert_in_range(count_sinks(&before, u, T - 1), 1, T - 1);
        for (int height = 1; height <= T; height += 3) {
            map m = before;
            rig r;
            open_rig(&r, &dims, u->spec, NULL);
            prompt_of(&r, u->n_token);
            begin_layer(&r, &m, 0, u->n_token);
            all_tiles(&r, &m, 0, u->n_token, height, true);
            assert_memory_equal(&m, &before, sizeof m);
            all_tiles(&r, &m, 0, T, T + 1 - height, false);
            for (int i = 0; i < T; i++) {
                double want[T], sum = 0;
                expect_row(&before, u, i, want);
                for (int j = 0; j <= i; j++) {
                    const double is = (double)m.a[i * LD + j];
                    sum += is;
                    if (fabs(is - want[j]) > 1e-7)
                        fail_msg("%s: row %d key %d: %.9g, not %.9g", u->spec, i, j, is, want[j]);
                }
                assert_true(fabs(sum - 1) < 1e-6);
            }
            close_rig(&r);
        }
    }
}

// The worked example of the specification. Its last column lies on the threshold 0.1.
static void the_worked_example(void **state) {
    (void)state;
    static const float a[4][4] = {{1}, {.6f, .4f}, {.3f, .5f, .2f}, {.2f, .6f, .1f, .1f}};
    static const double want[4][4] = {{1}, {.84, .16}, {.72, .2, .08}, {.48, .24, .04, .24}};
    map m = {.layer = 0, .head = 3};
    rig r;
    for (int i = 0; i < 16; i++) m.a[i / 4 * LD + i % 4] = a[i / 4][i % 4];
    open_rig(&r, &dims, "act:L0H3,rule=abs,thr=0.11", NULL);
    prompt_of(&r, 4);
    begin_layer(&r, &m, 0, 4);
    all_tiles(&r, &m, 0, 4, 4, true);
    all_tiles(&r, &m, 0, 4, 4, false);
    for (int i = 0; i < 16; i++)
        assert_true(fabs((double)m.a[i / 4 * LD + i % 4] - want[i / 4][i % 4]) < 1e-6);
    assert_true(m.a[0] == 1);
    close_rig(&r);
}

// Every layer and head finds its own, and nothing is left of those before.
static void each_map_has_its_own_sinks(void **state) {
    (void)state;
    const rule u = {"act:L0-1H*,alpha=1.6", true, 1.6, 0.4, 1, T};
    rig r;
    open_rig(&r, &dims, u.spec, NULL);
    for (int layer = 0; layer < 2; layer++) {
        map m[N_HEAD], before[N_HEAD];
        for (int h = 0; h < N_HEAD; h++) {
            m[h] = random_pattern(layer, h);
            for (int i = 0; i < T; i++) // columns change places
                for (int j = 0; j <= i && h + layer; j++)
                    m[h].a[i * LD + j] = (j + h + 2 * layer) % 5 == 1 ? 0.5f : 0.01f;
            before[h] = m[h];
        }
        begin_layer(&r, &m[0], 0, 6); // in row blocks
        begin_layer(&r, &m[0], 6, T - 6);
        for (int h = 0; h < N_HEAD; h++) all_tiles(&r, &m[h], 0, T, 5, true);
        for (int h = N_HEAD - 1; h >= 0; h--) {
            double want[T];
            all_tiles(&r, &m[h], 0, T, 4, false);
            expect_row(&before[h], &u, T - 1, want);
            for (int j = 0; j < T; j++)
                assert_true(fabs((double)m[h].a[(T - 1) * LD + j] - want[j]) < 1e-6);
        }
    }
    close_rig(&r);
}

// ---- rows that are left alone -------------------------------------------------------------------

static void check_left(const char *spec, int only) {
    const map before = random_pattern(1, 2);
    map m = before;
    rig r;
    open_rig(&r, &dims, spec, NULL);
    begin_layer(&r, &m, 0, T);
    all_tiles(&r, &m, 0, T, 4, true);
    all_tiles(&r, &m, 0, T, 4, false);
    for (int i = 0; i < T; i++)
        assert_true(!memcmp(m.a + i * LD, before.a + i * LD, LD * sizeof *m.a) == (i != only));
    close_rig(&r);
}

static void rows_that_are_left_alone(void **state) {
    (void)state;
    check_left("act:L1H2,alpha=1.6,beta=1", -1);
    check_left("act:L1H2,alpha=13", -1); // no mean is above 1
    check_left("act:L1H2,rule=abs,thr=1", -1);
    check_left("act:L1H2,alpha=1.6,min_rows=13", -1);
    check_left("act:L1H2,alpha=1.6,pos=7", 7); // all rows count, one is edited
    check_left("act:L1H2,alpha=1.6,pos=0", -1);
    check_left("act:L1H1,alpha=1.6", -1); // another head
    check_left("act:L1H2,alpha=1.6,prompts=7", -1);
}

// Row 2 holds nothing but a hidden sink: nobody is there to receive.
static void a_row_of_sinks_only(void **state) {
    (void)state;
    map m = {.layer = 1, .head = 2};
    rig r;
    for (int i = 0; i < T; i++) m.a[i * LD + (i < 2 ? i : 2)] = 1;
    const map before = m;
    open_rig(&r, &dims, "act:L1H2,beta=0", NULL);
    begin_layer(&r, &m, 0, T);
    all_tiles(&r, &m, 0, T, T, true);
    all_tiles(&r, &m, 0, T, T, false);
    assert_memory_equal(&m, &before, sizeof m);
    close_rig(&r);
}

// ---- what it asks for ---------------------------------------------------------------------------

static void fails(const rig *r, map *m, int row0, int n, bool survey) {
    const map before = *m;
    assert_int_equal(meet(r, m, row0, n, survey), HS_EUNSUPPORTED);
    assert_non_null(strstr(hs_errmsg(), "run it from its start, and at once"));
    assert_memory_equal(m, &before, sizeof before);
}

static void prompts_in_parts(void **state) {
    (void)state;
    map m = random_pattern(1, 2);
    rig r;
    open_rig(&r, &dims, "act:L1H2,alpha=1.6", NULL);
    fails(&r, &m, 0, 4, false); // nothing was surveyed
    fails(&r, &m, 0, 4, true);  // and no layer began
    begin_layer(&r, &m, 0, T);
    fails(&r, &m, 3, 4, true); // not from the start
    must(meet(&r, &m, 0, 5, true));
    fails(&r, &m, 6, 2, true);
    must(meet(&r, &m, 5, T - 6, true));
    fails(&r, &m, 0, 4, false); // one row is missing
    must(meet(&r, &m, T - 1, 1, true));
    must(meet(&r, &m, 0, 4, false));
    prompt_of(&r, 4);
    must(meet(&r, &m, 4, 3, false)); // decoded rows need no survey
    close_rig(&r);
}

static void what_is_refused(void **state) {
    (void)state;
    refused("act:L1H2,beta=1.01", HS_EARG, "beta=1.01 is out of range");
    refused("act:L1H2,beta=-0.5", HS_EARG, "beta=-0.5 is out of range");
    refused("act:L1H2,beta=nan", HS_EARG, "beta");
    refused("act:L1H2,alpha=-1", HS_EARG, "alpha=-1 is out of range");
    refused("act:L1H2,thr=0.2", HS_EARG, "thr= is for rule=abs, and this is rule=alphaN");
    refused("act:L1H2,rule=abs,alpha=5", HS_EARG, "alpha= is for rule=alphaN");
    refused("act:L1H2,rule=abs,thr=1.5", HS_EARG, "thr=1.5 is out of range");
    refused("act:L1H2,rule=paper", HS_EARG, "alphaN|abs");
    refused("act:L1H2,min_rows=0", HS_EARG, "min_rows=0 is out of range");
    refused("act:L1M", HS_EARG, "write heads (L5H1) or groups (L5G0)");
    refused("act:L2-3H*", HS_ERANGE, "layers are 0 to 1");
    refused("act:L1H2,pos=13", HS_ERANGE, "position 13 does not exist");
}

static void runs_begin_at_the_start(void **state) {
    (void)state;
    hs_edit *e;
    const hs_edit_prompt p = {.id = "p", .n_token = T};
    must(hs_edit_open(&e, &dims, "act:L1H2,pos=7:9"));
    must(hs_edit_check(e, &p));
    assert_int_equal(hs_edit_first(e, &p), 0);
    assert_int_equal(hs_edit_end(e, &p), 9);
    hs_edit_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_specification),
        cmocka_unit_test(the_worked_example),
        cmocka_unit_test(each_map_has_its_own_sinks),
        cmocka_unit_test(rows_that_are_left_alone),
        cmocka_unit_test(a_row_of_sinks_only),
        cmocka_unit_test(prompts_in_parts),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(runs_begin_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
