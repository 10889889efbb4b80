// Checksums: crc32 (zlib's) for blobs, FNV-1a 64 for fingerprints. Neither is cryptographic.
#ifndef HS_CORE_HASH_H
#define HS_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint32_t hs_crc32(const void *data, size_t n);
// Goes on from the crc of what came before; 0 begins.
uint32_t hs_crc32_more(uint32_t crc, const void *data, size_t n);

#define HS_FNV_SEED UINT64_C(0xcbf29ce484222325)
uint64_t hs_fnv(uint64_t seed, const void *data, size_t n);

#endif
