// Scores of single heads: eigenvalues of their circuits over the vocabulary, spectra, and the bound
// of their entropy.
//
// The circuit of W_V W_O over tokens, M = W_E W_V W_O W_U, is a matrix of vocabulary x vocabulary of
// rank d_head: its eigenvalues other than 0 are those of W_O (W_U W_E) W_V, of d_head x d_head
// (Elhage et al. 2021). W_U W_E, of d_model x d_model, is summed over the vocabulary once, in blocks
// that the backend multiplies and doubles add up; so is W_E^T W_E, for W_E W_Q W_K^T W_E^T. Cost:
// 4 n_vocab d_model^2, then 4 d_model^2 d_head and a small eigenvalue problem a head.
//
// Bound: a row of scores over n keys is q K^T. Adding a constant to a row changes nothing, and what a
// norm gives out is at most sqrt(d_model) long before its gain, so that the scores' distances from
// their mean have a norm of at most scale sqrt(n d_model) (sigma(W_Q W_K^T) sqrt(d_model) + |W_K b|),
// b being all that biases add to a query; with rotations, sigma(W_Q) sigma(W_K) is the most that a
// rotation between the two can leave, and biases of keys do not cancel.
#include <math.h>
#include <stdlib.h>

#include "analyses/linalg.h"
#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"

// ---- the vocabulary -----------------------------------------------------------------------------

// Sums over all tokens t, [d_model][d_model]: row i is for component i of what stands first.
struct vocabulary {
    float *write; // final gain * u_t e_t^T
    float *read;  // e_t e_t^T
};

enum { TOKENS = 1024 }; // at once

struct sum {
    const hs_weights_opts *o;
    hs_context *mlp0;   // NULL: tokens enter as embeddings
    bool alike;         // u_t is e_t
    double *total;      // [d or 2 d][d], u first
    float *in, *turned; // [TOKENS][d], [d or 2 d][TOKENS]
    float *part;
};

static void turn(float *out, const float *in, int64_t n, int64_t d) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t t = 0; t < n; t++) out[i * n + t] = in[t * d + i];
}

static int add_tokens(struct sum *s, int32_t first, int64_t n) {
    const hs_model *m = s->o->model;
    const int64_t d = hs_model_config(m)->d_model, rows = s->alike ? d : 2 * d;
    int32_t id[TOKENS];
    int rc = HS_OK;
    for (int64_t t = 0; t < n; t++) id[t] = first + (int32_t)t;
    for (int64_t t = 0; t < n && !rc && !s->alike; t++)
        rc = hs_model_weight_row(m, HS_W_HEAD, -1, first + t, s->in + t * d);
    if (!rc && !s->alike) turn(s->turned, s->in, n, d);
    if (!rc) rc = hs_weights_embed(m, s->mlp0, id, n, s->in);
    if (rc) return rc;
    turn(s->turned + (rows - d) * n, s->in, n, d);
    const hs_view e = {s->in, HS_F32, 2, {d, n}, {1, d}};
    rc = hs_weights_times_view(m, s->part, &e, s->turned, rows);
    for (int64_t i = 0; i < rows * d && !rc; i++) s->total[i] += (double)s->part[i];
    return rc;
}

static int open_sum(struct sum *s, bool mlp0) {
    const hs_model *m = s->o->model;
    const hs_config *c = hs_model_config(m);
    const int64_t d = c->d_model;
    s->alike = c->tied && !mlp0;
    const size_t rows = (size_t)(s->alike ? d : 2 * d);
    int rc = mlp0 ? hs_context_open(&s->mlp0, m, &(hs_context_opts){0}) : HS_OK;
    if (!rc) rc = hs_alloc(&s->total, rows * (size_t)d, sizeof *s->total);
    if (!rc) rc = hs_alloc(&s->part, rows * (size_t)d, sizeof *s->part);
    if (!rc) rc = hs_alloc(&s->in, (size_t)(TOKENS * d), sizeof *s->in);
    if (!rc) rc = hs_alloc(&s->turned, rows * TOKENS, sizeof *s->turned);
    return rc;
}

static int take_sum(struct vocabulary *v, const struct sum *s) {
    const hs_model *m = s->o->model;
    const int64_t d = hs_model_config(m)->d_model;
    const float *gain = hs_model_vector(m, HS_W_LNF, -1);
    const double *read = s->total + (s->alike ? 0 : d * d);
    int rc = hs_alloc(&v->write, (size_t)(d * d), sizeof *v->write);
    if (!rc) rc = hs_alloc(&v->read, (size_t)(d * d), sizeof *v->read);
    for (int64_t i = 0; i < d * d && !rc; i++) {
        v->write[i] = (float)(s->total[i] * (gain ? (double)gain[i / d] : 1));
        v->read[i] = (float)read[i];
    }
    return rc;
}

static void free_vocabulary(struct vocabulary *v) {
    free(v->write);
    free(v->read);
}

static int sum_vocabulary(struct vocabulary *out, const hs_weights_opts *o, bool mlp0) {
    const int64_t n = hs_model_config(o->model)->n_vocab;
    struct sum s = {.o = o};
    int rc = open_sum(&s, mlp0);
    for (int64_t t = 0; t < n && !rc; t += TOKENS) {
        rc = hs_progress_step(o->progress, mlp0 ? "tokens after layer 0" : "tokens", t, n);
        if (!rc) rc = add_tokens(&s, (int32_t)t, n - t < TOKENS ? n - t : TOKENS);
    }
    if (!rc) rc = take_sum(out, &s);
    hs_context_close(s.mlp0);
    free(s.total);
    free(s.part);
    free(s.in);
    free(s.turned);
    return rc;
}

// ---- a head -------------------------------------------------------------------------------------

struct layer_job {
    const hs_weights_opts *o;
    const hs_config *c;
    hs_weights_layer weights;
    float *writes, *reads; // rows of v through vocabulary.write, of q through vocabulary.read
    hs_weights_head *head; // [n_head] of the layer
};

// Re(sum of eigenvalues) / sum of their sizes, of m[i][k] = <a_i, b_k>, rows of d.
static int positivity(double *out, const float *a, const float *b, int64_t dh, int64_t d) {
    double *m = NULL, *re = NULL, sum = 0, sizes = 0;
    int rc = hs_alloc(&m, (size_t)(dh * dh), sizeof *m);
    if (!rc) rc = hs_alloc(&re, (size_t)(2 * dh), sizeof *re);
    for (int64_t i = 0; i < dh && !rc; i++)
        for (int64_t k = 0; k < dh; k++)
            for (int64_t e = 0; e < d; e++)
                m[i * dh + k] += (double)a[i * d + e] * (double)b[k * d + e];
    if (!rc) rc = hs_eigenvalues(re, re + dh, m, dh);
    for (int64_t i = 0; i < dh && !rc; i++) {
        sum += re[i];
        sizes += hypot(re[i], re[dh + i]);
    }
    *out = sizes > 0 ? sum / sizes : NAN;
    free(m);
    free(re);
    return rc;
}

// Of the product that two triangles stand for.
static int spectrum(hs_spectrum *out, const double *a, const double *b, int64_t dh) {
    double *core = NULL, *size = NULL, squares = 0, entropy = 0;
    *out = (hs_spectrum){.rank = NAN};
    int rc = hs_alloc(&core, (size_t)(dh * dh), sizeof *core);
    if (!rc) rc = hs_alloc(&size, (size_t)dh, sizeof *size);
    if (!rc) hs_weights_core(core, a, b, dh);
    if (!rc) rc = hs_singular_values(size, core, dh, dh);
    for (int64_t i = 0; i < dh && !rc; i++) {
        squares += size[i] * size[i];
        out->nuclear += size[i];
    }
    for (int64_t i = 0; i < dh && !rc; i++)
        if (size[i] > 0) entropy -= size[i] / out->nuclear * log(size[i] / out->nuclear);
    if (!rc) {
        out->norm = sqrt(squares);
        out->spectral = size[0];
        if (out->nuclear > 0) out->rank = exp(entropy);
    }
    free(core);
    free(size);
    return rc;
}

static int sigma(double *out, const double *triangle, int64_t dh) {
    double *size;
    int rc = hs_alloc(&size, (size_t)dh, sizeof *size);
    if (!rc) rc = hs_singular_values(size, triangle, dh, dh);
    if (!rc) *out = size[0];
    free(size);
    return rc;
}

static double length(const double *x, int64_t n) {
    double squares = 0;
    for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
    return sqrt(squares);
}

// |W b|, by W's triangle.
static double turned_length(const double *triangle, const double *b, int64_t dh) {
    double squares = 0;
    for (int64_t r = 0; r < dh; r++) {
        double sum = 0;
        for (int64_t e = r; e < dh; e++) sum += triangle[r * dh + e] * b[e];
        squares += sum * sum;
    }
    return sqrt(squares);
}

double hs_entropy_bound(double norm, int64_t n) {
    if (n < 2) return 0;
    const double k = (double)n, b = exp(-norm * sqrt(k / (k - 1)));
    const double most = log1p((k - 1) * b);
    return b > 0 ? most + norm * sqrt(k * (k - 1)) * b / (1 + (k - 1) * b) : 0;
}

// The mean over the rows of a causal prompt; reach: what scores' norm is at most, for one key.
static double mean_bound(double reach, int64_t length) {
    double sum = 0;
    for (int64_t n = 1; n <= length; n++) sum += hs_entropy_bound(reach * sqrt((double)n), n);
    return sum / (double)length;
}

static int bound(struct layer_job *j, int64_t h, int64_t g) {
    const hs_config *c = j->c;
    const hs_weights_layer *w = &j->weights;
    hs_weights_head *head = &j->head[h];
    const int64_t dh = c->d_head, block = dh * dh;
    const double longest = sqrt((double)c->d_model); // what a norm gives out
    const double *bq = w->bq + h * dh, *bk = w->bk + g * dh;
    double scale = c->attn_scale / (c->scale_by_layer ? w->layer + 1 : 1), reach, q, k;
    head->entropy_bound = NAN;
    if (c->norm == HS_NORM_NONE) return HS_OK;
    if (c->pos != HS_POS_ROPE) {
        reach = head->qk.spectral * longest + turned_length(w->tk + g * block, bq, dh);
        reach *= longest;
    } else {
        const double more = c->rope_attn_factor > 1 ? c->rope_attn_factor : 1;
        int rc = sigma(&q, w->tq + h * block, dh);
        if (!rc) rc = sigma(&k, w->tk + g * block, dh);
        if (rc) return rc;
        reach = more * more * (q * longest + length(bq, dh)) * (k * longest + length(bk, dh));
    }
    head->entropy_bound = mean_bound(fabs(scale) * reach, j->o->length);
    return HS_OK;
}

static int score_head(void *arg, int64_t h, int worker) {
    struct layer_job *j = arg;
    const hs_weights_layer *w = &j->weights;
    const int64_t dh = j->c->d_head, d = j->c->d_model, block = dh * dh;
    const int64_t g = h / (j->c->n_head / j->c->n_kv_head);
    hs_weights_head *out = &j->head[h];
    (void)worker;
    int rc = positivity(&out->ov_copying, w->o + h * dh * d, j->writes + g * dh * d, dh, d);
    if (!rc) rc = positivity(&out->qk_matching, w->k + g * dh * d, j->reads + h * dh * d, dh, d);
    if (!rc) rc = spectrum(&out->ov, w->tv + g * block, w->to + h * block, dh);
    if (!rc) rc = spectrum(&out->qk, w->tq + h * block, w->tk + g * block, dh);
    return rc ? rc : bound(j, h, g);
}

static int score_layer(struct layer_job *j, const struct vocabulary *v, int layer) {
    const hs_model *m = j->o->model;
    const hs_config *c = j->c;
    const int64_t d = c->d_model, q = c->n_head * c->d_head, kv = c->n_kv_head * c->d_head;
    const hs_view write = hs_view_f32(v->write, d, d), read = hs_view_f32(v->read, d, d);
    int rc = hs_weights_layer_open(&j->weights, m, layer);
    if (!rc) rc = hs_weights_times_view(m, j->writes, &write, j->weights.v, kv);
    if (!rc) rc = hs_weights_times_view(m, j->reads, &read, j->weights.q, q);
    if (!rc) rc = hs_pool_run(hs_model_backend(m)->pool(hs_model_dev(m)), c->n_head, score_head, j);
    hs_weights_layer_close(&j->weights);
    return rc;
}

int hs_weights_heads(const hs_weights_opts *o, hs_weights_head *out) {
    const hs_config *c = hs_model_config(o->model);
    const int64_t d = c->d_model, dh = c->d_head;
    struct vocabulary token = {0}, later = {0};
    struct layer_job j = {.o = o, .c = c};
    int rc = sum_vocabulary(&token, o, false);
    if (!rc && o->mlp0) rc = sum_vocabulary(&later, o, true);
    if (!rc) rc = hs_alloc(&j.writes, (size_t)(c->n_kv_head * dh * d), sizeof *j.writes);
    if (!rc) rc = hs_alloc(&j.reads, (size_t)(c->n_head * dh * d), sizeof *j.reads);
    for (int l = 0; l < c->n_layer && !rc; l++) {
        j.head = out + l * c->n_head;
        rc = hs_progress_step(o->progress, "heads", l * c->n_head, c->n_layer * c->n_head);
        if (!rc) rc = score_layer(&j, l && o->mlp0 ? &later : &token, l);
    }
    free(j.writes);
    free(j.reads);
    free_vocabulary(&token);
    free_vocabulary(&later);
    return rc;
}
