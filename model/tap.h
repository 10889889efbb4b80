// The engine's output port. The engine knows nothing of hooks: it asks the tap's masks whether
// somebody wants a point, and if so hands over a view. A NULL tap is plain inference.
//
// Names are TransformerLens's; this table is the only place where they are spelled.
#ifndef HS_MODEL_TAP_H
#define HS_MODEL_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/err.h"
#include "model/core/view.h"

enum hs_scope { HS_SCOPE_MODEL, HS_SCOPE_LAYER };
// Shape of one sequence's tensor, without a batch axis. T positions.
enum hs_shape {
    HS_SHAPE_D,      // [T, d_model]
    HS_SHAPE_1,      // [T, 1]
    HS_SHAPE_HEAD,   // [T, n_head, d_head]
    HS_SHAPE_KV,     // [T, n_kv_head, d_head]
    HS_SHAPE_FF,     // [T, d_ff]
    HS_SHAPE_RESULT, // [T, n_head, d_model]
    HS_SHAPE_VOCAB,  // [T, n_vocab]
    HS_SHAPE_MAP,    // [n_head, T, T], delivered as row tiles of one head
    HS_SHAPE_STATS,  // [n_head, HS_N_STAT, T]
};

// id, name ("%d" = layer), short alias, scope, shape, writable
#define HS_POINTS(X)                                                                               \
    X(HS_EMBED, "hook_embed", "embed", MODEL, D, true)                                             \
    X(HS_POS_EMBED, "hook_pos_embed", "pos_embed", MODEL, D, true)                                 \
    X(HS_RESID_PRE, "blocks.%d.hook_resid_pre", "resid_pre", LAYER, D, true)                       \
    X(HS_LN1_SCALE, "blocks.%d.ln1.hook_scale", "ln1_scale", LAYER, 1, true)                       \
    X(HS_LN1_NORMALIZED, "blocks.%d.ln1.hook_normalized", "ln1_normalized", LAYER, D, true)        \
    X(HS_Q, "blocks.%d.attn.hook_q", "q", LAYER, HEAD, true)                                       \
    X(HS_K, "blocks.%d.attn.hook_k", "k", LAYER, KV, true)                                         \
    X(HS_V, "blocks.%d.attn.hook_v", "v", LAYER, KV, true)                                         \
    X(HS_ROT_Q, "blocks.%d.attn.hook_rot_q", "rot_q", LAYER, HEAD, true)                           \
    X(HS_ROT_K, "blocks.%d.attn.hook_rot_k", "rot_k", LAYER, KV, true)                             \
    X(HS_SCORES, "blocks.%d.attn.hook_attn_scores", "attn_scores", LAYER, MAP, true)               \
    X(HS_PATTERN, "blocks.%d.attn.hook_pattern", "pattern", LAYER, MAP, true)                      \
    X(HS_ROW_STATS, "blocks.%d.attn.hook_row_stats", "row_stats", LAYER, STATS, false)             \
    X(HS_Z, "blocks.%d.attn.hook_z", "z", LAYER, HEAD, true)                                       \
    X(HS_RESULT, "blocks.%d.attn.hook_result", "result", LAYER, RESULT, false)                     \
    X(HS_ATTN_OUT, "blocks.%d.hook_attn_out", "attn_out", LAYER, D, true)                          \
    X(HS_RESID_MID, "blocks.%d.hook_resid_mid", "resid_mid", LAYER, D, true)                       \
    X(HS_LN2_SCALE, "blocks.%d.ln2.hook_scale", "ln2_scale", LAYER, 1, true)                       \
    X(HS_LN2_NORMALIZED, "blocks.%d.ln2.hook_normalized", "ln2_normalized", LAYER, D, true)        \
    X(HS_MLP_PRE, "blocks.%d.mlp.hook_pre", "pre", LAYER, FF, true)                                \
    X(HS_MLP_PRE_LINEAR, "blocks.%d.mlp.hook_pre_linear", "pre_linear", LAYER, FF, true)           \
    X(HS_MLP_POST, "blocks.%d.mlp.hook_post", "post", LAYER, FF, true)                             \
    X(HS_MLP_OUT, "blocks.%d.hook_mlp_out", "mlp_out", LAYER, D, true)                             \
    X(HS_RESID_POST, "blocks.%d.hook_resid_post", "resid_post", LAYER, D, true)                    \
    X(HS_LNF_SCALE, "ln_final.hook_scale", "scale", MODEL, 1, true)                                \
    X(HS_LNF_NORMALIZED, "ln_final.hook_normalized", "normalized", MODEL, D, true)                 \
    X(HS_LOGITS, "logits", "logits", MODEL, VOCAB, true)

// clang-format off
enum hs_point {
#define X(id, name, alias, scope, shape, writable) id,
    HS_POINTS(X)
#undef X
    HS_N_POINT,
};
// clang-format on

typedef struct hs_point_info {
    const char *name, *alias;
    enum hs_scope scope;
    enum hs_shape shape;
    bool writable;
} hs_point_info;
extern const hs_point_info hs_point_infos[HS_N_POINT];

#define HS_BIT(point) (UINT64_C(1) << (point))

// The row summary of attention, one f32 a query row and head, computed inside the softmax kernel
// from the pattern as it is used (after edits). argmax is exact up to 2^24 keys; ties go to the
// lowest key.
#define HS_STATS(X)                                                                                \
    X(ENTROPY, "entropy", "nats", "-sum_j A_ij ln A_ij")                                           \
    X(MAX, "max", "", "largest weight of the row")                                                 \
    X(ARGMAX, "argmax", "position", "key with the largest weight")                                 \
    X(LSE, "lse", "nats", "log of the sum of exp of the row's scores")                             \
    X(FIRST, "first", "", "weight on key 0")                                                       \
    X(SELF, "self", "", "weight on the row's own position")                                        \
    X(PREV, "prev", "", "weight on the position before; 0 for row 0")                              \
    X(DISTANCE, "distance", "tokens", "sum_j (i-j) A_ij")
// clang-format off
enum hs_stat {
#define X(id, name, unit, about) HS_STAT_##id,
    HS_STATS(X)
#undef X
    HS_N_STAT,
};
// clang-format on
typedef struct hs_stat_info {
    const char *name, *unit, *about;
} hs_stat_info;
extern const hs_stat_info hs_stat_infos[HS_N_STAT];

// Where a view comes from. Rows are absolute positions in the sequence's timeline.
typedef struct hs_site {
    enum hs_point point;
    int layer;    // -1 for points of the model
    int seq;      // index in the batch
    int64_t row0; // position of the view's first row
    int64_t n_row;
} hs_site;

// Some query rows of one head, over all keys the last of them sees. For scores, masked entries
// are -inf; for the pattern they are exactly 0. Write hooks may change row[r*ld + k] for visible k.
typedef struct hs_tile {
    enum hs_point point;  // HS_SCORES or HS_PATTERN
    int layer, head, seq; // head: query head
    int64_t row0;
    int64_t n_row;
    int64_t n_key; // row0 + n_row for causal attention
    float *row;    // row r at row + r * ld
    int64_t ld;
    // Summaries of these rows, stat s of row r at stats[s * stats_ld + r]; NULL for scores and
    // while pattern edits run.
    const float *stats;
    int64_t stats_ld;
    bool survey; // of the first pass over the layer's maps: nothing is made of it (see hs_tap)
    bool whole;  // every row sees all n_key keys: rows that see each other (hs_tap's block)
} hs_tile;

// Keys that row r of a tile sees.
static inline int64_t hs_tile_keys(const hs_tile *t, int64_t r) {
    return t->whole ? t->n_key : t->row0 + r + 1;
}

// Which stages of a head's attention somebody wants, a bit set a (layer, head).
enum hs_tile_want {
    HS_TILE_WRITE_SCORES = 1,
    HS_TILE_READ_SCORES = 2,
    HS_TILE_WRITE_PATTERN = 4,
    HS_TILE_READ_PATTERN = 8,
    HS_TILE_SURVEY = 16 // all rows of the pattern before any of them is gone on with
};

// Callbacks return an hs_rc; a failure ends the evaluation with that code. At one point all
// write calls come before all read calls (`write` tells which), and what they are given is what
// the engine goes on with.
typedef struct hs_tap {
    void *ctx;
    // [n_layer + 1] sets of HS_BIT(point); entry n_layer holds the points of the model. For maps
    // the bit says that some head wants tiles and tile_want says which.
    const uint64_t *read, *write;
    const uint8_t *tile_want; // [n_layer * n_head]; NULL: none
    int64_t tile_rows;        // height of tiles, 0 = the engine's choice (results do not depend)
    bool own_type;            // read calls of rows get the backend's own numbers, not f32 of them
    // A row block of one sequence. Called on the driving thread. The view is [n_row, ...] (stats:
    // [n_head, HS_N_STAT, n_row] with strides); it dies on return.
    int (*rows)(void *ctx, const hs_site *site, const hs_view *view, bool write);
    // One cell (sequence, layer, head) gets its tiles in row order, one at a time; different cells
    // may be on different threads at once. worker < the pool's threads, for scratch.
    int (*tile)(void *ctx, const hs_tile *tile, bool write, int worker);
    // Positions 0 .. n - 1 of a sequence are surveyed in this layer; 0: none. Where some sequence has
    // such rows, queries and keys of all row blocks are made first; then the heads of HS_TILE_SURVEY
    // have the surveyed rows' tiles shown to `tile` with `survey` set, as write calls at scores (where
    // somebody writes them) and pattern. No row goes on from there: the layer then goes its way. On
    // the driving thread. NULL: nobody surveys.
    int64_t (*survey)(void *ctx, int layer, int seq);
    // After the last row block of a layer (all sequences of the batch), on the driving thread;
    // NULL allowed.
    int (*layer_done)(void *ctx, int layer);
    // Before the layers: the position ids of rows row0 .. row0 + n - 1 of a sequence, which id[]
    // holds as they are if they stay, so row0, row0 + 1, ... By them queries and keys are rotated,
    // or learned positions added; which rows see which goes by the rows. Each from 0 to the context's
    // length, else HS_ERANGE. NULL: they stay.
    int (*positions)(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id);
    // Before the layers, of evaluations that begin with tokens: those of rows row0 .. row0 + n - 1 of
    // a sequence. On the driving thread; NULL allowed.
    int (*tokens)(void *ctx, int seq, int64_t row0, int64_t n, const int32_t *token);
    // Before the layers: rows *from .. *to - 1 of a sequence see each other, later ones too, in all
    // heads; none where *to - *from is less than 2, as it is if the callback leaves them. An
    // evaluation has all of these rows or none of them. NULL: no rows do.
    int (*block)(void *ctx, int seq, int64_t *from, int64_t *to);
} hs_tap;

#endif
