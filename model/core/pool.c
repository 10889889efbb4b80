// The thread pool; see pool.h.
//
// A run is published by one atomic word: an epoch, an "open" bit, and how many workers are inside.
// A worker joins an epoch it has not seen while that is open; tasks are handed out by a counter.
// The caller works too, then closes the run and waits only for the workers that joined, so a
// worker that is slow to wake costs nothing. Idle workers spin for 30 us, then sleep: decoding
// starts hundreds of short runs a token, and waking a sleeper costs more than many of them.
#include "model/core/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/core/cgroup.h"
#include "model/core/mem.h"

enum { MAX_THREADS = 1024, SPIN_NS = 30000, MSG_MAX = 1024 };

// The state word: epoch << 32 | OPEN | workers inside.
static const uint64_t EPOCH = UINT64_C(1) << 32, OPEN = UINT64_C(1) << 31, INSIDE = (1u << 31) - 1;

struct worker {
    hs_pool *pool;
    pthread_t thread;
    int id;
};

struct hs_pool {
    int n_threads;
    int n_started;          // workers with a thread: ids 1 .. n_started
    struct worker *workers; // [n_threads], 0 unused

    _Atomic uint64_t state;
    _Atomic int64_t next; // task to hand out
    atomic_bool quit;

    // The run, written while it is closed and nobody is inside.
    hs_task fn;
    void *arg;
    int64_t n_task;

    pthread_mutex_t lock; // of all below, and of going to sleep
    pthread_cond_t wake, left;
    int asleep;
    int rc; // of the failing task with the lowest number
    int64_t bad_task;
    char msg[MSG_MAX];
};

// ---- how many cores -----------------------------------------------------------------------------

static int affinity_cores(void) {
    cpu_set_t sets[64]; // end to end, for machines with more cores than one set holds
    const int got = sched_getaffinity(0, sizeof sets, sets) ? 0 : CPU_COUNT_S(sizeof sets, sets);
    return got > 0 ? got : 1;
}

// cpu.max of one control group: "max 100000" or "150000 100000" (quota and period in us).
static int64_t quota_of(const char *folder) {
    char path[5000];
    long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *f = fopen(path, "re");
    if (!f) return MAX_THREADS;
    bool limited = fscanf(f, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0;
    fclose(f);
    if (!limited || quota / period >= MAX_THREADS) return MAX_THREADS;
    return (quota + period - 1) / period;
}

int hs_pool_cores(void) {
    int cores = affinity_cores(), quota = (int)hs_cgroup_least(quota_of);
    return cores < quota ? cores : quota;
}

// ---- workers ------------------------------------------------------------------------------------

static void spin_pause(void) {
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Keeps the failure of the lowest task, and stops the hand-out.
static void note_failure(hs_pool *p, int rc, int64_t task) {
    pthread_mutex_lock(&p->lock);
    if (!p->rc || task < p->bad_task) {
        p->rc = rc;
        p->bad_task = task;
        snprintf(p->msg, sizeof p->msg, "%s", hs_errmsg());
    }
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->next, p->n_task);
}

static void work(hs_pool *p, int id) {
    for (int64_t task; (task = atomic_fetch_add(&p->next, 1)) < p->n_task;) {
        int rc = p->fn(p->arg, task, id);
        if (rc) note_failure(p, rc, task);
    }
}

static bool has_run(uint64_t state, uint64_t seen) {
    return (state & OPEN) && state / EPOCH != seen;
}

// Waits for an open run newer than `seen`, or the end; spins, then sleeps.
static void wait_for_run(hs_pool *p, uint64_t seen) {
    for (int64_t until = now_ns() + SPIN_NS; now_ns() < until; spin_pause())
        if (has_run(atomic_load(&p->state), seen) || atomic_load(&p->quit)) return;
    pthread_mutex_lock(&p->lock);
    while (!has_run(atomic_load(&p->state), seen) && !atomic_load(&p->quit)) {
        p->asleep++;
        pthread_cond_wait(&p->wake, &p->lock);
        p->asleep--;
    }
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg) {
    const struct worker *w = arg;
    hs_pool *p = w->pool;
    uint64_t seen = 0;
    for (;;) {
        wait_for_run(p, seen);
        if (atomic_load(&p->quit)) return NULL;
        uint64_t state = atomic_load(&p->state);
        // Joining fails when the run closed, or when somebody else joined or left just now.
        if (!has_run(state, seen) || !atomic_compare_exchange_weak(&p->state, &state, state + 1))
            continue;
        seen = state / EPOCH;
        work(p, w->id);
        state = atomic_fetch_sub(&p->state, 1) - 1;
        if (!(state & (OPEN | INSIDE))) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->left);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

// ---- the caller ---------------------------------------------------------------------------------

static int run_inline(int64_t n, hs_task fn, void *arg) {
    for (int64_t task = 0; task < n; task++) {
        int rc = fn(arg, task, 0);
        if (rc) return rc;
    }
    return HS_OK;
}

// Nobody joins a closed run; those inside finish their task.
static void close_run(hs_pool *p) {
    if (!(atomic_fetch_and(&p->state, ~OPEN) & INSIDE)) return;
    for (int64_t until = now_ns() + SPIN_NS; now_ns() < until; spin_pause())
        if (!(atomic_load(&p->state) & INSIDE)) return;
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->state) & INSIDE) pthread_cond_wait(&p->left, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

int hs_pool_run(hs_pool *p, int64_t n, hs_task fn, void *arg) {
    if (n <= 1 || p->n_started == 0) return run_inline(n, fn, arg);
    p->fn = fn;
    p->arg = arg;
    p->n_task = n;
    p->rc = HS_OK;
    atomic_store(&p->next, 0);
    atomic_fetch_add(&p->state, EPOCH | OPEN); // nobody is inside and it is closed: no carry
    pthread_mutex_lock(&p->lock);
    for (int64_t i = 0; i < p->asleep && i < n - 1; i++) pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    close_run(p);
    return p->rc ? hs_fail(p->rc, "%s", p->msg) : HS_OK;
}

int hs_pool_threads(const hs_pool *p) {
    return p->n_threads;
}

int hs_pool_open(hs_pool **out, int n_threads) {
    *out = NULL;
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return hs_fail(HS_EARG, "%d threads: ask for 1 to %d, or 0 for all cores", n_threads,
                       MAX_THREADS);
    if (n_threads == 0) n_threads = hs_pool_cores();
    hs_pool *p;
    int rc = hs_alloc(&p, 1, sizeof *p);
    if (rc) return rc;
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->left, NULL);
    rc = hs_alloc(&p->workers, (size_t)n_threads, sizeof *p->workers);
    for (int id = 1; !rc && id < n_threads; id++) {
        struct worker *w = &p->workers[id];
        *w = (struct worker){.pool = p, .id = id};
        int err = pthread_create(&w->thread, NULL, worker_main, w);
        if (err)
            rc = hs_fail(HS_E,
                         "cannot start thread %d: %s: memory is out, or too many run: ask for "
                         "fewer with --threads",
                         id, strerror(err));
        else
            p->n_started = id;
    }
    if (rc) {
        hs_pool_close(p);
        return rc;
    }
    *out = p;
    return HS_OK;
}

void hs_pool_close(hs_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int id = 1; id <= p->n_started; id++) pthread_join(p->workers[id].thread, NULL);
    pthread_cond_destroy(&p->left);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}
