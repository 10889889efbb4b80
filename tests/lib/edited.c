// See edited.h. Asserts through cmocka.
#include "tests/lib/edited.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static int cap_rows(void *ctx, const hs_site *site, const hs_view *view) {
    cap *c = ctx;
    return c->tap.rows(c, site, view, false);
}

static int cap_tile(void *ctx, const hs_tile *tile, int worker) {
    cap *c = ctx;
    return c->tap.tile(c, tile, false, worker);
}

static void watch(hs_hooks *hooks, cap *c, const hs_dims *dims, uint64_t points) {
    uint64_t mask[CAP_LAYERS + 1];
    for (int l = 0; l <= dims->n_layer; l++) {
        mask[l] = 0;
        for (int p = 0; p < HS_N_POINT; p++)
            if ((hs_point_infos[p].scope == HS_SCOPE_MODEL) == (l == dims->n_layer))
                mask[l] |= HS_BIT(p) & dims->points & (points ? points : LAW_ALL);
    }
    must(hs_hooks_add(hooks,
                      &(hs_hook){.points = mask, .rows = cap_rows, .tile = cap_tile, .ctx = c}));
}

static int open_all(hs_edit **edit, const hs_dims *dims, const edited *e) {
    int n = 0;
    for (; n < EDITED_SPECS && e->spec[n]; n++) must(hs_edit_open(&edit[n], dims, e->spec[n]));
    return n;
}

// Rows [from, from + n) of all sequences; the middle one is of `seed`.
static void eval_rows(hs_context *x, const edited *e, uint64_t seed, int64_t from, int64_t n) {
    int32_t ids[CAP_SEQS][LAW_N_CTX];
    hs_seq seq[CAP_SEQS];
    const int n_seq = 2 * e->around + 1;
    assert_true(n_seq <= CAP_SEQS);
    for (int s = 0; s < n_seq; s++) {
        law_tokens(ids[s], LAW_N_CTX, s == e->around ? seed : seed + 1 + (uint64_t)s);
        seq[s] = (hs_seq){.tokens = ids[s] + from, .n = n, .slot = s};
    }
    law_eval(x, &(hs_batch){.seq = seq, .n_seq = n_seq, .logits = HS_LOGITS_ALL});
}

static void eval_all(const hs_model *m, const edited *e, const hs_tap *tap, uint64_t seed,
                     int64_t n) {
    hs_context_opts opts = e->opts;
    const int64_t step = e->step ? e->step : n;
    if (e->step) {
        opts.kv_capacity = LAW_N_CTX;
        opts.n_slot = 2 * e->around + 1;
    }
    hs_context *x = law_context(m, opts, tap);
    for (int64_t at = 0, rows = e->step && e->prompt ? e->prompt : step; at < n; rows = step) {
        eval_rows(x, e, seed, at, n - at < rows ? n - at : rows);
        at += rows;
    }
    hs_context_close(x);
}

void edited_run(cap *c, const hs_model *m, const edited *e, uint64_t seed, int64_t n) {
    const hs_dims dims = hs_dims_of(m);
    hs_edit *edit[EDITED_SPECS];
    hs_ref refs[EDITED_SPECS];
    hs_edit_seq seq[CAP_SEQS] = {0};
    hs_edits *edits;
    hs_hooks *hooks;
    cap_open(c, m, LAW_N_CTX);
    must(hs_edits_open(&edits, &dims));
    must(hs_hooks_open(&hooks, &dims));
    const int n_edit = open_all(edit, &dims, e);
    for (int i = 0; i < n_edit; i++) refs[i] = e->ref ? *e->ref : (hs_ref){0};
    seq[e->around] = (hs_edit_seq){
        edit, refs, n_edit, {0, "p", e->prompt ? e->prompt : n, {NULL, 0}, {e->span, e->n_span}}};
    for (int i = 0; i < n_edit; i++) must(hs_edit_check(edit[i], &seq[e->around].prompt));
    must(hs_edits_hook(edits, hooks, edit, n_edit));
    watch(hooks, c, &dims, e->points);
    hs_hooks_tile_rows(hooks, e->tile_rows);
    must(hs_edits_aim(edits, seq, 2 * e->around + 1));
    eval_all(m, e, hs_hooks_tap(hooks), seed, n);
    hs_hooks_close(hooks);
    hs_edits_close(edits);
    for (int i = 0; i < n_edit; i++) hs_edit_close(edit[i]);
}

int edited_try(const hs_model *m, const char *spec, int64_t n) {
    const hs_dims dims = hs_dims_of(m);
    hs_edit *edit;
    int rc = hs_edit_open(&edit, &dims, spec);
    if (!rc) rc = hs_edit_check(edit, &(hs_edit_prompt){.id = "p", .n_token = n});
    hs_edit_close(edit);
    return rc;
}

// ---- a capture as reference ---------------------------------------------------------------------

static const cap_tensor *held(const cap *c, enum hs_point point, int layer) {
    return &c->at[0][layer < 0 ? c->cfg->n_layer : layer][point];
}

static int ref_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                    float *out) {
    const cap *c = ctx;
    const cap_tensor *t = held(c, point, layer);
    if (!t->data || row0 + n > c->t_max) return hs_fail(HS_ENOTFOUND, "the capture lacks it");
    memcpy(out, t->data + row0 * t->width, (size_t)(n * t->width) * sizeof *out);
    return HS_OK;
}

static int ref_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                   int64_t n_key, float *out, int64_t ld) {
    const cap *c = ctx;
    const cap_tensor *t = held(c, point, layer);
    if (!t->data || row0 + n > c->t_max) return hs_fail(HS_ENOTFOUND, "the capture lacks it");
    for (int64_t r = 0; r < n; r++)
        memcpy(out + r * ld, t->data + (head * c->t_max + row0 + r) * c->t_max,
               (size_t)n_key * sizeof *out);
    return HS_OK;
}

hs_ref edited_ref(cap *c, int64_t n_row) {
    return (hs_ref){.ctx = c, .n_row = n_row, .rows = ref_rows, .map = ref_map};
}
