// A context is one mutable set of timelines over a model: key/value stores, work buffers, the tap.
// One thread drives it; kernels fan out inside.
#ifndef HS_MODEL_CONTEXT_H
#define HS_MODEL_CONTEXT_H

#include "model/model.h"
#include "model/tap.h"

typedef struct hs_context hs_context;

typedef struct hs_context_opts {
    // Keys and values of all layers are kept (decoding, prefixes) up to this many positions a
    // slot; 0 = kept only for the layer in work, each evaluation starts its sequences at 0.
    int64_t kv_capacity;
    int n_slot;            // timelines when kv_capacity > 0; 0 = 1
    int64_t tail_capacity; // positions of a slot but the first, a prefix not counted: for many that
                           // go on with what slot 0 holds; 0 = kv_capacity
    int64_t row_block;     // rows worked on at once, 0 = the engine's choice; results do not depend
} hs_context_opts;

int hs_context_open(hs_context **out, const hs_model *model,
                    const hs_context_opts *opts) HS_MUST_USE;
void hs_context_close(hs_context *);
const hs_model *hs_context_model(const hs_context *);

// The tap is borrowed until it is replaced; NULL = plain inference.
void hs_context_set_tap(hs_context *, const hs_tap *tap);

enum hs_logits { HS_LOGITS_NONE, HS_LOGITS_LAST, HS_LOGITS_ALL, HS_LOGITS_ROWS };

enum { HS_SLOT_NONE = -1 };

// One sequence of a ragged batch. Its rows go to positions len(slot) .. len(slot)+n-1; without
// kept keys and values they start at 0. A slot is in a batch at most once.
typedef struct hs_seq {
    const int32_t *tokens; // [n]; may be NULL when the batch injects a residual
    int64_t n;             // >= 1
    int slot;              // timeline; ignored without kept keys and values. HS_SLOT_NONE: nothing
                           // of this sequence is kept, and it begins at n_prefix
    int prefix_slot;       // slot whose first n_prefix positions this sequence sees before its own
    int64_t n_prefix;      // 0 = none; the positions of an empty slot then start at n_prefix.
                           // A slot goes on with the prefix it began with, and a prefix slot
                           // has none itself.
} hs_seq;

typedef struct hs_batch {
    const hs_seq *seq;
    int n_seq;
    int layer_from, layer_to; // layers [from, to); to 0 = n_layer
    const float *resid;       // [rows of all sequences, d_model]: enters at layer_from instead of
                              // the embedding; required when layer_from > 0
    enum hs_logits logits;    // which rows meet the LM head (only when layer_to is n_layer);
                              // delivered through the tap's HS_LOGITS rows, in blocks
    // HS_LOGITS_ROWS: the batch's rows that meet the LM head, ascending. Runs of neighbours within
    // a sequence are delivered together.
    const int64_t *logit_row; // [n_logit_row], borrowed
    int64_t n_logit_row;
} hs_batch;

// Evaluates the batch. HS_ERANGE: a token id outside the vocabulary, an empty sequence, positions
// past n_ctx or the capacity. On failure slots keep the length they had. Slots grow only when the
// batch reaches the last layer, so that a batch may be run in several layer ranges.
int hs_context_eval(hs_context *, const hs_batch *batch) HS_MUST_USE;

// The residual after the last evaluation's layer_to, [rows, d_model] in batch order; borrowed
// until the next evaluation.
const float *hs_context_resid(const hs_context *);
// Logits of the rows asked for by HS_LOGITS_LAST, [n_seq, n_vocab]; NULL when none were asked.
const float *hs_context_logits(const hs_context *);

// Positions held by a slot, its prefix included; forget what lies from `len` on (all of it when
// `len` cuts into the prefix).
int64_t hs_context_len(const hs_context *, int slot);
void hs_context_truncate(hs_context *, int slot, int64_t len);

// Bytes of work memory that a context takes for a sequence of n_tokens in one evaluation, or, with
// kept keys and values, for one that fills its capacity.
typedef struct hs_memory {
    int64_t rows;    // the residual and rotations of all rows, the last one's logits
    int64_t keys;    // keys and values
    int64_t block;   // buffers of one row block, rows of logits when all are asked for
    int64_t scratch; // the backend's own, of all threads
} hs_memory;
hs_memory hs_context_memory(const hs_model *model, const hs_context_opts *opts, int64_t n_tokens,
                            enum hs_logits logits);
static inline int64_t hs_memory_sum(const hs_memory *m) {
    return m->rows + m->keys + m->block + m->scratch;
}

#endif
