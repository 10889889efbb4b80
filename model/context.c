// A context: slots with kept keys and values, the work buffers of forward.c, the tap.
//
// Memory for an evaluation of n tokens, in numbers of the backend's type: the residual and the
// rotations of all rows (n (d_model + rope_dim)), keys and values of the layer in work
// (2 n n_kv_head d_head) or, when they are kept, of all layers and the slots' whole capacity; the
// buffers of one row block, which do not grow with n; where a layer is surveyed, the queries of all
// rows. Everything is made here or grown in
// hs_context_reserve before the layers.
#include "model/context.h"

#include <stdlib.h>

#include "model/elem.h"
#include "model/model_internal.h"

enum { ROW_BLOCK_MAX = 1 << 16 };

// ---- sizes --------------------------------------------------------------------------------------

static void buffer_widths(const hs_config *c, int64_t width[HS_N_BUF]) {
    const int64_t q = c->n_head * c->d_head, kv = c->n_kv_head * c->d_head;
    const int64_t gate = c->mlp == HS_MLP_GATED ? c->d_ff : 0;
    const int64_t widths[HS_N_BUF] = {
        [HS_BUF_SCALE] = 1,
        [HS_BUF_OLD_SCALE] = 1,
        [HS_BUF_NORMALIZED] = c->d_model,
        [HS_BUF_NORMED] = c->d_model,
        [HS_BUF_Q] = q,
        [HS_BUF_K] = kv,
        [HS_BUF_V] = kv,
        [HS_BUF_Z] = q,
        [HS_BUF_PRE] = c->mlp == HS_MLP_NONE ? 0 : c->d_ff,
        [HS_BUF_LINEAR] = gate,
        [HS_BUF_OUT] = c->d_model,
    };
    for (int i = 0; i < HS_N_BUF; i++) width[i] = widths[i];
}

static int64_t block_items(const int64_t width[HS_N_BUF], int64_t rows) {
    int64_t n = 0;
    for (int i = 0; i < HS_N_BUF; i++) n += (width[i] * rows + 15) / 16 * 16;
    return n;
}

static int resolve_opts(const hs_context_opts *in, hs_context_opts *o) {
    *o = in ? *in : (hs_context_opts){0};
    if (!o->n_slot) o->n_slot = 1;
    if (!o->tail_capacity) o->tail_capacity = o->kv_capacity;
    if (!o->row_block) o->row_block = HS_ROW_BLOCK;
    if (o->kv_capacity < 0 || o->kv_capacity > INT32_MAX || o->n_slot < 0 || o->tail_capacity < 0 ||
        o->tail_capacity > o->kv_capacity)
        return hs_fail(HS_EARG, "a context of %d slots of %lld and %lld positions", o->n_slot,
                       (long long)o->kv_capacity, (long long)o->tail_capacity);
    if (o->row_block < 0 || o->row_block > ROW_BLOCK_MAX)
        return hs_fail(HS_EARG, "row blocks of %lld rows: give 1 to %d", (long long)o->row_block,
                       ROW_BLOCK_MAX);
    return HS_OK;
}

int64_t hs_context_capacity(const hs_context_opts *o, int64_t i) {
    return i ? o->tail_capacity : o->kv_capacity;
}

hs_extent hs_context_extent(const hs_config *c, const hs_context_opts *o, int64_t n_row,
                            int64_t n_key, int64_t tile_rows) {
    const int64_t q = c->n_head * c->d_head, ff = c->mlp == HS_MLP_NONE ? 0 : c->d_ff;
    const int64_t width = c->d_model > q ? c->d_model : q;
    return (hs_extent){.n_row = n_row < o->row_block ? n_row : o->row_block,
                       .width = width > ff ? width : ff,
                       .n_key = n_key,
                       .d_head = c->d_head,
                       .tile_rows = tile_rows};
}

hs_memory hs_context_memory(const hs_model *m, const hs_context_opts *opts, int64_t n_tokens,
                            enum hs_logits logits) {
    const hs_config *c = &m->cfg;
    const int64_t f32 = sizeof(float), item = hs_dtypes[m->be->dtype].bytes;
    const int64_t copy = m->be->dtype == HS_F32 ? 0 : f32; // of what others see as f32
    int64_t width[HS_N_BUF];
    hs_context_opts o;
    if (resolve_opts(opts, &o)) return (hs_memory){0};
    buffer_widths(c, width);
    const int64_t capacity = o.kv_capacity ? o.kv_capacity : n_tokens;
    const int64_t stores = o.kv_capacity ? c->n_layer : 1;
    const int64_t tails = (o.n_slot - 1) * m->be->kv_bytes(m->dev, c->n_kv_head, c->d_head,
                                                           o.kv_capacity ? o.tail_capacity : 0);
    const int64_t fit = HS_WIDE_MOST / c->n_vocab, room = fit < o.row_block ? fit : o.row_block;
    const int64_t wide = room < 1 ? 1 : room < n_tokens ? room : n_tokens;
    const hs_extent e = hs_context_extent(c, &o, n_tokens, capacity, 0);
    hs_memory need = {
        .rows = n_tokens * (c->d_model * (item + copy) + c->rope_dim * item),
        .keys = stores * (m->be->kv_bytes(m->dev, c->n_kv_head, c->d_head, capacity) + tails),
        .block = block_items(width, o.row_block) * item + o.row_block * c->n_head * HS_N_STAT * f32,
        .scratch = m->be->scratch_bytes(m->dev, &e),
    };
    if (logits == HS_LOGITS_LAST) need.rows += c->n_vocab * (item + copy);
    if (logits == HS_LOGITS_ALL || logits == HS_LOGITS_ROWS)
        need.block += wide * c->n_vocab * (item + copy);
    return need;
}

// ---- open and close -----------------------------------------------------------------------------

static size_t item(const hs_context *x) {
    return (size_t)hs_dtypes[x->dtype].bytes;
}

static int open_buffers(hs_context *x) {
    const int64_t rows = x->opts.row_block;
    buffer_widths(&x->model->cfg, x->width);
    int rc = hs_alloc(&x->buf[0], (size_t)block_items(x->width, rows), item(x));
    for (int i = 1; i < HS_N_BUF && !rc; i++)
        x->buf[i] = hs_elem_at(x->dtype, x->buf[i - 1], (x->width[i - 1] * rows + 15) / 16 * 16);
    if (!rc)
        rc = hs_alloc(&x->stats, (size_t)(rows * x->model->cfg.n_head * HS_N_STAT),
                      sizeof *x->stats);
    if (!rc) rc = hs_alloc(&x->pos, (size_t)rows, sizeof *x->pos);
    if (!rc) rc = hs_alloc(&x->piece, (size_t)rows, sizeof *x->piece);
    if (!rc) rc = hs_alloc(&x->attn, (size_t)rows, sizeof *x->attn);
    if (!rc) rc = hs_alloc(&x->head_piece, (size_t)rows, sizeof *x->head_piece);
    if (!rc && x->opts.kv_capacity)
        rc = hs_alloc(&x->slot, (size_t)x->opts.n_slot, sizeof *x->slot);
    return rc;
}

int hs_context_open(hs_context **out, const hs_model *model, const hs_context_opts *opts) {
    hs_context *x;
    *out = NULL;
    if (!model->can_run) return hs_fail(HS_EARG, "a model opened without its weights cannot run");
    int rc = hs_alloc(&x, 1, sizeof *x);
    if (rc) return rc;
    x->model = model;
    x->dtype = model->be->dtype;
    rc = resolve_opts(opts, &x->opts);
    if (!rc) rc = open_buffers(x);
    if (rc)
        hs_context_close(x);
    else
        *out = x;
    return rc;
}

void hs_context_close(hs_context *x) {
    if (!x) return;
    const hs_backend *be = x->model->be;
    for (int s = 0; x->slot && s < x->opts.n_slot; s++) {
        for (int64_t l = 0; x->slot[s].kv && l < x->model->cfg.n_layer; l++)
            if (x->slot[s].kv[l]) be->kv_close(x->slot[s].kv[l]);
        free(x->slot[s].kv);
    }
    for (int64_t s = 0; s < x->cap_seq; s++)
        if (x->seq[s].kv) be->kv_close(x->seq[s].kv);
    if (x->resid_f32 != x->resid) free(x->resid_f32);
    if (x->logits_f32 != x->logits) free(x->logits_f32);
    void *const blocks[] = {x->buf[0],     x->stats, x->pos,   x->piece,   x->attn,
                            x->head_piece, x->slot,  x->seq,   x->resid,   x->cos_sin,
                            x->logits,     x->wide,  x->shown, x->queries, x->id};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    free(x);
}

// ---- growth -------------------------------------------------------------------------------------

// Replaces a block by a larger one, of n numbers; contents are not kept.
static int regrow(const hs_context *x, void **block, int64_t n) {
    free(*block);
    return hs_alloc(block, (size_t)n, item(x));
}

// The same for a block that others see as f32.
static int regrow_seen(const hs_context *x, void **block, float **seen, int64_t n) {
    if (*seen != *block) free(*seen);
    *seen = NULL;
    int rc = regrow(x, block, n);
    if (rc) return rc;
    if (x->dtype != HS_F32) return hs_alloc(seen, (size_t)n, sizeof **seen);
    *seen = *block;
    return HS_OK;
}

int hs_context_show(hs_context *x, void *p, int64_t n, float **out) {
    int rc = HS_OK;
    *out = p;
    if (x->dtype == HS_F32) return HS_OK;
    if (n > x->cap_shown) {
        x->cap_shown = 0;
        free(x->shown);
        rc = hs_alloc(&x->shown, (size_t)n, sizeof *x->shown);
        if (!rc) x->cap_shown = n;
    }
    if (!rc) hs_dtypes[x->dtype].to_f32(p, x->shown, n);
    *out = x->shown;
    return rc;
}

void hs_context_hand_out(hs_context *x, int64_t n_rows, int64_t n_logits) {
    const hs_config *c = &x->model->cfg;
    if (x->dtype == HS_F32) return;
    hs_dtypes[x->dtype].to_f32(x->resid, x->resid_f32, n_rows * c->d_model);
    hs_dtypes[x->dtype].to_f32(x->logits, x->logits_f32, n_logits * c->n_vocab);
}

int hs_context_reserve_seqs(hs_context *x, int64_t n) {
    if (n <= x->cap_seq) return HS_OK;
    int rc = hs_grow(&x->seq, (size_t)n, sizeof *x->seq);
    if (rc) return rc;
    for (int64_t i = x->cap_seq; i < n; i++) x->seq[i] = (hs_run_seq){0};
    x->cap_seq = n;
    return HS_OK;
}

// The stores of one sequence: all layers of its slot, or its own for the layer in work.
static int reserve_kv(hs_context *x, hs_run_seq *s) {
    const hs_config *c = &x->model->cfg;
    const hs_backend *be = x->model->be;
    hs_dev *dev = x->model->dev;
    int rc = HS_OK;
    if (!s->slot) {
        if (s->n <= s->kv_cap) return HS_OK;
        if (s->kv) be->kv_close(s->kv);
        s->kv = NULL;
        s->kv_cap = 0;
        rc = be->kv_open(dev, &s->kv, c->n_kv_head, c->d_head, s->n);
        if (!rc) s->kv_cap = s->n;
        return rc;
    }
    if (!s->slot->kv) rc = hs_alloc(&s->slot->kv, (size_t)c->n_layer, sizeof *s->slot->kv);
    for (int64_t l = 0; l < c->n_layer && !rc; l++)
        if (!s->slot->kv[l])
            rc = be->kv_open(dev, &s->slot->kv[l], c->n_kv_head, c->d_head,
                             hs_context_capacity(&x->opts, s->slot - x->slot));
    return rc;
}

// The backend's own room; for all that a slot may hold, since decoding comes back a row at a time.
static int reserve_scratch(const hs_context *x, const hs_need_room *need) {
    int64_t n_key = 1;
    for (int64_t i = 0; i < need->n_seq; i++) {
        const hs_run_seq *s = &x->seq[i];
        const int64_t end = s->pos0 + s->n;
        if (end > n_key) n_key = end;
        if (!s->slot) continue;
        const int64_t most = s->n_prefix + hs_context_capacity(&x->opts, s->slot - x->slot);
        if (most > n_key) n_key = most;
    }
    const hs_extent e = hs_context_extent(&x->model->cfg, &x->opts, need->rows, n_key,
                                          x->tap ? x->tap->tile_rows : 0);
    return x->model->be->reserve(x->model->dev, &e);
}

int hs_context_reserve(hs_context *x, const hs_need_room *need) {
    const hs_config *c = &x->model->cfg;
    int rc = HS_OK;
    for (int64_t i = 0; i < need->n_seq && !rc; i++) rc = reserve_kv(x, &x->seq[i]);
    if (!rc && need->rows > x->cap_rows) {
        x->cap_rows = 0;
        rc = regrow_seen(x, &x->resid, &x->resid_f32, need->rows * c->d_model);
        if (!rc && c->pos == HS_POS_ROPE) rc = regrow(x, &x->cos_sin, need->rows * c->rope_dim);
        if (!rc) x->cap_rows = need->rows;
    }
    if (!rc && x->tap && x->tap->positions && need->rows > x->cap_id) {
        x->cap_id = 0;
        free(x->id);
        rc = hs_alloc(&x->id, (size_t)need->rows, sizeof *x->id);
        if (!rc) x->cap_id = need->rows;
    }
    if (!rc && need->last > x->cap_last) {
        x->cap_last = 0;
        rc = regrow_seen(x, &x->logits, &x->logits_f32, need->last * c->n_vocab);
        if (!rc) x->cap_last = need->last;
    }
    if (!rc && need->wide > x->cap_wide) {
        x->cap_wide = 0;
        rc = regrow(x, &x->wide, need->wide);
        if (!rc) x->cap_wide = need->wide;
    }
    if (!rc && need->queries && need->rows > x->cap_queries) {
        x->cap_queries = 0;
        rc = regrow(x, &x->queries, need->rows * x->width[HS_BUF_Q]);
        if (!rc) x->cap_queries = need->rows;
    }
    return rc ? rc : reserve_scratch(x, need);
}

// ---- questions ----------------------------------------------------------------------------------

const hs_model *hs_context_model(const hs_context *x) {
    return x->model;
}

void hs_context_set_tap(hs_context *x, const hs_tap *tap) {
    x->tap = tap;
}

const float *hs_context_resid(const hs_context *x) {
    return x->n_rows ? x->resid_f32 : NULL;
}

const float *hs_context_logits(const hs_context *x) {
    return x->has_logits ? x->logits_f32 : NULL;
}

int64_t hs_context_len(const hs_context *x, int slot) {
    return x->slot && slot >= 0 && slot < x->opts.n_slot ? x->slot[slot].len : 0;
}

void hs_context_truncate(hs_context *x, int slot, int64_t len) {
    if (hs_context_len(x, slot) == 0 || len >= hs_context_len(x, slot)) return;
    hs_slot *s = &x->slot[slot];
    s->len = len < s->n_prefix || len < 0 ? 0 : len;
}
