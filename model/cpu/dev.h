// Private to the CPU backend: the open device, its scratch, and the entries of the backend table
// that live in other files. Their contracts are the members' in model/backend.h.
#ifndef HS_CPU_DEV_H
#define HS_CPU_DEV_H

#include <stddef.h>
#include <stdint.h>

#include "model/backend.h"
#include "model/cpu/kern.h"

static inline int64_t hs_min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t hs_max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t hs_div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

typedef struct hs_cpu_block {
    float *p; // zeroed at first, 64-byte aligned (2 MiB when that large, in huge pages)
    size_t bytes;
} hs_cpu_block;

struct hs_dev {
    const hs_kern *kern;
    enum hs_precision precision; // HS_PREC_EXACT or HS_PREC_BF16
    hs_pool *pool;
    int n_worker;
    hs_cpu_block *scratch; // [n_worker]
    hs_cpu_block pairs;    // rows rounded to bf16, on their way into a product
    hs_cpu_block parts;    // of dk and dv by query head, before heads that share them are added
};

// rows * cols zeroed floats straight from the kernel. HS_ENOMEM leaves *out empty.
int hs_cpu_block_get(hs_cpu_block *out, int64_t rows, int64_t cols) HS_MUST_USE;
void hs_cpu_block_free(hs_cpu_block *);
// Bytes that a block of n floats takes, and one that hs_cpu_block_need made.
int64_t hs_cpu_block_bytes(int64_t n);
int64_t hs_cpu_need_bytes(int64_t n);
// At least n floats, contents lost when it grows.
int hs_cpu_block_need(hs_cpu_block *, int64_t n) HS_MUST_USE;

// Makes every worker's scratch hold at least n floats; contents are lost. Not inside a task.
int hs_cpu_scratch(hs_dev *, int64_t n) HS_MUST_USE;

// Tasks 0..n-1 over the pool, or in order on this thread when they come to little work
// (in multiply-adds or the like).
int hs_cpu_run(hs_dev *, int64_t n, hs_task fn, void *arg, int64_t work) HS_MUST_USE;

int hs_cpu_pack(hs_dev *, hs_weight **out, const hs_view *w, const int32_t *row_of,
                enum hs_weight_mode mode);
void hs_cpu_unpack(hs_weight *);
int64_t hs_cpu_weight_bytes(const hs_dev *, const hs_view *w, enum hs_weight_mode mode);
int hs_cpu_linear(hs_dev *, const hs_product *p, int n_product, const void *x, int64_t ld_x,
                  int64_t n_rows);

int hs_cpu_kv_open(hs_dev *, hs_kv **out, int64_t n_kv_head, int64_t d_head, int64_t capacity);
void hs_cpu_kv_close(hs_kv *);
int hs_cpu_kv_put(hs_dev *, hs_kv *, int64_t at, int64_t n, const void *k, int64_t ld_k,
                  const void *v, int64_t ld_v);
int hs_cpu_attention(hs_dev *, const hs_attn *, int n);
int64_t hs_cpu_kv_bytes(const hs_dev *, int64_t n_kv_head, int64_t d_head, int64_t capacity);

int hs_cpu_log_sum_exp(hs_dev *, double *out, const float *x, int64_t ld, int64_t n_rows,
                       int64_t n);
int hs_cpu_divergence(hs_dev *, double *kl, double *jsd, const float *a, int64_t ld_a,
                      const double *lse_a, const float *b, int64_t ld_b, const double *lse_b,
                      int64_t n_rows, int64_t n);

int hs_cpu_softmax(hs_dev *, float *x, int64_t ld, const double *lse, int64_t n_rows, int64_t n,
                   float by);
int hs_cpu_linear_back(hs_dev *, void *dx, int64_t ld_dx, const hs_product_back *p, int n_product,
                       int64_t n_rows);
int hs_cpu_norm_back(hs_dev *, void *dx, const void *dy, const void *normalized, const void *scale,
                     int64_t n_rows, int64_t d, const float *w, enum hs_norm kind);
int hs_cpu_act_back(hs_dev *, void *dpre, void *dlinear, const void *dy, const void *pre,
                    const void *linear, int64_t n, enum hs_act kind);
int hs_cpu_attention_back(hs_dev *, const hs_attn_back *);

// Floats of a worker's scratch that calls within this extent ask for at most.
int64_t hs_cpu_linear_scratch(const hs_dev *, const hs_extent *);
int64_t hs_cpu_attention_scratch(const hs_dev *, const hs_extent *);
int64_t hs_cpu_linear_back_scratch(const hs_dev *);
int64_t hs_cpu_attention_back_scratch(const hs_dev *, const hs_extent *);
int64_t hs_cpu_attention_back_parts(const hs_extent *);         // floats of dev->parts
int64_t hs_cpu_linear_pairs(const hs_dev *, const hs_extent *); // floats of dev->pairs

#endif
