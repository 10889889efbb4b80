// A batch before and after the pass: each sequence checked and given its place, and the slots moved
// on once everything went well.
#include "model/model_internal.h"

static int place_on_prefix(hs_context *x, const hs_seq *in, hs_run_seq *s) {
    const int from = in->prefix_slot;
    s->pos0 = s->n_prefix = in->n_prefix;
    if (!in->n_prefix) return HS_OK;
    if (from < 0 || from >= x->opts.n_slot || from == in->slot || x->slot[from].n_prefix ||
        in->n_prefix < 0 || in->n_prefix > x->slot[from].len)
        return hs_fail(HS_ERANGE, "slot %d has no %lld positions of its own to lend", from,
                       (long long)in->n_prefix);
    s->prefix = &x->slot[from];
    return HS_OK;
}

// Where a sequence begins on its slot.
static int place_on_slot(hs_context *x, const hs_seq *in, hs_run_seq *s) {
    if (in->slot < 0 || in->slot >= x->opts.n_slot)
        return hs_fail(HS_ERANGE, "slot %d of %d", in->slot, x->opts.n_slot);
    s->slot = &x->slot[in->slot];
    if (s->slot->len) s->pos0 = s->slot->len;
    if (s->slot->serial == x->serial)
        return hs_fail(HS_EARG, "slot %d is in the batch twice", in->slot);
    s->slot->serial = x->serial;
    if (s->slot->len && (s->slot->n_prefix != in->n_prefix ||
                         (in->n_prefix && s->slot->prefix_slot != in->prefix_slot)))
        return hs_fail(HS_EARG, "slot %d began with another prefix", in->slot);
    const int64_t capacity = hs_context_capacity(&x->opts, in->slot);
    if (s->pos0 + in->n - in->n_prefix > capacity)
        return hs_fail(HS_ERANGE, "%lld positions on slot %d, which holds %lld",
                       (long long)(s->pos0 + in->n - in->n_prefix), in->slot, (long long)capacity);
    return HS_OK;
}

static int check_seq(hs_context *x, const hs_batch *batch, int i, int64_t row) {
    const hs_config *c = &x->model->cfg;
    const hs_seq *in = &batch->seq[i];
    hs_run_seq *s = &x->seq[i];
    *s = (hs_run_seq){
        .tokens = in->tokens, .row = row, .n = in->n, .kv = s->kv, .kv_cap = s->kv_cap};
    if (in->n < 1) return hs_fail(HS_ERANGE, "sequence %d is empty", i);
    if (in->n > c->n_ctx)
        return hs_fail(HS_ERANGE, "%lld tokens, the model's context is %lld", (long long)in->n,
                       (long long)c->n_ctx);
    if (!x->slot && in->n_prefix)
        return hs_fail(HS_EARG, "a shared prefix needs kept keys and values");
    int rc = x->slot ? place_on_prefix(x, in, s) : HS_OK;
    if (!rc && x->slot && in->slot != HS_SLOT_NONE) rc = place_on_slot(x, in, s);
    if (rc) return rc;
    if (s->pos0 + s->n > c->n_ctx)
        return hs_fail(HS_ERANGE, "%lld positions, the model's context is %lld",
                       (long long)(s->pos0 + s->n), (long long)c->n_ctx);
    if (batch->resid) return HS_OK;
    if (!in->tokens) return hs_fail(HS_EARG, "sequence %d has no tokens", i);
    for (int64_t t = 0; t < in->n; t++)
        if (in->tokens[t] < 0 || in->tokens[t] >= c->n_vocab)
            return hs_fail(HS_ERANGE, "token id %d at position %lld, the vocabulary has %lld",
                           in->tokens[t], (long long)(s->pos0 + t), (long long)c->n_vocab);
    return HS_OK;
}

// The rows that meet the head are in order, each once.
static int check_logit_rows(const hs_batch *b, int64_t n_rows) {
    if (b->logits != HS_LOGITS_ROWS) return HS_OK;
    if (b->n_logit_row < 0 || (b->n_logit_row && !b->logit_row))
        return hs_fail(HS_EARG, "%lld rows of logits, and no list of them",
                       (long long)b->n_logit_row);
    for (int64_t i = 0; i < b->n_logit_row; i++)
        if (b->logit_row[i] < (i ? b->logit_row[i - 1] + 1 : 0) || b->logit_row[i] >= n_rows)
            return hs_fail(HS_ERANGE, "logits of row %lld of %lld: rows go in order, each once",
                           (long long)b->logit_row[i], (long long)n_rows);
    return HS_OK;
}

int hs_batch_take(hs_context *x, const hs_batch *b, int64_t *n_rows) {
    const int64_t n_layer = x->model->cfg.n_layer, to = b->layer_to ? b->layer_to : n_layer;
    *n_rows = 0;
    x->serial++;
    if (b->n_seq < 1) return hs_fail(HS_EARG, "an empty batch");
    if (b->layer_from < 0 || b->layer_from > to || to > n_layer)
        return hs_fail(HS_ERANGE, "layers %d to %lld of %lld", b->layer_from, (long long)to,
                       (long long)n_layer);
    if (b->layer_from > 0 && !b->resid)
        return hs_fail(HS_EARG, "layer %d needs the residual that enters it", b->layer_from);
    int rc = hs_context_reserve_seqs(x, b->n_seq);
    for (int i = 0; i < b->n_seq && !rc; i++) {
        rc = check_seq(x, b, i, *n_rows);
        *n_rows += b->seq[i].n;
    }
    if (!rc && *n_rows > INT32_MAX)
        rc = hs_fail(HS_ERANGE, "%lld rows in one batch", (long long)*n_rows);
    return rc ? rc : check_logit_rows(b, *n_rows);
}

void hs_batch_keep(hs_context *x, const hs_batch *b) {
    for (int i = 0; i < b->n_seq && x->slot; i++) {
        hs_run_seq *s = &x->seq[i];
        if (!s->slot) continue;
        s->slot->len = s->pos0 + s->n;
        s->slot->n_prefix = s->n_prefix;
        s->slot->prefix_slot = b->seq[i].prefix_slot;
    }
}
