// Number formats: halves against their definition, every one of them, and block formats against
// numbers that the `gguf` package read from the same random bytes (tests/ref/quants.py).
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/ckpt.h"
#include "model/core/dtype.h"

static uint32_t bits_of(float f) {
    uint32_t b;
    memcpy(&b, &f, sizeof b);
    return b;
}

static float float_of(uint32_t b) {
    float f;
    memcpy(&f, &b, sizeof f);
    return f;
}

// What 16 bits mean, by the definition of binary16.
static double f16_value(uint32_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

static void every_f16_widens_to_its_value(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 1 << 16; h++) {
        const float got = hs_f16_to_f32((uint16_t)h);
        const double want = f16_value(h);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(hs_f16_to_f32(hs_f16_of_f32(got))));
        } else {
            assert_true((double)got == want && !signbit(got) == !signbit(want));
            assert_int_equal(hs_f16_of_f32(got), h);
        }
    }
}

// Between two neighbours: below the middle goes down, above goes up, the middle to the even one.
static void f16_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float low = hs_f16_to_f32((uint16_t)h), high = hs_f16_to_f32((uint16_t)(h + 1));
        const float middle = (float)(((double)low + (double)high) / 2);
        assert_int_equal(hs_f16_of_f32(middle), h + (h & 1));
        assert_int_equal(hs_f16_of_f32(nextafterf(middle, 0)), h);
        assert_int_equal(hs_f16_of_f32(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(hs_f16_of_f32(-middle), 0x8000 | (h + (h & 1)));
    }
    assert_int_equal(hs_f16_of_f32(65519.996f), 0x7bff);
    assert_int_equal(hs_f16_of_f32(65520.0f), 0x7c00);
    assert_int_equal(hs_f16_of_f32(1e30f), 0x7c00);
    assert_int_equal(hs_f16_of_f32(-INFINITY), 0xfc00);
    assert_int_equal(hs_f16_of_f32(1e-30f), 0);
}

static void bf16_is_the_upper_half_rounded(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 1 << 16; h++) {
        const float got = hs_bf16_to_f32((uint16_t)h);
        assert_int_equal(bits_of(got), h << 16);
        if (isnan(got))
            assert_true(isnan(hs_bf16_to_f32(hs_bf16_of_f32(got))));
        else
            assert_int_equal(hs_bf16_of_f32(got), h);
    }
    assert_int_equal(hs_bf16_of_f32(float_of(0x3f808000)), 0x3f80); // ties to even
    assert_int_equal(hs_bf16_of_f32(float_of(0x3f818000)), 0x3f82);
    assert_int_equal(hs_bf16_of_f32(float_of(0x3f808001)), 0x3f81);
    assert_int_equal(hs_bf16_of_f32(float_of(0x3f807fff)), 0x3f80);
    assert_int_equal(hs_bf16_of_f32(float_of(0x7f7fffff)), 0x7f80); // up to infinity
    assert_true(isnan(hs_bf16_to_f32(hs_bf16_of_f32(float_of(0x7f800001)))));
}

// Rows of every length, from an odd address, equal the conversion of single numbers; what lies
// behind the row stays untouched.
static void rows_equal_single_numbers(void **state) {
    (void)state;
    enum { MOST = 70 };
    uint8_t store[1 + 8 * MOST];
    float out[MOST + 1];
    uint16_t h;
    for (int n = 0; n <= MOST; n++) {
        for (int i = 0; i < n; i++) {
            h = (uint16_t)(i * 937 + n);
            memcpy(store + 1 + 2 * i, &h, sizeof h);
        }
        out[n] = 42;
        hs_dtypes[HS_F16].to_f32(store + 1, out, n);
        for (int i = 0; i < n; i++)
            assert_int_equal(bits_of(out[i]), bits_of(hs_f16_to_f32((uint16_t)(i * 937 + n))));
        hs_dtypes[HS_BF16].to_f32(store + 1, out, n);
        for (int i = 0; i < n; i++)
            assert_int_equal(bits_of(out[i]), bits_of(hs_bf16_to_f32((uint16_t)(i * 937 + n))));
        for (int i = 0; i < n; i++) memcpy(store + 1 + 8 * i, &(double){i / 3.0}, 8);
        hs_dtypes[HS_F64].to_f32(store + 1, out, n);
        for (int i = 0; i < n; i++) assert_true(out[i] == (float)(i / 3.0));
        for (int i = 0; i < n; i++) memcpy(store + 1 + 4 * i, &(float){(float)i / 3}, 4);
        hs_dtypes[HS_F32].to_f32(store + 1, out, n);
        for (int i = 0; i < n; i++) assert_true(out[i] == (float)i / 3);
        assert_true(out[n] == 42);
    }
}

static void names_are_found(void **state) {
    (void)state;
    for (int t = 0; t < HS_N_DTYPE; t++) {
        const hs_dtype_traits *d = &hs_dtypes[t];
        if (d->gguf >= 0) assert_int_equal(hs_dtype_of_gguf((uint32_t)d->gguf), t);
        if (d->st) assert_int_equal(hs_dtype_of_st(d->st, strlen(d->st)), t);
        assert_true(d->items >= 1 && d->bytes >= 1);
    }
    assert_int_equal(hs_dtype_of_st("BOOL", 4), HS_U8);
    assert_int_equal(hs_dtype_of_st("F8_E4M3", 7), -1);
    assert_int_equal(hs_dtype_of_st("F3", 2), -1);
    assert_int_equal(hs_dtype_of_gguf(16), -1);
    assert_int_equal(hs_dtype_of_gguf(UINT32_MAX), -1);
}

// One format's blocks, from an odd address, against the fixture's numbers, bit by bit.
static void check_blocks(const hs_ckpt *ck, const hs_dtype_traits *d) {
    char name[32];
    snprintf(name, sizeof name, "%s.blocks", d->name);
    const hs_tensor *blocks = hs_ckpt_find(ck, name);
    snprintf(name, sizeof name, "%s.values", d->name);
    const hs_tensor *values = hs_ckpt_find(ck, name);
    assert_non_null(blocks);
    assert_non_null(values);
    const int64_t n = values->view.shape[0];
    assert_int_equal(n, (int64_t)blocks->bytes / d->bytes * d->items);
    uint8_t *src = malloc(blocks->bytes + 1);
    float *got = malloc((size_t)n * sizeof *got);
    memcpy(src + 1, blocks->view.data, blocks->bytes);
    d->to_f32(src + 1, got, n);
    for (int64_t i = 0; i < n; i++) {
        float want;
        memcpy(&want, (const char *)values->view.data + 4 * i, 4);
        if (got[i] != want)
            fail_msg("%s[%d]: %.9g, not %.9g", d->name, (int)i, (double)got[i], (double)want);
    }
    free(got);
    free(src);
}

static void blocks_equal_the_reference(void **state) {
    (void)state;
    hs_ckpt *ck;
    if (hs_ckpt_open(&ck, "tests/golden/data/quants.safetensors", true))
        fail_msg("%s", hs_errmsg());
    for (int t = HS_Q4_0; t < HS_N_DTYPE; t++) check_blocks(ck, &hs_dtypes[t]);
    hs_ckpt_close(ck);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_widens_to_its_value),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_is_the_upper_half_rounded),
        cmocka_unit_test(rows_equal_single_numbers),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(blocks_equal_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
