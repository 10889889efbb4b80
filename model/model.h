// A loaded model: family, config, tokenizer, weights. Immutable after load; contexts share it.
#ifndef HS_MODEL_MODEL_H
#define HS_MODEL_MODEL_H

#include "model/arch.h"
#include "model/backend.h"
#include "model/core/progress.h"
#include "model/tok.h"

typedef struct hs_model hs_model;

typedef struct hs_model_opts {
    hs_dev_opts dev;
    enum hs_weight_mode weights;
    int64_t n_ctx;               // 0 = the model's own; larger is allowed (stored with the run)
    bool no_weights;             // nothing is packed: the model answers questions, cannot run
    bool check_room;             // HS_ENOMEM before packing what memory has no room for
    const hs_progress *progress; // NULL = silent
} hs_model_opts;

// Opens the checkpoint, resolves the family, binds every tensor by the family's rules (each one
// consumed, skipped by name, or HS_EFORMAT naming it; none left unset; shapes checked) and packs
// the weights: HS_EFORMAT names one that is not finite, HS_ENOMEM says how much room they take.
// opts NULL = defaults. The LM head is kept as stored.
int hs_model_open(hs_model **out, const char *path, const hs_model_opts *opts) HS_MUST_USE;
void hs_model_close(hs_model *);

const hs_arch *hs_model_arch(const hs_model *);
const hs_config *hs_model_config(const hs_model *);
const hs_ckpt *hs_model_ckpt(const hs_model *);
// NULL when the checkpoint has no tokenizer, or one that this build cannot honour; `why_not`
// tells then, and *rc (NULL allowed) gets HS_ENOTFOUND or HS_EUNSUPPORTED.
const hs_tok *hs_model_tok(const hs_model *);
const char *hs_model_why_no_tok(const hs_model *, int *rc);
// Whether a generation ends with this token: one that the checkpoint lists (ends.h), with or
// without a tokenizer, or that the tokenizer knows for one.
bool hs_model_is_eog(const hs_model *, int32_t id);
hs_dev *hs_model_dev(const hs_model *);
const hs_backend *hs_model_backend(const hs_model *);
int64_t hs_model_n_params(const hs_model *);
const char *hs_model_dtype(const hs_model *); // the dtype of most weights, "q4_1"
enum hs_weight_mode hs_model_weights(const hs_model *);
int64_t hs_model_weight_bytes(const hs_model *); // of packed weights, packed already or not
enum hs_precision hs_model_precision(const hs_model *);
// Whether the model ever fires a point. When not, *why (NULL allowed) gets one clause, static.
bool hs_model_has_point(const hs_model *, enum hs_point point, const char **why);

// Weights by role. layer -1 for roles of the model. NULL when the model has none.
const hs_weight *hs_model_weight(const hs_model *, enum hs_role role, int layer);
const float *hs_model_vector(const hs_model *, enum hs_role role, int layer); // norms, biases
const hs_view *hs_model_table(const hs_model *, enum hs_role role);           // embeddings, rows
// Row n of a weight matrix as stored (after undoing the container's layout), K floats into out:
// for analyses that read weights (W_O of a head). HS_ERANGE when n is outside.
int hs_model_weight_row(const hs_model *, enum hs_role role, int layer, int64_t n,
                        float *out) HS_MUST_USE;

// cos/sin of one position for RoPE, [rope_dim]: rope_dim/2 cosines, then as many sines. n_total,
// the length of the sequence, matters to dynamic scaling only.
void hs_model_rope_row(const hs_model *, int64_t pos, int64_t n_total, float *cos_sin);

#endif
