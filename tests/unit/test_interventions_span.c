// Edits about a span of the prompt, on made-up maps: every number is compared with its formula,
// written out plainly, or with what it was before.
#include "tests/unit/iv_common.h"

#include <math.h>

// ---- boost --------------------------------------------------------------------------------------

typedef bool (*pick_fn)(int row, int key);

static bool after(int i, int j) {
    return i >= 5 && (j == 1 || j == 3 || j == 4);
}
static bool last(int i, int j) {
    return i == T - 1 && (j == 3 || j == 4);
}
static bool any(int i, int j) {
    return i >= 0 && j == 2;
}
static bool narrowed(int i, int j) {
    return i == 7 && (j == 3 || j == 4);
}
static bool to_the_end(int i, int j) {
    return i == T - 1 && j >= 10;
}
static bool nowhere(int i, int j) {
    return i < 0 && j < 0;
}

// Scores of a tile each of `height` rows; a masked key stays masked.
static void check_boost(const char *spec, int layer, int head, double alpha, pick_fn picked) {
    for (int height = 1; height <= T; height += 4) {
        map before = random_map(layer, head);
        rig r;
        before.s[7 * LD + 3] = -INFINITY;
        map m = before;
        open_rig(&r, &dims, spec, NULL);
        for (int row0 = 0; row0 < T; row0 += height)
            show(&r, &m, HS_SCORES, m.s, row0, row0 + height < T ? height : T - row0, HS_OK);
        for (int i = 0; i < T; i++)
            for (int j = 0; j < LD; j++) {
                const float s = before.s[i * LD + j];
                const bool edited = j <= i && s > -INFINITY && picked(i, j);
                const double want = edited ? (double)s + alpha * fabs((double)s) : (double)s;
                if ((double)m.s[i * LD + j] != (double)(float)want)
                    fail_msg("%s: row %d key %d: %.9g, not %.9g", spec, i, j,
                             (double)m.s[i * LD + j], want);
            }
        close_rig(&r);
    }
}

static void boost(void **state) {
    (void)state;
    check_boost("boost:name+1", 1, 2, 0.7, after);
    check_boost("boost:name+1,heads=L1H2,alpha=0.25", 1, 2, 0.25, after);
    check_boost("boost:name+1,heads=L1H2,alpha=0.25", 1, 1, 0, nowhere);
    check_boost("boost:name,alpha=0.5,rows=last", 0, 0, 0.5, last);
    check_boost("boost:2,alpha=-1,rows=all", 0, 0, -1, any);
    check_boost("boost:name,alpha=2,pos=2+7", 0, 3, 2, narrowed);
    check_boost("boost:10:,alpha=2,rows=last", 0, 3, 2, to_the_end);
    check_boost("boost:name,alpha=0,rows=all", 0, 3, 0, nowhere);
}

static void boosts_refused(void **state) {
    (void)state;
    refused("boost:all", HS_EARG, "name the positions");
    refused("boost:3-5", HS_EARG, "'3-5' is not a position");
    refused("boost:doc", HS_ENOTFOUND, "there is no span 'doc'");
    refused("boost:5:5", HS_ERANGE, "holds no position");
    refused("boost:3:20", HS_ERANGE, "3:20");
    refused("boost:3:", HS_ERANGE, "no row comes after");
    refused("boost:3:5,pos=4", HS_ERANGE, "no position is in all");
    refused("boost:3:5,alpha=nan", HS_EARG, "alpha");
    refused("boost:3:5,alpha=1e30", HS_EARG, "alpha");
    refused("boost:3:5,rows=none", HS_EARG, "after|last|all");
    refused("boost:alpha=3", HS_EARG, "a target comes first");
    refused("boost:3:5,heads=L9H0", HS_ERANGE, "heads");
}

// What rows an edit is about, which prefixes that are shared go by.
static void rows_after_the_span(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        int first, end;
    } cases[] = {{"boost:name+1", 5, T},     {"boost:7:9+2", 9, T},    {"boost:2,rows=last", 12, T},
                 {"boost:2,rows=all", 0, T}, {"boost:2,pos=:8", 3, 8}, {"boost:nobody?", T, 0}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const hs_span span = {"name", 3, 5};
        const hs_edit_prompt p = {.id = "p", .n_token = T, .given = {&span, 1}};
        hs_edit *e;
        must(hs_edit_open(&e, &dims, cases[k].spec));
        must(hs_edit_check(e, &p));
        assert_int_equal(hs_edit_first(e, &p), cases[k].first);
        assert_int_equal(hs_edit_end(e, &p), cases[k].end);
        hs_edit_close(e);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boost),
        cmocka_unit_test(boosts_refused),
        cmocka_unit_test(rows_after_the_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
