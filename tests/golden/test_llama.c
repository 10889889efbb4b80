// Llama fixtures against transformers, from a folder and from GGUF.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/lib/golden.h"

#define DATA "tests/golden/data/"

static void check(const char *model, const char *golden, int64_t n_ctx) {
    golden_check(model, golden, HS_WEIGHT_EXPAND, 0, n_ctx);
    golden_check(model, golden, HS_WEIGHT_KEEP, 5, n_ctx);
    golden_check_as(
        model, golden,
        &(hs_model_opts){.dev = {.threads = 1, .precision = HS_PREC_F64}, .n_ctx = n_ctx}, 7);
}

static void grouped_heads(void **state) {
    (void)state;
    check(DATA "llama_gqa", DATA "llama_gqa/golden.safetensors", 0);
    check(DATA "llama_gqa.gguf", DATA "llama_gqa/golden.safetensors", 0);
}

// attention_bias and mlp_bias, head_dim other than d_model / n_head, tied, bf16, two shards.
static void biases(void **state) {
    (void)state;
    check(DATA "llama_bias", DATA "llama_bias/golden.safetensors", 0);
    check(DATA "llama_bias.gguf", DATA "llama_bias/golden.safetensors", 0);
}

static void rope_llama3(void **state) {
    (void)state;
    check(DATA "llama_llama3", DATA "llama_llama3/golden.safetensors", 0);
    check(DATA "llama_llama3.gguf", DATA "llama_llama3/golden.safetensors", 0);
}

// Keys as transformers 4 wrote them; gelu.
static void rope_linear(void **state) {
    (void)state;
    check(DATA "llama_linear", DATA "llama_linear/golden.safetensors", 0);
}

static void rope_yarn(void **state) {
    (void)state;
    check(DATA "llama_yarn", DATA "llama_yarn/golden.safetensors", 0);
    check(DATA "llama_yarn.gguf", DATA "llama_yarn/golden.safetensors", 0);
    check(DATA "llama_yarn_mscale", DATA "llama_yarn_mscale/golden.safetensors", 0);
    check(DATA "llama_yarn_factor", DATA "llama_yarn_factor/golden.safetensors", 0);
}

// 24 tokens where 16 were trained: the frequencies of the longer sequence.
static void rope_dynamic(void **state) {
    (void)state;
    check(DATA "llama_dynamic", DATA "llama_dynamic/golden.safetensors", 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grouped_heads), cmocka_unit_test(biases),
        cmocka_unit_test(rope_llama3),   cmocka_unit_test(rope_linear),
        cmocka_unit_test(rope_yarn),     cmocka_unit_test(rope_dynamic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
