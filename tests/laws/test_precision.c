// Whole random models in every precision, with every set of kernels, against the same forward pass
// in double: each number that any hook shows, within stated bounds.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tests/lib/laws.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

// The models of the laws, and two with heads and layers of awkward sizes.
enum { N_SPEC = LAW_N_SPEC + 2 };

static rand_spec spec_of(int i) {
    rand_spec s = rand_default(i == LAW_N_SPEC ? "llama" : "gpt2", false);
    if (i < LAW_N_SPEC) return law_spec(i);
    s.dtype = i == LAW_N_SPEC ? HS_BF16 : HS_F16;
    s.n_layer = 4;
    s.n_head = 3;
    s.n_kv_head = i == LAW_N_SPEC ? 1 : 3;
    s.d_head = i == LAW_N_SPEC ? 40 : 43;
    s.d_model = s.n_head * s.d_head;
    s.d_ff = 257;
    s.n_vocab = 131;
    return s;
}

// How far a tensor may be off, as a share of its largest magnitude, and what softmax itself adds.
// Weights of a row move by half of what its scores move at most.
struct bounds {
    double tensor, softmax;
};

static int64_t count(const cap *c, const cap_tensor *t, enum hs_point p) {
    const enum hs_shape shape = hs_point_infos[p].shape;
    const int64_t heads = c->cfg->n_head * c->t_max;
    return shape == HS_SHAPE_MAP     ? heads * c->t_max
           : shape == HS_SHAPE_STATS ? heads * HS_N_STAT
                                     : t->width * c->t_max;
}

// Summaries follow the scores, which are off by `scores`. argmax is a key: equals may be exchanged.
static void compare_stats(const cap *a, const float *x, const float *y, double room) {
    for (int64_t i = 0; i < a->cfg->n_head * HS_N_STAT * a->t_max; i++) {
        const int stat = (int)(i / a->t_max % HS_N_STAT);
        if (stat == HS_STAT_ARGMAX) continue;
        const double d = fabs((double)x[i] - (double)y[i]);
        if (!(d <= room * (stat == HS_STAT_DISTANCE ? LAW_T : 4)))
            fail_msg("%s is off by %g", hs_stat_infos[stat].name, d);
    }
}

static void compare(const cap *a, const cap *b, const struct bounds *bounds, const char *what) {
    double scores = 0; // how far those of the layer are off
    for (int l = 0; l <= a->cfg->n_layer; l++)
        for (int p = 0; p < HS_N_POINT; p++) {
            const cap_tensor *x = &a->at[0][l][p], *y = &b->at[0][l][p];
            assert_true(!x->data == !y->data);
            if (!x->data) continue;
            if (p == HS_ROW_STATS) {
                compare_stats(a, x->data, y->data, scores + bounds->softmax);
                continue;
            }
            double worst = 0, largest = 0;
            for (int64_t i = 0; i < count(a, x, (enum hs_point)p); i++) {
                const double d = fabs((double)x->data[i] - (double)y->data[i]);
                if (!(d <= worst)) worst = d;
                largest = fmax(largest, fabs((double)y->data[i]));
            }
            if (p == HS_SCORES) scores = worst;
            const double room = p == HS_PATTERN ? scores / 2 + bounds->softmax
                                                : bounds->tensor * largest;
            if (!(worst <= room))
                fail_msg("%s: %s of layer %d is off by %g of %g", what, hs_point_infos[p].alias, l,
                         worst, largest);
        }
}

static void against_double(enum hs_precision precision, const struct bounds *bounds) {
    static const char *const isas[] = {"generic", "avx2", "avx512", "avx512bf16"};
    int ran = 0;
    for (int i = 0; i < N_SPEC; i++) {
        const rand_spec s = spec_of(i);
        hs_model *truth = law_open(&s, &(hs_model_opts){.dev = {.precision = HS_PREC_F64}});
        cap want;
        law_run(&want, truth, (hs_context_opts){0}, 1, LAW_T);
        for (int j = 0; j < 2 * COUNT(isas); j++) {
            hs_dev *dev;
            const hs_model_opts opts = {
                .dev = {.threads = 2, .isa = isas[j / 2], .precision = precision},
                .weights = j % 2 ? HS_WEIGHT_KEEP : HS_WEIGHT_EXPAND};
            if (hs_backend_cpu.open(&dev, &opts.dev)) continue; // not on this machine
            hs_backend_cpu.close(dev);
            hs_model *m = law_open(&s, &opts);
            assert_int_equal(hs_model_precision(m), precision);
            cap got;
            law_run(&got, m, (hs_context_opts){.row_block = 16}, 1, LAW_T);
            compare(&got, &want, bounds, isas[j / 2]);
            cap_close(&got);
            hs_model_close(m);
            ran++;
        }
        cap_close(&want);
        hs_model_close(truth);
    }
    assert_true(ran >= 2 * N_SPEC);
}

static void exact(void **state) {
    (void)state;
    against_double(HS_PREC_EXACT, &(struct bounds){.tensor = 5e-5, .softmax = 1e-6});
}

static void bf16(void **state) {
    (void)state;
    against_double(HS_PREC_BF16, &(struct bounds){.tensor = 0.15, .softmax = 1e-6});
}

// The modes are three, and not one under three names.
static void precisions_differ(void **state) {
    (void)state;
    const rand_spec s = spec_of(LAW_N_SPEC);
    cap c[HS_N_PREC];
    hs_model *m[HS_N_PREC];
    for (int p = 0; p < HS_N_PREC; p++) {
        m[p] = law_open(&s, &(hs_model_opts){.dev = {.precision = (enum hs_precision)p}});
        assert_string_equal(hs_model_backend(m[p])->name, p == HS_PREC_F64 ? "ref" : "cpu");
        law_run(&c[p], m[p], (hs_context_opts){0}, 1, LAW_T);
    }
    const size_t n = (size_t)s.n_vocab * sizeof(float);
    for (int p = 0; p < HS_N_PREC; p++)
        assert_true(memcmp(law_row(&c[p], s.n_layer, HS_LOGITS, LAW_T - 1),
                           law_row(&c[(p + 1) % HS_N_PREC], s.n_layer, HS_LOGITS, LAW_T - 1), n));
    for (int p = 0; p < HS_N_PREC; p++) {
        cap_close(&c[p]);
        hs_model_close(m[p]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact),
        cmocka_unit_test(bf16),
        cmocka_unit_test(precisions_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
