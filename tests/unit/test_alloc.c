// The forward pass allocates nothing while layers run: all room is made before the first, and an
// evaluation as large as one before it asks for none at all. Counted by standing in for the C
// library's allocators, which sanitizers do too: there is nothing to test under them.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/laws.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define STANDS_IN 0
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STANDS_IN 0
#endif
#endif
#ifndef STANDS_IN
#define STANDS_IN 1
#endif

static atomic_int n_alloc;

#if STANDS_IN
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n) {
    n_alloc++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    n_alloc++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
    n_alloc++;
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n) {
    n_alloc++;
    return __libc_memalign(align, n);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
    n_alloc++;
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}
#endif

// Somebody who looks at everything and keeps nothing; counts from the first layer on.
struct watch {
    int before, layers_done;
};

static int see_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct watch *w = ctx;
    (void)view;
    (void)write;
    if (site->point == HS_RESID_PRE && site->layer == 0 && w->before < 0) w->before = n_alloc;
    return HS_OK;
}

static int see_tile(void *ctx, const hs_tile *tile, bool write, int worker) {
    (void)ctx;
    (void)tile;
    (void)write;
    (void)worker;
    return HS_OK;
}

static int see_layer(void *ctx, int layer) {
    (void)layer;
    ((struct watch *)ctx)->layers_done++;
    return HS_OK;
}

// Allocations of one evaluation: from the first layer on, and in all.
static int count(hs_context *x, struct watch *w, const hs_batch *b, int *in_all) {
    const int start = n_alloc;
    *w = (struct watch){.before = -1};
    law_eval(x, b);
    const int end = n_alloc;
    assert_true(w->before >= 0 && w->layers_done > 0);
    *in_all = end - start;
    return end - w->before;
}

static void check(int model, hs_context_opts opts, enum hs_logits logits, bool tiles) {
    hs_model *m = law_model(model);
    const hs_config *c = hs_model_config(m);
    uint64_t read[16] = {0};
    uint8_t want[64];
    int32_t ids[LAW_T];
    struct watch w;
    int all;
    memset(want, HS_TILE_READ_PATTERN, sizeof want);
    assert_true(c->n_layer < 16 && c->n_layer * c->n_head <= 64);
    for (int64_t l = 0; l <= c->n_layer; l++)
        read[l] = HS_BIT(HS_RESID_PRE) | HS_BIT(HS_ROW_STATS) | HS_BIT(HS_LOGITS) |
                  (tiles ? HS_BIT(HS_PATTERN) : 0);
    hs_tap tap = {.ctx = &w,
                  .read = read,
                  .rows = see_rows,
                  .tile = see_tile,
                  .tile_want = want,
                  .layer_done = see_layer};
    hs_context *x = law_context(m, opts, &tap);
    law_tokens(ids, LAW_T, 7);
    const hs_seq seq[] = {{.tokens = ids, .n = LAW_T}, {.tokens = ids, .n = 1, .slot = 1}};
    const hs_batch batch = {.seq = seq, .n_seq = 2, .logits = logits};
    const int layers = count(x, &w, &batch, &all);
    // What others see of numbers in double is a copy, made when it is first wanted.
    if (law_precision(model) != HS_PREC_F64) assert_int_equal(layers, 0);
    if (STANDS_IN) assert_true(all > 0);
    for (int s = 0; s < 2; s++) hs_context_truncate(x, s, 0);
    count(x, &w, &batch, &all);
    assert_int_equal(all, 0);
    // One row more at a time, as when decoding.
    for (int i = 0; opts.kv_capacity && i < 20; i++) {
        const hs_seq next = {.tokens = ids, .n = 1};
        count(x, &w, &(hs_batch){.seq = &next, .n_seq = 1, .logits = logits}, &all);
        assert_int_equal(all, 0);
    }
    hs_context_close(x);
    hs_model_close(m);
}

static void nothing_while_layers_run(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        check(i, (hs_context_opts){0}, HS_LOGITS_NONE, false);
        check(i, (hs_context_opts){.row_block = 7}, HS_LOGITS_ALL, true);
        check(i, (hs_context_opts){.kv_capacity = 80, .n_slot = 2}, HS_LOGITS_LAST, true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_while_layers_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
