// Memory: checked sizes, aligned blocks, arenas, read-only file maps.
#ifndef HS_CORE_MEM_H
#define HS_CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/core/err.h"

// *out = a * b, false when it does not fit. For every count that comes from a file.
static inline bool hs_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool hs_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

// n * size zeroed bytes into *out (64-byte aligned, at least one byte); HS_ENOMEM on overflow or
// exhaustion. The caller frees with free().
int hs_alloc(void *out, size_t n, size_t size) HS_MUST_USE;

// Grows *block (from hs_alloc, realloc or NULL) to hold n items of `size`; contents are kept, new
// bytes are not zeroed. HS_ENOMEM leaves *block as it was.
int hs_grow(void *block, size_t n, size_t size) HS_MUST_USE;

// Bump allocator: blocks live until the arena is closed. All memory is 64-byte aligned and zeroed.
typedef struct hs_arena hs_arena;
int hs_arena_open(hs_arena **out) HS_MUST_USE;
void hs_arena_close(hs_arena *);
int hs_arena_get(hs_arena *, void *out, size_t n, size_t size) HS_MUST_USE;
// A NUL-terminated copy of s[0..n).
int hs_arena_str(hs_arena *, const char **out, const char *s, size_t n) HS_MUST_USE;

// A file mapped read only. size 0 has data "" (not NULL).
typedef struct hs_map {
    const uint8_t *data;
    size_t size;
    void *base; // what munmap gets; NULL for an empty file
} hs_map;
// HS_EIO when it cannot be opened, is not a regular file or cannot be mapped; the message names
// the path.
int hs_map_open(hs_map *out, const char *path) HS_MUST_USE;
void hs_map_close(hs_map *);
// n bytes of a map are read here and there: nothing around them is read ahead; or all of them
// soon, and reading them begins.
void hs_map_sparse(const void *at, size_t n);
void hs_map_wanted(const void *at, size_t n);
// Gives back the pages that lie wholly within n bytes of a map: they are read anew when touched.
void hs_map_forget(const void *at, size_t n);

#endif
