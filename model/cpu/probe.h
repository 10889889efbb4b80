// Ceilings of the machine, measured with the pool and the kernel set of an open CPU device, so
// that `bench` can say what share of them an operation reaches.
#ifndef HS_CPU_PROBE_H
#define HS_CPU_PROBE_H

#include <stdint.h>

#include "model/core/err.h"
#include "model/core/pool.h"

enum hs_probe {
    HS_PROBE_F32,  // f32 multiply-adds in registers: flops
    HS_PROBE_BF16, // products of bf16 in pairs, summed in f32: flops
    HS_PROBE_READ, // reading memory once, front to back: bytes
    HS_PROBE_COPY, // copying one half of it to the other: bytes read and written
    HS_PROBE_JOIN, // forking and joining all threads: times
    HS_N_PROBE,
};

// Does one portion of work, some milliseconds of it, on the first n_thread threads of the pool;
// the caller takes the time. *amount gets how much it was. isa: a kernel set's name, "generic"
// for an unknown one. mem: n floats, 64-byte aligned, for READ and COPY; much more than the caches
// hold.
int hs_cpu_probe(enum hs_probe what, const char *isa, hs_pool *pool, int n_thread, float *mem,
                 int64_t n, double *amount) HS_MUST_USE;

#endif
