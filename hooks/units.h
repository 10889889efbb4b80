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

#endif
