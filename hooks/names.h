// Names of hook points, heads and positions as users write them, and their selections.
#ifndef HS_HOOKS_NAMES_H
#define HS_HOOKS_NAMES_H

#include "model/core/buf.h"
#include "model/model.h"
#include "model/tap.h"

// What selections are checked against: the sizes of a model, live or as stored with a run.
typedef struct hs_dims {
    int n_layer, n_head, n_kv_head;
    int64_t d_model, d_head, d_ff, n_vocab;
    uint64_t points; // HS_BIT of every point the model has
    // What scores are multiplied by, and whether it is divided by layer + 1; 0 as stored with a run.
    double attn_scale;
    bool scale_by_layer;
    enum hs_norm norm; // HS_NORM_NONE as stored with a run
    double norm_eps;
} hs_dims;
hs_dims hs_dims_of(const hs_model *model);

// The full name of a point ("blocks.3.hook_resid_pre"); layer ignored for model points. Appends.
void hs_point_name(hs_buf *out, enum hs_point point, int layer);
// Exact name -> point and layer (-1 for model points), without a model. HS_ENOTFOUND.
int hs_point_find(const char *name, enum hs_point *point, int *layer) HS_MUST_USE;
// Shape of one sequence of T rows: returns ndim and fills shape (no batch axis).
int hs_point_shape(const hs_dims *, enum hs_point point, int64_t n_row, int64_t shape[4]);

// Selects points: comma-separated names or globs; '*' and '?' match within and across dots,
// {0..3,11} and {a,b} are alternatives (braces bind tighter than commas); short names ("z",
// "resid_pre", "attn" = pattern) select every layer, with ":L" or ".L" one. mask is
// [n_layer + 1] sets as in hs_tap, or-ed into. A part, or one of its alternatives, that matches
// nothing is HS_ENOTFOUND; when it names a point that this model lacks, the message says why.
int hs_points_select(uint64_t *mask, const hs_dims *, const char *sel) HS_MUST_USE;

// A set of heads, one byte a (layer, head), row-major [n_layer][n_head].
typedef struct hs_heads {
    int n_layer, n_head;
    uint8_t *on; // owned
} hs_heads;
// "all", "none", "L5H1", "5.1", "L0-3H*", "L*H0-2", joined by ',' or '+'. HS_EARG for syntax,
// HS_ERANGE for a head that does not exist (the message gives the ranges).
int hs_heads_parse(hs_heads *out, const hs_dims *, const char *sel) HS_MUST_USE;
void hs_heads_free(hs_heads *);
static inline bool hs_heads_has(const hs_heads *s, int layer, int head) {
    return s->on[layer * s->n_head + head] != 0;
}
int64_t hs_heads_count(const hs_heads *);

// One position, "3" or "-1" (from the end), in [0, n). HS_EARG, HS_ERANGE.
int hs_pos_parse(int64_t *out, int64_t n, const char *text) HS_MUST_USE;
// A half-open range "3:10", ":4", "-5:", or one position, within [0, n].
int hs_range_parse(int64_t *from, int64_t *to, int64_t n, const char *text) HS_MUST_USE;

#endif
