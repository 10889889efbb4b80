// steer: a direction is added to activations, or taken out of them.
//
//     add      y += scale v
//     project  y -= scale d (d . y), d = v / |v|: scale=1 takes the direction out (directional
//              ablation, Arditi et al. 2024)
//
// y is a row of the point, or, where the vector is as wide as one head, each selected head's part of
// it. A vector as wide as all heads together acts on the columns of the selected ones.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"
#include "model/core/npy.h"

struct steer {
    bool project;
    double scale;
    hs_npy vec;
    int n_layer, group; // query heads of a KV head
};

static void close_steer(void *state) {
    struct steer *s = state;
    if (!s) return;
    hs_npy_free(&s->vec);
    free(s);
}

// ---- opening ------------------------------------------------------------------------------------

// A vector may lie in the file as a matrix of one row.
static bool by_layer(const struct steer *s) {
    return s->vec.ndim == 2 && (s->vec.shape[0] > 1 || s->n_layer == 1);
}

static int64_t width_of(const struct steer *s) {
    return s->vec.ndim == 2 ? s->vec.shape[1] : s->vec.shape[0];
}

static const float *vector_at(const struct steer *s, int layer) {
    return s->vec.data + (by_layer(s) ? layer * width_of(s) : 0);
}

static int check_width(const struct steer *s, const hs_dims *dims, enum hs_point p, int layer) {
    const char *name = hs_point_infos[p].alias;
    int64_t shape[4];
    if (hs_point_infos[p].shape == HS_SHAPE_MAP)
        return hs_fail(HS_EARG, "%s has no rows of one width: steer another point", name);
    const int ndim = hs_point_shape(dims, p, 1, shape);
    const int64_t part = ndim > 2 ? shape[2] : shape[1], row = ndim > 2 ? shape[1] * part : part;
    const int64_t width = width_of(s);
    if (width != row && width != part && ndim > 2)
        return hs_fail(HS_EARG,
                       "the vector is %lld wide, and rows of %s are %lld, of one head %lld",
                       (long long)width, name, (long long)row, (long long)part);
    if (width != row && width != part)
        return hs_fail(HS_EARG, "the vector is %lld wide, and rows of %s are %lld",
                       (long long)width, name, (long long)row);
    if (by_layer(s) && layer == dims->n_layer)
        return hs_fail(HS_EARG, "the file has a vector a layer, and %s belongs to none", name);
    return HS_OK;
}

static int check_numbers(const struct steer *s, int layer) {
    const float *v = vector_at(s, layer);
    bool any = false;
    for (int64_t i = 0; i < width_of(s); i++) {
        if (!isfinite(v[i]))
            return hs_fail(HS_EARG, "number %lld of the vector is not finite", (long long)i);
        any |= v[i] != 0;
    }
    if (!any && s->project)
        return hs_fail(HS_EARG, "the vector is 0: there is no direction to project on");
    return HS_OK;
}

static int check_vectors(const struct steer *s, const hs_edit_setup *setup) {
    int rc = HS_OK;
    if (by_layer(s) && s->vec.shape[0] != s->n_layer)
        return hs_fail(HS_EARG,
                       "the file has %lld vectors: give one, or one a layer, of which there are %d",
                       (long long)s->vec.shape[0], s->n_layer);
    for (int l = 0; l <= s->n_layer && !rc; l++) {
        for (int p = 0; p < HS_N_POINT && !rc; p++)
            if (setup->target[l] & HS_BIT(p)) rc = check_width(s, setup->dims, (enum hs_point)p, l);
        if (!rc && setup->target[l]) rc = check_numbers(s, l);
    }
    return rc;
}

static int open_steer(void **state, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    const char *path = hs_args_text(setup->args, "vec");
    struct steer *s;
    (void)need;
    if (!*path) return hs_fail(HS_EARG, "say which vector: vec=FILE.npy");
    int rc = hs_alloc(&s, 1, sizeof *s);
    if (rc) return rc;
    *state = s;
    s->project = !strcmp(hs_args_text(setup->args, "mode"), "project");
    s->scale = hs_args_num(setup->args, "scale");
    s->n_layer = setup->dims->n_layer;
    s->group = setup->dims->n_head / setup->dims->n_kv_head;
    rc = hs_npy_open(&s->vec, path);
    if (rc) return rc;
    memcpy(points, setup->target, ((size_t)s->n_layer + 1) * sizeof *points);
    return hs_prefix(check_vectors(s, setup), "vec=%s", path);
}

// ---- rows ---------------------------------------------------------------------------------------

// A row [n_part][width] of a view; `on` tells which parts are steered.
struct parts {
    int64_t n, width;
    const hs_edit_at *at; // NULL: the one part there is
    int layer, group;
};

static bool is_on(const struct parts *p, int64_t i) {
    return !p->at || hs_edit_head(p->at, p->layer, (int)i * p->group);
}

// Parts [from, to) of the row y meet the vector. What gets nothing added keeps its bits.
static void steer_parts(const struct steer *s, const struct parts *p, int64_t from, int64_t to,
                        float *y, const float *v) {
    const int64_t w = p->width, step = width_of(s) == w ? 0 : w; // one vector for each, or cut up
    double dot = 0, square = 0;
    for (int64_t i = from; s->project && i < to; i++)
        for (int64_t k = 0; is_on(p, i) && k < w; k++) {
            dot += (double)v[i * step + k] * (double)y[i * w + k];
            square += (double)v[i * step + k] * (double)v[i * step + k];
        }
    const double by = s->project ? (square > 0 ? -s->scale * dot / square : 0) : s->scale;
    for (int64_t i = from; i < to; i++)
        for (int64_t k = 0; is_on(p, i) && k < w; k++) {
            const double add = by * (double)v[i * step + k];
            if (add != 0) y[i * w + k] = (float)((double)y[i * w + k] + add);
        }
}

static int steer_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct steer *s = state;
    const bool headed = view->ndim > 2, kv = hs_point_infos[site->point].shape == HS_SHAPE_KV;
    const struct parts p = {headed ? view->shape[1] : 1, view->shape[view->ndim - 1],
                            headed ? at : NULL, site->layer, kv ? s->group : 1};
    const float *v = vector_at(s, site->layer);
    const int64_t step = width_of(s) == p.width ? 1 : p.n; // parts that share a direction
    for (int64_t r = 0; r < site->n_row; r++) {
        float *row = (float *)view->data + r * view->stride[0];
        for (int64_t i = 0; i < p.n && hs_edit_row(at, site->row0 + r); i += step)
            steer_parts(s, &p, i, i + step, row, v);
    }
    return HS_OK;
}

const hs_intervention hs_iv_steer = {
    .name = "steer",
    .title = "adds a direction to activations, or takes it out",
    .about = "mode=add adds scale times the vector to each row of the points; mode=project takes "
             "away scale times the row's part along it, all of it by scale=1 (directional "
             "ablation). The vector is as wide as the point's rows, or, at points that have heads, "
             "as one head: then each head of heads= gets it. A matrix holds a vector a layer.",
    .reference = "Turner et al., Steering Language Models With Activation Engineering, 2023 (add); "
                 "Arditi et al., Refusal in Language Models Is Mediated by a Single Direction, "
                 "NeurIPS 2024 (project)",
    .example = "steer:resid_pre:5,vec=FILE.npy,scale=4",
    .target = HS_TARGET_POINTS,
    .params =
        (const hs_param[]){
            {"vec", HS_PARAM_TEXT, "", 0, 0, NULL, "",
             "a .npy file of f2, f4 or f8: one vector, or a matrix of one a layer"},
            {"scale", HS_PARAM_NUM, "1", -1e6, 1e6, NULL, "", "how much; 0 changes nothing"},
            {"mode", HS_PARAM_ENUM, "add", 0, 0, "add|project", "", "add it, or take it out"},
            {0}},
    .open = open_steer,
    .close = close_steer,
    .rows = steer_rows,
};
