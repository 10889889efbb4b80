// Ceilings of the machine: one task a thread, each its own share of the memory or a fixed number
// of steps in registers. See probe.h.
#include "model/cpu/probe.h"

#include <stdatomic.h>
#include <string.h>

#include "model/cpu/kern.h"

enum {
    STEPS = 1000000,
    JOINS = 1000,
    PATIENCE = 1 << 20, // turns that a task waits for the others: a thread may be missing
    GRAIN = 1024,       // floats; a share is a multiple of it
};

struct job {
    enum hs_probe what;
    const hs_kern *kern;
    int n_task;
    float *mem;
    int64_t share; // floats of a task
    atomic_int here;
    _Atomic float sink; // keeps results, and with them the work
};

// ---- tasks --------------------------------------------------------------------------------------

// Every task is on a thread of its own: each waits until all have come.
static void meet(struct job *j) {
    atomic_fetch_add(&j->here, 1);
    for (int i = 0; i < PATIENCE && atomic_load(&j->here) < j->n_task; i++) {
    }
}

static int probe_task(void *arg, int64_t task, int worker) {
    struct job *j = arg;
    float *mem = j->mem + task * j->share;
    (void)worker;
    switch (j->what) {
    case HS_PROBE_F32:
        j->sink = j->kern->probe.fma(STEPS);
        break;
    case HS_PROBE_BF16:
        j->sink = j->kern->probe.dot(STEPS);
        break;
    case HS_PROBE_READ:
        j->sink = j->kern->probe.read(mem, j->share);
        break;
    case HS_PROBE_COPY:
        memcpy(mem, mem + j->n_task * j->share, (size_t)j->share * sizeof *mem);
        break;
    default:
        meet(j);
    }
    return HS_OK;
}

static const hs_kern *kern_of(const char *isa) {
#if defined __x86_64__
    if (!strcmp(isa, hs_kern_avx512bf16.name)) return &hs_kern_avx512bf16;
    if (!strcmp(isa, hs_kern_avx512.name)) return &hs_kern_avx512;
    if (!strcmp(isa, hs_kern_avx2.name)) return &hs_kern_avx2;
#endif
    (void)isa;
    return &hs_kern_generic;
}

int hs_cpu_probe(enum hs_probe what, const char *isa, hs_pool *pool, int n_thread, float *mem,
                 int64_t n, double *amount) {
    struct job j = {.what = what, .kern = kern_of(isa), .n_task = n_thread, .mem = mem};
    const int64_t parts = what == HS_PROBE_COPY ? 2 * (int64_t)n_thread : n_thread;
    int rc = HS_OK;
    j.share = n / parts / GRAIN * GRAIN;
    const double amounts[HS_N_PROBE] = {
        [HS_PROBE_F32] = (double)STEPS * (double)j.kern->probe.flops * n_thread,
        [HS_PROBE_BF16] = (double)STEPS * (double)j.kern->probe.flops * n_thread * 2,
        [HS_PROBE_READ] = (double)(j.share * parts) * sizeof *mem,
        [HS_PROBE_COPY] = (double)(j.share * parts) * sizeof *mem,
        [HS_PROBE_JOIN] = JOINS,
    };
    *amount = amounts[what];
    for (int i = 0; i < (what == HS_PROBE_JOIN ? JOINS : 1) && !rc; i++) {
        j.here = 0;
        rc = hs_pool_run(pool, n_thread, probe_task, &j);
    }
    return rc;
}
