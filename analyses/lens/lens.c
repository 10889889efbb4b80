// The logit lens: the run with the residuals of chosen positions kept, then those rows through the
// model's own final norm and LM head.
//
// Each row is a sequence of its own, injected after the last layer (hs_context_eval over no layers).
// Of each position the row after the last layer comes first: the logits that the others are compared
// with are those at hand, and no other row of logits is kept. The last row gives the bits of the
// model's own logits, since a row's result does not depend on its neighbours; only a model that runs
// in double gets its residuals rounded to f32 on the way.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/lens/lens_internal.h"
#include "model/core/mem.h"
#include "model/elem.h"

enum { LENS_ROWS = 128 }; // of an evaluation

// ---- the run ------------------------------------------------------------------------------------

// The first of the positions asked for that is not before pos.
static int64_t first_from(const hs_lens *s, int64_t pos) {
    int64_t lo = 0, hi = s->at.n_pos;
    while (lo < hi) {
        const int64_t mid = (lo + hi) / 2;
        if (s->at.pos[mid] < pos)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

// Row `depth` of position i: 0 the embeddings, n_layer the last one.
static float *resid_row(const hs_lens *s, int64_t i, int64_t depth) {
    const int64_t n = s->cfg->n_layer + 1;
    return s->resid + (i * n + (depth + 1) % n) * s->cfg->d_model;
}

static double *part_row(const hs_lens *s, enum hs_lens_part part, int64_t layer, int64_t i) {
    return s->part[part] + (layer * s->at.n_pos + i) * s->width[part];
}

// The first of the largest.
static int32_t argmax(int dtype, const void *row, int64_t n) {
    int64_t best = 0;
    for (int64_t k = 1; k < n; k++)
        if (hs_elem_get(dtype, row, k) > hs_elem_get(dtype, row, best)) best = k;
    return (int32_t)best;
}

static void keep_part(const hs_lens *s, enum hs_lens_part part, int64_t layer, int64_t i, int dtype,
                      const void *row) {
    double *to = s->width[part] ? part_row(s, part, layer, i) : NULL;
    for (int64_t k = 0; k < s->width[part]; k++) to[k] = hs_elem_get(dtype, row, k);
}

static void keep_said(const hs_lens *s, int64_t i, int dtype, const void *row) {
    s->top[i] = argmax(dtype, row, s->cfg->n_vocab);
    const int32_t token = s->at.token == HS_LENS_TOP ? s->top[i] : s->at.token;
    s->said[2 * i] = hs_elem_get(dtype, row, token);
    s->said[2 * i + 1] = s->at.minus == HS_LENS_NONE ? 0 : hs_elem_get(dtype, row, s->at.minus);
}

static void keep_resid(const hs_lens *s, int64_t i, int64_t depth, int dtype, const void *row) {
    float *to = resid_row(s, i, depth);
    for (int64_t k = 0; k < s->cfg->d_model; k++) to[k] = (float)hs_elem_get(dtype, row, k);
}

static void keep_row(const hs_lens *s, const hs_site *site, int64_t i, int dtype, const void *row) {
    switch (site->point) {
    case HS_RESID_PRE: // of layer 0
        keep_resid(s, i, 0, dtype, row);
        keep_part(s, HS_PART_EMBED, 0, i, dtype, row);
        break;
    case HS_RESID_POST:
        keep_resid(s, i, site->layer + 1, dtype, row);
        break;
    case HS_Z:
        keep_part(s, HS_PART_Z, site->layer, i, dtype, row);
        break;
    case HS_MLP_POST:
        keep_part(s, HS_PART_POST, site->layer, i, dtype, row);
        break;
    case HS_MLP_OUT:
        keep_part(s, HS_PART_MLP, site->layer, i, dtype, row);
        break;
    case HS_LNF_SCALE:
        s->scale[i] = hs_elem_get(dtype, row, 0);
        break;
    default:
        keep_said(s, i, dtype, row);
    }
}

static int on_run(void *ctx, const hs_site *site, const hs_view *view) {
    const hs_lens *s = ctx;
    for (int64_t i = first_from(s, site->row0);
         i < s->at.n_pos && s->at.pos[i] < site->row0 + site->n_row; i++)
        keep_row(
            s, site, i, view->dtype,
            hs_elem_at(view->dtype, view->data, (s->at.pos[i] - site->row0) * view->stride[0]));
    return HS_OK;
}

static int run(hs_lens *s) {
    const hs_prompt *p = s->at.prompt;
    const hs_seq seq = {.tokens = p->tokens, .n = p->n_token};
    const hs_batch batch = {.seq = &seq,
                            .n_seq = 1,
                            .logits = s->o.dla ? HS_LOGITS_ROWS : HS_LOGITS_NONE,
                            .logit_row = s->at.pos,
                            .n_logit_row = s->at.n_pos};
    for (int64_t i = 0; i < s->at.n_pos; i++) s->scale[i] = 1;
    hs_context_set_tap(s->x, &s->tap);
    return hs_context_eval(s->x, &batch);
}

// ---- the lens -----------------------------------------------------------------------------------

static int64_t rank_of(const float *row, int64_t n, int32_t id) {
    int64_t rank = 0;
    for (int64_t k = 0; k < n; k++) rank += row[k] > row[id] || (k < id && row[k] == row[id]);
    return rank;
}

static int compare(const hs_lens *s, const float *row, double lse, hs_lens_row *out) {
    const int64_t n = s->cfg->n_vocab;
    if (!memcmp(row, s->final, (size_t)n * sizeof *row)) return HS_OK; // by 0 exactly
    return hs_model_backend(s->o.model)
        ->divergence(hs_model_dev(s->o.model), &out->kl, NULL, s->final, n, &s->final_lse, row, n,
                     &lse, 1, n);
}

// One row of logits: sequence by sequence as eval_positions lays them out.
static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    hs_lens *s = ctx;
    const int64_t n = s->cfg->n_vocab, n_depth = s->cfg->n_layer + 1;
    const int64_t i = s->first + site->seq / n_depth;
    const int64_t depth = (site->seq + s->cfg->n_layer) % n_depth;
    const float *row = view->data;
    hs_lens_row *out = &s->row[i * n_depth + depth];
    double lse;
    int rc =
        hs_model_backend(s->o.model)->log_sum_exp(hs_model_dev(s->o.model), &lse, row, n, 1, n);
    if (rc) return rc;
    *out = (hs_lens_row){.top = argmax(HS_F32, row, n)};
    if (depth == s->cfg->n_layer) {
        memcpy(s->final, row, (size_t)n * sizeof *row);
        s->final_lse = lse;
        s->top[i] = out->top;
    }
    out->logit = (double)row[out->top];
    out->prob = exp(out->logit - lse);
    out->rank = rank_of(row, n, s->top[i]);
    for (int t = 0; t < s->o.n_track; t++) {
        const double logit = (double)row[s->o.track[t]];
        s->seen[(i * n_depth + depth) * s->o.n_track + t] = (hs_lens_seen){
            rank_of(row, n, s->o.track[t]), logit, exp(logit - lse)};
    }
    return compare(s, row, lse, out);
}

// The scale that the final norm had in the run.
static int on_scale(void *ctx, const hs_site *site, const hs_view *view) {
    const hs_lens *s = ctx;
    *(float *)view->data = (float)s->scale[s->first + site->seq / (s->cfg->n_layer + 1)];
    return HS_OK;
}

// Positions [first, first + n), all rows of one after the other.
static int eval_positions(hs_lens *s, int64_t first, int64_t n) {
    const int64_t rows = n * (s->cfg->n_layer + 1);
    int rc = hs_grow(&s->seq, (size_t)rows, sizeof *s->seq);
    if (rc) return rc;
    for (int64_t r = 0; r < rows; r++) s->seq[r] = (hs_seq){.n = 1};
    s->first = first;
    return hs_context_eval(s->x, &(hs_batch){.seq = s->seq,
                                             .n_seq = (int)rows,
                                             .layer_from = (int)s->cfg->n_layer,
                                             .resid = resid_row(s, first, s->cfg->n_layer),
                                             .logits = HS_LOGITS_ALL});
}

static int look(hs_lens *s) {
    const int64_t fit = LENS_ROWS / (s->cfg->n_layer + 1), step = fit < 1 ? 1 : fit;
    int rc = HS_OK;
    hs_context_set_tap(s->x, hs_hooks_tap(s->lens));
    for (int64_t i = 0; i < s->at.n_pos && !rc; i += step)
        rc = eval_positions(s, i, s->at.n_pos - i < step ? s->at.n_pos - i : step);
    return rc;
}

// ---- open and close -----------------------------------------------------------------------------

static int open_run_hooks(hs_lens *s) {
    const bool mlps = s->cfg->mlp != HS_MLP_NONE;
    const int n_layer = s->dims.n_layer;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[0] = HS_BIT(HS_RESID_PRE);
    for (int l = 0; l < n_layer; l++) {
        points[l] |= HS_BIT(HS_RESID_POST);
        if (s->o.dla) points[l] |= HS_BIT(HS_Z);
        if (s->o.dla && mlps) points[l] |= HS_BIT(HS_MLP_OUT);
        if (s->width[HS_PART_POST]) points[l] |= HS_BIT(HS_MLP_POST);
    }
    if (s->cfg->norm != HS_NORM_NONE && (s->o.dla || s->o.frozen))
        points[n_layer] |= HS_BIT(HS_LNF_SCALE);
    if (s->o.dla) points[n_layer] |= HS_BIT(HS_LOGITS);
    rc = hs_hooks_add(s->run, &(hs_hook){.points = points, .rows = on_run, .ctx = s});
    free(points);
    if (rc) return rc;
    s->tap = *hs_hooks_tap(s->run);
    s->tap.own_type = true;
    return HS_OK;
}

static int open_lens_hooks(hs_lens *s) {
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)s->dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[s->dims.n_layer] = HS_BIT(HS_LNF_SCALE);
    if (s->o.frozen && s->cfg->norm != HS_NORM_NONE)
        rc = hs_hooks_add(s->lens,
                          &(hs_hook){.points = points, .write = true, .rows = on_scale, .ctx = s});
    points[s->dims.n_layer] = HS_BIT(HS_LOGITS);
    if (!rc) rc = hs_hooks_add(s->lens, &(hs_hook){.points = points, .rows = on_logits, .ctx = s});
    free(points);
    return rc;
}

static int check_tokens(const hs_lens *s, const int32_t *id, int n) {
    for (int i = 0; i < n; i++)
        if (id[i] < -1 || id[i] >= s->cfg->n_vocab)
            return hs_fail(HS_ERANGE, "token %d: the vocabulary has %lld", id[i],
                           (long long)s->cfg->n_vocab);
    return HS_OK;
}

static void set_widths(hs_lens *s) {
    const bool mlps = s->cfg->mlp != HS_MLP_NONE;
    if (!s->o.dla) return;
    s->width[HS_PART_EMBED] = s->cfg->d_model;
    s->width[HS_PART_Z] = s->cfg->n_head * s->cfg->d_head;
    s->width[HS_PART_MLP] = mlps ? s->cfg->d_model : 0;
    s->width[HS_PART_POST] = s->o.by & HS_DLA_NEURON ? s->cfg->d_ff : 0;
}

int hs_lens_open(hs_lens **out, const hs_lens_opts *opts) {
    hs_lens *s;
    *out = NULL;
    int rc = hs_alloc(&s, 1, sizeof *s);
    if (rc) return rc;
    s->o = *opts;
    s->cfg = hs_model_config(opts->model);
    s->dims = hs_dims_of(opts->model);
    set_widths(s);
    rc = check_tokens(s, opts->track, opts->n_track);
    if (!rc && opts->by & HS_DLA_NEURON && s->cfg->mlp == HS_MLP_NONE)
        rc = hs_fail(HS_EARG, "the model has no MLPs, and so no neurons");
    if (!rc) rc = hs_context_open(&s->x, opts->model, &(hs_context_opts){0});
    if (!rc) rc = hs_hooks_open(&s->run, &s->dims);
    if (!rc) rc = hs_hooks_open(&s->lens, &s->dims);
    if (!rc) rc = open_run_hooks(s);
    if (!rc) rc = open_lens_hooks(s);
    if (!rc) rc = hs_alloc(&s->final, (size_t)s->cfg->n_vocab, sizeof *s->final);
    if (!rc && opts->dla) rc = hs_dla_open(s);
    if (rc)
        hs_lens_close(s);
    else
        *out = s;
    return rc;
}

void hs_lens_close(hs_lens *s) {
    if (!s) return;
    void *const blocks[] = {s->resid,  s->scale,   s->said,  s->top,       s->final,  s->seq,
                            s->row,    s->seen,    s->dla,   s->direction, s->head,   s->mlp,
                            s->neuron, s->through, s->looks, s->source,    s->spoken, s->weights};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    for (int p = 0; p < HS_N_PART; p++) free(s->part[p]);
    hs_hooks_close(s->run);
    hs_hooks_close(s->lens);
    hs_hooks_close(s->sources);
    hs_context_close(s->x);
    free(s);
}

// ---- one prompt ---------------------------------------------------------------------------------

static int check_prompt(const hs_lens *s) {
    const int64_t n = s->at.prompt->n_token;
    const int32_t id[] = {s->at.token, s->at.minus};
    if (!s->at.n_pos) return hs_fail(HS_EARG, "no position to look at");
    for (int64_t i = 0; i < s->at.n_pos; i++)
        if (s->at.pos[i] < (i ? s->at.pos[i - 1] + 1 : 0) || s->at.pos[i] >= n)
            return hs_fail(HS_ERANGE, "position %lld of the %lld tokens of prompt '%s'",
                           (long long)s->at.pos[i], (long long)n, s->at.prompt->id);
    if (s->o.by & HS_DLA_SOURCE && s->at.n_pos > 1)
        return hs_fail(
            HS_EARG, "prompt '%s': %lld positions, and source positions are told of one at a time",
            s->at.prompt->id, (long long)s->at.n_pos);
    return check_tokens(s, id, 2);
}

static int make_room(hs_lens *s) {
    const size_t n = (size_t)s->at.n_pos, n_depth = (size_t)s->cfg->n_layer + 1;
    const size_t row = (size_t)s->cfg->d_model * sizeof *s->resid;
    int rc = hs_grow(&s->resid, n * n_depth, row);
    if (!rc) rc = hs_grow(&s->scale, n, sizeof *s->scale);
    if (!rc) rc = hs_grow(&s->said, n, 2 * sizeof *s->said);
    if (!rc) rc = hs_grow(&s->top, n, sizeof *s->top);
    if (!rc) rc = hs_grow(&s->row, n * n_depth, sizeof *s->row);
    if (!rc) rc = hs_grow(&s->seen, n * n_depth, (size_t)s->o.n_track * sizeof *s->seen);
    for (int p = 0; p < HS_N_PART && !rc; p++) {
        const size_t layers = p == HS_PART_EMBED ? 1 : (size_t)s->cfg->n_layer;
        if (s->width[p])
            rc = hs_grow(&s->part[p], n * layers, (size_t)s->width[p] * sizeof *s->part[p]);
    }
    return rc;
}

int hs_lens_run(hs_lens *s, const hs_lens_at *at, hs_lens_result *out) {
    s->at = *at;
    *out = (hs_lens_result){0};
    int rc = check_prompt(s);
    if (!rc) rc = make_room(s);
    if (!rc) rc = run(s);
    if (!rc && s->o.dla) rc = hs_dla_run(s);
    if (!rc) rc = look(s);
    if (rc) return rc;
    *out = (hs_lens_result){s->at.n_pos, s->top, s->row, s->seen, s->dla};
    return HS_OK;
}
