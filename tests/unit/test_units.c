// Units and places: how they are written, what they stand for.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "hooks/places.h"
#include "hooks/units.h"

static const hs_dims dims = {
    .n_layer = 3,
    .n_head = 4,
    .n_kv_head = 2,
    .d_model = 10,
    .d_head = 5,
    .d_ff = 7,
    .n_vocab = 9,
    .points = HS_BIT(HS_N_POINT) - 1,
};
enum {
    H = 1 << HS_UNIT_HEAD,
    G = 1 << HS_UNIT_GROUP,
    L = 1 << HS_UNIT_LAYER,
    M = 1 << HS_UNIT_MLP,
    N = 1 << HS_UNIT_NEURON,
    ALL = (1 << HS_N_UNIT) - 1
};

// The names of what a selection holds, joined by blanks.
static void is(const char *sel, unsigned kinds, const char *want) {
    hs_units u;
    hs_buf have = {0};
    char name[HS_UNIT_NAME];
    if (hs_units_parse(&u, &dims, sel, kinds)) fail_msg("%s: %s", sel, hs_errmsg());
    for (int64_t i = 0; i < u.n; i++)
        hs_buf_printf(&have, "%s%s", i ? " " : "", hs_unit_name(name, &u.at[i]));
    assert_string_equal(hs_buf_text(&have), want);
    hs_buf_free(&have);
    hs_units_free(&u);
}

static void fails(const char *sel, unsigned kinds, int rc, const char *says) {
    hs_units u;
    if (hs_units_parse(&u, &dims, sel, kinds) != rc) fail_msg("%s: %s", sel, hs_errmsg());
    assert_null(u.at);
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", sel, hs_errmsg(), says);
}

static void every_kind_is_written(void **state) {
    (void)state;
    is("L2H1", ALL, "L2H1");
    is("2.1", ALL, "L2H1");
    is("L0G1", ALL, "L0G1");
    is("L1", ALL, "L1");
    is("L1M", ALL, "L1M");
    is("L2N6", ALL, "L2N6");
    is("all", ALL, "L0H0 L0H1 L0H2 L0H3 L1H0 L1H1 L1H2 L1H3 L2H0 L2H1 L2H2 L2H3");
}

static void ranges_stars_and_lists(void **state) {
    (void)state;
    is("L0-1H2-3", ALL, "L0H2 L0H3 L1H2 L1H3");
    is("L*M", ALL, "L0M L1M L2M");
    is("L*", ALL, "L0 L1 L2");
    is("L1-2G*", ALL, "L1G0 L1G1 L2G0 L2G1");
    is("*.0,L1N0-1", ALL, "L0H0 L1H0 L2H0 L1N0 L1N1");
}

static void sorted_and_each_once(void **state) {
    (void)state;
    is("L2M+L1H3+L0N3+L1H0-1+L2+L1H1+L0G0+1.0+L2M", ALL, "L1H0 L1H1 L1H3 L0G0 L2 L2M L0N3");
}

static void a_layer_is_its_heads_where_layers_are_not(void **state) {
    (void)state;
    is("L1", H, "L1H0 L1H1 L1H2 L1H3");
    is("L0-1+L2G0", H | G, "L0H0 L0H1 L0H2 L0H3 L1H0 L1H1 L1H2 L1H3 L2G0");
    is("L1", H | L, "L1");
    fails("L1", G | M, HS_EARG, "'L1' does not fit here: write groups (L5G0) or MLPs (L5M)");
}

static void kinds_that_are_not_allowed(void **state) {
    (void)state;
    fails("L1M", H, HS_EARG, "'L1M' does not fit here: write heads (L5H1)");
    fails("L0H0+L1N2", H | G | L, HS_EARG,
          "'L1N2' does not fit here: write heads (L5H1), groups (L5G0) or layers (L5)");
    fails("all", M, HS_EARG, "every head");
}

static void bad_syntax(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",     "+",    "L",     "H1",    "5",    "L1H",   "L1H0+", "+L1H0", "L1X0",  "L1M0",
        "L1 ",  "L1h0", "L-1H0", "L1H-1", "L2-1", "L1H3-", "L1HH0", "1.",    ".1",    "1H1",
        "L1.1", "none", "L1G",   "L1N",   "L**",  "L1H0;", "ALL",   "L1H0,", "L0x1H0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        fails(bad[i], ALL, HS_EARG, "is not a unit: write heads (L5H1)");
}

static void what_the_model_lacks(void **state) {
    (void)state;
    fails("L3H0", ALL, HS_ERANGE, "'L3H0' does not exist: layers are 0 to 2, heads 0 to 3");
    fails("L0H4", ALL, HS_ERANGE, "heads 0 to 3");
    fails("L0G2", ALL, HS_ERANGE, "groups 0 to 1");
    fails("L0-3M", ALL, HS_ERANGE, "layers are 0 to 2");
    fails("L0N7", ALL, HS_ERANGE, "neurons 0 to 6");
    fails("L3", ALL, HS_ERANGE, "layers are 0 to 2");
    hs_dims bare = dims;
    hs_units u;
    bare.points &= ~(HS_BIT(HS_MLP_OUT) | HS_BIT(HS_MLP_POST));
    bare.d_ff = 0;
    static const char *const mlps[] = {"L0M", "L0N0", "L*M", "L*N*"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(hs_units_parse(&u, &bare, mlps[i], ALL), HS_ERANGE);
        assert_non_null(strstr(hs_errmsg(), "no MLPs"));
    }
}

static void groups_spread_into_heads(void **state) {
    (void)state;
    hs_units u;
    hs_heads heads;
    assert_int_equal(hs_units_parse(&u, &dims, "L0G1+L1H0+L2+L2M", ALL), HS_OK);
    assert_int_equal(hs_units_heads(&heads, &dims, &u), HS_OK);
    static const uint8_t want[12] = {0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(heads.on, want, 12);
    hs_heads_free(&heads);
    hs_units_free(&u);
}

static void cells_are(const hs_dims *d, const char *sel, const char *want) {
    hs_units u;
    hs_unit_cells c;
    hs_buf have = {0};
    if (hs_units_parse(&u, d, sel, ALL)) fail_msg("%s: %s", sel, hs_errmsg());
    assert_int_equal(hs_unit_cells_of(&c, d, &u), HS_OK);
    for (int64_t i = 0; i < c.n; i++)
        hs_buf_printf(&have, "%s%d:%s[%d,%d)", i ? " " : "", c.at[i].layer,
                      hs_point_infos[c.at[i].point].alias, (int)c.at[i].from, (int)c.at[i].to);
    assert_string_equal(hs_buf_text(&have), want);
    hs_buf_free(&have);
    hs_unit_cells_free(&c);
    hs_units_free(&u);
}

static void where_units_write(void **state) {
    (void)state;
    cells_are(&dims, "L2H1", "2:z[5,10)");
    cells_are(&dims, "L2G1", "2:z[10,20)");
    cells_are(&dims, "L1M", "1:mlp_out[0,10)");
    cells_are(&dims, "L1N4", "1:post[4,5)");
    cells_are(&dims, "L1", "1:attn_out[0,10) 1:mlp_out[0,10)");
    // What is meant twice is there once, and neighbours are one cell.
    cells_are(&dims, "L1G0+L1H1-2+L0H0+L0H2", "0:z[0,5) 0:z[10,15) 1:z[0,15)");
    cells_are(&dims, "L1+L1M+L1N0-2+L1N4",
              "1:attn_out[0,10) 1:post[0,3) 1:post[4,5) "
              "1:mlp_out[0,10)");
    hs_dims bare = dims;
    bare.points &= ~HS_BIT(HS_MLP_OUT);
    cells_are(&bare, "L1", "1:attn_out[0,10)");
}

static void cells_of_a_row(void **state) {
    (void)state;
    hs_units u;
    hs_unit_cells c;
    int64_t n;
    uint64_t points[4] = {0};
    assert_int_equal(hs_units_parse(&u, &dims, "L0H0+L0H2+L1M+L2H3", ALL), HS_OK);
    assert_int_equal(hs_unit_cells_of(&c, &dims, &u), HS_OK);
    const hs_unit_cell *at = hs_unit_cells_at(&c, HS_Z, 0, &n);
    assert_int_equal(n, 2);
    assert_int_equal(at[0].from, 0);
    assert_int_equal(at[1].from, 10);
    at = hs_unit_cells_at(&c, HS_Z, 2, &n);
    assert_int_equal(n, 1);
    assert_int_equal(at->from, 15);
    hs_unit_cells_at(&c, HS_Z, 1, &n);
    assert_int_equal(n, 0);
    hs_unit_cells_at(&c, HS_MLP_OUT, 2, &n);
    assert_int_equal(n, 0);
    hs_unit_cells_points(&c, points);
    assert_true(points[0] == HS_BIT(HS_Z) && points[1] == HS_BIT(HS_MLP_OUT));
    assert_true(points[2] == HS_BIT(HS_Z) && points[3] == 0);
    hs_unit_cells_free(&c);
    hs_units_free(&u);
}

// ---- places -------------------------------------------------------------------------------------

static const hs_spans none;
static const hs_span spans[] = {{"subject", 2, 4}, {"end", 6, 7}, {"far", 5, 9}};

// Which of the seven positions, and one after them, are in the set.
static void holds(const char *text, const char *want) {
    hs_places p = {0};
    char have[9] = "";
    assert_int_equal(hs_places_check(text), HS_OK);
    // Resolved again, it forgets what it held.
    assert_int_equal(hs_places_resolve(&p, "0:2", 3, none, none), HS_OK);
    if (hs_places_resolve(&p, text, 7, none, (hs_spans){spans, 3}))
        fail_msg("%s: %s", text, hs_errmsg());
    for (int i = 0; i < 8; i++) have[i] = hs_places_has(&p, i) ? 'x' : '-';
    assert_string_equal(have, want);
    hs_places_free(&p);
}

static void places_hold_positions(void **state) {
    (void)state;
    holds("all", "xxxxxxxx");
    holds("3", "---x----");
    holds("-1", "------x-");
    holds("0+2:4+-2", "x-xx-x--");
    holds(":2", "xx------");
    holds("-3:", "----xxx-");
    holds("subject", "--xx----");
    holds("end+subject+0", "x-xx--x-");
}

static void names_of_a_prompt_come_first(void **state) {
    (void)state;
    static const hs_span own[] = {{"subject", 0, 1}, {"END", 4, 5}};
    const hs_spans given = {spans, 3}, of = {own, 2};
    hs_places p = {0};
    assert_int_equal(hs_places_resolve(&p, "subject+END+end", 7, of, given), HS_OK);
    for (int i = 0; i < 7; i++) assert_int_equal(hs_places_has(&p, i), i == 0 || i == 4 || i == 6);
    assert_int_equal(hs_places_resolve(&p, "END", 7, none, given), HS_OK); // else the last one
    for (int i = 0; i < 7; i++) assert_int_equal(hs_places_has(&p, i), i == 6);
    hs_places_free(&p);
}

static void unresolved(const char *text, int rc, const char *says) {
    hs_places p = {0};
    assert_int_equal(hs_places_check(text), HS_OK);
    if (hs_places_resolve(&p, text, 7, none, (hs_spans){spans, 3}) != rc)
        fail_msg("%s: %s", text, hs_errmsg());
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", text, hs_errmsg(), says);
    hs_places_free(&p);
}

static void places_that_a_prompt_lacks(void **state) {
    (void)state;
    unresolved("7", HS_ERANGE, "position 7 does not exist");
    unresolved("-8", HS_ERANGE, "position -8 does not exist");
    unresolved("3+5:8", HS_ERANGE, "5:8");
    unresolved("3:3", HS_ERANGE, "'3:3' holds no position");
    unresolved("5:3", HS_EARG, "backwards");
    unresolved("object", HS_ENOTFOUND, "the spans are subject, end, far");
    unresolved("far", HS_ERANGE, "span far=5:9 reaches outside the 7 positions");
    hs_places p = {0};
    assert_int_equal(hs_places_resolve(&p, "subject", 7, none, none), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "--span subject=A:B"));
    hs_places_free(&p);
}

static void places_that_a_prompt_may_lack(void **state) {
    (void)state;
    hs_places p = {0};
    assert_int_equal(hs_places_check("9?+subject?"), HS_OK);
    assert_int_equal(hs_places_resolve(&p, "9?+object?+6?+-9?", 7, none, (hs_spans){spans, 3}),
                     HS_OK);
    for (int i = 0; i < 7; i++) assert_int_equal(hs_places_has(&p, i), i == 6);
    assert_false(hs_places_none(&p));
    assert_int_equal(hs_places_resolve(&p, "7?+object?", 7, none, none), HS_OK);
    assert_true(hs_places_none(&p));
    assert_int_equal(hs_places_resolve(&p, "5:3?", 7, none, none), HS_EARG);
    assert_int_equal(hs_places_resolve(&p, "all", 7, none, none), HS_OK);
    assert_false(hs_places_none(&p));
    hs_places_free(&p);
}

static void places_that_are_none(void **state) {
    (void)state;
    static const char *const bad[] = {"?",    "3?+?", "",    "+",     "3+", "+3",
                                      "3++4", "1-2",  "--1", "3:4:5", "3x", "-",
                                      "0x3",  "3.5",  "1:x", "-1-",   ":-", "1234567890123456789"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hs_places_check(bad[i]) != HS_EARG) fail_msg("'%s' passed", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_written),
        cmocka_unit_test(ranges_stars_and_lists),
        cmocka_unit_test(sorted_and_each_once),
        cmocka_unit_test(a_layer_is_its_heads_where_layers_are_not),
        cmocka_unit_test(kinds_that_are_not_allowed),
        cmocka_unit_test(bad_syntax),
        cmocka_unit_test(what_the_model_lacks),
        cmocka_unit_test(groups_spread_into_heads),
        cmocka_unit_test(where_units_write),
        cmocka_unit_test(cells_of_a_row),
        cmocka_unit_test(places_hold_positions),
        cmocka_unit_test(names_of_a_prompt_come_first),
        cmocka_unit_test(places_that_a_prompt_lacks),
        cmocka_unit_test(places_that_a_prompt_may_lack),
        cmocka_unit_test(places_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
