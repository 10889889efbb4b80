// The first pass over a layer's maps: whoever asks for one sees every surveyed row of the pattern, as
// edits of scores leave it, before a row of the layer goes on, and nothing else changes: not with
// what is done to a surveyed tile, not in row blocks, tiles, batches, or on several threads.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/lib/laws.h"

enum { LAYER = 1, HEAD = 1, N_SEQ = 3, LOG = 4096 };

// Writes scores of the head, and surveys it. Everything is also captured.
struct probe {
    cap seen;
    hs_tap tap;
    uint64_t write[CAP_LAYERS + 1];
    uint8_t tiles[CAP_LAYERS * CAP_HEADS];
    int64_t limit[N_SEQ]; // rows to be surveyed
    int64_t next[N_SEQ];  // surveyed so far
    float pattern[N_SEQ][LAW_T][LAW_T];
    int n_scores; // tiles of scores in the survey
    // What went by, in order: layer 1's residuals, before and after, as '<' and '>'.
    char log[LOG];
    int n_log;
};

static int64_t on_survey(void *ctx, int layer, int seq) {
    const struct probe *p = ctx;
    return layer == LAYER ? p->limit[seq] : 0;
}

static void take(struct probe *p, const hs_tile *t) {
    assert_int_equal(t->row0, p->next[t->seq]);
    assert_int_equal(t->n_key, t->row0 + t->n_row);
    assert_null(t->stats);
    for (int64_t r = 0; r < t->n_row; r++)
        for (int64_t k = 0; k < t->n_key; k++) {
            float *x = &t->row[r * t->ld + k];
            if (k > t->row0 + r) assert_true(*x == 0);
            p->pattern[t->seq][t->row0 + r][k] = *x;
            *x = 99; // nobody goes on from here
        }
    p->next[t->seq] += t->n_row;
}

static int on_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    struct probe *p = ctx;
    const bool ours = t->layer == LAYER && t->head == HEAD;
    if (t->survey) assert_true(write && ours);
    if (!write) return p->seen.tap.tile(&p->seen, t, write, worker);
    assert_true(ours);
    if (!t->survey) assert_true(p->next[t->seq] >= p->limit[t->seq]);
    if (t->point == HS_SCORES) {
        p->n_scores += t->survey;
        for (int64_t r = 0; r < t->n_row; r++)
            for (int64_t k = 0; k <= t->row0 + r; k++) t->row[r * t->ld + k] *= 0.5f;
    } else if (t->survey) {
        take(p, t);
    }
    return HS_OK;
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct probe *p = ctx;
    if (site->layer == LAYER && (site->point == HS_RESID_PRE || site->point == HS_ATTN_OUT))
        p->log[p->n_log++] = site->point == HS_RESID_PRE ? '<' : '>';
    if (site->layer == LAYER && site->point == HS_ATTN_OUT)
        assert_true(p->next[site->seq] >= p->limit[site->seq]);
    assert_true(p->n_log < LOG);
    return p->seen.tap.rows(&p->seen, site, view, write);
}

static struct probe *open_probe(const hs_model *m) {
    struct probe *p = calloc(1, sizeof *p);
    assert_non_null(p);
    cap_open(&p->seen, m, LAW_N_CTX);
    memcpy(p->tiles, p->seen.tiles, sizeof p->tiles);
    p->tiles[LAYER * p->seen.cfg->n_head + HEAD] |= HS_TILE_WRITE_SCORES | HS_TILE_SURVEY;
    p->write[LAYER] = HS_BIT(HS_SCORES);
    p->tap = p->seen.tap;
    p->tap.ctx = p;
    p->tap.write = p->write;
    p->tap.tile_want = p->tiles;
    p->tap.rows = on_rows;
    p->tap.tile = on_tile;
    p->tap.survey = on_survey;
    p->tap.layer_done = NULL;
    return p;
}

static void close_probe(struct probe *p) {
    cap_close(&p->seen);
    free(p);
}

struct cut {
    int64_t block, tile;
    int first, n_seq; // the sequences of the batch
};

// Three sequences of 41, 23 and 9 tokens, or some of them.
static struct probe *run(const hs_model *m, struct cut cut, const int64_t limit[N_SEQ]) {
    static const int64_t length[N_SEQ] = {LAW_T, 23, 9};
    struct probe *p = open_probe(m);
    hs_seq seq[N_SEQ];
    int32_t ids[N_SEQ][LAW_T];
    for (int i = 0; i < cut.n_seq; i++) {
        const int s = cut.first + i;
        law_tokens(ids[i], LAW_T, (uint64_t)s + 1);
        seq[i] = (hs_seq){.tokens = ids[i], .n = length[s]};
        p->limit[i] = limit[s];
    }
    p->tap.tile_rows = cut.tile;
    hs_context *x = law_context(m, (hs_context_opts){.row_block = cut.block}, &p->tap);
    law_eval(x, &(hs_batch){.seq = seq, .n_seq = cut.n_seq, .logits = HS_LOGITS_ALL});
    hs_context_close(x);
    return p;
}

static const int64_t nobody[N_SEQ] = {0};
static const int64_t some[N_SEQ] = {30, 23, 0}; // part of the rows, all of them, none

// What was surveyed is what the layer went on with later.
static void check_maps(const struct probe *p, int s, int64_t n) {
    const cap_tensor *t = &p->seen.at[s][LAYER][HS_PATTERN];
    const int64_t ld = p->seen.t_max;
    assert_int_equal(p->next[s], n);
    for (int64_t i = 0; i < n; i++)
        assert_memory_equal(p->pattern[s][i], t->data + (HEAD * ld + i) * ld,
                            (size_t)(i + 1) * sizeof(float));
}

static void a_survey_shows_what_comes_and_changes_nothing(void **state) {
    (void)state;
    static const struct cut cuts[] = {{0, 0, 0, N_SEQ}, {16, 7, 0, N_SEQ}, {5, 1, 0, N_SEQ},
                                      {3, 0, 0, 1},     {7, 2, 1, 2},      {1, 0, 0, 2}};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        struct probe *plain = run(m, cuts[0], nobody);
        assert_int_equal(plain->next[0] + plain->next[1] + plain->n_scores, 0);
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            struct probe *p = run(m, cuts[c], some);
            for (int s = 0; s < cuts[c].n_seq; s++) {
                static const int64_t length[N_SEQ] = {LAW_T, 23, 9};
                const int of = cuts[c].first + s;
                check_maps(p, s, some[of]);
                cap_same(&plain->seen, of, &p->seen, s, 0, length[of], LAW_ALL);
            }
            assert_true(p->n_scores > 0);
            close_probe(p);
        }
        close_probe(plain);
        hs_model_close(m);
    }
}

// Only a layer with surveyed rows goes in halves.
static void other_layers_go_as_ever(void **state) {
    (void)state;
    static const int64_t all[N_SEQ] = {LAW_T, 0, 0};
    const struct cut cut = {16, 0, 0, 1};
    hs_model *m = law_model(0);
    struct probe *p = run(m, cut, nobody);
    assert_string_equal(p->log, "<><><>");
    close_probe(p);
    p = run(m, cut, all);
    assert_string_equal(p->log, "<<<>>>");
    close_probe(p);
    hs_model_close(m);
}

// A row that comes after those to be surveyed is no concern of the survey.
static void decoded_rows_are_not_surveyed(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i += LAW_N_SPEC) {
        hs_model *m = law_model(i);
        struct probe *whole = run(m, (struct cut){0, 0, 0, 1}, some), *p = open_probe(m);
        hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = LAW_T}, &p->tap);
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        p->limit[0] = some[0];
        law_eval_one(x, ids, some[0], HS_LOGITS_ALL);
        check_maps(p, 0, some[0]);
        p->n_log = 0;
        for (int64_t t = some[0]; t < LAW_T; t++) law_eval_one(x, ids + t, 1, HS_LOGITS_ALL);
        assert_int_equal(p->next[0], some[0]);
        assert_int_equal(strncmp(p->log, "<><><>", 6), 0);
        cap_same(&whole->seen, 0, &p->seen, 0, 0, LAW_T, LAW_ALL);
        hs_context_close(x);
        close_probe(whole);
        close_probe(p);
        hs_model_close(m);
    }
}

static int fails(void *ctx, const hs_tile *t, bool write, int worker) {
    return t->survey ? hs_fail(HS_ESTOP, "enough") : on_tile(ctx, t, write, worker);
}

static void a_survey_that_fails_ends_the_evaluation(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i += LAW_N_SPEC) {
        hs_model *m = law_model(i);
        struct probe *p = open_probe(m);
        hs_context *x = law_context(m, (hs_context_opts){.row_block = 8}, &p->tap);
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        const hs_seq seq = {.tokens = ids, .n = LAW_T};
        const hs_batch batch = {.seq = &seq, .n_seq = 1};
        p->limit[0] = LAW_T;
        p->tap.tile = fails;
        assert_int_equal(hs_context_eval(x, &batch), HS_ESTOP);
        assert_null(hs_context_resid(x));
        p->tap.tile = on_tile; // and the next is none the worse
        assert_int_equal(hs_context_eval(x, &batch), HS_OK);
        check_maps(p, 0, LAW_T);
        hs_context_close(x);
        close_probe(p);
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_survey_shows_what_comes_and_changes_nothing),
        cmocka_unit_test(other_layers_go_as_ever),
        cmocka_unit_test(decoded_rows_are_not_surveyed),
        cmocka_unit_test(a_survey_that_fails_ends_the_evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
