// The laws of the backward pass on random small models of every family: gradients are what finite
// differences of the forward pass say, in double; f32 has those of double within rounding; what
// must hold between gradients holds; and threads, neighbours and row blocks change no bit.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/backward.h"
#include "model/core/prng.h"
#include "model/elem.h"
#include "model/model_internal.h" // the last residual with all its digits
#include "tests/lib/laws.h"

enum { N_SEQ = 3, ROWS = 29, N_MODEL = LAW_N_SPEC + 5 };
static const int64_t lengths[N_SEQ] = {11, 1, 17};
// Rows of the batch that count: some of the first sequence, none of the second, most of the third.
static const int64_t targets[] = {3, 4, 7, 12, 13, 14, 15, 16, 20, 27};
enum { N_TARGET = sizeof targets / sizeof *targets };

// Every family and container, then every activation.
static hs_model *open_model(int i, enum hs_precision precision, int threads) {
    static const char *const more[] = {
        ", \"activation_function\": \"gelu\"",
        ", \"activation_function\": \"gelu_new\", \"scale_attn_by_inverse_layer_idx\": true",
        ", \"activation_function\": \"quick_gelu\"",
        ", \"activation_function\": \"relu\"",
        ", \"activation_function\": \"silu\"",
    };
    rand_spec s = law_spec(i);
    if (i >= LAW_N_SPEC) {
        s = rand_default("gpt2", false);
        s.more = more[i - LAW_N_SPEC];
    }
    return law_open(&s, &(hs_model_opts){.dev = {.threads = threads, .precision = precision}});
}

// ---- what is differentiated ---------------------------------------------------------------------

// M = sum over the rows that count of <weights of the row, its logits>.
struct measure {
    int64_t n_vocab;
    int64_t seen[ROWS];
    int64_t n_seen, n_call;
    int fail_at; // the call that fails, from 1 on
};

static double weight_of(int64_t row, int64_t token) {
    hs_prng g = hs_prng_seed((uint64_t)(row * 1000 + token));
    return (double)(float)hs_prng_normal(&g);
}

static int64_t first_row(int seq) {
    int64_t row = 0;
    for (int s = 0; s < seq; s++) row += lengths[s];
    return row;
}

static int seed(void *ctx, const hs_site *site, const hs_view *logits) {
    struct measure *m = ctx;
    assert_int_equal(site->point, HS_LOGITS);
    assert_int_equal(site->layer, -1);
    assert_int_equal(logits->shape[0], site->n_row);
    assert_int_equal(logits->shape[1], m->n_vocab);
    if (++m->n_call == m->fail_at) return hs_fail(HS_ESTOP, "enough");
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t row = first_row(site->seq) + site->row0 + r;
        float *x = (float *)logits->data + r * logits->stride[0];
        m->seen[m->n_seen++] = row;
        for (int64_t v = 0; v < m->n_vocab; v++) x[v] = (float)weight_of(row, v);
    }
    return HS_OK;
}

struct prompt {
    int32_t ids[ROWS];
    hs_seq seq[N_SEQ];
    hs_batch batch;
};

static void make_prompt(struct prompt *p) {
    law_tokens(p->ids, ROWS, 7);
    for (int s = 0; s < N_SEQ; s++)
        p->seq[s] = (hs_seq){.tokens = p->ids + first_row(s), .n = lengths[s]};
    p->batch = (hs_batch){
        .seq = p->seq, .n_seq = N_SEQ, .logit_row = targets, .n_logit_row = N_TARGET};
}

// Gradients and values of all points into captures.
static void gradients(cap *grads, cap *values, const hs_model *m, hs_context_opts opts) {
    struct prompt p;
    struct measure measure = {.n_vocab = hs_model_config(m)->n_vocab};
    make_prompt(&p);
    cap_open(grads, m, LAW_N_CTX);
    cap_open(values, m, LAW_N_CTX);
    hs_context *x = law_context(m, opts, NULL);
    const hs_backward job = {
        .seed = seed, .ctx = &measure, .values = &values->tap, .grads = &grads->tap};
    if (hs_context_backward(x, &p.batch, &job)) fail_msg("%s", hs_errmsg());
    assert_int_equal(measure.n_seen, N_TARGET);
    assert_memory_equal(measure.seen, targets, sizeof targets);
    hs_context_close(x);
}

// M after an evaluation of a model in double.
static double measured(hs_context *x) {
    const hs_model *m = x->model;
    const hs_config *c = &m->cfg;
    const int64_t d = c->d_model;
    double *resid = x->resid, scale, sum = 0;
    double *norm = malloc((size_t)d * sizeof *norm), *logits = malloc((size_t)c->n_vocab * 8);
    for (int i = 0; i < N_TARGET; i++) {
        double *row = resid + targets[i] * d;
        if (c->norm != HS_NORM_NONE) {
            m->be->norm_scale(m->dev, &scale, norm, row, 1, d, c->norm, c->norm_eps);
            m->be->norm_gain(m->dev, norm, norm, 1, d, hs_model_vector(m, HS_W_LNF, -1),
                             hs_model_vector(m, HS_B_LNF, -1));
            row = norm;
        }
        const hs_product head = {logits, c->n_vocab, hs_model_weight(m, HS_W_HEAD, -1),
                                 hs_model_vector(m, HS_B_HEAD, -1)};
        assert_int_equal(m->be->linear(m->dev, &head, 1, row, d, 1), HS_OK);
        for (int64_t v = 0; v < c->n_vocab; v++) sum += weight_of(targets[i], v) * logits[v];
    }
    free(norm), free(logits);
    return sum;
}

// ---- finite differences -------------------------------------------------------------------------

struct nudge {
    enum hs_point point;
    int seq;
    int64_t pos, at;
    double by, was, is; // `is` and `was` as f32 has them
};

static int nudge_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    struct nudge *n = ctx;
    if (!write || s->seq != n->seq || n->pos < s->row0 || n->pos >= s->row0 + s->n_row)
        return HS_OK;
    float *x = (float *)v->data + (n->pos - s->row0) * v->stride[0] + n->at;
    n->was = (double)*x;
    *x = (float)(n->was + n->by);
    n->is = (double)*x;
    return HS_OK;
}

static double nudged(hs_context *x, const struct prompt *p, struct nudge *n, double by) {
    n->by = by;
    law_eval(x, &p->batch);
    return measured(x);
}

// Of fourth order, with the steps as f32 has them.
static double difference(hs_context *x, const struct prompt *p, struct nudge *n) {
    const double h = 0x1p-11;
    double d[2];
    for (int i = 0; i < 2; i++) {
        const double up = nudged(x, p, n, h * (i + 1)), top = n->is;
        const double down = nudged(x, p, n, -h * (i + 1)), bottom = n->is;
        d[i] = (up - down) / (top - bottom);
    }
    return (4 * d[0] - d[1]) / 3;
}

static double largest(const cap *c, int layer, int point) {
    double most = 0;
    for (int s = 0; s < N_SEQ; s++) {
        const cap_tensor *t = &c->at[s][layer][point];
        for (int64_t i = 0; i < lengths[s] * t->width; i++)
            most = fmax(most, fabs((double)t->data[i]));
    }
    return most;
}

static void check_point(hs_context *x, const cap *grads, const struct prompt *p, int layer,
                        int pt) {
    uint64_t mask[CAP_LAYERS + 1] = {0};
    mask[layer] = HS_BIT(pt);
    struct nudge n = {.point = (enum hs_point)pt};
    const hs_tap tap = {.ctx = &n, .write = mask, .rows = nudge_rows};
    const double most = largest(grads, layer, pt);
    hs_prng rng = hs_prng_seed((uint64_t)(layer * 100 + pt));
    hs_context_set_tap(x, &tap);
    for (int i = 0; i < 4; i++) {
        n.seq = i % 2 * 2;
        n.pos = (int64_t)hs_prng_below(&rng, (uint64_t)(i < 2 ? 8 : lengths[n.seq]));
        const cap_tensor *t = &grads->at[n.seq][layer][pt];
        assert_non_null(t->data);
        n.at = (int64_t)hs_prng_below(&rng, (uint64_t)t->width);
        const double got = (double)t->data[n.pos * t->width + n.at], want = difference(x, p, &n);
        if (fabs(got - want) > 1e-6 * most)
            fail_msg("%s of layer %d, sequence %d, position %lld, number %lld: %.9g, by finite "
                     "differences %.9g; the largest is %.3g",
                     hs_point_infos[pt].alias, layer, n.seq, (long long)n.pos, (long long)n.at, got,
                     want, most);
    }
}

static void finite_differences(void **state) {
    (void)state;
    for (int i = 0; i < N_MODEL; i++) {
        hs_model *m = open_model(i, HS_PREC_F64, 2);
        const int top = (int)hs_model_config(m)->n_layer;
        struct prompt p;
        cap grads, values;
        make_prompt(&p);
        gradients(&grads, &values, m, (hs_context_opts){0});
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        for (int pt = 0; pt < HS_N_POINT; pt++) {
            if (!(hs_backward_points(m) & HS_BIT(pt))) continue;
            const bool in_layer = hs_point_infos[pt].scope == HS_SCOPE_LAYER;
            for (int l = in_layer ? 0 : top; l < (in_layer ? top : top + 1); l++)
                check_point(x, &grads, &p, l, pt);
        }
        cap_close(&grads);
        cap_close(&values);
        hs_context_close(x);
        hs_model_close(m);
    }
}

// ---- f32 against double -------------------------------------------------------------------------

static void single_precision(void **state) {
    (void)state;
    for (int i = 0; i < N_MODEL; i++) {
        hs_model *m = open_model(i, HS_PREC_EXACT, 2), *truth = open_model(i, HS_PREC_F64, 2);
        // Without norms the residual grows, and with it every error of a score.
        const double room = hs_model_config(m)->norm == HS_NORM_NONE ? 1e-4 : 2e-5;
        cap got, want, values[2];
        gradients(&got, &values[0], m, (hs_context_opts){0});
        gradients(&want, &values[1], truth, (hs_context_opts){0});
        for (int l = 0; l <= got.cfg->n_layer; l++)
            for (int pt = 0; pt < HS_N_POINT; pt++) {
                if (!want.at[0][l][pt].data) continue;
                const double most = largest(&want, l, pt);
                for (int s = 0; s < N_SEQ; s++) {
                    const cap_tensor *a = &got.at[s][l][pt], *b = &want.at[s][l][pt];
                    for (int64_t k = 0; k < lengths[s] * a->width; k++)
                        if (!(fabs((double)a->data[k] - (double)b->data[k]) <= room * most))
                            fail_msg("model %d: %s of layer %d: %.9g, in double %.9g of %.3g", i,
                                     hs_point_infos[pt].alias, l, (double)a->data[k],
                                     (double)b->data[k], most);
                }
            }
        cap_close(&got), cap_close(&want);
        cap_close(&values[0]), cap_close(&values[1]);
        hs_model_close(m), hs_model_close(truth);
    }
}

// ---- what must hold between gradients -----------------------------------------------------------

static void same_rows(const cap *c, int la, enum hs_point a, int lb, enum hs_point b) {
    for (int s = 0; s < N_SEQ; s++) {
        const cap_tensor *x = &c->at[s][la][a], *y = &c->at[s][lb][b];
        assert_non_null(x->data);
        assert_non_null(y->data);
        assert_memory_equal(x->data, y->data, (size_t)(lengths[s] * x->width) * sizeof *x->data);
    }
}

// What is added to the residual has its gradient; so has the sum before and after.
static void check_chain(const cap *g) {
    const int top = (int)g->cfg->n_layer;
    const bool mlp = g->cfg->mlp != HS_MLP_NONE;
    same_rows(g, top, HS_EMBED, 0, HS_RESID_PRE);
    if (g->cfg->pos == HS_POS_LEARNED) same_rows(g, top, HS_POS_EMBED, top, HS_EMBED);
    for (int l = 0; l < top; l++) {
        if (l + 1 < top) same_rows(g, l, HS_RESID_POST, l + 1, HS_RESID_PRE);
        same_rows(g, l, HS_ATTN_OUT, l, mlp ? HS_RESID_MID : HS_RESID_POST);
        if (mlp) same_rows(g, l, HS_MLP_OUT, l, HS_RESID_POST);
    }
}

static double column(const cap *c, int seq, int layer, enum hs_point p, int64_t at, double *size) {
    const cap_tensor *t = &c->at[seq][layer][p];
    double sum = 0;
    for (int64_t r = 0; r < lengths[seq]; r++) {
        sum += (double)t->data[r * t->width + at];
        *size += fabs((double)t->data[r * t->width + at]);
    }
    return sum;
}

// The same added to all keys shifts every score of a row alike, which softmax does not see. A
// pattern's rows sum to 1, so what all values gain z gains, in every head of the group.
static void check_sums(const cap *g, double room) {
    const hs_config *c = g->cfg;
    const int64_t d = c->d_head, group = c->n_head / c->n_kv_head;
    for (int l = 0; l < c->n_layer; l++)
        for (int s = 0; s < N_SEQ; s++)
            for (int64_t k = 0; k < c->n_kv_head * d; k++) {
                double size = 0, z = 0;
                const double keys = column(g, s, l, c->pos == HS_POS_ROPE ? HS_ROT_K : HS_K, k,
                                           &size);
                assert_true(fabs(keys) <= room * size);
                size = 0;
                const double v = column(g, s, l, HS_V, k, &size);
                for (int64_t h = k / d * group; h < (k / d + 1) * group; h++)
                    z += column(g, s, l, HS_Z, h * d + k % d, &size);
                assert_true(fabs(v - z) <= 1e-6 * size);
            }
}

// Nothing that counts comes after row 7 of the first sequence or in the second.
static void check_silent(const cap *g) {
    for (int l = 0; l <= g->cfg->n_layer; l++)
        for (int pt = 0; pt < HS_N_POINT; pt++) {
            const cap_tensor *a = &g->at[0][l][pt], *b = &g->at[1][l][pt];
            for (int64_t i = 8 * a->width; a->data && i < lengths[0] * a->width; i++)
                assert_true(a->data[i] == 0);
            for (int64_t i = 0; b->data && i < b->width; i++) assert_true(b->data[i] == 0);
        }
}

static void relations(void **state) {
    (void)state;
    for (int i = 0; i < N_MODEL; i++)
        for (int f64 = 0; f64 < 2; f64++) {
            hs_model *m = open_model(i, f64 ? HS_PREC_F64 : HS_PREC_EXACT, 2);
            cap grads, values;
            gradients(&grads, &values, m, (hs_context_opts){0});
            check_chain(&grads);
            check_sums(&grads, f64 ? 1e-6 : 1e-4);
            check_silent(&grads);
            // Layers from the last to the first, in both.
            assert_int_equal(grads.n_done, grads.cfg->n_layer);
            assert_int_equal(values.n_done, grads.cfg->n_layer);
            for (int l = 0; l < grads.n_done; l++) {
                assert_int_equal(grads.layers_done[l], grads.cfg->n_layer - 1 - l);
                assert_int_equal(values.layers_done[l], grads.cfg->n_layer - 1 - l);
            }
            cap_close(&grads);
            cap_close(&values);
            hs_model_close(m);
        }
}

// ---- 9, 13 --------------------------------------------------------------------------------------

static const uint64_t in_layers = LAW_ALL &
                                  ~(HS_BIT(HS_EMBED) | HS_BIT(HS_POS_EMBED) | HS_BIT(HS_LOGITS));

// The values are those of an ordinary run.
static void values_of_a_run(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = open_model(i, HS_PREC_EXACT, 2);
        struct prompt p;
        cap grads, values, plain;
        make_prompt(&p);
        gradients(&grads, &values, m, (hs_context_opts){0});
        cap_open(&plain, m, LAW_N_CTX);
        hs_context *x = law_context(m, (hs_context_opts){0}, &plain.tap);
        law_eval(x, &p.batch);
        for (int s = 0; s < N_SEQ; s++) cap_same(&plain, s, &values, s, 0, lengths[s], in_layers);
        cap_close(&grads), cap_close(&values), cap_close(&plain);
        hs_context_close(x);
        hs_model_close(m);
    }
}

// What is not watched is not always made: a point alone shows what it shows among all.
static void values_of_a_point(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = open_model(i, HS_PREC_EXACT, 2);
        const int top = (int)hs_model_config(m)->n_layer;
        struct prompt p;
        cap grads, all, alone, same;
        make_prompt(&p);
        gradients(&grads, &all, m, (hs_context_opts){0});
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        for (int pt = 0; pt < HS_N_POINT; pt++) {
            if (!all.at[0][0][pt].data && !all.at[0][top][pt].data) continue;
            struct measure measure = {.n_vocab = LAW_N_VOCAB};
            cap_open(&alone, m, LAW_N_CTX);
            cap_open(&same, m, LAW_N_CTX);
            for (int l = 0; l <= top; l++) alone.read[l] &= HS_BIT(pt);
            const hs_backward job = {
                .seed = seed, .ctx = &measure, .values = &alone.tap, .grads = &same.tap};
            if (hs_context_backward(x, &p.batch, &job)) fail_msg("%s", hs_errmsg());
            for (int s = 0; s < N_SEQ; s++) {
                cap_same(&all, s, &alone, s, 0, lengths[s], HS_BIT(pt));
                cap_same(&grads, s, &same, s, 0, lengths[s], LAW_ALL);
            }
            cap_close(&alone), cap_close(&same);
        }
        cap_close(&grads), cap_close(&all);
        hs_context_close(x);
        hs_model_close(m);
    }
}

static void threads_and_blocks(void **state) {
    (void)state;
    for (int i = 0; i < N_MODEL; i++)
        for (int f64 = 0; f64 < 2; f64++) {
            const enum hs_precision precision = f64 ? HS_PREC_F64 : HS_PREC_EXACT;
            hs_model *one = open_model(i, precision, 1), *many = open_model(i, precision, 3);
            cap a, b, c, values[3];
            gradients(&a, &values[0], one, (hs_context_opts){0});
            gradients(&b, &values[1], many, (hs_context_opts){0});
            gradients(&c, &values[2], many, (hs_context_opts){.row_block = 5});
            for (int s = 0; s < N_SEQ; s++) {
                cap_same(&a, s, &b, s, 0, lengths[s], LAW_ALL);
                cap_same(&a, s, &c, s, 0, lengths[s], LAW_ALL);
            }
            for (int k = 0; k < 3; k++) cap_close(&values[k]);
            cap_close(&a), cap_close(&b), cap_close(&c);
            hs_model_close(one), hs_model_close(many);
        }
}

static int ones(void *ctx, const hs_site *site, const hs_view *logits) {
    (void)ctx;
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t v = 0; v < logits->shape[1]; v++)
            ((float *)logits->data)[r * logits->stride[0] + v] = (float)weight_of(site->row0 + r,
                                                                                  v);
    return HS_OK;
}

// All rows count here, each with weights of its position.
static void alone(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = open_model(i, HS_PREC_EXACT, 2);
        struct prompt p;
        cap all, single;
        make_prompt(&p);
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        cap_open(&all, m, LAW_N_CTX);
        p.batch.logit_row = NULL;
        const hs_backward job = {.seed = ones, .grads = &all.tap};
        if (hs_context_backward(x, &p.batch, &job)) fail_msg("%s", hs_errmsg());
        for (int s = 0; s < N_SEQ; s++) {
            const hs_batch own = {.seq = &p.seq[s], .n_seq = 1};
            cap_open(&single, m, LAW_N_CTX);
            const hs_backward again = {.seed = ones, .grads = &single.tap};
            if (hs_context_backward(x, &own, &again)) fail_msg("%s", hs_errmsg());
            cap_same(&all, s, &single, 0, 0, lengths[s], LAW_ALL);
            cap_close(&single);
        }
        cap_close(&all);
        hs_context_close(x);
        hs_model_close(m);
    }
}

// ---- around a layer -----------------------------------------------------------------------------

// Gradients as they come: M's, and those around each layer.
struct ways {
    cap own, around[CAP_LAYERS];
    int layer, n_call;
};

static cap *way(struct ways *w) {
    return w->layer < 0 ? &w->own : &w->around[w->layer];
}

static int on_way(void *ctx, int layer) {
    struct ways *w = ctx;
    w->layer = layer;
    w->n_call++;
    return HS_OK;
}

static int way_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    struct ways *w = ctx;
    assert_true(w->layer < 0 || s->layer <= w->layer);
    return way(w)->tap.rows(way(w), s, v, write);
}

// The same by hand: what a layer adds has no gradient.
struct still {
    cap grads;
    uint64_t write[CAP_LAYERS + 1];
};

static int still_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    struct still *t = ctx;
    if (write)
        memset(v->data, 0, (size_t)hs_view_count(v) * sizeof(float));
    else
        return t->grads.tap.rows(&t->grads, s, v, write);
    return HS_OK;
}

static void check_still(hs_context *x, const struct prompt *p, const cap *got, int layer) {
    struct measure measure = {.n_vocab = LAW_N_VOCAB};
    struct still t = {0};
    cap_open(&t.grads, x->model, LAW_N_CTX);
    // What lies above is M's, and was not told again; the layer's own output is where they part.
    for (int l = layer + 1; l < x->model->cfg.n_layer; l++) t.grads.read[l] = 0;
    t.write[layer] = HS_BIT(HS_ATTN_OUT) | HS_BIT(HS_MLP_OUT);
    hs_tap tap = t.grads.tap;
    tap.ctx = &t;
    tap.write = t.write;
    tap.rows = still_rows;
    const hs_backward job = {.seed = seed, .ctx = &measure, .grads = &tap};
    if (hs_context_backward(x, &p->batch, &job)) fail_msg("%s", hs_errmsg());
    for (int s = 0; s < N_SEQ; s++) cap_same(&t.grads, s, got, s, 0, lengths[s], LAW_ALL);
    cap_close(&t.grads);
}

static void around_a_layer(void **state) {
    (void)state;
    for (int i = 0; i < 2 * LAW_N_SPEC; i++)
        for (int once = 0; once < 2; once++) {
            hs_model *m = open_model(i / 2, i % 2 ? HS_PREC_F64 : HS_PREC_EXACT, 2);
            const int n_layer = (int)hs_model_config(m)->n_layer;
            struct measure measure = {.n_vocab = LAW_N_VOCAB};
            struct prompt p;
            struct ways w = {.layer = -2};
            cap own, values;
            make_prompt(&p);
            gradients(&own, &values, m, (hs_context_opts){0});
            cap_open(&w.own, m, LAW_N_CTX);
            for (int l = 0; l < n_layer; l++) cap_open(&w.around[l], m, LAW_N_CTX);
            hs_tap tap = w.own.tap;
            tap.ctx = &w;
            tap.rows = way_rows;
            const hs_backward job = {
                .seed = seed, .ctx = &measure, .grads = &tap, .around = on_way, .once = once};
            hs_context *x = law_context(m, (hs_context_opts){.row_block = 5}, NULL);
            if (hs_context_backward(x, &p.batch, &job)) fail_msg("%s", hs_errmsg());
            // M's and those of the layers from there on: of each layer, and of the embeddings.
            assert_int_equal(w.n_call, n_layer + n_layer * (n_layer + 1) / 2 + 1 + n_layer);
            for (int s = 0; s < N_SEQ; s++) cap_same(&own, s, &w.own, s, 0, lengths[s], LAW_ALL);
            for (int l = 0; l < n_layer; l++) check_still(x, &p, &w.around[l], l);
            for (int l = 0; l < n_layer; l++) cap_close(&w.around[l]);
            cap_close(&w.own), cap_close(&own), cap_close(&values);
            hs_context_close(x);
            hs_model_close(m);
        }
}

// ---- memory -------------------------------------------------------------------------------------

static int heap_layer(void *ctx, int layer) {
    size_t *most = ctx;
    const struct mallinfo2 now = mallinfo2();
    (void)layer;
    if (now.uordblks + now.hblkhd > *most) *most = now.uordblks + now.hblkhd;
    return HS_OK;
}

static int no_matter(void *ctx, int layer) {
    (void)ctx, (void)layer;
    return HS_OK;
}

// The reference backend takes all its memory from the heap.
static void memory(void **state) {
    (void)state;
    if (!mallinfo2().uordblks) skip(); // a sanitizer's heap
    for (int i = 0; i < 3 * LAW_N_SPEC; i++) {
        const bool once = i % 3 == 1, around = i % 3 == 2;
        rand_spec spec = law_spec(i / 3); // wide enough for a context's odds and ends not to matter
        spec.n_layer = 6;
        spec.d_model = 96;
        spec.d_head = 24;
        spec.d_ff = 200;
        hs_model *m = law_open(&spec,
                               &(hs_model_opts){.dev = {.threads = 1, .precision = HS_PREC_F64}});
        int32_t ids[LAW_N_CTX];
        const hs_tap look = {.ctx = &(size_t){0}, .layer_done = heap_layer};
        const hs_backward job = {.seed = ones,
                                 .values = &look,
                                 .grads = &look,
                                 .around = around ? no_matter : NULL,
                                 .once = once};
        const hs_batch batch = {.seq = &(hs_seq){.tokens = ids, .n = LAW_N_CTX}, .n_seq = 1};
        law_tokens(ids, LAW_N_CTX, 1);
        const struct mallinfo2 before = mallinfo2();
        hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
        if (hs_context_backward(x, &batch, &job)) fail_msg("%s", hs_errmsg());
        const double used = (double)(*(size_t *)look.ctx - before.uordblks - before.hblkhd);
        const hs_memory said = hs_backward_memory(m, LAW_N_CTX);
        const int64_t all = hs_memory_sum(&said) + (once ? hs_backward_once(m, LAW_N_CTX) : 0) +
                            (around ? hs_backward_around(m, LAW_N_CTX) : 0);
        if (fabs(used / (double)all - 1) > 0.05)
            fail_msg("model %d: %g bytes, it said %lld", i, used, (long long)all);
        hs_context_close(x);
        hs_model_close(m);
    }
}

// ---- errors and what is left behind -------------------------------------------------------------

static int stop_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    (void)ctx, (void)s, (void)v, (void)write;
    return hs_fail(HS_ESTOP, "seen enough");
}

static void failures(void **state) {
    (void)state;
    hs_model *m = open_model(0, HS_PREC_EXACT, 2);
    struct prompt p;
    struct measure measure = {.n_vocab = LAW_N_VOCAB, .fail_at = 2};
    uint64_t z[CAP_LAYERS + 1] = {0, HS_BIT(HS_Z)};
    const hs_tap stop = {.read = z, .rows = stop_rows};
    cap watching;
    make_prompt(&p);
    cap_open(&watching, m, LAW_N_CTX);
    hs_context *x = law_context(m, (hs_context_opts){0}, &watching.tap);
    hs_backward job = {.seed = seed, .ctx = &measure};

    assert_int_equal(hs_context_backward(x, &p.batch, &job), HS_ESTOP);
    assert_string_equal(hs_errmsg(), "enough");
    measure = (struct measure){.n_vocab = LAW_N_VOCAB};
    job.grads = &stop;
    assert_int_equal(hs_context_backward(x, &p.batch, &job), HS_ESTOP);
    assert_string_equal(hs_errmsg(), "seen enough");
    job.grads = NULL;

    hs_batch bad = p.batch;
    bad.layer_to = 1;
    assert_int_equal(hs_context_backward(x, &bad, &job), HS_EARG);
    bad = p.batch;
    bad.logit_row = (const int64_t[]){4, 4};
    bad.n_logit_row = 2;
    assert_int_equal(hs_context_backward(x, &bad, &job), HS_ERANGE);
    bad.logit_row = (const int64_t[]){4, ROWS};
    assert_int_equal(hs_context_backward(x, &bad, &job), HS_ERANGE);
    hs_context *kept = law_context(m, (hs_context_opts){.kv_capacity = 32}, NULL);
    assert_int_equal(hs_context_backward(kept, &p.batch, &job), HS_EARG);
    hs_context_close(kept);

    // The context's own tap saw nothing of all that, and works as before.
    assert_int_equal(watching.n_fired, 0);
    assert_null(hs_context_resid(x));
    law_eval(x, &p.batch);
    assert_true(watching.n_fired > 0);
    cap_close(&watching);
    hs_context_close(x);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(single_precision),
        cmocka_unit_test(relations),
        cmocka_unit_test(values_of_a_run),
        cmocka_unit_test(values_of_a_point),
        cmocka_unit_test(threads_and_blocks),
        cmocka_unit_test(alone),
        cmocka_unit_test(around_a_layer),
        cmocka_unit_test(memory),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
