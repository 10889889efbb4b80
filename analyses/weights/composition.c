// Composition of heads (Elhage et al. 2021): how much of what an earlier head writes a later one reads
// by its queries, keys or values: |OV1 QK2| / (|OV1| |QK2|), |OV1 QK2^T| / (|OV1| |QK2|) and
// |OV1 OV2| / (|OV1| |OV2|), norms of Frobenius.
//
// With triangles T of W_V1 and of what lies behind the later head, |W_V1 W_O1 W_Q2 W_K2^T| is
// |(T_V1 W_O1) (W_Q2 T_K2^T)|, of d_head x d_head: all pairs of a later layer are one product of the
// earlier heads' turned W_O with the layer's turned weights, and norms of its blocks. Cost: 3 n_head^2
// n_layer^2 d_head^2 d_model; the turned W_O of all heads are kept, n_layer n_head d_head d_model
// numbers.
#include <math.h>
#include <stdlib.h>

#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"

enum { WIDE = 1 << 22 }; // numbers of a product at once, unless one head's are more

struct composing {
    const hs_weights_opts *o;
    const hs_config *c;
    const hs_weights_head *head; // of all layers
    hs_weights_layer weights;    // the layer in work
    float *wrote;                // [n_layer * n_head * d_head][d_model]: T_V1 W_O1
    float *reads;                // [HS_N_COMPOSE * n_head * d_head][d_model]: T (W)^T of the layer
    float *part;                 // [rows][HS_N_COMPOSE * n_head * d_head]
    int64_t heads;               // earlier ones at once
    float *score;                // [HS_N_COMPOSE][n_head][earlier]
};

double hs_weights_random(const hs_model *model) {
    const hs_config *c = hs_model_config(model);
    return 1 / sqrt((double)(c->d_model - (c->norm == HS_NORM_LAYER && c->d_model > 1)));
}

// One head's rows: kind HS_N_COMPOSE is what it writes.
static int turn_head(void *arg, int64_t task, int worker) {
    const struct composing *s = arg;
    const hs_weights_layer *w = &s->weights;
    const int64_t n_head = s->c->n_head, dh = s->c->d_head, block = dh * s->c->d_model;
    const int64_t kind = task / n_head, h = task % n_head, g = h / (n_head / s->c->n_kv_head);
    const double *triangle[] = {w->tk + g * dh * dh, w->tq + h * dh * dh, w->to + h * dh * dh,
                                w->tv + g * dh * dh};
    const float *rows[] = {w->q + h * block, w->k + g * block, w->v + g * block, w->o + h * block};
    float *out = kind == HS_N_COMPOSE ? s->wrote + (w->layer * n_head + h) * block
                                      : s->reads + task * block;
    (void)worker;
    hs_weights_turn(out, triangle[kind], rows[kind], dh, s->c->d_model);
    return HS_OK;
}

// The part's columns [kind][head][d_head] of `n` earlier heads from `first` on.
static void take_norms(struct composing *s, int64_t first, int64_t n, int64_t earlier) {
    const int64_t n_head = s->c->n_head, dh = s->c->d_head, wide = HS_N_COMPOSE * n_head * dh;
    for (int64_t k = 0; k < HS_N_COMPOSE * n_head; k++)
        for (int64_t e = 0; e < n; e++) {
            const hs_weights_head *to = &s->head[s->weights.layer * n_head + k % n_head];
            const hs_spectrum *later = k / n_head == HS_COMPOSE_V ? &to->ov : &to->qk;
            const double norms = s->head[first + e].ov.norm * later->norm;
            double squares = 0;
            for (int64_t r = e * dh; r < (e + 1) * dh; r++)
                for (int64_t i = k * dh; i < (k + 1) * dh; i++)
                    squares += (double)s->part[r * wide + i] * (double)s->part[r * wide + i];
            s->score[k * earlier + first + e] = norms > 0 ? (float)(sqrt(squares) / norms) : NAN;
        }
}

static int score_pairs(struct composing *s, hs_composition_fn fn, void *ctx) {
    const hs_model *m = s->o->model;
    const hs_backend *be = hs_model_backend(m);
    const int64_t n_head = s->c->n_head, dh = s->c->d_head, d = s->c->d_model;
    const int64_t wide = HS_N_COMPOSE * n_head * dh, earlier = s->weights.layer * n_head;
    const int64_t all = s->c->n_layer * n_head;
    const hs_view view = hs_view_f32(s->reads, wide, d);
    hs_weight *packed = NULL;
    int rc = be->pack(hs_model_dev(m), &packed, &view, NULL, HS_WEIGHT_EXPAND);
    for (int64_t e = 0; e < earlier && !rc; e += s->heads) {
        const int64_t n = earlier - e < s->heads ? earlier - e : s->heads;
        rc = hs_progress_step(s->o->progress, "composition",
                              earlier * (earlier - n_head) / 2 + e * n_head,
                              all * (all - n_head) / 2);
        if (!rc) rc = hs_weights_times(m, s->part, wide, packed, s->wrote + e * dh * d, d, n * dh);
        if (!rc) take_norms(s, e, n, earlier);
    }
    if (packed) be->unpack(packed);
    return rc ? rc : fn(ctx, s->weights.layer, s->score);
}

static int open_pairs(struct composing *s) {
    const hs_config *c = s->c;
    const size_t heads = (size_t)(c->n_layer * c->n_head), dh = (size_t)c->d_head;
    const size_t d = (size_t)c->d_model, wide = HS_N_COMPOSE * (size_t)c->n_head * dh;
    s->heads = WIDE / (int64_t)(wide * dh);
    if (s->heads < 1) s->heads = 1;
    if (s->heads > (int64_t)heads) s->heads = (int64_t)heads;
    int rc = hs_alloc(&s->wrote, heads * dh * d, sizeof *s->wrote);
    if (!rc) rc = hs_alloc(&s->reads, wide * d, sizeof *s->reads);
    if (!rc) rc = hs_alloc(&s->part, (size_t)s->heads * dh * wide, sizeof *s->part);
    if (!rc) rc = hs_alloc(&s->score, HS_N_COMPOSE * (size_t)c->n_head * heads, sizeof *s->score);
    return rc;
}

int hs_weights_composition(const hs_weights_opts *o, const hs_weights_head *heads,
                           hs_composition_fn fn, void *ctx) {
    const hs_model *m = o->model;
    struct composing s = {.o = o, .c = hs_model_config(m), .head = heads};
    int rc = open_pairs(&s);
    for (int l = 0; l < s.c->n_layer && !rc; l++) {
        rc = hs_weights_layer_open(&s.weights, m, l);
        if (!rc)
            rc = hs_pool_run(hs_model_backend(m)->pool(hs_model_dev(m)),
                             (HS_N_COMPOSE + 1) * s.c->n_head, turn_head, &s);
        if (!rc && l) rc = score_pairs(&s, fn, ctx);
        hs_weights_layer_close(&s.weights);
    }
    free(s.wrote);
    free(s.reads);
    free(s.part);
    free(s.score);
    return rc;
}
