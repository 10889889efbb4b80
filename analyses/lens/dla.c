// Direct logit attribution: with the final norm's scale s as it was in the run, a token's logit is
// linear in what was added to the residual,
//
//     logit[c] = <x, u> + const,   u = centred(gain W_U[c]) / s   (centred under LayerNorm only),
//
// and x = embeddings + sum over layers of (sum over heads z_h W_O^h + b_O) + (post W_down + b_down).
// So a head's share is <z_h, W_O^h u>, a neuron's is its activation times <W_down[:,n], u>, and what
// source position j gave a head is A_ij <v_j, W_O^h u>. All sums are in double, over numbers as the
// backend has them.
//
// Cost: W_O once a layer (W_down too, for neurons) times the number of positions. Source positions
// take a second run, in which values and one row of each pattern stream past; O(T) a head.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/lens/lens_internal.h"
#include "model/core/mem.h"
#include "model/elem.h"

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += a[k] * b[k];
    return sum;
}

static double dot_vector(const float *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; a && k < n; k++) sum += (double)a[k] * b[k];
    return sum;
}

// ---- what a residual has to say -----------------------------------------------------------------

// Adds sign times the unembedding of a token to u, and what is constant in its logit to *bias.
static int add_token(const hs_lens *s, double *u, double *bias, int32_t token, double sign) {
    const hs_model *m = s->o.model;
    const int64_t d = s->cfg->d_model;
    const float *b_head = hs_model_vector(m, HS_B_HEAD, -1);
    const float *b_norm = hs_model_vector(m, HS_B_LNF, -1);
    int rc = hs_model_weight_row(m, HS_W_HEAD, -1, token, s->weights);
    if (rc) return rc;
    for (int64_t k = 0; k < d; k++) {
        u[k] += sign * (double)s->weights[k];
        if (b_norm) *bias += sign * (double)b_norm[k] * (double)s->weights[k];
    }
    if (b_head) *bias += sign * (double)b_head[token];
    return HS_OK;
}

// u of position i, and what no part of the residual said.
static int direct(hs_lens *s, int64_t i) {
    const int64_t d = s->cfg->d_model;
    const float *gain = hs_model_vector(s->o.model, HS_W_LNF, -1);
    double *u = s->direction + i * d, mean = 0;
    hs_dla *out = &s->dla[i];
    memset(u, 0, (size_t)d * sizeof *u);
    int rc = add_token(s, u, &out->bias, out->token, 1);
    if (!rc && out->minus != HS_LENS_NONE) rc = add_token(s, u, &out->bias, out->minus, -1);
    if (rc) return rc;
    for (int64_t k = 0; gain && k < d; k++) u[k] *= (double)gain[k];
    for (int64_t k = 0; s->cfg->norm == HS_NORM_LAYER && k < d; k++) mean += u[k] / (double)d;
    for (int64_t k = 0; k < d; k++) u[k] = (u[k] - mean) / s->scale[i];
    return HS_OK;
}

// ---- parts --------------------------------------------------------------------------------------

static const double *part_row(const hs_lens *s, enum hs_lens_part part, int64_t layer, int64_t i) {
    return s->part[part] + (layer * s->at.n_pos + i) * s->width[part];
}

// The directions of all positions before a matrix of `width` inputs: W^T u, a row each.
static int take_through(const hs_lens *s, enum hs_role role, int layer, int64_t width) {
    const int64_t d = s->cfg->d_model;
    int rc = HS_OK;
    memset(s->through, 0, (size_t)(s->at.n_pos * width) * sizeof *s->through);
    for (int64_t k = 0; k < d && !rc; k++) {
        rc = hs_model_weight_row(s->o.model, role, layer, k, s->weights);
        for (int64_t i = 0; i < s->at.n_pos && !rc; i++) {
            const double by = s->direction[i * d + k];
            double *to = s->through + i * width;
            for (int64_t w = 0; w < width; w++) to[w] += by * (double)s->weights[w];
        }
    }
    return rc;
}

static int take_heads(const hs_lens *s, int layer) {
    const int64_t d_head = s->cfg->d_head, n_head = s->cfg->n_head, width = n_head * d_head;
    const float *bias = hs_model_vector(s->o.model, HS_B_O, layer);
    int rc = take_through(s, HS_W_O, layer, width);
    for (int64_t i = 0; i < s->at.n_pos && !rc; i++) {
        const double *z = part_row(s, HS_PART_Z, layer, i), *to = s->through + i * width;
        double *head = s->head + (i * s->cfg->n_layer + layer) * n_head;
        for (int64_t h = 0; h < n_head; h++) head[h] = dot(z + h * d_head, to + h * d_head, d_head);
        s->dla[i].bias += dot_vector(bias, s->direction + i * s->cfg->d_model, s->cfg->d_model);
    }
    if (!rc && s->looks)
        memcpy(s->looks + layer * width, s->through, (size_t)width * sizeof *s->looks);
    return rc;
}

static void take_mlp(const hs_lens *s, int layer) {
    const int64_t d = s->cfg->d_model;
    const float *bias = hs_model_vector(s->o.model, HS_B_DOWN, layer);
    for (int64_t i = 0; i < s->at.n_pos; i++) {
        const double *u = s->direction + i * d, constant = dot_vector(bias, u, d);
        s->mlp[i * s->cfg->n_layer + layer] = dot(part_row(s, HS_PART_MLP, layer, i), u, d) -
                                              constant;
        s->dla[i].bias += constant;
    }
}

static int take_neurons(const hs_lens *s, int layer) {
    const int64_t n = s->cfg->d_ff;
    int rc = take_through(s, HS_W_DOWN, layer, n);
    for (int64_t i = 0; i < s->at.n_pos && !rc; i++) {
        const double *post = part_row(s, HS_PART_POST, layer, i), *to = s->through + i * n;
        hs_dla_neuron *out = s->neuron + (i * s->cfg->n_layer + layer) * n;
        for (int64_t k = 0; k < n; k++) out[k] = (hs_dla_neuron){layer, k, post[k] * to[k]};
    }
    return rc;
}

static int by_size(const void *a, const void *b) {
    const hs_dla_neuron *x = a, *y = b;
    const double p = fabs(x->value), q = fabs(y->value);
    if (p > q || p < q) return p > q ? -1 : 1;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

// ---- by source position -------------------------------------------------------------------------

// What each earlier position has to say to each head, before attention weighs it.
static int on_values(void *ctx, const hs_site *site, const hs_view *view) {
    const hs_lens *s = ctx;
    const int64_t n_head = s->cfg->n_head, d_head = s->cfg->d_head, n = s->at.prompt->n_token;
    const int64_t group = n_head / s->cfg->n_kv_head;
    const double *to = s->looks + site->layer * n_head * d_head;
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t h = 0; h < n_head; h++) {
            const float *v = (const float *)view->data + r * view->stride[0] +
                             h / group * view->stride[1];
            s->spoken[h * n + site->row0 + r] = dot_vector(v, to + h * d_head, d_head);
        }
    return HS_OK;
}

static int on_pattern(void *ctx, const hs_tile *tile, int worker) {
    const hs_lens *s = ctx;
    const int64_t n = s->at.prompt->n_token, r = s->at.pos[0] - tile->row0;
    (void)worker;
    if (r < 0 || r >= tile->n_row) return HS_OK;
    const float *row = tile->row + r * tile->ld;
    const double *spoken = s->spoken + tile->head * n;
    double *out = s->source + (tile->layer * s->cfg->n_head + tile->head) * n;
    for (int64_t j = 0; j <= s->at.pos[0]; j++) out[j] = (double)row[j] * spoken[j];
    return HS_OK;
}

static int open_sources(hs_lens *s) {
    const int n_layer = s->dims.n_layer;
    const size_t width = (size_t)s->cfg->n_head * (size_t)s->cfg->d_head;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)n_layer + 1, sizeof *points);
    if (!rc) rc = hs_alloc(&s->looks, (size_t)n_layer * width, sizeof *s->looks);
    if (!rc) rc = hs_hooks_open(&s->sources, &s->dims);
    for (int l = 0; l < n_layer && !rc; l++) points[l] = HS_BIT(HS_V);
    if (!rc)
        rc = hs_hooks_add(s->sources, &(hs_hook){.points = points, .rows = on_values, .ctx = s});
    for (int l = 0; l < n_layer && !rc; l++) points[l] = HS_BIT(HS_PATTERN);
    if (!rc)
        rc = hs_hooks_add(s->sources, &(hs_hook){.points = points, .tile = on_pattern, .ctx = s});
    free(points);
    return rc;
}

static int run_sources(hs_lens *s) {
    const hs_prompt *p = s->at.prompt;
    const size_t n = (size_t)p->n_token, n_head = (size_t)s->cfg->n_head;
    const size_t cells = (size_t)s->cfg->n_layer * n_head;
    int rc = hs_grow(&s->source, cells * n, sizeof *s->source);
    if (!rc) rc = hs_grow(&s->spoken, n_head * n, sizeof *s->spoken);
    if (rc) return rc;
    memset(s->source, 0, cells * n * sizeof *s->source);
    s->dla->source = s->source;
    hs_context_set_tap(s->x, hs_hooks_tap(s->sources));
    return hs_context_eval(
        s->x, &(hs_batch){.seq = &(hs_seq){.tokens = p->tokens, .n = p->n_token}, .n_seq = 1});
}

// ---- a prompt -----------------------------------------------------------------------------------

int hs_dla_open(hs_lens *s) {
    const int64_t z = s->width[HS_PART_Z], d = s->cfg->d_model, ff = s->cfg->d_ff;
    const int64_t widest = z > d ? z : d;
    int rc = hs_alloc(&s->weights, (size_t)(ff > widest ? ff : widest), sizeof *s->weights);
    return !rc && s->o.by & HS_DLA_SOURCE ? open_sources(s) : rc;
}

static int make_room(hs_lens *s) {
    const size_t n = (size_t)s->at.n_pos, layers = n * (size_t)s->cfg->n_layer;
    const int64_t z = s->width[HS_PART_Z], post = s->width[HS_PART_POST];
    int rc = hs_grow(&s->dla, n, sizeof *s->dla);
    if (!rc) rc = hs_grow(&s->direction, n, (size_t)s->cfg->d_model * sizeof *s->direction);
    if (!rc) rc = hs_grow(&s->head, layers, (size_t)s->cfg->n_head * sizeof *s->head);
    if (!rc) rc = hs_grow(&s->mlp, layers, sizeof *s->mlp);
    if (!rc) rc = hs_grow(&s->neuron, layers, (size_t)post * sizeof *s->neuron);
    if (!rc) rc = hs_grow(&s->through, n, (size_t)(z > post ? z : post) * sizeof *s->through);
    return rc;
}

static int begin(hs_lens *s, int64_t i) {
    const bool mlps = s->cfg->mlp != HS_MLP_NONE;
    const int64_t n_layer = s->cfg->n_layer;
    s->dla[i] = (hs_dla){.token = s->at.token == HS_LENS_TOP ? s->top[i] : s->at.token,
                         .minus = s->at.minus,
                         .logit = s->said[2 * i] - s->said[2 * i + 1],
                         .head = s->head + i * n_layer * s->cfg->n_head,
                         .mlp = mlps ? s->mlp + i * n_layer : NULL};
    return direct(s, i);
}

static void end(hs_lens *s, int64_t i) {
    const int64_t n_layer = s->cfg->n_layer, n = n_layer * s->width[HS_PART_POST];
    hs_dla *out = &s->dla[i];
    double sum = 0;
    out->embed = dot(part_row(s, HS_PART_EMBED, 0, i), s->direction + i * s->cfg->d_model,
                     s->cfg->d_model);
    for (int64_t k = 0; k < n_layer * s->cfg->n_head; k++) sum += out->head[k];
    for (int64_t l = 0; out->mlp && l < n_layer; l++) sum += out->mlp[l];
    out->rest = out->logit - out->embed - out->bias - sum;
    if (!n) return;
    hs_dla_neuron *neuron = s->neuron + i * n;
    qsort(neuron, (size_t)n, sizeof *neuron, by_size);
    out->neuron = neuron;
    out->n_neuron = s->o.top_neurons && s->o.top_neurons < n ? s->o.top_neurons : n;
}

int hs_dla_run(hs_lens *s) {
    int rc = make_room(s);
    for (int64_t i = 0; i < s->at.n_pos && !rc; i++) rc = begin(s, i);
    for (int l = 0; l < s->dims.n_layer && !rc; l++) {
        rc = take_heads(s, l);
        if (!rc && s->width[HS_PART_MLP]) take_mlp(s, l);
        if (!rc && s->width[HS_PART_POST]) rc = take_neurons(s, l);
    }
    for (int64_t i = 0; i < s->at.n_pos && !rc; i++) end(s, i);
    return !rc && s->o.by & HS_DLA_SOURCE ? run_sources(s) : rc;
}
