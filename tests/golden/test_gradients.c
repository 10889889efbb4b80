// Gradients of activations against transformers' autograd, in single and double precision.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/lib/golden.h"

static void check(const char *name) {
    static const char *const of[] = {"nll", "diff"};
    for (int i = 0; i < 2; i++) {
        char model[80], golden[120];
        snprintf(model, sizeof model, "tests/golden/data/%s", name);
        snprintf(golden, sizeof golden, "%s/gradients_%s.safetensors", model, of[i]);
        golden_gradients(model, golden, &(hs_model_opts){.dev = {.threads = 2}}, 5);
        golden_gradients(model, golden,
                         &(hs_model_opts){.dev = {.threads = 2, .precision = HS_PREC_F64}}, 0);
    }
}

static void llama(void **state) {
    (void)state;
    check("llama_gqa");
    check("llama_bias");        // biases, d_head other than d_model / n_head, tied, bf16
    check("llama_yarn_factor"); // rotations that also scale; gelu_tanh
}

static void gpt2(void **state) {
    (void)state;
    check("gpt2_bare");   // scores divided by layers, gelu
    check("gpt2_untied"); // scores as they are, quick_gelu
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama),
        cmocka_unit_test(gpt2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
