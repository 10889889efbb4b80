// The thread pool: every task once, on a worker that exists, whatever the number of threads;
// errors with their messages; many short runs.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model/core/pool.h"

static const int counts[] = {1, 2, 3, 7};
enum { N_COUNTS = sizeof counts / sizeof *counts, N = 1000 };

struct job {
    atomic_int runs[N];
    atomic_int wrong_worker;
    atomic_int in_use[8]; // a worker runs one task at a time
    int threads;
    int64_t bad_from; // this task and all after it fail
    int64_t sum;      // written by one task, read by the caller: publication
};

static int count_task(void *arg, int64_t task, int worker) {
    struct job *j = arg;
    if (worker < 0 || worker >= j->threads)
        atomic_fetch_add(&j->wrong_worker, 1);
    else if (atomic_fetch_add(&j->in_use[worker], 1))
        atomic_fetch_add(&j->wrong_worker, 1);
    atomic_fetch_add(&j->runs[task], 1);
    if (worker >= 0 && worker < j->threads) atomic_fetch_sub(&j->in_use[worker], 1);
    return HS_OK;
}

static void every_task_runs_once(void **state) {
    (void)state;
    for (int c = 0; c < N_COUNTS; c++) {
        hs_pool *p;
        assert_int_equal(hs_pool_open(&p, counts[c]), HS_OK);
        assert_int_equal(hs_pool_threads(p), counts[c]);
        for (int n = 0; n <= N; n = n * 3 + 1) {
            static struct job j;
            memset(&j, 0, sizeof j);
            j.threads = counts[c];
            assert_int_equal(hs_pool_run(p, n, count_task, &j), HS_OK);
            for (int i = 0; i < N; i++) assert_int_equal(atomic_load(&j.runs[i]), i < n);
            assert_int_equal(atomic_load(&j.wrong_worker), 0);
        }
        hs_pool_close(p);
    }
}

static int fail_task(void *arg, int64_t task, int worker) {
    struct job *j = arg;
    (void)worker;
    atomic_fetch_add(&j->runs[task], 1);
    if (task < j->bad_from) return HS_OK;
    return hs_fail(task % 2 ? HS_EIO : HS_EARG, "task %d is bad", (int)task);
}

static void the_lowest_failure_reaches_the_caller(void **state) {
    (void)state;
    for (int c = 0; c < N_COUNTS; c++) {
        hs_pool *p;
        assert_int_equal(hs_pool_open(&p, counts[c]), HS_OK);
        for (int round = 0; round < 200; round++) {
            static struct job j;
            memset(&j, 0, sizeof j);
            j.bad_from = round % 90;
            int rc = hs_pool_run(p, N, fail_task, &j);
            // Tasks go out in order, so the first bad one always runs.
            assert_int_equal(rc, j.bad_from % 2 ? HS_EIO : HS_EARG);
            char want[32];
            snprintf(want, sizeof want, "task %d is bad", (int)j.bad_from);
            assert_string_equal(hs_errmsg(), want);
            int ran = 0;
            for (int i = 0; i < N; i++) {
                assert_true(atomic_load(&j.runs[i]) <= 1);
                ran += atomic_load(&j.runs[i]);
            }
            // A worker that failed stops the hand-out before it asks for more.
            assert_true(ran > j.bad_from && ran <= j.bad_from + counts[c]);
        }
        // A failed run leaves no trace in the next.
        static struct job ok;
        memset(&ok, 0, sizeof ok);
        ok.threads = counts[c];
        assert_int_equal(hs_pool_run(p, 50, count_task, &ok), HS_OK);
        hs_pool_close(p);
    }
}

static int same_thread(void *arg, int64_t task, int worker) {
    (void)task;
    return pthread_equal(*(pthread_t *)arg, pthread_self()) && worker == 0 ? HS_OK : HS_E;
}

static void one_thread_or_task_runs_in_the_caller(void **state) {
    (void)state;
    pthread_t self = pthread_self();
    hs_pool *p;
    assert_int_equal(hs_pool_open(&p, 1), HS_OK);
    assert_int_equal(hs_pool_run(p, 100, same_thread, &self), HS_OK);
    hs_pool_close(p);
    assert_int_equal(hs_pool_open(&p, 3), HS_OK);
    for (int i = 0; i < 3000; i++) assert_int_equal(hs_pool_run(p, 1, same_thread, &self), HS_OK);
    hs_pool_close(p);
}

struct pair {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int here;
};

// Both tasks wait for each other: only two threads at once can finish this.
static int meet(void *arg, int64_t task, int worker) {
    struct pair *pair = arg;
    (void)task;
    (void)worker;
    pthread_mutex_lock(&pair->lock);
    pair->here++;
    pthread_cond_broadcast(&pair->met);
    while (pair->here < 2) pthread_cond_wait(&pair->met, &pair->lock);
    pthread_mutex_unlock(&pair->lock);
    return HS_OK;
}

static void tasks_run_at_the_same_time(void **state) {
    (void)state;
    hs_pool *p;
    assert_int_equal(hs_pool_open(&p, 2), HS_OK);
    for (int round = 0; round < 100; round++) {
        struct pair pair = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
        // Now and then the worker has gone to sleep before.
        if (round % 10 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        assert_int_equal(hs_pool_run(p, 2, meet, &pair), HS_OK);
    }
    hs_pool_close(p);
}

static int write_sum(void *arg, int64_t task, int worker) {
    struct job *j = arg;
    (void)worker;
    if (task == 1) j->sum++;
    return HS_OK;
}

static void many_short_runs(void **state) {
    (void)state;
    for (int c = 0; c < N_COUNTS; c++) {
        static struct job j;
        hs_pool *p;
        memset(&j, 0, sizeof j);
        assert_int_equal(hs_pool_open(&p, counts[c]), HS_OK);
        for (int i = 0; i < 3000; i++) assert_int_equal(hs_pool_run(p, 4, write_sum, &j), HS_OK);
        assert_int_equal(j.sum, 3000);
        hs_pool_close(p);
    }
}

static void opening_checks_and_defaults(void **state) {
    (void)state;
    hs_pool *p;
    assert_int_equal(hs_pool_open(&p, -1), HS_EARG);
    assert_null(p);
    assert_int_equal(hs_pool_open(&p, 100000), HS_EARG);
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(hs_pool_open(&p, 0), HS_OK);
    assert_true(hs_pool_threads(p) >= 1 && hs_pool_threads(p) <= CPU_COUNT(&all));
    hs_pool_close(p);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(hs_pool_open(&p, 0), HS_OK);
    assert_int_equal(hs_pool_threads(p), 1);
    hs_pool_close(p);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    hs_pool_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(the_lowest_failure_reaches_the_caller),
        cmocka_unit_test(one_thread_or_task_runs_in_the_caller),
        cmocka_unit_test(tasks_run_at_the_same_time),
        cmocka_unit_test(many_short_runs),
        cmocka_unit_test(opening_checks_and_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
