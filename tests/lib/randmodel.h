// Random small models of every family, in either container. Equal specs give equal weights in both
// containers; the seed draws them. Any failure ends the test program.
#ifndef HS_TESTS_LIB_RANDMODEL_H
#define HS_TESTS_LIB_RANDMODEL_H

#include "model/arch.h"
#include "tests/lib/mkmodel.h"

typedef struct rand_spec {
    const char *family; // "llama", "gpt2", "attn_only"
    bool gguf;
    hs_dtype dtype; // of matrices: HS_F32, HS_F16, HS_BF16
    int n_layer, n_head, n_kv_head, d_model, d_head, d_ff, n_vocab, n_ctx;
    bool tied, bias;   // bias: of Llama's projections, of attn_only's
    bool no_positions; // attn_only without its table
    bool repeat_kv;    // write the same model with every key/value head repeated for its heads
    const int *perm;   // [n_head]: write heads in this order; NULL = as drawn (MHA only)
    const char *more;  // more members of config.json, each with a comma before it
    uint64_t seed;
} rand_spec;

// The small model that tests start from.
rand_spec rand_default(const char *family, bool gguf);

// Collects tensors and metadata (GGUF) or tensors (the config goes to *json).
void rand_fill(mk *m, hs_buf *json, const rand_spec *spec);
// Writes the model into `dir` (mk_dir) and the path to open into `path`.
void rand_write(char path[PATH_MAX], const char *dir, const rand_spec *spec);

#endif
