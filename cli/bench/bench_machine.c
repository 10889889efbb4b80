// What the machine can do at most: products, memory, forks and joins through the probes of
// model/cpu/probe.h, the disk by a file that is written and synced.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "model/core/mem.h"
#include "model/core/prng.h"
#include "model/cpu/probe.h"

enum {
    CACHES = 4, // so many times the last cache is what reading and copying go over, within
    MEMORY_LEAST = 256 << 20,
    MEMORY_MOST = 1 << 30, // in bytes
    DISK_BLOCK = 8 << 20,
    SMALL = 4096,
};

// ---- probes -------------------------------------------------------------------------------------

typedef struct probing {
    enum hs_probe what;
    const char *isa;
    hs_pool *pool;
    int threads;
    float *memory;
    int64_t n;
    double amount;
} probing;

static int probe(void *arg, double *seconds) {
    probing *p = arg;
    (void)seconds;
    return hs_cpu_probe(p->what, p->isa, p->pool, p->threads, p->memory, p->n, &p->amount);
}

static int64_t memory_bytes(void) {
    int64_t kib = 0;
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "re");
    if (f && fscanf(f, "%" SCNd64 "K", &kib) != 1) kib = 0;
    if (f) fclose(f);
    if (kib > MEMORY_MOST / 1024 / CACHES) return MEMORY_MOST;
    return CACHES * kib * 1024 > MEMORY_LEAST ? CACHES * kib * 1024 : MEMORY_LEAST;
}

static int probe_all(hs_bench *b, const probing *like) {
    hs_ceilings *c = &b->ceiling;
    const int all = hs_pool_threads(like->pool);
    const struct {
        enum hs_probe what;
        int threads;
        double *to;
        bool each; // seconds of one, not how many a second
    } probes[] = {
        {HS_PROBE_F32, 1, &c->f32[0], false},   {HS_PROBE_F32, all, &c->f32[1], false},
        {HS_PROBE_BF16, 1, &c->bf16[0], false}, {HS_PROBE_BF16, all, &c->bf16[1], false},
        {HS_PROBE_READ, 1, &c->read[0], false}, {HS_PROBE_READ, all, &c->read[1], false},
        {HS_PROBE_COPY, 1, &c->copy[0], false}, {HS_PROBE_COPY, all, &c->copy[1], false},
        {HS_PROBE_JOIN, all, &c->join, true},
    };
    enum { N = sizeof probes / sizeof *probes };
    probing p[N];
    hs_thing things[N];
    for (int i = 0; i < N; i++) {
        p[i] = *like;
        p[i].what = probes[i].what;
        p[i].threads = probes[i].threads;
        things[i] = (hs_thing){probe, &p[i], 0};
    }
    int rc = hs_bench_best(b, N, things);
    for (int i = 0; i < N && !rc; i++) {
        const double s = things[i].seconds;
        *probes[i].to = probes[i].each ? s / p[i].amount : p[i].amount / s;
    }
    return rc;
}

// ---- the disk -----------------------------------------------------------------------------------

typedef struct writing {
    const hs_bench *b;
    const char *block; // [DISK_BLOCK]
    int64_t bytes;     // a multiple of it, or less than it
} writing;

static int write_all(int file, const writing *w) {
    for (int64_t left = w->bytes; left > 0;) {
        const int64_t n = left < DISK_BLOCK ? left : DISK_BLOCK;
        ssize_t wrote = write(file, w->block, (size_t)n);
        if (wrote < 0 && errno != EINTR) return -1;
        if (wrote > 0) left -= wrote;
    }
    return fsync(file);
}

// The file has no name any more while it is written, so nothing can stay behind.
static int write_synced(void *arg, double *seconds) {
    const writing *w = arg;
    char path[sizeof w->b->dir + 16];
    snprintf(path, sizeof path, "%s/disk", w->b->dir);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0) unlink(path);
    double start = hs_now();
    int rc = HS_OK;
    if (file < 0 || write_all(file, w)) rc = hs_fail(HS_EIO, "%s: %s", path, strerror(errno));
    *seconds = hs_now() - start;
    if (file >= 0) close(file);
    return rc;
}

// Random bytes, which no file system makes smaller.
static int disk(hs_bench *b) {
    hs_prng g = hs_prng_seed(3);
    uint64_t *block;
    int rc = hs_alloc(&block, DISK_BLOCK, 1);
    if (rc) return rc;
    for (size_t i = 0; i < DISK_BLOCK / sizeof *block; i++) block[i] = hs_prng_u64(&g);
    writing large = {b, (const char *)block, (b->quick ? 8 : 32) * (int64_t)DISK_BLOCK};
    writing small = {b, (const char *)block, SMALL};
    double seconds = NAN;
    rc = hs_bench_one(b, write_synced, &large, &seconds);
    b->ceiling.disk = (double)large.bytes / seconds;
    if (!rc) rc = hs_bench_one(b, write_synced, &small, &b->ceiling.sync);
    free(block);
    return rc;
}

int hs_bench_machine(hs_bench *b) {
    const hs_backend *be = &hs_backend_cpu;
    const int64_t bytes = memory_bytes();
    hs_dev_opts opts;
    hs_dev *dev;
    probing p = {.n = bytes / (int64_t)sizeof(float)};
    int rc = hs_cli_dev(b->options, &opts);
    if (!rc) rc = be->open(&dev, &opts);
    if (rc) return rc;
    p.isa = be->isa(dev);
    p.pool = be->pool(dev);
    hs_bench_stage(b, "measuring the machine", 3);
    rc = hs_alloc(&p.memory, (size_t)p.n, sizeof *p.memory);
    if (!rc)
        memset(p.memory, 1, (size_t)p.n * sizeof *p.memory); // pages of its own, no shared zero
    if (!rc) rc = probe_all(b, &p);
    free(p.memory);
    be->close(dev);
    return rc ? rc : disk(b);
}
