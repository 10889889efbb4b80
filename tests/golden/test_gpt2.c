// GPT-2 fixtures against transformers, from a folder and from GGUF.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/lib/golden.h"

#define DATA "tests/golden/data/"

static void check(const char *model, const char *golden) {
    golden_check(model, golden, HS_WEIGHT_EXPAND, 0, 0);
    golden_check(model, golden, HS_WEIGHT_KEEP, 5, 0);
    golden_check_as(model, golden,
                    &(hs_model_opts){.dev = {.threads = 1, .precision = HS_PREC_F64}}, 7);
}

// Names with "transformer.", mask buffers, no head of its own.
static void masks(void **state) {
    (void)state;
    check(DATA "gpt2_masks", DATA "gpt2_masks/golden.safetensors");
    check(DATA "gpt2_masks.gguf", DATA "gpt2_masks/golden.safetensors");
}

// Names without the prefix, n_inner, scale_attn_by_inverse_layer_idx, a head that repeats the
// embedding, bf16.
static void bare(void **state) {
    (void)state;
    check(DATA "gpt2_bare", DATA "gpt2_bare/golden.safetensors");
}

// scale_attn_weights false, quick_gelu, a head of its own.
static void untied(void **state) {
    (void)state;
    check(DATA "gpt2_untied", DATA "gpt2_untied/golden.safetensors");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks),
        cmocka_unit_test(bare),
        cmocka_unit_test(untied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
