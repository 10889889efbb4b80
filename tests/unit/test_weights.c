// Scores of weights where they are known: the entropy bound's closed form and the softmax that
// attains it, the hand-built induction model, and numbers that numpy found (tests/ref/weights.py).
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/core/prng.h"
#include "tests/lib/weighed.h"

static void near(double got, double want, double within) {
    if (!(fabs(got - want) <= within)) fail_msg("%.9g is not %.9g", got, want);
}

static double entropy(const double *score, int64_t n) {
    double sum = 0, mean = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(score[i]);
    for (int64_t i = 0; i < n; i++) mean += exp(score[i]) / sum * score[i];
    return log(sum) - mean;
}

static void bound_in_closed_form(void **state) {
    (void)state;
    near(hs_entropy_bound(2, 5), 1.025591, 5e-7);
    near(hs_entropy_bound(5, 64), 1.802616, 5e-7);
    near(hs_entropy_bound(10, 64), .029206, 5e-7);
    near(hs_entropy_bound(10, 1024), .487158, 5e-7);
    near(hs_entropy_bound(0, 64), log(64), 1e-12);
    assert_true(hs_entropy_bound(3, 1) == 0);
    assert_true(hs_entropy_bound(1e9, 64) == 0);
}

// One score above the rest attains it; nothing of the same norm goes below.
static void bound_is_attained_and_holds(void **state) {
    (void)state;
    enum { N = 24 };
    hs_prng random = hs_prng_seed(1);
    for (int k = 0; k < 200; k++) {
        const int64_t n = 2 + (int64_t)hs_prng_below(&random, N - 1);
        double score[N], mean = 0, squares = 0, norm = 12 * hs_prng_f64(&random);
        score[0] = norm * sqrt((double)(n - 1) / (double)n);
        for (int64_t i = 1; i < n; i++) score[i] = -norm / sqrt((double)n * (double)(n - 1));
        near(entropy(score, n), hs_entropy_bound(norm, n), 1e-9);
        for (int64_t i = 0; i < n; i++) mean += score[i] = hs_prng_normal(&random);
        for (int64_t i = 0; i < n; i++) score[i] -= mean / (double)n;
        for (int64_t i = 0; i < n; i++) squares += score[i] * score[i];
        for (int64_t i = 0; i < n; i++) score[i] *= norm / sqrt(squares);
        assert_true(entropy(score, n) > hs_entropy_bound(norm, n) - 1e-9);
    }
}

// ---- the hand-built induction model ---------------------------------------------------------------

// W_E W_V W_O W_U is 10 times the identity for 1.0, half of it for 1.1, and 0 in layer 0, which writes
// where nobody decodes. 0.1 alone looks for tokens like its own, and 0.0 writes what the keys of 1.0
// read: 9 directions of size 1, and 8, over 3 x 8 x 3.
static void induction_by_hand(void **state) {
    (void)state;
    const int32_t token[] = {0, 3, 8};
    hs_model *m;
    weighed w;
    if (hs_model_open(&m, "tests/golden/data/closed/ind2", NULL)) fail_msg("%s", hs_errmsg());
    weighed_open(&w,
                 &(hs_weights_opts){
                     .model = m, .token = token, .n_token = 3, .length = 8, .composition = true});
    for (int h = 0; h < 2; h++) {
        near(weighed_at(&w, "ov_copying", 1, h), 1, 1e-6);
        near(weighed_at(&w, "copy_score", 1, h), 1, 0);
        near(weighed_at(&w, "ov_norm", 1, h), h ? 1.5 : 30, 1e-5);
        near(weighed_at(&w, "ov_spectral", 1, h), h ? .5 : 10, 1e-5);
        near(weighed_at(&w, "ov_nuclear", 1, h), h ? 4.5 : 90, 1e-4);
        near(weighed_at(&w, "ov_rank", 1, h), 9, 1e-4);
        assert_string_equal(weighed_find(&w, "ov_copying", 0, h)->reason, "all eigenvalues are 0");
        assert_string_equal(weighed_find(&w, "k_composition", 0, h)->reason,
                            "no head is before the first layer");
        assert_non_null(strstr(weighed_find(&w, "spectral_bound_nats", 1, h)->reason, "norm"));
    }
    near(weighed_at(&w, "copy_score_negative", 1, 0), 0, 0);
    assert_string_equal(weighed_find(&w, "copy_score", 0, 1)->reason, "the head writes nothing");
    near(weighed_at(&w, "qk_matching", 0, 1), 1, 1e-6);
    assert_string_equal(weighed_find(&w, "qk_matching", 1, 0)->reason, "all eigenvalues are 0");
    assert_string_equal(weighed_find(&w, "qk_rank", 1, 1)->reason, "the matrix is 0");
    near(weighed_pair_of(&w, 'K', 0, 0, 1, 0)->value, 1. / 3, 1e-6);
    near(weighed_pair_of(&w, 'Q', 0, 0, 1, 0)->value, 0, 1e-12);
    near(weighed_pair_of(&w, 'V', 0, 0, 1, 0)->value, 0, 1e-12);
    assert_true(isnan(weighed_pair_of(&w, 'K', 0, 1, 1, 0)->value)); // 0.1 writes nothing
    near(weighed_at(&w, "k_composition", 1, 0), 1. / 3, 1e-6);
    weighed_close(&w);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_in_closed_form),
        cmocka_unit_test(bound_is_attained_and_holds),
        cmocka_unit_test(induction_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
