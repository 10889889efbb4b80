// Decoding: greedy tokens are those of running the whole text anew each time, side by side as alone;
// what stops it, what is run, and whose turn it is.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/decode.h"
#include "tests/lib/laws.h"

enum { N = 12, MOST = 9, N_SEQ = 3 };

// The likeliest token after ids[0 .. n), from nothing kept.
static int32_t next_of(const hs_model *m, const int32_t *ids, int64_t n) {
    hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
    law_eval_one(x, ids, n, HS_LOGITS_LAST);
    const int32_t id = hs_argmax(hs_context_logits(x), LAW_N_VOCAB);
    hs_context_close(x);
    return id;
}

// Some texts end long before others, whose rows then move up in the batch.
static bool is_end(void *ctx, int32_t id) {
    (void)ctx;
    return id % 7 == 0;
}

static void greedy(void **state) {
    (void)state;
    int early = 0;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_context_opts opts = {.kv_capacity = N + MOST, .n_slot = N_SEQ};
        hs_context *x = law_context(m, opts, NULL);
        int32_t ids[N_SEQ][N + MOST], out[N_SEQ][MOST];
        hs_decoding seq[N_SEQ];
        for (int s = 0; s < N_SEQ; s++) {
            law_tokens(ids[s], N, 40u + (unsigned)s);
            seq[s] = (hs_decoding){.in = {.tokens = ids[s], .n = N - s, .slot = s}, .out = out[s]};
        }
        const hs_decode_opts o = {
            .context = x, .most = MOST, .logits = HS_LOGITS_LAST, .ends = is_end};
        assert_int_equal(hs_decode(&o, seq, N_SEQ), HS_OK);
        for (int s = 0; s < N_SEQ; s++) {
            const int64_t n = seq[s].n_out;
            assert_in_range(n, 1, MOST);
            assert_int_equal(hs_context_len(x, s), N - s + n - 1); // the last one is not run
            for (int k = 0; k < n; k++) {
                const int32_t want = next_of(m, ids[s], N - s + k);
                assert_int_equal(out[s][k], want);
                assert_true(is_end(NULL, want) ? k + 1 == n : k + 1 < n || n == MOST);
                ids[s][N - s + k] = want;
            }
            early += n < MOST;
        }
        hs_context_close(x);
        hs_model_close(m);
    }
    assert_in_range(early, 3, LAW_N_MODEL * N_SEQ - 3);
}

// Picks what a script says, and writes down what it is asked.
typedef struct script {
    const int32_t *say[2];
    int at[2];
    int64_t rows[8];
    int first[8], seqs[8], turns, fail_at;
} script;

static int on_turn(void *ctx, const int *seq, int n, int64_t n_row) {
    script *s = ctx;
    s->first[s->turns] = seq[0];
    s->seqs[s->turns] = n;
    s->rows[s->turns] = n_row;
    return ++s->turns == s->fail_at ? HS_ESTOP : HS_OK;
}

static int32_t on_pick(void *ctx, int seq, const float *logits) {
    script *s = ctx;
    assert_null(logits);
    return s->say[seq][s->at[seq]++];
}

static bool is_seven(void *ctx, int32_t id) {
    (void)ctx;
    return id == 7;
}

static void turns(void **state) {
    (void)state;
    static const int32_t a[] = {3, 7}, b[] = {1, 2, 4, 7};
    hs_model *m = law_model(0);
    for (int run_last = 0; run_last < 2; run_last++) {
        const hs_context_opts opts = {.kv_capacity = N + MOST, .n_slot = 2};
        hs_context *x = law_context(m, opts, NULL);
        int32_t ids[N], out[2][MOST];
        script s = {.say = {a, b}};
        law_tokens(ids, N, 5);
        hs_decoding seq[] = {{.in = {.tokens = ids, .n = 2, .slot = 0}, .out = out[0]},
                             {.in = {.tokens = ids, .n = 5, .slot = 1}, .out = out[1]}};
        const hs_decode_opts o = {.context = x,
                                  .most = 3,
                                  .run_last = run_last,
                                  .ctx = &s,
                                  .turn = on_turn,
                                  .pick = on_pick,
                                  .ends = is_seven};
        assert_int_equal(hs_decode(&o, seq, 2), HS_OK);
        assert_int_equal(seq[0].n_out, 2);
        assert_int_equal(seq[1].n_out, 3);
        assert_memory_equal(out[0], a, sizeof a);
        assert_memory_equal(out[1], b, 3 * sizeof *b);
        assert_int_equal(s.turns, run_last ? 4 : 3);
        assert_int_equal(s.rows[0], 7);
        assert_int_equal(s.rows[1], 2);
        assert_int_equal(s.seqs[2], run_last ? 2 : 1);
        assert_int_equal(s.first[2], run_last ? 0 : 1);
        if (run_last) assert_int_equal(s.first[3], 1);
        assert_int_equal(hs_context_len(x, 0), 2 + (run_last ? 2 : 1));
        assert_int_equal(hs_context_len(x, 1), 5 + (run_last ? 3 : 2));
        hs_context_close(x);
    }
    hs_model_close(m);
}

// No token at all, and a turn that says stop.
static void ends_early(void **state) {
    (void)state;
    static const int32_t a[] = {3, 4, 5};
    hs_model *m = law_model(0);
    hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = N + MOST}, NULL);
    int32_t ids[N], out[MOST];
    script s = {.say = {a, a}, .fail_at = 2};
    law_tokens(ids, N, 5);
    hs_decoding d = {.in = {.tokens = ids, .n = 4}, .out = out};
    hs_decode_opts o = {.context = x, .ctx = &s, .turn = on_turn, .pick = on_pick};
    assert_int_equal(hs_decode(&o, &d, 1), HS_OK);
    assert_int_equal(d.n_out, 0);
    assert_int_equal(hs_context_len(x, 0), 4);
    hs_context_truncate(x, 0, 0);
    s.turns = 0;
    o.most = 3;
    assert_int_equal(hs_decode(&o, &d, 1), HS_ESTOP);
    assert_int_equal(hs_context_len(x, 0), 4);
    hs_context_close(x);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy), cmocka_unit_test(turns),
                                       cmocka_unit_test(ends_early)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
