// The exact median of sizes |x|, by counting over the halves of their bit patterns, which sort as
// the numbers do. NaN sorts above everything.
#ifndef HS_ANALYSES_MEDIAN_H
#define HS_ANALYSES_MEDIAN_H

#include <stdint.h>
#include <string.h>

enum { HS_MEDIAN_COUNTS = 1 << 16 };

// The bits of |x|.
static inline uint32_t hs_size_key(float x) {
    uint32_t key;
    memcpy(&key, &x, sizeof key);
    return key & 0x7fffffff;
}

static inline double hs_key_size(uint32_t key) {
    float size;
    memcpy(&size, &key, sizeof size);
    return (double)size;
}

// Of key[0 .. n), n >= 1: the mean of the middle two when n is even. count: scratch,
// [HS_MEDIAN_COUNTS].
double hs_median_size(const uint32_t *key, int64_t n, uint64_t *count);

#endif
