// The forward pass: one for all families, driven by hs_config.
//
// The rows of all sequences lie end to end. Work goes layer by layer, and within a layer in blocks
// of rows that cross the borders of sequences: matrix products see whole blocks, attention and
// hooks see the pieces of single sequences. Keys and values of earlier rows of a layer are there
// when a block needs them, so blocks, batches and one token at a time give the same bits.
//
// Per layer (x is the residual):
//     x -> norm1 -> q, k, v -> RoPE -> attention -> z -> W_O -> added to x -> norm2 -> MLP -> added
// After each named step the tap is asked: write hooks first, then read hooks, on what the next
// step goes on with. An unwatched point costs one test of a mask.
//
// Activations are numbers of the backend's type, addressed in elements through `at`; the tap is
// shown f32 in any case.
#include <string.h>

#include "model/context.h"
#include "model/elem.h"
#include "model/model_internal.h"

// One evaluation in work.
struct run {
    hs_context *x;
    const hs_model *m;
    const hs_config *c;
    const hs_backend *be;
    hs_dev *dev;
    const hs_tap *tap;
    int64_t n_rows;
    int n_seq;
    enum hs_logits logits;

    int layer;            // in work; n_layer stands for the model's own points
    uint64_t read, write; // its masks
    // The block in work.
    int64_t row0, n; // its rows in the batch
    int n_piece;
    int next_seq;     // where the next block begins
    int64_t next_row; // within that sequence
};

static void *buffer(const struct run *r, enum hs_buffer b) {
    return r->x->buf[b];
}

// Element i of a buffer or another matrix of activations.
static void *at(const struct run *r, void *p, int64_t i) {
    return hs_elem_at(r->x->dtype, p, i);
}

static void copy(const struct run *r, void *to, void *from, int64_t n) {
    memcpy(to, from, (size_t)(n * hs_dtypes[r->x->dtype].bytes));
}

static const hs_weight *weight(const struct run *r, enum hs_role role) {
    return hs_model_bound(r->m, role, r->layer)->weight;
}

static const float *vector(const struct run *r, enum hs_role role) {
    return hs_model_bound(r->m, role, r->layer)->vector;
}

static void enter_layer(struct run *r, int64_t layer) {
    const hs_tap *t = r->tap;
    const uint64_t maps = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN);
    const uint64_t served = t ? (t->rows ? ~maps : 0) | (t->tile && t->tile_want ? maps : 0) : 0;
    r->layer = (int)layer;
    r->read = t && t->read ? t->read[layer] & served : 0;
    r->write = t && t->write ? t->write[layer] & served : 0;
}

// ---- the tap ------------------------------------------------------------------------------------

// The shape of one row of a point: [a] or [a, b].
static int row_shape(const hs_config *c, enum hs_point p, int64_t *a, int64_t *b) {
    const int64_t shapes[][2] = {
        [HS_SHAPE_D] = {c->d_model, 0},
        [HS_SHAPE_1] = {1, 0},
        [HS_SHAPE_HEAD] = {c->n_head, c->d_head},
        [HS_SHAPE_KV] = {c->n_kv_head, c->d_head},
        [HS_SHAPE_FF] = {c->d_ff, 0},
        [HS_SHAPE_RESULT] = {c->n_head, c->d_model},
        [HS_SHAPE_VOCAB] = {c->n_vocab, 0},
    };
    *a = shapes[hs_point_infos[p].shape][0];
    *b = shapes[hs_point_infos[p].shape][1];
    return *b ? 3 : 2;
}

// Hands over rows [lo, hi) of the block, which begin at `data`, a piece at a time.
static int give_rows(const struct run *r, enum hs_point p, void *data, int64_t lo, int64_t hi,
                     bool write) {
    int64_t a, b;
    const int ndim = row_shape(r->c, p, &a, &b);
    const int64_t ld = b ? a * b : a;
    for (int i = 0; i < r->n_piece; i++) {
        const hs_piece *s = &r->x->piece[i];
        const int64_t from = s->row > lo ? s->row : lo;
        const int64_t to = s->row + s->n < hi ? s->row + s->n : hi;
        if (from >= to) continue;
        void *rows = at(r, data, (from - lo) * ld);
        float *shown;
        int rc = hs_context_show(r->x, rows, (to - from) * ld, &shown);
        if (rc) return rc;
        const hs_view view = {shown, HS_F32, ndim, {to - from, a, b}, {ld, b ? b : 1, 1}};
        const hs_site site = {p, r->layer == r->c->n_layer ? -1 : r->layer, s->seq,
                              s->pos + from - s->row, to - from};
        rc = r->tap->rows(r->tap->ctx, &site, &view, write);
        if (rc) return rc;
        if (write) hs_elem_take(r->x->dtype, rows, shown, (to - from) * ld);
    }
    return HS_OK;
}

static bool watched(const struct run *r, enum hs_point p) {
    return ((r->read | r->write) & HS_BIT(p)) != 0;
}

static int fire_rows(const struct run *r, enum hs_point p, void *data, int64_t lo, int64_t hi) {
    int rc = HS_OK;
    if (!watched(r, p)) return HS_OK;
    if (r->write & HS_BIT(p)) rc = give_rows(r, p, data, lo, hi, true);
    if (!rc && r->read & HS_BIT(p)) rc = give_rows(r, p, data, lo, hi, false);
    return rc;
}

static int fire(const struct run *r, enum hs_point p, void *data) {
    return fire_rows(r, p, data, 0, r->n);
}

// ---- blocks -------------------------------------------------------------------------------------

static void first_block(struct run *r) {
    r->row0 = r->n = 0;
    r->next_seq = 0;
    r->next_row = 0;
}

// Moves to the next row block and cuts it into pieces; false after the last.
static bool next_block(struct run *r) {
    r->row0 += r->n;
    r->n = 0;
    r->n_piece = 0;
    while (r->next_seq < r->n_seq && r->n < r->x->opts.row_block) {
        const hs_run_seq *s = &r->x->seq[r->next_seq];
        const int64_t left = s->n - r->next_row, room = r->x->opts.row_block - r->n;
        const int64_t n = left < room ? left : room;
        r->x->piece[r->n_piece++] = (hs_piece){r->next_seq, r->n, n, s->pos0 + r->next_row};
        r->n += n;
        r->next_row += n;
        if (n < left) break;
        r->next_seq++;
        r->next_row = 0;
    }
    return r->n > 0;
}

static void *residual(const struct run *r) {
    return at(r, r->x->resid, r->row0 * r->c->d_model);
}

// ---- steps --------------------------------------------------------------------------------------

static hs_product product(const struct run *r, enum hs_role w, enum hs_role bias,
                          enum hs_buffer to) {
    return (hs_product){buffer(r, to), r->x->width[to], weight(r, w), vector(r, bias)};
}

static int linear(const struct run *r, const hs_product *p, int n, const void *from,
                  int64_t ld_from) {
    return r->be->linear(r->dev, p, n, from, ld_from, r->n);
}

// A scale edited by a hook divides anew; rows left alone keep their bits.
static int fire_scale(const struct run *r, enum hs_point p, int64_t n) {
    void *scale = buffer(r, HS_BUF_SCALE), *before = buffer(r, HS_BUF_OLD_SCALE);
    const int dtype = r->x->dtype;
    const bool edits = (r->write & HS_BIT(p)) != 0;
    if (edits) copy(r, before, scale, n);
    int rc = fire_rows(r, p, scale, 0, n);
    for (int64_t i = 0; edits && !rc && i < n; i++) {
        const double old = hs_elem_get(dtype, before, i), new = hs_elem_get(dtype, scale, i);
        void *row = at(r, buffer(r, HS_BUF_NORMALIZED), i * r->c->d_model);
        for (int64_t k = 0; new != old &&k < r->c->d_model; k++)
            hs_elem_set(dtype, row, k, hs_elem_get(dtype, row, k) * old / new);
    }
    return rc;
}

// The normed rows of x go to *out: a buffer, or x itself where the model has no norms.
static int norm(const struct run *r, enum hs_role gain, enum hs_role bias, enum hs_point scale,
                enum hs_point normalized, void *x, int64_t n, void **out) {
    const int64_t d = r->c->d_model;
    *out = x;
    if (r->c->norm == HS_NORM_NONE) return HS_OK;
    void *mid = buffer(r, HS_BUF_NORMALIZED);
    *out = buffer(r, HS_BUF_NORMED);
    int rc = r->be->norm_scale(r->dev, buffer(r, HS_BUF_SCALE), mid, x, n, d, r->c->norm,
                               r->c->norm_eps);
    if (!rc) rc = fire_scale(r, scale, n);
    if (!rc) rc = fire_rows(r, normalized, mid, 0, n);
    if (!rc) rc = r->be->norm_gain(r->dev, *out, mid, n, d, vector(r, gain), vector(r, bias));
    return rc;
}

static int rotate(const struct run *r, enum hs_buffer b, enum hs_point p, int64_t n_head) {
    const hs_config *c = r->c;
    if (c->pos != HS_POS_ROPE) return HS_OK;
    int rc = r->be->rope(r->dev, buffer(r, b), r->x->width[b], r->n, n_head, c->d_head, c->rope_dim,
                         at(r, r->x->cos_sin, r->row0 * c->rope_dim));
    return rc ? rc : fire(r, p, buffer(r, b));
}

// Keys and values of the sequence in the layer in work.
static hs_kv *own_kv(const struct run *r, const hs_run_seq *s) {
    return s->slot ? s->slot->kv[r->layer] : s->kv;
}

static float *stats_of(const struct run *r, const hs_piece *p) {
    return r->x->stats + p->row * r->c->n_head * HS_N_STAT;
}

static int attend_piece(const struct run *r, const hs_piece *p) {
    const hs_config *c = r->c;
    const hs_run_seq *s = &r->x->seq[p->seq];
    const int64_t w_q = r->x->width[HS_BUF_Q], w_kv = r->x->width[HS_BUF_K];
    const bool tiles = watched(r, HS_SCORES) || watched(r, HS_PATTERN);
    const bool stats = tiles || watched(r, HS_ROW_STATS);
    const double by_layer = c->scale_by_layer ? r->layer + 1 : 1;
    int rc = r->be->kv_put(r->dev, own_kv(r, s), p->pos - s->n_prefix, p->n,
                           at(r, buffer(r, HS_BUF_K), p->row * w_kv), w_kv,
                           at(r, buffer(r, HS_BUF_V), p->row * w_kv), w_kv);
    if (rc) return rc;
    // clang-format off
    const hs_attn attn = {
        .layer = r->layer, .seq = p->seq,
        .n_head = c->n_head, .n_kv_head = c->n_kv_head, .d_head = c->d_head,
        .scale = c->attn_scale / by_layer,
        .q = at(r, buffer(r, HS_BUF_Q), p->row * w_q), .ld_q = w_q,
        .z = at(r, buffer(r, HS_BUF_Z), p->row * w_q), .ld_z = w_q,
        .pos0 = p->pos, .n_q = p->n,
        .prefix = s->prefix ? s->prefix->kv[r->layer] : NULL, .own = own_kv(r, s),
        .n_prefix = s->n_prefix,
        .stats = stats ? stats_of(r, p) : NULL,
        .tap = tiles ? r->tap : NULL,
        .tile_want = tiles ? r->tap->tile_want + (int64_t)r->layer * c->n_head : NULL,
    };
    // clang-format on
    return r->be->attention(r->dev, &attn);
}

static int give_stats(const struct run *r, const hs_piece *p) {
    const hs_view view = {
        stats_of(r, p), HS_F32, 3, {r->c->n_head, HS_N_STAT, p->n}, {HS_N_STAT * p->n, p->n, 1}};
    const hs_site site = {HS_ROW_STATS, r->layer, p->seq, p->pos, p->n};
    return r->tap->rows(r->tap->ctx, &site, &view, false);
}

// Rows of `width` numbers that the wide buffer takes at a time.
static int64_t wide_rows(const struct run *r, int64_t width) {
    const int64_t fit = HS_WIDE_MOST / width, block = r->x->opts.row_block;
    return fit < 1 ? 1 : fit < block ? fit : block;
}

// What each head alone adds, before the bias: W_O applied to z with the other heads at 0, a few
// rows at a time. Costs n_head times the output projection.
static int give_results(const struct run *r) {
    const int64_t d_head = r->c->d_head, d = r->c->d_model, w = r->x->width[HS_BUF_Z];
    const int64_t row = r->c->n_head * d, step = wide_rows(r, row);
    void *one = buffer(r, HS_BUF_Q), *z = buffer(r, HS_BUF_Z); // q is spent and as wide as z
    int rc = HS_OK;
    for (int64_t lo = 0; lo < r->n && !rc; lo += step) {
        const int64_t n = r->n - lo < step ? r->n - lo : step;
        for (int64_t h = 0; h < r->c->n_head && !rc; h++) {
            const hs_product p = {at(r, r->x->wide, h * d), row, weight(r, HS_W_O), NULL};
            memset(one, 0, (size_t)(n * w * hs_dtypes[r->x->dtype].bytes));
            for (int64_t i = 0; i < n; i++)
                copy(r, at(r, one, i * w + h * d_head), at(r, z, (lo + i) * w + h * d_head),
                     d_head);
            rc = r->be->linear(r->dev, &p, 1, one, w, n);
        }
        if (!rc) rc = fire_rows(r, HS_RESULT, r->x->wide, lo, lo + n);
    }
    return rc;
}

static int attention(const struct run *r) {
    const hs_config *c = r->c;
    const int64_t d = c->d_model;
    const hs_product qkv[] = {product(r, HS_W_Q, HS_B_Q, HS_BUF_Q),
                              product(r, HS_W_K, HS_B_K, HS_BUF_K),
                              product(r, HS_W_V, HS_B_V, HS_BUF_V)};
    const hs_product o = product(r, HS_W_O, HS_B_O, HS_BUF_OUT);
    void *x = residual(r), *in, *out = buffer(r, HS_BUF_OUT);
    int rc = norm(r, HS_W_LN1, HS_B_LN1, HS_LN1_SCALE, HS_LN1_NORMALIZED, x, r->n, &in);
    if (!rc) rc = linear(r, qkv, 3, in, d);
    if (!rc) rc = fire(r, HS_Q, buffer(r, HS_BUF_Q));
    if (!rc) rc = fire(r, HS_K, buffer(r, HS_BUF_K));
    if (!rc) rc = fire(r, HS_V, buffer(r, HS_BUF_V));
    if (!rc) rc = rotate(r, HS_BUF_Q, HS_ROT_Q, c->n_head);
    if (!rc) rc = rotate(r, HS_BUF_K, HS_ROT_K, c->n_kv_head);
    for (int i = 0; i < r->n_piece && !rc; i++) rc = attend_piece(r, &r->x->piece[i]);
    for (int i = 0; i < r->n_piece && !rc && r->read & HS_BIT(HS_ROW_STATS); i++)
        rc = give_stats(r, &r->x->piece[i]);
    if (!rc) rc = fire(r, HS_Z, buffer(r, HS_BUF_Z));
    if (!rc && r->read & HS_BIT(HS_RESULT)) rc = give_results(r);
    if (!rc) rc = linear(r, &o, 1, buffer(r, HS_BUF_Z), r->x->width[HS_BUF_Z]);
    if (!rc) rc = fire(r, HS_ATTN_OUT, out);
    return rc ? rc : r->be->add(r->dev, x, x, out, r->n * d);
}

static int mlp(const struct run *r) {
    const hs_config *c = r->c;
    const bool gated = c->mlp == HS_MLP_GATED;
    // Ungated, the one product up is what enters the activation.
    const hs_product up[] = {gated ? product(r, HS_W_GATE, HS_B_GATE, HS_BUF_PRE)
                                   : product(r, HS_W_UP, HS_B_UP, HS_BUF_PRE),
                             product(r, HS_W_UP, HS_B_UP, HS_BUF_LINEAR)};
    const hs_product down = product(r, HS_W_DOWN, HS_B_DOWN, HS_BUF_OUT);
    void *x = residual(r), *in, *pre = buffer(r, HS_BUF_PRE), *out = buffer(r, HS_BUF_OUT);
    void *other = gated ? buffer(r, HS_BUF_LINEAR) : NULL;
    if (c->mlp == HS_MLP_NONE) return HS_OK;
    int rc = fire(r, HS_RESID_MID, x);
    if (!rc) rc = norm(r, HS_W_LN2, HS_B_LN2, HS_LN2_SCALE, HS_LN2_NORMALIZED, x, r->n, &in);
    if (!rc) rc = linear(r, up, gated ? 2 : 1, in, c->d_model);
    if (!rc) rc = fire(r, HS_MLP_PRE, pre);
    if (!rc && gated) rc = fire(r, HS_MLP_PRE_LINEAR, other);
    if (!rc) rc = r->be->act(r->dev, pre, pre, other, r->n * c->d_ff, c->act);
    if (!rc) rc = fire(r, HS_MLP_POST, pre);
    if (!rc) rc = linear(r, &down, 1, pre, c->d_ff);
    if (!rc) rc = fire(r, HS_MLP_OUT, out);
    return rc ? rc : r->be->add(r->dev, x, x, out, r->n * c->d_model);
}

static int layer(struct run *r, int64_t l) {
    int rc = HS_OK;
    enter_layer(r, l);
    for (first_block(r); !rc && next_block(r);) {
        rc = fire(r, HS_RESID_PRE, residual(r));
        if (!rc) rc = attention(r);
        if (!rc) rc = mlp(r);
        if (!rc) rc = fire(r, HS_RESID_POST, residual(r));
    }
    return !rc && r->tap && r->tap->layer_done ? r->tap->layer_done(r->tap->ctx, (int)l) : rc;
}

// ---- both ends ----------------------------------------------------------------------------------

static int add_positions(const struct run *r) {
    void *out = buffer(r, HS_BUF_OUT), *x = residual(r);
    for (int i = 0; i < r->n_piece; i++) {
        const hs_piece *p = &r->x->piece[i];
        for (int64_t j = 0; j < p->n; j++) r->x->pos[p->row + j] = (int32_t)(p->pos + j);
    }
    int rc = r->be->embed(r->dev, out, hs_model_table(r->m, HS_W_POS), r->x->pos, r->n);
    if (!rc) rc = fire(r, HS_POS_EMBED, out);
    return rc ? rc : r->be->add(r->dev, x, x, out, r->n * r->c->d_model);
}

static int embed(struct run *r) {
    int rc = HS_OK;
    enter_layer(r, r->c->n_layer);
    for (first_block(r); !rc && next_block(r);) {
        for (int i = 0; i < r->n_piece && !rc; i++) {
            const hs_piece *p = &r->x->piece[i];
            const hs_run_seq *s = &r->x->seq[p->seq];
            rc = r->be->embed(r->dev, at(r, residual(r), p->row * r->c->d_model),
                              hs_model_table(r->m, HS_W_EMBED), s->tokens + (p->pos - s->pos0),
                              p->n);
        }
        if (!rc) rc = fire(r, HS_EMBED, residual(r));
        if (!rc && r->c->pos == HS_POS_LEARNED) rc = add_positions(r);
    }
    return rc;
}

static int head(const struct run *r, void *y, const void *x, int64_t n) {
    const hs_product p = {y, r->c->n_vocab, weight(r, HS_W_HEAD), vector(r, HS_B_HEAD)};
    return r->be->linear(r->dev, &p, 1, x, r->c->d_model, n);
}

// Logits of a normed block, a few rows at a time.
static int stream_logits(const struct run *r, void *normed) {
    const int64_t step = wide_rows(r, r->c->n_vocab);
    int rc = HS_OK;
    for (int64_t lo = 0; lo < r->n && !rc; lo += step) {
        const int64_t hi = r->n < lo + step ? r->n : lo + step;
        rc = head(r, r->x->wide, at(r, normed, lo * r->c->d_model), hi - lo);
        if (!rc) rc = fire_rows(r, HS_LOGITS, r->x->wide, lo, hi);
    }
    return rc;
}

// The last rows of sequences [s0, s0 + n) as a block of pieces of one row.
static void last_pieces(struct run *r, int s0, int n) {
    r->n_piece = n;
    r->n = n;
    for (int i = 0; i < n; i++) {
        const hs_run_seq *s = &r->x->seq[s0 + i];
        r->x->piece[i] = (hs_piece){s0 + i, i, 1, s->pos0 + s->n - 1};
    }
}

// Keeps what the block in work holds of the sequences' last rows.
static void keep_last(const struct run *r, void *rows) {
    const int64_t d = r->c->d_model;
    for (int i = 0; i < r->n_piece; i++) {
        const hs_piece *p = &r->x->piece[i];
        const hs_run_seq *s = &r->x->seq[p->seq];
        if (p->pos + p->n != s->pos0 + s->n) continue;
        copy(r, at(r, r->x->last, p->seq * d), at(r, rows, (p->row + p->n - 1) * d), d);
    }
}

// Logits of the last rows, which lie in x->last: normed already, or still to be.
static int last_logits(struct run *r, bool normed) {
    const int64_t d = r->c->d_model;
    int rc = HS_OK;
    for (int s0 = 0; s0 < r->n_seq && !rc; s0 += (int)r->n) {
        const int64_t left = r->n_seq - s0, block = r->x->opts.row_block;
        void *rows = at(r, r->x->last, s0 * d), *logits = at(r, r->x->logits, s0 * r->c->n_vocab);
        last_pieces(r, s0, (int)(left < block ? left : block));
        if (!normed)
            rc = norm(r, HS_W_LNF, HS_B_LNF, HS_LNF_SCALE, HS_LNF_NORMALIZED, rows, r->n, &rows);
        if (!rc) rc = head(r, logits, rows, r->n);
        if (!rc) rc = fire(r, HS_LOGITS, logits);
    }
    return rc;
}

// The final norm runs over all rows when somebody watches it or all logits, else over the last.
static int finish(struct run *r) {
    enter_layer(r, r->c->n_layer);
    const bool stream = r->logits == HS_LOGITS_ALL && watched(r, HS_LOGITS);
    const bool normed = stream || watched(r, HS_LNF_SCALE) || watched(r, HS_LNF_NORMALIZED);
    int rc = HS_OK;
    for (first_block(r); !rc && next_block(r);) {
        void *rows = residual(r);
        if (normed)
            rc = norm(r, HS_W_LNF, HS_B_LNF, HS_LNF_SCALE, HS_LNF_NORMALIZED, rows, r->n, &rows);
        if (!rc && stream) rc = stream_logits(r, rows);
        if (!rc && r->logits == HS_LOGITS_LAST) keep_last(r, rows);
    }
    return !rc && r->logits == HS_LOGITS_LAST ? last_logits(r, normed) : rc;
}

// ---- the whole pass -----------------------------------------------------------------------------

// Numbers of the wide buffer: for results, for streamed logits, or none.
static int64_t need_wide(const struct run *r, int64_t from, int64_t to) {
    const int64_t result = r->c->n_head * r->c->d_model, vocab = r->c->n_vocab;
    int64_t need = 0;
    for (int64_t l = from; r->tap && r->tap->read && l < to; l++)
        if (r->tap->read[l] & HS_BIT(HS_RESULT)) need = wide_rows(r, result) * result;
    const int64_t logits = r->logits == HS_LOGITS_ALL ? wide_rows(r, vocab) * vocab : 0;
    return logits > need ? logits : need;
}

static void make_rotations(const struct run *r) {
    for (int i = 0; r->c->pos == HS_POS_ROPE && i < r->n_seq; i++) {
        const hs_run_seq *s = &r->x->seq[i];
        for (int64_t j = 0; j < s->n; j++)
            hs_model_rotation(r->m, s->pos0 + j, s->pos0 + s->n,
                              at(r, r->x->cos_sin, (s->row + j) * r->c->rope_dim));
    }
}

int hs_context_eval(hs_context *x, const hs_batch *batch) {
    const hs_model *m = x->model;
    const int64_t n_layer = m->cfg.n_layer, from = batch->layer_from;
    const int64_t to = batch->layer_to ? batch->layer_to : n_layer;
    struct run r = {.x = x,
                    .m = m,
                    .c = &m->cfg,
                    .be = m->be,
                    .dev = m->dev,
                    .tap = x->tap,
                    .n_seq = batch->n_seq,
                    .logits = HS_LOGITS_NONE};
    if (to == n_layer) r.logits = batch->logits;
    x->n_rows = 0;
    x->has_logits = false;
    int rc = hs_batch_take(x, batch, &r.n_rows);
    if (rc) return rc;
    const bool last = r.logits == HS_LOGITS_LAST;
    rc = hs_context_reserve(
        x, &(hs_need_room){r.n_seq, r.n_rows, last ? r.n_seq : 0, need_wide(&r, from, to)});
    if (rc) return rc;
    make_rotations(&r);

    if (!batch->resid)
        rc = embed(&r);
    else if (batch->resid != x->resid_f32) // what lies there already keeps all its digits
        hs_elem_from_f32(x->dtype, x->resid, batch->resid, r.n_rows * m->cfg.d_model);
    for (int64_t l = from; l < to && !rc; l++) rc = layer(&r, l);
    if (!rc && to == n_layer) rc = finish(&r);
    if (rc) return rc;
    x->n_rows = r.n_rows;
    x->has_logits = last;
    hs_context_hand_out(x, r.n_rows, last ? r.n_seq : 0);
    if (to == n_layer && from < to) hs_batch_keep(x, batch);
    return HS_OK;
}
