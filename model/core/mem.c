// Checked allocation, arenas and file maps; see mem.h.
#include "model/core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGN = 64, CHUNK = 1 << 18 };

static int out_of_memory(size_t n, size_t size) {
    return hs_fail(HS_ENOMEM, "out of memory: %zu x %zu bytes", n, size);
}

// n * size bytes. Beyond half of the address space no allocator has any, and a sanitizer's ends the
// program instead of saying so.
static bool count_bytes(size_t n, size_t size, size_t *bytes) {
    return hs_mul(n, size, bytes) && *bytes <= PTRDIFF_MAX;
}

int hs_alloc(void *out, size_t n, size_t size) {
    size_t bytes, padded;
    *(void **)out = NULL;
    if (!count_bytes(n, size, &bytes) || !hs_add(bytes, ALIGN, &padded))
        return out_of_memory(n, size);
    padded &= ~(size_t)(ALIGN - 1);
    void *p = aligned_alloc(ALIGN, padded ? padded : ALIGN);
    if (!p) return out_of_memory(n, size);
    memset(p, 0, padded ? padded : ALIGN);
    *(void **)out = p;
    return HS_OK;
}

int hs_grow(void *block, size_t n, size_t size) {
    size_t bytes;
    if (!count_bytes(n, size, &bytes)) return out_of_memory(n, size);
    void *p = realloc(*(void **)block, bytes ? bytes : 1);
    if (!p) return out_of_memory(n, size);
    *(void **)block = p;
    return HS_OK;
}

struct chunk {
    struct chunk *next;
    uint8_t *data;
    size_t used, size;
};

struct hs_arena {
    struct chunk *head;
};

int hs_arena_open(hs_arena **out) {
    return hs_alloc(out, 1, sizeof **out);
}

void hs_arena_close(hs_arena *a) {
    if (!a) return;
    for (struct chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c->data);
        free(c);
    }
    free(a);
}

int hs_arena_get(hs_arena *a, void *out, size_t n, size_t size) {
    size_t bytes, padded;
    *(void **)out = NULL;
    if (!hs_mul(n, size, &bytes) || !hs_add(bytes, ALIGN, &padded)) return out_of_memory(n, size);
    padded &= ~(size_t)(ALIGN - 1);
    struct chunk *c = a->head;
    if (!c || c->size - c->used < padded) {
        size_t want = padded > CHUNK ? padded : CHUNK;
        if (hs_alloc(&c, 1, sizeof *c)) return HS_ENOMEM;
        if (hs_alloc(&c->data, want, 1)) {
            free(c);
            return HS_ENOMEM;
        }
        c->size = want;
        c->next = a->head;
        a->head = c;
    }
    *(void **)out = c->data + c->used;
    c->used += padded;
    return HS_OK;
}

int hs_arena_str(hs_arena *a, const char **out, const char *s, size_t n) {
    char *copy;
    size_t bytes;
    *out = NULL;
    if (!hs_add(n, 1, &bytes)) return out_of_memory(n, 1);
    int rc = hs_arena_get(a, &copy, bytes, 1);
    if (rc) return rc;
    if (n) memcpy(copy, s, n);
    *out = copy;
    return HS_OK;
}

int hs_map_open(hs_map *out, const char *path) {
    *out = (hs_map){.data = (const uint8_t *)""};
    int rc = HS_OK;
    // A pipe that nobody writes to would keep open() waiting; it is refused below.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return hs_fail(HS_EIO, "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st)) {
        rc = hs_fail(HS_EIO, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = hs_fail(HS_EIO, "%s: not a regular file", path);
        goto out;
    }
    if (st.st_size == 0) goto out;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        rc = hs_fail(HS_EIO, "%s: cannot map it: %s", path, strerror(errno));
        goto out;
    }
    *out = (hs_map){.data = p, .size = (size_t)st.st_size, .base = p};
out:
    close(fd);
    return rc;
}

// A hint about the pages from the one that holds `from` up to `to`: failure is no harm.
static void advise(uintptr_t from, uintptr_t to, int advice) {
    from -= from % (uintptr_t)sysconf(_SC_PAGESIZE);
    if (from < to) madvise((void *)from, to - from, advice);
}

void hs_map_sparse(const void *at, size_t n) {
    advise((uintptr_t)at, (uintptr_t)at + n, MADV_RANDOM);
}

void hs_map_wanted(const void *at, size_t n) {
    advise((uintptr_t)at, (uintptr_t)at + n, MADV_WILLNEED);
}

void hs_map_forget(const void *at, size_t n) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)at + n;
    advise(((uintptr_t)at + page - 1) / page * page, end - end % page, MADV_DONTNEED);
}

void hs_map_close(hs_map *m) {
    if (m->base) munmap(m->base, m->size);
    *m = (hs_map){.data = (const uint8_t *)""};
}
