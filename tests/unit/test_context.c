// Contexts: what they refuse, what a failure leaves behind, slots, which rows meet the head.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "tests/lib/laws.h"

static const int32_t ids[LAW_N_CTX + 1] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};

static int try_one(hs_context *x, hs_seq seq) {
    return hs_context_eval(x, &(hs_batch){.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_LAST});
}

static void bad_batches(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        const hs_seq one = {.tokens = ids, .n = 3};
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 0}), HS_ERANGE);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = -4}), HS_ERANGE);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = LAW_N_CTX + 1}), HS_ERANGE);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = INT64_MAX}), HS_ERANGE);
        assert_int_equal(try_one(x, (hs_seq){.tokens = NULL, .n = 1}), HS_EARG);
        const int32_t high[] = {1, 50}, low[] = {-1};
        assert_int_equal(try_one(x, (hs_seq){.tokens = high, .n = 2}), HS_ERANGE);
        assert_non_null(strstr(hs_errmsg(), "50 at position 1"));
        assert_int_equal(try_one(x, (hs_seq){.tokens = low, .n = 1}), HS_ERANGE);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 3, .n_prefix = 1}), HS_EARG);
        assert_null(hs_context_resid(x));
        assert_null(hs_context_logits(x));
        hs_batch b = {.seq = &one, .n_seq = 0};
        assert_int_equal(hs_context_eval(x, &b), HS_EARG);
        b = (hs_batch){.seq = &one, .n_seq = 1, .layer_from = 1};
        assert_int_equal(hs_context_eval(x, &b), HS_EARG); // no residual
        b = (hs_batch){.seq = &one, .n_seq = 1, .layer_to = 4};
        assert_int_equal(hs_context_eval(x, &b), HS_ERANGE);
        b = (hs_batch){.seq = &one, .n_seq = 1, .layer_from = 2, .layer_to = 1};
        assert_int_equal(hs_context_eval(x, &b), HS_ERANGE);
        b = (hs_batch){.seq = &one, .n_seq = 1, .layer_from = -1};
        assert_int_equal(hs_context_eval(x, &b), HS_ERANGE);
        const int64_t bad_rows[][2] = {{0, 0}, {1, 0}, {-1, 1}, {2, 3}};
        for (size_t k = 0; k < sizeof bad_rows / sizeof *bad_rows; k++) {
            b = (hs_batch){.seq = &one,
                           .n_seq = 1,
                           .logits = HS_LOGITS_ROWS,
                           .logit_row = bad_rows[k],
                           .n_logit_row = 2};
            assert_int_equal(hs_context_eval(x, &b), HS_ERANGE);
        }
        b.logit_row = NULL;
        assert_int_equal(hs_context_eval(x, &b), HS_EARG);
        b.n_logit_row = -1;
        assert_int_equal(hs_context_eval(x, &b), HS_EARG);
        b.n_logit_row = 0; // no row at all
        assert_int_equal(hs_context_eval(x, &b), HS_OK);
        assert_null(hs_context_logits(x));
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = LAW_N_CTX}), HS_OK);
        assert_non_null(hs_context_logits(x));
        hs_context_close(x);
        hs_model_close(m);
    }
}

static void bad_options(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const hs_context_opts bad[] = {{.kv_capacity = -1},
                                   {.n_slot = -1},
                                   {.row_block = -1},
                                   {.row_block = 1 << 20},
                                   {.kv_capacity = INT64_MAX},
                                   {.kv_capacity = 8, .tail_capacity = -1},
                                   {.kv_capacity = 8, .tail_capacity = 9},
                                   {.tail_capacity = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs_context *x;
        assert_int_equal(hs_context_open(&x, m, &bad[i]), HS_EARG);
        assert_null(x);
    }
    hs_context_close(NULL);
    hs_model_close(m);
}

static void slots(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 10, .n_slot = 3}, NULL);
    const hs_seq twice[] = {{.tokens = ids, .n = 2, .slot = 1}, {.tokens = ids, .n = 1, .slot = 1}};
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 2, .slot = 3}), HS_ERANGE);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 2, .slot = -2}), HS_ERANGE);
    assert_int_equal(hs_context_eval(x, &(hs_batch){.seq = twice, .n_seq = 2}), HS_EARG);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 11}), HS_ERANGE);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 6}), HS_OK);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 5}), HS_ERANGE);
    assert_int_equal(hs_context_len(x, 0), 6);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 4}), HS_OK);
    assert_int_equal(hs_context_len(x, 0), 10);
    assert_int_equal(hs_context_len(x, 1), 0);
    assert_int_equal(hs_context_len(x, 7), 0);

    // Prefixes: only positions that are there, of another slot that has none itself.
    const hs_seq lend = {.tokens = ids, .n = 3, .slot = 1, .prefix_slot = 0, .n_prefix = 4};
    hs_seq s = lend;
    s.n_prefix = 11;
    assert_int_equal(try_one(x, s), HS_ERANGE);
    s.n_prefix = -1;
    assert_int_equal(try_one(x, s), HS_ERANGE);
    s = lend;
    s.prefix_slot = 1;
    assert_int_equal(try_one(x, s), HS_ERANGE);
    assert_int_equal(try_one(x, lend), HS_OK);
    assert_int_equal(hs_context_len(x, 1), 7);
    s = lend;
    s.n = 7; // the capacity is for a slot's own positions
    assert_int_equal(try_one(x, s), HS_OK);
    assert_int_equal(hs_context_len(x, 1), 14);
    assert_int_equal(try_one(x, lend), HS_ERANGE);
    assert_int_equal(
        try_one(x, (hs_seq){.tokens = ids, .n = 1, .slot = 2, .prefix_slot = 1, .n_prefix = 2}),
        HS_ERANGE);
    s.n = 1;
    s.n_prefix = 3; // it began with 4
    assert_int_equal(try_one(x, s), HS_EARG);
    s.n_prefix = 0;
    assert_int_equal(try_one(x, s), HS_EARG);
    hs_context_truncate(x, 0, 3);
    assert_int_equal(try_one(x, lend), HS_ERANGE); // no longer there
    hs_context_truncate(x, 1, 5);
    assert_int_equal(hs_context_len(x, 1), 5);
    hs_context_truncate(x, 1, 9);
    assert_int_equal(hs_context_len(x, 1), 5);
    hs_context_truncate(x, 1, 4);
    assert_int_equal(hs_context_len(x, 1), 4); // the prefix alone
    hs_context_truncate(x, 1, 3);
    assert_int_equal(hs_context_len(x, 1), 0);
    hs_context_truncate(x, 9, 0);
    hs_context_truncate(x, -1, -1);
    s = (hs_seq){.tokens = ids, .n = 10, .slot = 1}; // an empty slot begins anew
    assert_int_equal(try_one(x, s), HS_OK);
    hs_context_close(x);
    hs_model_close(m);
}

// Sequences without a slot leave nothing behind, go with any number of others, and take no room of
// the slots.
static void without_slots(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i += LAW_N_SPEC) {
        hs_model *m = law_model(i);
        const size_t n = LAW_N_VOCAB * sizeof(float);
        hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 6, .n_slot = 2}, NULL);
        hs_context *y = law_context(m, (hs_context_opts){0}, NULL);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 5}), HS_OK);
        hs_seq none = {.tokens = ids + 4, .n = 9, .slot = HS_SLOT_NONE, .n_prefix = 4};
        const hs_seq batch[] = {none, none, {.tokens = ids + 5, .n = 1}, none};
        law_eval(x, &(hs_batch){.seq = batch, .n_seq = 4, .logits = HS_LOGITS_LAST});
        law_eval_one(y, ids, 13, HS_LOGITS_LAST);
        for (int s = 0; s < 4; s++)
            if (s != 2)
                assert_memory_equal(hs_context_logits(x) + s * LAW_N_VOCAB, hs_context_logits(y),
                                    n);
        law_eval_one(y, ids, 6, HS_LOGITS_LAST);
        assert_memory_equal(hs_context_logits(x) + 2 * LAW_N_VOCAB, hs_context_logits(y), n);
        assert_int_equal(hs_context_len(x, 0), 6);
        assert_int_equal(hs_context_len(x, 1), 0);
        assert_int_equal(hs_context_len(x, HS_SLOT_NONE), 0);
        none.n_prefix = 7;
        assert_int_equal(try_one(x, none), HS_ERANGE);
        none.n_prefix = -1;
        assert_int_equal(try_one(x, none), HS_ERANGE);
        none.n_prefix = 4;
        none.prefix_slot = 1; // empty
        assert_int_equal(try_one(x, none), HS_ERANGE);
        none.prefix_slot = HS_SLOT_NONE;
        assert_int_equal(try_one(x, none), HS_ERANGE);
        none = (hs_seq){.tokens = ids, .n = LAW_N_CTX - 3, .slot = HS_SLOT_NONE, .n_prefix = 4};
        assert_int_equal(try_one(x, none), HS_ERANGE);
        none.n_prefix = 0;
        assert_int_equal(try_one(x, none), HS_OK);
        hs_context_close(x);
        hs_context_close(y);
        hs_model_close(m);
    }
}

// What follows a cut is what would have followed without the detour.
static void truncation(void **state) {
    (void)state;
    hs_model *m = law_model(1);
    const size_t n = LAW_N_VOCAB * sizeof(float);
    hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 32}, NULL);
    hs_context *y = law_context(m, (hs_context_opts){0}, NULL);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 6}), HS_OK);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids + 1, .n = 9}), HS_OK);
    hs_context_truncate(x, 0, 6);
    assert_int_equal(try_one(x, (hs_seq){.tokens = ids + 6, .n = 8}), HS_OK);
    assert_int_equal(try_one(y, (hs_seq){.tokens = ids, .n = 14}), HS_OK);
    assert_memory_equal(hs_context_logits(x), hs_context_logits(y), n);
    hs_context_close(x);
    hs_context_close(y);
    hs_model_close(m);
}

// A context that has grown gives what a fresh one gives.
static void growth(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        hs_context *x = law_context(m, (hs_context_opts){.row_block = 32}, NULL);
        for (int64_t n = 1; n <= LAW_N_CTX; n = 3 * n + 1) {
            const hs_seq seq[] = {{.tokens = ids, .n = n}, {.tokens = ids + 1, .n = n}};
            const hs_batch b = {.seq = seq, .n_seq = n == 1 ? 1 : 2, .logits = HS_LOGITS_LAST};
            hs_context *y = law_context(m, (hs_context_opts){0}, NULL);
            law_eval(x, &b);
            law_eval(y, &b);
            assert_memory_equal(hs_context_logits(x), hs_context_logits(y),
                                (size_t)(b.n_seq * LAW_N_VOCAB) * sizeof(float));
            hs_context_close(y);
        }
        hs_context_close(x);
        hs_model_close(m);
    }
}

// ---- callbacks that fail ------------------------------------------------------------------------

struct failing {
    enum hs_point point;
    bool write;
};

static int fail_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    const struct failing *f = ctx;
    (void)v;
    return s->point == f->point && write == f->write ? hs_fail(HS_ESTOP, "enough") : HS_OK;
}

static int fail_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    const struct failing *f = ctx;
    (void)worker;
    return t->point == f->point && write == f->write ? hs_fail(HS_ESTOP, "enough") : HS_OK;
}

static int fail_layer(void *ctx, int layer) {
    (void)ctx;
    return layer == 1 ? hs_fail(HS_ESTOP, "enough") : HS_OK;
}

static void failures(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const size_t n = LAW_N_VOCAB * sizeof(float);
        hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 20}, NULL);
        hs_context *y = law_context(m, (hs_context_opts){0}, NULL);
        uint64_t mask[CAP_LAYERS + 1];
        uint8_t tiles[CAP_LAYERS * CAP_HEADS];
        memset(mask, 0xff, sizeof mask);
        memset(tiles, 0x0f, sizeof tiles);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 5}), HS_OK);
        for (int p = 0; p < HS_N_POINT; p++)
            for (int write = 0; write <= hs_point_infos[p].writable; write++) {
                if (!hs_model_has_point(m, (enum hs_point)p, NULL)) continue;
                struct failing f = {(enum hs_point)p, write};
                const hs_tap tap = {.ctx = &f,
                                    .read = mask,
                                    .write = write ? mask : NULL,
                                    .tile_want = tiles,
                                    .rows = fail_rows,
                                    .tile = fail_tile};
                hs_context_set_tap(x, &tap);
                assert_int_equal(try_one(x, (hs_seq){.tokens = ids + 5, .n = 3}), HS_ESTOP);
                assert_string_equal(hs_errmsg(), "enough");
                assert_int_equal(hs_context_len(x, 0), 5);
                assert_null(hs_context_logits(x));
            }
        const hs_tap tap = {.layer_done = fail_layer};
        hs_context_set_tap(x, &tap);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids + 5, .n = 3}), HS_ESTOP);
        // The slot goes on as if nothing had happened.
        hs_context_set_tap(x, NULL);
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids + 5, .n = 4}), HS_OK);
        assert_int_equal(try_one(y, (hs_seq){.tokens = ids, .n = 9}), HS_OK);
        assert_memory_equal(hs_context_logits(x), hs_context_logits(y), n);
        hs_context_close(x);
        hs_context_close(y);
        hs_model_close(m);
    }
}

// ---- the head -----------------------------------------------------------------------------------

struct count {
    int64_t rows[HS_N_POINT];
};

static int count_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    struct count *c = ctx;
    (void)write;
    assert_int_equal(v->shape[0], s->n_row);
    c->rows[s->point] += s->n_row;
    return HS_OK;
}

// The final norm is watched over all rows, whatever meets the head.
static void head_rows(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    uint64_t mask[CAP_LAYERS + 1] = {0};
    mask[3] = HS_BIT(HS_LNF_SCALE) | HS_BIT(HS_LNF_NORMALIZED) | HS_BIT(HS_LOGITS);
    const int64_t want[] = {
        [HS_LOGITS_NONE] = 0, [HS_LOGITS_LAST] = 2, [HS_LOGITS_ALL] = 11, [HS_LOGITS_ROWS] = 5};
    const int64_t rows[] = {0, 4, 5, 9, 10};
    const hs_seq seq[] = {{.tokens = ids, .n = 7}, {.tokens = ids, .n = 4}};
    for (int logits = 0; logits < 4; logits++) {
        struct count c = {{0}};
        const hs_tap tap = {.ctx = &c, .read = mask, .rows = count_rows};
        hs_context *x = law_context(m, (hs_context_opts){.row_block = 3}, &tap);
        hs_batch b = {.seq = seq,
                      .n_seq = 2,
                      .logits = (enum hs_logits)logits,
                      .logit_row = rows,
                      .n_logit_row = 5};
        law_eval(x, &b);
        assert_int_equal(c.rows[HS_LNF_SCALE], 11);
        assert_int_equal(c.rows[HS_LNF_NORMALIZED], 11);
        assert_int_equal(c.rows[HS_LOGITS], want[logits]);
        assert_int_equal(hs_context_logits(x) != NULL, logits == HS_LOGITS_LAST);
        // Short of the last layer nothing meets the final norm.
        c = (struct count){{0}};
        b.layer_to = 2;
        law_eval(x, &b);
        assert_int_equal(c.rows[HS_LNF_SCALE] + c.rows[HS_LOGITS], 0);
        assert_null(hs_context_logits(x));
        hs_context_close(x);
    }
    // Each of the norm's points alone is enough.
    for (int p = HS_LNF_SCALE; p <= HS_LNF_NORMALIZED; p++) {
        struct count c = {{0}};
        mask[3] = HS_BIT(p);
        const hs_tap tap = {.ctx = &c, .read = mask, .rows = count_rows};
        hs_context *x = law_context(m, (hs_context_opts){0}, &tap);
        law_eval(x, &(hs_batch){.seq = seq, .n_seq = 2, .logits = HS_LOGITS_LAST});
        assert_int_equal(c.rows[p], 11);
        law_eval(x, &(hs_batch){.seq = seq, .n_seq = 2});
        assert_int_equal(c.rows[p], 22);
        hs_context_close(x);
    }
    hs_model_close(m);
}

static void memory(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const hs_memory one = hs_context_memory(m, NULL, 1, HS_LOGITS_NONE);
    const hs_memory many = hs_context_memory(m, NULL, 1001, HS_LOGITS_NONE);
    // A row: the residual and its rotations; keys and values of one layer.
    assert_int_equal(many.rows - one.rows, 1000 * 4 * (24 + 8));
    assert_true(many.keys >= 1001 * 4 * 2 * 16);
    assert_true(many.keys < 1001 * 4 * 2 * 16 * 3); // in whole vectors and panels
    assert_int_equal(many.block, one.block);
    assert_true(many.scratch >= one.scratch);
    const hs_context_opts kept = {.kv_capacity = 1001, .n_slot = 2};
    const hs_memory all = hs_context_memory(m, &kept, 1, HS_LOGITS_LAST);
    assert_int_equal(all.keys, 3 * 2 * many.keys);
    assert_int_equal(all.rows - one.rows, 4 * hs_model_config(m)->n_vocab);
    for (int64_t n = 200; n < 1000; n += 400) { // up to a row block
        const hs_memory some = hs_context_memory(m, NULL, n, HS_LOGITS_ROWS);
        assert_int_equal(some.block - one.block,
                         4 * (n < 256 ? n : 256) * hs_model_config(m)->n_vocab);
    }
    hs_model_close(m);
}

// Slots after the first hold what their tail takes, a prefix not counted; results do not depend.
static void tails(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    float want[LAW_N_VOCAB];
    const hs_context_opts kept = {.kv_capacity = 90, .n_slot = 2};
    const hs_context_opts less = {.kv_capacity = 90, .n_slot = 2, .tail_capacity = 3};
    const hs_memory all = hs_context_memory(m, &kept, 10, HS_LOGITS_LAST);
    assert_true(hs_context_memory(m, &less, 10, HS_LOGITS_LAST).keys < all.keys);
    for (int i = 0; i < 2; i++) {
        hs_context *x = law_context(m, i ? less : kept, NULL);
        const hs_seq tail = {.tokens = ids + 7, .n = 3, .slot = 1, .prefix_slot = 0, .n_prefix = 7};
        assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 10}), HS_OK);
        assert_int_equal(try_one(x, tail), HS_OK);
        if (!i) memcpy(want, hs_context_logits(x), sizeof want);
        assert_memory_equal(want, hs_context_logits(x), sizeof want);
        if (i)
            assert_int_equal(try_one(x, (hs_seq){.tokens = ids, .n = 1, .slot = 1, .n_prefix = 7}),
                             HS_ERANGE);
        hs_context_close(x);
    }
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tails),       cmocka_unit_test(bad_batches),
        cmocka_unit_test(bad_options), cmocka_unit_test(slots),
        cmocka_unit_test(truncation),  cmocka_unit_test(failures),
        cmocka_unit_test(head_rows),   cmocka_unit_test(memory),
        cmocka_unit_test(growth),      cmocka_unit_test(without_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
