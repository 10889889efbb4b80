// Units: the parts of a model that an edit or a sweep acts on, as users write them.
//
//     L5H1 5.1   a query head            L5M     the MLP of a layer
//     L5G0       a KV head and its group  L5N7    a neuron of the MLP (a row of hook_post)
//     L5         a whole layer, attention and MLP
//
// Numbers may be ranges ("L0-3H*", "L*M"); '+' or ',' joins; "all" is every head.
#ifndef HS_HOOKS_UNITS_H
#define HS_HOOKS_UNITS_H

#include "hooks/names.h"

enum hs_unit_kind {
    HS_UNIT_HEAD,
    HS_UNIT_GROUP,
    HS_UNIT_LAYER,
    HS_UNIT_MLP,
    HS_UNIT_NEURON,
    HS_N_UNIT
};
extern const char *const hs_unit_kinds[HS_N_UNIT]; // "head", "group", "layer", "mlp", "neuron"

typedef struct hs_unit {
    enum hs_unit_kind kind;
    int layer;
    int64_t index; // head, group or neuron; 0 for the others
} hs_unit;

// "L5H1"
enum { HS_UNIT_NAME = 40 };
const char *hs_unit_name(char out[HS_UNIT_NAME], const hs_unit *unit);

typedef struct hs_units {
    hs_unit *at; // owned; by kind, layer, index, each once
    int64_t n;
} hs_units;
// kinds: bits 1 << HS_UNIT_* that are allowed. Where layers are not but heads are, "L5" means all
// heads of layer 5. HS_EARG for syntax and kinds not allowed (the message says which are), HS_ERANGE
// for what the model does not have (with the ranges it has).
int hs_units_parse(hs_units *out, const hs_dims *, const char *sel, unsigned kinds) HS_MUST_USE;
void hs_units_free(hs_units *);

// The heads among the units, groups spread into their query heads.
int hs_units_heads(hs_heads *out, const hs_dims *, const hs_units *) HS_MUST_USE;

// Where the output of units stands: numbers [from, to) of a row of a point. Heads and groups are
// columns of hook_z, neurons of mlp.hook_post; an MLP is hook_mlp_out, a layer both hook_attn_out
// and hook_mlp_out.
typedef struct hs_unit_cell {
    int layer;
    enum hs_point point;
    int64_t from, to;
} hs_unit_cell;
typedef struct hs_unit_cells {
    hs_unit_cell *at; // owned; by layer, point, from; those of a row do not touch
    int64_t n;
} hs_unit_cells;
int hs_unit_cells_of(hs_unit_cells *out, const hs_dims *, const hs_units *) HS_MUST_USE;
void hs_unit_cells_free(hs_unit_cells *);
// The cells of a row of a point: *n of them.
const hs_unit_cell *hs_unit_cells_at(const hs_unit_cells *, enum hs_point point, int layer,
                                     int64_t *n);
// Adds the points that the cells lie in to points[n_layer + 1].
void hs_unit_cells_points(const hs_unit_cells *, uint64_t *points);

#endif
