// Scores of weights on small random models of every family: against matrices of vocabulary x
// vocabulary and of residual x residual that are written out, under heads permuted and keys and
// values repeated, against attention that was run, on any number of threads.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/linalg.h"
#include "model/core/mem.h"
#include "tests/lib/laws.h"
#include "tests/lib/weighed.h"

static void near(double got, double want, double within) {
    if (!(fabs(got - want) <= within)) fail_msg("%.9g is not %.9g", got, want);
}

static double *zeros(int64_t n) {
    double *out;
    assert_int_equal(hs_alloc(&out, (size_t)n, sizeof *out), HS_OK);
    return out;
}

// ---- matrices, row-major ------------------------------------------------------------------------

typedef struct matrix {
    int64_t m, n;
    double *at; // owned
} matrix;

static matrix make(int64_t m, int64_t n) {
    return (matrix){m, n, zeros(m * n)};
}

// a b, or a b^T.
static matrix times(const matrix *a, const matrix *b, bool turned) {
    matrix c = make(a->m, turned ? b->m : b->n);
    assert_int_equal(a->n, turned ? b->n : b->m);
    for (int64_t i = 0; i < c.m; i++)
        for (int64_t k = 0; k < c.n; k++)
            for (int64_t e = 0; e < a->n; e++)
                c.at[i * c.n + k] += a->at[i * a->n + e] *
                                     b->at[turned ? k * b->n + e : e * b->n + k];
    return c;
}

static double norm(const matrix *a) {
    double squares = 0;
    for (int64_t i = 0; i < a->m * a->n; i++) squares += a->at[i] * a->at[i];
    return sqrt(squares);
}

// Rows [from, from + n) of a weight as stored, turned: [in, n].
static matrix weight(const hs_model *m, enum hs_role role, int layer, int64_t from, int64_t n) {
    const hs_config *c = hs_model_config(m);
    float row[256];
    const int64_t in = role == HS_W_O ? c->n_head * c->d_head : c->d_model;
    matrix w = make(in, n);
    for (int64_t r = 0; r < n; r++) {
        assert_int_equal(hs_model_weight_row(m, role, layer, from + r, row), HS_OK);
        for (int64_t i = 0; i < in; i++) w.at[i * n + r] = (double)row[i];
    }
    return w;
}

// What a norm does to a row but for its length, as a matrix: the mean away, then the gain, unless it
// is HS_N_ROLE.
static matrix normed(const hs_model *m, enum hs_role gain, int layer) {
    const hs_config *c = hs_model_config(m);
    const float *g = gain == HS_N_ROLE ? NULL : hs_model_vector(m, gain, layer);
    const int64_t d = c->d_model;
    matrix w = make(d, d);
    for (int64_t i = 0; i < d; i++)
        for (int64_t k = 0; k < d; k++) {
            w.at[i * d + k] = (i == k) - (c->norm == HS_NORM_LAYER ? 1. / (double)d : 0);
            if (g) w.at[i * d + k] *= (double)g[k];
        }
    return w;
}

// Products of d_model x d_model of one head, gains and all.
typedef struct circuit {
    matrix ov, qk;
} circuit;

static circuit circuit_of(const hs_model *m, int layer, int64_t h) {
    const hs_config *c = hs_model_config(m);
    const int64_t dh = c->d_head, g = h / (c->n_head / c->n_kv_head);
    matrix n = normed(m, HS_W_LN1, layer);
    matrix q = weight(m, HS_W_Q, layer, h * dh, dh), k = weight(m, HS_W_K, layer, g * dh, dh);
    matrix v = weight(m, HS_W_V, layer, g * dh, dh), o = weight(m, HS_W_O, layer, 0, c->d_model);
    matrix nq = times(&n, &q, false), nk = times(&n, &k, false), nv = times(&n, &v, false);
    matrix own = {dh, c->d_model, o.at + h * dh * c->d_model};
    circuit out = {times(&nv, &own, false), times(&nq, &nk, true)};
    matrix *done[] = {&n, &q, &k, &v, &o, &nq, &nk, &nv};
    for (size_t i = 0; i < sizeof done / sizeof *done; i++) free(done[i]->at);
    return out;
}

// The mean taken away from what is written, as every reader does it.
static matrix written(const hs_model *m, const matrix *ov) {
    matrix none = normed(m, HS_N_ROLE, -1);
    matrix out = times(ov, &none, false);
    free(none.at);
    return out;
}

static void free_circuit(circuit *c) {
    free(c->ov.at);
    free(c->qk.at);
}

static double positivity(const matrix *a) {
    double *re = zeros(2 * a->n), sum = 0, sizes = 0, trace = 0;
    assert_int_equal(hs_eigenvalues(re, re + a->n, a->at, a->n), HS_OK);
    for (int64_t i = 0; i < a->n; i++) {
        sum += re[i];
        sizes += hypot(re[i], re[a->n + i]);
        trace += a->at[i * a->n + i];
    }
    near(sum, trace, 1e-9 * sizes);
    free(re);
    return sum / sizes;
}

// ---- laws ---------------------------------------------------------------------------------------

static const int32_t tokens[] = {3, 0, 17, 49, 21};

static hs_weights_opts options(const hs_model *m) {
    return (hs_weights_opts){.model = m, .token = tokens, .n_token = 5, .length = 7};
}

// E [n_vocab, d_model], rows as they enter.
static matrix embedding(const hs_model *m) {
    const hs_config *c = hs_model_config(m);
    const hs_view *table = hs_model_table(m, HS_W_EMBED);
    float row[256];
    matrix e = make(c->n_vocab, c->d_model);
    for (int64_t t = 0; t < e.m; t++) {
        hs_view_row(table, t, 0, e.n, row);
        for (int64_t i = 0; i < e.n; i++) e.at[t * e.n + i] = (double)row[i];
    }
    return e;
}

// The same as layer 0 makes of it: one token at a time, from where it entered.
static matrix later_embedding(const hs_model *m) {
    const hs_config *c = hs_model_config(m);
    matrix e = embedding(m);
    hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
    float row[256];
    for (int64_t t = 0; t < e.m; t++) {
        for (int64_t i = 0; i < e.n; i++) row[i] = (float)e.at[t * e.n + i];
        law_eval(x, &(hs_batch){.seq = &(hs_seq){.n = 1}, .n_seq = 1, .layer_to = 1, .resid = row});
        for (int64_t i = 0; i < c->d_model; i++) e.at[t * e.n + i] = (double)hs_context_resid(x)[i];
    }
    hs_context_close(x);
    return e;
}

static void check_head(const hs_model *m, const weighed *w, const matrix *e, int layer, int h) {
    circuit c = circuit_of(m, layer, h);
    const hs_config *cfg = hs_model_config(m);
    matrix n = normed(m, HS_W_LNF, -1), u = weight(m, HS_W_HEAD, -1, 0, cfg->n_vocab);
    matrix nu = times(&n, &u, false), ov = times(&c.ov, &nu, false), qk = times(&c.qk, e, true);
    matrix out = times(e, &ov, false), match = times(e, &qk, false), wrote = written(m, &c.ov);
    near(weighed_at(w, "ov_copying", layer, h), positivity(&out), 2e-5);
    near(weighed_at(w, "qk_matching", layer, h), positivity(&match), 2e-5);
    const matrix *product[] = {&wrote, &c.qk};
    for (int i = 0; i < 2; i++) {
        double *size = zeros(cfg->d_model), nuclear = 0, entropy = 0;
        assert_int_equal(hs_singular_values(size, product[i]->at, cfg->d_model, cfg->d_model),
                         HS_OK);
        for (int64_t k = 0; k < cfg->d_model; k++) nuclear += size[k];
        for (int64_t k = 0; k < cfg->d_head; k++)
            entropy -= size[k] / nuclear * log(size[k] / nuclear);
        near(weighed_at(w, i ? "qk_norm" : "ov_norm", layer, h) / norm(product[i]), 1, 1e-6);
        near(weighed_at(w, i ? "qk_spectral" : "ov_spectral", layer, h) / size[0], 1, 1e-6);
        near(weighed_at(w, i ? "qk_nuclear" : "ov_nuclear", layer, h) / nuclear, 1, 1e-6);
        near(weighed_at(w, i ? "qk_rank" : "ov_rank", layer, h) / exp(entropy), 1, 1e-6);
        free(size);
    }
    matrix *done[] = {&n, &u, &nu, &ov, &qk, &out, &match, &wrote};
    for (size_t i = 0; i < sizeof done / sizeof *done; i++) free(done[i]->at);
    free_circuit(&c);
}

static void against_whole_matrices(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (int mlp0 = 0; mlp0 < 2; mlp0++) {
            hs_model *m = law_model(i);
            weighed w;
            hs_weights_opts o = options(m);
            o.mlp0 = mlp0;
            weighed_open(&w, &o);
            matrix e = embedding(m), later = later_embedding(m);
            for (int l = 0; l < hs_model_config(m)->n_layer; l++)
                for (int h = 0; h < hs_model_config(m)->n_head; h++)
                    check_head(m, &w, l && mlp0 ? &later : &e, l, h);
            free(e.at);
            free(later.at);
            weighed_close(&w);
            hs_model_close(m);
        }
}

static double ratio(const matrix *a, const matrix *b, bool turned) {
    matrix c = times(a, b, turned);
    const double out = norm(&c) / (norm(a) * norm(b));
    free(c.at);
    return out;
}

static void check_later(const hs_model *m, const weighed *w, int layer, int head) {
    static const char *const most_of[] = {"q_composition", "k_composition", "v_composition"};
    circuit to = circuit_of(m, layer, head);
    matrix reads = written(m, &to.ov);
    double most[3] = {0};
    for (int l = 0; l < layer; l++)
        for (int h = 0; h < hs_model_config(m)->n_head; h++) {
            circuit from = circuit_of(m, l, h);
            matrix wrote = written(m, &from.ov);
            const double want[] = {ratio(&wrote, &to.qk, false), ratio(&wrote, &to.qk, true),
                                   ratio(&wrote, &reads, false)};
            for (int k = 0; k < 3; k++) {
                const weighed_pair *p = weighed_pair_of(w, "QKV"[k], l, h, layer, head);
                near(p->value, want[k], 2e-6);
                near(p->random, 1 / sqrt((double)hs_model_config(m)->d_model), .005);
                if (want[k] > most[k]) most[k] = want[k];
            }
            free(wrote.at);
            free_circuit(&from);
        }
    for (int k = 0; k < 3 && layer; k++)
        near(weighed_at(w, most_of[k], layer, head), most[k], 2e-6);
    free(reads.at);
    free_circuit(&to);
}

static void composition_by_brute_force(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = law_model(i);
        weighed w;
        hs_weights_opts o = options(m);
        const int n_layer = (int)hs_model_config(m)->n_layer;
        const int n_head = (int)hs_model_config(m)->n_head;
        o.composition = true;
        weighed_open(&w, &o);
        assert_int_equal(w.n_pair, 3 * n_head * n_head * n_layer * (n_layer - 1) / 2);
        for (int l = 0; l < n_layer; l++)
            for (int h = 0; h < n_head; h++) check_later(m, &w, l, h);
        weighed_close(&w);
        hs_model_close(m);
    }
}

// The softmax of the whole head of one vector, in double.
static void check_neuron(const hs_model *m, const weighed_neuron *n, const char *vector) {
    const hs_config *c = hs_model_config(m);
    const bool reads = strcmp(vector, "down") != 0;
    const enum hs_role role = !reads ? HS_W_DOWN : *vector == 'g' ? HS_W_GATE : HS_W_UP;
    double best = -INFINITY, sum = 0;
    float row[256];
    int token = 0;
    matrix w = make(1, c->d_model), before = normed(m, reads ? HS_W_LN2 : HS_N_ROLE, n->layer);
    for (int64_t i = 0; i < c->d_model; i++) {
        const int64_t r = reads ? n->neuron : i;
        assert_int_equal(hs_model_weight_row(m, role, n->layer, r, row), HS_OK);
        w.at[i] = (double)row[reads ? i : n->neuron];
    }
    matrix after = normed(m, HS_W_LNF, -1), u = weight(m, HS_W_HEAD, -1, 0, c->n_vocab);
    matrix in = times(&w, &before, reads), out = times(&in, &after, false);
    matrix logit = times(&out, &u, false);
    for (int64_t t = 0; t < c->n_vocab; t++)
        if (logit.at[t] > best) best = logit.at[token = (int)t];
    for (int64_t t = 0; t < c->n_vocab; t++) sum += exp(logit.at[t] - best);
    assert_int_equal(n->token, token);
    near(n->probability, 1 / sum, 1e-6);
    matrix *done[] = {&w, &before, &after, &u, &in, &out, &logit};
    for (size_t i = 0; i < sizeof done / sizeof *done; i++) free(done[i]->at);
}

static void neurons_through_the_head(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = law_model(i);
        const hs_config *c = hs_model_config(m);
        hs_weights_opts o = options(m);
        weighed w = {0};
        o.neurons = true;
        o.n_token = 0;
        if (c->mlp == HS_MLP_NONE) {
            const hs_emit none = {0};
            assert_int_equal(hs_weights(&o, &none), HS_ENOTFOUND);
        } else {
            weighed_open(&w, &o);
            for (int l = 0; l < c->n_layer; l++)
                for (int64_t n = 0; n < c->d_ff; n++) {
                    if (c->mlp == HS_MLP_GATED)
                        check_neuron(m, weighed_neuron_of(&w, l, n, "gate"), "gate");
                    check_neuron(m, weighed_neuron_of(&w, l, n, "up"), "up");
                    check_neuron(m, weighed_neuron_of(&w, l, n, "down"), "down");
                }
            weighed_close(&w);
        }
        hs_model_close(m);
    }
}

// Head h of b is head from[h] of a.
static void same_heads(const weighed *a, const weighed *b, const int *from, double within) {
    for (int64_t i = 0; i < b->n_metric; i++) {
        const weighed_metric *m = &b->metric[i];
        const weighed_metric *was = weighed_find(a, m->name, m->layer,
                                                 from ? from[m->head] : m->head);
        assert_string_equal(m->reason, was->reason);
        if (!*m->reason) near(m->value, was->value, within * (1 + fabs(was->value)));
    }
    assert_int_equal(a->n_pair, b->n_pair);
    for (int64_t i = 0; i < b->n_pair; i++) {
        const weighed_pair *p = &b->pair[i];
        const int f = from ? from[p->from_head] : p->from_head, t = from ? from[p->head] : p->head;
        near(p->value, weighed_pair_of(a, p->kind, p->from_layer, f, p->layer, t)->value, within);
    }
}

static void compare(const rand_spec *sa, const rand_spec *sb, const int *from) {
    hs_model *a = law_open(sa, &(hs_model_opts){.dev = {.threads = 2}});
    hs_model *b = law_open(sb, &(hs_model_opts){.dev = {.threads = 2}});
    weighed wa, wb;
    hs_weights_opts oa = options(a), ob = options(b);
    oa.composition = ob.composition = true;
    weighed_open(&wa, &oa);
    weighed_open(&wb, &ob);
    same_heads(&wa, &wb, from, 2e-5);
    weighed_close(&wa);
    weighed_close(&wb);
    hs_model_close(a);
    hs_model_close(b);
}

static void permuted_heads_permute_all(void **state) {
    (void)state;
    static const int perm[] = {2, 0, 3, 1};
    static const char *const families[] = {"llama", "gpt2", "attn_only"};
    for (int i = 0; i < 3; i++) {
        rand_spec a = rand_default(families[i], false), b;
        a.n_kv_head = a.n_head;
        b = a;
        b.perm = perm;
        compare(&a, &b, perm);
    }
}

static void shared_keys_are_repeated_keys(void **state) {
    (void)state;
    rand_spec a = rand_default("llama", false), b = a;
    b.repeat_kv = true;
    compare(&a, &b, NULL);
}

// ---- the bound ----------------------------------------------------------------------------------

static double most(const matrix *a) {
    double *size = zeros(a->m < a->n ? a->m : a->n);
    assert_int_equal(hs_singular_values(size, a->at, a->m, a->n), HS_OK);
    const double out = size[0];
    free(size);
    return out;
}

// What biases add to a query or key, a column of d_head.
static matrix added(const hs_model *m, int layer, const matrix *w, enum hs_role bias, int64_t at) {
    const float *shift = hs_model_vector(m, HS_B_LN1, layer),
                *own = hs_model_vector(m, bias, layer);
    matrix out = make(w->n, 1);
    for (int64_t r = 0; r < w->n; r++) {
        out.at[r] = own ? (double)own[at + r] : 0;
        for (int64_t i = 0; i < w->m && shift; i++)
            out.at[r] += (double)shift[i] * w->at[i * w->n + r];
    }
    return out;
}

// The bound from whole matrices.
static double bound_of(const hs_model *m, int layer, int64_t h, int n) {
    const hs_config *c = hs_model_config(m);
    const int64_t dh = c->d_head, g = h / (c->n_head / c->n_kv_head);
    const double root = sqrt((double)c->d_model);
    const double scale = c->attn_scale / (c->scale_by_layer ? layer + 1 : 1);
    matrix one = normed(m, HS_W_LN1, layer);
    matrix q = weight(m, HS_W_Q, layer, h * dh, dh), k = weight(m, HS_W_K, layer, g * dh, dh);
    matrix nq = times(&one, &q, false), nk = times(&one, &k, false), qk = times(&nq, &nk, true);
    matrix bq = added(m, layer, &q, HS_B_Q, h * dh), bk = added(m, layer, &k, HS_B_K, g * dh);
    matrix turned = times(&nk, &bq, false);
    const double reach = c->pos == HS_POS_ROPE
                             ? (most(&nq) * root + norm(&bq)) * (most(&nk) * root + norm(&bk))
                             : (most(&qk) * root + norm(&turned)) * root;
    double sum = 0;
    for (int i = 1; i <= n; i++) sum += hs_entropy_bound(scale * reach * sqrt((double)i), i) / n;
    matrix *done[] = {&one, &q, &k, &nq, &nk, &qk, &bq, &bk, &turned};
    for (size_t i = 0; i < sizeof done / sizeof *done; i++) free(done[i]->at);
    return sum;
}

// The mean over the first n rows of a prompt, and the bound for as long a one.
static void check_bound(const hs_model *m, int n, double *highest) {
    const hs_config *c = hs_model_config(m);
    hs_weights_opts o = options(m);
    cap run;
    weighed w;
    o.n_token = 0;
    o.length = n;
    weighed_open(&w, &o);
    law_run(&run, m, (hs_context_opts){0}, 5, n);
    for (int l = 0; l < c->n_layer; l++)
        for (int h = 0; h < c->n_head; h++) {
            const cap_tensor *t = &run.at[0][l][HS_ROW_STATS];
            const float *entropy = t->data + (h * HS_N_STAT + HS_STAT_ENTROPY) * run.t_max;
            const double bound = weighed_at(&w, "spectral_bound_nats", l, h);
            double mean = 0;
            for (int i = 0; i < n; i++) mean += (double)entropy[i] / n;
            if (!(mean >= bound - 1e-6)) fail_msg("L%dH%d: %g is below %g", l, h, mean, bound);
            near(bound, bound_of(m, l, h, n), 1e-5);
            if (bound > *highest) *highest = bound;
        }
    weighed_close(&w);
    cap_close(&run);
}

// Weak attention: scores are a hundredth of what was drawn, by weights and biases of queries, or of
// queries and keys alike.
static hs_model *weak_model(const char *family) {
    char dir[PATH_MAX];
    rand_spec s = rand_default(family, false);
    hs_buf json = {0};
    hs_model *m;
    mk tensors = {0};
    s.bias = true;
    if (!strcmp(family, "gpt2")) s.more = ", \"scale_attn_by_inverse_layer_idx\": true";
    rand_fill(&tensors, &json, &s);
    for (size_t i = 0; i < tensors.n_tensors; i++) {
        mk_tensor *t = &tensors.tensors[i];
        float *v = (float *)(void *)t->bytes.data;
        if (!strstr(t->name, "q_proj") && !strstr(t->name, "c_attn")) continue;
        for (size_t k = 0; k < t->bytes.len / sizeof *v; k++)
            v[k] *= strstr(t->name, "c_attn") ? .1f : .01f;
    }
    mk_dir(dir);
    mk_write_st(&tensors, dir, "model.safetensors");
    mk_file(dir, "config.json", json.data, json.len);
    if (hs_model_open(&m, dir, NULL)) fail_msg("%s", hs_errmsg());
    mk_remove(dir);
    mk_free(&tensors);
    hs_buf_free(&json);
    return m;
}

static void no_prompt_is_below_the_bound(void **state) {
    (void)state;
    static const char *const families[] = {"llama", "gpt2"};
    for (int i = 0; i < 2; i++) {
        hs_model *weak = weak_model(families[i]), *strong = law_model(2 * i);
        double highest = 0;
        for (int n = 1; n < LAW_T; n += 6) {
            check_bound(strong, n, &highest);
            check_bound(weak, n, &highest);
        }
        assert_true(highest > .5);
        hs_model_close(weak);
        hs_model_close(strong);
    }
}

static void any_number_of_threads(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i += 2) {
        const rand_spec s = law_spec(i);
        hs_model *a = law_open(&s, &(hs_model_opts){.dev = {.threads = 1}});
        hs_model *b = law_open(&s, &(hs_model_opts){.dev = {.threads = 3}});
        weighed wa, wb;
        hs_weights_opts oa = options(a), ob = options(b);
        oa.composition = ob.composition = true;
        weighed_open(&wa, &oa);
        weighed_open(&wb, &ob);
        same_heads(&wa, &wb, NULL, 0);
        weighed_close(&wa);
        weighed_close(&wb);
        hs_model_close(a);
        hs_model_close(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_whole_matrices),
        cmocka_unit_test(composition_by_brute_force),
        cmocka_unit_test(neurons_through_the_head),
        cmocka_unit_test(permuted_heads_permute_all),
        cmocka_unit_test(shared_keys_are_repeated_keys),
        cmocka_unit_test(no_prompt_is_below_the_bound),
        cmocka_unit_test(any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
