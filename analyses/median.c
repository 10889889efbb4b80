// Medians; see median.h. Two counting passes: one over the upper halves of the bit patterns, one over
// the lower halves of those in the middle.
#include "analyses/median.h"

enum { LOW = HS_MEDIAN_COUNTS - 1 };

// The key of rank `rank` (from 0) among n.
static uint32_t select_key(const uint32_t *key, int64_t n, int64_t rank, uint64_t *count) {
    uint64_t left = (uint64_t)rank;
    uint32_t upper = 0, lower = 0;
    memset(count, 0, HS_MEDIAN_COUNTS * sizeof *count);
    for (int64_t i = 0; i < n; i++) count[key[i] >> 16]++;
    while (left >= count[upper]) left -= count[upper++];
    memset(count, 0, HS_MEDIAN_COUNTS * sizeof *count);
    for (int64_t i = 0; i < n; i++)
        if (key[i] >> 16 == upper) count[key[i] & LOW]++;
    while (left >= count[lower]) left -= count[lower++];
    return upper << 16 | lower;
}

double hs_median_size(const uint32_t *key, int64_t n, uint64_t *count) {
    const uint32_t low = select_key(key, n, (n - 1) / 2, count);
    const uint32_t high = n % 2 ? low : select_key(key, n, n / 2, count);
    return (hs_key_size(low) + hs_key_size(high)) / 2;
}
