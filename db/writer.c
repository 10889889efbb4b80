// The writer thread; see writer_internal.h. The message of a row is one block of memory: the
// message, its values, the statement's text, then the bytes of texts and blobs. The others are
// waited for, so they live on their sender's stack.
#include "db/writer_internal.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum kind { BEGIN, ROW, COMMIT, ROLLBACK, STOP };

typedef struct message {
    struct message *next;
    enum kind kind;
    size_t bytes; // what it counts for in the queue
    const char *sql;
    int n;
    void *own; // a blob taken over, NULL when none
    hs_v v[];
} message;

struct hs_writer {
    hs_apply *apply;
    size_t max_bytes;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled, drained;
    message *head, **tail;
    size_t bytes;         // waiting or in work
    int64_t queued, done; // messages, for waiting
    int rc;               // the first failure since the last rollback
    char error[1024];
};

static int run_message(hs_writer *w, const message *m) {
    switch (m->kind) {
    case BEGIN:
        return hs_apply_begin(w->apply);
    case ROW:
        return hs_apply_row(w->apply, m->sql, m->v, m->n);
    case COMMIT:
        return hs_apply_commit(w->apply);
    default:
        hs_apply_rollback(w->apply);
        return HS_OK;
    }
}

// Takes messages in order until STOP. After a failure they are dropped, up to the next ROLLBACK.
static void *work(void *arg) {
    hs_writer *w = arg;
    for (bool stop = false; !stop;) {
        pthread_mutex_lock(&w->lock);
        while (!w->head) pthread_cond_wait(&w->filled, &w->lock);
        message *m = w->head;
        w->head = m->next;
        if (!w->head) w->tail = &w->head;
        int rc = w->rc;
        pthread_mutex_unlock(&w->lock);

        stop = m->kind == STOP;
        bool run = rc == HS_OK || m->kind == ROLLBACK || stop;
        if (run) rc = run_message(w, m);
        size_t bytes = m->bytes;
        bool row = m->kind == ROW;

        pthread_mutex_lock(&w->lock);
        if (run && rc) snprintf(w->error, sizeof w->error, "%s", hs_errmsg());
        if (!stop) w->rc = rc; // a rollback's is HS_OK
        w->bytes -= bytes;
        w->done++;
        pthread_cond_broadcast(&w->drained);
        pthread_mutex_unlock(&w->lock);
        if (row) { // any other is gone with its sender's frame
            free(m->own);
            free(m);
        }
    }
    return NULL;
}

int hs_writer_open(hs_writer **out, hs_db *db, size_t max_bytes) {
    hs_writer *w;
    *out = NULL;
    int rc = hs_alloc(&w, 1, sizeof *w);
    if (rc) return rc;
    w->tail = &w->head;
    w->max_bytes = max_bytes;
    rc = hs_apply_open(&w->apply, db);
    if (rc) {
        free(w);
        return rc;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->filled, NULL);
    pthread_cond_init(&w->drained, NULL);
    if (pthread_create(&w->thread, NULL, work, w)) {
        hs_apply_close(w->apply);
        free(w);
        return hs_fail(HS_E, "cannot start the writer's thread");
    }
    *out = w;
    return HS_OK;
}

// Called with the lock held.
static int failure(const hs_writer *w) {
    return w->rc ? hs_fail(w->rc, "%s", w->error) : HS_OK;
}

// Queues m, waiting for room first; with `wait`, until it was worked on.
static int push(hs_writer *w, message *m, bool wait) {
    pthread_mutex_lock(&w->lock);
    while (w->bytes && w->bytes + m->bytes > w->max_bytes) pthread_cond_wait(&w->drained, &w->lock);
    *w->tail = m;
    w->tail = &m->next;
    w->bytes += m->bytes;
    int64_t mine = ++w->queued;
    pthread_cond_signal(&w->filled);
    while (wait && w->done < mine) pthread_cond_wait(&w->drained, &w->lock);
    int rc = failure(w);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static int push_kind(hs_writer *w, enum kind kind) {
    message m = {.kind = kind};
    return push(w, &m, true);
}

static bool has_bytes(const hs_v *v) {
    return v->type == HS_V_TEXT || v->type == HS_V_BLOB;
}

// A message with the values and bytes copied; the last value's bytes are left out when given.
static int make_row(message **out, const char *sql, const hs_v *v, int n, bool give) {
    size_t text = strlen(sql) + 1, bytes = text, head = sizeof **out + (size_t)n * sizeof *v;
    int copied = give ? n - 1 : n;
    for (int i = 0; i < copied; i++)
        if (has_bytes(&v[i])) bytes += v[i].n;
    int rc = hs_alloc(out, 1, head + bytes);
    if (rc) return rc;
    message *m = *out;
    m->kind = ROW;
    m->n = n;
    m->bytes = head + bytes + (give ? v[n - 1].n : 0);
    if (n) memcpy(m->v, v, (size_t)n * sizeof *v);
    char *at = (char *)m + head;
    m->sql = memcpy(at, sql, text);
    at += text;
    for (int i = 0; i < copied; i++)
        if (has_bytes(&v[i])) {
            if (v[i].n) memcpy(at, v[i].p, v[i].n);
            m->v[i].p = at;
            at += v[i].n;
        }
    return HS_OK;
}

int hs_writer_begin(hs_writer *w) {
    return push_kind(w, BEGIN);
}

int hs_writer_row(hs_writer *w, const char *sql, const hs_v *v, int n) {
    message *m;
    int rc = make_row(&m, sql, v, n, false);
    return rc ? rc : push(w, m, false);
}

int hs_writer_give(hs_writer *w, const char *sql, const hs_v *v, int n) {
    message *m;
    void *own;
    memcpy(&own, &v[n - 1].p, sizeof own); // the value's pointer is const, the block is ours
    int rc = make_row(&m, sql, v, n, true);
    if (rc) {
        free(own);
        return rc;
    }
    m->own = own;
    return push(w, m, false);
}

int hs_writer_commit(hs_writer *w) {
    return push_kind(w, COMMIT);
}

void hs_writer_rollback(hs_writer *w) {
    int rc = push_kind(w, ROLLBACK);
    assert(rc == HS_OK);
    (void)rc;
}

int hs_writer_close(hs_writer *w) {
    if (!w) return HS_OK;
    int rc = push_kind(w, STOP);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->filled);
    pthread_cond_destroy(&w->drained);
    hs_apply_close(w->apply);
    free(w);
    return rc;
}

static int sink_row(void *ctx, const char *sql, const hs_v *v, int n) {
    return hs_writer_row(ctx, sql, v, n);
}

hs_sink hs_writer_sink(hs_writer *w) {
    return (hs_sink){w, sink_row};
}
