// One evaluation in work, shared by the files of the forward pass: forward.c goes through the
// layers, logits.c from the last one to the logits, pass.c is what both do: row blocks, the tap,
// products, norms.
#ifndef HS_MODEL_PASS_H
#define HS_MODEL_PASS_H

#include <string.h>

#include "model/elem.h"
#include "model/model_internal.h"

typedef struct hs_pass {
    hs_context *x;
    const hs_batch *batch;
    const hs_model *m;
    const hs_config *c;
    const hs_backend *be;
    hs_dev *dev;
    const hs_tap *tap;
    int64_t n_rows;
    enum hs_logits logits; // none short of the last layer
    bool each_other;       // some rows of a sequence see each other
    void *queries;         // of all rows, in a layer of two halves; NULL: a block's, in its buffer

    int layer;            // in work; n_layer stands for the model's own points
    uint64_t read, write; // its masks
    // The block in work.
    int64_t row0, n; // its rows in the batch
    hs_piece *piece; // [n_piece]
    int n_piece;
    int next_seq;     // where the next block begins
    int64_t next_row; // within that sequence
} hs_pass;

static inline void *buffer(const hs_pass *r, enum hs_buffer b) {
    return r->x->buf[b];
}
// Element i of a buffer or another matrix of activations.
static inline void *at(const hs_pass *r, void *p, int64_t i) {
    return hs_elem_at(r->x->dtype, p, i);
}
static inline void copy(const hs_pass *r, void *to, const void *from, int64_t n) {
    memcpy(to, from, (size_t)(n * hs_dtypes[r->x->dtype].bytes));
}
// The block's rows of the residual.
static inline void *residual(const hs_pass *r) {
    return at(r, r->x->resid, r->row0 * r->c->d_model);
}
static inline const hs_weight *weight(const hs_pass *r, enum hs_role role) {
    return hs_model_bound(r->m, role, r->layer)->weight;
}
static inline const float *vector(const hs_pass *r, enum hs_role role) {
    return hs_model_bound(r->m, role, r->layer)->vector;
}
static inline bool watched(const hs_pass *r, enum hs_point p) {
    return ((r->read | r->write) & HS_BIT(p)) != 0;
}

// Turns to a layer, or with n_layer to the points of the model.
void hs_pass_enter(hs_pass *r, int64_t layer);
// Whether a sequence of the batch has rows that somebody surveys in a layer.
bool hs_pass_surveys(const hs_pass *r, int64_t layer);

// for (hs_pass_first(r); hs_pass_next(r);): the batch's rows block by block, cut into pieces.
void hs_pass_first(hs_pass *r);
bool hs_pass_next(hs_pass *r);

// Asks the tap about a point, whose data the block's rows are: write hooks first, then read hooks,
// then whoever keeps copies.
// _rows: rows [lo, hi) of the block, which begin at `data`.
int hs_pass_fire(const hs_pass *r, enum hs_point p, void *data) HS_MUST_USE;
int hs_pass_fire_rows(const hs_pass *r, enum hs_point p, void *data, int64_t lo,
                      int64_t hi) HS_MUST_USE;

// The normed rows of x go to *out: a buffer, or x itself where the model has no norms.
int hs_pass_norm(const hs_pass *r, enum hs_role gain, enum hs_role bias, enum hs_point scale,
                 enum hs_point normalized, void *x, int64_t n, void **out) HS_MUST_USE;

// Rows of `width` numbers that the wide buffer takes at a time.
int64_t hs_pass_wide_rows(const hs_pass *r, int64_t width);

// Numbers of the wide buffer that the logits take.
int64_t hs_pass_logits_wide(const hs_pass *r);
// From the residual after the last layer to the logits that were asked for.
int hs_pass_logits(hs_pass *r) HS_MUST_USE;

#endif
