// var on made-up maps and residuals: the specification's worked rows, a plain reference, and the
// rows that it must leave.
#include "tests/unit/iv_common.h"

#include <math.h>
#include <stdio.h>

typedef struct resid {
    float x[T * D_MODEL];
} resid;

// Noise; the positions of a list, ended by -1, have channel `dim` far above it.
static resid random_resid(const int *sink, int dim, uint64_t seed) {
    resid r;
    random_numbers(r.x, T * D_MODEL, seed);
    for (; *sink >= 0; sink++) r.x[*sink * D_MODEL + dim] = *sink % 2 ? -900 : 900;
    return r;
}

static void show_resid(const rig *r, const resid *x, int layer, int row0, int n) {
    const hs_view view = {
        (float *)(uintptr_t)(x->x + row0 * D_MODEL), HS_F32, 2, {n, D_MODEL}, {D_MODEL, 1}};
    must(r->tap->rows(r->tap->ctx, &(hs_site){HS_RESID_PRE, layer, 0, row0, n}, &view, true));
}

// A pattern: rows of shares.
static map random_pattern(int layer, int head, uint64_t seed) {
    map m = {.layer = layer, .head = head};
    random_numbers(m.a, T * LD, seed);
    for (int i = 0; i < T; i++) {
        float sum = 0;
        for (int j = 0; j <= i; j++) sum += m.a[i * LD + j] = fabsf(m.a[i * LD + j]);
        for (int j = 0; j <= i; j++) m.a[i * LD + j] /= sum;
    }
    return m;
}

// As the engine does it: rows in blocks, of each the residual first and then its tiles.
static void run_all(const rig *r, const resid *x, map *m, int block, int height) {
    for (int row0 = 0; row0 < T; row0 += block) {
        const int end = row0 + block < T ? row0 + block : T;
        show_resid(r, x, m->layer, row0, end - row0);
        for (int at = row0; at < end; at += height)
            show(r, m, HS_PATTERN, m->a, at, at + height < end ? height : end - at, HS_OK);
    }
}

// ---- the worked row -----------------------------------------------------------------------------

static const float given[8] = {0.30f, 0.05f, 0.10f, 0.35f, 0.12f, 0.04f, 0.03f, 0.01f};

static void check_worked(const char *spec, const double *want) {
    static const int sinks[] = {0, 3, -1};
    const resid x = random_resid(sinks, 4, 3);
    map m = random_pattern(0, 1, 5), before = m;
    rig r;
    memcpy(m.a + 7 * LD, given, sizeof given);
    open_rig(&r, &dims, spec, NULL);
    run_all(&r, &x, &m, T, T);
    for (int j = 0; j < 8; j++)
        if (fabs((double)m.a[7 * LD + j] - want[j]) > 1e-6)
            fail_msg("%s: key %d: %.9g, not %.9g", spec, j, (double)m.a[7 * LD + j], want[j]);
    // No row before the span's end.
    assert_memory_equal(m.a, before.a, 6 * LD * sizeof *m.a);
    close_rig(&r);
}

static void worked_rows(void **state) {
    (void)state;
    static const double moved[] = {.12, .05, .25, .14, .30, .10, .03, .01};
    static const double kept[] = {.18, .05, .20, .21, .24, .08, .03, .01};
    static const double same[] = {.30, .05, .10, .35, .12, .04, .03, .01};
    // r = .26 / .61 = .426230 on the span's others, .573770 on its sink.
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.426", moved);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.427", same);
    check_worked("var:L0,span=2:6,dims=4,tau=3", same);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.426,p_is=kept", kept);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.4,p=0.4", kept);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.574,ratio=sinks", moved);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.573,ratio=sinks", same);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.4,prefilter=0.6", moved);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.4,prefilter=0.62", same);
    check_worked("var:L0,span=2:6,dims=0+4,tau_share=0.95,rho=0.4", moved);
    check_worked("var:L0,span=4:6+2:4,dims=4,tau=3,rho=0.4", moved);
    check_worked("var:L0,span=2:6,dims=5,tau=3,rho=0.4", same); // no sinks there
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.4,p=0", same);
    check_worked("var:L0,span=2:6,dims=4,tau=3,rho=0.4,p=1,p_is=kept", same);
}

// ---- a plain reference ---------------------------------------------------------------------------

typedef struct law {
    int from, to, n_token; // the span, the prompt
    double tau, p, rho, prefilter;
} law;

static bool sink_at(const law *w, const resid *x, int j) {
    double squares = 0, most = 0;
    for (int c = 0; c < D_MODEL; c++) squares += pow((double)x->x[j * D_MODEL + c], 2) / D_MODEL;
    for (int d = 4; d <= 7; d += 3) most = fmax(most, fabs((double)x->x[j * D_MODEL + d]));
    return j < w->n_token && most / sqrt(squares + 1e-6) >= w->tau;
}

static bool want_row(const law *w, const resid *x, const float *a, int i, double *want) {
    double m = 0, others = 0, sinks = 0;
    for (int j = 0; j <= i; j++) {
        const bool s = sink_at(w, x, j), in = j >= w->from && j < w->to;
        want[j] = (double)a[j];
        m += in ? want[j] : 0;
        others += in && !s ? want[j] : 0;
        sinks += s ? want[j] : 0;
    }
    if (i < w->to || m < w->prefilter || others / m < w->rho || w->p * sinks == 0) return false;
    for (int j = 0; j <= i; j++)
        want[j] *= sink_at(w, x, j)              ? 1 - w->p
                   : (j >= w->from && j < w->to) ? 1 + w->p * sinks / others
                                                 : 1;
    return true;
}

static int check_rows(const law *w, const resid *x, const map *before, const map *after) {
    int n = 0;
    for (int i = 0; i < T; i++) {
        double want[T], sum = 0;
        const float *a = before->a + i * LD, *got = after->a + i * LD;
        if (!want_row(w, x, a, i, want)) {
            assert_memory_equal(got, a, LD * sizeof *a);
            continue;
        }
        for (int j = 0; j <= i; sum += (double)got[j++])
            if (!(fabs((double)got[j] - want[j]) <= 1e-7))
                fail_msg("row %d key %d: %.9g, not %.9g", i, j, (double)got[j], want[j]);
        assert_true(fabs(sum - 1) < 1e-6);
        assert_memory_equal(got + i + 1, a + i + 1, (size_t)(LD - i - 1) * sizeof *a);
        n++;
    }
    return n;
}

// Random maps and residuals in blocks and tiles of all kinds; the prompt ends at 10, and what is
// decoded is no sink, whatever its residual.
static void as_the_reference(void **state) {
    (void)state;
    static const int sinks[] = {0, 3, 4, 8, 11, -1};
    const law w = {2, 6, 10, 2.9, 0.7, 0.3, 0.25};
    const int64_t channel[] = {4, 7};
    const hs_ref ref = {.channel = channel, .n_channel = 2};
    int edited = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        static const char *const specs[] = {
            "var:L1,span=2:6,dims=4+7,tau=2.9,p=0.7,rho=0.3,prefilter=0.25",
            "var:L1H2,span=2:6,tau=2.9,p=0.7,rho=0.3,prefilter=0.25",
        };
        const resid x = random_resid(sinks, seed % 2 ? 4 : 7, seed);
        map m = random_pattern(1, 2, seed), before = m;
        rig r;
        open_rig(&r, &dims, specs[seed % 2], seed % 2 ? &ref : NULL);
        r.seq.prompt.n_token = w.n_token;
        must(hs_edits_aim(r.edits, &r.seq, 1));
        const int block = 1 + (int)(seed % 5) * 3;
        run_all(&r, &x, &m, block, 1 + (int)(seed % 3) * 2);
        edited += check_rows(&w, &x, &before, &m);
        close_rig(&r);
    }
    assert_true(edited > 40); // and some are left
    assert_true(edited < 40 * 7);
}

// ---- what is asked of it --------------------------------------------------------------------------

static void refusals(void **state) {
    (void)state;
    refused("var:L0", HS_EARG, "say which span");
    refused("var:L0,span=doc,dims=1,tau=2", HS_ENOTFOUND, "there is no span 'doc'");
    refused("var:L0,span=4:4,dims=1,tau=2", HS_ERANGE, "holds no position");
    refused("var:L0,span=4:20,dims=1,tau=2", HS_ERANGE, "4:20");
    refused("var:L0,span=4:,dims=1,tau=2", HS_ERANGE, "no row comes after");
    refused("var:L0,span=4:6,dims=1", HS_ERANGE, "tau=20 is never reached: at width 10");
    refused("var:L0,span=4:6,dims=1,tau=3,tau_share=0.5", HS_EARG, "not both");
    refused("var:L0,span=4:6,dims=10,tau=3", HS_ERANGE, "there is no channel 10");
    refused("var:L0,span=4:6,dims=99999999999999999999,tau=3", HS_ERANGE, "there is no channel");
    for (const char *const *d = (const char *const[]){"-1", "x", "1+", "+1", "1+x", "1 ", "", NULL};
         *d; d++) {
        char spec[80];
        snprintf(spec, sizeof spec, "var:L0,span=4:6,dims=%s,tau=3", *d);
        refused(spec, HS_EARG, "dims");
    }
    refused("var:L0,span=4:6,dims=1,tau=3,p=1.1", HS_EARG, "p=1.1");
    refused("var:L0,span=4:6,dims=1,tau=3,rho=-1", HS_EARG, "rho");
    refused("var:L0M,span=4:6,dims=1,tau=3", HS_EARG, "L0M");
}

// Only layers that are asked for; rows that were not shown are missed.
static void layers_and_gaps(void **state) {
    (void)state;
    static const int sinks[] = {0, 3, -1};
    const resid x = random_resid(sinks, 4, 3);
    map m = random_pattern(0, 1, 5);
    rig r;
    open_rig(&r, &dims, "var:L0,span=2:6,dims=4,tau=3,rho=0", NULL);
    assert_int_equal(r.tap->write[1], 0);
    assert_true(r.tap->write[0] == (HS_BIT(HS_PATTERN) | HS_BIT(HS_RESID_PRE)));
    assert_int_equal(hs_edit_first(r.edit, &r.seq.prompt), 0); // residuals count from the start
    show(&r, &m, HS_PATTERN, m.a, 0, 6, HS_OK);
    show(&r, &m, HS_PATTERN, m.a, 6, 7, HS_EUNSUPPORTED);
    show_resid(&r, &x, 0, 5, T - 5);
    show(&r, &m, HS_PATTERN, m.a, 6, 7, HS_EUNSUPPORTED);
    assert_non_null(strstr(hs_errmsg(), "position 0 was not seen"));
    show_resid(&r, &x, 0, 0, 5);
    show(&r, &m, HS_PATTERN, m.a, 6, 7, HS_OK);
    close_rig(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_rows),
        cmocka_unit_test(as_the_reference),
        cmocka_unit_test(refusals),
        cmocka_unit_test(layers_and_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
