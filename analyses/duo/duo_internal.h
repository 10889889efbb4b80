// What the parts of the Duo experiment share: the unedited run of a prompt that edited ones are held
// against, and the final norm by itself. Nobody else includes this.
#ifndef HS_ANALYSES_DUO_INTERNAL_H
#define HS_ANALYSES_DUO_INTERNAL_H

#include "analyses/experiments/duo.h"
#include "analyses/reference.h"

// ---- the final norm -----------------------------------------------------------------------------

// Rows of the last residual through the final norm and back, in numbers of the backend's type.
typedef struct hs_duo_norm {
    const hs_model *model;
    int dtype;
    int64_t d;
    void *resid; // [n_row][d], to be set
    void *hidden, *scale, *normalized, *back;
} hs_duo_norm;
int hs_duo_norm_open(hs_duo_norm *, const hs_model *, int64_t n_row) HS_MUST_USE;
void hs_duo_norm_close(hs_duo_norm *); // in any state, zero included
// hidden[0 .. n) from resid[0 .. n).
int hs_duo_norm_run(const hs_duo_norm *, int64_t n) HS_MUST_USE;
// back[0 .. n) from the gradients of hidden, which stand there now, after a run of the same rows.
int hs_duo_norm_back(const hs_duo_norm *, int64_t n) HS_MUST_USE;

// ---- label rows ---------------------------------------------------------------------------------

typedef struct hs_duo_labels {
    int64_t *of; // [n_token] number of a label row, -1 for others
    int64_t n, last;
} hs_duo_labels;
// HS_ERANGE when all of them keep all their keys.
int hs_duo_labels_open(hs_duo_labels *, const hs_duo_opts *, int64_t ord) HS_MUST_USE;
void hs_duo_labels_close(hs_duo_labels *);

// ---- the unedited run ---------------------------------------------------------------------------

typedef struct hs_duo_full {
    hs_duo_labels labels;
    hs_held *held;  // z of all layers
    double *hidden; // [labels.n][d]
} hs_duo_full;
int hs_duo_full_open(hs_duo_full *, const hs_duo_opts *, int64_t ord) HS_MUST_USE;
void hs_duo_full_close(hs_duo_full *); // in any state, zero included

#endif
