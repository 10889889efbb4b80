// Rows and series as bytes: exact where they promise to be, within half a step where not, and
// strict about what they are given.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/codec_internal.h"
#include "model/core/hash.h"
#include "model/core/prng.h"

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static void fill(float *v, int64_t n, uint64_t seed, double scale) {
    hs_prng g = hs_prng_seed(seed);
    for (int64_t i = 0; i < n; i++) v[i] = (float)(scale * hs_prng_normal(&g));
}

static void test_names(void **state) {
    (void)state;
    enum hs_store s;
    for (int i = HS_STORE_F32; i <= HS_STORE_U8; i++) {
        assert_true(hs_store_find(hs_store_name((enum hs_store)i), &s));
        assert_int_equal(s, i);
    }
    assert_false(hs_store_find("f64", &s));
    assert_false(hs_store_find(NULL, &s));
}

static void test_rows(void **state) {
    (void)state;
    enum { N = 1000 };
    static const size_t bytes[] = {4 * N, 2 * N, N + 8};
    float v[N], back[N];
    uint8_t blob[4 * N + 16];
    fill(v, N, 1, 3);
    v[0] = 0;
    v[1] = -0.0f;
    for (int i = HS_STORE_F32; i <= HS_STORE_U8; i++) {
        enum hs_store s = (enum hs_store)i;
        float lo = v[0], hi = v[0];
        assert_int_equal(hs_row_bytes(s, N), bytes[i]);
        blob[bytes[i]] = 0xa5; // nothing is written past the end
        must(hs_row_put(s, blob, v, N));
        assert_int_equal(blob[bytes[i]], 0xa5);
        hs_row_get(s, blob, back, N);
        for (int k = 0; k < N; k++) {
            lo = v[k] < lo ? v[k] : lo;
            hi = v[k] > hi ? v[k] : hi;
        }
        for (int k = 0; k < N; k++) {
            double error = fabs((double)back[k] - (double)v[k]);
            if (s == HS_STORE_F32) assert_memory_equal(&back[k], &v[k], 4);
            if (s == HS_STORE_F16) assert_true(error <= fabs((double)v[k]) / 2048 + 1e-7);
            if (s == HS_STORE_U8) assert_true(error <= ((double)hi - (double)lo) / 255 * 0.501);
        }
    }
}

// The lowest and highest values are exact in u8, so that zeros of a pattern stay zeros.
static void test_u8_ends(void **state) {
    (void)state;
    float v[3] = {0, 0.7f, 0.1f}, same[2] = {2.5f, 2.5f}, back[3];
    uint8_t blob[16];
    must(hs_row_put(HS_STORE_U8, blob, v, 3));
    hs_row_get(HS_STORE_U8, blob, back, 3);
    assert_true(back[0] == 0);
    assert_true(fabs((double)back[1] - 0.7) < 1e-6);
    must(hs_row_put(HS_STORE_U8, blob, same, 2));
    hs_row_get(HS_STORE_U8, blob, back, 2);
    assert_true(back[0] == 2.5f && back[1] == 2.5f);
}

static void test_misfits(void **state) {
    (void)state;
    uint8_t blob[16];
    float big = 65520, fits = 65504, inf = INFINITY, nan_ = NAN;
    assert_int_equal(hs_row_put(HS_STORE_F16, blob, &big, 1), HS_EUNSUPPORTED);
    must(hs_row_put(HS_STORE_F16, blob, &fits, 1));
    must(hs_row_put(HS_STORE_F16, blob, &inf, 1));
    assert_int_equal(hs_row_put(HS_STORE_U8, blob, &inf, 1), HS_EUNSUPPORTED);
    assert_int_equal(hs_row_put(HS_STORE_U8, blob, &nan_, 1), HS_EUNSUPPORTED);
    must(hs_row_put(HS_STORE_F32, blob, &nan_, 1));
}

static void test_map_sizes(void **state) {
    (void)state;
    size_t n;
    assert_true(hs_map_rows_bytes(HS_STORE_F32, true, 0, 4, 4, &n));
    assert_int_equal(n, 10 * 4);
    assert_true(hs_map_rows_bytes(HS_STORE_F16, true, 3, 2, 5, &n));
    assert_int_equal(n, (4 + 5) * 2);
    assert_true(hs_map_rows_bytes(HS_STORE_U8, true, 3, 2, 9, &n));
    assert_int_equal(n, 4 + 5 + 2 * 8);
    assert_true(hs_map_rows_bytes(HS_STORE_F32, false, 7, 2, 5, &n));
    assert_int_equal(n, 2 * 5 * 4);
    // The sum over rows is the size of the whole.
    size_t whole, part, sum = 0;
    assert_true(hs_map_rows_bytes(HS_STORE_U8, true, 0, 100, 100, &whole));
    for (int64_t i = 0; i < 100; i++) {
        assert_true(hs_map_rows_bytes(HS_STORE_U8, true, i, 1, 100, &part));
        assert_int_equal(part, hs_row_bytes(HS_STORE_U8, hs_map_row_len(true, i, 100)));
        sum += part;
    }
    assert_int_equal(sum, whole);
    static const int64_t bad[][3] = {{-1, 1, 4},
                                     {0, 0, 4},
                                     {0, 1, 0},
                                     {0, 5, 4},
                                     {4, 1, 4},
                                     {0, INT64_MAX, INT64_MAX},
                                     {INT64_MAX, 1, INT64_MAX},
                                     {0, 1 << 14, 1 << 14}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(hs_map_rows_bytes(HS_STORE_F32, true, bad[i][0], bad[i][1], bad[i][2], &n));
    assert_true(hs_map_rows_bytes(HS_STORE_F32, true, 0, 4000, 4000, &n));
}

// DULL compresses to little, PLAIN by some hundredths, NOISE not at all.
enum text { DULL, PLAIN, NOISE };
static uint8_t *bytes_of(size_t n, enum text text) {
    hs_prng g = hs_prng_seed(5);
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = text == DULL ? (uint8_t)(i / 100)
                            : (uint8_t)hs_prng_below(&g, text == PLAIN ? 140 : 256);
    return p;
}

static void test_chunks(void **state) {
    (void)state;
    enum { N = 5000 };
    static const struct {
        enum hs_store store;
        enum text text;
        bool zstd;
    } cases[] = {{HS_STORE_F32, DULL, false},
                 {HS_STORE_F16, DULL, true},
                 {HS_STORE_U8, NOISE, false},
                 {HS_STORE_U8, PLAIN, false},
                 {HS_STORE_U8, DULL, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *want = bytes_of(N, cases[i].text), *own;
        const uint8_t *out;
        hs_chunk c = {0};
        must(hs_chunk_pack(&c, cases[i].store, bytes_of(N, cases[i].text), N));
        const char *codec = c.zstd ? "zstd" : "none";
        assert_int_equal(c.zstd, cases[i].zstd);
        assert_int_equal(c.raw_bytes, N);
        assert_true(c.zstd ? c.n < N : c.n == N);
        must(hs_chunk_unpack(&out, &own, c.data, c.n, codec, c.crc, N));
        assert_memory_equal(out, want, N);
        free(own);
        assert_int_equal(hs_chunk_unpack(&out, &own, c.data, c.n, codec, c.crc, N - 1), HS_EFORMAT);
        assert_int_equal(hs_chunk_unpack(&out, &own, c.data, c.n, codec, c.crc, N + 1), HS_EFORMAT);
        assert_int_equal(hs_chunk_unpack(&out, &own, c.data, c.n - 1, codec, c.crc, N), HS_EFORMAT);
        assert_int_equal(hs_chunk_unpack(&out, &own, c.data, c.n, "lzma", c.crc, N), HS_EFORMAT);
        assert_int_equal(hs_chunk_unpack(&out, &own, c.data, c.n, NULL, c.crc, N), HS_EFORMAT);
        assert_int_equal(hs_chunk_unpack(&out, &own, NULL, 0, codec, 0, N), HS_EFORMAT);
        c.data[c.n / 2] ^= 1;
        assert_int_equal(hs_chunk_unpack(&out, &own, c.data, c.n, codec, c.crc, N), HS_EFORMAT);
        // With a checksum that fits the damage, the decompressor or nothing notices; no crash.
        int rc = hs_chunk_unpack(&out, &own, c.data, c.n, codec, hs_crc32(c.data, c.n), N);
        assert_true(rc == HS_OK || rc == HS_EFORMAT);
        if (!rc) free(own);
        free(c.data);
        free(want);
    }
}

static void test_series(void **state) {
    (void)state;
    float f[7];
    double d[7];
    hs_buf b4 = {0}, b8 = {0};
    const uint8_t *at;
    int64_t n;
    int size;
    fill(f, 7, 9, 1);
    for (int i = 0; i < 7; i++) d[i] = (double)f[i] / 3;
    must(hs_series_pack_f32(&b4, f, 7));
    must(hs_series_pack_f64(&b8, d, 7));
    must(hs_series_open(b4.data, b4.len, &at, &n, &size));
    assert_true(n == 7 && size == 4 && hs_series_at(at, size, 6) == (double)f[6]);
    must(hs_series_open(b8.data, b8.len, &at, &n, &size));
    assert_true(n == 7 && size == 8 && hs_series_at(at, size, 6) == d[6]);
    for (size_t i = 0; i < b8.len; i++) { // every byte matters
        b8.data[i] ^= 0x10;
        assert_int_equal(hs_series_open(b8.data, b8.len, &at, &n, &size), HS_EFORMAT);
        b8.data[i] ^= 0x10;
    }
    for (size_t len = 0; len < b8.len; len++)
        assert_int_equal(hs_series_open(b8.data, len, &at, &n, &size), HS_EFORMAT);
    assert_int_equal(hs_series_open(NULL, 0, &at, &n, &size), HS_EFORMAT);
    hs_buf empty = {0};
    must(hs_series_pack_f64(&empty, d, 0));
    must(hs_series_open(empty.data, empty.len, &at, &n, &size));
    assert_int_equal(n, 0);
    hs_buf_free(&b4);
    hs_buf_free(&b8);
    hs_buf_free(&empty);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_rows),
        cmocka_unit_test(test_u8_ends),   cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_map_sizes), cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
