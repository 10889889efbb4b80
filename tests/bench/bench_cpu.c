// Speed of the CPU backend: matrix products against the measured peak of multiply-adds, one-row
// products against memory speed, attention with its summary, packing.
//
//     bench_cpu [threads [isa]]
//
// Best of several runs each. Not a test: nothing here fails on a slow machine.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/backend.h"
#include "model/core/prng.h"
#include "model/cpu/kern.h"

static const hs_backend *const be = &hs_backend_cpu;
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(int rc) {
    if (!rc) return;
    fprintf(stderr, "bench_cpu: %s\n", hs_errmsg());
    exit(1);
}

static float *randoms(int64_t n) {
    hs_prng g = hs_prng_seed(1);
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 63) / 64 * 64);
    if (!x) must(hs_fail(HS_ENOMEM, "out of memory"));
    for (int64_t i = 0; i < n; i++) x[i] = (float)(hs_prng_f64(&g) - 0.5);
    return x;
}

// Seconds of one call: the best of at least 5 runs and 0.3 s.
static double best(void (*call)(void *), void *arg) {
    double least = 1e9, start = now();
    for (int i = 0; i < 5 || now() - start < 0.3; i++) {
        double t = now();
        call(arg);
        t = now() - t;
        if (t < least) least = t;
    }
    return least;
}

// ---- peak ---------------------------------------------------------------------------------------

// The register tile over one row of B and of A again and again (leading dimensions 0).
struct peak {
    hs_dev *dev;
    const hs_kern *kern;
    const float *a, *b;
    float *c; // [threads][mr * nr]
};
enum { PEAK_K = 4096, PEAK_ROUNDS = 300 };

static int peak_task(void *arg, int64_t task, int worker) {
    const struct peak *p = arg;
    const hs_kern *k = p->kern;
    (void)worker;
    float *c = p->c + task * 4096;
    for (int i = 0; i < PEAK_ROUNDS; i++)
        k->gemm(c, k->nr, p->a, 0, p->b, 0, k->mr, k->nr, PEAK_K, false);
    return HS_OK;
}
static void peak_call(void *arg) {
    struct peak *p = arg;
    must(hs_pool_run(be->pool(p->dev), hs_pool_threads(be->pool(p->dev)), peak_task, p));
}

static double peak_flops(hs_dev *dev, const hs_kern *kern) {
    int threads = hs_pool_threads(be->pool(dev));
    struct peak p = {dev, kern, randoms(4096), randoms(4096), randoms(threads * 4096)};
    return 2.0 * kern->mr * kern->nr * PEAK_K * PEAK_ROUNDS * threads / best(peak_call, &p);
}

// ---- operations ---------------------------------------------------------------------------------

struct linear {
    hs_dev *dev;
    float *y;
    const float *x;
    int64_t m, n, k;
    hs_weight *w;
};
static void linear_call(void *arg) {
    struct linear *l = arg;
    must(be->linear(l->dev, &(hs_product){l->y, l->n, l->w, NULL}, 1, l->x, l->k, l->m));
}

static void linears(hs_dev *dev, double peak, enum hs_weight_mode mode, hs_dtype type) {
    static const int64_t shapes[][2] = {{576, 576},  {192, 576},   {1536, 576},
                                        {576, 1536}, {49152, 576}, {8192, 2048}};
    static const int64_t rows[] = {1, 8, 64, 256, 1024};
    const hs_dtype_traits *t = &hs_dtypes[type];
    printf("\nlinear, %s weights %s\n%14s", t->name, mode == HS_WEIGHT_KEEP ? "kept" : "expanded",
           "N x K");
    for (int r = 0; r < COUNT(rows); r++) printf("    M=%-4lld GF/s  %%", (long long)rows[r]);
    printf("   M=1 GB/s\n");
    for (int s = 0; s < COUNT(shapes); s++) {
        int64_t n = shapes[s][0], k = shapes[s][1];
        float *data = randoms(n * k), *x = randoms(1024 * k), *y = randoms(1024 * n);
        if (t->items > 1) memset(data, 0x11, (size_t)(n * k / t->items * t->bytes));
        hs_view v = {data, type, 2, {n, k}, {k, 1}};
        struct linear l = {dev, y, x, 0, n, k, NULL};
        must(be->pack(dev, &l.w, &v, NULL, mode));
        printf("%7lld x %4lld", (long long)n, (long long)k);
        double row = 0;
        for (int r = 0; r < COUNT(rows); r++) {
            l.m = rows[r];
            double seconds = best(linear_call, &l), rate = 2.0 * (double)(l.m * n * k) / seconds;
            if (r == 0) row = seconds;
            printf(" %13.1f %4.0f", rate * 1e-9, 100 * rate / peak);
        }
        printf(" %10.1f\n", 4.0 * (double)(n * k) / row * 1e-9);
        be->unpack(l.w);
        free(data), free(x), free(y);
    }
}

static void attention_call(void *arg) {
    hs_attn *const *a = arg;
    must(be->attention((hs_dev *)(void *)a[1], a[0]));
}

static void attentions(hs_dev *dev, double peak) {
    static const int64_t lengths[] = {128, 1024, 4096};
    enum { HEADS = 12, D = 64, W = HEADS * D };
    printf("\nattention, %d heads of %d, causal\n", HEADS, D);
    for (int i = 0; i < COUNT(lengths); i++) {
        int64_t t = lengths[i];
        float *q = randoms(t * W), *k = randoms(t * W), *v = randoms(t * W), *z = randoms(t * W),
              *stats = randoms(HEADS * HS_N_STAT * t);
        hs_kv *kv;
        must(be->kv_open(dev, &kv, HEADS, D, t));
        must(be->kv_put(dev, kv, 0, t, k, W, v, W));
        for (int with = 0; with < 2; with++) {
            hs_attn a = {.n_head = HEADS,
                         .n_kv_head = HEADS,
                         .d_head = D,
                         .scale = 0.125f,
                         .q = q,
                         .ld_q = W,
                         .z = z,
                         .ld_z = W,
                         .n_q = t,
                         .own = kv,
                         .stats = with ? stats : NULL};
            void *args[2] = {&a, dev};
            double seconds = best(attention_call, args);
            double flops = 2.0 * HEADS * D * (double)t * (double)(t + 1);
            printf("  T=%-5lld %-13s %8.2f ms  %5.1f GF/s of products, %2.0f %%\n", (long long)t,
                   with ? "with summary" : "plain", seconds * 1e3, flops / seconds * 1e-9,
                   100 * flops / seconds / peak);
        }
        be->kv_close(kv);
        free(q), free(k), free(v), free(z), free(stats);
    }
}

struct pack {
    hs_dev *dev;
    hs_view view;
};
static void pack_call(void *arg) {
    struct pack *p = arg;
    hs_weight *w;
    must(be->pack(p->dev, &w, &p->view, NULL, HS_WEIGHT_EXPAND));
    be->unpack(w);
}

static void packs(hs_dev *dev) {
    static const hs_dtype types[] = {HS_F32, HS_F16, HS_BF16, HS_Q4_1, HS_Q8_0, HS_Q6_K};
    enum { N = 8192, K = 2048 };
    float *data = randoms((int64_t)N * K);
    printf("\npacking %d x %d\n", N, K);
    for (int i = 0; i <= COUNT(types); i++) {
        bool turned = i == COUNT(types);
        hs_dtype type = turned ? HS_F32 : types[i];
        struct pack p = {dev, {data, type, 2, {N, K}, {turned ? 1 : K, turned ? N : 1}}};
        if (!turned && hs_dtypes[type].items > 1) memset(data, 0x11, sizeof *data * N * K);
        double seconds = best(pack_call, &p);
        printf("  %-5s%-11s %5.2f Gweights/s\n", hs_dtypes[type].name, turned ? " transposed" : "",
               (double)N * K / seconds * 1e-9);
    }
    free(data);
}

struct elements {
    hs_dev *dev;
    float *x, *y;
    int64_t n;
    int kind;
};
static void act_call(void *arg) {
    struct elements *e = arg;
    must(be->act(e->dev, e->y, e->x, e->x, e->n, (enum hs_act)e->kind));
}
static void norm_call(void *arg) {
    struct elements *e = arg;
    static float scale[1 << 12];
    must(be->norm_scale(e->dev, scale, e->y, e->x, e->n / 576, 576, HS_NORM_RMS, 1e-5));
}

static void elements(hs_dev *dev) {
    static const char *const names[HS_ACT_N] = {"silu", "gelu", "gelu_tanh", "gelu_quick", "relu"};
    struct elements e = {dev, randoms(1 << 20), randoms(1 << 20), 1 << 20, 0};
    printf("\nelement-wise, 1 M numbers\n");
    for (e.kind = 0; e.kind < HS_ACT_N; e.kind++)
        printf("  %-10s %5.2f G/s\n", names[e.kind], (double)e.n / best(act_call, &e) * 1e-9);
    printf("  %-10s %5.2f G/s\n", "norm (rms)", (double)e.n / best(norm_call, &e) * 1e-9);
    free(e.x), free(e.y);
}

int main(int argc, char **argv) {
    hs_dev *dev;
    must(be->open(&dev, &(hs_dev_opts){.threads = argc > 1 ? atoi(argv[1]) : 0,
                                       .isa = argc > 2 ? argv[2] : NULL}));
    const hs_kern *kern = &hs_kern_generic;
#if defined __x86_64__
    if (!strcmp(be->isa(dev), "avx2")) kern = &hs_kern_avx2;
    if (!strcmp(be->isa(dev), "avx512")) kern = &hs_kern_avx512;
#endif
    double peak = peak_flops(dev, kern);
    printf("%s, %d threads, peak %.0f GF/s\n", be->isa(dev), hs_pool_threads(be->pool(dev)),
           peak * 1e-9);
    linears(dev, peak, HS_WEIGHT_EXPAND, HS_F32);
    linears(dev, peak, HS_WEIGHT_KEEP, HS_Q4_1);
    attentions(dev, peak);
    packs(dev);
    elements(dev);
    be->close(dev);
    return 0;
}
