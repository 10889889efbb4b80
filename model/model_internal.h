// What model.c, bind.c, context.c, batch.c, the forward and the backward pass share. Nobody else includes this.
#ifndef HS_MODEL_MODEL_INTERNAL_H
#define HS_MODEL_MODEL_INTERNAL_H

#include "model/context.h"
#include "model/ends.h"
#include "model/model.h"

// ---- model --------------------------------------------------------------------------------------

// The tensor of one role and layer. A role that the checkpoint lacks has view.data NULL.
typedef struct hs_bound {
    const char *name;      // as the checkpoint calls it
    hs_view view;          // logical: [out, in] or [n], strides as stored
    const int32_t *row_of; // logical row n is stored row row_of[n]; NULL = the identity
    hs_weight *weight;     // matrices that `linear` multiplies by
    float *vector;         // norms, biases, divisors, in f32
} hs_bound;

struct hs_model {
    hs_ckpt *ckpt;
    const hs_arch *arch;
    hs_config cfg;
    hs_tok *tok;
    int tok_rc; // why tok is NULL, and in words
    const char *tok_why;
    hs_ends ends;
    const hs_backend *be;
    hs_dev *dev;
    hs_arena *arena;
    hs_bound *bound; // [n_layer + 1][HS_N_ROLE], entry n_layer holds the model's own
    enum hs_precision precision;
    // [rope_dim / 2], NULL without RoPE; the second for models that run in double.
    float *rope_freq;
    double *rope_freq_f64;
    int64_t n_params;
    int dtype; // hs_dtype of most weights
    enum hs_weight_mode weights;
    bool can_run; // the weights are packed
};

static inline hs_bound *hs_model_bound(const hs_model *m, enum hs_role role, int64_t layer) {
    return &m->bound[(layer < 0 ? m->cfg.n_layer : layer) * HS_N_ROLE + (int64_t)role];
}

// Fills m->bound's views and vectors from the checkpoint by the family's rules, m->n_params,
// m->dtype, and settles cfg.tied. Nothing is packed yet.
int hs_bind(hs_model *m) HS_MUST_USE;
// HS_EFORMAT naming the first number of an embedding table that is not finite.
int hs_bind_check_table(const hs_model *m, enum hs_role role) HS_MUST_USE;
bool hs_role_is_matrix(enum hs_role role); // one that `linear` multiplies by
// As hs_model_rope_row, in numbers of the backend's type.
void hs_model_rotation(const hs_model *m, int64_t pos, int64_t n_total, void *cos_sin);

// ---- context ------------------------------------------------------------------------------------

// Work buffers of one row block, by what a row of them holds: numbers of the backend's type.
enum hs_buffer {
    HS_BUF_SCALE,
    HS_BUF_OLD_SCALE,
    HS_BUF_NORMALIZED,
    HS_BUF_NORMED, // norms
    HS_BUF_Q,
    HS_BUF_K,
    HS_BUF_V,
    HS_BUF_Z, // attention
    HS_BUF_PRE,
    HS_BUF_LINEAR, // MLP; post lies in PRE
    HS_BUF_OUT,    // what is added
    HS_N_BUF,
};

// A timeline with kept keys and values.
typedef struct hs_slot {
    hs_kv **kv;       // [n_layer]; NULL until first used
    int64_t len;      // positions held, prefix included
    int64_t n_prefix; // of which the first are those of prefix_slot
    int prefix_slot;
    uint64_t serial; // of the last batch it was in
} hs_slot;

// One sequence of the evaluation in work.
typedef struct hs_run_seq {
    const int32_t *tokens;
    int64_t row, n; // its rows in the batch
    int64_t pos0;   // position of its first row
    int64_t n_prefix;
    int64_t block_from, block_to; // its rows that see each other, all of this evaluation
    hs_slot *slot, *prefix;       // NULL where nothing is kept, and without a prefix
    hs_kv *kv; // the layer in work when nothing is kept; reused by later evaluations
    int64_t kv_cap;
} hs_run_seq;

// The rows of one sequence within a block of batch rows.
typedef struct hs_piece {
    int seq;
    int64_t row, n; // within the block
    int64_t pos;    // position of the first
} hs_piece;

struct hs_pass; // pass.h
// What the backward pass wants of an evaluation: copies of what a layer goes on with at some of its
// points, numbers of the backend's type, rows of the whole batch; and blocks of logits.
typedef struct hs_keep {
    uint64_t points; // bits
    void *rows[HS_N_POINT];
    // Numbers between two layers' copies; 0: each layer's in place of the last one's.
    int64_t step[HS_N_POINT];
    bool cut; // nobody goes on from here: what is neither kept nor watched need not be made
    // After a block of logits was shown: they are in the wide buffer, its rows are the pieces'.
    int (*logits)(void *ctx, const struct hs_pass *block);
    void *ctx;
} hs_keep;

struct hs_context {
    const hs_model *model;
    const hs_tap *tap;
    hs_keep keep;
    hs_context_opts opts; // resolved
    int dtype;            // the backend's: of what is void * here
    int64_t width[HS_N_BUF];
    void *buf[HS_N_BUF];  // [row_block][width]; one block of memory at buf[0]
    float *stats;         // [row_block][n_head * HS_N_STAT]
    int32_t *pos;         // [row_block]
    hs_piece *piece;      // [row_block]
    hs_attn *attn;        // [row_block]: of pieces
    hs_piece *head_piece; // [row_block]: of rows on their way to the head
    hs_slot *slot;        // [n_slot], NULL when nothing is kept

    // Grown before the layers, to the largest evaluation so far.
    hs_run_seq *seq;
    int64_t cap_seq;
    void *resid;   // [rows][d_model]
    void *cos_sin; // [rows][rope_dim]
    int64_t cap_rows;
    int32_t *id; // [rows]: position ids, where the tap gives them
    int64_t cap_id;
    void *logits; // [n_seq][n_vocab]
    int64_t cap_last;
    void *wide; // a few rows of [n_vocab] or [n_head][d_model]
    int64_t cap_wide;
    void *queries; // of a layer that is surveyed, [rows][width of q]
    int64_t cap_queries;
    // As f32, for others: resid and logits themselves when they are of that type, else copies.
    float *resid_f32, *logits_f32;
    float *shown; // copies for the tap, NULL when they are never needed
    int64_t cap_shown;

    uint64_t serial; // of the evaluation in work
    int64_t n_rows;  // of the last evaluation, 0 when it failed
    bool has_logits;
};

// What an evaluation needs beyond the fixed buffers.
typedef struct hs_need_room {
    int64_t n_seq, rows;
    int64_t last; // sequences whose last logits are kept
    int64_t wide; // numbers
    bool queries; // of all rows
} hs_need_room;
// Positions that slot i holds, its prefix not counted.
int64_t hs_context_capacity(const hs_context_opts *resolved, int64_t i);
// Both leave the context usable when they fail. `reserve` reads x->seq[0 .. n_seq).
int hs_context_reserve_seqs(hs_context *x, int64_t n) HS_MUST_USE;
int hs_context_reserve(hs_context *x, const hs_need_room *need) HS_MUST_USE;
// What a run of n_row rows at positions below n_key asks of the backend at most.
hs_extent hs_context_extent(const hs_config *c, const hs_context_opts *resolved, int64_t n_row,
                            int64_t n_key, int64_t tile_rows);
// n numbers of the backend's as f32: p itself when that is what it holds, else a copy that lives
// until the next call.
int hs_context_show(hs_context *x, void *p, int64_t n, float **out) HS_MUST_USE;
// Makes resid_f32 of n_rows rows, and logits_f32 of n_logits, those of an evaluation that is over.
void hs_context_hand_out(hs_context *x, int64_t n_rows, int64_t n_logits);

// Checks a batch and fills x->seq with its sequences; *n_rows is their rows in all.
int hs_batch_take(hs_context *x, const hs_batch *b, int64_t *n_rows) HS_MUST_USE;
// The slots take in what was evaluated.
void hs_batch_keep(hs_context *x, const hs_batch *b);

enum { HS_ROW_BLOCK = 256 }; // rows worked on at once, unless the context says so

// Numbers that a wide buffer holds at most, unless one row is wider.
enum { HS_WIDE_MOST = 1 << 22 };

#endif
