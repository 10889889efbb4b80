// Private to the reference backend: the open device, stored rows, and the entries of the table
// that live in linear.c, attn.c, reduce.c and back.c. Their contracts are the members' in model/backend.h.
#ifndef HS_REF_REF_H
#define HS_REF_REF_H

#include "model/backend.h"

struct hs_dev {
    hs_pool *pool;
    int n_worker;
    double **scratch; // [n_worker]
    int64_t cap;      // numbers in each
};

// Makes every worker's scratch hold at least n numbers; contents are lost. Not inside a task.
int hs_ref_scratch(hs_dev *, int64_t n) HS_MUST_USE;

// A whole row of a stored matrix. Formats other than f64 are read as the f32 that they stand for.
void hs_ref_row(const hs_view *m, int64_t row, double *out);

extern double (*const hs_ref_acts[HS_ACT_N])(double);
const hs_view *hs_ref_weight_view(const hs_weight *);
void hs_ref_weight_row(const hs_weight *, int64_t n, double *out); // its logical row n

int64_t hs_ref_weight_bytes(const hs_dev *, const hs_view *w, enum hs_weight_mode mode);
int hs_ref_pack(hs_dev *, hs_weight **out, const hs_view *w, const int32_t *row_of,
                enum hs_weight_mode mode);
void hs_ref_unpack(hs_weight *);
int hs_ref_linear(hs_dev *, const hs_product *p, int n_product, const void *x, int64_t ld_x,
                  int64_t n_rows);

int hs_ref_kv_open(hs_dev *, hs_kv **out, int64_t n_kv_head, int64_t d_head, int64_t capacity);
void hs_ref_kv_close(hs_kv *);
int hs_ref_kv_put(hs_dev *, hs_kv *, int64_t at, int64_t n, const void *k, int64_t ld_k,
                  const void *v, int64_t ld_v);
int hs_ref_attention(hs_dev *, const hs_attn *, int n);
int64_t hs_ref_kv_bytes(const hs_dev *, int64_t n_kv_head, int64_t d_head, int64_t capacity);

int hs_ref_softmax(hs_dev *, float *x, int64_t ld, const double *lse, int64_t n_rows, int64_t n,
                   float by);
int hs_ref_linear_back(hs_dev *, void *dx, int64_t ld_dx, const hs_product_back *p, int n_product,
                       int64_t n_rows);
int hs_ref_norm_back(hs_dev *, void *dx, const void *dy, const void *normalized, const void *scale,
                     int64_t n_rows, int64_t d, const float *w, enum hs_norm kind);
int hs_ref_act_back(hs_dev *, void *dpre, void *dlinear, const void *dy, const void *pre,
                    const void *linear, int64_t n, enum hs_act kind);
int hs_ref_attention_back(hs_dev *, const hs_attn_back *);

int hs_ref_log_sum_exp(hs_dev *, double *out, const float *x, int64_t ld, int64_t n_rows,
                       int64_t n);
int hs_ref_divergence(hs_dev *, double *kl, double *jsd, const float *a, int64_t ld_a,
                      const double *lse_a, const float *b, int64_t ld_b, const double *lse_b,
                      int64_t n_rows, int64_t n);

// Numbers of a worker's scratch that calls within this extent ask for at most.
int64_t hs_ref_linear_scratch(const hs_extent *);
int64_t hs_ref_attention_scratch(const hs_extent *);
int64_t hs_ref_back_scratch(const hs_extent *);

#endif
