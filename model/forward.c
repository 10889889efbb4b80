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
// A layer whose maps somebody must see whole before a row of them is used (hs_tap's survey), or in
// which rows see later ones, goes in two halves: queries and keys of all blocks, the maps shown, then
// block by block from attention on.
//
// Activations are numbers of the backend's type, addressed in elements through `at`; the tap is
// shown f32 in any case.
#include "model/pass.h"

// ---- steps --------------------------------------------------------------------------------------

static hs_product product(const hs_pass *r, enum hs_role w, enum hs_role bias, enum hs_buffer to) {
    return (hs_product){buffer(r, to), r->x->width[to], weight(r, w), vector(r, bias)};
}

static int linear(const hs_pass *r, const hs_product *p, int n, const void *from, int64_t ld_from) {
    return r->be->linear(r->dev, p, n, from, ld_from, r->n);
}

// The block's queries.
static void *queries(const hs_pass *r) {
    return r->queries ? at(r, r->queries, r->row0 * r->x->width[HS_BUF_Q]) : buffer(r, HS_BUF_Q);
}

static int rotate(const hs_pass *r, void *x, enum hs_point p, int64_t n_head) {
    const hs_config *c = r->c;
    if (c->pos != HS_POS_ROPE) return HS_OK;
    int rc = r->be->rope(r->dev, x, n_head * c->d_head, r->n, n_head, c->d_head, c->rope_dim,
                         at(r, r->x->cos_sin, r->row0 * c->rope_dim));
    return rc ? rc : hs_pass_fire(r, p, x);
}

// Keys and values of the sequence in the layer in work.
static hs_kv *own_kv(const hs_pass *r, const hs_run_seq *s) {
    return s->slot ? s->slot->kv[r->layer] : s->kv;
}

static float *stats_of(const hs_pass *r, const hs_piece *p) {
    return r->x->stats + p->row * r->c->n_head * HS_N_STAT;
}

static int put_keys(const hs_pass *r, const hs_piece *p) {
    const hs_run_seq *s = &r->x->seq[p->seq];
    const int64_t ld = r->x->width[HS_BUF_K];
    return r->be->kv_put(r->dev, own_kv(r, s), p->pos - s->n_prefix, p->n,
                         at(r, buffer(r, HS_BUF_K), p->row * ld), ld,
                         at(r, buffer(r, HS_BUF_V), p->row * ld), ld);
}

static hs_attn attention_of(const hs_pass *r, const hs_piece *p) {
    const hs_config *c = r->c;
    const hs_run_seq *s = &r->x->seq[p->seq];
    const int64_t ld = r->x->width[HS_BUF_Q];
    const bool tiles = watched(r, HS_SCORES) || watched(r, HS_PATTERN);
    const double by_layer = c->scale_by_layer ? r->layer + 1 : 1;
    // clang-format off
    return (hs_attn){
        .layer = r->layer, .seq = p->seq,
        .n_head = c->n_head, .n_kv_head = c->n_kv_head, .d_head = c->d_head,
        .scale = c->attn_scale / by_layer,
        .q = at(r, queries(r), p->row * ld), .ld_q = ld,
        .z = at(r, buffer(r, HS_BUF_Z), p->row * ld), .ld_z = ld,
        .pos0 = p->pos, .n_q = p->n,
        .prefix = s->prefix ? s->prefix->kv[r->layer] : NULL, .own = own_kv(r, s),
        .n_prefix = s->n_prefix,
        .stats = watched(r, HS_ROW_STATS) ? stats_of(r, p) : NULL,
        .tap = tiles ? r->tap : NULL,
        .tile_want = tiles ? r->tap->tile_want + (int64_t)r->layer * c->n_head : NULL,
    };
    // clang-format on
}

// Attention of a piece's rows in three parts, in their order: those before the rows of the sequence
// that see each other, these, and those after them; all rows are the last part where there are none.
// False when a part has no row.
enum { PARTS = 3, EACH_OTHER = 1 };

static bool part_of(const hs_pass *r, const hs_piece *p, int part, hs_attn *a) {
    const hs_run_seq *s = &r->x->seq[p->seq];
    const int64_t cut[] = {0, s->block_from, s->block_to, INT64_MAX}, end = p->pos + p->n;
    const int64_t lo = cut[part] > p->pos ? cut[part] : p->pos;
    const int64_t hi = cut[part + 1] < end ? cut[part + 1] : end;
    if (lo >= hi) return false;
    *a = attention_of(r, &(hs_piece){p->seq, p->row + lo - p->pos, hi - lo, lo});
    a->until = part == EACH_OTHER ? s->block_to : 0;
    a->stats = a->stats ? stats_of(r, p) + lo - p->pos : NULL;
    a->ld_stats = p->n;
    return true;
}

static int attend(const hs_pass *r) {
    int rc = HS_OK;
    for (int part = 0; part < PARTS && !rc; part++) {
        int n = 0;
        for (int i = 0; i < r->n_piece; i++) n += part_of(r, &r->piece[i], part, &r->x->attn[n]);
        if (n) rc = r->be->attention(r->dev, r->x->attn, n);
    }
    return rc;
}

// Shows the maps of the block's rows that are surveyed.
static int show_maps(const hs_pass *r) {
    int rc = HS_OK;
    for (int part = 0; part < PARTS && !rc; part++) {
        int n = 0;
        for (int i = 0; i < r->n_piece; i++) {
            const hs_piece *p = &r->piece[i];
            const int64_t end = r->tap->survey(r->tap->ctx, r->layer, p->seq);
            hs_attn *a = &r->x->attn[n];
            if (!part_of(r, p, part, a) || end <= a->pos0) continue;
            if (end - a->pos0 < a->n_q) a->n_q = end - a->pos0;
            a->tap = r->tap;
            a->tile_want = r->tap->tile_want + (int64_t)r->layer * r->c->n_head;
            a->stats = NULL;
            a->survey = true;
            n++;
        }
        if (n) rc = r->be->attention(r->dev, r->x->attn, n);
    }
    return rc;
}

static int give_stats(const hs_pass *r, const hs_piece *p) {
    const hs_view view = {
        stats_of(r, p), HS_F32, 3, {r->c->n_head, HS_N_STAT, p->n}, {HS_N_STAT * p->n, p->n, 1}};
    const hs_site site = {HS_ROW_STATS, r->layer, p->seq, p->pos, p->n};
    return r->tap->rows(r->tap->ctx, &site, &view, false);
}

// What each head alone adds, before the bias: W_O applied to z with the other heads at 0, a few
// rows at a time. Costs n_head times the output projection.
static int give_results(const hs_pass *r) {
    const int64_t d_head = r->c->d_head, d = r->c->d_model, w = r->x->width[HS_BUF_Z];
    const int64_t row = r->c->n_head * d, step = hs_pass_wide_rows(r, row);
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
        if (!rc) rc = hs_pass_fire_rows(r, HS_RESULT, r->x->wide, lo, lo + n);
    }
    return rc;
}

// The block's queries, keys and values, which later rows find in their store.
static int project(const hs_pass *r) {
    const hs_config *c = r->c;
    const hs_product qkv[] = {
        {queries(r), r->x->width[HS_BUF_Q], weight(r, HS_W_Q), vector(r, HS_B_Q)},
        product(r, HS_W_K, HS_B_K, HS_BUF_K),
        product(r, HS_W_V, HS_B_V, HS_BUF_V)};
    void *x = residual(r), *in;
    int rc = hs_pass_fire(r, HS_RESID_PRE, x);
    if (!rc)
        rc = hs_pass_norm(r, HS_W_LN1, HS_B_LN1, HS_LN1_SCALE, HS_LN1_NORMALIZED, x, r->n, &in);
    if (!rc) rc = linear(r, qkv, 3, in, c->d_model);
    if (!rc) rc = hs_pass_fire(r, HS_Q, queries(r));
    if (!rc) rc = hs_pass_fire(r, HS_K, buffer(r, HS_BUF_K));
    if (!rc) rc = hs_pass_fire(r, HS_V, buffer(r, HS_BUF_V));
    if (!rc) rc = rotate(r, queries(r), HS_ROT_Q, c->n_head);
    if (!rc) rc = rotate(r, buffer(r, HS_BUF_K), HS_ROT_K, c->n_kv_head);
    for (int i = 0; i < r->n_piece && !rc; i++) rc = put_keys(r, &r->piece[i]);
    return rc;
}

static int attention(const hs_pass *r) {
    const int64_t d = r->c->d_model;
    const hs_product o = product(r, HS_W_O, HS_B_O, HS_BUF_OUT);
    void *x = residual(r), *out = buffer(r, HS_BUF_OUT);
    int rc = attend(r);
    for (int i = 0; i < r->n_piece && !rc && r->read & HS_BIT(HS_ROW_STATS); i++)
        rc = give_stats(r, &r->piece[i]);
    if (!rc) rc = hs_pass_fire(r, HS_Z, buffer(r, HS_BUF_Z));
    if (!rc && r->read & HS_BIT(HS_RESULT)) rc = give_results(r);
    if (!rc) rc = linear(r, &o, 1, buffer(r, HS_BUF_Z), r->x->width[HS_BUF_Z]);
    if (!rc) rc = hs_pass_fire(r, HS_ATTN_OUT, out);
    return rc ? rc : r->be->add(r->dev, x, x, out, r->n * d);
}

static int mlp(const hs_pass *r) {
    const uint64_t output = HS_BIT(HS_MLP_POST) | HS_BIT(HS_MLP_OUT) | HS_BIT(HS_RESID_POST);
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
    int rc = hs_pass_fire(r, HS_RESID_MID, x);
    if (!rc)
        rc = hs_pass_norm(r, HS_W_LN2, HS_B_LN2, HS_LN2_SCALE, HS_LN2_NORMALIZED, x, r->n, &in);
    if (!rc) rc = linear(r, up, gated ? 2 : 1, in, c->d_model);
    if (!rc) rc = hs_pass_fire(r, HS_MLP_PRE, pre);
    if (!rc && gated) rc = hs_pass_fire(r, HS_MLP_PRE_LINEAR, other);
    if (!rc && r->x->keep.cut && !((r->read | r->write) & output)) return HS_OK;
    if (!rc) rc = r->be->act(r->dev, pre, pre, other, r->n * c->d_ff, c->act);
    if (!rc) rc = hs_pass_fire(r, HS_MLP_POST, pre);
    if (!rc) rc = linear(r, &down, 1, pre, c->d_ff);
    if (!rc) rc = hs_pass_fire(r, HS_MLP_OUT, out);
    return rc ? rc : r->be->add(r->dev, x, x, out, r->n * c->d_model);
}

// The first half of a layer that has two.
static int first_half(hs_pass *r, bool surveys) {
    int rc = HS_OK;
    for (hs_pass_first(r); !rc && hs_pass_next(r);) rc = project(r);
    for (hs_pass_first(r); surveys && !rc && hs_pass_next(r);) rc = show_maps(r);
    return rc;
}

static int layer(hs_pass *r, int64_t l) {
    hs_pass_enter(r, l);
    const bool surveys = hs_pass_surveys(r, l);
    r->queries = surveys || r->each_other ? r->x->queries : NULL;
    int rc = r->queries ? first_half(r, surveys) : HS_OK;
    for (hs_pass_first(r); !rc && hs_pass_next(r);) {
        if (!r->queries) rc = project(r);
        if (!rc) rc = attention(r);
        if (!rc) rc = mlp(r);
        if (!rc) rc = hs_pass_fire(r, HS_RESID_POST, residual(r));
    }
    return !rc && r->tap && r->tap->layer_done ? r->tap->layer_done(r->tap->ctx, (int)l) : rc;
}

// ---- positions ----------------------------------------------------------------------------------

// Asks for the position ids of a sequence's rows; *end becomes more than each of them.
static int ask_positions(const hs_pass *r, int seq, int64_t row0, int64_t n, int32_t *id,
                         int64_t *end) {
    for (int64_t j = 0; j < n; j++) id[j] = (int32_t)(row0 + j);
    int rc = r->tap->positions(r->tap->ctx, seq, row0, n, id);
    for (int64_t j = 0; j < n && !rc; j++) {
        if (id[j] < 0 || id[j] >= r->c->n_ctx)
            rc = hs_fail(HS_ERANGE, "position %d for row %lld: the model's context has %lld", id[j],
                         (long long)(row0 + j), (long long)r->c->n_ctx);
        else if (id[j] >= *end)
            *end = id[j] + 1;
    }
    return rc;
}

// More than the ids of all rows before a sequence's own.
static int ask_earlier(const hs_pass *r, int seq, int64_t *end) {
    const int64_t n = r->x->seq[seq].pos0;
    int32_t id[256];
    int rc = HS_OK;
    for (int64_t at = 0, step = 256; at < n && !rc; at += step)
        rc = ask_positions(r, seq, at, n - at < step ? n - at : step, id, end);
    return rc;
}

// The position id of row j of a sequence.
static int64_t position(const hs_pass *r, const hs_run_seq *s, int64_t j) {
    return r->tap && r->tap->positions ? r->x->id[s->row + j] : s->pos0 + j;
}

// Ids and rotations of all rows. How long a sequence is matters to scalings that go by it: as long as
// its largest id says.
static int place_rows(const hs_pass *r) {
    const bool asks = r->tap && r->tap->positions, rope = r->c->pos == HS_POS_ROPE;
    int rc = HS_OK;
    for (int i = 0; (asks || rope) && i < r->batch->n_seq && !rc; i++) {
        const hs_run_seq *s = &r->x->seq[i];
        int64_t end = asks ? 0 : s->pos0 + s->n;
        if (asks && r->c->rope_scaling == HS_ROPE_DYNAMIC) rc = ask_earlier(r, i, &end);
        if (asks && !rc) rc = ask_positions(r, i, s->pos0, s->n, r->x->id + s->row, &end);
        for (int64_t j = 0; rope && j < s->n && !rc; j++)
            hs_model_rotation(r->m, position(r, s, j), end,
                              at(r, r->x->cos_sin, (s->row + j) * r->c->rope_dim));
    }
    return rc;
}

static int tell_tokens(const hs_pass *r) {
    int rc = HS_OK;
    if (r->batch->resid || !r->tap || !r->tap->tokens) return HS_OK;
    for (int i = 0; i < r->batch->n_seq && !rc; i++) {
        const hs_run_seq *s = &r->x->seq[i];
        rc = r->tap->tokens(r->tap->ctx, i, s->pos0, s->n, s->tokens);
    }
    return rc;
}

// Rows that see each other, of all sequences.
static int take_blocks(hs_pass *r) {
    for (int i = 0; r->tap && r->tap->block && i < r->batch->n_seq; i++) {
        hs_run_seq *s = &r->x->seq[i];
        int64_t from = 0, to = 0;
        int rc = r->tap->block(r->tap->ctx, i, &from, &to);
        if (rc) return rc;
        if (to - from < 2 || to <= s->pos0 || from >= s->pos0 + s->n) continue;
        if (from < s->pos0 || to > s->pos0 + s->n)
            return hs_fail(HS_EUNSUPPORTED,
                           "positions %lld to %lld see each other: they are evaluated together or "
                           "not at all",
                           (long long)from, (long long)to - 1);
        s->block_from = from;
        s->block_to = to;
        r->each_other = true;
    }
    return HS_OK;
}

// ---- embedding ----------------------------------------------------------------------------------

static int add_positions(const hs_pass *r) {
    void *out = buffer(r, HS_BUF_OUT), *x = residual(r);
    for (int i = 0; i < r->n_piece; i++) {
        const hs_piece *p = &r->piece[i];
        const hs_run_seq *s = &r->x->seq[p->seq];
        for (int64_t j = 0; j < p->n; j++)
            r->x->pos[p->row + j] = (int32_t)position(r, s, p->pos - s->pos0 + j);
    }
    int rc = r->be->embed(r->dev, out, hs_model_table(r->m, HS_W_POS), r->x->pos, r->n);
    if (!rc) rc = hs_pass_fire(r, HS_POS_EMBED, out);
    return rc ? rc : r->be->add(r->dev, x, x, out, r->n * r->c->d_model);
}

static int embed(hs_pass *r) {
    int rc = HS_OK;
    hs_pass_enter(r, r->c->n_layer);
    for (hs_pass_first(r); !rc && hs_pass_next(r);) {
        for (int i = 0; i < r->n_piece && !rc; i++) {
            const hs_piece *p = &r->piece[i];
            const hs_run_seq *s = &r->x->seq[p->seq];
            rc = r->be->embed(r->dev, at(r, residual(r), p->row * r->c->d_model),
                              hs_model_table(r->m, HS_W_EMBED), s->tokens + (p->pos - s->pos0),
                              p->n);
        }
        if (!rc) rc = hs_pass_fire(r, HS_EMBED, residual(r));
        if (!rc && r->c->pos == HS_POS_LEARNED) rc = add_positions(r);
    }
    return rc;
}
// ---- the whole pass -----------------------------------------------------------------------------

// Numbers of the wide buffer: for results, for logits that nobody keeps, or none.
static int64_t need_wide(const hs_pass *r, int64_t from, int64_t to) {
    const int64_t result = r->c->n_head * r->c->d_model, logits = hs_pass_logits_wide(r);
    int64_t need = 0;
    for (int64_t l = from; r->tap && r->tap->read && l < to; l++)
        if (r->tap->read[l] & HS_BIT(HS_RESULT)) need = hs_pass_wide_rows(r, result) * result;
    return logits > need ? logits : need;
}

static bool need_queries(const hs_pass *r, int64_t from, int64_t to) {
    while (from < to && !r->each_other && !hs_pass_surveys(r, from)) from++;
    return from < to;
}

int hs_context_eval(hs_context *x, const hs_batch *batch) {
    const hs_model *m = x->model;
    const int64_t n_layer = m->cfg.n_layer, from = batch->layer_from;
    const int64_t to = batch->layer_to ? batch->layer_to : n_layer;
    hs_pass r = {.x = x,
                 .batch = batch,
                 .m = m,
                 .c = &m->cfg,
                 .be = m->be,
                 .dev = m->dev,
                 .tap = x->tap,
                 .logits = to == n_layer ? batch->logits : HS_LOGITS_NONE,
                 .piece = x->piece};
    x->n_rows = 0;
    x->has_logits = false;
    int rc = hs_batch_take(x, batch, &r.n_rows);
    if (!rc) rc = take_blocks(&r);
    if (rc) return rc;
    const int n_seq = batch->n_seq, kept = r.logits == HS_LOGITS_LAST ? n_seq : 0;
    rc = hs_context_reserve(x, &(hs_need_room){n_seq, r.n_rows, kept, need_wide(&r, from, to),
                                               need_queries(&r, from, to)});
    if (!rc) rc = place_rows(&r);
    if (!rc) rc = tell_tokens(&r);
    if (rc) return rc;

    if (!batch->resid)
        rc = embed(&r);
    else if (batch->resid != x->resid_f32) // what lies there already keeps all its digits
        hs_elem_from_f32(x->dtype, x->resid, batch->resid, r.n_rows * m->cfg.d_model);
    for (int64_t l = from; l < to && !rc; l++) rc = layer(&r, l);
    if (!rc && to == n_layer) rc = hs_pass_logits(&r);
    if (rc) return rc;
    x->n_rows = r.n_rows;
    x->has_logits = kept > 0;
    hs_context_hand_out(x, r.n_rows, kept);
    if (to == n_layer && from < to) hs_batch_keep(x, batch);
    return HS_OK;
}
