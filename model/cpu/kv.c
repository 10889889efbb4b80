// The store of keys and values; see kv.h.
#include "model/cpu/kv.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

int hs_cpu_kv_open(hs_dev *dev, hs_kv **out, int64_t n_kv_head, int64_t d_head, int64_t capacity) {
    const int64_t nr = dev->kern->nr;
    hs_kv *kv = NULL;
    *out = NULL;
    int rc = hs_alloc(&kv, 1, sizeof *kv);
    if (rc) return rc;
    kv->kern = dev->kern;
    kv->n_head = n_kv_head;
    kv->d_head = d_head;
    kv->d_pad = hs_kv_pad(dev->kern, d_head);
    kv->capacity = capacity;
    kv->n_panel = (capacity + nr - 1) / nr;
    rc = hs_cpu_block_get(&kv->keys, n_kv_head * kv->n_panel, d_head * nr);
    if (!rc) rc = hs_cpu_block_get(&kv->values, n_kv_head * capacity, kv->d_pad);
    if (rc)
        hs_cpu_kv_close(kv);
    else
        *out = kv;
    return rc;
}

int64_t hs_cpu_kv_bytes(const hs_dev *dev, int64_t n_kv_head, int64_t d_head, int64_t capacity) {
    const int64_t nr = dev->kern->nr, n_panel = (capacity + nr - 1) / nr;
    return hs_cpu_block_bytes(n_kv_head * n_panel * d_head * nr) +
           hs_cpu_block_bytes(n_kv_head * capacity * hs_kv_pad(dev->kern, d_head));
}

void hs_cpu_kv_close(hs_kv *kv) {
    if (!kv) return;
    hs_cpu_block_free(&kv->keys);
    hs_cpu_block_free(&kv->values);
    free(kv);
}

struct put_job {
    hs_kv *kv;
    int64_t at, n;
    const float *k, *v;
    int64_t ld_k, ld_v;
};

// The keys of one panel and head.
static int put_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct put_job *j = arg;
    const hs_kv *kv = j->kv;
    const int64_t nr = kv->kern->nr, d = kv->d_head;
    const int64_t head = task % kv->n_head, panel = j->at / nr + task / kv->n_head;
    const int64_t first = panel * nr, end = first + nr, last = j->at + j->n;
    const int64_t key = first < j->at ? j->at : first, n = (end < last ? end : last) - key;
    const float *k = j->k + (key - j->at) * j->ld_k + head * d;
    const float *v = j->v + (key - j->at) * j->ld_v + head * d;
    kv->kern->transpose(hs_kv_panel(kv, head, panel) + key - first, nr, k, j->ld_k, n, d);
    for (int64_t i = 0; i < n; i++)
        memcpy(hs_kv_value(kv, head, key + i), v + i * j->ld_v, (size_t)d * sizeof *v);
    return HS_OK;
}

int hs_cpu_kv_put(hs_dev *dev, hs_kv *kv, int64_t at, int64_t n, const void *k, int64_t ld_k,
                  const void *v, int64_t ld_v) {
    const int64_t nr = dev->kern->nr;
    if (at < 0 || n < 0 || at > kv->capacity - n)
        return hs_fail(HS_ERANGE, "keys %lld..%lld do not fit into room for %lld", (long long)at,
                       (long long)(at + n - 1), (long long)kv->capacity);
    if (n == 0) return HS_OK;
    struct put_job j = {kv, at, n, k, v, ld_k, ld_v};
    return hs_cpu_run(dev, kv->n_head * ((at + n - 1) / nr - at / nr + 1), put_task, &j,
                      n * kv->n_head * kv->d_head);
}
