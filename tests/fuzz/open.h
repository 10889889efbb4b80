// What the targets of checkpoints share: everything that one offers is read. Bytes become a file in
// memory for that; no path on disk is named.
#ifndef HS_TESTS_FUZZ_OPEN_H
#define HS_TESTS_FUZZ_OPEN_H

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/ckpt.h"
#include "tests/fuzz/shared.h"

static inline void read_tensor(const hs_ckpt *ck, const hs_tensor *t) {
    enum { MOST = 1 << 14 };
    static float row[MOST];
    const hs_dtype_traits *d = &hs_dtypes[t->view.dtype];
    const int64_t n = hs_view_count(&t->view);
    const uint8_t *bytes = t->view.data;
    need(hs_ckpt_find(ck, t->name) == t);
    need(t->view.ndim >= 1 && t->view.ndim <= 4 && t->view.stride[t->view.ndim - 1] == 1);
    need((int64_t)t->bytes == n / d->items * d->bytes);
    if (n && n <= MOST && d->to_f32)
        d->to_f32(bytes, row, n);
    else if (n)
        row[0] = (float)(bytes[0] + bytes[t->bytes - 1]);
}

static inline size_t read_meta(const hs_meta *m) {
    hs_meta item;
    size_t sum = 0;
    if (m->type == HS_META_STR)
        for (size_t i = 0; i < m->n; i++) sum += (unsigned char)m->s[i];
    // A list of JSON takes as many steps as its place to find an item.
    for (size_t i = 0; m->type == HS_META_ARR && i < m->n && i < 1000; i++)
        if (hs_meta_item(m, i, &item)) sum += read_meta(&item);
    need(m->type != HS_META_ARR || !hs_meta_item(m, m->n, &item));
    return sum;
}

static inline void read_ckpt(const hs_ckpt *ck) {
    const char *key;
    for (size_t i = 0; i < hs_ckpt_count(ck); i++) read_tensor(ck, hs_ckpt_at(ck, i));
    for (size_t i = 0; (key = hs_ckpt_meta_key(ck, i)); i++) {
        // A member whose name holds a dot is not found by it: dots are paths.
        hs_meta m;
        if (hs_ckpt_meta(ck, key, &m)) read_meta(&m);
    }
    need(hs_ckpt_fingerprint(ck) == hs_ckpt_fingerprint(ck));
}

// A file in memory and its name; close(fd) frees it.
static inline int memory_file(char path[64], const void *bytes, size_t n) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    need(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static inline void open_bytes(const void *bytes, size_t n) {
    char path[64];
    hs_ckpt *ck;
    int fd = memory_file(path, bytes, n);
    int rc = hs_ckpt_open(&ck, path, false);
    if (rc)
        need(!ck && rc < 0 && *hs_errmsg());
    else
        read_ckpt(ck);
    hs_ckpt_close(ck);
    close(fd);
}

#endif
