// Fuzz target: blobs from anywhere, series and chunks, with the checksum right so that what lies
// behind it is reached. First byte: format and codec; then three bytes of rows and keys; the rest
// is the blob, and also numbers that are packed and must come back.
// covers: db/codec.c
#include <float.h>
#include <math.h>

#include "db/codec_internal.h"
#include "model/core/hash.h"
#include "tests/fuzz/shared.h"

static void try_series(const uint8_t *data, size_t n) {
    const uint8_t *at;
    int64_t count;
    int size;
    uint8_t *blob = malloc(n ? n : 1);
    double sum = 0;
    if (!blob) return;
    memcpy(blob, data, n);
    if (n > 8) {
        uint32_t crc = hs_crc32(blob + 8, n - 8);
        memcpy(blob + 4, &crc, 4);
    }
    if (!hs_series_open(blob, n, &at, &count, &size))
        for (int64_t i = 0; i < count; i++) sum += hs_series_at(at, size, i);
    (void)sum;
    free(blob);
}

static void try_rows(enum hs_store store, const uint8_t *raw, int64_t q0, int64_t n_q,
                     int64_t n_k) {
    float *row = malloc((size_t)n_k * sizeof *row);
    size_t at = 0;
    for (int64_t i = q0; row && i < q0 + n_q; i++) {
        int64_t n = hs_map_row_len(true, i, n_k);
        hs_row_get(store, raw + at, row, n);
        at += hs_row_bytes(store, n);
    }
    free(row);
}

// The numbers as they come back from a chunk: equal in f32, within half a step in u8.
static void round_trip(enum hs_store store, const uint8_t *data, size_t n) {
    const int64_t count = (int64_t)(n / sizeof(float));
    const size_t bytes = hs_row_bytes(store, count);
    float *v = malloc(n + 1), *back = malloc(n + 1);
    uint8_t *raw = malloc(bytes + 1), *own = NULL;
    const uint8_t *at;
    hs_chunk chunk = {0};
    need(v && back && raw);
    memcpy(v, data, n);
    if (!count || hs_row_put(store, raw, v, count)) {
        free(raw);
    } else {
        float lo = v[0], hi = v[0];
        need(!hs_chunk_pack(&chunk, store, raw, bytes)); // takes raw
        need(!hs_chunk_unpack(&at, &own, chunk.data, chunk.n, chunk.zstd ? "zstd" : "none",
                              chunk.crc, bytes));
        hs_row_get(store, at, back, count);
        for (int64_t i = 0; i < count; i++) {
            lo = fminf(lo, v[i]);
            hi = fmaxf(hi, v[i]);
        }
        for (int64_t i = 0; i < count; i++)
            if (store == HS_STORE_F32)
                need(!memcmp(&v[i], &back[i], sizeof *v));
            else if (store == HS_STORE_U8 && isfinite(hi - lo))
                need(fabsf(v[i] - back[i]) <= (hi - lo) / 255 + 1e-6f * fmaxf(-lo, hi) + FLT_MIN);
        free(own);
        free(chunk.data);
    }
    free(v);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    try_series(data, n);
    if (n < 4) return 0;
    enum hs_store store = (enum hs_store)(data[0] % 3);
    const char *codec = data[0] & 0x80 ? "zstd" : "none";
    int64_t q0 = data[1], n_q = data[2], n_k = q0 + n_q + data[3];
    const uint8_t *raw, *blob = data + 4;
    uint8_t *own = NULL;
    size_t expect;
    round_trip(store, blob, n - 4);
    if (!hs_map_rows_bytes(store, true, q0, n_q, n_k, &expect)) return 0;
    if (hs_chunk_unpack(&raw, &own, blob, n - 4, codec, hs_crc32(blob, n - 4), expect)) return 0;
    try_rows(store, raw, q0, n_q, n_k);
    free(own);
    return 0;
}
