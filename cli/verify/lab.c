// Runs of a model for the laws of `verify`; see lab.h.
#include "cli/verify/lab.h"

#include <math.h>
#include <stdlib.h>

#include "model/core/mem.h"

// ---- running --------------------------------------------------------------------------------

int hs_lab_sets(const hs_dims *dims, uint64_t points, uint64_t **out) {
    int rc = hs_alloc(out, (size_t)dims->n_layer + 1, sizeof **out);
    for (int p = 0; !rc && p < HS_N_POINT; p++) {
        if (!(points & dims->points & HS_BIT(p))) continue;
        bool of_model = hs_point_infos[p].scope == HS_SCOPE_MODEL;
        int from = of_model ? dims->n_layer : 0, to = of_model ? dims->n_layer : dims->n_layer - 1;
        for (int l = from; l <= to; l++) (*out)[l] |= HS_BIT(p);
    }
    return rc;
}

static int evaluate(const hs_lab *b, const hs_variant *v, hs_context *context) {
    hs_seq seq[3] = {{.tokens = b->tokens, .n = b->n},
                     {.tokens = b->other, .n = b->n < HS_LAB_OTHER_ROWS ? b->n : HS_LAB_OTHER_ROWS},
                     {.tokens = b->other, .n = 1}};
    hs_batch batch = {.seq = seq, .n_seq = v->others ? 3 : 1, .logits = HS_LOGITS_ALL};
    if (!v->one_by_one) return hs_context_eval(context, &batch);
    int rc = HS_OK;
    seq[0].n = 1;
    for (int64_t i = 0; !rc && i < b->n; i++) {
        seq[0].tokens = &b->tokens[i];
        rc = hs_context_eval(context, &batch);
    }
    return rc;
}

int hs_lab_run(const hs_lab *b, const hs_variant *v, hs_capture **out) {
    const hs_model *model = v->model ? v->model : b->model;
    hs_context_opts opts = {.kv_capacity = v->one_by_one ? b->n : 0};
    hs_context *context = NULL;
    hs_hooks *hooks = NULL;
    uint64_t *sets = NULL;
    *out = NULL;
    int rc = hs_lab_sets(&b->dims, v->points, &sets);
    if (!rc) rc = hs_capture_open(out, &b->dims, sets, b->n, 0);
    if (!rc) rc = hs_hooks_open(&hooks, &b->dims);
    if (!rc) rc = hs_capture_hook(*out, hooks);
    if (!rc && v->edit) rc = hs_hooks_add(hooks, v->edit);
    if (!rc) hs_hooks_tile_rows(hooks, v->tile_rows);
    if (!rc) rc = hs_context_open(&context, model, &opts);
    if (!rc) {
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = evaluate(b, v, context);
    }
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(sets);
    if (rc) {
        hs_capture_close(*out);
        *out = NULL;
    }
    return rc;
}

int hs_lab_same_bits(const hs_lab *b, const char *name, const hs_variant *v, enum hs_point point) {
    hs_capture *c;
    int rc = hs_lab_run(b, v, &c);
    if (rc) return rc;
    bool of_model = hs_point_infos[point].scope == HS_SCOPE_MODEL;
    double d = 0;
    for (int l = 0; l < (of_model ? 1 : b->dims.n_layer); l++) {
        const float *x = hs_capture_at(b->base, point, l), *y = hs_capture_at(c, point, l);
        for (int64_t i = 0; i < hs_capture_count(c, point); i++) d = hs_worse(d, x[i], y[i]);
    }
    hs_capture_close(c);
    return hs_checks_add(b->out, name, d, 0, 0);
}

// ---- how far off ------------------------------------------------------------------------------

void hs_worst_take(hs_worst *w, double d, double m) {
    bool first = w->m == 0;
    if (first || !(d * w->m <= w->d * m)) *w = (hs_worst){d, m};
}

int hs_worst_add(const hs_lab *b, const char *name, const hs_worst *w, double share) {
    return hs_checks_add(b->out, name, w->d, w->m, share * w->m);
}

double hs_lab_largest(const float *x, int64_t n) {
    double max = 0;
    for (int64_t i = 0; i < n; i++)
        if (fabs(x[i]) > max) max = fabs(x[i]);
    return max;
}

double hs_lab_product_share(const hs_lab *b) {
    return hs_model_precision(b->model) == HS_PREC_BF16 ? NAN : 5e-5;
}
