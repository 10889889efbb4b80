// See backends.h.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/prng.h"
#include "tests/lib/backends.h"
#include "tests/lib/isas.h"

hs_dev *open_ref(void) {
    hs_dev *dev;
    assert_int_equal(hs_backend_ref.open(&dev, &(hs_dev_opts){.threads = 2}), 0);
    return dev;
}

void on_each_dev(enum hs_precision precision, void (*check)(hs_dev *dev, hs_dev *truth)) {
    hs_dev *truth = open_ref();
    int ran = 0;
    for (int i = 0; isa_names[i]; i++) {
        hs_dev *dev;
        const hs_dev_opts opts = {.threads = 2, .isa = isa_names[i], .precision = precision};
        if (hs_backend_cpu.open(&dev, &opts)) continue;
        check(dev, truth);
        hs_backend_cpu.close(dev);
        ran++;
    }
    hs_backend_ref.close(truth);
    assert_true(ran > 0);
}

void *zeroed(int64_t n, size_t size) {
    void *p = calloc(n ? (size_t)n : 1, size);
    assert_non_null(p);
    return p;
}

void *stored(hs_dtype dtype, int64_t n, int64_t k, uint64_t seed) {
    const hs_dtype_traits *t = &hs_dtypes[dtype];
    const int64_t blocks = n * k / t->items, n_scale = dtype == HS_Q4_1 ? 2 : 1;
    hs_prng g = hs_prng_seed(seed);
    uint8_t *p = zeroed(blocks, (size_t)t->bytes);
    for (int64_t i = 0; i < blocks; i++) {
        uint8_t *at = p + i * t->bytes;
        const float x = (float)hs_prng_normal(&g);
        const uint16_t f16 = hs_f16_of_f32(x), bf16 = hs_bf16_of_f32(x);
        if (dtype == HS_F32) memcpy(at, &x, 4);
        if (dtype == HS_F16) memcpy(at, &f16, 2);
        if (dtype == HS_BF16) memcpy(at, &bf16, 2);
        if (t->items == 1) continue;
        for (int b = 0; b < t->bytes; b++) at[b] = (uint8_t)hs_prng_below(&g, 256);
        for (int64_t s = 0; s < n_scale; s++) at[2 * s + 1] = (uint8_t)(0x38 | (at[2 * s + 1] & 3));
    }
    return p;
}

void near(double got, double want, double room, const char *what) {
    if (isnan(want) ? isnan(got) : got == want || fabs(got - want) <= room) return;
    fail_msg("%s: got %.17g, want %.17g +- %.2g", what, got, want, room);
}

void all_near(const float *got, const double *want, int64_t n, double room, const char *what) {
    for (int64_t i = 0; i < n; i++) near((double)got[i], want[i], room, what);
}
