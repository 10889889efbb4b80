// knock, mask, norm, patch, freeze and steer on made-up maps and rows: every number is compared with
// its formula, written out plainly, or with what it was before.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/prng.h"
#include "tests/lib/mkmodel.h"

enum { T = 13, LD = 16, D_HEAD = 4, N_HEAD = 4, N_KV = 2, D_MODEL = 10 };
static const hs_dims dims = {
    .n_layer = 2,
    .n_head = N_HEAD,
    .n_kv_head = N_KV,
    .d_model = D_MODEL,
    .d_head = D_HEAD,
    .d_ff = 7,
    .n_vocab = 9,
    .points = HS_BIT(HS_N_POINT) - 1,
    .attn_scale = 0.5,
};

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// ---- one edit on one prompt ---------------------------------------------------------------------

typedef struct rig {
    hs_edit *edit;
    hs_edits *edits;
    hs_hooks *hooks;
    const hs_tap *tap;
    hs_edit_seq seq;
} rig;

static void open_rig(rig *r, const hs_dims *d, const char *spec, const hs_ref *ref) {
    static const hs_span span = {"name", 3, 5};
    must(hs_edit_open(&r->edit, d, spec));
    must(hs_edits_open(&r->edits, d));
    must(hs_hooks_open(&r->hooks, d));
    must(hs_edits_hook(r->edits, r->hooks, &r->edit, 1));
    r->tap = hs_hooks_tap(r->hooks);
    r->seq = (hs_edit_seq){&r->edit, ref, 1, {0, "p", T, &span, 1}};
    must(hs_edit_check(r->edit, &r->seq.prompt));
    must(hs_edits_aim(r->edits, &r->seq, 1));
}

static void close_rig(rig *r) {
    hs_hooks_close(r->hooks);
    hs_edits_close(r->edits);
    hs_edit_close(r->edit);
}

static void refused(const char *spec, int rc, const char *says) {
    hs_edit *e;
    int got = hs_edit_open(&e, &dims, spec);
    if (!got) got = hs_edit_check(e, &(hs_edit_prompt){.id = "p", .n_token = T});
    if (got != rc) fail_msg("%s: rc %d: %s", spec, got, hs_errmsg());
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", spec, hs_errmsg(), says);
    hs_edit_close(e);
}

static float *random_numbers(float *x, int n, uint64_t seed) {
    hs_prng rng = hs_prng_seed(seed);
    for (int i = 0; i < n; i++) x[i] = (float)(hs_prng_f64(&rng) * 6 - 3);
    return x;
}

// ---- maps ---------------------------------------------------------------------------------------

// The engine's softmax of what row i sees; a row of -inf weighs nothing.
static void soften(const float *s, float *a, int i) {
    double sum = 0, most = -INFINITY;
    for (int j = 0; j <= i; j++) most = fmax(most, (double)s[j]);
    for (int j = 0; j <= i; j++) sum += most > -INFINITY ? exp((double)s[j] - most) : 0;
    for (int j = 0; j <= i; j++) a[j] = sum > 0 ? (float)(exp((double)s[j] - most) / sum) : 0;
}

typedef struct map {
    float s[T * LD], a[T * LD]; // scores and pattern; beyond the causal part numbers to be left
    int layer, head;
} map;

static void show(const rig *r, const map *m, enum hs_point point, float *row, int row0, int n,
                 int rc) {
    const hs_tile tile = {.point = point,
                          .layer = m->layer,
                          .head = m->head,
                          .row0 = row0,
                          .n_row = n,
                          .n_key = row0 + n,
                          .row = row + row0 * LD,
                          .ld = LD};
    const int want = point == HS_SCORES ? HS_TILE_WRITE_SCORES : HS_TILE_WRITE_PATTERN;
    if (!(r->tap->tile_want[m->layer * N_HEAD + m->head] & want)) return;
    assert_int_equal(r->tap->tile(r->tap->ctx, &tile, true, 1), rc);
}

// A map through the edit in tiles of a height, as the engine does it.
static void run_map(const rig *r, map *m, int height) {
    for (int row0 = 0; row0 < T; row0 += height) {
        const int n = row0 + height < T ? height : T - row0;
        show(r, m, HS_SCORES, m->s, row0, n, HS_OK);
        for (int i = row0; i < row0 + n; i++) soften(m->s + i * LD, m->a + i * LD, i);
        show(r, m, HS_PATTERN, m->a, row0, n, HS_OK);
    }
}

static map random_map(int layer, int head) {
    map m = {.layer = layer, .head = head};
    random_numbers(m.s, T * LD, 7);
    random_numbers(m.a, T * LD, 8);
    return m;
}

// The row that should come of scores s, for row i: scores (NAN: as they are) or weights.
typedef void (*want_fn)(const double *s, int i, double *want);

static void check_head(const char *spec, int layer, int head, bool pattern, want_fn want) {
    for (int height = 1; height <= T; height += 4) {
        const map before = random_map(layer, head);
        map after = before;
        rig r;
        open_rig(&r, &dims, spec, NULL);
        run_map(&r, &after, height);
        for (int i = 0; i < T; i++) {
            const float *got = (pattern ? after.a : after.s) + i * LD;
            double s[T], should[T];
            for (int j = 0; j <= i; j++) s[j] = (double)before.s[i * LD + j];
            want(s, i, should);
            for (int j = 0; j <= i; j++)
                if (isinf(should[j]) ? (double)got[j] != should[j]
                                     : !(fabs((double)got[j] - should[j]) <= 1e-6))
                    fail_msg("%s: row %d key %d: %.9g, not %.9g", spec, i, j, (double)got[j],
                             should[j]);
            // What no row sees is nobody's to write.
            for (int j = i + 1; j < LD; j++)
                assert_true(after.s[i * LD + j] == before.s[i * LD + j] &&
                            after.a[i * LD + j] == before.a[i * LD + j]);
        }
        close_rig(&r);
    }
}

static void as_it_was(const double *s, int i, double *want) {
    memcpy(want, s, (size_t)(i + 1) * sizeof *want);
}

// ---- knock and mask -----------------------------------------------------------------------------

static void knocked(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) {
        const bool from = (i >= 4 && i < 9) || i == T - 1, to = j < 3 || j == 6;
        want[j] = from && to ? -INFINITY : s[j];
    }
}

static void knocked_at_places(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++)
        want[j] = (i == 3 || i == 4) && i >= 4 && j == 3 ? -INFINITY : s[j];
}

static void knocked_self(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = i == 5 && j == 5 ? -INFINITY : s[j];
}

static void knock(void **state) {
    (void)state;
    check_head("knock:L1H2,from=4:9+-1,to=:3+6", 1, 2, false, knocked);
    check_head("knock:L1G1,from=4:9+-1,to=:3+6", 1, 3, false, knocked);
    check_head("knock:L1H2,from=4:9+-1,to=:3+6", 1, 1, false, as_it_was);
    check_head("knock:L1H2,from=4:9+-1,to=:3+6", 0, 2, false, as_it_was);
    check_head("knock:L0,from=name,to=3,pos=4:", 0, 3, false, knocked_at_places);
    check_head("knock:L0H0,from=5,to=5", 0, 0, false, knocked_self);
    refused("knock:L0H0,from=0:3,to=3:5", HS_ERANGE, "which all come later");
    refused("knock:L0H0,from=0:6,to=5:8,pos=:5", HS_ERANGE, "which all come later");
    refused("knock:L0H0,from=13", HS_ERANGE, "13");
    refused("knock:L0H0,to=-14", HS_ERANGE, "-14");
    refused("knock:L0H0,to=span", HS_ENOTFOUND, "span");
    refused("knock:L0H0,from=1,pos=2", HS_ERANGE, "no position");
    refused("knock:L0M", HS_EARG, "L0M");
}

static void sink_recent(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = j < 2 || i - j < 3 ? s[j] : -INFINITY;
}

static void recent_only(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = j == i ? s[j] : -INFINITY;
}

static void nothing(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = s[j] * 0;
}

static void topk_at(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) {
        int above = 0;
        for (int k = 0; k <= i; k++) above += s[k] > s[j] || (s[k] == s[j] && k < j);
        want[j] = above < 4 || i < 6 ? s[j] : -INFINITY;
    }
}

static void kept_keys(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = j == 1 || j == 2 || j == T - 2 ? s[j] : -INFINITY;
}

static void masks(void **state) {
    (void)state;
    check_head("mask:sink_recent,s=2,w=3", 0, 1, false, sink_recent);
    check_head("mask:sink_recent,s=0,w=1", 0, 1, false, recent_only);
    check_head("mask:sink_recent,s=0,w=0", 0, 1, true, nothing);
    check_head("mask:sink_recent,s=2,w=3,heads=L1H1", 0, 1, false, as_it_was);
    check_head("mask:topk,k=4,pos=6:", 1, 0, false, topk_at);
    check_head("mask:keys,keys=1:3+-2", 1, 3, false, kept_keys);
    refused("mask:keys", HS_EARG, "which keys");
    refused("mask:topk,keys=3", HS_EARG, "mask:keys");
    refused("mask:topk,k=0", HS_EARG, "k=0");
    refused("mask:top,k=1", HS_EARG, "sink_recent|topk|keys");
    refused("mask:keys,keys=20", HS_ERANGE, "20");
}

// Ties go to the lowest key; keys masked before count as smallest; no order of numbers is too hard.
static void topk_of_equal_scores(void **state) {
    (void)state;
    rig r;
    map m = {.layer = 0, .head = 0};
    open_rig(&r, &dims, "mask:topk,k=3", NULL);
    for (int i = 0; i < T; i++)
        for (int j = 0; j < T; j++) m.s[i * LD + j] = j == 5 ? 2 : j < 2 ? -INFINITY : 1;
    run_map(&r, &m, 4);
    for (int i = 0; i < T; i++)
        for (int j = 0; j <= i; j++) {
            const bool kept = i < 5 ? j >= 2 : j == 5 || j == 2 || j == 3;
            assert_true((m.s[i * LD + j] > -INFINITY) == kept);
        }
    for (uint64_t seed = 0; seed < 200; seed++) {
        float before[T];
        int n = 0;
        random_numbers(m.s, T * LD, seed);
        for (int j = 0; j < T; j++) m.s[(T - 1) * LD + j] = floorf(m.s[(T - 1) * LD + j] / 2);
        memcpy(before, m.s + (T - 1) * LD, sizeof before);
        run_map(&r, &m, T);
        for (int j = 0; j < T; j++) {
            const bool kept = m.s[(T - 1) * LD + j] > -INFINITY;
            n += kept;
            for (int k = 0; k < T; k++) { // nobody left out is better than one kept
                const bool other = m.s[(T - 1) * LD + k] > -INFINITY;
                assert_true(!kept || other || before[k] < before[j] ||
                            (before[k] == before[j] && k > j));
            }
        }
        assert_int_equal(n, 3);
    }
    // NaN shows, and ends.
    for (int j = 0; j < T; j++) m.s[(T - 1) * LD + j] = j % 3 ? NAN : (float)j;
    run_map(&r, &m, T);
    assert_true(isnan(m.s[(T - 1) * LD + 1]));
    close_rig(&r);
}

// ---- norm ---------------------------------------------------------------------------------------

static void want_softmax(const double *s, int i, double *want) {
    double sum = 0;
    for (int j = 0; j <= i; j++) sum += exp(s[j]);
    for (int j = 0; j <= i; j++) want[j] = exp(s[j]) / sum;
}

static void want_sigmoid(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = 0.5 * (1 + tanh(0.5 * (s[j] - log(T))));
}

static void want_sigmoid_b(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = 0.5 * (1 + tanh(0.5 * (s[j] + 1.5)));
}

static void want_relu(const double *s, int i, double *want) {
    double sum = 0;
    for (int j = 0; j <= i; j++) sum += s[j] > 0 ? s[j] : 0;
    for (int j = 0; j <= i; j++) want[j] = s[j] > 0 ? s[j] / sum : 0;
}

static void want_relu_n(const double *s, int i, double *want) {
    for (int j = 0; j <= i; j++) want[j] = s[j] > 0 ? s[j] / (i + 1) : 0;
}

static void with_sink(const double *s, int i, double *want, double sink) {
    double sum = exp(sink);
    for (int j = 0; j <= i; j++) sum += exp(s[j]);
    for (int j = 0; j <= i; j++) want[j] = exp(s[j]) / sum;
}

static void want_softmax1(const double *s, int i, double *want) {
    with_sink(s, i, want, 0);
}

static void want_sink(const double *s, int i, double *want) {
    with_sink(s, i, want, 0.7);
}

static void want_clipped(const double *s, int i, double *want) {
    want_softmax(s, i, want);
    for (int j = 0; j <= i; j++) want[j] = fmin(1, fmax(0, 1.2 * want[j] - 0.1));
}

static void want_softpick(const double *s, int i, double *want) {
    double sum = 0;
    for (int j = 0; j <= i; j++) sum += fabs(exp(s[j]) - 1);
    for (int j = 0; j <= i; j++) want[j] = s[j] > 0 ? (exp(s[j]) - 1) / sum : 0;
}

static void want_from_five(const double *s, int i, double *want) {
    if (i < 5)
        want_softmax(s, i, want);
    else
        want_relu(s, i, want);
}

static void norms(void **state) {
    (void)state;
    check_head("norm:softmax", 1, 2, true, want_softmax);
    check_head("norm:sigmoid", 1, 2, true, want_sigmoid);
    check_head("norm:sigmoid,b=1.5", 1, 2, true, want_sigmoid_b);
    check_head("norm:relu", 1, 2, true, want_relu);
    check_head("norm:relu,by=n", 1, 2, true, want_relu_n);
    check_head("norm:softmax1", 1, 2, true, want_softmax1);
    check_head("norm:softmax1,s=4", 1, 2, true, want_softmax1);
    check_head("norm:sink,s=0.7", 1, 2, true, want_sink);
    check_head("norm:clipped,gamma=-0.1,zeta=1.1", 1, 2, true, want_clipped);
    check_head("norm:softpick", 1, 2, true, want_softpick);
    check_head("norm:relu,pos=5:", 1, 2, true, want_from_five);
    check_head("norm:relu,heads=L1H1", 1, 2, true, want_softmax);
    check_head("norm:relu", 1, 2, false, as_it_was);
    refused("norm:sigmoid,b=", HS_EARG, "b=");
    refused("norm:sigmoid,b=1x", HS_EARG, "b=1x");
    refused("norm:sigmoid,b=inf", HS_EARG, "b=inf");
    refused("norm:silu", HS_EARG, "silu");
}

// One row of scores, with what comes of it.
static void check_row(const char *spec, int n, const float *s, const double *want) {
    rig r;
    map m = {.layer = 0, .head = 0};
    open_rig(&r, &dims, spec, NULL);
    memcpy(m.s + (n - 1) * LD, s, (size_t)n * sizeof *s);
    run_map(&r, &m, T);
    for (int j = 0; j < n; j++) {
        const double got = (double)m.a[(n - 1) * LD + j];
        if (!(fabs(got - want[j]) <= 1e-6))
            fail_msg("%s: key %d: %.9g, not %.9g", spec, j, got, want[j]);
    }
    close_rig(&r);
}

static void norms_at_the_edges(void **state) {
    (void)state;
    const float inf = INFINITY;
    // Published: a learned sink of 0.7.
    check_row("norm:sink,s=0.7", 3, (const float[]){1, 0.5f, -0.2f},
              (const double[]){0.377566, 0.229005, 0.113721});
    // Masked keys weigh nothing and are in no sum.
    check_row("norm:sigmoid,b=0", 3, (const float[]){0, -inf, 0}, (const double[]){0.5, 0, 0.5});
    check_row("norm:relu", 3, (const float[]){1, -inf, 3}, (const double[]){0.25, 0, 0.75});
    check_row("norm:softmax1", 3, (const float[]){0, -inf, 0}, (const double[]){1 / 3., 0, 1 / 3.});
    check_row("norm:softpick", 3, (const float[]){logf(2), -inf, logf(0.5f)},
              (const double[]){2 / 3., 0, 0});
    // Rows without weight are 0 and not 0 / 0.
    check_row("norm:relu", 2, (const float[]){-1, -2}, (const double[]){0, 0});
    check_row("norm:softpick", 2, (const float[]){0, 0}, (const double[]){0, 0});
    check_row("norm:softpick", 2, (const float[]){-inf, -inf}, (const double[]){0, 0});
    check_row("norm:sink", 2, (const float[]){-inf, -inf}, (const double[]){0, 0});
    check_row("norm:relu", 2, (const float[]){-inf, -inf}, (const double[]){0, 0});
    // No exponential overflows.
    check_row("norm:softmax1", 2, (const float[]){2000, 2000}, (const double[]){0.5, 0.5});
    check_row("norm:sink,s=3000", 2, (const float[]){2000, 2000}, (const double[]){0, 0});
    check_row("norm:sink,s=-2000", 2, (const float[]){-2000, -2000},
              (const double[]){1 / 3., 1 / 3.});
    check_row("norm:softpick", 2, (const float[]){3e-16f, 9e-16f}, (const double[]){0.25, 0.75});
    check_row("norm:softpick", 2, (const float[]){2000, -2000}, (const double[]){1, 0});
    check_row("norm:sigmoid,b=0", 2, (const float[]){2000, -2000}, (const double[]){1, 0});
}

// ---- norm:softplus ------------------------------------------------------------------------------

enum { N_SEEN = 6 };

// Rows 0 .. N_SEEN - 1 of queries or keys, of lengths that differ a row and head.
static void show_vectors(const rig *r, enum hs_point point, int layer, int n_head, uint64_t seed,
                         float *v) {
    random_numbers(v, N_SEEN * n_head * D_HEAD, seed);
    const hs_view view = {
        v, HS_F32, 3, {N_SEEN, n_head, D_HEAD}, {(int64_t)n_head * D_HEAD, D_HEAD, 1}};
    const hs_site site = {point, layer, 0, 0, N_SEEN};
    must(r->tap->rows(r->tap->ctx, &site, &view, true));
}

static double dot(const float *a, const float *b) {
    double sum = 0;
    for (int i = 0; i < D_HEAD; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

// ln(1 + e^x) of scaled cosines, shared out; powers of what is above the mean for p > 0.
static void lssa(const double *cosine, int n, double p, double *a) {
    double sum = 0, again = 0;
    for (int j = 0; j < n; j++) sum += a[j] = log(1 + exp(log(D_HEAD) * log(n) * cosine[j]));
    for (int j = 0; j < n; j++) a[j] /= sum;
    for (int j = 0; p > 0 && j < n; j++)
        again += a[j] = pow(fmax(0, a[j] * n - (n <= 3 ? 0 : 1)), p);
    for (int j = 0; p > 0 && j < n; j++) a[j] /= again + 1e-8;
}

static void published_rows_of_lssa(void **state) {
    (void)state;
    double a[3];
    lssa((const double[]){.9, .1, -.3}, 3, 0, a);
    assert_true(fabs(a[0] - .558435) < 1e-6 && fabs(a[1] - .270022) < 1e-6);
    lssa((const double[]){.9, .1, -.3}, 3, 3, a);
    assert_true(fabs(a[0] - .875627) < 1e-6 && fabs(a[2] - .025381) < 1e-6);
}

static void check_softplus(const hs_dims *d, const char *spec, double p, enum hs_point pq,
                           enum hs_point pk) {
    float q[N_SEEN * N_HEAD * D_HEAD], k[N_SEEN * N_KV * D_HEAD], spare[N_SEEN * N_KV * D_HEAD];
    for (int layer = 0; layer < 2; layer++)
        for (int head = 0; head < N_HEAD; head++) {
            rig r;
            map m = {.layer = layer, .head = head};
            const double scale = d->attn_scale / (d->scale_by_layer ? layer + 1 : 1);
            open_rig(&r, d, spec, NULL);
            show_vectors(&r, pk, 1 - layer, N_KV, 5, spare); // another layer's keys
            show_vectors(&r, pq, layer, N_HEAD, 3, q);
            show_vectors(&r, pk, layer, N_KV, 4, k);
            must(hs_edits_aim(r.edits, &r.seq, 1)); // the next evaluation knows them
            for (int i = 0; i < N_SEEN; i++)
                for (int j = 0; j <= i; j++)
                    m.s[i * LD + j] = (float)(scale * dot(q + (i * N_HEAD + head) * D_HEAD,
                                                          k + (j * N_KV + head / 2) * D_HEAD));
            for (int row0 = 0; row0 < N_SEEN; row0 += 3) {
                show(&r, &m, HS_SCORES, m.s, row0, 3, HS_OK);
                show(&r, &m, HS_PATTERN, m.a, row0, 3, HS_OK);
            }
            for (int i = 0; i < N_SEEN; i++) {
                double cosine[T], a[T];
                const float *qi = q + (i * N_HEAD + head) * D_HEAD;
                for (int j = 0; j <= i; j++) {
                    const float *kj = k + (j * N_KV + head / 2) * D_HEAD;
                    cosine[j] = dot(qi, kj) / sqrt(dot(qi, qi) * dot(kj, kj));
                }
                lssa(cosine, i + 1, p, a);
                for (int j = 0; j <= i; j++)
                    assert_true(fabs((double)m.a[i * LD + j] - a[j]) <= 2e-6);
            }
            close_rig(&r);
        }
}

static void softplus_is_of_cosines(void **state) {
    (void)state;
    hs_dims other = dims;
    other.points &= ~(HS_BIT(HS_ROT_Q) | HS_BIT(HS_ROT_K));
    other.scale_by_layer = true;
    other.attn_scale = 1;
    check_softplus(&dims, "norm:softplus", 0, HS_ROT_Q, HS_ROT_K);
    check_softplus(&dims, "norm:softplus,p=3", 3, HS_ROT_Q, HS_ROT_K);
    check_softplus(&other, "norm:softplus,p=15", 15, HS_Q, HS_K);
}

// Keys that were never seen are an error, and so are those of another prompt.
static void softplus_needs_all_keys(void **state) {
    (void)state;
    float v[N_SEEN * N_HEAD * D_HEAD];
    rig r;
    map m = random_map(1, 0);
    open_rig(&r, &dims, "norm:softplus", NULL);
    show(&r, &m, HS_SCORES, m.s, 0, 3, HS_OK);
    show(&r, &m, HS_PATTERN, m.a, 0, 3, HS_EUNSUPPORTED);
    assert_non_null(strstr(hs_errmsg(), "position 0"));
    show_vectors(&r, HS_ROT_Q, 1, N_HEAD, 3, v);
    show(&r, &m, HS_PATTERN, m.a, 0, 3, HS_EUNSUPPORTED);
    show_vectors(&r, HS_ROT_K, 1, N_KV, 4, v);
    show(&r, &m, HS_PATTERN, m.a, 0, 3, HS_OK);
    show(&r, &m, HS_SCORES, m.s, 5, 2, HS_OK);
    show(&r, &m, HS_PATTERN, m.a, 5, 2, HS_EUNSUPPORTED);
    r.seq.prompt.ord = 1;
    must(hs_edits_aim(r.edits, &r.seq, 1));
    show(&r, &m, HS_SCORES, m.s, 0, 3, HS_OK);
    show(&r, &m, HS_PATTERN, m.a, 0, 3, HS_EUNSUPPORTED);
    r.seq.prompt.ord = 0; // forgotten by now
    must(hs_edits_aim(r.edits, &r.seq, 1));
    show(&r, &m, HS_PATTERN, m.a, 0, 3, HS_EUNSUPPORTED);
    close_rig(&r);
}

// A query or key of length 0 has no direction: cosines of 0, and no division by it.
static void softplus_of_zero_vectors(void **state) {
    (void)state;
    float q[2 * N_HEAD * D_HEAD] = {0}, k[2 * N_KV * D_HEAD] = {0};
    rig r;
    map m = {.layer = 0, .head = 0};
    open_rig(&r, &dims, "norm:softplus", NULL);
    const hs_view vq = {q, HS_F32, 3, {2, N_HEAD, D_HEAD}, {N_HEAD * D_HEAD, D_HEAD, 1}};
    const hs_view vk = {k, HS_F32, 3, {2, N_KV, D_HEAD}, {N_KV * D_HEAD, D_HEAD, 1}};
    must(r.tap->rows(r.tap->ctx, &(hs_site){HS_ROT_Q, 0, 0, 0, 2}, &vq, true));
    must(r.tap->rows(r.tap->ctx, &(hs_site){HS_ROT_K, 0, 0, 0, 2}, &vk, true));
    show(&r, &m, HS_SCORES, m.s, 0, 2, HS_OK);
    show(&r, &m, HS_PATTERN, m.a, 0, 2, HS_OK);
    assert_true(m.a[0] == 1 && m.a[LD] == 0.5f && m.a[LD + 1] == 0.5f);
    m.s[0] = m.s[LD] = -INFINITY; // masked
    show(&r, &m, HS_SCORES, m.s, 0, 2, HS_OK);
    show(&r, &m, HS_PATTERN, m.a, 0, 2, HS_OK);
    assert_true(m.a[0] == 0 && m.a[LD] == 0 && m.a[LD + 1] == 1);
    close_rig(&r);
}

// ---- patch and freeze ---------------------------------------------------------------------------

enum { MOST = 40 };

// What a point holds there: numbers that say where they are from.
static float held(enum hs_point point, int layer, int64_t row, int64_t k) {
    return (float)(1000 * (int)point + 300 * layer + 20 * row) + (float)k / 64;
}

static int64_t width_of(enum hs_point point) {
    int64_t shape[4], width = 1;
    const int ndim = hs_point_shape(&dims, point, 1, shape);
    for (int i = 1; i < ndim; i++) width *= shape[i];
    return width;
}

static int fake_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                     float *out) {
    const int64_t width = width_of(point);
    assert_true(row0 + n <= *(const int64_t *)ctx);
    for (int64_t i = 0; i < n * width; i++)
        out[i] = held(point, layer, row0 + i / width, i % width);
    return HS_OK;
}

static int fake_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                    int64_t n_key, float *out, int64_t ld) {
    assert_true(row0 + n <= *(const int64_t *)ctx);
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < n_key; k++)
            out[r * ld + k] = held(point, layer, row0 + r, k) + (float)(100 * head);
    return HS_OK;
}

// Rows 2 .. T - 1 of a point: after the edit, row i holds the reference's numbers where `is` says so
// and its own elsewhere, the gaps of wider strides included.
typedef bool (*is_fn)(int64_t row, int64_t k);

static void check_copy(const char *spec, enum hs_point point, int layer, is_fn is) {
    int64_t n_held = 10, shape[4];
    const hs_ref ref = {&n_held, n_held, fake_rows, fake_map};
    const int ndim = hs_point_shape(&dims, point, T - 2, shape);
    const int64_t width = width_of(point);
    float x[(T - 2) * MOST], before[(T - 2) * MOST];
    rig r;
    random_numbers(x, (T - 2) * MOST, 9);
    memcpy(before, x, sizeof x);
    open_rig(&r, &dims, spec, &ref);
    hs_view view = {x, HS_F32, ndim, {shape[0], shape[1], shape[2]}, {width, 1, 1}};
    if (ndim == 3) view.stride[1] = shape[2];
    const hs_site site = {point, layer, 0, 2, T - 2};
    const int set = layer < 0 ? dims.n_layer : layer;
    if (r.tap->write[set] & HS_BIT(point)) must(r.tap->rows(r.tap->ctx, &site, &view, true));
    for (int64_t i = 0; i < (T - 2) * width; i++) {
        const int64_t row = 2 + i / width, k = i % width;
        const float want = is(row, k) ? held(point, layer, row, k) : before[i];
        if (x[i] != want) fail_msg("%s: row %d number %d", spec, (int)row, (int)k);
    }
    assert_memory_equal(x + (T - 2) * width, before + (T - 2) * width,
                        sizeof x - (size_t)((T - 2) * width) * sizeof *x);
    close_rig(&r);
}

static bool whole(int64_t row, int64_t k) {
    (void)k;
    return row < 10;
}
static bool never(int64_t row, int64_t k) {
    (void)row, (void)k;
    return false;
}
static bool head_2(int64_t row, int64_t k) {
    return row < 10 && k / D_HEAD == 2;
}
static bool group_1_there(int64_t row, int64_t k) {
    return (row == 3 || row == 4 || row == 7) && k / D_HEAD == 1;
}

static void copies_of_rows(void **state) {
    (void)state;
    check_copy("patch:resid_pre:1,from=3", HS_RESID_PRE, 1, whole);
    check_copy("patch:resid_pre:1,from=3", HS_RESID_PRE, 0, never);
    check_copy("patch:z,from=prompt:p,heads=L1H2", HS_Z, 1, head_2);
    check_copy("patch:z,from=prompt:p,heads=L1H2", HS_Z, 0, never);
    check_copy("patch:rot_k+v,from=x.db:2,heads=L1G1,pos=name+7+11", HS_V, 1, group_1_there);
    check_copy("patch:ln1_scale,from=3", HS_LN1_SCALE, 0, whole);
    check_copy("patch:logits,from=3", HS_LOGITS, -1, whole);
    check_copy("freeze:q,heads=L*H2", HS_Q, 0, head_2);
    check_copy("freeze:resid_mid", HS_RESID_MID, 1, whole);
    check_copy("freeze:mlp_out:0,heads=all", HS_MLP_OUT, 0, whole);
}

static void copies_of_maps(void **state) {
    (void)state;
    int64_t n_held = 10;
    const hs_ref ref = {&n_held, n_held, fake_rows, fake_map};
    static const char *const specs[] = {"patch:attn_scores:1,from=prompt:0,heads=L1H2,pos=3:",
                                        "freeze:pattern,heads=L1H2,pos=3:"};
    for (int p = 0; p < 2; p++)
        for (int head = 1; head < 3; head++) {
            const map before = random_map(1, head);
            map after = before;
            rig r;
            open_rig(&r, &dims, specs[p], &ref);
            float *got = p ? after.a : after.s;
            const float *had = p ? before.a : before.s;
            const enum hs_point point = p ? HS_PATTERN : HS_SCORES;
            for (int row0 = 0; row0 < T; row0 += 5)
                show(&r, &after, point, got, row0, row0 + 5 < T ? 5 : T - row0, HS_OK);
            for (int i = 0; i < T; i++)
                for (int j = 0; j < LD; j++)
                    assert_true(got[i * LD + j] == (head == 2 && i >= 3 && i < 10 && j <= i
                                                        ? held(point, 1, i, j) + 200
                                                        : had[i * LD + j]));
            close_rig(&r);
        }
}

static void what_copies_need(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        enum hs_ref_from from;
        const char *name;
    } needs[] = {
        {"patch:z,from=3", HS_REF_RUN, "3"},
        {"patch:z,from=a.db:3", HS_REF_RUN, "a.db:3"},
        {"patch:z,from=prompt:a7", HS_REF_PROMPT, "a7"},
        {"freeze:z+pattern:1,heads=L1H0", HS_REF_SELF, NULL},
    };
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        hs_edit *e;
        must(hs_edit_open(&e, &dims, needs[i].spec));
        const hs_ref_need *need = hs_edit_need(e);
        assert_int_equal(need->from, needs[i].from);
        if (needs[i].name) assert_string_equal(need->name, needs[i].name);
        assert_memory_equal(need->points, hs_edit_points(e), 3 * sizeof *need->points);
        assert_true(need->points[1] & HS_BIT(HS_Z));
        assert_true(hs_heads_has(need->heads, 1, 0));
        assert_int_equal(hs_heads_has(need->heads, 1, 1), i < 3);
        hs_edit_close(e);
    }
    refused("patch:z", HS_EARG, "from=RUN");
    refused("patch:z,from=prompt:", HS_EARG, "prompt:ID");
    refused("patch:z,from=prompt:random", HS_EARG, "one prompt");
    refused("patch:row_stats,from=3", HS_EARG, "row_stats");
    refused("patch:v,heads=L0H1,from=3", HS_EARG, "L0G0");
    refused("freeze:nothing", HS_ENOTFOUND, "nothing");
}

// ---- steer --------------------------------------------------------------------------------------

static char folder[PATH_MAX];

static void write_npy(const char *name, const char *shape, const float *v, int n) {
    char head[64];
    const int len = snprintf(head, sizeof head, "{'descr':'<f4','fortran_order':False,'shape':%s}",
                             shape);
    hs_buf b = {0};
    assert_true(len < (int)sizeof head);
    hs_buf_add(&b, "\x93NUMPY\x01", 8);
    hs_buf_chr(&b, (char)len);
    hs_buf_chr(&b, 0);
    hs_buf_add(&b, head, (size_t)len);
    hs_buf_add(&b, v, (size_t)n * sizeof *v);
    mk_file(folder, name, b.data, b.len);
    hs_buf_free(&b);
}

static float wide[2 * D_MODEL], head_wide[D_HEAD], all_heads[N_HEAD * D_HEAD];

static int write_files(void **state) {
    (void)state;
    const float zero[D_HEAD] = {0}, bad[D_HEAD] = {0, INFINITY};
    mk_dir(folder);
    random_numbers(wide, 2 * D_MODEL, 21);
    random_numbers(head_wide, D_HEAD, 22);
    random_numbers(all_heads, N_HEAD * D_HEAD, 23);
    wide[3] = 0;
    write_npy("d.npy", "(10,)", wide, D_MODEL);
    write_npy("row.npy", "(1,10)", wide, D_MODEL);
    write_npy("layers.npy", "(2,10)", wide, 2 * D_MODEL);
    write_npy("three.npy", "(3,4)", all_heads, 12);
    write_npy("head.npy", "(4,)", head_wide, D_HEAD);
    write_npy("heads.npy", "(16,)", all_heads, N_HEAD * D_HEAD);
    write_npy("zero.npy", "(4,)", zero, D_HEAD);
    write_npy("bad.npy", "(4,)", bad, D_HEAD);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    mk_remove(folder);
    return 0;
}

// "$" in a spec is the folder.
static const char *spelled(const char *spec) {
    static char text[PATH_MAX + 200];
    const char *hole = strchr(spec, '$');
    snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - spec), spec, folder, hole + 1);
    return text;
}

// The vector that meets numbers [first, first + n) of a row, which are steered together; NULL ends.
typedef struct part {
    int first, n;
    const float *v;
} part;

static void check_steer(const char *spec, enum hs_point point, int layer, double add,
                        double project, const part *parts) {
    const int64_t width = width_of(point);
    int64_t shape[4];
    float x[3 * MOST], before[3 * MOST];
    rig r;
    random_numbers(x, 3 * MOST, 31);
    x[3] = -0.0f;
    memcpy(before, x, sizeof x);
    open_rig(&r, &dims, spelled(spec), NULL);
    const int ndim = hs_point_shape(&dims, point, 3, shape);
    hs_view view = {x, HS_F32, ndim, {3, shape[1], shape[2]}, {width, 1, 1}};
    if (ndim == 3) view.stride[1] = shape[2];
    must(r.tap->rows(r.tap->ctx, &(hs_site){point, layer, 0, 6, 3}, &view, true));
    double want[3 * MOST];
    for (int i = 0; i < 3 * MOST; i++) want[i] = (double)before[i];
    for (int row = 0; row < 3; row++) // rows 6, 7 and 8; specs say pos=6+8
        for (const part *p = parts; row != 1 && p->v; p++) {
            double along = 0, square = 0, *y = want + row * width + p->first;
            for (int k = 0; k < p->n; k++) {
                along += (double)p->v[k] * y[k];
                square += (double)p->v[k] * (double)p->v[k];
            }
            for (int k = 0; k < p->n; k++)
                y[k] += (double)p->v[k] * (add - project * along / square);
        }
    for (int i = 0; i < 3 * MOST; i++)
        if (want[i] == (double)before[i])
            assert_memory_equal(&x[i], &before[i], sizeof x[i]);
        else if (!(fabs((double)x[i] - want[i]) <= 1e-5))
            fail_msg("%s: number %d: %.9g, not %.9g", spec, i, (double)x[i], want[i]);
    close_rig(&r);
}

static void steer(void **state) {
    (void)state;
    const part row[] = {{0, D_MODEL, wide}, {0, 0, NULL}};
    const part second[] = {{0, D_MODEL, wide + D_MODEL}, {0, 0, NULL}};
    const part heads_1_3[] = {{4, 4, head_wide}, {12, 4, head_wide}, {0, 0, NULL}};
    const part group_0[] = {{0, 4, head_wide}, {0, 0, NULL}};
    const part all[] = {{0, 16, all_heads}, {0, 0, NULL}};
    const part own_2[] = {{8, 4, all_heads + 8}, {0, 0, NULL}};
    const part none[] = {{0, 0, NULL}};
    check_steer("steer:resid_pre,vec=$/d.npy,pos=6+8", HS_RESID_PRE, 1, 1, 0, row);
    check_steer("steer:resid_pre,vec=$/d.npy,pos=6+8,scale=-2.5", HS_RESID_PRE, 0, -2.5, 0, row);
    check_steer("steer:embed,vec=$/row.npy,pos=6+8", HS_EMBED, -1, 1, 0, row);
    check_steer("steer:mlp_out,vec=$/layers.npy,pos=6+8", HS_MLP_OUT, 0, 1, 0, row);
    check_steer("steer:mlp_out,vec=$/layers.npy,pos=6+8", HS_MLP_OUT, 1, 1, 0, second);
    check_steer("steer:resid_mid,vec=$/layers.npy,pos=6+8,mode=project", HS_RESID_MID, 1, 0, 1,
                second);
    check_steer("steer:resid_mid,vec=$/d.npy,pos=6+8,mode=project,scale=0.5", HS_RESID_MID, 1, 0,
                0.5, row);
    check_steer("steer:z,vec=$/head.npy,heads=L0H1+L0H3,pos=6+8", HS_Z, 0, 1, 0, heads_1_3);
    check_steer("steer:z,vec=$/head.npy,heads=L0H1+L0H3,pos=6+8,mode=project", HS_Z, 0, 0, 1,
                heads_1_3);
    check_steer("steer:k,vec=$/head.npy,heads=L0G0,pos=6+8,mode=project", HS_K, 0, 0, 1, group_0);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,mode=project", HS_Q, 0, 0, 1, all);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,heads=L0H2", HS_Q, 0, 1, 0, own_2);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,heads=L0H2,mode=project", HS_Q, 0, 0, 1, own_2);
    check_steer("steer:z,vec=$/zero.npy,pos=6+8", HS_Z, 0, 1, 0, none);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,scale=0", HS_Q, 0, 0, 0, none);
    check_steer("steer:q,vec=$/heads.npy,pos=6+8,scale=0,mode=project", HS_Q, 0, 0, 0, none);
}

static void vectors_that_do_not_fit(void **state) {
    (void)state;
    refused("steer:resid_pre", HS_EARG, "vec=FILE.npy");
    refused(spelled("steer:resid_pre,vec=$/head.npy"), HS_EARG,
            "the vector is 4 wide, and rows of resid_pre are 10");
    refused(spelled("steer:z,vec=$/d.npy"), HS_EARG,
            "the vector is 10 wide, and rows of z are 16, of one head 4");
    refused(spelled("steer:k,vec=$/heads.npy"), HS_EARG, "rows of k are 8, of one head 4");
    refused(spelled("steer:pattern,vec=$/head.npy"), HS_EARG, "pattern has no rows");
    refused(spelled("steer:z,vec=$/three.npy"), HS_EARG, "3 vectors");
    refused(spelled("steer:embed,vec=$/layers.npy"), HS_EARG, "embed belongs to none");
    refused(spelled("steer:z,vec=$/bad.npy"), HS_EARG, "number 1 of the vector is not finite");
    refused(spelled("steer:z,vec=$/zero.npy,mode=project"), HS_EARG, "no direction");
    refused(spelled("steer:z,vec=$/none.npy"), HS_EIO, "none.npy");
    refused(spelled("steer:z,vec=$"), HS_EIO, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knock),
        cmocka_unit_test(masks),
        cmocka_unit_test(topk_of_equal_scores),
        cmocka_unit_test(norms),
        cmocka_unit_test(norms_at_the_edges),
        cmocka_unit_test(published_rows_of_lssa),
        cmocka_unit_test(softplus_is_of_cosines),
        cmocka_unit_test(softplus_needs_all_keys),
        cmocka_unit_test(softplus_of_zero_vectors),
        cmocka_unit_test(copies_of_rows),
        cmocka_unit_test(copies_of_maps),
        cmocka_unit_test(what_copies_need),
        cmocka_unit_test(steer),
        cmocka_unit_test(vectors_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, write_files, remove_files);
}
