// Edge attribution; see experiments/edges.h.
//
// A forward pass of both halves leaves, of each sender, the difference of its outputs. The backward
// pass of one half hands over, layer by layer from the last, gradients of queries, keys, values and
// of what enters the MLP's activation. Each receiver's share goes back alone through its weights and
// its layer's norm to the residual that it reads; then all scores of the layer are one product of
// differences by gradients, summed over rows and channels in the backend's order.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/experiments/edges.h"
#include "model/core/mem.h"
#include "model/elem.h"

// Rows of the layer in work, of all prompts: numbers of the backend's type.
enum room { NORM1, SCALE1, NORM2, SCALE2, DQ, DK, DV, DPRE, DLINEAR, ONE, DX, N_ROOM };

struct edges {
    const hs_slope *slope;
    const hs_model *model;
    const hs_config *cfg;
    const hs_backend *be;
    hs_dev *dev;
    hs_dims dims;
    int64_t n_sender, n_receiver;
    int64_t width[N_ROOM];
    uint64_t *values, *grads, *senders; // [n_layer + 1] points that are looked at
};

struct chunk {
    const struct edges *e;
    const int64_t *ord;
    int n;
    int64_t *row; // [n + 1] where prompts begin
    void **delta; // [n] each [n_sender][T][d_model]
    void *room[N_ROOM];
    float *read;     // [receivers of a layer][rows][d_model]: gradients of what they read
    void *score;     // [n_sender][receivers of a layer]
    double **scores; // [n] each [n_receiver][n_sender]
    double *base;    // [n]
};

static size_t bytes(const struct edges *e) {
    return (size_t)hs_dtypes[e->be->dtype].bytes;
}

static void *at(const struct edges *e, void *p, int64_t i) {
    return hs_elem_at(e->be->dtype, p, i);
}

// ---- what senders say differently ---------------------------------------------------------------

// Adds `sign` times the rows of a sender; sequence 2 i + 1 is the other half of prompt i.
static void add_sender(const struct chunk *c, int64_t sender, const hs_site *site,
                       const hs_view *view, int64_t from) {
    const struct edges *e = c->e;
    const int64_t d = e->dims.d_model, n_row = c->row[site->seq / 2 + 1] - c->row[site->seq / 2];
    const double sign = site->seq % 2 ? 1 : -1;
    void *delta = c->delta[site->seq / 2];
    for (int64_t r = 0; r < site->n_row; r++) {
        const float *x = (const float *)view->data + r * view->stride[0] + from;
        const int64_t to = (sender * n_row + site->row0 + r) * d;
        for (int64_t k = 0; k < d; k++)
            hs_elem_set(e->be->dtype, delta, to + k,
                        hs_elem_get(e->be->dtype, delta, to + k) + sign * (double)x[k]);
    }
}

static int on_sender(void *ctx, const hs_site *site, const hs_view *view) {
    const struct chunk *c = ctx;
    const int64_t heads = c->e->dims.n_head, first = 1 + site->layer * (heads + 1);
    if (site->point == HS_RESID_PRE) add_sender(c, 0, site, view, 0);
    if (site->point == HS_MLP_OUT) add_sender(c, first + heads, site, view, 0);
    for (int64_t h = 0; h < heads && site->point == HS_RESULT; h++)
        add_sender(c, first + h, site, view, h * view->stride[1]);
    return HS_OK;
}

static int run_halves(struct chunk *c, hs_context *x) {
    const hs_prompts *prompts = c->e->slope->prompts;
    hs_hooks *hooks = NULL;
    hs_seq *seq;
    int rc = hs_alloc(&seq, 2 * (size_t)c->n, sizeof *seq);
    for (int i = 0; i < 2 * c->n && !rc; i++) {
        const int64_t ord = c->ord[i / 2];
        const hs_prompt *p = hs_prompts_at(prompts, i % 2 ? hs_prompts_pair(prompts, ord) : ord);
        seq[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
    }
    if (!rc) rc = hs_hooks_open(&hooks, &c->e->dims);
    if (!rc)
        rc = hs_hooks_add(hooks, &(hs_hook){.points = c->e->senders, .rows = on_sender, .ctx = c});
    if (!rc) {
        hs_context_set_tap(x, hs_hooks_tap(hooks));
        rc = hs_context_eval(x, &(hs_batch){.seq = seq, .n_seq = 2 * c->n});
        hs_context_set_tap(x, NULL);
    }
    hs_hooks_close(hooks);
    free(seq);
    return rc;
}

// ---- what receivers read ------------------------------------------------------------------------

static void keep(const struct chunk *c, enum room to, const hs_site *site, const hs_view *view) {
    const int64_t w = c->e->width[to];
    hs_elem_from_f32(c->e->be->dtype, at(c->e, c->room[to], (c->row[site->seq] + site->row0) * w),
                     view->data, site->n_row * w);
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    static const struct {
        enum hs_point point;
        enum room to;
    } rooms[] = {{HS_LN1_NORMALIZED, NORM1},
                 {HS_LN1_SCALE, SCALE1},
                 {HS_LN2_NORMALIZED, NORM2},
                 {HS_LN2_SCALE, SCALE2},
                 {HS_Q, DQ},
                 {HS_K, DK},
                 {HS_V, DV},
                 {HS_MLP_PRE, DPRE},
                 {HS_MLP_PRE_LINEAR, DLINEAR},
                 {HS_RESID_POST, DX}};
    (void)write;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (rooms[i].point == site->point) keep(ctx, rooms[i].to, site, view);
    return HS_OK;
}

// DX becomes receiver i of those whose gradients are compared together.
static void take_read(struct chunk *c, int64_t i) {
    const int64_t n = c->row[c->n] * c->e->dims.d_model;
    float *to = c->read + i * n;
    for (int64_t k = 0; k < n; k++) to[k] = (float)hs_elem_get(c->e->be->dtype, c->room[DX], k);
}

// From gradients of products' outputs to that of the residual that entered the norm before them.
static int read_back(struct chunk *c, const hs_product_back *p, int n_product, enum hs_role gain,
                     int layer, int64_t i) {
    const struct edges *e = c->e;
    const int64_t rows = c->row[c->n], d = e->dims.d_model;
    const bool first = gain == HS_W_LN1, norm = e->cfg->norm != HS_NORM_NONE;
    void *out = norm ? c->room[ONE] : c->room[DX];
    int rc = e->be->linear_back(e->dev, out, d, p, n_product, rows);
    if (!rc && norm) {
        memset(c->room[DX], 0, (size_t)(rows * d) * bytes(e));
        rc = e->be->norm_back(e->dev, c->room[DX], out, c->room[first ? NORM1 : NORM2],
                              c->room[first ? SCALE1 : SCALE2], rows, d,
                              hs_model_vector(e->model, gain, layer), e->cfg->norm);
    }
    if (!rc) take_read(c, i);
    return rc;
}

// The gradients of one head or group, of what has all of them, and zeros elsewhere; they lie in the
// other half of ONE.
static void *alone(const struct chunk *c, enum room from, int64_t index) {
    const struct edges *e = c->e;
    const int64_t rows = c->row[c->n], w = e->width[from], d = e->dims.d_head;
    void *to = at(e, c->room[ONE], rows * e->dims.d_model);
    memset(to, 0, (size_t)(rows * w) * bytes(e));
    for (int64_t r = 0; r < rows; r++)
        memcpy(at(e, to, r * w + index * d), at(e, c->room[from], r * w + index * d),
               (size_t)d * bytes(e));
    return to;
}

// ---- scores -------------------------------------------------------------------------------------

// Of receivers first .. first + n - 1, which read after the same senders and whose gradients are
// there: each prompt's differences times gradients.
static int score(struct chunk *c, int64_t first, int64_t n) {
    const struct edges *e = c->e;
    const hs_node node = hs_edge_receiver(&e->dims, first);
    const int64_t d = e->dims.d_model, rows = c->row[c->n],
                  before = hs_edge_before(&e->dims, &node);
    int rc = HS_OK;
    for (int i = 0; i < c->n && !rc; i++) {
        const int64_t len = (c->row[i + 1] - c->row[i]) * d;
        const hs_view view = {c->read + c->row[i] * d, HS_F32, 2, {n, len}, {rows * d, 1}};
        hs_weight *w = NULL;
        rc = e->be->pack(e->dev, &w, &view, NULL, HS_WEIGHT_KEEP);
        const hs_product product = {.y = c->score, .ld_y = n, .w = w};
        if (!rc) rc = e->be->linear(e->dev, &product, 1, c->delta[i], len, before);
        for (int64_t k = 0; k < n * before && !rc; k++)
            c->scores[i][(first + k % n) * e->n_sender + k / n] = hs_elem_get(e->be->dtype,
                                                                              c->score, k);
        if (w) e->be->unpack(w);
    }
    return rc;
}

static int score_mlp(struct chunk *c, int layer, int64_t receiver) {
    const struct edges *e = c->e;
    const bool gated = e->cfg->mlp == HS_MLP_GATED;
    const hs_product_back up[] = {
        {c->room[DPRE], e->width[DPRE],
         hs_model_weight(e->model, gated ? HS_W_GATE : HS_W_UP, layer)},
        {c->room[DLINEAR], e->width[DLINEAR], hs_model_weight(e->model, HS_W_UP, layer)}};
    if (e->cfg->mlp == HS_MLP_NONE) return HS_OK;
    int rc = read_back(c, up, gated ? 2 : 1, HS_W_LN2, layer, 0);
    return rc ? rc : score(c, receiver, 1);
}

static int score_heads(struct chunk *c, int layer, int64_t receiver) {
    const struct edges *e = c->e;
    const struct {
        enum room from;
        enum hs_role role;
        int64_t n;
    } inputs[] = {{DQ, HS_W_Q, e->dims.n_head},
                  {DK, HS_W_K, e->dims.n_kv_head},
                  {DV, HS_W_V, e->dims.n_kv_head}};
    int64_t n = 0;
    int rc = HS_OK;
    for (size_t i = 0; i < 3; i++)
        for (int64_t h = 0; h < inputs[i].n && !rc; h++) {
            const hs_product_back p = {alone(c, inputs[i].from, h), e->width[inputs[i].from],
                                       hs_model_weight(e->model, inputs[i].role, layer)};
            rc = read_back(c, &p, 1, HS_W_LN1, layer, n++);
        }
    return rc ? rc : score(c, receiver, n);
}

// Gradients of a layer are all there; layers come from the last to the first.
static int on_layer(void *ctx, int layer) {
    struct chunk *c = ctx;
    const struct edges *e = c->e;
    const int64_t a_layer = (e->n_receiver - 1) / e->dims.n_layer, first = layer * a_layer;
    int rc = HS_OK;
    if (layer == e->dims.n_layer - 1) {
        take_read(c, 0);
        rc = score(c, e->n_receiver - 1, 1);
    }
    if (!rc) rc = score_mlp(c, layer, first + a_layer - 1);
    return rc ? rc : score_heads(c, layer, first);
}

// ---- prompts together ---------------------------------------------------------------------------

static void close_chunk(struct chunk *c) {
    for (int i = 0; i < c->n; i++) {
        if (c->delta) free(c->delta[i]);
        if (c->scores) free(c->scores[i]);
    }
    for (int r = 0; r < N_ROOM; r++) free(c->room[r]);
    void *const blocks[] = {c->row, c->delta, c->read, c->score, c->scores, c->base};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

static int open_prompt(struct chunk *c, int i) {
    const struct edges *e = c->e;
    const int64_t rows = c->row[i + 1] - c->row[i], n = e->n_receiver * e->n_sender;
    int rc = hs_alloc(&c->delta[i], (size_t)(e->n_sender * rows * e->dims.d_model), bytes(e));
    if (!rc) rc = hs_alloc(&c->scores[i], (size_t)n, sizeof **c->scores);
    for (int64_t k = 0; k < n && !rc; k++) c->scores[i][k] = (double)NAN;
    return rc;
}

static int open_chunk(struct chunk *c) {
    const struct edges *e = c->e;
    const size_t n = (size_t)c->n, a_layer = (size_t)((e->n_receiver - 1) / e->dims.n_layer);
    int rc = hs_alloc(&c->row, n + 1, sizeof *c->row);
    if (!rc) rc = hs_alloc(&c->delta, n, sizeof *c->delta);
    if (!rc) rc = hs_alloc(&c->scores, n, sizeof *c->scores);
    if (!rc) rc = hs_alloc(&c->base, n, sizeof *c->base);
    for (int i = 0; i < c->n && !rc; i++) {
        c->row[i + 1] = c->row[i] + hs_prompts_at(e->slope->prompts, c->ord[i])->n_token;
        rc = open_prompt(c, i);
    }
    for (int r = 0; r < N_ROOM && !rc; r++)
        rc = hs_alloc(&c->room[r], (size_t)(c->row[c->n] * e->width[r]), bytes(e));
    if (!rc)
        rc = hs_alloc(&c->read, a_layer * (size_t)(c->row[c->n] * e->dims.d_model),
                      sizeof *c->read);
    return rc ? rc : hs_alloc(&c->score, a_layer * (size_t)e->n_sender, bytes(e));
}

static int run_chunk(const struct edges *e, hs_context *x, const int64_t *ord, int n,
                     hs_edges_fn fn, void *ctx) {
    struct chunk c = {.e = e, .ord = ord, .n = n};
    const hs_tap values = {.ctx = &c, .read = e->values, .rows = on_rows};
    const hs_tap grads = {.ctx = &c, .read = e->grads, .rows = on_rows, .layer_done = on_layer};
    int rc = open_chunk(&c);
    if (!rc) rc = run_halves(&c, x);
    if (!rc)
        rc = hs_slope_run(e->slope, x, ord, n, &(hs_backward){.values = &values, .grads = &grads},
                          c.base);
    for (int i = 0; i < n && !rc; i++)
        rc = fn(ctx, &(hs_edges_result){ord[i], c.base[i], c.scores[i]});
    close_chunk(&c);
    return rc;
}

// Prompts from ord[0] on that go together, at least one.
static int fit(const struct edges *e, int64_t memory, const int64_t *ord, int64_t n) {
    const int64_t a_layer = (e->n_receiver - 1) / e->dims.n_layer;
    int64_t rows = 0, width = e->n_sender * e->dims.d_model;
    int i = 0;
    for (int r = 0; r < N_ROOM; r++) width += e->width[r];
    for (; i < n; i++) {
        rows += hs_prompts_at(e->slope->prompts, ord[i])->n_token;
        const hs_memory need = hs_backward_memory(e->model, rows);
        const int64_t all = hs_memory_sum(&need) + rows * width * (int64_t)bytes(e) +
                            rows * a_layer * e->dims.d_model * (int64_t)sizeof(float) +
                            (i + 1) * e->n_receiver * e->n_sender * (int64_t)sizeof(double);
        if (i && (rows > HS_CHUNK_ROWS || all > memory)) break;
    }
    return i;
}

// ---- all prompts --------------------------------------------------------------------------------

static void find_widths(struct edges *e) {
    const hs_dims *d = &e->dims;
    const bool norm = e->cfg->norm != HS_NORM_NONE, mlp = e->cfg->mlp != HS_MLP_NONE;
    const int64_t q = d->n_head * d->d_head, kv = d->n_kv_head * d->d_head;
    const int64_t ff = mlp ? d->d_ff : 0;
    const int64_t widths[N_ROOM] = {
        [NORM1] = norm ? d->d_model : 0,
        [SCALE1] = norm,
        [NORM2] = norm && mlp ? d->d_model : 0,
        [SCALE2] = norm && mlp,
        [DQ] = q,
        [DK] = kv,
        [DV] = kv,
        [DPRE] = ff,
        [DLINEAR] = e->cfg->mlp == HS_MLP_GATED ? ff : 0,
        [ONE] = d->d_model + (q > kv ? q : kv),
        [DX] = d->d_model,
    };
    memcpy(e->width, widths, sizeof widths);
}

static int open_edges(struct edges *e) {
    const size_t n = (size_t)e->dims.n_layer + 1;
    const uint64_t has = e->dims.points, pre = HS_BIT(HS_MLP_PRE) | HS_BIT(HS_MLP_PRE_LINEAR);
    int rc = hs_alloc(&e->values, n, sizeof *e->values);
    if (!rc) rc = hs_alloc(&e->grads, n, sizeof *e->grads);
    if (!rc) rc = hs_alloc(&e->senders, n, sizeof *e->senders);
    for (int l = 0; l < e->dims.n_layer && !rc; l++) {
        e->values[l] = has & (HS_BIT(HS_LN1_NORMALIZED) | HS_BIT(HS_LN1_SCALE) |
                              HS_BIT(HS_LN2_NORMALIZED) | HS_BIT(HS_LN2_SCALE));
        e->grads[l] = has & (HS_BIT(HS_Q) | HS_BIT(HS_K) | HS_BIT(HS_V) | pre);
        e->senders[l] = has & (HS_BIT(HS_RESULT) | HS_BIT(HS_MLP_OUT));
    }
    if (rc) return rc;
    e->grads[e->dims.n_layer - 1] |= HS_BIT(HS_RESID_POST);
    e->senders[0] |= HS_BIT(HS_RESID_PRE);
    find_widths(e);
    return HS_OK;
}

int hs_edges(const hs_slope *slope, int64_t memory, const hs_progress *progress, const int64_t *ord,
             int64_t n, hs_edges_fn fn, void *ctx) {
    struct edges e = {.slope = slope,
                      .model = slope->model,
                      .cfg = hs_model_config(slope->model),
                      .be = hs_model_backend(slope->model),
                      .dev = hs_model_dev(slope->model),
                      .dims = hs_dims_of(slope->model)};
    hs_context *x = NULL;
    e.n_sender = hs_edge_senders(&e.dims);
    e.n_receiver = hs_edge_receivers(&e.dims);
    for (int64_t i = 0; i < n; i++)
        if (hs_prompts_pair(slope->prompts, ord[i]) < 0)
            return hs_fail(HS_EARG, "prompt '%s' has no other half",
                           hs_prompts_at(slope->prompts, ord[i])->id);
    int rc = open_edges(&e);
    if (!rc) rc = hs_context_open(&x, e.model, NULL);
    for (int64_t i = 0; i < n && !rc;) {
        const int go = fit(&e, hs_chunk_memory(memory), ord + i, n - i);
        rc = run_chunk(&e, x, ord + i, go, fn, ctx);
        i += go;
        if (!rc) rc = hs_progress_step(progress, "edges", i, n);
    }
    hs_context_close(x);
    free(e.values);
    free(e.grads);
    free(e.senders);
    return rc;
}
