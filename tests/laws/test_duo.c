// Streaming heads on random models of every family: the probe is what whole edited evaluations say,
// the deviation
// of z is the closed form from the unedited pattern and values, and the slopes of gates are finite
// differences.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/duo.h"
#include "tests/lib/edited.h"

enum { T = 37, FROM = 21, TO = 35, SINK = 2, RECENT = 7, N_KV = 64, SEED = 3 };

struct subject {
    hs_model *model;
    hs_dims dims;
    int n; // KV heads
    hs_prompts *prompts;
    hs_duo_opts opts;
};

// The prompt of law_run, with questions near its end and a sentence after them.
static void open_subject(struct subject *s, const rand_spec *spec, enum hs_precision precision) {
    int32_t ids[T];
    char more[64];
    *s = (struct subject){0};
    s->model = law_open(spec, &(hs_model_opts){.dev = {.threads = 2, .precision = precision}});
    s->dims = hs_dims_of(s->model);
    s->n = s->dims.n_layer * s->dims.n_kv_head;
    assert_true(s->n <= N_KV);
    law_tokens(ids, T, SEED);
    snprintf(more, sizeof more, "{\"spans\":{\"qa\":[%d,%d]}}", FROM, TO);
    assert_int_equal(hs_prompts_open(&s->prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB), HS_OK);
    if (hs_prompts_add_tokens(s->prompts, "asked", ids, T, 0, 0, more)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_prompts_add_tokens(s->prompts, "bare", ids, T - 5, 0, 0, NULL), HS_OK);
    s->opts = (hs_duo_opts){
        .model = s->model, .prompts = s->prompts, .sink = SINK, .recent = RECENT};
}

static void close_subject(struct subject *s) {
    hs_prompts_close(s->prompts);
    hs_model_close(s->model);
}

struct found {
    int n, n_kv;
    int64_t n_label[2];
    double probe[2][N_KV], error[2][N_KV];
};

static int on_result(void *ctx, const hs_duo_result *r) {
    struct found *f = ctx;
    assert_int_equal(r->ord, f->n);
    memcpy(f->probe[f->n], r->probe, (size_t)f->n_kv * sizeof(double));
    memcpy(f->error[f->n], r->z_error, (size_t)f->n_kv * sizeof(double));
    f->n_label[f->n++] = r->n_label;
    return HS_OK;
}

static void find(const struct subject *s, struct found *f) {
    const int64_t ord[] = {0, 1};
    *f = (struct found){.n_kv = s->n};
    if (hs_duo_probe(&s->opts, ord, 2, on_result, f)) fail_msg("%s", hs_errmsg());
    assert_int_equal(f->n, 2);
}

// Number k of row r of the final hidden state, in double.
static double hidden(const struct subject *s, const cap *c, int64_t r, int64_t k) {
    const hs_config *cfg = hs_model_config(s->model);
    const float *gain = hs_model_vector(s->model, HS_W_LNF, -1);
    const float *bias = hs_model_vector(s->model, HS_B_LNF, -1);
    if (cfg->norm == HS_NORM_NONE)
        return (double)law_row(c, s->dims.n_layer - 1, HS_RESID_POST, r)[k];
    return (double)law_row(c, s->dims.n_layer, HS_LNF_NORMALIZED, r)[k] * (double)gain[k] +
           (bias ? (double)bias[k] : 0);
}

// The group streaming in an evaluation of its own.
static double whole_run(const struct subject *s, const cap *full, int kv, int64_t n, int64_t from,
                        int64_t to) {
    const int per = s->dims.n_head / s->dims.n_kv_head, first = kv % s->dims.n_kv_head * per;
    char spec[96];
    cap c;
    double sum = 0;
    snprintf(spec, sizeof spec, "mask:sink_recent,s=%d,w=%d,heads=L%dH%d-%d", SINK, RECENT,
             kv / s->dims.n_kv_head, first, first + per - 1);
    edited_run(&c, s->model, &(edited){.spec = {spec}}, SEED, n);
    for (int64_t r = from; r < to; r++)
        for (int64_t k = 0; k < s->dims.d_model; k++) {
            const double by = hidden(s, &c, r, k) - hidden(s, full, r, k);
            sum += by * by;
        }
    cap_close(&c);
    return sum / (double)((to - from) * s->dims.d_model);
}

static void near(const char *what, int kv, double got, double want, double room) {
    if (!(fabs(got - want) <= room * fabs(want) + 1e-13))
        fail_msg("%s of KV head %d: %.12g, not %.12g", what, kv, got, want);
}

static void probe_is_a_whole_run(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        const rand_spec spec = law_spec(i);
        struct subject s;
        struct found f;
        open_subject(&s, &spec, law_precision(i));
        find(&s, &f);
        assert_int_equal(f.n_label[0], TO - FROM);
        assert_int_equal(f.n_label[1], 1);
        cap full[2];
        law_run(&full[0], s.model, (hs_context_opts){0}, SEED, T);
        law_run(&full[1], s.model, (hs_context_opts){0}, SEED, T - 5);
        for (int kv = 0; kv < s.n; kv++) {
            near("probe", kv, f.probe[0][kv], whole_run(&s, &full[0], kv, T, FROM, TO), 1e-4);
            near("probe at the end", kv, f.probe[1][kv],
                 whole_run(&s, &full[1], kv, T - 5, T - 6, T - 5), 1e-4);
            assert_true(f.probe[0][kv] > 0);
        }
        cap_close(&full[0]);
        cap_close(&full[1]);
        close_subject(&s);
    }
}

// ---- the closed form ----------------------------------------------------------------------------

static float weight(const struct subject *s, const cap *c, int layer, int head, int64_t i,
                    int64_t j) {
    const float *map = c->at[0][layer][HS_PATTERN].data;
    (void)s;
    return map[((int64_t)head * c->t_max + i) * c->t_max + j];
}

// |z' - z| / |z| of a row, from the pattern: z' is what the kept keys say, by their share.
static double row_error(const struct subject *s, const cap *c, int layer, int head, int64_t i) {
    const int64_t d = s->dims.d_head, kv = head / (s->dims.n_head / s->dims.n_kv_head);
    double moved = 0, size = 0;
    for (int64_t k = 0; k < d; k++) {
        double z = 0, kept = 0, mass = 0;
        for (int64_t j = 0; j <= i; j++) {
            const double a = (double)weight(s, c, layer, head, i, j);
            const double v = (double)law_row(c, layer, HS_V, j)[kv * d + k];
            z += a * v;
            if (j >= SINK && i - j >= RECENT) continue;
            kept += a * v;
            mass += a;
        }
        moved += (kept / mass - z) * (kept / mass - z);
        size += z * z;
    }
    return sqrt(moved / size);
}

static void deviation_is_the_closed_form(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        const rand_spec spec = law_spec(i);
        struct subject s;
        struct found f;
        cap full;
        open_subject(&s, &spec, law_precision(i));
        find(&s, &f);
        law_run(&full, s.model, (hs_context_opts){0}, SEED, T);
        const int per = s.dims.n_head / s.dims.n_kv_head;
        for (int kv = 0; kv < s.n; kv++) {
            double sum = 0;
            for (int64_t r = SINK + RECENT; r < TO; r++)
                for (int h = 0; h < per; h++)
                    sum += row_error(&s, &full, kv / s.dims.n_kv_head,
                                     kv % s.dims.n_kv_head * per + h, r);
            near("deviation", kv, f.error[0][kv], sum / ((TO - SINK - RECENT) * per), 2e-5);
        }
        cap_close(&full);
        close_subject(&s);
    }
}

// ---- groups, labels, memory ---------------------------------------------------------------------

// Grouped heads are heads with the same keys: with these repeated, each of them streams by itself, and
// in its own layer deviates as it does in its group.
static void groups_are_heads_with_equal_keys(void **state) {
    (void)state;
    rand_spec spec = rand_default("llama", false);
    struct subject grouped, repeated;
    struct found g, r;
    open_subject(&grouped, &spec, HS_PREC_F64);
    spec.repeat_kv = true;
    open_subject(&repeated, &spec, HS_PREC_F64);
    find(&grouped, &g);
    find(&repeated, &r);
    const int per = grouped.dims.n_head / grouped.dims.n_kv_head;
    assert_true(per > 1);
    assert_int_equal(repeated.n, grouped.n * per);
    for (int kv = 0; kv < grouped.n; kv++) {
        double sum = 0;
        for (int h = 0; h < per; h++) sum += r.error[0][kv * per + h];
        near("deviation", kv, g.error[0][kv], sum / per, 1e-6);
    }
    close_subject(&grouped);
    close_subject(&repeated);
}

static void memory_changes_nothing(void **state) {
    (void)state;
    const rand_spec spec = law_spec(0);
    struct subject s;
    struct found all, little;
    open_subject(&s, &spec, HS_PREC_EXACT);
    find(&s, &all);
    s.opts.memory = 1;
    find(&s, &little);
    assert_memory_equal(all.probe, little.probe, sizeof all.probe);
    assert_memory_equal(all.error, little.error, sizeof all.error);
    close_subject(&s);
}

static void labels_as_asked_for(void **state) {
    (void)state;
    const rand_spec spec = law_spec(0);
    struct subject s;
    struct found f;
    open_subject(&s, &spec, HS_PREC_EXACT);
    s.opts.labels = "12+20:23";
    find(&s, &f);
    assert_int_equal(f.n_label[0], 4);
    s.opts.labels = "qa";
    assert_int_equal(hs_duo_check(&s.opts), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "bare"));
    s.opts.labels = "0:9";
    assert_int_equal(hs_duo_check(&s.opts), HS_ERANGE);
    assert_non_null(strstr(hs_errmsg(), "prompt 'asked'"));
    s.opts.labels = "0:10";
    assert_int_equal(hs_duo_check(&s.opts), HS_OK);
    close_subject(&s);
}

// ---- gates --------------------------------------------------------------------------------------

static double loss_at(const struct subject *s, const double *gate, double *slope) {
    double loss;
    if (hs_duo_loss(&s->opts, 0, gate, &loss, slope)) fail_msg("%s", hs_errmsg());
    return loss;
}

// Central differences at two widths, without the error of second order.
static double difference(const struct subject *s, double *gate, int kv) {
    const double h = 0x1p-9, was = gate[kv];
    double none[N_KV], d[2];
    for (int i = 0; i < 2; i++) {
        gate[kv] = was + h * (i + 1);
        const double up = loss_at(s, gate, none);
        gate[kv] = was - h * (i + 1);
        d[i] = (up - loss_at(s, gate, none)) / (2 * h * (i + 1));
    }
    gate[kv] = was;
    return (4 * d[0] - d[1]) / 3;
}

static void slopes_are_finite_differences(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        const rand_spec spec = law_spec(i);
        struct subject s;
        double gate[N_KV], slope[N_KV], again[N_KV], most = 0;
        open_subject(&s, &spec, HS_PREC_F64);
        for (int kv = 0; kv < s.n; kv++) gate[kv] = .1 + .8 * ((kv * 7) % 10) / 10;
        const double loss = loss_at(&s, gate, slope);
        for (int kv = 0; kv < s.n; kv++) most = fmax(most, fabs(slope[kv]));
        assert_true(loss > 0 && most > 0);
        for (int kv = 0; kv < s.n; kv++) {
            const double want = difference(&s, gate, kv);
            if (fabs(slope[kv] - want) > 1e-4 * most)
                fail_msg("model %d, gate %d: %.9g, by differences %.9g; largest %.3g", i, kv,
                         slope[kv], want, most);
        }
        s.opts.memory = 1; // layers run again
        assert_true(loss_at(&s, gate, again) == loss);
        assert_memory_equal(slope, again, (size_t)s.n * sizeof *slope);
        close_subject(&s);
    }
}

// With all gates open nothing changes; with all shut all heads stream, as in any edited run.
static void ends_of_the_gates(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        const rand_spec spec = law_spec(i);
        struct subject s;
        double gate[N_KV], slope[N_KV], sum = 0;
        cap full, c;
        open_subject(&s, &spec, law_precision(i));
        for (int kv = 0; kv < s.n; kv++) gate[kv] = 1;
        assert_true(loss_at(&s, gate, slope) < 1e-12);
        for (int kv = 0; kv < s.n; kv++) gate[kv] = 0;
        law_run(&full, s.model, (hs_context_opts){0}, SEED, T);
        edited_run(&c, s.model, &(edited){.spec = {"mask:sink_recent,s=2,w=7"}}, SEED, T);
        for (int64_t r = FROM; r < TO; r++)
            for (int64_t k = 0; k < s.dims.d_model; k++) {
                const double by = hidden(&s, &c, r, k) - hidden(&s, &full, r, k);
                sum += by * by;
            }
        near("loss", 0, loss_at(&s, gate, slope), sum / (double)((TO - FROM) * s.dims.d_model),
             1e-4);
        cap_close(&full);
        cap_close(&c);
        close_subject(&s);
    }
}

struct course {
    int64_t n;
    double loss[40], mean[40], rate[40];
};

static int on_step(void *ctx, const hs_duo_step *step) {
    struct course *c = ctx;
    assert_int_equal(step->step, c->n);
    assert_int_equal(step->ord, c->n % 2);
    c->loss[c->n] = step->loss;
    c->mean[c->n] = step->mean;
    c->rate[c->n++] = step->rate;
    return HS_OK;
}

// Prompts take turns; the rate rises, stays and falls; the same search again has the same bits, with
// memory for one prompt too.
static void a_search(void **state) {
    (void)state;
    const rand_spec spec = law_spec(0);
    const int64_t ord[] = {0, 1};
    const hs_duo_search search = {.ord = ord, .n = 2, .steps = 40, .rate = .1, .price = .5};
    struct subject s;
    struct course first = {0}, second = {0};
    double gate[N_KV], again[N_KV];
    open_subject(&s, &spec, HS_PREC_EXACT);
    if (hs_duo_gates(&s.opts, &search, gate, on_step, &first)) fail_msg("%s", hs_errmsg());
    assert_int_equal(first.n, 40);
    assert_true(fabs(first.mean[0] - 1) < 1e-12 && first.loss[0] < 1e-12 &&
                first.mean[39] < first.mean[0]);
    assert_true(fabs(first.rate[0] - .1 / 8) < 1e-15 && fabs(first.rate[6] - .1 * 7 / 8) < 1e-15);
    assert_true(first.rate[7] == .1 && first.rate[32] == .1);
    assert_true(fabs(first.rate[33] - .1 * 7 / 8) < 1e-15 && fabs(first.rate[39] - .1 / 8) < 1e-15);
    for (int kv = 0; kv < s.n; kv++) assert_true(gate[kv] >= 0 && gate[kv] <= 1);
    s.opts.memory = 1;
    if (hs_duo_gates(&s.opts, &search, again, on_step, &second)) fail_msg("%s", hs_errmsg());
    assert_memory_equal(&first, &second, sizeof first);
    assert_memory_equal(gate, again, (size_t)s.n * sizeof *gate);
    close_subject(&s);
}

// On the hand-built induction model the copying head is worth its price, and no other is.
static void the_copying_head_stays(void **state) {
    (void)state;
    static const int32_t ids[] = {0, 1, 6, 3, 8, 5, 2, 7, 4, 1, 6, 3, 8, 5, 2, 7, 4};
    const int64_t ord = 0;
    const hs_duo_search search = {.ord = &ord, .n = 1, .steps = 150, .rate = .05, .price = .05};
    hs_model *m;
    hs_prompts *prompts;
    double gate[4];
    if (hs_model_open(&m, "tests/golden/data/closed/ind2", NULL)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_prompts_open(&prompts, NULL, HS_BOS_AUTO, 9), HS_OK);
    assert_int_equal(hs_prompts_add_tokens(prompts, "twice", ids, 17, 1, 8, NULL), HS_OK);
    const hs_duo_opts o = {
        .model = m, .prompts = prompts, .labels = "9:17", .sink = 2, .recent = 4};
    if (hs_duo_gates(&o, &search, gate, NULL, NULL)) fail_msg("%s", hs_errmsg());
    assert_true(gate[0] < .05 && gate[1] < .05 && gate[3] < .05);
    assert_true(gate[2] > .9);
    hs_prompts_close(prompts);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probe_is_a_whole_run),
        cmocka_unit_test(deviation_is_the_closed_form),
        cmocka_unit_test(groups_are_heads_with_equal_keys),
        cmocka_unit_test(memory_changes_nothing),
        cmocka_unit_test(labels_as_asked_for),
        cmocka_unit_test(slopes_are_finite_differences),
        cmocka_unit_test(ends_of_the_gates),
        cmocka_unit_test(a_search),
        cmocka_unit_test(the_copying_head_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
