// Neurons read through the LM head (Davies 2024): the softmax of W_U w for each neuron's vectors w,
// and the token that it gives most to: what the neuron reads (rows of W_gate and W_up, with the gain
// of the norm before the MLP) and what it writes (columns of W_down). The LM head has the final
// norm's gain and no bias. A high probability is that of a neuron that stands for one token.
//
// A layer's vectors go through the head in blocks whose logits are forgotten after each. Cost: 2 or 3
// n_layer d_ff rows of the LM head.
#include <math.h>
#include <stdlib.h>

#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"

enum { WIDE = 1 << 22 }; // logits at once, unless one row is more

static const struct vector {
    const char *name;
    enum hs_role role;
    bool reads;
} vectors[] = {{"gate", HS_W_GATE, true}, {"up", HS_W_UP, true}, {"down", HS_W_DOWN, false}};
enum { N_VECTOR = sizeof vectors / sizeof *vectors };

struct decoding {
    const hs_weights_opts *o;
    const hs_config *c;
    hs_neuron_fn fn;
    void *ctx;
    float *rows;         // [d_ff][d_model]
    float *column;       // [d_ff]
    float *logit;        // [block][n_vocab]
    double *lse;         // [block]
    int64_t block;       // rows at once
    int64_t done, total; // rows
};

static int read_rows(const struct decoding *s, const struct vector *v, int layer) {
    const hs_model *m = s->o->model;
    const int64_t d = s->c->d_model, n = s->c->d_ff;
    const float *before = hs_model_vector(m, HS_W_LN2, layer);
    const float *after = hs_model_vector(m, HS_W_LNF, -1);
    int rc = HS_OK;
    for (int64_t r = 0; r < n && !rc && v->reads; r++)
        rc = hs_model_weight_row(m, v->role, layer, r, s->rows + r * d);
    for (int64_t i = 0; i < d && !rc && !v->reads; i++) {
        rc = hs_model_weight_row(m, v->role, layer, i, s->column);
        for (int64_t r = 0; r < n && !rc; r++) s->rows[r * d + i] = s->column[r];
    }
    for (int64_t r = 0; r < n && !rc; r++) {
        hs_weights_fold(m, s->rows + r * d, v->reads ? before : NULL);
        for (int64_t i = 0; i < d && after; i++) s->rows[r * d + i] *= after[i];
    }
    return rc;
}

static int decode_block(struct decoding *s, const struct vector *v, int layer, int64_t first,
                        int64_t n) {
    const hs_model *m = s->o->model;
    const int64_t n_vocab = s->c->n_vocab;
    int rc = hs_progress_step(s->o->progress, "neurons", s->done, s->total);
    if (!rc)
        rc = hs_weights_times(m, s->logit, n_vocab, hs_model_weight(m, HS_W_HEAD, -1),
                              s->rows + first * s->c->d_model, s->c->d_model, n);
    if (!rc)
        rc = hs_model_backend(m)->log_sum_exp(hs_model_dev(m), s->lse, s->logit, n_vocab, n,
                                              n_vocab);
    for (int64_t i = 0; i < n && !rc; i++) {
        const float *logit = s->logit + i * n_vocab;
        int64_t best = 0;
        for (int64_t t = 1; t < n_vocab; t++)
            if (logit[t] > logit[best]) best = t;
        const hs_neuron neuron = {layer, first + i, v->name, (int32_t)best,
                                  exp((double)logit[best] - s->lse[i])};
        rc = s->fn(s->ctx, &neuron);
    }
    s->done += n;
    return rc;
}

static int open_rows(struct decoding *s) {
    const hs_config *c = s->c;
    s->block = WIDE / c->n_vocab < 1 ? 1 : WIDE / c->n_vocab;
    if (s->block > c->d_ff) s->block = c->d_ff;
    int rc = hs_alloc(&s->rows, (size_t)(c->d_ff * c->d_model), sizeof *s->rows);
    if (!rc) rc = hs_alloc(&s->column, (size_t)c->d_ff, sizeof *s->column);
    if (!rc) rc = hs_alloc(&s->logit, (size_t)(s->block * c->n_vocab), sizeof *s->logit);
    if (!rc) rc = hs_alloc(&s->lse, (size_t)s->block, sizeof *s->lse);
    return rc;
}

int hs_weights_neurons(const hs_weights_opts *o, hs_neuron_fn fn, void *ctx) {
    const hs_config *c = hs_model_config(o->model);
    const int from = c->mlp == HS_MLP_GATED ? 0 : 1;
    struct decoding s = {
        .o = o, .c = c, .fn = fn, .ctx = ctx, .total = c->n_layer * c->d_ff * (N_VECTOR - from)};
    int rc = open_rows(&s);
    for (int l = 0; l < c->n_layer && !rc; l++)
        for (int v = from; v < N_VECTOR && !rc; v++) {
            rc = read_rows(&s, &vectors[v], l);
            for (int64_t r = 0; r < c->d_ff && !rc; r += s.block)
                rc = decode_block(&s, &vectors[v], l, r,
                                  c->d_ff - r < s.block ? c->d_ff - r : s.block);
        }
    free(s.rows);
    free(s.column);
    free(s.logit);
    free(s.lse);
    return rc;
}
