// The backend's products and norms for rows that are f32 in memory, whatever type it works in.
#include <stdlib.h>

#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"
#include "model/elem.h"

// Rows as the backend has them: x itself, or a copy that *own holds.
static int to_backend(const hs_backend *be, const float *x, int64_t n, void **own,
                      const void **out) {
    *own = NULL;
    *out = x;
    if (be->dtype == HS_F32) return HS_OK;
    int rc = hs_alloc(own, (size_t)n, (size_t)hs_dtypes[be->dtype].bytes);
    if (!rc) hs_elem_from_f32(be->dtype, *own, x, n);
    *out = *own;
    return rc;
}

int hs_weights_times(const hs_model *model, float *y, int64_t n_out, const hs_weight *w,
                     const float *x, int64_t n_in, int64_t n) {
    const hs_backend *be = hs_model_backend(model);
    void *own = NULL, *wide = NULL;
    const void *in;
    int rc = to_backend(be, x, n * n_in, &own, &in);
    if (!rc && be->dtype != HS_F32)
        rc = hs_alloc(&wide, (size_t)(n * n_out), (size_t)hs_dtypes[be->dtype].bytes);
    const hs_product p = {wide ? wide : y, n_out, w, NULL};
    if (!rc) rc = be->linear(hs_model_dev(model), &p, 1, in, n_in, n);
    if (!rc && wide)
        for (int64_t i = 0; i < n * n_out; i++) y[i] = (float)hs_elem_get(be->dtype, wide, i);
    free(own);
    free(wide);
    return rc;
}

int hs_weights_times_view(const hs_model *model, float *y, const hs_view *w, const float *x,
                          int64_t n) {
    const hs_backend *be = hs_model_backend(model);
    hs_weight *packed = NULL;
    int rc = be->pack(hs_model_dev(model), &packed, w, NULL, HS_WEIGHT_EXPAND);
    if (!rc) rc = hs_weights_times(model, y, w->shape[0], packed, x, w->shape[1], n);
    if (packed) be->unpack(packed);
    return rc;
}

int hs_weights_norm(const hs_model *model, float *x, int64_t n, const float *gain,
                    const float *bias) {
    const hs_backend *be = hs_model_backend(model);
    const hs_config *c = hs_model_config(model);
    const size_t size = (size_t)hs_dtypes[be->dtype].bytes;
    const int64_t d = c->d_model;
    hs_dev *dev = hs_model_dev(model);
    void *own = NULL, *scale = NULL, *mid = NULL, *y = NULL;
    const void *in;
    if (c->norm == HS_NORM_NONE) return HS_OK;
    int rc = to_backend(be, x, n * d, &own, &in);
    if (!rc) rc = hs_alloc(&scale, (size_t)n, size);
    if (!rc) rc = hs_alloc(&mid, (size_t)(n * d), size);
    if (!rc) rc = hs_alloc(&y, (size_t)(n * d), size);
    if (!rc) rc = be->norm_scale(dev, scale, mid, in, n, d, c->norm, c->norm_eps);
    if (!rc) rc = be->norm_gain(dev, y, mid, n, d, gain, bias);
    for (int64_t i = 0; i < n * d && !rc; i++) x[i] = (float)hs_elem_get(be->dtype, y, i);
    free(own);
    free(scale);
    free(mid);
    free(y);
    return rc;
}
