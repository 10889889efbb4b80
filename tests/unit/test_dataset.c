// The generators of data sets: what they promise about every prompt.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "analyses/prompt.h"

static hs_tok *open_tok(const char *path) {
    hs_ckpt *ck;
    hs_tok *tok = NULL;
    if (hs_ckpt_open(&ck, path, false) || hs_tok_open(&tok, ck)) fail_msg("%s", hs_errmsg());
    hs_ckpt_close(ck);
    return tok;
}

// A set of `n_vocab` ids with the data set in it.
static hs_prompts *generate(const hs_tok *tok, enum hs_bos bos, int64_t n_vocab, const char *spec) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, bos, n_vocab), HS_OK);
    if (hs_prompts_add_dataset(p, spec)) fail_msg("%s: %s", spec, hs_errmsg());
    return p;
}

static void refuses(const hs_tok *tok, enum hs_bos bos, const char *spec, int rc,
                    const char *says) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, bos, 100), HS_OK);
    if (hs_prompts_add_dataset(p, spec) != rc || !strstr(hs_errmsg(), says))
        fail_msg("'%s': '%s' does not say '%s'", spec, hs_errmsg(), says);
    assert_int_equal(hs_prompts_count(p), 0);
    hs_prompts_close(p);
}

static void copies_repeat(void **state) {
    (void)state;
    hs_prompts *p = generate(NULL, HS_BOS_AUTO, 50, "repeat:k=7,r=4,n=5");
    assert_int_equal(hs_prompts_count(p), 5);
    for (int64_t i = 0; i < 5; i++) {
        const hs_prompt *a = hs_prompts_at(p, i);
        assert_int_equal(a->n_token, 28);
        assert_int_equal(a->period, 7);
        assert_int_equal(a->bos_len, 0);
        for (int64_t j = 0; j < 28; j++) assert_in_range(a->tokens[j], 0, 49);
        for (int64_t j = 7; j < 28; j++) assert_int_equal(a->tokens[j], a->tokens[j - 7]);
        for (int64_t k = 0; k < i; k++)
            assert_memory_not_equal(a->tokens, hs_prompts_at(p, k)->tokens, 7 * sizeof(int32_t));
    }
    hs_prompts_close(p);
    p = generate(NULL, HS_BOS_NO, 50, "repeat");
    assert_int_equal(hs_prompts_count(p), 1);
    assert_int_equal(hs_prompts_at(p, 0)->n_token, 100);
    assert_int_equal(hs_prompts_at(p, 0)->period, 50);
    hs_prompts_close(p);
}

static void seeds_decide(void **state) {
    (void)state;
    hs_prompts *a = generate(NULL, HS_BOS_AUTO, 1000, "repeat:n=2");
    hs_prompts *b = generate(NULL, HS_BOS_AUTO, 1000, "repeat:n=2,seed=0");
    hs_prompts *c = generate(NULL, HS_BOS_AUTO, 1000, "repeat:n=2,seed=1");
    const size_t bytes = 100 * sizeof(int32_t);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(hs_prompts_at(a, i)->tokens, hs_prompts_at(b, i)->tokens, bytes);
        assert_memory_not_equal(hs_prompts_at(a, i)->tokens, hs_prompts_at(c, i)->tokens, bytes);
    }
    hs_prompts_close(a);
    hs_prompts_close(b);
    hs_prompts_close(c);
}

static void only_ordinary_tokens_are_drawn(void **state) {
    (void)state;
    hs_tok *tok = open_tok("tests/golden/data/tok_llama3");
    const int64_t n_vocab = (int64_t)hs_tok_n_vocab(tok) + 20; // a padded embedding
    hs_prompts *p = generate(tok, HS_BOS_AUTO, n_vocab, "repeat:k=4000,r=1");
    const hs_prompt *a = hs_prompts_at(p, 0);
    assert_int_equal(a->bos_len, 1); // this tokenizer puts it in front
    assert_int_equal(a->tokens[0], hs_tok_bos(tok));
    assert_int_equal(a->n_token, 4001);
    uint8_t seen[1000] = {0};
    for (int64_t i = 1; i < a->n_token; i++) {
        assert_false(hs_tok_is_special(tok, a->tokens[i]));
        assert_in_range(a->tokens[i], 0, hs_tok_n_vocab(tok) - 1);
        seen[a->tokens[i]] = 1;
    }
    // 4,000 draws of 480 ids leave hardly one out.
    int n_seen = 0;
    for (int i = 0; i < 1000; i++) n_seen += seen[i];
    assert_in_range(n_seen, 470, 480);
    hs_prompts_close(p);
    hs_tok_close(tok);
}

static void bos_follows_the_parameter_then_the_policy(void **state) {
    (void)state;
    static const struct {
        const char *tok;
        enum hs_bos bos;
        const char *spec;
        int bos_len;
    } cases[] = {
        {"tests/golden/data/tok_llama3", HS_BOS_AUTO, "repeat:k=3", 1},
        {"tests/golden/data/tok_llama3", HS_BOS_NO, "repeat:k=3", 0},
        {"tests/golden/data/tok_llama3", HS_BOS_YES, "repeat:k=3,bos=no", 0},
        {"tests/golden/data/tok_smollm", HS_BOS_AUTO, "repeat:k=3", 0},
        {"tests/golden/data/tok_smollm", HS_BOS_YES, "repeat:k=3", 1},
        {"tests/golden/data/tok_smollm", HS_BOS_NO, "repeat:k=3,bos=yes", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_tok *tok = open_tok(cases[i].tok);
        hs_prompts *p = generate(tok, cases[i].bos, 483, cases[i].spec);
        assert_int_equal(hs_prompts_at(p, 0)->bos_len, cases[i].bos_len);
        assert_int_equal(hs_prompts_at(p, 0)->n_token, 6 + cases[i].bos_len);
        hs_prompts_close(p);
        hs_tok_close(tok);
    }
    hs_tok *none = open_tok("tests/golden/data/tok_qwen2");
    refuses(none, HS_BOS_AUTO, "repeat:bos=yes", HS_EARG, "no BOS token");
    refuses(NULL, HS_BOS_YES, "repeat", HS_EARG, "no BOS token");
    hs_tok_close(none);
}

static void wrong_specs_are_refused(void **state) {
    (void)state;
    refuses(NULL, HS_BOS_AUTO, "repeats", HS_ENOTFOUND, "there are ");
    refuses(NULL, HS_BOS_AUTO, "", HS_ENOTFOUND, "there are ");
    refuses(NULL, HS_BOS_AUTO, "repeat:k=0", HS_EARG, "repeat: k=0");
    refuses(NULL, HS_BOS_AUTO, "repeat:len=3", HS_EARG, "k, r, n, seed and bos");
    refuses(NULL, HS_BOS_AUTO, "repeat:k=10000000,r=2", HS_EARG, "too long");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_repeat),
        cmocka_unit_test(seeds_decide),
        cmocka_unit_test(only_ordinary_tokens_are_drawn),
        cmocka_unit_test(bos_follows_the_parameter_then_the_policy),
        cmocka_unit_test(wrong_specs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
