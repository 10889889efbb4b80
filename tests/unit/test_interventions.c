// knock, mask and norm on made-up maps: every number is compared with its formula, written out
// plainly, or with what it was before.
#include "tests/unit/iv_common.h"

#include <math.h>
#include <stdlib.h>

// ---- maps ---------------------------------------------------------------------------------------

// The engine's softmax of what row i sees; a row of -inf weighs nothing.
static void soften(const float *s, float *a, int i) {
    double sum = 0, most = -INFINITY;
    for (int j = 0; j <= i; j++) most = fmax(most, (double)s[j]);
    for (int j = 0; j <= i; j++) sum += most > -INFINITY ? exp((double)s[j] - most) : 0;
    for (int j = 0; j <= i; j++) a[j] = sum > 0 ? (float)(exp((double)s[j] - most) / sum) : 0;
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
