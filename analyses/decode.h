// Decoding: what follows prompts, token by token. Each sequence goes on in a slot of a context that
// keeps keys and values; several go side by side, and those that ended leave the batch.
#ifndef HS_ANALYSES_DECODE_H
#define HS_ANALYSES_DECODE_H

#include "model/context.h"

// One sequence. `in` is run first, after what its slot or prefix holds.
typedef struct hs_decoding {
    hs_seq in;
    int32_t *out;  // [most], the caller's: the tokens that follow
    int64_t n_out; // of them, the last of which may be one that ends the text
} hs_decoding;

typedef struct hs_decode_opts {
    hs_context *context;
    int64_t most;          // tokens to make at most; 0: only `in` is run
    bool run_last;         // the last token is run too, so that it has rows
    enum hs_logits logits; // of every evaluation; LAST when any of the below takes their default
    void *ctx;             // of the callbacks, each of which may be NULL
    // Before each evaluation: its batch is of seq[0 .. n), numbers of sequences, and has n_row rows.
    // A result other than HS_OK ends the decoding with it.
    int (*turn)(void *ctx, const int *seq, int n, int64_t n_row);
    // The token that follows sequence `seq`, from its last row's logits (NULL unless LAST are asked
    // for). Default: the likeliest, the lowest id among equals.
    int32_t (*pick)(void *ctx, int seq, const float *logits);
    // Whether a text ends with this token. Default: one that ends a generation (hs_model_is_eog).
    bool (*ends)(void *ctx, int32_t id);
} hs_decode_opts;

int hs_decode(const hs_decode_opts *opts, hs_decoding *seq, int n_seq) HS_MUST_USE;

// The largest of n numbers, the first among equals.
int32_t hs_argmax(const float *logits, int64_t n);

#endif
