// The proof on the held-out part; see calibrate.h. The model as it is and the calibrated one run side
// by side; nothing is chosen here.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate/calibrate.h"
#include "model/core/mem.h"

typedef struct proof {
    hs_calibrate_work *w;
    hs_calibrate_item_fn fn;
    void *ctx;
} proof;

static int on_item(void *ctx, int64_t ord, const double *value) {
    const proof *p = ctx;
    hs_calibrate_work *w = p->w;
    const size_t n = (size_t)(w->chosen ? 2 : 1) * HS_N_MEASURE;
    memcpy(w->value + (ord - w->n_on) * 2 * HS_N_MEASURE, value, n * sizeof *value);
    return p->fn(p->ctx, ord);
}

int hs_calibrate_prove(hs_calibrate_work *w, int64_t done, hs_calibrate_item_fn fn, void *ctx) {
    const hs_quiz_variant variant[2] = {{NULL, 0}, {w->chosen_spec, w->n_chosen_spec}};
    proof p = {w, fn, ctx};
    int64_t *ord;
    int rc = hs_alloc(&ord, (size_t)(w->n - done), sizeof *ord);
    for (int64_t i = done; i < w->n && !rc; i++) ord[i - done] = i;
    if (!rc && w->n > done)
        rc = hs_quiz_run(w->decoding, variant, w->chosen ? 2 : 1, ord, w->n - done, on_item, &p);
    free(ord);
    return rc;
}
