// vista: what a span adds to the residual is held up along the layers, and early layers join in the
// logits (visual steering vectors and self-logits augmentation).
//
// steer: v_l = h_l - h'_l, the residual after layer l at the prompt's last row with the span and
// without it, of two unedited runs. Rows turn towards it and keep their length:
//
//     code    x := |x| unit(unit(x) + lambda (1 + max(0, cos(x, -v))) unit(v))    at hook_mlp_out
//     simple  the same without the factor of the cosine
//     paper   x := |x| unit(x + lambda v)                                         at hook_resid_post
//
// The published code, whose lambdas the defaults are, steers what the MLP writes, by a unit vector;
// the paper's text steers the layer's output by the difference as it is. The edit belongs to the
// prompt, so decoded rows have it too.
//
// mix: the logits become (1 - gamma) of the last layer's and gamma of the mean of those that a lens
// reads after the w layers before it, each through the final norm with a scale of its own. The head
// is linear, so the mean is taken of the normed rows, at ln_final.hook_normalized. (The published
// code mixes six layers of 32, the paper five.) Memory: a row of d_model numbers a position.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "hooks/names_internal.h"
#include "model/core/mem.h"

enum rule { CODE, SIMPLE, PAPER };

struct vista {
    hs_dims dims;
    enum rule rule;
    double lambda, gamma;
    int w;
    uint64_t *compared; // [n_layer + 1] what is asked of the two runs
};

static void close_vista(void *state) {
    struct vista *v = state;
    if (!v) return;
    free(v->compared);
    free(v);
}

// ---- opening ------------------------------------------------------------------------------------

static int read_layers(const struct vista *v, const char *text, hs_numbers *out) {
    const char *end = text;
    *out = (hs_numbers){0, v->dims.n_layer - 1};
    if (!strcmp(text, "all")) return HS_OK;
    *out = hs_numbers_read(&end, v->dims.n_layer);
    if (out->to < 0 || *end) return hs_fail(HS_EARG, "layers=%s: write all, 5 or 5-20", text);
    return out->to < v->dims.n_layer
               ? HS_OK
               : hs_fail(HS_ERANGE, "layers=%s: layers are 0 to %d", text, v->dims.n_layer - 1);
}

static int open_steer(struct vista *v, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    const char *rule = hs_args_text(setup->args, "rule");
    hs_numbers layers;
    if (!strcmp(hs_args_text(setup->args, "span"), "all"))
        return hs_fail(HS_EARG, "say what the prompt is compared without: span=NAME or span=3:10");
    v->rule = !strcmp(rule, "code") ? CODE : !strcmp(rule, "simple") ? SIMPLE : PAPER;
    const enum hs_point point = v->rule == PAPER ? HS_RESID_POST : HS_MLP_OUT;
    if (!(v->dims.points & HS_BIT(point)))
        return hs_fail(HS_EARG, "rule=%s steers MLPs, and this model has none: give rule=paper",
                       rule);
    int rc = read_layers(v, hs_args_text(setup->args, "layers"), &layers);
    if (!rc) rc = hs_alloc(&v->compared, (size_t)v->dims.n_layer + 1, sizeof *v->compared);
    for (int64_t l = layers.from; !rc && l <= layers.to; l++) {
        points[l] = HS_BIT(point);
        v->compared[l] = HS_BIT(HS_RESID_POST);
    }
    *need = (hs_ref_need){.from = HS_REF_WITHOUT, .points = v->compared, .place = 0, .last = true};
    return rc;
}

// The residual after a layer is the one before the next, where it has all edits of its layer.
static int open_mix(struct vista *v, uint64_t *points) {
    if (v->dims.norm == HS_NORM_NONE)
        return hs_fail(HS_EARG, "this model has no final norm to read earlier layers through");
    if (v->w >= v->dims.n_layer)
        return hs_fail(HS_ERANGE, "w=%d: only %d layers come before the last", v->w,
                       v->dims.n_layer - 1);
    for (int l = v->dims.n_layer - v->w; l < v->dims.n_layer && v->gamma != 0; l++)
        points[l] = HS_BIT(HS_RESID_PRE);
    if (v->gamma != 0) points[v->dims.n_layer] = HS_BIT(HS_LNF_NORMALIZED);
    return HS_OK;
}

static int open_vista(void **state, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    const hs_dims *dims = setup->dims;
    struct vista *v;
    if (memchr(setup->heads->on, 0, (size_t)dims->n_layer * (size_t)dims->n_head))
        return hs_fail(HS_EARG, "whole rows are edited, which have no heads: leave out heads=");
    int rc = hs_alloc(&v, 1, sizeof *v);
    if (rc) return rc;
    *state = v;
    v->dims = *dims;
    v->lambda = hs_args_num(setup->args, "lambda");
    v->gamma = hs_args_num(setup->args, "gamma");
    v->w = (int)hs_args_int(setup->args, "w");
    return strcmp(setup->word, "steer") ? open_mix(v, points) : open_steer(v, setup, points, need);
}

// ---- steer --------------------------------------------------------------------------------------

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

// What the span adds to the residual: [2 d_model], the first half of it is v.
static int difference(const hs_edit_at *at, int layer, int64_t d, float **v) {
    const hs_ref *with = at->ref, *without = with->other;
    int rc = hs_edit_scratch(at, 2 * d, v);
    if (!rc) rc = with->rows(with->ctx, HS_RESID_POST, layer, at->n_token - 1, 1, *v);
    if (!rc) rc = without->rows(without->ctx, HS_RESID_POST, layer, at->n_token - 1, 1, *v + d);
    for (int64_t i = 0; i < d && !rc; i++) (*v)[i] -= (*v)[d + i];
    return rc;
}

// x := |x| unit(x + by v). What has no length, or would have none, has no direction to turn from.
static void turn(float *x, const float *v, double by, int64_t d) {
    double from = 0, to = 0;
    for (int64_t i = 0; i < d; i++) {
        const double y = (double)x[i] + by * (double)v[i];
        from += (double)x[i] * (double)x[i];
        to += y * y;
    }
    if (!(from > 0 && to > 0)) return;
    const double scale = sqrt(from / to);
    for (int64_t i = 0; i < d; i++) x[i] = (float)(((double)x[i] + by * (double)v[i]) * scale);
}

static void steer_row(const struct vista *s, float *x, const float *v, double v_length) {
    const int64_t d = s->dims.d_model;
    const double length = sqrt(dot(x, x, d));
    const double against = length > 0 ? -dot(x, v, d) / (length * v_length) : 0;
    const double factor = s->rule == CODE && against > 0 ? 1 + against : 1;
    turn(x, v, s->rule == PAPER ? s->lambda : s->lambda * factor * length / v_length, d);
}

static int steer_rows(const struct vista *s, const hs_edit_at *at, const hs_site *site,
                      const hs_view *view) {
    float *v;
    if (s->lambda == 0) return HS_OK;
    int rc = difference(at, site->layer, s->dims.d_model, &v);
    if (rc) return rc;
    const double v_length = sqrt(dot(v, v, s->dims.d_model));
    for (int64_t r = 0; r < site->n_row && v_length > 0; r++)
        if (hs_edit_row(at, site->row0 + r))
            steer_row(s, (float *)view->data + r * view->stride[0], v, v_length);
    return HS_OK;
}

// ---- mix ----------------------------------------------------------------------------------------

// Adds the normed row x to sum, which begins with it when `first`.
static void add_normed(const struct vista *m, const float *x, bool first, float *sum) {
    const int64_t d = m->dims.d_model;
    double mean = 0, square = 0;
    for (int64_t i = 0; i < d && m->dims.norm == HS_NORM_LAYER; i++)
        mean += (double)x[i] / (double)d;
    for (int64_t i = 0; i < d; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double scale = sqrt(square / (double)d + m->dims.norm_eps);
    for (int64_t i = 0; i < d; i++)
        sum[i] = (float)((first ? 0 : (double)sum[i]) + ((double)x[i] - mean) / scale);
}

static int mix_rows(const struct vista *m, const hs_edit_at *at, const hs_site *site,
                    const hs_view *view) {
    const int64_t d = m->dims.d_model;
    const bool ends = site->point == HS_LNF_NORMALIZED;
    float *sums;
    int rc = hs_edit_own(at, (site->row0 + site->n_row) * d, &sums);
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        float *x = (float *)view->data + r * view->stride[0];
        float *sum = sums + (site->row0 + r) * d;
        if (!hs_edit_row(at, site->row0 + r)) continue;
        if (!ends) add_normed(m, x, site->layer == m->dims.n_layer - m->w, sum);
        for (int64_t i = 0; i < d && ends; i++)
            x[i] = (float)((1 - m->gamma) * (double)x[i] + m->gamma * (double)sum[i] / m->w);
    }
    return rc;
}

static int vista_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct vista *v = state;
    return v->compared ? steer_rows(v, at, site, view) : mix_rows(v, at, site, view);
}

const hs_intervention hs_iv_vista = {
    .name = "vista",
    .title = "steers towards what a span adds along the layers, or mixes early layers' logits in",
    .about =
        "vista:steer runs the prompt unedited with and without the span; the difference of the "
        "residual after a layer, at the prompt's last row, is the layer's direction. rule=code "
        "turns what the MLPs write towards it, rows that point away more than others; rule=simple "
        "all alike; rule=paper turns the residual after the layer, by the difference as long as it "
        "is. Rows keep their length. vista:mix makes the logits those of the last layer and, as a "
        "share gamma, the mean of what the lens reads after the w layers before it; the authors' "
        "code takes six. Given twice, it does both. lambda=0 and gamma=0 change nothing.",
    .reference = "Li et al., The Hidden Life of Tokens: Reducing Hallucination of Large "
                 "Vision-Language Models via Visual Information Steering, ICML 2025",
    .example = "vista:steer,span=0:3",
    .target = HS_TARGET_WORD,
    .choices = "steer|mix",
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
             "steer: what is left out: positions or a span's name"},
            {"lambda", HS_PARAM_NUM, "0.17", -1e6, 1e6, NULL, "", "steer: how far rows turn"},
            {"rule", HS_PARAM_ENUM, "code", 0, 0, "code|simple|paper", "",
             "steer: what turns, how"},
            {"layers", HS_PARAM_TEXT, "all", 0, 0, NULL, "layers",
             "steer: layers that are edited: 5 or 5-20"},
            {"gamma", HS_PARAM_NUM, "0.3", -1e3, 1e3, NULL, "", "mix: share of the earlier layers"},
            {"w", HS_PARAM_INT, "5", 1, 1e6, NULL, "layers", "mix: how many before the last"},
            {0}},
    .places = (const hs_edit_place[]){{"span", false}, {0}},
    .only = (const hs_edit_only[]){{"span", NULL, "steer"},
                                   {"lambda", NULL, "steer"},
                                   {"rule", NULL, "steer"},
                                   {"layers", NULL, "steer"},
                                   {"gamma", NULL, "mix"},
                                   {"w", NULL, "mix"},
                                   {0}},
    .open = open_vista,
    .close = close_vista,
    .rows = vista_rows,
    .looks = HS_BIT(HS_RESID_PRE),
};
