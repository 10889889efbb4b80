// How much work goes together where prompts are worked on in chunks; results do not depend on it.
#ifndef HS_ANALYSES_CHUNK_H
#define HS_ANALYSES_CHUNK_H

#include <stdint.h>

enum { HS_CHUNK_ROWS = 4096 }; // of a batch: enough for the products to be at their best

// Bytes that a chunk may take, by what an option says (0: the default).
static inline int64_t hs_chunk_memory(int64_t asked) {
    return asked ? asked : (int64_t)512 << 20;
}

#endif
