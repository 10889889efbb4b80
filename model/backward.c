// Gradients of a number by activations; see backward.h.
//
//     one forward pass, which keeps the residual that enters each layer, and, where it may take the
//     room, what is differentiated of all layers (`once`); each block of logits, once
//     the seed has turned it into gradients, goes back through head^T and the final norm: dx
//     from the last layer down, unless all was kept, the layer run again from its residual with
//     copies of what is differentiated below, then:
//         dx -> down^T -> activation back -> gate^T, up^T -> norm2 back -> added to dx
//         dx -> o^T -> attention back -> RoPE back -> q^T, k^T, v^T -> norm1 back -> added to dx
//
// dx is the gradient of the residual, all rows of the batch. Gradients around a layer part with M's
// where that layer begins, from a copy of dx, and go on down the layers beside it. All that runs
// forward is hs_context_eval's. The way back goes in its row blocks and its work buffers; attention
// takes all rows at once. Everything is in numbers of the backend's type, so in double with that
// backend, and a row's gradient has the same bits in any batch and for any number of threads.
#include "model/backward.h"

#include <stdlib.h>

#include "model/backward_taps.h"
#include "model/core/mem.h"
#include "model/pass.h"

// Matrices of all rows, by what a row holds; those before DX hold what a layer did.
enum room {
    MID, // the residual before the MLP
    Q,
    K,
    V, // as attention has them, so rotated
    PRE,
    LINEAR,
    DX,
    DZ,
    DQ,
    DK,
    DV,
    TURN, // rotations backwards
    N_ROOM,
};

struct back {
    hs_pass r; // through the gradients' tap
    const hs_backward *job;
    void *kept;         // [n_layer][rows][d_model]: the residual that enters each layer
    void *room[N_ROOM]; // of the layer in work
    void *base[N_ROOM]; // of layer 0, with step[] numbers between two layers
    int64_t width[N_ROOM], step[N_ROOM];
    void *block;  // all of the rooms
    void *parted; // [n_layer][rows][d_model]: dx of what goes around each layer; NULL: nothing does
    int around;   // the layer that the gradients in work go around, -1: none
    int64_t *seq; // [n_seq + 1]: first rows
    hs_back_taps taps;
};

// The block's rows of a matrix of all rows.
static void *rows(const struct back *b, enum room m) {
    return at(&b->r, b->room[m], b->r.row0 * b->width[m]);
}

static void clear(const struct back *b, void *p, int64_t n) {
    memset(p, 0, (size_t)(n * hs_dtypes[b->r.x->dtype].bytes));
}

// ---- points -------------------------------------------------------------------------------------

uint64_t hs_backward_points(const hs_model *m) {
    static const enum hs_point points[] = {
        HS_EMBED,    HS_POS_EMBED, HS_RESID_PRE, HS_Q,          HS_K,       HS_V,
        HS_ROT_Q,    HS_ROT_K,     HS_Z,         HS_ATTN_OUT,   HS_MLP_PRE, HS_MLP_PRE_LINEAR,
        HS_MLP_POST, HS_MLP_OUT,   HS_RESID_MID, HS_RESID_POST,
    };
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        if (hs_model_has_point(m, points[i], NULL)) bits |= HS_BIT(points[i]);
    return bits;
}

static void enter(struct back *b, int64_t layer) {
    const int64_t n_layer = b->r.c->n_layer, l = layer < n_layer ? layer : n_layer - 1;
    hs_pass_enter(&b->r, layer);
    for (int i = 0; i < N_ROOM; i++) b->room[i] = at(&b->r, b->base[i], l * b->step[i]);
    b->r.read &= hs_backward_points(b->r.m);
    b->r.write &= hs_backward_points(b->r.m);
}

static int give(const struct back *b, enum hs_point p, void *data) {
    return hs_pass_fire(&b->r, p, data);
}

// ---- steps --------------------------------------------------------------------------------------

static hs_product_back product(const struct back *b, enum hs_role w, void *dy, int64_t ld) {
    return (hs_product_back){dy, ld, weight(&b->r, w)};
}

// The gradient of what entered some products goes to the buffer NORMED.
static int products_back(const hs_pass *r, const hs_product_back *p, int n_product) {
    return r->be->linear_back(r->dev, buffer(r, HS_BUF_NORMED), r->c->d_model, p, n_product, r->n);
}

// Adds to dx what came back in NORMED to the output of the norm whose steps the buffers hold.
static int norm_back(const hs_pass *r, enum hs_role gain, void *dx) {
    const int64_t d = r->c->d_model;
    void *dy = buffer(r, HS_BUF_NORMED);
    if (r->c->norm == HS_NORM_NONE) return r->be->add(r->dev, dx, dx, dy, r->n * d);
    return r->be->norm_back(r->dev, dx, dy, buffer(r, HS_BUF_NORMALIZED), buffer(r, HS_BUF_SCALE),
                            r->n, d, vector(r, gain), r->c->norm);
}

// The same with the steps made anew from x, which entered the norm.
static int norm_of_back(const struct back *b, enum hs_role gain, const void *x) {
    const hs_pass *r = &b->r;
    int rc = HS_OK;
    if (r->c->norm != HS_NORM_NONE)
        rc = r->be->norm_scale(r->dev, buffer(r, HS_BUF_SCALE), buffer(r, HS_BUF_NORMALIZED), x,
                               r->n, r->c->d_model, r->c->norm, r->c->norm_eps);
    return rc ? rc : norm_back(r, gain, rows(b, DX));
}

// The gradient of what a part of the layer adds to the residual: that of the residual, or 0. Who
// changes it leaves the residual's own as it is.
static void *added(const struct back *b, enum hs_point p) {
    const int64_t n = b->r.n * b->r.c->d_model;
    void *own = buffer(&b->r, HS_BUF_OUT);
    if (b->around == b->r.layer)
        clear(b, own, n);
    else if (b->r.write & HS_BIT(p))
        copy(&b->r, own, rows(b, DX), n);
    else
        return rows(b, DX);
    return own;
}

static int mlp_back(const struct back *b) {
    const hs_pass *r = &b->r;
    const hs_config *c = r->c;
    const bool gated = c->mlp == HS_MLP_GATED;
    void *dpost = buffer(r, HS_BUF_PRE), *dpre = dpost, *dlinear = buffer(r, HS_BUF_LINEAR);
    void *linear = gated ? rows(b, LINEAR) : NULL;
    if (c->mlp == HS_MLP_NONE) return HS_OK;
    void *out = added(b, HS_MLP_OUT);
    const hs_product_back down = product(b, HS_W_DOWN, out, c->d_model);
    const hs_product_back up[] = {product(b, gated ? HS_W_GATE : HS_W_UP, dpre, c->d_ff),
                                  product(b, HS_W_UP, dlinear, c->d_ff)};
    int rc = give(b, HS_MLP_OUT, out);
    if (!rc) rc = r->be->linear_back(r->dev, dpost, c->d_ff, &down, 1, r->n);
    if (!rc) rc = give(b, HS_MLP_POST, dpost);
    if (!rc)
        rc = r->be->act_back(r->dev, dpre, dlinear, dpost, rows(b, PRE), linear, r->n * c->d_ff,
                             c->act);
    if (!rc) rc = give(b, HS_MLP_PRE, dpre);
    if (!rc && gated) rc = give(b, HS_MLP_PRE_LINEAR, dlinear);
    if (!rc) rc = products_back(r, up, gated ? 2 : 1);
    if (!rc) rc = norm_of_back(b, HS_W_LN2, rows(b, MID));
    return rc ? rc : give(b, HS_RESID_MID, rows(b, DX));
}

static int output_back(const struct back *b) {
    void *out = added(b, HS_ATTN_OUT);
    const hs_product_back o = product(b, HS_W_O, out, b->r.c->d_model);
    int rc = give(b, HS_ATTN_OUT, out);
    if (!rc) rc = b->r.be->linear_back(b->r.dev, rows(b, DZ), b->width[DZ], &o, 1, b->r.n);
    return rc ? rc : give(b, HS_Z, rows(b, DZ));
}

static int attention_back(const struct back *b) {
    const hs_config *c = b->r.c;
    const hs_attn_back a = {.n_head = c->n_head,
                            .n_kv_head = c->n_kv_head,
                            .d_head = c->d_head,
                            .scale = c->attn_scale / (c->scale_by_layer ? b->r.layer + 1 : 1),
                            .seq = b->seq,
                            .n_seq = b->r.batch->n_seq,
                            .q = b->room[Q],
                            .k = b->room[K],
                            .v = b->room[V],
                            .ld_q = b->width[Q],
                            .ld_kv = b->width[K],
                            .dz = b->room[DZ],
                            .dq = b->room[DQ],
                            .dk = b->room[DK],
                            .dv = b->room[DV],
                            .edits = b->job->edits,
                            .layer = b->r.layer,
                            .tile_want = hs_back_taps_masks(&b->taps, b->r.layer)};
    return b->r.be->attention_back(b->r.dev, &a);
}

static int rotate_back(const struct back *b, enum room m, int64_t n_head, enum hs_point rotated) {
    const hs_config *c = b->r.c;
    if (c->pos != HS_POS_ROPE) return HS_OK;
    int rc = give(b, rotated, rows(b, m));
    return rc ? rc
              : b->r.be->rope(b->r.dev, rows(b, m), b->width[m], b->r.n, n_head, c->d_head,
                              c->rope_dim, rows(b, TURN));
}

static int inputs_back(const struct back *b) {
    const hs_config *c = b->r.c;
    void *x = at(&b->r, b->kept, (b->r.layer * b->r.n_rows + b->r.row0) * c->d_model);
    const hs_product_back qkv[] = {product(b, HS_W_Q, rows(b, DQ), b->width[DQ]),
                                   product(b, HS_W_K, rows(b, DK), b->width[DK]),
                                   product(b, HS_W_V, rows(b, DV), b->width[DV])};
    int rc = rotate_back(b, DQ, c->n_head, HS_ROT_Q);
    if (!rc) rc = rotate_back(b, DK, c->n_kv_head, HS_ROT_K);
    if (!rc) rc = give(b, HS_Q, rows(b, DQ));
    if (!rc) rc = give(b, HS_K, rows(b, DK));
    if (!rc) rc = give(b, HS_V, rows(b, DV));
    if (!rc) rc = products_back(&b->r, qkv, 3);
    if (!rc) rc = norm_of_back(b, HS_W_LN1, x);
    return rc ? rc : give(b, HS_RESID_PRE, rows(b, DX));
}

// ---- a layer ------------------------------------------------------------------------------------

// What is differentiated is kept in its rooms while the model runs.
static void keep_rooms(const struct back *b, hs_keep *keep) {
    const bool rope = b->r.c->pos == HS_POS_ROPE;
    const struct {
        enum hs_point point;
        enum room to;
    } copies[] = {
        {rope ? HS_ROT_Q : HS_Q, Q}, {rope ? HS_ROT_K : HS_K, K}, {HS_V, V},
        {HS_RESID_MID, MID},         {HS_MLP_PRE, PRE},           {HS_MLP_PRE_LINEAR, LINEAR}};
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        keep->points |= HS_BIT(copies[i].point);
        keep->rows[copies[i].point] = b->room[copies[i].to];
        keep->step[copies[i].point] = b->step[copies[i].to];
    }
}

// Runs the layer in work once more, shows its values, and copies what is differentiated.
static int run_again(const struct back *b) {
    hs_context *x = b->r.x;
    hs_batch again = *b->r.batch;
    again.layer_from = b->r.layer;
    again.layer_to = b->r.layer + 1;
    again.resid = x->resid_f32; // which stands for x->resid, with all its digits
    again.logits = HS_LOGITS_NONE;
    const int64_t n = b->r.n_rows * b->r.c->d_model;
    copy(&b->r, x->resid, at(&b->r, b->kept, b->r.layer * n), n);
    // Of the last layer's output the final norm may be watched.
    const hs_tap *values = b->job->values;
    x->keep = (hs_keep){.cut = b->r.layer + 1 < b->r.c->n_layer || !values || !values->read ||
                               !values->read[b->r.c->n_layer]};
    keep_rooms(b, &x->keep);
    x->tap = &b->taps.again;
    int rc = hs_context_eval(x, &again);
    x->keep = (hs_keep){0};
    return rc;
}

// dx of what goes around a layer.
static void *parted(const struct back *b, int64_t layer) {
    return at(&b->r, b->parted, layer * b->r.n_rows * b->r.c->d_model);
}

// Takes a step with M's gradients, and with those around layers from `layer` on.
static int each(struct back *b, int64_t layer, int (*step)(struct back *)) {
    void *dx = b->room[DX];
    int rc = HS_OK;
    if (!b->parted) return step(b);
    for (int64_t l = layer - 1; l < b->r.c->n_layer && !rc; l++) {
        b->around = l < layer ? -1 : (int)l;
        b->room[DX] = l < layer ? dx : parted(b, l);
        rc = b->job->around(b->job->grads->ctx, b->around);
        if (!rc) rc = step(b);
    }
    b->around = -1;
    b->room[DX] = dx;
    return rc;
}

// The layer in work, whose activations are there.
static int through(struct back *b) {
    const hs_tap *grads = b->job->grads;
    int rc = HS_OK;
    for (hs_pass_first(&b->r); !rc && hs_pass_next(&b->r);) {
        rc = give(b, HS_RESID_POST, rows(b, DX));
        if (!rc) rc = mlp_back(b);
        if (!rc) rc = output_back(b);
    }
    if (!rc) rc = attention_back(b);
    for (hs_pass_first(&b->r); !rc && hs_pass_next(&b->r);) rc = inputs_back(b);
    return !rc && grads && grads->layer_done ? grads->layer_done(grads->ctx, b->r.layer) : rc;
}

static int layer_back(struct back *b, int64_t layer) {
    enter(b, layer);
    if (b->parted) copy(&b->r, parted(b, layer), b->room[DX], b->r.n_rows * b->r.c->d_model);
    int rc = b->job->once ? HS_OK : run_again(b);
    return rc ? rc : each(b, layer, through);
}

// ---- both ends ----------------------------------------------------------------------------------

// A block of logits is gradients now; its norm's steps are still in their buffers. The rows of dx
// that it leads to are there once in the batch, and 0 so far.
static int head_back(void *ctx, const hs_pass *block) {
    const struct back *b = ctx;
    const int64_t d = block->c->d_model;
    const hs_product_back head = {block->x->wide, block->c->n_vocab, weight(block, HS_W_HEAD)};
    void *dx = buffer(block, HS_BUF_OUT);
    clear(b, dx, block->n * d);
    int rc = products_back(block, &head, 1);
    if (!rc) rc = norm_back(block, HS_W_LNF, dx);
    for (int i = 0; i < block->n_piece; i++) {
        const hs_piece *p = &block->piece[i];
        copy(block, at(block, b->room[DX], (b->seq[p->seq] + p->pos) * d),
             at(block, dx, p->row * d), p->n * d);
    }
    return rc;
}

// The forward pass: fills `kept`, and dx of the last residual.
static int forward(struct back *b) {
    hs_context *x = b->r.x;
    const int64_t n = b->r.n_rows * b->r.c->d_model;
    hs_batch batch = *b->r.batch;
    batch.logits = !b->job->seed     ? HS_LOGITS_NONE
                   : batch.logit_row ? HS_LOGITS_ROWS
                                     : HS_LOGITS_ALL;
    clear(b, b->room[DX], n);
    x->tap = &b->taps.up;
    x->keep = (hs_keep){.points = HS_BIT(HS_RESID_PRE), .logits = head_back, .ctx = b};
    x->keep.rows[HS_RESID_PRE] = b->kept;
    x->keep.step[HS_RESID_PRE] = n;
    if (b->job->once) keep_rooms(b, &x->keep);
    int rc = hs_context_eval(x, &batch);
    x->keep = (hs_keep){0};
    x->tap = NULL;
    return rc;
}

static int embed_back(struct back *b) {
    int rc = HS_OK;
    for (hs_pass_first(&b->r); !rc && hs_pass_next(&b->r);) {
        rc = give(b, HS_EMBED, rows(b, DX));
        if (!rc) rc = give(b, HS_POS_EMBED, rows(b, DX));
    }
    return rc;
}

// ---- memory -------------------------------------------------------------------------------------

static void room_widths(const hs_config *c, int64_t width[N_ROOM]) {
    const int64_t q = c->n_head * c->d_head, kv = c->n_kv_head * c->d_head;
    const int64_t ff = c->mlp == HS_MLP_NONE ? 0 : c->d_ff;
    const int64_t widths[N_ROOM] = {
        [MID] = c->d_model, [Q] = q,    [K] = kv,
        [V] = kv,           [PRE] = ff, [LINEAR] = c->mlp == HS_MLP_GATED ? ff : 0,
        [DX] = c->d_model,  [DZ] = q,   [DQ] = q,
        [DK] = kv,          [DV] = kv,  [TURN] = c->rope_dim,
    };
    memcpy(width, widths, sizeof widths);
}

static int64_t room_items(int64_t width, int64_t n_rows) {
    return (width * n_rows + 15) / 16 * 16;
}

static hs_extent extent_of(const hs_config *c, const hs_context_opts *o, int64_t n_rows,
                           int64_t longest) {
    hs_extent e = hs_context_extent(c, o, n_rows, longest, 0);
    e.back_rows = n_rows;
    e.n_head = c->n_head;
    return e;
}

hs_memory hs_backward_memory(const hs_model *m, int64_t n_tokens) {
    const hs_config *c = &m->cfg;
    const hs_context_opts o = {.row_block = HS_ROW_BLOCK};
    const hs_extent e = extent_of(c, &o, n_tokens, n_tokens);
    int64_t width[N_ROOM], items = c->n_layer * n_tokens * c->d_model;
    room_widths(c, width);
    for (int i = 0; i < N_ROOM; i++) items += room_items(width[i], n_tokens);
    hs_memory need = hs_context_memory(m, &o, n_tokens, HS_LOGITS_ALL);
    need.rows += items * hs_dtypes[m->be->dtype].bytes;
    need.scratch = m->be->scratch_bytes(m->dev, &e);
    return need;
}

int64_t hs_backward_around(const hs_model *m, int64_t n_tokens) {
    return m->cfg.n_layer * n_tokens * m->cfg.d_model * hs_dtypes[m->be->dtype].bytes;
}

int64_t hs_backward_once(const hs_model *m, int64_t n_tokens) {
    int64_t width[N_ROOM], items = 0;
    room_widths(&m->cfg, width);
    for (int i = 0; i < DX; i++) items += (m->cfg.n_layer - 1) * room_items(width[i], n_tokens);
    return items * hs_dtypes[m->be->dtype].bytes;
}

static int make_rooms(struct back *b) {
    const hs_config *c = b->r.c;
    const size_t item = (size_t)hs_dtypes[b->r.x->dtype].bytes;
    int64_t items = 0;
    room_widths(c, b->width);
    for (int i = 0; i < N_ROOM; i++) {
        const int64_t n = room_items(b->width[i], b->r.n_rows);
        const bool all = b->job->once && i < DX;
        b->step[i] = all ? n : 0;
        items += all ? c->n_layer * n : n;
    }
    int rc = hs_alloc(&b->kept, (size_t)(c->n_layer * b->r.n_rows), (size_t)c->d_model * item);
    if (!rc && b->job->around)
        rc = hs_alloc(&b->parted, (size_t)(c->n_layer * b->r.n_rows), (size_t)c->d_model * item);
    if (!rc) rc = hs_alloc(&b->block, (size_t)items, item);
    if (!rc) rc = hs_alloc(&b->seq, (size_t)b->r.batch->n_seq + 1, sizeof *b->seq);
    void *next = b->block;
    for (int i = 0; i < N_ROOM && !rc; i++) {
        b->base[i] = b->room[i] = next;
        next = at(&b->r, next,
                  (b->step[i] ? c->n_layer : 1) * room_items(b->width[i], b->r.n_rows));
    }
    return rc;
}

// ---- the whole pass -----------------------------------------------------------------------------

static int check(const hs_pass *r) {
    const hs_batch *in = r->batch;
    if (r->x->slot)
        return hs_fail(HS_EARG, "gradients need a context that keeps no keys and values");
    if (in->resid || in->layer_from || (in->layer_to && in->layer_to != r->c->n_layer))
        return hs_fail(HS_EARG, "gradients need all layers, from the tokens on");
    return HS_OK;
}

// Where the sequences lie, and the backend's room for the longest.
static int reserve(const struct back *b) {
    const hs_batch *in = b->r.batch;
    int64_t longest = 0;
    for (int i = 0; i < in->n_seq; i++) {
        b->seq[i + 1] = b->seq[i] + in->seq[i].n;
        if (in->seq[i].n > longest) longest = in->seq[i].n;
    }
    const hs_extent e = extent_of(b->r.c, &b->r.x->opts, b->r.n_rows, longest);
    return b->r.be->reserve(b->r.dev, &e);
}

// A rotation backwards is one by the opposite angle.
static void turn(const struct back *b) {
    const int64_t dim = b->width[TURN], half = dim / 2;
    const int dtype = b->r.x->dtype;
    for (int64_t r = 0; b->r.c->pos == HS_POS_ROPE && r < b->r.n_rows; r++) {
        void *to = at(&b->r, b->room[TURN], r * dim);
        copy(&b->r, to, at(&b->r, b->r.x->cos_sin, r * dim), dim);
        for (int64_t i = half; i < dim; i++) hs_elem_set(dtype, to, i, -hs_elem_get(dtype, to, i));
    }
}

static int run(struct back *b) {
    int rc = make_rooms(b);
    if (!rc) rc = reserve(b);
    if (!rc) rc = forward(b);
    if (rc) return rc;
    turn(b);
    for (int64_t l = b->r.c->n_layer - 1; l >= 0 && !rc; l--) rc = layer_back(b, l);
    enter(b, b->r.c->n_layer);
    return rc ? rc : each(b, 0, embed_back);
}

int hs_context_backward(hs_context *x, const hs_batch *batch, const hs_backward *job) {
    const hs_model *m = x->model;
    struct back b = {.r = {.x = x,
                           .batch = batch,
                           .m = m,
                           .c = &m->cfg,
                           .be = m->be,
                           .dev = m->dev,
                           .tap = job->grads,
                           .piece = x->piece},
                     .job = job,
                     .around = -1};
    const hs_tap *tap = x->tap;
    int rc = check(&b.r);
    if (!rc) rc = hs_batch_take(x, batch, &b.r.n_rows); // as each evaluation does
    if (!rc) rc = hs_back_taps_open(&b.taps, job, &m->cfg);
    if (!rc) rc = run(&b);
    x->tap = tap;
    x->n_rows = 0; // what lies in the context is an evaluation's no more
    x->has_logits = false;
    free(b.kept);
    free(b.block);
    free(b.parted);
    free(b.seq);
    hs_back_taps_close(&b.taps);
    return rc;
}
