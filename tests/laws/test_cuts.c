// How the rows are cut into evaluations, batches, blocks, tiles, layer ranges and threads never
// matters: the laws that hold to the bit, on random small models of every family and container.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/lib/laws.h"

// ---- layer ranges -------------------------------------------------------------------------

static void layer_ranges(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const int n_layer = (int)hs_model_config(m)->n_layer;
        cap whole;
        law_run(&whole, m, (hs_context_opts){0}, 1, LAW_T);
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        const hs_seq seq = {.tokens = ids, .n = LAW_T};
        for (int kept = 0; kept < 2; kept++)
            for (int cut = 0; cut <= n_layer; cut++) {
                cap parts;
                cap_open(&parts, m, LAW_N_CTX);
                hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = kept ? LAW_T : 0},
                                            &parts.tap);
                if (cut) {
                    law_eval(x, &(hs_batch){.seq = &seq, .n_seq = 1, .layer_to = cut});
                    // Short of the last layer no timeline moves.
                    assert_int_equal(hs_context_len(x, 0), kept && cut == n_layer ? LAW_T : 0);
                    hs_context_truncate(x, 0, 0);
                    law_eval(x, &(hs_batch){.seq = &(hs_seq){.n = LAW_T},
                                            .n_seq = 1,
                                            .layer_from = cut,
                                            .resid = hs_context_resid(x),
                                            .logits = HS_LOGITS_ALL});
                } else
                    law_eval_one(x, ids, LAW_T, HS_LOGITS_ALL);
                assert_int_equal(hs_context_len(x, 0), kept && cut < n_layer ? LAW_T : 0);
                cap_same(&whole, 0, &parts, 0, 0, LAW_T, LAW_ALL);
                cap_close(&parts);
                hs_context_close(x);
            }
        cap_close(&whole);
        hs_model_close(m);
    }
}

// ---- 8, 9, 10, 13: however the rows are cut -----------------------------------------------------

static void token_by_token(void **state) {
    (void)state;
    const int cuts[][4] = {{1, 1, 1, 1}, {7, 1, 20, 3}, {40, 1, 1, 1}};
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (int j = 0; j < 3; j++) {
            hs_model *m = law_model(i);
            cap whole, parts;
            int32_t ids[LAW_T];
            law_tokens(ids, LAW_T, 1);
            law_run(&whole, m, (hs_context_opts){0}, 1, LAW_T);
            cap_open(&parts, m, LAW_N_CTX);
            hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 64, .row_block = 8},
                                        &parts.tap);
            for (int at = 0, k = 0; at < LAW_T; k++) {
                const int left = LAW_T - at, n = cuts[j][k % 4] < left ? cuts[j][k % 4] : left;
                law_eval_one(x, ids + at, n, HS_LOGITS_ALL);
                at += n;
                assert_int_equal(hs_context_len(x, 0), at);
            }
            cap_same(&whole, 0, &parts, 0, 0, LAW_T, LAW_ALL);
            cap_close(&whole);
            cap_close(&parts);
            hs_context_close(x);
            hs_model_close(m);
        }
}

// A ragged batch, in blocks that cross its sequences.
static void batches(void **state) {
    (void)state;
    const int64_t lens[] = {5, 1, 41, 17, 1, 30};
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (int kept = 0; kept < 2; kept++) {
            hs_model *m = law_model(i);
            const int64_t v = hs_model_config(m)->n_vocab;
            int32_t ids[6][LAW_T];
            hs_seq seq[6];
            cap batch;
            cap_open(&batch, m, LAW_N_CTX);
            for (int s = 0; s < 6; s++) {
                law_tokens(ids[s], LAW_T, (uint64_t)s + 1);
                seq[s] = (hs_seq){.tokens = ids[s], .n = lens[s], .slot = 5 - s};
            }
            hs_context *x = law_context(
                m, (hs_context_opts){.kv_capacity = kept ? 50 : 0, .n_slot = 6, .row_block = 12},
                &batch.tap);
            law_eval(x, &(hs_batch){.seq = seq, .n_seq = 6, .logits = HS_LOGITS_ALL});
            cap last;
            cap_open(&last, m, LAW_N_CTX);
            memset(last.read, 0, sizeof last.read);
            last.read[hs_model_config(m)->n_layer] = HS_BIT(HS_LOGITS);
            hs_context *y = law_context(m, (hs_context_opts){.row_block = 4}, &last.tap);
            law_eval(y, &(hs_batch){.seq = seq, .n_seq = 6, .logits = HS_LOGITS_LAST});
            for (int s = 0; s < 6; s++) {
                cap alone;
                law_run(&alone, m, (hs_context_opts){0}, (uint64_t)s + 1, lens[s]);
                cap_same(&alone, 0, &batch, s, 0, lens[s], LAW_ALL);
                cap_same(&alone, 0, &last, s, lens[s] - 1, lens[s], HS_BIT(HS_LOGITS));
                assert_memory_equal(
                    hs_context_logits(y) + s * v,
                    law_row(&alone, (int)alone.cfg->n_layer, HS_LOGITS, lens[s] - 1),
                    (size_t)v * sizeof(float));
                cap_close(&alone);
            }
            cap_close(&batch);
            cap_close(&last);
            hs_context_close(x);
            hs_context_close(y);
            hs_model_close(m);
        }
}

static void cuts(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        const rand_spec s = law_spec(i);
        hs_model *m = law_model(i);
        cap base;
        law_run(&base, m, (hs_context_opts){0}, 1, 90);
        for (int64_t block = 1; block < 100; block = block * 3 + 1) {
            cap c;
            law_run(&c, m, (hs_context_opts){.row_block = block}, 1, 90);
            cap_same(&base, 0, &c, 0, 0, 90, LAW_ALL);
            cap_close(&c);
        }
        for (int64_t rows = 1; rows < 100; rows = rows * 5 + 2) {
            cap c;
            int32_t ids[90];
            law_tokens(ids, 90, 1);
            cap_open(&c, m, 90);
            c.tap.tile_rows = rows;
            hs_context *x = law_context(m, (hs_context_opts){0}, &c.tap);
            law_eval_one(x, ids, 90, HS_LOGITS_ALL);
            cap_same(&base, 0, &c, 0, 0, 90, LAW_ALL);
            cap_close(&c);
            hs_context_close(x);
        }
        for (int threads = 1; threads < 5; threads += 3)
            for (int keep = 0; keep < 2; keep++) {
                hs_model *other = law_open(
                    &s, &(hs_model_opts){.dev = {.threads = threads, .precision = law_precision(i)},
                                         .weights = keep ? HS_WEIGHT_KEEP : HS_WEIGHT_EXPAND});
                cap c;
                law_run(&c, other, (hs_context_opts){0}, 1, 90);
                cap_same(&base, 0, &c, 0, 0, 90, LAW_ALL);
                cap_close(&c);
                hs_model_close(other);
            }
        cap_close(&base);
        hs_model_close(m);
    }
}

// Results of many heads and logits of a large vocabulary leave in several pieces a block.
static void wide_points(void **state) {
    (void)state;
    rand_spec specs[] = {rand_default("attn_only", false), rand_default("llama", false)};
    specs[0].n_layer = 1;
    specs[0].n_head = specs[0].n_kv_head = 64;
    specs[0].d_model = 2048;
    specs[0].d_head = 2;
    specs[1].n_vocab = 150000;
    for (int i = 0; i < 2; i++) {
        hs_model *m = law_open(&specs[i], NULL);
        cap a, b;
        law_run(&a, m, (hs_context_opts){0}, 1, LAW_T);
        law_run(&b, m, (hs_context_opts){.row_block = 1}, 1, LAW_T);
        cap_same(&a, 0, &b, 0, 0, LAW_T, LAW_ALL);
        cap_close(&a);
        cap_close(&b);
        hs_model_close(m);
    }
}

// Sequences behind a shared prefix are those that begin with it.
static void prefixes(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        int32_t ids[3][LAW_T];
        cap c;
        cap_open(&c, m, LAW_N_CTX);
        hs_context *x = law_context(
            m, (hs_context_opts){.kv_capacity = 40, .n_slot = 4, .row_block = 16}, NULL);
        for (int s = 0; s < 3; s++) {
            law_tokens(ids[s], LAW_T, 1);
            law_tokens(ids[s] + 13, LAW_T - 13, (uint64_t)s + 20);
        }
        law_eval_one(x, ids[0], 20, HS_LOGITS_NONE);
        hs_context_set_tap(x, &c.tap);
        const hs_seq first[] = {
            {ids[0] + 13, 6, 1, 0, 13}, {ids[1] + 13, 11, 3, 0, 13}, {ids[2] + 13, 1, 2, 0, 13}};
        law_eval(x, &(hs_batch){.seq = first, .n_seq = 3, .logits = HS_LOGITS_ALL});
        assert_int_equal(hs_context_len(x, 3), 24);
        const hs_seq next[] = {{ids[0] + 19, LAW_T - 19, 1, 0, 13},
                               {ids[1] + 24, LAW_T - 24, 3, 0, 13},
                               {ids[2] + 14, LAW_T - 14, 2, 0, 13}};
        law_eval(x, &(hs_batch){.seq = next, .n_seq = 3, .logits = HS_LOGITS_ALL});
        for (int s = 0; s < 3; s++) {
            cap alone;
            cap_open(&alone, m, LAW_N_CTX);
            hs_context *y = law_context(m, (hs_context_opts){0}, &alone.tap);
            law_eval_one(y, ids[s], LAW_T, HS_LOGITS_ALL);
            cap_same(&alone, 0, &c, s, 13, LAW_T, LAW_ALL);
            cap_close(&alone);
            hs_context_close(y);
        }
        cap_close(&c);
        hs_context_close(x);
        hs_model_close(m);
    }
}

// Sequences without a slot, of ragged lengths behind prefixes of ragged lengths, in one batch and
// by layer ranges: the same, and the slot that lends the prefix is as it was.
static void prefixes_without_slots(void **state) {
    (void)state;
    const int64_t cut[] = {13, 40, 1, 0, 24, 13}, len[] = {28, 1, 17, 41, 9, 1};
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (int parts = 1; parts <= 2; parts++) {
            hs_model *m = law_model(i);
            int32_t ids[6][LAW_T];
            hs_seq seq[6];
            cap c;
            cap_open(&c, m, LAW_N_CTX);
            hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = 40, .row_block = 12},
                                        NULL);
            for (int s = 0; s < 6; s++) {
                law_tokens(ids[s], LAW_T, 1);
                law_tokens(ids[s] + cut[s], (int)(LAW_T - cut[s]), (uint64_t)s + 20);
                seq[s] = (hs_seq){.tokens = ids[s] + cut[s],
                                  .n = len[s],
                                  .slot = HS_SLOT_NONE,
                                  .n_prefix = cut[s]};
            }
            int32_t lend[LAW_T];
            law_tokens(lend, LAW_T, 1);
            law_eval_one(x, lend, 40, HS_LOGITS_NONE);
            hs_context_set_tap(x, &c.tap);
            const int64_t from = parts > 1 ? hs_model_config(m)->n_layer / 2 : 0;
            if (from) law_eval(x, &(hs_batch){.seq = seq, .n_seq = 6, .layer_to = (int)from});
            law_eval(x, &(hs_batch){.seq = seq,
                                    .n_seq = 6,
                                    .layer_from = (int)from,
                                    .resid = from ? hs_context_resid(x) : NULL,
                                    .logits = HS_LOGITS_ALL});
            assert_int_equal(hs_context_len(x, 0), 40);
            for (int s = 0; s < 6; s++) {
                cap alone;
                cap_open(&alone, m, LAW_N_CTX);
                hs_context *y = law_context(m, (hs_context_opts){0}, &alone.tap);
                law_eval_one(y, ids[s], cut[s] + len[s], HS_LOGITS_ALL);
                cap_same(&alone, 0, &c, s, cut[s], cut[s] + len[s], LAW_ALL);
                cap_close(&alone);
                hs_context_close(y);
            }
            cap_close(&c);
            hs_context_close(x);
            hs_model_close(m);
        }
}

// Logits by rows are those rows of all logits, whatever the blocks, the gaps, and whether somebody
// watches the final norm.
static void logits_by_rows(void **state) {
    (void)state;
    const int64_t lens[] = {5, 1, 41, 17, 1, 30};
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (int way = 0; way < 6; way++) {
            hs_model *m = law_model(i);
            const int n_layer = (int)hs_model_config(m)->n_layer;
            const int64_t v = hs_model_config(m)->n_vocab;
            int32_t ids[6][LAW_T];
            hs_seq seq[6];
            int64_t rows[95], n_rows = 0, n = 0;
            cap all, some;
            cap_open(&all, m, LAW_N_CTX);
            cap_open(&some, m, LAW_N_CTX);
            memset(some.read, 0, sizeof some.read);
            some.read[n_layer] = way % 2 ? LAW_ALL : HS_BIT(HS_LOGITS);
            for (int s = 0; s < 6; n_rows += lens[s++]) {
                law_tokens(ids[s], LAW_T, (uint64_t)s + 1);
                seq[s] = (hs_seq){.tokens = ids[s], .n = lens[s]};
            }
            for (int64_t r = 0; r < n_rows; r++)
                if (way < 2 || (way < 4 ? r % 7 == 6 : r % 5 != 0)) rows[n++] = r;
            hs_context *x = law_context(m, (hs_context_opts){.row_block = 12}, &some.tap);
            hs_context *y = law_context(m, (hs_context_opts){0}, &all.tap);
            law_eval(y, &(hs_batch){.seq = seq, .n_seq = 6, .logits = HS_LOGITS_ALL});
            law_eval(x, &(hs_batch){.seq = seq,
                                    .n_seq = 6,
                                    .logits = HS_LOGITS_ROWS,
                                    .logit_row = rows,
                                    .n_logit_row = n});
            assert_null(hs_context_logits(x));
            float *none = calloc((size_t)v, sizeof *none);
            assert_non_null(none);
            for (int64_t s = 0, r = 0, k = 0; s < 6; s++)
                for (int64_t t = 0; t < lens[s]; t++, r++) {
                    const bool listed = k < n && rows[k] == r;
                    const float *want = all.at[s][n_layer][HS_LOGITS].data + t * v;
                    const float *got = some.at[s][n_layer][HS_LOGITS].data;
                    k += listed;
                    if (listed) assert_non_null(got);
                    if (got)
                        assert_memory_equal(got + t * v, listed ? want : none,
                                            (size_t)v * sizeof *got);
                }
            free(none);
            cap_close(&all);
            cap_close(&some);
            hs_context_close(x);
            hs_context_close(y);
            hs_model_close(m);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_ranges),
        cmocka_unit_test(token_by_token),
        cmocka_unit_test(batches),
        cmocka_unit_test(cuts),
        cmocka_unit_test(wide_points),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(prefixes_without_slots),
        cmocka_unit_test(logits_by_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
