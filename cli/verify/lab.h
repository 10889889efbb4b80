// What the laws of `verify` share: a model's run of a short sequence with all that its hooks showed,
// runs that differ from it, and the words for how far something is off. lab.c runs; attention.c,
// stream.c and laws.c hold the laws.
#ifndef HS_CLI_VERIFY_LAB_H
#define HS_CLI_VERIFY_LAB_H

#include "cli/capture.h"
#include "cli/verify/verify.h"

enum { HS_LAB_ROWS = 24, HS_LAB_OTHER_ROWS = 7 };

typedef struct hs_lab {
    hs_checks *out;
    const hs_model *model;
    const char *path;
    const hs_model_options *again;
    hs_dims dims;
    int32_t tokens[HS_LAB_ROWS], other[HS_LAB_OTHER_ROWS];
    int64_t n;
    hs_capture *base; // every point but the heads' results, all rows
} hs_lab;

// Checks one law or a few, and adds what it found to the lab's checks.
typedef int hs_law(const hs_lab *);
extern hs_law *const hs_attention_laws[], *const hs_stream_laws[]; // ended by NULL

// ---- running ----------------------------------------------------------------------------------

// How a run differs from the plain one.
typedef struct hs_variant {
    const hs_model *model; // NULL: the lab's
    uint64_t points;       // to capture
    const hs_hook *edit;   // NULL: none
    int64_t tile_rows;
    bool others;     // other sequences in the batch
    bool one_by_one; // token by token through the cache
} hs_variant;

// Splits points of the model and of layers into sets, for every layer; the caller frees them.
int hs_lab_sets(const hs_dims *dims, uint64_t points, uint64_t **out) HS_MUST_USE;
int hs_lab_run(const hs_lab *, const hs_variant *, hs_capture **out) HS_MUST_USE;
// Runs a variant and checks that a point is the same to the bit in all layers.
int hs_lab_same_bits(const hs_lab *, const char *name, const hs_variant *,
                     enum hs_point point) HS_MUST_USE;

// ---- how far off ------------------------------------------------------------------------------

// The layer (or the like) in which something is off by most, measured by its own magnitude.
typedef struct hs_worst {
    double d, m;
} hs_worst;
void hs_worst_take(hs_worst *, double d, double m);
// Checks that it is off by a share of its magnitude at most.
int hs_worst_add(const hs_lab *, const char *name, const hs_worst *, double share) HS_MUST_USE;
double hs_lab_largest(const float *x, int64_t n); // magnitude
// How far products may be off; those of rounded factors are told, not judged.
double hs_lab_product_share(const hs_lab *);

#endif
