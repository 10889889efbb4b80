// --shard: the part of the work that one of several processes does.
#ifndef HS_CLI_SHARD_H
#define HS_CLI_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/buf.h"

typedef struct hs_shard {
    int64_t i, n;  // n 0: all of the work
    bool launched; // i and n are a launcher's
} hs_shard;

// "I/N", "auto", or NULL for all of the work. auto takes rank and size from the environment that
// mpirun, srun, or a job array of Slurm gives a process (an array of such jobs: both). HS_EARG says
// what is wrong with it.
int hs_shard_parse(hs_shard *out, const char *text) HS_MUST_USE;
// HS_EARG when there is nothing for some of the shards to do.
int hs_shard_check(const hs_shard *, int64_t n_prompt) HS_MUST_USE;
// Prompts of n that are the shard's: first, first + step, ...
static inline int64_t hs_shard_count(const hs_shard *s, int64_t n) {
    return s->n ? (n - s->i + s->n - 1) / s->n : n;
}
static inline int64_t hs_shard_ord(const hs_shard *s, int64_t k) {
    return s->n ? s->i + k * s->n : k;
}
// The database of the shard: a launcher's processes write FILE.RANK.db for FILE.db.
int hs_shard_path(hs_buf *out, const hs_shard *, const char *path) HS_MUST_USE;

#endif
