// Rows of stored matrices as f32; see view.h.
#include "model/core/view.h"

int hs_view_row_check(const hs_view *m) {
    if (m->ndim != 2 || m->shape[0] < 1 || m->shape[1] < 1)
        return hs_fail(HS_EARG, "a weight must be a matrix with at least one row and column");
    const hs_dtype_traits *t = &hs_dtypes[m->dtype];
    if (!t->to_f32) return hs_fail(HS_EUNSUPPORTED, "weights of type %s cannot be used", t->name);
    if (t->items > 1 && (m->stride[1] != 1 || m->shape[1] % t->items || m->stride[0] % t->items))
        return hs_fail(HS_EUNSUPPORTED, "rows of %lld numbers are not whole %s blocks of %d",
                       (long long)m->shape[1], t->name, t->items);
    return HS_OK;
}

void hs_view_row(const hs_view *m, int64_t row, int64_t k, int64_t n, float *dst) {
    const hs_dtype_traits *t = &hs_dtypes[m->dtype];
    const uint8_t *base = m->data;
    int64_t at = row * m->stride[0] + k * m->stride[1];
    if (m->stride[1] == 1) {
        t->to_f32(base + at / t->items * t->bytes, dst, n);
        return;
    }
    for (int64_t i = 0; i < n; i++, at += m->stride[1]) t->to_f32(base + at * t->bytes, dst + i, 1);
}
