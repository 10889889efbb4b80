// Timing and tables of `headscope bench`.
//
// A time is the least of several repetitions: what else the machine does can only add to it. They
// go on until there are enough of them and enough time has gone into them, so short things are
// repeated more often.
#include "cli/bench/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/core/prng.h"
#include "model/elem.h"

// ---- timing -------------------------------------------------------------------------------------

enum { MAX_TURNS = 1000 };

void hs_bench_stage(hs_bench *b, const char *stage, int64_t total) {
    b->stage = stage;
    b->done = 0;
    b->total = total;
}

int hs_bench_layer_done(void *ctx, int layer) {
    hs_bench *b = ctx;
    (void)layer;
    return hs_progress_step(&b->bar.progress, b->stage, b->done, b->total);
}

static int repeat(hs_thing *t) {
    double own = -1, start = hs_now();
    int rc = t->fn(t->arg, &own);
    const double took = own >= 0 ? own : hs_now() - start;
    if (took < t->seconds) t->seconds = took;
    return rc;
}

// Judged by the least times, so that one long interruption does not end the search.
static bool enough(const hs_bench *b, int n, const hs_thing *things, int turns) {
    double one = 0;
    for (int i = 0; i < n; i++) one += things[i].seconds;
    return turns >= b->least && (turns * one >= n * (b->quick ? 0.03 : 0.25) || turns >= MAX_TURNS);
}

int hs_bench_best(hs_bench *b, int n, hs_thing *things) {
    int rc = HS_OK;
    for (int i = 0; i < n; i++) things[i].seconds = INFINITY;
    for (int turns = 0; !rc && (turns == 0 || !enough(b, n, things, turns)); turns++)
        for (int i = 0; !rc && i < n; i++) {
            rc = hs_bench_layer_done(b, 0);
            if (!rc) rc = repeat(&things[i]);
        }
    if (b->done < b->total) b->done++;
    return rc;
}

int hs_bench_one(hs_bench *b, hs_timed *fn, void *arg, double *seconds) {
    hs_thing t = {fn, arg, 0};
    int rc = hs_bench_best(b, 1, &t);
    *seconds = t.seconds;
    return rc;
}

int hs_bench_numbers(const hs_bench *b, void *out, int64_t n) {
    const int dtype = hs_model_backend(b->model)->dtype;
    hs_prng g = hs_prng_seed(1);
    void **at = out;
    int rc = hs_alloc(at, (size_t)n, (size_t)hs_dtypes[dtype].bytes);
    for (int64_t i = 0; !rc && i < n; i++) hs_elem_set(dtype, *at, i, hs_prng_f64(&g) - 0.5);
    return rc;
}

int hs_bench_tokens(const hs_bench *b, int32_t **out, int64_t n) {
    hs_prng g = hs_prng_seed(2);
    int rc = hs_alloc(out, (size_t)n, sizeof **out);
    for (int64_t i = 0; !rc && i < n; i++)
        (*out)[i] = (int32_t)hs_prng_below(&g, (uint64_t)hs_model_config(b->model)->n_vocab);
    return rc;
}

int hs_bench_lengths(const hs_bench *b, int n_usual, const int64_t *usual, int64_t *out) {
    const int64_t n_ctx = hs_cli_n_ctx(b->model);
    int n = 0;
    out[0] = b->tokens ? b->tokens : n_ctx;
    for (int i = 0; !b->tokens && i < n_usual && usual[i] <= n_ctx; i++) out[n++] = usual[i];
    return n ? n : 1;
}

// ---- results ------------------------------------------------------------------------------------

enum { N_COLUMN = 14 };

// Numbers are whole for scripts and rounded, in handier units, for people.
static int open_table(hs_table **out, const char *name_key, const char *name, const char *n_key) {
    const hs_col columns[N_COLUMN] = {
        {name_key, name, 0},
        {"detail", "", 0},
        {n_key, n_key, 0},
        {"seconds", NULL, -1},
        {NULL, "ms", 3},
        {"rate", "rate", 1},
        {"unit", "", 0},
        {"share", NULL, -1},
        {NULL, "%", 0},
        {"of", "of", 0},
        {"cost", NULL, -1},
        {NULL, "cost %", 1},
        {"weights_per_s", NULL, -1},
        {NULL, "Gweights/s", 2},
    };
    return hs_table_open(out, columns, N_COLUMN);
}

int hs_bench_tables(hs_bench *b) {
    int rc = open_table(&b->ops, "op", "operation", "rows");
    return rc ? rc : open_table(&b->jobs, "job", "job", "tokens");
}

// In JSON and, times `scale`, for people.
static void number(hs_table *t, double v, double scale, bool there) {
    there = there && isfinite(v);
    hs_table_num(t, there ? v : NAN);
    if (scale != 0) hs_table_num(t, there ? v * scale : NAN);
}

void hs_bench_add(hs_table *t, const hs_bench_row *r) {
    const bool shared = isfinite(r->share) && r->share > 0;
    hs_table_str(t, r->name);
    hs_table_str(t, r->detail);
    if (r->n)
        hs_table_int(t, r->n);
    else
        hs_table_null(t);
    number(t, r->seconds, 1e3, r->seconds > 0);
    number(t, r->rate, 0, r->rate > 0);
    hs_table_str(t, r->rate > 0 ? r->unit : NULL);
    number(t, r->share, 100, shared);
    hs_table_str(t, shared ? r->of : NULL);
    number(t, r->cost, 100, r->has_cost);
    number(t, r->weights, 1e-9, r->weights > 0);
}

// ---- the machine --------------------------------------------------------------------------------

typedef struct figure {
    const char *key, *title, *unit;
    double one, all, scale; // one: on one thread, 0 where that makes no sense
} figure;
enum { N_FIGURE = 7 };

static void figures(const hs_ceilings *c, figure out[N_FIGURE]) {
    const figure all[N_FIGURE] = {
        {"f32_gflops", "f32 products", "GF/s", c->f32[0], c->f32[1], 1e-9},
        {"bf16_gflops", "bf16 products", "GF/s", c->bf16[0], c->bf16[1], 1e-9},
        {"read_gbs", "memory, read", "GB/s", c->read[0], c->read[1], 1e-9},
        {"copy_gbs", "memory, copied", "GB/s", c->copy[0], c->copy[1], 1e-9},
        {"disk_mbs", "disk, written and synced", "MB/s", 0, c->disk, 1e-6},
        {"sync_ms", "disk, 4 KB written and synced", "ms", 0, c->sync, 1e3},
        {"join_us", "fork and join", "us", 0, c->join, 1e6},
    };
    memcpy(out, all, sizeof all);
}

// "AMD EPYC 9454" from /proc, or nothing.
static void cpu_name(char *out, size_t n) {
    char line[256];
    *out = 0;
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && !*out && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        snprintf(out, n, "%s", value + 1 + strspn(value + 1, " "));
        out[strcspn(out, "\n")] = 0;
    }
    if (f) fclose(f);
}

static void json_machine(const hs_bench *b, hs_jw *j, const char *cpu) {
    const hs_backend *be = hs_model_backend(b->model);
    hs_dev *dev = hs_model_dev(b->model);
    figure f[N_FIGURE];
    char key[32];
    figures(&b->ceiling, f);
    hs_jw_key(j, "machine");
    hs_jw_begin(j, '{');
    hs_jw_key(j, "cpu");
    hs_jw_str(j, cpu);
    hs_jw_key(j, "isa");
    hs_jw_str(j, be->isa(dev));
    hs_jw_key(j, "threads");
    hs_jw_int(j, hs_pool_threads(be->pool(dev)));
    hs_jw_key(j, "load_before");
    hs_jw_num(j, b->load);
    for (int i = 0; i < N_FIGURE; i++) {
        if (f[i].one != 0) { // NaN too
            snprintf(key, sizeof key, "%s_1", f[i].key);
            hs_jw_key(j, key);
            hs_jw_num(j, f[i].one * f[i].scale);
        }
        hs_jw_key(j, f[i].key);
        hs_jw_num(j, f[i].all * f[i].scale);
    }
    hs_jw_end(j, '}');
}

static int put_json(hs_bench *b, const char *cpu) {
    hs_buf text = {0};
    hs_jw j = {&text, false};
    hs_jw_begin(&j, '{');
    json_machine(b, &j, cpu);
    hs_jw_key(&j, "model");
    hs_jw_str(&j, b->path);
    hs_jw_key(&j, "repetitions");
    hs_jw_int(&j, b->least);
    hs_jw_key(&j, "quick");
    hs_jw_bool(&j, b->quick);
    hs_table_json(b->ops, &j, "ops");
    hs_table_json(b->jobs, &j, "jobs");
    hs_jw_end(&j, '}');
    return hs_json_put(&text);
}

static int put_machine(const hs_bench *b, const char *cpu, const hs_out_options *out) {
    static const hs_col columns[] = {
        {"", "ceiling", 0}, {"", "1 thread", 1}, {"", "all", 1}, {"", "", 0}};
    const hs_backend *be = hs_model_backend(b->model);
    hs_dev *dev = hs_model_dev(b->model);
    figure f[N_FIGURE];
    hs_table *t;
    int rc = hs_table_open(&t, columns, 4);
    if (rc) return rc;
    const int threads = hs_pool_threads(be->pool(dev));
    printf("%s%s%s kernels, %d thread%s; best of %d repetitions or more\n\n", cpu, *cpu ? ", " : "",
           be->isa(dev), threads, threads == 1 ? "" : "s", b->least);
    figures(&b->ceiling, f);
    for (int i = 0; i < N_FIGURE; i++) {
        hs_table_str(t, f[i].title);
        number(t, f[i].one * f[i].scale, 0, f[i].one != 0);
        number(t, f[i].all * f[i].scale, 0, true);
        hs_table_str(t, f[i].unit);
    }
    rc = hs_table_put(t, b->call, out);
    hs_table_close(t);
    return rc;
}

int hs_bench_put(hs_bench *b, const hs_out_options *out) {
    char cpu[200];
    cpu_name(cpu, sizeof cpu);
    if (out->json) return put_json(b, cpu);
    int rc = put_machine(b, cpu, out);
    const hs_table *const tables[] = {b->ops, b->jobs};
    for (int i = 0; i < 2 && !rc; i++) {
        if (!hs_table_rows(tables[i])) continue;
        putchar('\n');
        rc = hs_table_put(tables[i], b->call, out);
    }
    return rc;
}
