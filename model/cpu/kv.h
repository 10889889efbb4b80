// Stored keys and values of one sequence and layer; kv.c fills them, attn.c reads them.
//
// Keys of a head are packed as a weight is, so that a panel is one operand of the matrix kernel;
// values lie as rows padded to whole vectors, the other.
#ifndef HS_CPU_KV_H
#define HS_CPU_KV_H

#include "model/cpu/dev.h"

struct hs_kv {
    const hs_kern *kern;
    int64_t n_head, d_head, d_pad, capacity, n_panel;
    hs_cpu_block keys;   // [n_head][n_panel][d_head][nr]
    hs_cpu_block values; // [n_head][capacity][d_pad]
};

// Floats of a stored row of values.
static inline int64_t hs_kv_pad(const hs_kern *kern, int64_t d_head) {
    return (d_head + kern->width - 1) / kern->width * kern->width;
}
static inline float *hs_kv_panel(const hs_kv *kv, int64_t head, int64_t panel) {
    return kv->keys.p + (head * kv->n_panel + panel) * kv->d_head * kv->kern->nr;
}
static inline float *hs_kv_value(const hs_kv *kv, int64_t head, int64_t key) {
    return kv->values.p + (head * kv->capacity + key) * kv->d_pad;
}

#endif
