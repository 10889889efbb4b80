// Names of points, heads and positions: every accepted form, and every kind of refusal.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "hooks/glob.h"
#include "hooks/names.h"

enum { N_LAYER = 12, N_HEAD = 4 };

// A model with everything but learned positions.
static const hs_dims dims = {
    .n_layer = N_LAYER,
    .n_head = N_HEAD,
    .n_kv_head = 2,
    .d_model = 32,
    .d_head = 8,
    .d_ff = 64,
    .n_vocab = 100,
    .points = (HS_BIT(HS_N_POINT) - 1) & ~HS_BIT(HS_POS_EMBED),
};

// Number of (point, set) pairs; -1 on failure.
static int selected(uint64_t mask[N_LAYER + 1], const char *sel) {
    memset(mask, 0, (N_LAYER + 1) * sizeof *mask);
    if (hs_points_select(mask, &dims, sel)) return -1;
    int n = 0;
    for (int l = 0; l <= N_LAYER; l++) n += __builtin_popcountll(mask[l]);
    return n;
}

static void picks(const char *sel, enum hs_point point, int layer) {
    uint64_t mask[N_LAYER + 1];
    const int set = layer < 0 ? N_LAYER : layer;
    if (selected(mask, sel) != 1 || mask[set] != HS_BIT(point))
        fail_msg("'%s' does not select exactly %s of layer %d (%s)", sel,
                 hs_point_infos[point].alias, layer, hs_errmsg());
}

static void picks_all_layers(const char *sel, enum hs_point point) {
    uint64_t mask[N_LAYER + 1];
    assert_int_equal(selected(mask, sel), N_LAYER);
    for (int l = 0; l < N_LAYER; l++) assert_true(mask[l] == HS_BIT(point));
}

static void refuses(const char *sel, int rc, const char *says) {
    uint64_t mask[N_LAYER + 1] = {0};
    if (hs_points_select(mask, &dims, sel) != rc || !strstr(hs_errmsg(), says))
        fail_msg("'%s': '%s' does not say '%s'", sel, hs_errmsg(), says);
}

static void every_name_is_found_again(void **state) {
    (void)state;
    for (int p = 0; p < HS_N_POINT; p++) {
        hs_buf name = {0};
        enum hs_point found;
        int layer, expect = hs_point_infos[p].scope == HS_SCOPE_LAYER ? 11 : -1;
        hs_point_name(&name, (enum hs_point)p, 11);
        assert_int_equal(hs_point_find(name.data, &found, &layer), HS_OK);
        assert_int_equal(found, p);
        assert_int_equal(layer, expect);
        hs_buf_free(&name);
    }
    enum hs_point point;
    int layer;
    assert_int_equal(hs_point_find("blocks.3.hook_out", &point, &layer), HS_OK);
    assert_int_equal(point, HS_RESID_POST);
    assert_int_equal(layer, 3);
    static const char *const wrong[] = {
        "",
        "z",
        "blocks.x.hook_resid_pre",
        "blocks..hook_resid_pre",
        "blocks.03.hook_resid_pre",
        "blocks.3.hook_resid_pre ",
        "blocks.9999999.hook_resid_pre",
        "blocks.-1.hook_resid_pre",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(hs_point_find(wrong[i], &point, &layer), HS_ENOTFOUND);
}

static void names_of_the_stream_are_as_documented(void **state) {
    (void)state;
    hs_buf b = {0};
    hs_point_name(&b, HS_PATTERN, 3);
    assert_string_equal(b.data, "blocks.3.attn.hook_pattern");
    hs_point_name(&b, HS_LOGITS, -1);
    assert_string_equal(b.data, "blocks.3.attn.hook_patternlogits");
    hs_buf_free(&b);
}

static void shapes_follow_the_sizes(void **state) {
    (void)state;
    int64_t s[4];
    assert_int_equal(hs_point_shape(&dims, HS_K, 7, s), 3);
    assert_true(s[0] == 7 && s[1] == 2 && s[2] == 8 && s[3] == 1);
    assert_int_equal(hs_point_shape(&dims, HS_PATTERN, 7, s), 3);
    assert_true(s[0] == 4 && s[1] == 7 && s[2] == 7);
    assert_int_equal(hs_point_shape(&dims, HS_ROW_STATS, 7, s), 3);
    assert_true(s[0] == 4 && s[1] == HS_N_STAT && s[2] == 7);
    assert_int_equal(hs_point_shape(&dims, HS_MLP_POST, 7, s), 2);
    assert_true(s[0] == 7 && s[1] == 64);
    assert_int_equal(hs_point_shape(&dims, HS_LOGITS, 7, s), 2);
    assert_true(s[1] == 100);
}

static void one_point_has_many_spellings(void **state) {
    (void)state;
    picks("blocks.3.attn.hook_z", HS_Z, 3);
    picks("z:3", HS_Z, 3);
    picks("z.3", HS_Z, 3);
    picks("z3", HS_Z, 3);
    picks("z3a", HS_Z, 3);
    picks("blocks.3.attn.o.hook_in", HS_Z, 3);
    picks("blocks.3.attn.*_z", HS_Z, 3);
    picks("*s.3.at*_?attern", HS_PATTERN, 3);
}

static void aliases_and_synonyms(void **state) {
    (void)state;
    picks_all_layers("attn", HS_PATTERN);
    picks_all_layers("attn_logits", HS_SCORES);
    picks_all_layers("resid_pre", HS_RESID_PRE);
    picks_all_layers("row_stats", HS_ROW_STATS);
    picks_all_layers("query", HS_Q);
    picks_all_layers("blocks.{0..11}.hook_out", HS_RESID_POST);
    picks("scale", HS_LNF_SCALE, -1);
    picks("scale:4:ln1", HS_LN1_SCALE, 4);
    picks("normalized4ln2", HS_LN2_NORMALIZED, 4);
    picks("pre2m", HS_MLP_PRE, 2);
    picks("pre_linear:2", HS_MLP_PRE_LINEAR, 2);
    picks("key11", HS_K, 11);
    picks("unembed.hook_out", HS_LOGITS, -1);
    picks("logits", HS_LOGITS, -1);
    picks("ln_final.hook_normalized", HS_LNF_NORMALIZED, -1);
    picks("embed", HS_EMBED, -1);
}

static void globs_and_braces(void **state) {
    (void)state;
    uint64_t mask[N_LAYER + 1];
    assert_int_equal(selected(mask, "blocks.{0..3,11}.hook_resid_post,logits"), 6);
    assert_true(mask[3] == HS_BIT(HS_RESID_POST) && mask[11] == HS_BIT(HS_RESID_POST));
    assert_true(mask[4] == 0 && mask[N_LAYER] == HS_BIT(HS_LOGITS));
    assert_int_equal(selected(mask, "blocks.1?.hook_resid_{pre,mid,post}"), 6);
    assert_true(mask[10] == mask[11] && mask[1] == 0);
    assert_int_equal(selected(mask, "blocks.0.attn.hook_?"), 4); // q k v z
    assert_int_equal(selected(mask, "z:{0..2,5}"), 4);
    assert_int_equal(selected(mask, "{q,k}:{1,2}"), 4);
    assert_int_equal(selected(mask, "*hook_resid*"), 3 * N_LAYER);
    assert_int_equal(selected(mask, "{*.hook_z,*.hook_q}"), 2 * N_LAYER);
    assert_true(selected(mask, "blocks.0.attn.hook_*") > 5);
    assert_false(mask[0] & HS_BIT(HS_ATTN_OUT)); // which the bridge calls blocks.0.attn.hook_out
    // Names of the bridge count only where no name of ours matches: six of them end like this in a
    // layer, three outside, one of which this model lacks.
    assert_int_equal(selected(mask, "*.hook_out"), 6 * N_LAYER + 2);
    int all = selected(mask, "*"), a_layer = __builtin_popcountll(mask[0]);
    assert_int_equal(all, a_layer * N_LAYER + __builtin_popcountll(mask[N_LAYER]));
    assert_true((mask[0] | mask[N_LAYER]) == dims.points);
    // Repeating a selection adds nothing; a mask is or-ed into.
    assert_int_equal(selected(mask, "z,z,z:1"), N_LAYER);
    assert_int_equal(hs_points_select(mask, &dims, "v:1"), HS_OK);
    assert_true(mask[1] == (HS_BIT(HS_Z) | HS_BIT(HS_V)));
}

static void selections_that_match_nothing_say_why(void **state) {
    (void)state;
    refuses("", HS_ENOTFOUND, "no hook point");
    refuses("z,", HS_ENOTFOUND, "no hook point");
    refuses("zz", HS_ENOTFOUND, "no hook point");
    refuses("z:", HS_ENOTFOUND, "no hook point");
    refuses("z:1:ln1", HS_ENOTFOUND, "no hook point");
    refuses("scale:1", HS_ENOTFOUND, "no hook point");
    refuses("logits:1", HS_ENOTFOUND, "no hook point");
    refuses("z:12", HS_ENOTFOUND, "layers are 0 to 11");
    refuses("blocks.12.attn.hook_z", HS_ENOTFOUND, "layers are 0 to 11");
    refuses("blocks.{12..20}.attn.hook_z", HS_ENOTFOUND, "layers are 0 to 11");
    refuses("blocks.{3,12}.attn.hook_z", HS_ENOTFOUND, "'blocks.12.attn.hook_z' selects nothing");
    refuses("blocks.{10..12}.attn.hook_z", HS_ENOTFOUND, "layers are 0 to 11");
    refuses("z:{12,3}", HS_ENOTFOUND, "layers are 0 to 11");
    refuses("blocks.*.attn.hook_{q,nope}", HS_ENOTFOUND, "'blocks.*.attn.hook_nope' selects no");
    refuses("blocks.*.attn.hook_{nope,q}", HS_ENOTFOUND, "hook_nope");
    refuses("{*.hook_z,*.nothing}", HS_ENOTFOUND, "'*.nothing' selects no");
    refuses("hook_{embed,pos_embed}", HS_ENOTFOUND, "no learned positions");
    refuses("pos_embed", HS_ENOTFOUND, "no learned positions");
    refuses("z,hook_pos*", HS_ENOTFOUND, "no learned positions");
    refuses("blocks.{1.hook_z", HS_EARG, "pairs");
    refuses("blocks.1}.hook_z", HS_EARG, "pairs");
    refuses("blocks.{1,{2,3}}.hook_z", HS_EARG, "pairs");
    refuses("z:{3..1}", HS_EARG, "lower number");
    refuses("{0..99}{0..99}", HS_EARG, "more than");
    refuses("z:{0..999999999}", HS_EARG, "more than");
}

static void glob_matches_whole_names(void **state) {
    (void)state;
    assert_true(hs_glob_match("", ""));
    assert_true(hs_glob_match("*", ""));
    assert_true(hs_glob_match("a*b*c", "a.b.b.c"));
    assert_true(hs_glob_match("*ab", "aab"));
    assert_true(hs_glob_match("??", "ab"));
    assert_false(hs_glob_match("?", ""));
    assert_false(hs_glob_match("a*b", "abc"));
    assert_false(hs_glob_match("ab", "abc"));
    assert_false(hs_glob_match("abc", "ab"));
}

static int64_t heads(const char *sel, const char *members) {
    hs_heads h;
    assert_int_equal(hs_heads_parse(&h, &dims, sel), HS_OK);
    int64_t n = hs_heads_count(&h);
    for (int layer, head, used; sscanf(members, " %d.%d%n", &layer, &head, &used) == 2;
         members += used)
        assert_true(hs_heads_has(&h, layer, head));
    hs_heads_free(&h);
    return n;
}

static void heads_are_selected(void **state) {
    (void)state;
    assert_int_equal(heads("all", "0.0 11.3"), 48);
    assert_int_equal(heads("none", ""), 0);
    assert_int_equal(heads("L5H1", "5.1"), 1);
    assert_int_equal(heads("5.1", "5.1"), 1);
    assert_int_equal(heads("L0-3H*", "0.0 3.3"), 16);
    assert_int_equal(heads("L*H0-2", "0.0 11.2"), 36);
    assert_int_equal(heads("L0-3H*,L5H1+L11H3", "5.1 11.3 2.2"), 18);
    assert_int_equal(heads("0-1.2-3", "0.2 0.3 1.2 1.3"), 4);
    assert_int_equal(heads("L5H1,5.1", "5.1"), 1);
}

static void wrong_heads_are_refused(void **state) {
    (void)state;
    static const char *const syntax[] = {"",       "L5",    "L5H",   "H1",    "5",
                                         "5H1",    "L5.1",  "L5H1,", "L-1H0", "L5H1 ",
                                         "L3-1H0", "L1-H0", "a",     "L5H1-", "L5H12345678"};
    static const char *const range[] = {"L12H0", "L0H4", "L0-12H0", "5.4", "L5H1,L99H0"};
    hs_heads h;
    for (size_t i = 0; i < sizeof syntax / sizeof *syntax; i++) {
        if (hs_heads_parse(&h, &dims, syntax[i]) != HS_EARG) fail_msg("'%s' is taken", syntax[i]);
        assert_null(h.on);
    }
    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        if (hs_heads_parse(&h, &dims, range[i]) != HS_ERANGE) fail_msg("'%s' is taken", range[i]);
        assert_non_null(strstr(hs_errmsg(), "layers are 0 to 11, heads 0 to 3"));
    }
}

static void positions_count_from_both_ends(void **state) {
    (void)state;
    int64_t p;
    assert_int_equal(hs_pos_parse(&p, 10, "3"), HS_OK);
    assert_int_equal(p, 3);
    assert_int_equal(hs_pos_parse(&p, 10, "-1"), HS_OK);
    assert_int_equal(p, 9);
    assert_int_equal(hs_pos_parse(&p, 10, "-10"), HS_OK);
    assert_int_equal(p, 0);
    assert_int_equal(hs_pos_parse(&p, 10, "10"), HS_ERANGE);
    assert_int_equal(hs_pos_parse(&p, 10, "-11"), HS_ERANGE);
    assert_int_equal(hs_pos_parse(&p, 0, "0"), HS_ERANGE);
    static const char *const wrong[] = {
        "", "-", "x", "3x", " 3", "+3", "3:4", "1e3", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(hs_pos_parse(&p, 10, wrong[i]), HS_EARG);
}

static void ranges_are_half_open(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t from, to;
    } good[] = {
        {"3:10", 3, 10}, {":4", 0, 4},   {"-5:", 5, 10}, {":", 0, 10},    {"3", 3, 4},
        {"-1", 9, 10},   {"2:-1", 2, 9}, {"4:4", 4, 4},  {"10:", 10, 10},
    };
    int64_t from, to;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(hs_range_parse(&from, &to, 10, good[i].text), HS_OK);
        assert_int_equal(from, good[i].from);
        assert_int_equal(to, good[i].to);
    }
    assert_int_equal(hs_range_parse(&from, &to, 10, "3:11"), HS_ERANGE);
    assert_int_equal(hs_range_parse(&from, &to, 10, "-11:"), HS_ERANGE);
    assert_int_equal(hs_range_parse(&from, &to, 10, "11:"), HS_ERANGE);
    assert_int_equal(hs_range_parse(&from, &to, 10, "10"), HS_ERANGE);
    assert_int_equal(hs_range_parse(&from, &to, 10, "5:3"), HS_EARG);
    assert_int_equal(hs_range_parse(&from, &to, 10, "1:2:3"), HS_EARG);
    assert_int_equal(hs_range_parse(&from, &to, 10, "a:"), HS_EARG);
    assert_int_equal(hs_range_parse(&from, &to, 10, ""), HS_EARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_found_again),
        cmocka_unit_test(names_of_the_stream_are_as_documented),
        cmocka_unit_test(shapes_follow_the_sizes),
        cmocka_unit_test(one_point_has_many_spellings),
        cmocka_unit_test(aliases_and_synonyms),
        cmocka_unit_test(globs_and_braces),
        cmocka_unit_test(selections_that_match_nothing_say_why),
        cmocka_unit_test(glob_matches_whole_names),
        cmocka_unit_test(heads_are_selected),
        cmocka_unit_test(wrong_heads_are_refused),
        cmocka_unit_test(positions_count_from_both_ends),
        cmocka_unit_test(ranges_are_half_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
