// What a compute backend provides. Backends know nothing of models or hooks. Matrices of
// activations are row-major and hold numbers of the backend's own type (`dtype`: f32, or f64 for
// the reference); sizes and strides are in elements. Vectors of weights and row summaries are f32,
// and so is what a tap sees, whatever the type.
//
// Contract on bits: an output element is summed in an order that depends only on its own inputs'
// length: not on the number of rows, the neighbours, the tile height or the thread count. So one
// sequence alone, in a batch, in row blocks or token by token gives the same bits.
#ifndef HS_MODEL_BACKEND_H
#define HS_MODEL_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"
#include "model/core/err.h"
#include "model/core/pool.h"
#include "model/core/view.h"
#include "model/tap.h"

typedef struct hs_dev hs_dev;       // an open backend: pool, scratch, chosen kernels
typedef struct hs_weight hs_weight; // a matrix ready for `linear`
typedef struct hs_kv hs_kv;         // keys and values of one sequence and layer

enum hs_precision {
    HS_PREC_EXACT, // f32, weights as stored
    HS_PREC_BF16,  // products of numbers rounded to bf16, summed in f32: less exact, faster
    HS_PREC_F64,   // f64 in plain loops: the reference
    HS_N_PREC,
};
extern const char *const hs_precision_names[HS_N_PREC]; // "exact", "bf16", "f64"

typedef struct hs_dev_opts {
    int threads;     // 0 = all cores
    const char *isa; // NULL or "auto": the best this CPU has; else "generic", "avx2", "avx512"
    enum hs_precision precision;
} hs_dev_opts;

// Both give the same bits.
enum hs_weight_mode {
    HS_WEIGHT_KEEP,   // packed in the numbers of the file, widened where they are multiplied
    HS_WEIGHT_EXPAND, // packed as f32
};

// One of the products that share their input: y[n_rows, N] (ld_y) = x W^T (+ bias[N]).
typedef struct hs_product {
    void *y;
    int64_t ld_y;
    const hs_weight *w;
    const float *bias; // NULL: none
} hs_product;

// One of the products whose gradients add up: what entered y = x W^T gets dy W.
typedef struct hs_product_back {
    const void *dy; // [n_rows, N]
    int64_t ld_dy;
    const hs_weight *w;
} hs_product_back;

// Attention of n_q consecutive query rows of one sequence.
typedef struct hs_attn {
    int layer, seq; // for tiles
    int64_t n_head, n_kv_head, d_head;
    double scale;
    const void *q; // [n_q, ld_q], head h at column h * d_head, after RoPE
    int64_t ld_q;
    void *z; // [n_q, ld_z], head h at column h * d_head
    int64_t ld_z;
    int64_t pos0, n_q; // row r sees keys 0 .. pos0 + r
    int64_t until;     // > 0: all rows see keys 0 .. until - 1, which are there, later ones too
    // Keys and values: those of an optional shared prefix, then the sequence's own.
    // prefix holds keys 0 .. n_prefix-1, own the keys from n_prefix on.
    const hs_kv *prefix, *own;
    int64_t n_prefix;
    float *stats;      // stat s of head h, row r at [(h * HS_N_STAT + s) * ld_stats + r]; NULL:
                       // not wanted
    int64_t ld_stats;  // 0: n_q
    const hs_tap *tap; // for tiles; NULL: not watched
    const uint8_t *tile_want; // [n_head], NULL: none
    // Only shows the heads of HS_TILE_SURVEY to the tap, as hs_tap says: no z. Without `stats`.
    bool survey;
} hs_attn;

// Bits of hs_tile_want: when the tiles of a head are shown.
static inline int hs_attn_want(const hs_attn *a, int64_t head) {
    const int want = a->tap && a->tile_want ? a->tile_want[head] : 0;
    if (!a->survey) return want;
    return want & HS_TILE_SURVEY ? HS_TILE_WRITE_PATTERN | (want & HS_TILE_WRITE_SCORES) : 0;
}

// Keys that the last row sees.
static inline int64_t hs_attn_keys(const hs_attn *a) {
    return a->until ? a->until : a->pos0 + a->n_q;
}

// Causal attention differentiated, for whole sequences that lie end to end, each from its position
// 0 on. Head h of q, z and their gradients is at column h * d_head, head g of k and v likewise; the
// keys and values of a group of heads gather what all of them send. No output overlaps an input.
typedef struct hs_attn_back {
    int64_t n_head, n_kv_head, d_head;
    double scale;
    const int64_t *seq; // [n_seq + 1]: sequence s has rows seq[s] .. seq[s + 1] - 1
    int n_seq;
    const void *q, *k, *v; // as attention and kv_put had them
    int64_t ld_q, ld_kv;   // of dq, dz; of dk, dv
    const void *dz;
    void *dq, *dk, *dv;
    // Who masked keys at scores (-inf) on the way up is asked to do so again. NULL: nobody.
    const hs_tap *edits;
    int layer;                // for tiles
    const uint8_t *tile_want; // [n_head]: HS_TILE_WRITE_SCORES where it masks
} hs_attn_back;

// The largest calls of an evaluation.
typedef struct hs_extent {
    int64_t n_row;         // of a product, and query rows of an attention
    int64_t width;         // inputs of a product
    int64_t n_key, d_head; // keys that a query row sees
    int64_t tile_rows;     // the tap's, 0: none
    // Of a backward pass: rows of all sequences and their heads; 0: none.
    int64_t back_rows, n_head;
} hs_extent;

typedef struct hs_backend {
    const char *name;
    int dtype; // of activations: HS_F32 or HS_F64
    int (*open)(hs_dev **out, const hs_dev_opts *opts);
    void (*close)(hs_dev *);
    const char *(*isa)(const hs_dev *);
    hs_pool *(*pool)(hs_dev *);

    // Makes `out` from w, logically [out, in] with any strides (block formats: whole rows).
    // row_of: row n of the weight is stored row row_of[n]; NULL = the identity. Nothing is
    // borrowed, but by the reference, which reads the map and row_of as long as the weight lives.
    // HS_EFORMAT names the first number that is not finite.
    int (*pack)(hs_dev *, hs_weight **out, const hs_view *w, const int32_t *row_of,
                enum hs_weight_mode mode);
    void (*unpack)(hs_weight *); // frees it
    // Bytes that `pack` would take, 0 for a view that it would refuse.
    int64_t (*weight_bytes)(const hs_dev *, const hs_view *w, enum hs_weight_mode mode);

    // n_product products of x[n_rows, K] (ld_x), all of the same K; outputs do not overlap.
    int (*linear)(hs_dev *, const hs_product *p, int n_product, const void *x, int64_t ld_x,
                  int64_t n_rows);
    // y[i] = row ids[i] of table (any dtype); ids are checked by the caller.
    int (*embed)(hs_dev *, void *y, const hs_view *table, const int32_t *ids, int64_t n);
    // Normalisation of n_rows rows of d numbers, in steps so that each can be hooked:
    // scale[r] = rms or sqrt(var + eps); normalized = (x - mean) / scale; y = normalized * w + b.
    int (*norm_scale)(hs_dev *, void *scale, void *normalized, const void *x, int64_t n_rows,
                      int64_t d, enum hs_norm kind, double eps);
    int (*norm_gain)(hs_dev *, void *y, const void *normalized, int64_t n_rows, int64_t d,
                     const float *w, const float *b);
    // Rotates the first rope_dim numbers of each head in place, halves style. cos_sin holds
    // [n_rows][rope_dim] : rope_dim/2 cosines then rope_dim/2 sines.
    int (*rope)(hs_dev *, void *x, int64_t ld, int64_t n_rows, int64_t n_head, int64_t d_head,
                int64_t rope_dim, const void *cos_sin);
    // y = act(pre), or act(pre) * linear when linear is not NULL; n numbers.
    int (*act)(hs_dev *, void *y, const void *pre, const void *linear, int64_t n, enum hs_act kind);
    int (*add)(hs_dev *, void *y, const void *a, const void *b, int64_t n); // y = a + b

    // Reductions of rows of logits, f32 in any case as a tap is shown them: out[r] = ln sum_k
    // exp(x[r, k]), with relative error below 1e-6 of the sum.
    int (*log_sum_exp)(hs_dev *, double *out, const float *x, int64_t ld, int64_t n_rows,
                       int64_t n);
    // With p = softmax(a), q = softmax(b), m = (p + q) / 2, in nats: kl[r] = sum p ln(p / q),
    // jsd[r] = (KL(p || m) + KL(q || m)) / 2. lse_*: the rows' log_sum_exp. NULL: not wanted.
    int (*divergence)(hs_dev *, double *kl, double *jsd, const float *a, int64_t ld_a,
                      const double *lse_a, const float *b, int64_t ld_b, const double *lse_b,
                      int64_t n_rows, int64_t n);

    // x[r, k] = by exp(x[r, k] - lse[r]): rows of logits to their softmax in place, for by = 1.
    int (*softmax)(hs_dev *, float *x, int64_t ld, const double *lse, int64_t n_rows, int64_t n,
                   float by);

    // Storage for up to `capacity` keys of n_kv_head heads.
    int (*kv_open)(hs_dev *, hs_kv **out, int64_t n_kv_head, int64_t d_head, int64_t capacity);
    void (*kv_close)(hs_kv *);
    // Writes keys and values ([n, ld], head g at column g * d_head) at positions at .. at+n-1.
    int (*kv_put)(hs_dev *, hs_kv *, int64_t at, int64_t n, const void *k, int64_t ld_k,
                  const void *v, int64_t ld_v);
    int (*attention)(hs_dev *, const hs_attn *, int n); // of n sequences
    // Bytes that kv_open would take.
    int64_t (*kv_bytes)(const hs_dev *, int64_t n_kv_head, int64_t d_head, int64_t capacity);

    // Gradients of the above: of inputs from those of outputs, in the numbers of the backend's type,
    // with the same contract on bits. Nothing is rounded to bf16.
    //
    // dx[n_rows, K] (ld_dx) = sum of dy W over n_product products of the same K.
    int (*linear_back)(hs_dev *, void *dx, int64_t ld_dx, const hs_product_back *p, int n_product,
                       int64_t n_rows);
    // dx += gradient of what norm_scale and then norm_gain made of x, with what norm_scale gave.
    int (*norm_back)(hs_dev *, void *dx, const void *dy, const void *normalized, const void *scale,
                     int64_t n_rows, int64_t d, const float *w, enum hs_norm kind);
    // dpre = dy act'(pre) and nothing else when linear is NULL; else dpre = dy linear act'(pre) and
    // dlinear = dy act(pre). dpre may be pre or dy, and dlinear linear. relu has slope 0 at 0.
    int (*act_back)(hs_dev *, void *dpre, void *dlinear, const void *dy, const void *pre,
                    const void *linear, int64_t n, enum hs_act kind);
    int (*attention_back)(hs_dev *, const hs_attn_back *);

    // Work memory of the device itself: bytes it would take, and making room beforehand. Calls
    // within a reserved extent allocate nothing; larger ones do, and keep it.
    int64_t (*scratch_bytes)(const hs_dev *, const hs_extent *);
    int (*reserve)(hs_dev *, const hs_extent *);
} hs_backend;

extern const hs_backend hs_backend_cpu;
extern const hs_backend hs_backend_ref; // f64, plain loops

#endif
