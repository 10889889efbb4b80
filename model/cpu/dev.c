// What the CPU backend's parts share: large blocks, scratch, the choice between pool and caller,
// rows of stored matrices; see dev.h.
#include "model/cpu/dev.h"

#include <sys/mman.h>

#include "model/core/mem.h"

// ---- memory -------------------------------------------------------------------------------------

static const size_t huge = (size_t)1 << 21, page = 4096;

int64_t hs_cpu_block_bytes(int64_t n) {
    const int64_t bytes = (n ? n : 1) * (int64_t)sizeof(float);
    const int64_t align = (int64_t)(bytes >= (int64_t)huge ? huge : page);
    return (bytes + align - 1) / align * align;
}

// Maps memory with `align` to spare and gives the ends back, since mmap aligns to pages only.
// Huge pages save the matrix kernels most of their address translation.
int hs_cpu_block_get(hs_cpu_block *out, int64_t rows, int64_t cols) {
    *out = (hs_cpu_block){0};
    size_t n, bytes, room;
    if (rows < 0 || cols < 0 || !hs_mul((size_t)rows, (size_t)cols, &n) ||
        !hs_mul(n ? n : 1, sizeof(float), &bytes) || !hs_add(bytes, 2 * huge, &room))
        return hs_fail(HS_ENOMEM, "out of memory: a matrix of %lld x %lld numbers", (long long)rows,
                       (long long)cols);
    const size_t align = bytes >= huge ? huge : page;
    bytes = (size_t)hs_cpu_block_bytes((int64_t)n);
    room = bytes + align;
    uint8_t *base = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return hs_fail(HS_ENOMEM, "out of memory: a matrix of %lld x %lld numbers", (long long)rows,
                       (long long)cols);
    size_t head = (align - (uintptr_t)base % align) % align;
    if (head) munmap(base, head);
    if (align > head) munmap(base + head + bytes, align - head);
    if (align == huge) madvise(base + head, bytes, MADV_HUGEPAGE); // a hint: failure is no harm
    *out = (hs_cpu_block){(float *)(base + head), bytes};
    return HS_OK;
}

void hs_cpu_block_free(hs_cpu_block *b) {
    if (b->p) munmap(b->p, b->bytes);
    *b = (hs_cpu_block){0};
}

// A quarter to spare: what is asked for grows a little at every token.
static int64_t with_spare(int64_t n) {
    return n + n / 4;
}

int64_t hs_cpu_need_bytes(int64_t n) {
    return n ? hs_cpu_block_bytes(with_spare(n)) : 0;
}

int hs_cpu_block_need(hs_cpu_block *b, int64_t n) {
    if (b->bytes / sizeof(float) >= (size_t)n) return HS_OK;
    hs_cpu_block_free(b);
    return hs_cpu_block_get(b, with_spare(n), 1);
}

int hs_cpu_scratch(hs_dev *dev, int64_t n) {
    int rc = HS_OK;
    for (int i = 0; i < dev->n_worker && !rc; i++) rc = hs_cpu_block_need(&dev->scratch[i], n);
    return rc;
}

// ---- tasks --------------------------------------------------------------------------------------

// Below this much work a fork and join costs more than it saves.
static const int64_t SMALL_WORK = 1 << 15;

int hs_cpu_run(hs_dev *dev, int64_t n, hs_task fn, void *arg, int64_t work) {
    if (n > 1 && work > SMALL_WORK) return hs_pool_run(dev->pool, n, fn, arg);
    for (int64_t i = 0; i < n; i++) {
        int rc = fn(arg, i, 0);
        if (rc) return rc;
    }
    return HS_OK;
}
