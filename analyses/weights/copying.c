// The copying score of heads (Wang et al. 2022, section 3.1): when a head attends to a token alone,
// is that token among the 5 that its output speaks most for?
//
// The token enters as the residual after layer 0 (embed.c), goes through the norm of block 1,
// whichever the head's own is, W_V and its bias, W_O without bias, the final norm and the LM head.
// Turned round, the output times -1 does. The products are the model's own packed weights; of W_O's
// input all heads but one are 0. Cost: n_token n_layer n_head rows of the LM head.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"

enum { AMONG = 5, WIDE = 1 << 22 }; // WIDE: logits at once, unless one row is more

struct copying {
    const hs_weights_opts *o;
    const hs_config *c;
    float *in;    // [n_token][d_model]: tokens behind the norm
    float *v, *z; // [n_token][n_kv_head * d_head], [n_token][n_head * d_head]
    float *out;   // [n_token][d_model]
    float *logit; // [rows][n_vocab]
    float *bias;  // [n_vocab]: what the final norm's bias and the head's own add
    int64_t rows;
    double *copy; // [2] of the head in work
};

static int open_rows(struct copying *s) {
    const hs_config *c = s->c;
    const size_t n = (size_t)s->o->n_token, v = (size_t)c->n_vocab;
    s->rows = WIDE / c->n_vocab < 1 ? 1 : WIDE / c->n_vocab;
    if (s->rows > s->o->n_token) s->rows = s->o->n_token;
    int rc = hs_alloc(&s->in, n * (size_t)c->d_model, sizeof *s->in);
    if (!rc) rc = hs_alloc(&s->v, n * (size_t)(c->n_kv_head * c->d_head), sizeof *s->v);
    if (!rc) rc = hs_alloc(&s->z, n * (size_t)(c->n_head * c->d_head), sizeof *s->z);
    if (!rc) rc = hs_alloc(&s->out, n * (size_t)c->d_model, sizeof *s->out);
    if (!rc) rc = hs_alloc(&s->logit, (size_t)s->rows * v, sizeof *s->logit);
    if (!rc) rc = hs_alloc(&s->bias, v, sizeof *s->bias);
    return rc;
}

static const hs_weight *weight(const struct copying *s, enum hs_role role, int layer) {
    return hs_model_weight(s->o->model, role, layer);
}

static int enter(struct copying *s) {
    const hs_model *m = s->o->model;
    const int block = s->c->n_layer > 1 ? 1 : 0;
    hs_context *x = NULL;
    int rc = hs_context_open(&x, m, &(hs_context_opts){0});
    if (!rc) rc = hs_weights_embed(m, x, s->o->token, s->o->n_token, s->in);
    hs_context_close(x);
    return rc ? rc
              : hs_weights_norm(m, s->in, s->o->n_token, hs_model_vector(m, HS_W_LN1, block),
                                hs_model_vector(m, HS_B_LN1, block));
}

static int find_bias(struct copying *s) {
    const hs_model *m = s->o->model;
    const float *shift = hs_model_vector(m, HS_B_LNF, -1), *own = hs_model_vector(m, HS_B_HEAD, -1);
    int rc = shift ? hs_weights_times(m, s->bias, s->c->n_vocab, weight(s, HS_W_HEAD, -1), shift,
                                      s->c->d_model, 1)
                   : HS_OK;
    for (int64_t t = 0; t < s->c->n_vocab && own; t++) s->bias[t] += own[t];
    return rc;
}

// Whether token `own` is among the first by sign * logit + bias; equals go by their ids.
static bool among(const struct copying *s, const float *logit, int32_t own, float sign) {
    const float mine = sign * logit[own] + s->bias[own];
    int before = 0;
    for (int64_t t = 0; t < s->c->n_vocab && before < AMONG; t++) {
        const float it = sign * logit[t] + s->bias[t];
        before += it > mine || (!(it < mine) && t < own);
    }
    return before < AMONG;
}

static int score(struct copying *s, int layer, int64_t head) {
    const hs_model *m = s->o->model;
    const hs_config *c = s->c;
    const int64_t n = s->o->n_token, dh = c->d_head, d = c->d_model, q = c->n_head * dh;
    const int64_t group = head / (c->n_head / c->n_kv_head), kv = c->n_kv_head * dh;
    int64_t hits[2] = {0};
    bool silent = true;
    memset(s->z, 0, (size_t)(n * q) * sizeof *s->z);
    for (int64_t t = 0; t < n; t++)
        memcpy(s->z + t * q + head * dh, s->v + t * kv + group * dh, (size_t)dh * sizeof *s->z);
    int rc = hs_weights_times(m, s->out, d, weight(s, HS_W_O, layer), s->z, q, n);
    for (int64_t i = 0; i < n * d && silent; i++) silent = !(fabsf(s->out[i]) > 0);
    s->copy[0] = s->copy[1] = NAN;
    if (rc || silent) return rc;
    rc = hs_weights_norm(m, s->out, n, hs_model_vector(m, HS_W_LNF, -1), NULL);
    for (int64_t t = 0; t < n && !rc; t += s->rows) {
        const int64_t some = n - t < s->rows ? n - t : s->rows;
        rc = hs_weights_times(m, s->logit, c->n_vocab, weight(s, HS_W_HEAD, -1), s->out + t * d, d,
                              some);
        for (int64_t i = 0; i < some && !rc; i++) {
            const float *logit = s->logit + i * c->n_vocab;
            hits[0] += among(s, logit, s->o->token[t + i], 1);
            hits[1] += among(s, logit, s->o->token[t + i], -1);
        }
    }
    for (int i = 0; i < 2; i++) s->copy[i] = (double)hits[i] / (double)n;
    return rc;
}

static int score_layer(struct copying *s, int layer, double *copy) {
    const hs_config *c = s->c;
    const float *own = hs_model_vector(s->o->model, HS_B_V, layer);
    const int64_t kv = c->n_kv_head * c->d_head, n = s->o->n_token;
    int rc = hs_weights_times(s->o->model, s->v, kv, weight(s, HS_W_V, layer), s->in, c->d_model,
                              n);
    for (int64_t i = 0; i < n * kv && !rc && own; i++) s->v[i] += own[i % kv];
    for (int64_t h = 0; h < c->n_head && !rc; h++) {
        const int64_t at = layer * c->n_head + h;
        rc = hs_progress_step(s->o->progress, "copying", at, c->n_layer * c->n_head);
        s->copy = copy + 2 * at;
        if (!rc) rc = score(s, layer, h);
    }
    return rc;
}

int hs_weights_copying(const hs_weights_opts *o, double *copy) {
    struct copying s = {.o = o, .c = hs_model_config(o->model)};
    int rc = open_rows(&s);
    if (!rc) rc = enter(&s);
    if (!rc) rc = find_bias(&s);
    for (int l = 0; l < s.c->n_layer && !rc; l++) rc = score_layer(&s, l, copy);
    free(s.in);
    free(s.v);
    free(s.z);
    free(s.out);
    free(s.logit);
    free(s.bias);
    return rc;
}
