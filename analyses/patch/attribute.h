// What attribute.c, which estimates cells by gradients, and softmax.c, its queries and keys, share.
// Nobody else includes this.
#ifndef HS_ANALYSES_PATCH_ATTRIBUTE_H
#define HS_ANALYSES_PATCH_ATTRIBUTE_H

#include "analyses/patch/halves.h"
#include "analyses/slope.h"

struct hs_attribute {
    const hs_patch_opts *o;
    const hs_patch_cells *cells;
    hs_dims dims;
    enum { HS_FIX_NONE, HS_FIX_QUERIES, HS_FIX_KEYS } fix; // through the softmax
    enum hs_point q, k;                                    // as attention has them
    int64_t n_part, part; // units of a layer, and numbers of each in a row of the point
    bool *asked;          // [n_layer][n_part]
    uint64_t lends, owns; // points whose values are kept
    uint64_t *lend_points, *own_points, *slope_points; // [n_layer + 1] the same by layer
    int64_t *first_cell;                               // [n_layer + 1]: where each layer's begin
    // The chunk in work: pairs that go together, their rows end to end.
    const int64_t *pair; // [n]
    int n;
    int64_t *ord;            // [n] running halves
    int64_t *row;            // [n + 1] first rows
    int64_t n_row;           // of all
    float *lent[HS_N_POINT]; // [n_layer][n_row][width]
    bool once;               // the forward pass shows the own values of all layers
    float *own[HS_N_POINT];  // [n_layer, or that in work][n_row][width]
    float *slope;            // [n_row][n_head][d_head] of its z, for the softmax
    int around;              // the layer that the gradients in work go around, -1: none
    double *at;              // [n_part][n_row] estimates of the layer in work
    double *base, *full;     // [n]
    double *value, *drop;    // [n][n_cell]
};

static inline int64_t hs_attribute_width(const struct hs_attribute *a, enum hs_point point) {
    int64_t shape[4];
    const int ndim = hs_point_shape(&a->dims, point, 1, shape);
    return ndim == 3 ? shape[1] * shape[2] : shape[1];
}
static inline double *hs_attribute_at(const struct hs_attribute *a, int64_t part, int64_t row) {
    return &a->at[part * a->n_row + row];
}
// Whether the unit of a layer is asked for.
static inline bool hs_attribute_asks(const struct hs_attribute *a, int layer, int64_t part) {
    return a->asked[layer * a->n_part + part];
}

// The own values of a layer whose gradients come.
static inline float *hs_attribute_own(const struct hs_attribute *a, enum hs_point point,
                                      int layer) {
    return a->own[point] + (a->once ? layer * a->n_row * hs_attribute_width(a, point) : 0);
}

// Adds the estimates of a layer's queries or keys, whose values and slope of z are there.
int hs_attribute_softmax(struct hs_attribute *, int layer) HS_MUST_USE;

#endif
