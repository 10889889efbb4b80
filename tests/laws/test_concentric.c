// Concentric causal attention: rings against their definition, attention against plain loops in
// double over what each row may see, on every family and both backends; the same bits in any blocks,
// tiles, batches and steps; a grid of one patch is no edit; and what does not fit is told.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/edited.h"

enum { SEED = 1, FROM = 5, H = 3, W = 4, TO = FROM + H * W, MOST = 600 };
#define SPEC "concentric:5:17,grid=3x4"
#define MAPS (HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN))

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// ---- rings --------------------------------------------------------------------------------------

// Peels the grid: what is left of it has a border, which is the next ring.
static int peel(int *ring, int h, int w) {
    int n = 0;
    for (int i = 0; i < h * w; i++) ring[i] = -1;
    for (int top = 0, left = 0, low = h - 1, right = w - 1; top <= low && left <= right;
         top++, left++, low--, right--, n++)
        for (int y = top; y <= low; y++)
            for (int x = left; x <= right; x++)
                if (y == top || y == low || x == left || x == right) ring[y * w + x] = n;
    return n;
}

// Ids of a prompt with three tokens behind its grid, asked for in pieces of `step` rows.
static void check_ids(int h, int w, int n_ring, int64_t step) {
    const int64_t n = FROM + h * w + 3;
    const hs_dims dims = {.n_layer = 1,
                          .n_head = 1,
                          .n_kv_head = 1,
                          .d_model = 4,
                          .d_head = 4,
                          .d_ff = 4,
                          .n_vocab = 9,
                          .points = LAW_ALL,
                          .attn_scale = 1};
    int ring[MOST];
    int32_t id[MOST];
    char spec[64];
    hs_edit *edit;
    hs_edits *edits;
    hs_hooks *hooks;
    assert_true(n <= MOST);
    snprintf(spec, sizeof spec, "concentric:%d:%d,grid=%dx%d", FROM, FROM + h * w, h, w);
    must(hs_edit_open(&edit, &dims, spec));
    must(hs_edits_open(&edits, &dims));
    must(hs_hooks_open(&hooks, &dims));
    must(hs_edits_hook(edits, hooks, &edit, 1));
    const hs_edit_seq seq = {&edit, NULL, 1, {.id = "p", .n_token = n}};
    must(hs_edit_check(edit, &seq.prompt));
    must(hs_edits_aim(edits, &seq, 1));
    const hs_tap *tap = hs_hooks_tap(hooks);
    for (int64_t at = 0; at < n; at += step) {
        const int64_t k = n - at < step ? n - at : step;
        for (int64_t i = at; i < at + k; i++) id[i] = (int32_t)i;
        must(tap->positions(tap->ctx, 0, at, k, id + at));
    }
    assert_int_equal(peel(ring, h, w), n_ring);
    for (int i = 0; i < FROM; i++) assert_int_equal(id[i], i);
    for (int i = 0; i < h * w; i++) assert_int_equal(id[FROM + i], FROM + ring[i]);
    for (int i = 0; i < 3; i++) assert_int_equal(id[n - 3 + i], FROM + n_ring + i);
    hs_hooks_close(hooks);
    hs_edits_close(edits);
    hs_edit_close(edit);
}

static void rings(void **state) {
    (void)state;
    static const int grids[][3] = {{1, 1, 1}, {2, 2, 1}, {3, 3, 2}, {4, 6, 2},   {6, 4, 2},
                                   {1, 7, 1}, {5, 2, 1}, {5, 9, 3}, {24, 24, 12}};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++)
        for (int64_t step = 1; step < MOST; step = step * 7 + 1)
            check_ids(grids[i][0], grids[i][1], grids[i][2], step);
}

// ---- attention ----------------------------------------------------------------------------------

static bool is_patch(int64_t i) {
    return i >= FROM && i < TO;
}

// Whether row i sees key j.
static bool sees(int64_t i, int64_t j, bool mask) {
    int ring[H * W];
    peel(ring, H, W);
    if (mask && is_patch(i) && is_patch(j)) return ring[j - FROM] <= ring[i - FROM];
    return j <= i;
}

static void near(double have, double want, const char *what) {
    if (fabs(have - want) > 2e-5 * (1 + fabs(want)))
        fail_msg("%s: %.9g is not %.9g", what, have, want);
}

static float stat(const cap *c, int l, int64_t h, enum hs_stat s, int64_t r) {
    return c->at[0][l][HS_ROW_STATS].data[(h * HS_N_STAT + s) * c->t_max + r];
}

// One row of one head, from its queries, keys and values as they were shown.
static void check_row(const cap *c, int l, int64_t h, int64_t i, bool mask) {
    const hs_config *cfg = c->cfg;
    const enum hs_point pq = cfg->pos == HS_POS_ROPE ? HS_ROT_Q : HS_Q;
    const enum hs_point pk = cfg->pos == HS_POS_ROPE ? HS_ROT_K : HS_K;
    const int64_t d = cfg->d_head, g = h / (cfg->n_head / cfg->n_kv_head);
    const float *q = law_row(c, l, pq, i) + h * d;
    double p[LAW_T], sum = 0, most = -INFINITY, entropy = 0, distance = 0;
    int best = 0;
    for (int64_t j = 0; j < LAW_T; j++) {
        const float *k = law_row(c, l, pk, j) + g * d;
        p[j] = sees(i, j, mask) ? 0 : -INFINITY;
        for (int64_t x = 0; x < d; x++)
            p[j] += cfg->attn_scale / (cfg->scale_by_layer ? l + 1 : 1) * (double)q[x] *
                    (double)k[x];
        if (p[j] > most) most = p[j];
    }
    for (int64_t j = 0; j < LAW_T; j++) sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < LAW_T; j++) {
        p[j] /= sum;
        if (p[j] > 0) entropy -= p[j] * log(p[j]);
        if (p[j] > p[best]) best = (int)j;
        distance += (double)(i - j) * p[j];
    }
    for (int64_t x = 0; x < d; x++) {
        double z = 0;
        for (int64_t j = 0; j < LAW_T; j++) z += p[j] * (double)law_row(c, l, HS_V, j)[g * d + x];
        near((double)law_row(c, l, HS_Z, i)[h * d + x], z, "z");
    }
    near((double)stat(c, l, h, HS_STAT_ENTROPY, i), entropy, "entropy");
    near((double)stat(c, l, h, HS_STAT_MAX, i), p[best], "max");
    near((double)stat(c, l, h, HS_STAT_ARGMAX, i), best, "argmax");
    near((double)stat(c, l, h, HS_STAT_LSE, i), most + log(sum), "lse");
    near((double)stat(c, l, h, HS_STAT_FIRST, i), p[0], "first");
    near((double)stat(c, l, h, HS_STAT_SELF, i), p[i], "self");
    near((double)stat(c, l, h, HS_STAT_PREV, i), i ? p[i - 1] : 0, "prev");
    near((double)stat(c, l, h, HS_STAT_DISTANCE, i), distance, "distance");
}

static void check_run(const cap *c, bool mask) {
    for (int l = 0; l < c->cfg->n_layer; l++)
        for (int64_t h = 0; h < c->cfg->n_head; h++)
            for (int64_t i = 0; i < LAW_T; i++) check_row(c, l, h, i, mask);
}

static void attention(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap c;
        edited_run(&c, m, &(edited){.spec = {SPEC}, .points = LAW_ALL & ~MAPS}, SEED, LAW_T);
        check_run(&c, true);
        cap_close(&c);
        edited_run(&c, m, &(edited){.spec = {SPEC ",mask=no"}}, SEED, LAW_T);
        check_run(&c, false);
        cap_close(&c);
        hs_model_close(m);
    }
}

// The first layer's queries are those of the token and its ring: patches of a token in a ring agree.
static void positions(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *cfg = hs_model_config(m);
        const int l = cfg->pos == HS_POS_LEARNED ? (int)cfg->n_layer : 0;
        const enum hs_point p = cfg->pos == HS_POS_LEARNED ? HS_POS_EMBED : HS_ROT_Q;
        int ring[H * W];
        const int n_ring = peel(ring, H, W);
        int32_t ids[LAW_N_CTX];
        cap plain, with;
        law_tokens(ids, LAW_N_CTX, SEED);
        edited_run(&with, m, &(edited){.spec = {SPEC}, .points = LAW_ALL & ~MAPS}, SEED, LAW_T);
        for (int64_t r = 0; cfg->pos != HS_POS_NONE && r < LAW_T; r++) {
            const int64_t id = is_patch(r) ? FROM + ring[r - FROM]
                               : r < FROM  ? r
                                           : r - H * W + n_ring;
            int32_t same[LAW_N_CTX]; // the row's token where its id says
            for (int k = 0; k < LAW_N_CTX; k++) same[k] = ids[r];
            cap_open(&plain, m, LAW_N_CTX);
            hs_context *x = law_context(m, (hs_context_opts){0}, &plain.tap);
            law_eval_one(x, same, id + 1, HS_LOGITS_NONE);
            hs_context_close(x);
            assert_memory_equal(law_row(&plain, l, p, id), law_row(&with, l, p, r),
                                (size_t)with.at[0][l][p].width * sizeof(float));
            cap_close(&plain);
        }
        cap_close(&with);
        hs_model_close(m);
    }
}

// ---- laws ---------------------------------------------------------------------------------------

static void same_bits_in_any_shape(void **state) {
    (void)state;
    const edited ways[] = {
        {.opts = {.row_block = 1}},
        {.opts = {.row_block = 4}},
        {.opts = {.row_block = 7}},
        {.opts = {.row_block = 13}},
        {.tile_rows = 1},
        {.tile_rows = 5},
        {.around = 2},
        {.step = 17},
        {.step = 20},
        {.around = 1, .opts = {.row_block = 6}, .tile_rows = 2},
    };
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap want, have, plain, beside;
        edited e = {.spec = {SPEC}, .points = LAW_ALL & ~MAPS};
        edited_run(&want, m, &e, SEED, LAW_T);
        law_run(&plain, m, (hs_context_opts){0}, SEED, LAW_T);
        law_run(&beside, m, (hs_context_opts){0}, SEED + 1, LAW_T);
        cap_same(&plain, 0, &want, 0, 0, FROM, LAW_ALL & ~MAPS); // what comes before the grid
        assert_memory_not_equal(law_row(&plain, (int)plain.cfg->n_layer, HS_LOGITS, LAW_T - 1),
                                law_row(&want, (int)plain.cfg->n_layer, HS_LOGITS, LAW_T - 1),
                                (size_t)LAW_N_VOCAB * sizeof(float));
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            e = ways[k];
            e.spec[0] = SPEC;
            e.points = LAW_ALL & ~MAPS;
            edited_run(&have, m, &e, SEED, LAW_T);
            cap_same(&want, 0, &have, e.around, 0, LAW_T, LAW_ALL & ~MAPS);
            if (e.around) cap_same(&beside, 0, &have, 0, 0, LAW_T, LAW_ALL & ~MAPS);
            cap_close(&have);
        }
        cap_close(&want);
        cap_close(&plain);
        cap_close(&beside);
        hs_model_close(m);
    }
}

static void one_patch_is_no_edit(void **state) {
    (void)state;
    static const char *const specs[] = {"concentric:9,grid=1x1", "concentric:0,grid=1x1,mask=no",
                                        "concentric:40,grid=1x1"};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain, with;
        law_run(&plain, m, (hs_context_opts){0}, SEED, LAW_T);
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            edited_run(&with, m, &(edited){.spec = {specs[k]}}, SEED, LAW_T);
            cap_same(&plain, 0, &with, 0, 0, LAW_T, LAW_ALL);
            cap_close(&with);
        }
        cap_close(&plain);
        hs_model_close(m);
    }
}

// Edits of what is not a map go along, and maps of other prompts are watched as ever.
static void beside_other_edits(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    cap a, b;
    edited e = {.spec = {SPEC, "scale:L1H0,by=2"}, .points = LAW_ALL & ~MAPS};
    edited_run(&a, m, &e, SEED, LAW_T);
    e.spec[1] = NULL;
    edited_run(&b, m, &e, SEED, LAW_T);
    cap_same(&a, 0, &b, 0, 0, LAW_T, HS_BIT(HS_EMBED));
    assert_memory_not_equal(law_row(&a, (int)a.cfg->n_layer, HS_LOGITS, LAW_T - 1),
                            law_row(&b, (int)a.cfg->n_layer, HS_LOGITS, LAW_T - 1),
                            (size_t)LAW_N_VOCAB * sizeof(float));
    cap_close(&a);
    cap_close(&b);
    hs_model_close(m);
}

// ---- what is refused ----------------------------------------------------------------------------

static void refused(const hs_model *m, const char *spec, int rc, const char *says) {
    const int got = edited_try(m, spec, LAW_T);
    if (got != rc) fail_msg("%s: rc %d: %s", spec, got, hs_errmsg());
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", spec, hs_errmsg(), says);
}

static void grids_that_do_not_fit(void **state) {
    (void)state;
    static const char *const bad[] = {"3",     "3x",  "x4",      "0x4",  "3x0", "-3x4",
                                      "3x4x1", "3X4", "99999x4", " 3x4", "3x4 "};
    hs_model *m = law_model(0);
    refused(m, SPEC, 0, "");
    refused(m, "concentric:5:17,grid=4x4", HS_ERANGE,
            "the span has 12 positions, and a grid of 4 x 4 has 16");
    refused(m, "concentric:5:17", HS_EARG, "grid=24x24");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char spec[64];
        snprintf(spec, sizeof spec, "concentric:5:17,grid=%s", bad[i]);
        refused(m, spec, HS_EARG, "written HxW");
    }
    refused(m, "concentric:5:11+11:17,grid=3x4", HS_ERANGE, "one range");
    refused(m, "concentric:35:47,grid=3x4", HS_ERANGE, "");
    refused(m, "concentric:image,grid=3x4", HS_ENOTFOUND, "image");
    refused(m, SPEC ",heads=L0H0", HS_EARG, "leave out");
    refused(m, SPEC ",pos=3", HS_EARG, "leave out");
    hs_model_close(m);
}

static int ignore(void *ctx, const hs_tile *tile, int worker) {
    (void)ctx, (void)tile, (void)worker;
    return HS_OK;
}

// A prompt's evaluation in steps, which fails; maps of a layer may be watched.
static void fails(const hs_model *m, const char *a, const char *b, int64_t step, bool maps,
                  const char *says) {
    const hs_dims dims = hs_dims_of(m);
    hs_edit *edit[2] = {0};
    hs_edits *edits;
    hs_hooks *hooks;
    int32_t ids[LAW_N_CTX];
    const int n = b ? 2 : 1;
    must(hs_edit_open(&edit[0], &dims, a));
    if (b) must(hs_edit_open(&edit[1], &dims, b));
    must(hs_edits_open(&edits, &dims));
    must(hs_hooks_open(&hooks, &dims));
    must(hs_edits_hook(edits, hooks, edit, n));
    const uint64_t points[CAP_LAYERS + 1] = {0, HS_BIT(HS_PATTERN)};
    if (maps) must(hs_hooks_add(hooks, &(hs_hook){.points = points, .tile = ignore}));
    const hs_edit_seq seq = {edit, NULL, n, {.id = "p", .n_token = LAW_T}};
    must(hs_edits_aim(edits, &seq, 1));
    law_tokens(ids, LAW_N_CTX, SEED);
    hs_context *x = law_context(m, (hs_context_opts){.kv_capacity = LAW_N_CTX},
                                hs_hooks_tap(hooks));
    int rc = HS_OK;
    for (int64_t at = 0; at < LAW_T && !rc; at += step)
        rc = hs_context_eval(
            x, &(hs_batch){
                   .seq = &(hs_seq){.tokens = ids + at, .n = LAW_T - at < step ? LAW_T - at : step},
                   .n_seq = 1});
    assert_int_equal(rc, HS_EUNSUPPORTED);
    if (!strstr(hs_errmsg(), says)) fail_msg("\"%s\" lacks \"%s\"", hs_errmsg(), says);
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_edits_close(edits);
    for (int i = 0; i < n; i++) hs_edit_close(edit[i]);
}

static void runs_that_fail(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i += LAW_N_SPEC) {
        hs_model *m = law_model(i);
        fails(m, SPEC, NULL, 10, false, "positions 5 to 16 see each other");
        fails(m, SPEC, NULL, 1, false, "evaluated together");
        fails(m, SPEC, "temper:L1,t=2", LAW_T, false, "temper:L1,t=2: not where rows see later");
        fails(m, SPEC, "concentric:20:24,grid=2x2", LAW_T, false, "can have no others");
        fails(m, SPEC, NULL, LAW_T, true, "cannot be watched");
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rings),
        cmocka_unit_test(attention),
        cmocka_unit_test(positions),
        cmocka_unit_test(same_bits_in_any_shape),
        cmocka_unit_test(one_patch_is_no_edit),
        cmocka_unit_test(beside_other_edits),
        cmocka_unit_test(grids_that_do_not_fit),
        cmocka_unit_test(runs_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
