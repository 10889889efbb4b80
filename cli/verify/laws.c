// verify: the laws of the engine on one checkpoint, with a short sequence of arbitrary tokens.
//
// What is computed here is computed anew, in double and in the plainest way, from what the hooks
// deliver and the weights hold; what must not change anything is compared to the bit.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/verify/lab.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

double hs_worse(double seen, double a, double b) {
    double d = fabs(a - b);
    if (a == b) d = 0; // infinities
    return isnan(seen) || d <= seen ? seen : d;
}

int hs_checks_add(hs_checks *c, const char *name, double difference, double magnitude,
                  double limit) {
    int rc = hs_grow(&c->at, (size_t)c->n + 1, sizeof *c->at);
    if (rc) return rc;
    hs_check *k = &c->at[c->n++];
    *k = (hs_check){.difference = difference,
                    .magnitude = magnitude,
                    .limit = limit,
                    .passed = isnan(limit) || difference <= limit};
    snprintf(k->name, sizeof k->name, "%s", name);
    c->failed += !k->passed;
    return HS_OK;
}

// ---- laws of what changes nothing -----------------------------------------------------------

static int edit_nothing(void *ctx, const hs_site *site, const hs_view *view) {
    (void)ctx, (void)site, (void)view;
    return HS_OK;
}

static int edit_no_tile(void *ctx, const hs_tile *tile, int worker) {
    (void)ctx, (void)tile, (void)worker;
    return HS_OK;
}

// Zeroes what it is given: [n_row, a, b].
static int edit_zero(void *ctx, const hs_site *site, const hs_view *v) {
    (void)ctx;
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t a = 0; a < v->shape[1]; a++)
            for (int64_t b = 0; b < (v->ndim > 2 ? v->shape[2] : 1); b++)
                ((float *)v->data)[r * v->stride[0] + a * v->stride[1] +
                                   (v->ndim > 2 ? b * v->stride[2] : 0)] = 0;
    return HS_OK;
}

static int edits(const hs_lab *b) {
    uint64_t *all = NULL, *z = NULL, writable = 0;
    hs_capture *c = NULL;
    for (int p = 0; p < HS_N_POINT; p++)
        if (hs_point_infos[p].writable) writable |= HS_BIT(p);
    int rc = hs_lab_sets(&b->dims, writable, &all);
    if (!rc) rc = hs_lab_sets(&b->dims, HS_BIT(HS_Z), &z);
    hs_hook nothing = {.points = all, .write = true, .rows = edit_nothing, .tile = edit_no_tile};
    hs_hook zero = {.points = z, .write = true, .rows = edit_zero};
    if (!rc)
        rc = hs_lab_same_bits(b, "edits that change nothing leave the logits",
                              &(hs_variant){.points = HS_BIT(HS_LOGITS), .edit = &nothing},
                              HS_LOGITS);
    if (!rc) rc = hs_lab_run(b, &(hs_variant){.points = HS_BIT(HS_LOGITS), .edit = &zero}, &c);
    if (!rc) {
        double d = 0;
        const float *x = hs_capture_at(b->base, HS_LOGITS, -1);
        const float *y = hs_capture_at(c, HS_LOGITS, -1);
        for (int64_t i = 0; i < hs_capture_count(c, HS_LOGITS); i++) d = hs_worse(d, x[i], y[i]);
        // Passes when something moved: 0 off says so, 1 says that nothing did.
        rc = hs_checks_add(b->out, "zeroing every head's z moves the logits", d > 0 ? 0 : 1, 0, 0);
    }
    hs_capture_close(c);
    free(all);
    free(z);
    return rc;
}

static int watching_changes_nothing(const hs_lab *b) {
    return hs_lab_same_bits(b, "logits do not depend on who watches",
                            &(hs_variant){.points = HS_BIT(HS_LOGITS)}, HS_LOGITS);
}

static int token_by_token(const hs_lab *b) {
    return hs_lab_same_bits(b, "prefill = token by token",
                            &(hs_variant){.points = HS_BIT(HS_LOGITS), .one_by_one = true},
                            HS_LOGITS);
}

static int batch_is_alone(const hs_lab *b) {
    return hs_lab_same_bits(b, "in a batch = alone",
                            &(hs_variant){.points = HS_BIT(HS_LOGITS), .others = true}, HS_LOGITS);
}

static int tiles_do_not_matter(const hs_lab *b) {
    int rc = hs_lab_same_bits(b, "pattern in tiles of 1 row = whole",
                              &(hs_variant){.points = HS_BIT(HS_PATTERN), .tile_rows = 1},
                              HS_PATTERN);
    if (rc) return rc;
    return hs_lab_same_bits(b, "pattern in tiles of 7 rows = whole",
                            &(hs_variant){.points = HS_BIT(HS_PATTERN), .tile_rows = 7},
                            HS_PATTERN);
}

static int one_thread(const hs_lab *b) {
    hs_model_options one = *b->again;
    hs_model *model;
    one.threads = 1;
    one.weights = HS_WEIGHT_EXPAND;
    int rc = hs_cli_model_open(&model, b->path, &one, NULL);
    if (rc) return rc;
    rc = hs_lab_same_bits(b, "one thread and packed weights = all threads and f32 weights",
                          &(hs_variant){.model = model, .points = HS_BIT(HS_LOGITS)}, HS_LOGITS);
    hs_model_close(model);
    return rc;
}

static hs_law *const other_laws[] = {edits,
                                     watching_changes_nothing,
                                     token_by_token,
                                     batch_is_alone,
                                     tiles_do_not_matter,
                                     one_thread,
                                     NULL};

// ---- all of them ----------------------------------------------------------------------------

static int check_all(const hs_lab *b, const hs_progress *progress) {
    hs_law *const *const all[] = {hs_attention_laws, hs_stream_laws, other_laws};
    enum { N = sizeof all / sizeof *all };
    int rc = HS_OK, n = 0, done = 0;
    for (int k = 0; k < N; k++)
        for (int i = 0; all[k][i]; i++) n++;
    for (int k = 0; k < N; k++)
        for (int i = 0; all[k][i] && !rc; i++) {
            rc = hs_progress_step(progress, "checking laws", done++, n);
            if (!rc) rc = all[k][i](b);
        }
    return rc;
}

int hs_verify_laws(hs_checks *out, const hs_model *model, const char *path,
                   const hs_model_options *again, const hs_progress *progress) {
    const hs_config *c = hs_model_config(model);
    hs_lab b = {.out = out,
                .model = model,
                .path = path,
                .again = again,
                .dims = hs_dims_of(model),
                .n = c->n_ctx < HS_LAB_ROWS ? c->n_ctx : HS_LAB_ROWS};
    hs_prng random = hs_prng_seed(1);
    for (int i = 0; i < HS_LAB_ROWS; i++)
        b.tokens[i] = (int32_t)hs_prng_below(&random, (uint64_t)c->n_vocab);
    for (int i = 0; i < HS_LAB_OTHER_ROWS; i++)
        b.other[i] = (int32_t)hs_prng_below(&random, (uint64_t)c->n_vocab);
    int rc = hs_lab_run(&b, &(hs_variant){.points = b.dims.points & ~HS_BIT(HS_RESULT)}, &b.base);
    if (!rc) rc = check_all(&b, progress);
    hs_capture_close(b.base);
    return rc;
}
