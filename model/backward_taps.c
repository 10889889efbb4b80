// The taps of what a backward pass runs forward; see backward_taps.h. Writes are the seed's and the
// edits', reads the values'.
#include "model/backward_taps.h"

#include <stdlib.h>

#include "model/core/mem.h"

static const hs_backward *job_of(void *ctx) {
    return ((const hs_back_taps *)ctx)->job;
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    const hs_backward *job = job_of(ctx);
    const hs_tap *to = write ? job->edits : job->values;
    if (write && site->point == HS_LOGITS) return job->seed(job->ctx, site, view);
    return to->rows ? to->rows(to->ctx, site, view, write) : HS_OK;
}

static int on_tile(void *ctx, const hs_tile *tile, bool write, int worker) {
    const hs_backward *job = job_of(ctx);
    const hs_tap *to = write ? job->edits : job->values;
    return to->tile ? to->tile(to->ctx, tile, write, worker) : HS_OK;
}

static int on_positions(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    const hs_tap *edits = job_of(ctx)->edits;
    return edits->positions(edits->ctx, seq, row0, n, id);
}

static int done(const hs_tap *tap, int layer) {
    return tap && tap->layer_done ? tap->layer_done(tap->ctx, layer) : HS_OK;
}

static int on_edited(void *ctx, int layer) {
    return done(job_of(ctx)->edits, layer);
}

static int on_shown(void *ctx, int layer) {
    int rc = on_edited(ctx, layer);
    return rc ? rc : done(job_of(ctx)->values, layer);
}

// A residual that layers run again from was edited before it was kept.
static void fill(hs_back_taps *t, int64_t n_layer) {
    const hs_tap *values = t->job->values, *edits = t->job->edits;
    for (int64_t l = 0; l < n_layer; l++) {
        t->write_up[l] = edits && edits->write ? edits->write[l] : 0;
        t->write_again[l] = t->write_up[l] & ~HS_BIT(HS_RESID_PRE);
    }
    if (t->job->seed) t->write_up[n_layer] = HS_BIT(HS_LOGITS);
    for (int64_t i = 0; i < n_layer * t->n_head; i++)
        t->tile_want[i] = (uint8_t)((values && values->tile_want ? values->tile_want[i] : 0) |
                                    (edits && edits->tile_want ? edits->tile_want[i] : 0));
    t->again = (hs_tap){.ctx = t,
                        .read = values ? values->read : NULL,
                        .write = t->write_again,
                        .tile_want = t->tile_want,
                        .tile_rows = values ? values->tile_rows : 0,
                        .own_type = values && values->own_type,
                        .rows = on_rows,
                        .tile = on_tile,
                        .layer_done = on_shown,
                        .positions = edits && edits->positions ? on_positions : NULL};
    t->up = t->again;
    t->up.write = t->write_up;
    if (t->job->once) return;
    t->up.read = NULL;
    t->up.tile_want = edits ? edits->tile_want : NULL;
    t->up.layer_done = on_edited;
}

int hs_back_taps_open(hs_back_taps *t, const hs_backward *job, const hs_config *c) {
    const hs_tap *edits = job->edits;
    *t = (hs_back_taps){.job = job, .n_head = c->n_head};
    for (int64_t i = 0; edits && edits->tile_want && i < c->n_layer * c->n_head; i++)
        if (edits->tile_want[i] & ~HS_TILE_WRITE_SCORES)
            return hs_fail(HS_EARG, "gradients do not go through edits of patterns");
    if (edits && edits->block)
        return hs_fail(HS_EARG, "gradients do not go through rows that see later ones");
    int rc = hs_alloc(&t->write_up, 2 * ((size_t)c->n_layer + 1), sizeof *t->write_up);
    if (!rc) rc = hs_alloc(&t->tile_want, (size_t)c->n_layer, (size_t)c->n_head);
    if (rc) return rc;
    t->write_again = t->write_up + c->n_layer + 1;
    fill(t, c->n_layer);
    return HS_OK;
}

void hs_back_taps_close(hs_back_taps *t) {
    free(t->write_up);
    free(t->tile_want);
}

const uint8_t *hs_back_taps_masks(const hs_back_taps *t, int layer) {
    const hs_tap *edits = t->job->edits;
    return edits && edits->tile && edits->tile_want ? edits->tile_want + layer * t->n_head : NULL;
}
