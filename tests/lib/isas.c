// See isas.h.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "model/backend.h"
#include "model/core/prng.h"
#include "tests/lib/isas.h"

const char *const isa_names[] = {"generic", "avx2", "avx512", "avx512bf16", NULL};

void on_each_isa(void (*check)(const char *isa)) {
    int ran = 0;
    for (int i = 0; isa_names[i]; i++) {
        hs_dev *dev;
        const hs_dev_opts opts = {.threads = 1, .isa = isa_names[i]};
        if (hs_backend_cpu.open(&dev, &opts)) continue;
        hs_backend_cpu.close(dev);
        check(isa_names[i]);
        ran++;
    }
    assert_true(ran > 0);
}

float *normal_floats(uint64_t seed, int64_t n) {
    hs_prng g = hs_prng_seed(seed);
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)hs_prng_normal(&g);
    return x;
}
