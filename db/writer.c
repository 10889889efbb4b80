// The writer thread; see writer_internal.h.
//
// Rows travel in batches, so that a row costs neither a lock nor a wake-up: a prompt has thousands
// of small ones. A batch is one block of memory: its rows end to end, each with its values, the
// statement's text and the bytes of texts and blobs; after them an order, if any.
#include "db/writer_internal.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum order { NONE, BEGIN, COMMIT, WAIT, ROLLBACK, STOP };
enum { BATCH_BYTES = 32 << 10, ALIGN = alignof(max_align_t) };

typedef struct batch {
    struct batch *next;
    enum order order;
    bool waited;  // its sender waits for it: it lies on the sender's stack
    size_t bytes; // what it counts for in the queue
    size_t used, cap;
    max_align_t data[]; // rows
} batch;

typedef struct row {
    size_t size; // of all of it
    const char *sql;
    void *own; // a blob taken over, NULL when none
    int n;
    hs_v v[];
} row;

struct hs_writer {
    hs_apply *apply;
    size_t max_bytes, batch_bytes;
    batch *open; // being filled by the producer, NULL when none
    pthread_t thread;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t filled, drained;
    batch *head, **tail;
    size_t bytes;         // waiting or in work
    int64_t queued, done; // batches, for waiting
    bool idle, awaited;   // the writer waits, the producer waits
    int rc;               // the first failure since the last rollback
    bool told;            // the producer knows of it
    char error[1024];
};

static row *row_at(batch *b, size_t at) {
    return (row *)(void *)((char *)b->data + at);
}

static void free_batch(batch *b) {
    if (!b) return;
    for (size_t at = 0; at < b->used; at += row_at(b, at)->size) free(row_at(b, at)->own);
    free(b);
}

// ---- the thread ---------------------------------------------------------------------------------

static int run_batch(hs_writer *w, batch *b) {
    int rc = HS_OK;
    for (size_t at = 0; at < b->used && !rc; at += row_at(b, at)->size) {
        const row *r = row_at(b, at);
        rc = hs_apply_row(w->apply, r->sql, r->v, r->n);
    }
    if (!rc && b->order == BEGIN) rc = hs_apply_begin(w->apply);
    if (!rc && b->order == COMMIT) rc = hs_apply_commit(w->apply);
    if (b->order == ROLLBACK || b->order == STOP) hs_apply_rollback(w->apply);
    return rc;
}

// Takes batches in order until STOP. After a failure they are dropped, up to the next ROLLBACK;
// a failure that the producer has not heard of outlives even that.
static void *work(void *arg) {
    hs_writer *w = arg;
    for (bool stop = false; !stop;) {
        pthread_mutex_lock(&w->lock);
        for (w->idle = true; !w->head;) pthread_cond_wait(&w->filled, &w->lock);
        w->idle = false;
        batch *b = w->head;
        w->head = b->next;
        if (!w->head) w->tail = &w->head;
        const bool failed = w->rc != HS_OK;
        pthread_mutex_unlock(&w->lock);

        const enum order order = b->order;
        const bool on_stack = b->waited;
        const int rc = !failed || order >= ROLLBACK ? run_batch(w, b) : HS_OK;
        stop = order == STOP;

        pthread_mutex_lock(&w->lock);
        if (order == ROLLBACK && w->told) w->rc = HS_OK;
        if (rc && !w->rc) {
            w->rc = rc;
            w->told = false;
            snprintf(w->error, sizeof w->error, "%s", hs_errmsg());
        }
        w->bytes -= b->bytes;
        w->done++;
        if (w->awaited) pthread_cond_broadcast(&w->drained);
        pthread_mutex_unlock(&w->lock);
        if (!on_stack) free_batch(b); // any other is gone with its sender's frame
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
    w->batch_bytes = max_bytes / 8 < BATCH_BYTES ? max_bytes / 8 : BATCH_BYTES;
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
        return hs_fail(HS_E, "cannot start the writer's thread: memory is out, or too many run");
    }
    *out = w;
    return HS_OK;
}

// ---- the producer -------------------------------------------------------------------------------

// Called with the lock held.
static int tell(hs_writer *w) {
    w->told = true;
    return w->rc ? hs_fail(w->rc, "%s", w->error) : HS_OK;
}

static void wait_drained(hs_writer *w) {
    w->awaited = true;
    pthread_cond_wait(&w->drained, &w->lock);
    w->awaited = false;
}

// Queues b, waiting for room first; one that is waited for, until it was worked on.
static int push(hs_writer *w, batch *b) {
    const bool wait = b->waited, silent = b->order == ROLLBACK;
    pthread_mutex_lock(&w->lock);
    while (w->bytes && w->bytes + b->bytes > w->max_bytes) wait_drained(w);
    *w->tail = b;
    w->tail = &b->next;
    w->bytes += b->bytes;
    const int64_t mine = ++w->queued;
    if (w->idle) pthread_cond_signal(&w->filled);
    while (wait && w->done < mine) wait_drained(w);
    const int rc = silent ? HS_OK : tell(w);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

// Queues the open batch, with an order after its rows.
static int flush(hs_writer *w, enum order order) {
    batch *b = w->open;
    int rc = b ? HS_OK : hs_alloc(&b, 1, sizeof *b);
    if (rc) return rc;
    b->order = order;
    w->open = NULL;
    return push(w, b);
}

// Needs no memory, so that it cannot fail for want of it.
static int order_and_wait(hs_writer *w, enum order order) {
    batch b = {.order = order, .waited = true};
    return push(w, &b);
}

// Room for a row of `size` bytes.
static int make_room(hs_writer *w, size_t size, row **out) {
    int rc = HS_OK;
    if (w->open && size > w->open->cap - w->open->used) rc = flush(w, NONE);
    if (!rc && !w->open) {
        const size_t cap = size > w->batch_bytes ? size : w->batch_bytes;
        rc = hs_alloc(&w->open, 1, sizeof *w->open + cap);
        if (!rc) w->open->cap = cap;
    }
    if (!rc) *out = row_at(w->open, w->open->used);
    return rc;
}

static bool has_bytes(const hs_v *v) {
    return v->type == HS_V_TEXT || v->type == HS_V_BLOB;
}

// A row with values and bytes copied, but for the bytes of the last value when they are `own`.
static int put_row(hs_writer *w, const char *sql, const hs_v *v, int n, void *own) {
    const size_t text = strlen(sql) + 1;
    const int copied = own ? n - 1 : n;
    size_t size = sizeof(row) + (size_t)n * sizeof *v + text;
    row *r;
    for (int i = 0; i < copied; i++)
        if (has_bytes(&v[i])) size += v[i].n;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    int rc = make_room(w, size, &r);
    if (rc) {
        free(own);
        return rc;
    }
    *r = (row){.size = size, .own = own, .n = n};
    if (n) memcpy(r->v, v, (size_t)n * sizeof *v);
    char *at = (char *)(r->v + n);
    r->sql = memcpy(at, sql, text);
    at += text;
    for (int i = 0; i < copied; i++)
        if (has_bytes(&v[i])) {
            if (v[i].n) memcpy(at, v[i].p, v[i].n);
            r->v[i].p = at;
            at += v[i].n;
        }
    w->open->used += size;
    w->open->bytes += size + (own ? v[n - 1].n : 0);
    return w->open->bytes >= w->batch_bytes ? flush(w, NONE) : HS_OK;
}

int hs_writer_begin(hs_writer *w) {
    return flush(w, BEGIN);
}

int hs_writer_row(hs_writer *w, const char *sql, const hs_v *v, int n) {
    return put_row(w, sql, v, n, NULL);
}

int hs_writer_give(hs_writer *w, const char *sql, const hs_v *v, int n) {
    void *own;
    memcpy(&own, &v[n - 1].p, sizeof own); // the value's pointer is const, the block is ours
    return put_row(w, sql, v, n, own);
}

int hs_writer_commit(hs_writer *w) {
    return flush(w, COMMIT);
}

int hs_writer_wait(hs_writer *w) {
    int rc = w->open ? flush(w, NONE) : HS_OK;
    return rc ? rc : order_and_wait(w, WAIT);
}

void hs_writer_rollback(hs_writer *w) {
    free_batch(w->open);
    w->open = NULL;
    (void)order_and_wait(w, ROLLBACK);
}

int hs_writer_close(hs_writer *w) {
    if (!w) return HS_OK;
    free_batch(w->open);
    int rc = order_and_wait(w, STOP);
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
