// Rows of numbers as bytes: the blobs of maps, activations and series.
#ifndef HS_DB_CODEC_INTERNAL_H
#define HS_DB_CODEC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/record.h"

// A chunk is closed once it holds this many bytes; no chunk is larger than HS_CHUNK_MAX.
#define HS_CHUNK_BYTES ((size_t)1 << 20)
#define HS_CHUNK_MAX ((size_t)64 << 20)

const char *hs_store_name(enum hs_store);              // "f32"
bool hs_store_find(const char *name, enum hs_store *); // false when unknown (or NULL)

// Encoded bytes of a row of n numbers.
size_t hs_row_bytes(enum hs_store, int64_t n);
// HS_EUNSUPPORTED when a number does not fit (f16: past 65504; u8: not finite).
int hs_row_put(enum hs_store, uint8_t *dst, const float *src, int64_t n) HS_MUST_USE;
void hs_row_get(enum hs_store, const uint8_t *src, float *dst, int64_t n);

// Numbers in row i of a map with n_k keys.
static inline int64_t hs_map_row_len(bool causal, int64_t i, int64_t n_k) {
    return causal && i + 1 < n_k ? i + 1 : n_k;
}
// Encoded bytes of rows [q0, q0 + n_q) of a map; false on overflow or past HS_CHUNK_MAX.
bool hs_map_rows_bytes(enum hs_store, bool causal, int64_t q0, int64_t n_q, int64_t n_k,
                       size_t *out);

// A finished chunk as it is stored.
typedef struct hs_chunk {
    struct hs_chunk *next;
    int64_t row0, n_row;
    bool zstd;
    size_t raw_bytes;
    uint32_t crc;
    uint8_t *data; // n bytes, owned
    size_t n;
} hs_chunk;

// Takes raw (n bytes from malloc, freed or kept); compresses f16 and u8 where that saves an eighth
// or more. f32 weights gain 6 % at best and stay as they are.
int hs_chunk_pack(hs_chunk *out, enum hs_store store, uint8_t *raw, size_t n) HS_MUST_USE;
// The raw bytes of a stored chunk, which must be exactly `expect` long: *out points into data or,
// when it had to be unpacked, at *own (free it). HS_EFORMAT says what is wrong.
int hs_chunk_unpack(const uint8_t **out, uint8_t **own, const void *data, size_t n,
                    const char *codec, int64_t crc, size_t expect) HS_MUST_USE;

// Series blobs say themselves what they hold: 'H' 'S' 'f' '4' or '8', crc32 of what follows
// (little-endian), then the numbers.
enum { HS_SERIES_HEAD = 8 };
int hs_series_pack_f32(hs_buf *out, const float *v, int64_t n) HS_MUST_USE;
int hs_series_pack_f64(hs_buf *out, const double *v, int64_t n) HS_MUST_USE;
// Checks; *n numbers of *size bytes at *at (unaligned, little-endian). HS_EFORMAT.
int hs_series_open(const void *blob, size_t bytes, const uint8_t **at, int64_t *n,
                   int *size) HS_MUST_USE;
double hs_series_at(const uint8_t *at, int size, int64_t i);

#endif
