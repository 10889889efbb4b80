// The unedited run of a prompt, its label rows, the final norm, and masks; see duo_internal.h.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/duo/duo_internal.h"
#include "analyses/editing.h"
#include "model/core/mem.h"
#include "model/elem.h"

// ---- the final norm -----------------------------------------------------------------------------

int hs_duo_norm_open(hs_duo_norm *f, const hs_model *model, int64_t n_row) {
    *f = (hs_duo_norm){.model = model,
                       .dtype = hs_model_backend(model)->dtype,
                       .d = hs_model_config(model)->d_model};
    const size_t n = (size_t)n_row, row = (size_t)(f->d * hs_dtypes[f->dtype].bytes);
    int rc = hs_alloc(&f->resid, n, row);
    if (!rc) rc = hs_alloc(&f->hidden, n, row);
    if (!rc) rc = hs_alloc(&f->normalized, n, row);
    if (!rc) rc = hs_alloc(&f->back, n, row);
    if (!rc) rc = hs_alloc(&f->scale, n, (size_t)hs_dtypes[f->dtype].bytes);
    return rc;
}

void hs_duo_norm_close(hs_duo_norm *f) {
    void *const blocks[] = {f->resid, f->hidden, f->normalized, f->back, f->scale};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

int hs_duo_norm_run(const hs_duo_norm *f, int64_t n) {
    const hs_config *c = hs_model_config(f->model);
    const hs_backend *be = hs_model_backend(f->model);
    hs_dev *dev = hs_model_dev(f->model);
    if (c->norm == HS_NORM_NONE) {
        memcpy(f->hidden, f->resid, (size_t)(n * f->d * hs_dtypes[f->dtype].bytes));
        return HS_OK;
    }
    int rc = be->norm_scale(dev, f->scale, f->normalized, f->resid, n, f->d, c->norm, c->norm_eps);
    if (rc) return rc;
    return be->norm_gain(dev, f->hidden, f->normalized, n, f->d,
                         hs_model_vector(f->model, HS_W_LNF, -1),
                         hs_model_vector(f->model, HS_B_LNF, -1));
}

int hs_duo_norm_back(const hs_duo_norm *f, int64_t n) {
    const hs_config *c = hs_model_config(f->model);
    const size_t bytes = (size_t)(n * f->d * hs_dtypes[f->dtype].bytes);
    if (c->norm == HS_NORM_NONE) {
        memcpy(f->back, f->hidden, bytes);
        return HS_OK;
    }
    memset(f->back, 0, bytes);
    return hs_model_backend(f->model)->norm_back(hs_model_dev(f->model), f->back, f->hidden,
                                                 f->normalized, f->scale, n, f->d,
                                                 hs_model_vector(f->model, HS_W_LNF, -1), c->norm);
}

// ---- label rows ---------------------------------------------------------------------------------

static bool has_span(hs_spans s, const char *name) {
    for (int i = 0; i < s.n; i++)
        if (!strcmp(s.at[i].name, name)) return true;
    return false;
}

int hs_duo_labels_open(hs_duo_labels *l, const hs_duo_opts *o, int64_t ord) {
    const hs_edit_prompt p = hs_edit_prompt_of(o->prompts, ord, o->spans);
    const bool asked = has_span(p.own, "qa") || has_span(p.given, "qa");
    const char *text = o->labels ? o->labels : asked ? "qa" : "-1";
    hs_places places = {0};
    *l = (hs_duo_labels){.last = -1};
    int rc = hs_alloc(&l->of, (size_t)p.n_token, sizeof *l->of);
    if (!rc)
        rc = hs_prefix(hs_places_resolve(&places, text, p.n_token, p.own, p.given), "prompt '%s'",
                       p.id);
    for (int64_t i = 0; i < p.n_token && !rc; i++) {
        const bool is = hs_places_has(&places, i);
        l->of[i] = is ? l->n++ : -1;
        if (is) l->last = i;
    }
    hs_places_free(&places);
    if (rc) return rc;
    if (!l->n) return hs_fail(HS_ERANGE, "prompt '%s' has no position %s", p.id, text);
    if (l->last >= o->sink + o->recent) return HS_OK;
    return hs_fail(HS_ERANGE,
                   "prompt '%s': its last label row, %" PRId64 ", sees %" PRId64
                   " keys, and a sink of %" PRId64 " with %" PRId64
                   " recent ones leaves none out: give longer prompts, or smaller ones of these",
                   p.id, l->last, l->last + 1, o->sink, o->recent);
}

void hs_duo_labels_close(hs_duo_labels *l) {
    free(l->of);
    l->of = NULL;
}

int hs_duo_check(const hs_duo_opts *o) {
    int rc = HS_OK;
    for (int64_t i = 0; i < hs_prompts_count(o->prompts) && !rc; i++) {
        hs_duo_labels l;
        rc = hs_duo_labels_open(&l, o, i);
        hs_duo_labels_close(&l);
    }
    return rc;
}

// ---- the unedited run ---------------------------------------------------------------------------

// The final hidden state of the label rows, from the last residual.
static int take_hidden(hs_duo_full *f, const hs_model *model, hs_held *held, int64_t n_token) {
    const int64_t d = hs_model_config(model)->d_model, n = f->labels.n;
    const int last = (int)hs_model_config(model)->n_layer - 1;
    const hs_ref ref = hs_held_ref(held);
    hs_duo_norm norm;
    float *row = NULL;
    int rc = hs_duo_norm_open(&norm, model, n);
    if (!rc) rc = hs_alloc(&row, (size_t)d, sizeof *row);
    for (int64_t i = 0; i < n_token && !rc; i++) {
        const int64_t at = f->labels.of[i];
        if (at < 0) continue;
        rc = ref.rows(ref.ctx, HS_RESID_POST, last, i, 1, row);
        hs_elem_from_f32(norm.dtype, hs_elem_at(norm.dtype, norm.resid, at * d), row, d);
    }
    if (!rc) rc = hs_duo_norm_run(&norm, n);
    if (!rc) rc = hs_alloc(&f->hidden, (size_t)n, (size_t)d * sizeof *f->hidden);
    for (int64_t i = 0; i < n * d && !rc; i++)
        f->hidden[i] = hs_elem_get(norm.dtype, norm.hidden, i);
    free(row);
    hs_duo_norm_close(&norm);
    return rc;
}

int hs_duo_full_open(hs_duo_full *f, const hs_duo_opts *o, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(o->prompts, ord);
    const hs_dims dims = hs_dims_of(o->model);
    uint64_t *points = NULL;
    *f = (hs_duo_full){0};
    int rc = hs_duo_labels_open(&f->labels, o, ord);
    if (!rc) rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    for (int l = 0; l < dims.n_layer && !rc; l++) points[l] = HS_BIT(HS_Z);
    if (!rc) points[dims.n_layer - 1] |= HS_BIT(HS_RESID_POST);
    if (!rc) rc = hs_held_open(&f->held, &dims, points, NULL, 0, p->n_token, NULL);
    if (!rc) rc = hs_unedited_run(o->model, &(hs_unedited){p, f->held, NULL}, 1, NULL);
    if (!rc) rc = take_hidden(f, o->model, f->held, p->n_token);
    free(points);
    return rc;
}

void hs_duo_full_close(hs_duo_full *f) {
    hs_duo_labels_close(&f->labels);
    hs_held_close(f->held);
    free(f->hidden);
    *f = (hs_duo_full){0};
}

// ---- masks --------------------------------------------------------------------------------------

void hs_duo_mask(hs_buf *out, const hs_duo_opts *o, const hs_duo_set *set, int64_t from) {
    const hs_config *c = hs_model_config(o->model);
    const int64_t per = c->n_head / c->n_kv_head;
    hs_buf_printf(out, "mask:sink_recent,s=%" PRId64 ",w=%" PRId64, o->sink, o->recent);
    if (from) hs_buf_printf(out, ",pos=%" PRId64 ":", from);
    for (int64_t i = 0; i < set->n; i++) {
        const int64_t first = set->kv[i] % c->n_kv_head * per;
        hs_buf_printf(out, "%sL%" PRId64 "H%" PRId64 "-%" PRId64,
                      i ? "+" : ",heads=", set->kv[i] / c->n_kv_head, first, first + per - 1);
    }
}
