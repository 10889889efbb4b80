// The laws of the forward pass (numbers as in the design) on random small models of every family
// and container: what must hold whatever the weights are.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/laws.h"

static double pattern(const cap *c, int layer, int64_t h, int64_t q, int64_t k) {
    return (double)c->at[0][layer][HS_PATTERN].data[(h * c->t_max + q) * c->t_max + k];
}

// ---- what steps mean: 1, 2, 3 -------------------------------------------------------------------

static void check_pattern(const cap *c, int l) {
    const hs_config *cfg = c->cfg;
    const int64_t group = cfg->n_head / cfg->n_kv_head, d = cfg->d_head;
    for (int64_t h = 0; h < cfg->n_head; h++)
        for (int64_t q = 0; q < LAW_T; q++) {
            double sum = 0;
            for (int64_t k = 0; k <= q; k++) sum += pattern(c, l, h, q, k);
            assert_true(fabs(sum - 1) < 1e-5);
            for (int64_t i = 0; i < d; i++) {
                double z = 0;
                for (int64_t k = 0; k <= q; k++)
                    z += pattern(c, l, h, q, k) * (double)law_row(c, l, HS_V, k)[h / group * d + i];
                assert_true(fabs(z - (double)law_row(c, l, HS_Z, q)[h * d + i]) < 1e-5);
            }
        }
}

static void check_results(const hs_model *m, const cap *c, int l) {
    const hs_config *cfg = c->cfg;
    const float *bias = hs_model_vector(m, HS_B_O, l);
    for (int64_t q = 0; q < LAW_T; q++)
        for (int64_t i = 0; i < cfg->d_model; i++) {
            double sum = bias ? (double)bias[i] : 0;
            for (int64_t h = 0; h < cfg->n_head; h++)
                sum += (double)law_row(c, l, HS_RESULT, q)[h * cfg->d_model + i];
            assert_true(fabs(sum - (double)law_row(c, l, HS_ATTN_OUT, q)[i]) < 1e-4);
        }
}

// x + y = sum, to the bit where the engine adds the very numbers that it shows; in double it adds
// others, which round to these.
static void check_sum(float x, float y, float sum, bool exact) {
    const double size = fabs((double)x) + fabs((double)y);
    assert_true(exact ? x + y == sum : fabs((double)x + (double)y - (double)sum) <= 0x1p-23 * size);
}

static void check_sums(const cap *c, int l, bool exact) {
    const bool mlp = c->cfg->mlp != HS_MLP_NONE;
    for (int64_t r = 0; r < LAW_T; r++)
        for (int64_t i = 0; i < c->cfg->d_model; i++) {
            const float post = law_row(c, l, HS_RESID_POST, r)[i];
            const float mid = mlp ? law_row(c, l, HS_RESID_MID, r)[i] : post;
            check_sum(law_row(c, l, HS_RESID_PRE, r)[i], law_row(c, l, HS_ATTN_OUT, r)[i], mid,
                      exact);
            if (mlp) check_sum(mid, law_row(c, l, HS_MLP_OUT, r)[i], post, exact);
        }
}

static void steps(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap c;
        law_run(&c, m, (hs_context_opts){.row_block = 16}, 1, LAW_T);
        for (int l = 0; l < c.cfg->n_layer; l++) {
            check_pattern(&c, l);
            check_results(m, &c, l);
            check_sums(&c, l, law_precision(i) == HS_PREC_EXACT);
        }
        cap_close(&c);
        hs_model_close(m);
    }
}

// Exactly the points that the model says it has fire, layer by layer, each layer done once.
static void points(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap c;
        law_run(&c, m, (hs_context_opts){0}, 1, LAW_T);
        for (int l = 0; l <= c.cfg->n_layer; l++)
            for (int p = 0; p < HS_N_POINT; p++) {
                const char *why = NULL;
                const bool in_layer = hs_point_infos[p].scope == HS_SCOPE_LAYER;
                const bool has = hs_model_has_point(m, (enum hs_point)p, &why);
                assert_int_equal(c.at[0][l][p].data != NULL,
                                 has && in_layer == (l < c.cfg->n_layer));
                assert_true(has == (why == NULL));
            }
        assert_int_equal(c.n_done, c.cfg->n_layer);
        for (int l = 0; l < c.n_done; l++) assert_int_equal(c.layers_done[l], l);
        cap_close(&c);
        hs_model_close(m);
    }
}

// ---- 11: a logit is the sum of what the parts of the model add to it ---------------------------

// The final norm of one part of the residual, with the scale of the whole: linear in the part.
static double attributed(const cap *c, const hs_model *m, const float *part, const float *unembed) {
    const hs_config *cfg = c->cfg;
    const float *gain = hs_model_vector(m, HS_W_LNF, -1);
    const bool normed = cfg->norm != HS_NORM_NONE;
    double mean = 0, sum = 0;
    for (int64_t i = 0; cfg->norm == HS_NORM_LAYER && i < cfg->d_model; i++)
        mean += (double)part[i] / (double)cfg->d_model;
    const double scale = normed ? (double)law_row(c, (int)cfg->n_layer, HS_LNF_SCALE, LAW_T - 1)[0]
                                : 1;
    for (int64_t i = 0; i < cfg->d_model; i++)
        sum += ((double)part[i] - mean) / scale * (gain ? (double)gain[i] : 1) * (double)unembed[i];
    return sum;
}

// Embeddings, every head, every bias and every MLP, at the last position.
static double attribution(const cap *c, const hs_model *m, const float *unembed) {
    const hs_config *cfg = c->cfg;
    const int end = LAW_T - 1, top = (int)cfg->n_layer;
    double sum = attributed(c, m, law_row(c, top, HS_EMBED, end), unembed);
    if (cfg->pos == HS_POS_LEARNED)
        sum += attributed(c, m, law_row(c, top, HS_POS_EMBED, end), unembed);
    for (int l = 0; l < top; l++) {
        const float *heads = law_row(c, l, HS_RESULT, end), *bias = hs_model_vector(m, HS_B_O, l);
        for (int64_t h = 0; h < cfg->n_head; h++)
            sum += attributed(c, m, heads + h * cfg->d_model, unembed);
        if (bias) sum += attributed(c, m, bias, unembed);
        if (cfg->mlp != HS_MLP_NONE)
            sum += attributed(c, m, law_row(c, l, HS_MLP_OUT, end), unembed);
    }
    return sum;
}

static void direct_attributions(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap c;
        law_run(&c, m, (hs_context_opts){0}, 1, LAW_T);
        const hs_config *cfg = c.cfg;
        const float *logits = law_row(&c, (int)cfg->n_layer, HS_LOGITS, LAW_T - 1);
        const float *shift = hs_model_vector(m, HS_B_LNF, -1);
        const float *bias = hs_model_vector(m, HS_B_HEAD, -1);
        float *unembed = calloc((size_t)cfg->d_model, sizeof *unembed);
        for (int64_t v = 0; v < cfg->n_vocab; v++) {
            assert_int_equal(hs_model_weight_row(m, HS_W_HEAD, -1, v, unembed), HS_OK);
            double sum = attribution(&c, m, unembed) + (bias ? (double)bias[v] : 0);
            for (int64_t k = 0; shift && k < cfg->d_model; k++)
                sum += (double)shift[k] * (double)unembed[k];
            assert_true(fabs(sum - (double)logits[v]) < 1e-4 * (1 + fabs(sum)));
        }
        free(unembed);
        cap_close(&c);
        hs_model_close(m);
    }
}

// ---- 5: watching changes nothing ----------------------------------------------------------------

static void watching(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const size_t n = (size_t)hs_model_config(m)->n_vocab * sizeof(float);
        cap c;
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        cap_open(&c, m, LAW_T);
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        hs_context *y = law_context(m, (hs_context_opts){0}, &c.tap);
        law_eval_one(x, ids, LAW_T, HS_LOGITS_LAST);
        law_eval_one(y, ids, LAW_T, HS_LOGITS_LAST);
        assert_memory_equal(hs_context_logits(x), hs_context_logits(y), n);
        assert_memory_equal(hs_context_logits(x),
                            law_row(&c, (int)c.cfg->n_layer, HS_LOGITS, LAW_T - 1), n);
        assert_memory_equal(hs_context_resid(x), hs_context_resid(y),
                            LAW_T * (size_t)c.cfg->d_model * sizeof(float));
        // One point at a time, in one layer: it alone fires.
        for (int p = 0; p < HS_N_POINT; p++) {
            if (!hs_model_has_point(m, (enum hs_point)p, NULL)) continue;
            const int l = hs_point_infos[p].scope == HS_SCOPE_LAYER ? 1 : (int)c.cfg->n_layer;
            cap one;
            cap_open(&one, m, LAW_T);
            memset(one.read, 0, sizeof one.read);
            one.read[l] = HS_BIT(p);
            memset(one.tiles, p == HS_SCORES ? HS_TILE_READ_SCORES : HS_TILE_READ_PATTERN,
                   sizeof one.tiles);
            hs_context_set_tap(y, &one.tap);
            law_eval_one(y, ids, LAW_T, HS_LOGITS_LAST);
            assert_memory_equal(hs_context_logits(x), hs_context_logits(y), n);
            for (int at = 0; at <= c.cfg->n_layer; at++)
                for (int q = 0; q < HS_N_POINT; q++)
                    assert_int_equal(one.at[0][at][q].data != NULL, at == l && q == p);
            cap_close(&one);
        }
        cap_close(&c);
        hs_context_close(x);
        hs_context_close(y);
        hs_model_close(m);
    }
}

// ---- 6: edits -----------------------------------------------------------------------------------

struct edit {
    enum hs_point point;
    float factor;
    int64_t n_write, n_read;
    float seen; // what the read hook got in the place the write hook changed
};

static int edit_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    struct edit *e = ctx;
    float *x = v->data;
    assert_int_equal(s->point, e->point);
    if (write) {
        for (int64_t i = 0; i < hs_view_count(v); i++) x[i] *= e->factor;
        e->seen = x[0];
        e->n_write++;
    } else {
        assert_true(e->n_write > e->n_read); // writes come first
        assert_true(x[0] == e->seen);
        e->n_read++;
    }
    return HS_OK;
}

static int edit_tile(void *ctx, const hs_tile *t, bool write, int worker) {
    struct edit *e = ctx;
    (void)worker;
    for (int64_t r = 0; write && r < t->n_row; r++)
        for (int64_t k = 0; k <= t->row0 + r; k++) t->row[r * t->ld + k] *= e->factor;
    return HS_OK;
}

static void edits(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        const size_t n = (size_t)c->n_vocab;
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        float *base = malloc(n * sizeof *base);
        law_eval_one(x, ids, LAW_T, HS_LOGITS_LAST);
        memcpy(base, hs_context_logits(x), n * sizeof *base);
        for (int p = 0; p < HS_N_POINT; p++) {
            if (!hs_point_infos[p].writable || !hs_model_has_point(m, (enum hs_point)p, NULL))
                continue;
            for (int real = 0; real < 2; real++) {
                uint64_t mask[CAP_LAYERS + 1] = {0};
                uint8_t tiles[CAP_LAYERS * CAP_HEADS];
                memset(tiles, p == HS_SCORES ? HS_TILE_WRITE_SCORES : HS_TILE_WRITE_PATTERN,
                       sizeof tiles);
                struct edit e = {.point = (enum hs_point)p, .factor = real ? 0.5f : 1.0f};
                mask[hs_point_infos[p].scope == HS_SCOPE_LAYER ? 1 : c->n_layer] = HS_BIT(p);
                const hs_tap tap = {.ctx = &e,
                                    .read = mask,
                                    .write = mask,
                                    .tile_want = tiles,
                                    .rows = edit_rows,
                                    .tile = edit_tile};
                hs_context_set_tap(x, &tap);
                law_eval_one(x, ids, LAW_T, HS_LOGITS_LAST);
                if (memcmp(base, hs_context_logits(x), n * sizeof *base) ? !real : real)
                    fail_msg("model %d: %s edit of %s %s the logits", i,
                             real ? "a real" : "an empty", hs_point_infos[p].alias,
                             real ? "leaves" : "changes");
            }
        }
        free(base);
        hs_context_close(x);
        hs_model_close(m);
    }
}

// A scale twice as large is a normalised row half as large.
static void scale_edit(void **state) {
    (void)state;
    hs_model *m = law_model(2);
    const size_t n = LAW_T * (size_t)hs_model_config(m)->d_model;
    int32_t ids[LAW_T];
    float *resid[2];
    law_tokens(ids, LAW_T, 1);
    for (int i = 0; i < 2; i++) {
        struct edit e = {.point = i ? HS_LN1_NORMALIZED : HS_LN1_SCALE, .factor = i ? 0.5f : 2};
        const uint64_t mask[CAP_LAYERS + 1] = {HS_BIT(e.point), HS_BIT(e.point)};
        const hs_tap tap = {.ctx = &e, .write = mask, .rows = edit_rows};
        hs_context *x = law_context(m, (hs_context_opts){0}, &tap);
        law_eval_one(x, ids, LAW_T, HS_LOGITS_NONE);
        resid[i] = malloc(n * sizeof(float));
        memcpy(resid[i], hs_context_resid(x), n * sizeof(float));
        hs_context_close(x);
    }
    assert_memory_equal(resid[0], resid[1], n * sizeof(float));
    free(resid[0]);
    free(resid[1]);
    hs_model_close(m);
}

// ---- 12, 16: weights rewritten ------------------------------------------------------------------

static const uint64_t by_head = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN) | HS_BIT(HS_ROW_STATS);

static void permuted_heads(void **state) {
    (void)state;
    static const int perm[] = {2, 0, 3, 1};
    const char *const families[] = {"llama", "gpt2", "attn_only"};
    for (int i = 0; i < 3; i++) {
        rand_spec s = rand_default(families[i], false);
        s.n_layer = 1; // later layers get sums in another order
        s.n_kv_head = s.n_head;
        s.bias = true;
        hs_model *a = law_open(&s, NULL);
        s.perm = perm;
        hs_model *b = law_open(&s, NULL);
        cap ca, cb;
        law_run(&ca, a, (hs_context_opts){0}, 1, LAW_T);
        law_run(&cb, b, (hs_context_opts){0}, 1, LAW_T);
        for (int h = 0; h < s.n_head; h++) {
            for (int64_t r = 0; r < LAW_T; r++)
                for (int64_t k = 0; k <= r; k++)
                    assert_true(pattern(&cb, 0, h, r, k) == pattern(&ca, 0, perm[h], r, k));
            const float *sa = ca.at[0][0][HS_ROW_STATS].data, *sb = cb.at[0][0][HS_ROW_STATS].data;
            const size_t n = HS_N_STAT * (size_t)ca.t_max;
            assert_memory_equal(sb + (size_t)h * n, sa + (size_t)perm[h] * n, n * sizeof *sa);
        }
        for (int64_t v = 0; v < s.n_vocab; v++)
            assert_true(fabs((double)law_row(&ca, 1, HS_LOGITS, LAW_T - 1)[v] -
                             (double)law_row(&cb, 1, HS_LOGITS, LAW_T - 1)[v]) < 1e-4);
        cap_close(&ca);
        cap_close(&cb);
        hs_model_close(a);
        hs_model_close(b);
    }
}

static void repeated_heads(void **state) {
    (void)state;
    const char *const families[] = {"llama", "llama", "attn_only"};
    for (int i = 0; i < 3; i++) {
        rand_spec s = rand_default(families[i], i == 1);
        s.n_kv_head = 2;
        s.bias = true;
        hs_model *grouped = law_open(&s, NULL);
        s.repeat_kv = true;
        hs_model *whole = law_open(&s, NULL);
        assert_int_equal(hs_model_config(whole)->n_kv_head, 4);
        cap a, b;
        law_run(&a, grouped, (hs_context_opts){0}, 1, LAW_T);
        law_run(&b, whole, (hs_context_opts){0}, 1, LAW_T);
        cap_same(&a, 0, &b, 0, 0, LAW_T,
                 by_head | HS_BIT(HS_Z) | HS_BIT(HS_RESID_POST) | HS_BIT(HS_LOGITS));
        cap_close(&a);
        cap_close(&b);
        hs_model_close(grouped);
        hs_model_close(whole);
    }
}

// Equal weights in the two containers are the same model to the bit.
static void containers(void **state) {
    (void)state;
    const char *const families[] = {"llama", "gpt2"};
    for (int i = 0; i < 4; i++) {
        rand_spec s = rand_default(families[i % 2], false);
        s.dtype = HS_F16;
        s.bias = i < 2;
        s.tied = i < 2;
        hs_model *hf = law_open(&s, NULL);
        s.gguf = true;
        hs_model *gguf = law_open(&s, NULL);
        assert_int_equal(hs_model_n_params(hf), hs_model_n_params(gguf));
        assert_string_equal(hs_model_dtype(gguf), "f16");
        cap a, b;
        law_run(&a, hf, (hs_context_opts){0}, 1, LAW_T);
        law_run(&b, gguf, (hs_context_opts){0}, 1, LAW_T);
        cap_same(&a, 0, &b, 0, 0, LAW_T, LAW_ALL);
        cap_close(&a);
        cap_close(&b);
        hs_model_close(hf);
        hs_model_close(gguf);
    }
}

// ---- memory -------------------------------------------------------------------------------------

struct heap {
    size_t before;
    int64_t n;
};

static int heap_layer(void *ctx, int layer) {
    struct heap *h = ctx;
    const size_t now = mallinfo2().uordblks;
    if (layer > 0 || h->n > 0) assert_int_equal(now, h->before);
    h->before = now;
    h->n++;
    return HS_OK;
}

static void no_allocation(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        struct heap h = {0};
        const hs_tap tap = {.ctx = &h, .layer_done = heap_layer};
        hs_context *x = law_context(m, (hs_context_opts){.row_block = 8}, &tap);
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 1);
        law_eval_one(x, ids, LAW_T, HS_LOGITS_LAST);
        law_eval_one(x, ids, 20, HS_LOGITS_LAST); // a smaller one takes nothing new at all
        assert_int_equal(h.n, 2 * hs_model_config(m)->n_layer);
        hs_context_close(x);
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps),
        cmocka_unit_test(points),
        cmocka_unit_test(direct_attributions),
        cmocka_unit_test(watching),
        cmocka_unit_test(edits),
        cmocka_unit_test(scale_edit),
        cmocka_unit_test(permuted_heads),
        cmocka_unit_test(repeated_heads),
        cmocka_unit_test(containers),
        cmocka_unit_test(no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
