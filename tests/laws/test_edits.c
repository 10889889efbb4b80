// Laws 6 and 7: a real edit changes the logits, an identity edit does not, to the bit; patching a
// run with itself is the run.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "tests/lib/edited.h"

static bool same_logits(const cap *a, const cap *b) {
    const int l = (int)a->cfg->n_layer;
    const cap_tensor *ta = &a->at[0][l][HS_LOGITS], *tb = &b->at[0][l][HS_LOGITS];
    assert_non_null(ta->data);
    assert_non_null(tb->data);
    return !memcmp(ta->data, tb->data, (size_t)(LAW_T * ta->width) * sizeof *ta->data);
}

// Whether the edit leaves the logits of model i to the bit.
static bool leaves_logits(int i, const char *spec) {
    hs_model *m = law_model(i);
    cap plain, with;
    law_run(&plain, m, (hs_context_opts){0}, 1, LAW_T);
    const hs_ref ref = edited_ref(&plain, LAW_T);
    edited_run(&with, m, &(edited){.spec = {spec}, .ref = &ref}, 1, LAW_T);
    const bool same = same_logits(&plain, &with);
    cap_close(&plain);
    cap_close(&with);
    hs_model_close(m);
    return same;
}

static void identities_leave_the_logits(void **state) {
    (void)state;
    static const char *const specs[] = {
        "scale:L*H*,by=1",
        "scale:L*G*+L*,by=1",
        "ablate:L*H*,mode=resample,from=0", // of the prompt itself
        "ablate:L*,mode=resample,from=0",
    };
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++)
            if (!leaves_logits(i, specs[k])) fail_msg("model %d: %s changed logits", i, specs[k]);
}

static void edits_change_the_logits(void **state) {
    (void)state;
    static const char *const specs[] = {
        "scale:L1H0,by=0.5",    "scale:L0,by=1.001", "ablate:L0H1",
        "ablate:L1G0",          "ablate:L0",         "ablate:L0H0,mode=uniform",
        "ablate:L1H*,mode=bos", "ablate:L0H0,pos=3",
    };
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++)
            if (leaves_logits(i, specs[k])) fail_msg("model %d: %s changed nothing", i, specs[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_leave_the_logits),
        cmocka_unit_test(edits_change_the_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
