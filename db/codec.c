// Numbers to bytes and back; see codec_internal.h.
//
// f32 and f16 rows are plain numbers. A u8 row begins with its lowest value and the step between
// codes (two f32), then a byte a number: value = lowest + step * byte. Everything is little-endian,
// as are the machines that this is built for (checked below).
#include "db/codec_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "model/core/dtype.h"
#include "model/core/hash.h"
#include "model/core/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "blobs are written as they lie in memory");

static const struct {
    const char *name;
    int head, bytes; // before a row, of a number
} stores[] = {
    [HS_STORE_F32] = {"f32", 0, 4},
    [HS_STORE_F16] = {"f16", 0, 2},
    [HS_STORE_U8] = {"u8", 8, 1},
};
enum { N_STORE = sizeof stores / sizeof *stores, ZSTD_LEVEL = 1 };

const char *hs_store_name(enum hs_store store) {
    return stores[store].name;
}

bool hs_store_find(const char *name, enum hs_store *out) {
    for (int i = 0; name && i < N_STORE; i++)
        if (strcmp(stores[i].name, name) == 0) {
            *out = (enum hs_store)i;
            return true;
        }
    return false;
}

size_t hs_row_bytes(enum hs_store store, int64_t n) {
    return (size_t)stores[store].head + (size_t)n * (size_t)stores[store].bytes;
}

static int put_f16(uint8_t *dst, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = hs_f16_of_f32(src[i]);
        if ((h & 0x7fff) == 0x7c00 && isfinite(src[i]))
            return hs_fail(HS_EUNSUPPORTED, "%g does not fit into f16: store f32", (double)src[i]);
        memcpy(dst + 2 * i, &h, 2);
    }
    return HS_OK;
}

static int put_u8(uint8_t *dst, const float *src, int64_t n) {
    float lo = INFINITY, hi = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(src[i]))
            return hs_fail(HS_EUNSUPPORTED, "a number that is not finite does not fit into u8: "
                                            "store f32");
        lo = src[i] < lo ? src[i] : lo;
        hi = src[i] > hi ? src[i] : hi;
    }
    float step = (float)(((double)hi - lo) / 255);
    memcpy(dst, &lo, 4);
    memcpy(dst + 4, &step, 4);
    for (int64_t i = 0; i < n; i++) {
        double code = step > 0 ? ((double)src[i] - lo) / step + 0.5 : 0;
        dst[8 + i] = (uint8_t)(code < 255 ? code : 255);
    }
    return HS_OK;
}

int hs_row_put(enum hs_store store, uint8_t *dst, const float *src, int64_t n) {
    if (n == 0) return HS_OK;
    if (store == HS_STORE_F16) return put_f16(dst, src, n);
    if (store == HS_STORE_U8) return put_u8(dst, src, n);
    memcpy(dst, src, (size_t)n * 4);
    return HS_OK;
}

void hs_row_get(enum hs_store store, const uint8_t *src, float *dst, int64_t n) {
    if (store == HS_STORE_F32) {
        memcpy(dst, src, (size_t)n * 4);
    } else if (store == HS_STORE_F16) {
        hs_dtypes[HS_F16].to_f32(src, dst, n);
    } else {
        float lo, step;
        memcpy(&lo, src, 4);
        memcpy(&step, src + 4, 4);
        for (int64_t i = 0; i < n; i++) dst[i] = lo + step * (float)src[8 + i];
    }
}

bool hs_map_rows_bytes(enum hs_store store, bool causal, int64_t q0, int64_t n_q, int64_t n_k,
                       size_t *out) {
    const int64_t max = (int64_t)HS_CHUNK_MAX;
    if (q0 < 0 || n_q < 1 || n_k < 1 || n_k > max || n_q > max || q0 > max) return false;
    if (causal && n_q > n_k - q0) return false;
    // Below 2^26 rows of 2^26 numbers: no overflow.
    int64_t numbers = causal ? n_q * q0 + n_q * (n_q + 1) / 2 : n_q * n_k;
    int64_t bytes = numbers * stores[store].bytes + n_q * stores[store].head;
    *out = (size_t)bytes;
    return bytes <= max;
}

static int compress_chunk(hs_chunk *c, const uint8_t *raw, size_t n) {
    size_t bound = ZSTD_compressBound(n);
    int rc = hs_alloc(&c->data, bound, 1);
    if (rc) return rc;
    c->n = ZSTD_compress(c->data, bound, raw, n, ZSTD_LEVEL);
    if (ZSTD_isError(c->n) || c->n > n - n / 8) {
        free(c->data);
        c->data = NULL;
    }
    return HS_OK;
}

int hs_chunk_pack(hs_chunk *c, enum hs_store store, uint8_t *raw, size_t n) {
    c->raw_bytes = n;
    c->data = NULL;
    if (store != HS_STORE_F32) {
        int rc = compress_chunk(c, raw, n);
        if (rc) {
            free(raw);
            return rc;
        }
    }
    c->zstd = c->data != NULL;
    if (c->zstd) {
        free(raw);
    } else {
        c->data = raw;
        c->n = n;
    }
    c->crc = hs_crc32(c->data, c->n);
    return HS_OK;
}

static int unpack_zstd(uint8_t **own, const void *data, size_t n, size_t expect) {
    // The frame says its length: nothing is allocated on the row's word alone.
    if (ZSTD_getFrameContentSize(data, n) != expect)
        return hs_fail(HS_EFORMAT, "damaged blob: its length does not fit its rows");
    int rc = hs_alloc(own, expect, 1);
    if (rc) return rc;
    size_t got = ZSTD_decompress(*own, expect, data, n);
    if (!ZSTD_isError(got) && got == expect) return HS_OK;
    free(*own);
    *own = NULL;
    return hs_fail(HS_EFORMAT, "damaged blob: it does not decompress");
}

int hs_chunk_unpack(const uint8_t **out, uint8_t **own, const void *data, size_t n,
                    const char *codec, int64_t crc, size_t expect) {
    *own = NULL;
    if (!data || !codec || expect > HS_CHUNK_MAX || hs_crc32(data, n) != crc)
        return hs_fail(HS_EFORMAT, "damaged blob: its checksum differs");
    bool zstd = strcmp(codec, "zstd") == 0;
    if (!zstd && strcmp(codec, "none") != 0)
        return hs_fail(HS_EFORMAT, "damaged blob: unknown codec '%s'", codec);
    if (!zstd && n != expect)
        return hs_fail(HS_EFORMAT, "damaged blob: %zu bytes where its rows take %zu", n, expect);
    if (zstd) {
        int rc = unpack_zstd(own, data, n, expect);
        if (rc) return rc;
    }
    *out = zstd ? *own : data;
    return HS_OK;
}

// ---- series -----------------------------------------------------------------------------------

static int pack_series(hs_buf *out, const void *v, int64_t n, int size) {
    uint8_t head[HS_SERIES_HEAD] = {'H', 'S', 'f', (uint8_t)('0' + size)};
    size_t bytes = (size_t)n * (size_t)size;
    uint32_t crc = hs_crc32(v, bytes);
    memcpy(head + 4, &crc, 4);
    hs_buf_add(out, head, sizeof head);
    hs_buf_add(out, v, bytes);
    return hs_buf_rc(out);
}

int hs_series_pack_f32(hs_buf *out, const float *v, int64_t n) {
    return pack_series(out, v, n, 4);
}

int hs_series_pack_f64(hs_buf *out, const double *v, int64_t n) {
    return pack_series(out, v, n, 8);
}

int hs_series_open(const void *blob, size_t bytes, const uint8_t **at, int64_t *n, int *size) {
    const uint8_t *b = blob;
    uint32_t crc;
    if (!b || bytes < HS_SERIES_HEAD || memcmp(b, "HSf", 3) != 0 || (b[3] != '4' && b[3] != '8'))
        return hs_fail(HS_EFORMAT, "not a series: give the data column of row_series or series");
    *size = b[3] - '0';
    memcpy(&crc, b + 4, 4);
    size_t body = bytes - HS_SERIES_HEAD;
    if (body % (size_t)*size || hs_crc32(b + HS_SERIES_HEAD, body) != crc)
        return hs_fail(HS_EFORMAT, "damaged series: its checksum differs");
    *at = b + HS_SERIES_HEAD;
    *n = (int64_t)(body / (size_t)*size);
    return HS_OK;
}

double hs_series_at(const uint8_t *at, int size, int64_t i) {
    float f;
    double d;
    if (size == 8) {
        memcpy(&d, at + 8 * i, 8);
        return d;
    }
    memcpy(&f, at + 4 * i, 4);
    return f;
}
