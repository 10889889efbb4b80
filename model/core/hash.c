// Checksums; see hash.h. FNV-1a is Fowler, Noll and Vo's: xor a byte in, multiply by the prime.
#include "model/core/hash.h"

#include <zlib.h>

uint32_t hs_crc32_more(uint32_t crc, const void *data, size_t n) {
    return (uint32_t)crc32_z(crc, data, n);
}

uint32_t hs_crc32(const void *data, size_t n) {
    return hs_crc32_more(0, data, n);
}

uint64_t hs_fnv(uint64_t seed, const void *data, size_t n) {
    const uint64_t prime = UINT64_C(0x100000001b3);
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) seed = (seed ^ p[i]) * prime;
    return seed;
}
