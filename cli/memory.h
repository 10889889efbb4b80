// What a command that runs a model takes in memory, told before it runs.
#ifndef HS_CLI_MEMORY_H
#define HS_CLI_MEMORY_H

#include "model/context.h"

// Bytes, by what they hold. Their sum is what the process holds at its peak.
typedef struct hs_footprint {
    int64_t program;  // code, libraries, tokenizer, the container's header
    int64_t weights;  // packed
    int64_t tables;   // rows of embeddings that stay in the file
    hs_memory work;   // of the context
    int64_t recorder; // rows on their way into the database, and its cache
} hs_footprint;

// Of recording one prompt of n_tokens with a model that was opened without its weights.
hs_footprint hs_footprint_of_recording(const hs_model *model, int64_t n_tokens);
int64_t hs_footprint_sum(const hs_footprint *);

// HS_ENOMEM with the numbers unless a context with these options can run n_tokens.
int hs_cli_room_check(const hs_model *model, const hs_context_opts *opts, int64_t n_tokens,
                      enum hs_logits logits) HS_MUST_USE;

#endif
