// The thread pool: fork-join over a fixed grid of tasks. Threads pick tasks, they never define
// them, so results do not depend on the number of threads.
#ifndef HS_CORE_POOL_H
#define HS_CORE_POOL_H

#include <stdint.h>

#include "model/core/err.h"

typedef struct hs_pool hs_pool;

// One task; worker in [0, threads) names per-thread scratch. Returns an hs_rc; the first failing
// task (lowest number among those that ran) stops the hand-out, and its code and message go to
// the caller of hs_pool_run.
typedef int (*hs_task)(void *arg, int64_t task, int worker);

// n_threads 0: all the cores this process may use. The caller counts as worker 0.
int hs_pool_open(hs_pool **out, int n_threads) HS_MUST_USE;
void hs_pool_close(hs_pool *);
int hs_pool_threads(const hs_pool *);
int hs_pool_cores(void); // that this process may use: its affinity, its control groups' quota

// Runs tasks 0..n-1, each once, handed out in increasing order; returns when all are done. Not
// re-entrant: one caller at a time, and never from inside a task.
int hs_pool_run(hs_pool *, int64_t n, hs_task fn, void *arg) HS_MUST_USE;

#endif
