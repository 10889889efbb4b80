// Retrieval scores on random models: what is shared changes nothing, to the bit; both scores are those
// of whole maps of whole evaluations; masks act as they would alone.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/decode.h"
#include "analyses/experiments/retrieve.h"
#include "model/core/prng.h"
#include "tests/lib/laws.h"

// Few tokens, so that hits and passes are many; more tests than are walked at a time.
enum { N_TEST = 37, N_TOKEN = 26, N_VOCAB = 4, MOST_ANSWER = 4, MAX_NEW = 5, N_CELL = 64 };

struct tests {
    hs_model *model;
    hs_prompts *prompts;
    hs_needle needle[N_TEST];
    int32_t answer[N_TEST][MOST_ANSWER];
    hs_retrieve_opts opts;
    int64_t ord[N_TEST];
    int n_cell;
};

// Tests that share beginnings of all lengths, in no order; one prompt of one token, two equal ones.
static void make_tests(struct tests *t, int i) {
    rand_spec s = law_spec(i);
    hs_prng random = hs_prng_seed(11);
    int32_t base[N_TOKEN], ids[N_TOKEN];
    s.n_vocab = N_VOCAB;
    *t = (struct tests){
        .model = law_open(&s,
                          &(hs_model_opts){.dev = {.threads = 2, .precision = law_precision(i)}})};
    assert_int_equal(hs_prompts_open(&t->prompts, NULL, HS_BOS_AUTO, N_VOCAB), HS_OK);
    for (int k = 0; k < N_TOKEN; k++) base[k] = (int32_t)hs_prng_below(&random, N_VOCAB);
    for (int p = 0; p < N_TEST; p++) {
        const int64_t n = p == 5 ? 1 : N_TOKEN - (int64_t)hs_prng_below(&random, 6);
        const int64_t shared = (int64_t)hs_prng_below(&random, N_TOKEN);
        hs_needle *needle = &t->needle[p];
        for (int k = 0; k < N_TOKEN && p != 9; k++)
            ids[k] = k < shared ? base[k] : (int32_t)hs_prng_below(&random, N_VOCAB);
        assert_int_equal(
            hs_prompts_add_tokens(t->prompts, NULL, ids, p == 9 ? N_TOKEN : n, 0, 0, NULL), HS_OK);
        needle->from = n / 3;
        needle->to = n == 1 ? 1 : n / 3 + 1 + (int64_t)hs_prng_below(&random, 7);
        needle->n_answer = 1 + (int64_t)hs_prng_below(&random, MOST_ANSWER);
        needle->answer = t->answer[p];
        for (int k = 0; k < MOST_ANSWER; k++)
            t->answer[p][k] = (int32_t)hs_prng_below(&random, N_VOCAB);
        t->ord[p] = p;
    }
    t->opts = (hs_retrieve_opts){.model = t->model,
                                 .prompts = t->prompts,
                                 .needles = t->needle,
                                 .n_test = N_TEST,
                                 .max_new = MAX_NEW};
    t->n_cell = s.n_layer * s.n_head;
    assert_true(t->n_cell <= N_CELL);
}

static void close_tests(struct tests *t) {
    hs_prompts_close(t->prompts);
    hs_model_close(t->model);
}

struct kept {
    double recall, decoded[N_CELL], forced[N_CELL], soft[N_CELL];
    int32_t said[MAX_NEW];
    int64_t n_said, n_run;
    bool passed;
};
struct all {
    int n, n_cell;
    struct kept at[N_TEST];
};

static int keep(void *ctx, const hs_retrieve_result *r) {
    struct all *a = ctx;
    assert_int_equal(r->ord, a->n);
    struct kept *k = &a->at[a->n++];
    *k = (struct kept){
        .recall = r->recall, .n_said = r->n_said, .n_run = r->n_run, .passed = r->passed};
    memcpy(k->decoded, r->decoded, (size_t)a->n_cell * sizeof *k->decoded);
    memcpy(k->forced, r->forced, (size_t)a->n_cell * sizeof *k->forced);
    memcpy(k->soft, r->soft, (size_t)a->n_cell * sizeof *k->soft);
    memcpy(k->said, r->said, (size_t)r->n_said * sizeof *k->said);
    return HS_OK;
}

static void find_all(const struct tests *t, struct all *out) {
    memset(out, 0, sizeof *out);
    out->n_cell = t->n_cell;
    if (hs_retrieve(&t->opts, t->ord, N_TEST, keep, out)) fail_msg("%s", hs_errmsg());
    assert_int_equal(out->n, N_TEST);
}

// ---- sharing ----------------------------------------------------------------------------------

static void sharing_changes_nothing(void **state) {
    (void)state;
    struct all *shared = malloc(sizeof *shared), *scratch = malloc(sizeof *scratch);
    for (int i = 0; i < LAW_N_MODEL; i++) {
        struct tests t;
        int64_t run = 0, whole = 0;
        make_tests(&t, i);
        find_all(&t, shared);
        t.opts.from_scratch = true;
        find_all(&t, scratch);
        for (int p = 0; p < N_TEST; p++) {
            const int64_t n = hs_prompts_at(t.prompts, p)->n_token;
            run += shared->at[p].n_run;
            whole += scratch->at[p].n_run;
            assert_int_equal(scratch->at[p].n_run, n - 1);
            shared->at[p].n_run = n - 1;
        }
        assert_memory_equal(shared, scratch, sizeof *shared);
        assert_true(run < whole * 3 / 4);
        close_tests(&t);
    }
    free(shared);
    free(scratch);
}

// Each stretch that tests of a window begin with alike is run once: the tokens that are run are the
// nodes of the trie of the prompts.
static void shares_all_there_is(void **state) {
    (void)state;
    enum { FEW = 30 }; // within a window
    struct tests t;
    struct all *found = calloc(1, sizeof *found);
    int64_t run = 0, nodes = 0;
    make_tests(&t, 0);
    found->n_cell = t.n_cell;
    assert_int_equal(hs_retrieve(&t.opts, t.ord, FEW, keep, found), HS_OK);
    for (int p = 0; p < FEW; p++) {
        const hs_prompt *a = hs_prompts_at(t.prompts, p);
        run += found->at[p].n_run;
        for (int64_t n = 1; n < a->n_token; n++) { // is a beginning of n tokens new?
            bool fresh = true;
            for (int q = 0; q < p && fresh; q++) {
                const hs_prompt *b = hs_prompts_at(t.prompts, q);
                fresh = b->n_token <= n ||
                        memcmp(a->tokens, b->tokens, (size_t)n * sizeof *a->tokens) != 0;
            }
            nodes += fresh;
        }
    }
    assert_int_equal(run, nodes);
    free(found);
    close_tests(&t);
}

// ---- brute force ------------------------------------------------------------------------------

// The whole of ids[0 .. n) from nothing, all points.
static void look(const struct tests *t, cap *c, const int32_t *ids, int64_t n) {
    cap_open(c, t->model, n);
    hs_context *x = law_context(t->model, (hs_context_opts){0}, &c->tap);
    law_eval_one(x, ids, n, HS_LOGITS_ALL);
    hs_context_close(x);
}

// Key of the largest weight of the last row.
static int64_t top_key(const struct tests *t, const cap *c, int cell, int64_t row) {
    const int n_head = (int)hs_model_config(t->model)->n_head;
    const float *stats = c->at[0][cell / n_head][HS_ROW_STATS].data;
    return (int64_t)stats[(cell % n_head * HS_N_STAT + HS_STAT_ARGMAX) * c->t_max + row];
}

static double weight_at(const struct tests *t, const cap *c, int cell, int64_t row, int64_t key) {
    const int n_head = (int)hs_model_config(t->model)->n_head;
    const float *map = c->at[0][cell / n_head][HS_PATTERN].data;
    return (double)map[(cell % n_head * c->t_max + row) * c->t_max + key];
}

static bool in_needle(const hs_needle *n, const int32_t *ids, int64_t key, int32_t token) {
    return key >= n->from && key < n->to && ids[key] == token;
}

// Unigram recall of ids.
static double id_recall(const hs_needle *n, const int32_t *said, int64_t n_said) {
    int have[N_VOCAB] = {0}, hits = 0;
    for (int64_t i = 0; i < n_said; i++) have[said[i]]++;
    for (int64_t i = 0; i < n->n_answer; i++) hits += have[n->answer[i]]-- > 0;
    return (double)hits / (double)n->n_answer;
}

static void check_decoded(const struct tests *t, int p, const struct kept *k) {
    const hs_prompt *prompt = hs_prompts_at(t->prompts, p);
    const hs_needle *needle = &t->needle[p];
    int32_t ids[N_TOKEN + MAX_NEW];
    double hits[N_CELL] = {0};
    memcpy(ids, prompt->tokens, (size_t)prompt->n_token * sizeof *ids);
    for (int step = 0; step < MAX_NEW; step++) {
        const int64_t n = prompt->n_token + step;
        cap c;
        look(t, &c, ids, n);
        const int n_layer = (int)hs_model_config(t->model)->n_layer;
        ids[n] = hs_argmax(c.at[0][n_layer][HS_LOGITS].data + (n - 1) * N_VOCAB, N_VOCAB);
        for (int cell = 0; cell < t->n_cell; cell++)
            hits[cell] += in_needle(needle, ids, top_key(t, &c, cell, n - 1), ids[n]);
        cap_close(&c);
    }
    assert_int_equal(k->n_said, MAX_NEW);
    assert_memory_equal(k->said, ids + prompt->n_token, sizeof k->said);
    for (int cell = 0; cell < t->n_cell; cell++)
        assert_true(k->decoded[cell] == hits[cell] / (double)(needle->to - needle->from));
    assert_true(k->recall == id_recall(needle, k->said, k->n_said));
    assert_true(k->passed == (k->recall > 0.5));
}

static void check_forced(const struct tests *t, int p, const struct kept *k) {
    const hs_prompt *prompt = hs_prompts_at(t->prompts, p);
    const hs_needle *needle = &t->needle[p];
    const int64_t n = prompt->n_token + needle->n_answer;
    int32_t ids[N_TOKEN + MOST_ANSWER];
    cap c;
    memcpy(ids, prompt->tokens, (size_t)prompt->n_token * sizeof *ids);
    memcpy(ids + prompt->n_token, needle->answer, (size_t)needle->n_answer * sizeof *ids);
    look(t, &c, ids, n - 1);
    for (int cell = 0; cell < t->n_cell; cell++) {
        double hits = 0, soft = 0;
        for (int64_t row = prompt->n_token - 1; row < n - 1; row++) {
            const int32_t next = ids[row + 1];
            hits += in_needle(needle, ids, top_key(t, &c, cell, row), next);
            for (int64_t key = 0; key <= row; key++)
                if (in_needle(needle, ids, key, next)) soft += weight_at(t, &c, cell, row, key);
        }
        assert_true(k->forced[cell] == hits / (double)(needle->to - needle->from));
        assert_true(k->soft[cell] == soft / (double)needle->n_answer);
    }
    cap_close(&c);
}

static void scores_are_those_of_whole_maps(void **state) {
    (void)state;
    static const int models[] = {0, 3, 5, LAW_N_SPEC + 2};
    struct all *found = malloc(sizeof *found);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct tests t;
        int passed = 0;
        double hits = 0;
        make_tests(&t, models[i]);
        find_all(&t, found);
        for (int p = 0; p < N_TEST; p++) {
            check_decoded(&t, p, &found->at[p]);
            check_forced(&t, p, &found->at[p]);
            passed += found->at[p].passed;
            for (int cell = 0; cell < t.n_cell; cell++) hits += found->at[p].decoded[cell];
        }
        assert_in_range(passed, 1, N_TEST - 1); // of both kinds
        assert_true(hits > 5);
        close_tests(&t);
    }
    free(found);
}

// ---- masks ------------------------------------------------------------------------------------

static const char *const masks[] = {"ablate:L0H1,mode=uniform", "ablate:L0H0+L1H1,mode=uniform",
                                    "ablate:L*H*,mode=uniform"};
enum { N_MASK = sizeof masks / sizeof *masks, MANY = 30 };

struct recalls {
    double at[N_TEST][1 + MANY], f1[N_TEST]; // unmasked first; F1 is of the first mask
    int64_t next;                            // test that is to come
    int n_mask, n_said[N_TEST];
    int32_t said[N_TEST][MAX_NEW];
};

static int keep_recall(void *ctx, const hs_retrieve_masked_result *m) {
    struct recalls *r = ctx;
    assert_int_equal(m->ord, r->next++); // in their own order
    memcpy(r->at[m->ord], m->recall, (size_t)(1 + r->n_mask) * sizeof(double));
    r->f1[m->ord] = m->f1[r->n_mask > 0];
    r->n_said[m->ord] = (int)m->n_said;
    memcpy(r->said[m->ord], m->said, (size_t)m->n_said * sizeof(int32_t));
    return HS_OK;
}

static void run_masked(const struct tests *t, const hs_retrieve_masks *m, int64_t first, int64_t n,
                       struct recalls *found) {
    found->n_mask = m->n;
    found->next = first;
    if (hs_retrieve_masked(&t->opts, m, t->ord + first, n, keep_recall, found))
        fail_msg("%s", hs_errmsg());
    assert_int_equal(found->next, first + n);
}

// One mask on one test alone, NULL: none; the rows before the last token run without it, or not.
static void masked_alone(const struct tests *t, int64_t p, const char *spec, bool whole,
                         int32_t said[MAX_NEW]) {
    const hs_dims dims = hs_dims_of(t->model);
    const hs_prompt *prompt = hs_prompts_at(t->prompts, p);
    const hs_editing_opts opts = {.model = t->model, .prompts = t->prompts};
    const int64_t n = prompt->n_token - 1;
    const int n_spec = spec != NULL;
    hs_editing *e;
    hs_hooks *hooks;
    hs_context *x = law_context(t->model, (hs_context_opts){.kv_capacity = 40}, NULL);
    assert_int_equal(hs_editing_open(&e, &opts, &spec, n_spec), HS_OK);
    assert_int_equal(hs_hooks_open(&hooks, &dims), HS_OK);
    assert_int_equal(hs_editing_hook(e, hooks, 0, n_spec), HS_OK);
    assert_int_equal(hs_editing_aim(e, &(hs_editing_seq){p, 0, n_spec}, 1), HS_OK);
    if (n && !whole) law_eval_one(x, prompt->tokens, n, HS_LOGITS_NONE);
    hs_context_set_tap(x, hs_hooks_tap(hooks));
    if (n && whole) law_eval_one(x, prompt->tokens, n, HS_LOGITS_NONE);
    for (int k = 0; k < MAX_NEW; k++) {
        law_eval_one(x, k ? &said[k - 1] : prompt->tokens + n, 1, HS_LOGITS_LAST);
        said[k] = hs_argmax(hs_context_logits(x), N_VOCAB);
    }
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_editing_close(e);
}

// 2 * both / (words here + words there), ids being words.
static double id_f1(const hs_needle *needle, const int32_t *said) {
    return 2 * id_recall(needle, said, MAX_NEW) * (double)needle->n_answer /
           (double)(needle->n_answer + MAX_NEW);
}

static void check_alone(const struct tests *t, int64_t p, bool whole, const struct recalls *found) {
    int32_t said[MAX_NEW];
    masked_alone(t, p, NULL, whole, said);
    assert_int_equal(found->n_said[p], MAX_NEW);
    assert_memory_equal(found->said[p], said, sizeof said);
    assert_true(found->at[p][0] == id_recall(&t->needle[p], said, MAX_NEW));
    for (int k = 0; k < N_MASK; k++) {
        masked_alone(t, p, masks[k], whole, said);
        assert_true(found->at[p][1 + k] == id_recall(&t->needle[p], said, MAX_NEW));
        if (!k) assert_true(fabs(found->f1[p] - id_f1(&t->needle[p], said)) < 1e-15);
    }
}

static void masks_act_as_alone(void **state) {
    (void)state;
    static const int models[] = {0, 2, 5};
    struct recalls *found = malloc(sizeof *found), *one = malloc(sizeof *one);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int whole = 0; whole < 2; whole++) {
            const hs_retrieve_masks m = {.spec = masks, .n = N_MASK, .whole = whole};
            struct tests t;
            int differ = 0;
            make_tests(&t, models[i]);
            run_masked(&t, &m, 0, N_TEST, found);
            for (int p = 0; p < N_TEST; p++) {
                check_alone(&t, p, whole, found);
                differ += found->at[p][1] != found->at[p][2];
                run_masked(&t, &m, p, 1, one); // nothing is left of the one before
                assert_memory_equal(one->at[p], found->at[p], (1 + N_MASK) * sizeof(double));
            }
            assert_true(differ > 0);
            // Gone on with in the middle of a window, and past one.
            run_masked(&t, &m, 7, N_TEST - 7, one);
            for (int p = 7; p < N_TEST; p++)
                assert_memory_equal(one->at[p], found->at[p], (1 + N_MASK) * sizeof(double));
            close_tests(&t);
        }
    free(found);
    free(one);
}

// More masks than go side by side, and none at all.
static void many_masks(void **state) {
    (void)state;
    const char *spec[MANY];
    struct tests t;
    struct recalls *found = malloc(sizeof *found), *none = malloc(sizeof *none);
    for (int k = 0; k < MANY; k++) spec[k] = masks[k % N_MASK];
    make_tests(&t, 0);
    run_masked(&t, &(hs_retrieve_masks){.spec = spec, .n = MANY}, 0, N_TEST, found);
    run_masked(&t, &(hs_retrieve_masks){.n = 0}, 0, N_TEST, none);
    for (int p = 0; p < N_TEST; p++) {
        for (int k = N_MASK; k < MANY; k++)
            assert_true(found->at[p][1 + k] == found->at[p][1 + k % N_MASK]);
        assert_true(none->at[p][0] == found->at[p][0]);
    }
    free(found);
    free(none);
    close_tests(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sharing_changes_nothing),
        cmocka_unit_test(shares_all_there_is),
        cmocka_unit_test(scores_are_those_of_whole_maps),
        cmocka_unit_test(masks_act_as_alone),
        cmocka_unit_test(many_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
