// AttentionInfluence without a command: sets of heads and how they are drawn, losses of texts.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/influence.h"
#include "tests/lib/laws.h"

static const hs_dims dims = {.n_layer = 3, .n_head = 4, .n_kv_head = 4, .d_head = 8, .d_model = 32};

static hs_heads heads_of(const char *text) {
    hs_heads h;
    if (hs_heads_parse(&h, &dims, text)) fail_msg("%s", hs_errmsg());
    return h;
}

static void sets_have_names(void **state) {
    (void)state;
    static const struct {
        const char *text, *name;
    } cases[] = {{"none", "none"}, {"L2H3", "L2H3"}, {"L1H2,L0H1+L0H0", "L0H0+L0H1+L1H2"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_heads h = heads_of(cases[i].text);
        hs_buf name = {0};
        hs_influence_name(&name, &h);
        assert_string_equal(name.data, cases[i].name);
        hs_buf_free(&name);
        hs_heads_free(&h);
    }
}

static void draws_are_fair(void **state) {
    (void)state;
    enum { DRAWS = 6000, K = 3, OF = 10 };
    hs_heads from = heads_of("L0H*,L1H0-1,L2H*");
    hs_prng prng = hs_prng_seed(1);
    int seen[3][4] = {{0}};
    for (int d = 0; d < DRAWS; d++) {
        hs_buf name = {0}, again = {0};
        assert_int_equal(hs_influence_draw(&name, &prng, &from, K), HS_OK);
        hs_heads got = heads_of(name.data);
        assert_int_equal(hs_heads_count(&got), K);
        hs_influence_name(&again, &got);
        assert_string_equal(again.data, name.data);
        for (int l = 0; l < 3; l++)
            for (int h = 0; h < 4; h++) seen[l][h] += hs_heads_has(&got, l, h);
        hs_heads_free(&got);
        hs_buf_free(&name);
        hs_buf_free(&again);
    }
    for (int l = 0; l < 3; l++)
        for (int h = 0; h < 4; h++) {
            if (!hs_heads_has(&from, l, h)) assert_int_equal(seen[l][h], 0);
            if (!hs_heads_has(&from, l, h)) continue;
            assert_in_range(seen[l][h], DRAWS * K / OF - 180, DRAWS * K / OF + 180); // 5 sigma
        }
    hs_buf name = {0};
    assert_int_equal(hs_influence_draw(&name, &prng, &from, OF), HS_OK);
    assert_string_equal(name.data, "L0H0+L0H1+L0H2+L0H3+L1H0+L1H1+L2H0+L2H1+L2H2+L2H3");
    hs_buf_clear(&name);
    assert_int_equal(hs_influence_draw(&name, &prng, &from, 0), HS_OK);
    assert_string_equal(name.data, "none");
    assert_int_equal(hs_influence_draw(&name, &prng, &from, OF + 1), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "11 heads cannot be drawn from 10"));
    hs_buf_free(&name);
    hs_heads_free(&from);
}

static void scores(void **state) {
    (void)state;
    assert_true(hs_influence_score(2, 3) == 0.5);
    assert_true(hs_influence_score(2, 1) == -0.5);
    assert_true(hs_influence_score(0.7, 0.7) == 0);
    assert_true(isnan(hs_influence_score(0, 0)));
    assert_true(isnan(hs_influence_score(NAN, NAN)));
}

// ---- texts --------------------------------------------------------------------------------------

enum { N_TEXT = 4, N_SET = 4 };

struct seen {
    double base[N_TEXT], masked[N_TEXT][N_SET];
    int64_t n, order[N_TEXT];
};

static int keep(void *ctx, const hs_influence_text *text) {
    struct seen *s = ctx;
    s->order[s->n++] = text->ord;
    s->base[text->ord] = text->base;
    memcpy(s->masked[text->ord], text->masked, sizeof s->masked[0]);
    return HS_OK;
}

static void same(double a, double b) {
    if (!(a == b || (isnan(a) && isnan(b)))) fail_msg("%.17g, not %.17g", a, b);
}

// Masking none is the unedited run to the bit, sets and texts do not mind their neighbours, and heads
// masked together are masked in any order.
static void texts_are_measured(void **state) {
    (void)state;
    static const char *const set[N_SET] = {"none", "L0H1", "L1H0+L0H1", "L0H1+L1H0"};
    static const int length[N_TEXT] = {17, 2, 1, 9};
    for (int m = 0; m < LAW_N_MODEL; m++) {
        hs_model *model = law_model(m);
        hs_prompts *prompts;
        assert_int_equal(hs_prompts_open(&prompts, NULL, HS_BOS_NO, LAW_N_VOCAB), HS_OK);
        for (int i = 0; i < N_TEXT; i++) {
            int32_t ids[17];
            law_tokens(ids, length[i], (uint64_t)i + 3);
            assert_int_equal(hs_prompts_add_tokens(prompts, NULL, ids, length[i], 0, 0, NULL),
                             HS_OK);
        }
        const int64_t ord[N_TEXT] = {0, 1, 2, 3};
        hs_influence_opts opts = {.model = model, .prompts = prompts, .set = set, .n_set = N_SET};
        struct seen all = {.n = 0}, one = {.n = 0};
        if (hs_influence(&opts, ord, N_TEXT, keep, &all)) fail_msg("%s", hs_errmsg());
        assert_int_equal(all.n, N_TEXT);
        assert_memory_equal(all.order, ord, sizeof ord);
        for (int i = 0; i < N_TEXT; i++) {
            same(all.masked[i][0], all.base[i]);
            same(all.masked[i][2], all.masked[i][3]);
            assert_int_equal(isnan(all.base[i]), length[i] < 2);
            if (hs_influence(&opts, &ord[i], 1, keep, &one)) fail_msg("%s", hs_errmsg());
            same(one.base[i], all.base[i]);
            for (int k = 0; k < N_SET; k++) same(one.masked[i][k], all.masked[i][k]);
        }
        assert_true(all.masked[0][1] != all.base[0]);
        assert_true(all.masked[0][2] != all.masked[0][1]);
        one = (struct seen){.n = 0};
        opts.n_set = 1; // nothing is edited at all
        if (hs_influence(&opts, ord, N_TEXT, keep, &one)) fail_msg("%s", hs_errmsg());
        for (int i = 0; i < N_TEXT; i++) same(one.base[i], all.base[i]);
        hs_prompts_close(prompts);
        hs_model_close(model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_have_names),
        cmocka_unit_test(draws_are_fair),
        cmocka_unit_test(scores),
        cmocka_unit_test(texts_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
