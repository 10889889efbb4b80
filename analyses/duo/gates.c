// The gates: how much of each KV head's streaming the final hidden state bears; see
// experiments/duo.h.
//
//     full    unedited, kept once a prompt: z of all layers and the final hidden state h of the labels
//     gated   queries, keys and values are its own, attention is masked in all heads, and then
//             z := (1 - a) z + a Full
//
// One backward pass has all slopes: with D = Full - z of the gated run, dL/da = sum of <D, dL/dz>
// over the group's heads and all rows, and dL/dz of what was there before is (1 - a) as much. A
// layer's D is made on the way up; it is made anew when the layer runs again, or kept of all layers
// where there is room for a pass that runs none again.
//
// Cost of a step: a forward and a backward pass of one prompt, one forward more where memory is
// short.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/duo/duo_internal.h"
#include "analyses/editing.h"
#include "model/backward.h"
#include "model/core/mem.h"
#include "model/elem.h"

#define BETA1 0.9
#define BETA2 0.999
#define EPSILON 1e-8

struct gated {
    const hs_duo_opts *o;
    hs_dims dims;
    int64_t width; // of a row of z
    hs_context *context;
    hs_editing *editing;
    hs_hooks *hooks;           // masks, then the gates
    uint64_t *z, *last, *both; // points
    float *row;                // of z
    const double *gate;
    double *slope; // [n_layer * n_kv_head]
    // The prompt under way.
    int64_t ord, n_token;
    const hs_duo_full *full;
    hs_duo_norm norm;
    bool once, ended; // ended: the last residual has become its gradient
    float *apart;     // D: [n_layer, or 1][n_token][width]
    double loss;
};

// ---- the gated run ------------------------------------------------------------------------------

static float *apart_at(const struct gated *g, int layer, int64_t row) {
    return g->apart + ((g->once ? layer : 0) * g->n_token + row) * g->width;
}

static int64_t kv_of(const struct gated *g, int layer, int64_t i) {
    return layer * g->dims.n_kv_head + i / g->dims.d_head / (g->dims.n_head / g->dims.n_kv_head);
}

static int on_z(void *ctx, const hs_site *site, const hs_view *view) {
    struct gated *g = ctx;
    const hs_ref full = hs_held_ref(g->full->held);
    int rc = HS_OK;
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        float *z = (float *)view->data + r * view->stride[0];
        float *apart = apart_at(g, site->layer, site->row0 + r);
        rc = full.rows(full.ctx, HS_Z, site->layer, site->row0 + r, 1, g->row);
        for (int64_t i = 0; i < g->width && !rc; i++) {
            const double a = g->gate[kv_of(g, site->layer, i)];
            apart[i] = g->row[i] - z[i];
            z[i] = (float)((1 - a) * (double)z[i] + a * (double)g->row[i]);
        }
    }
    return rc;
}

static int on_last(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct gated *g = ctx;
    const int64_t d = g->dims.d_model;
    const int type = g->norm.dtype;
    (void)write;
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t at = g->full->labels.of[site->row0 + r];
        if (at < 0) continue;
        memcpy(hs_elem_at(type, g->norm.resid, at * d),
               hs_elem_at(type, view->data, r * view->stride[0]),
               (size_t)(d * hs_dtypes[type].bytes));
    }
    return HS_OK;
}

// ---- the way back -------------------------------------------------------------------------------

// The loss, and its gradient by the last residual of the label rows.
static int end(struct gated *g) {
    const int64_t n = g->full->labels.n, numbers = n * g->dims.d_model;
    int rc = hs_duo_norm_run(&g->norm, n);
    g->loss = 0;
    for (int64_t i = 0; i < numbers && !rc; i++) {
        const double by = hs_elem_get(g->norm.dtype, g->norm.hidden, i) - g->full->hidden[i];
        g->loss += by * by / (double)numbers;
        hs_elem_set(g->norm.dtype, g->norm.hidden, i, 2 * by / (double)numbers);
    }
    g->ended = true;
    return rc ? rc : hs_duo_norm_back(&g->norm, n);
}

static int give_last(struct gated *g, const hs_site *site, const hs_view *view) {
    const int64_t d = g->dims.d_model;
    int rc = g->ended ? HS_OK : end(g);
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        const int64_t at = g->full->labels.of[site->row0 + r];
        float *to = (float *)view->data + r * view->stride[0];
        for (int64_t i = 0; i < d && at >= 0; i++)
            to[i] = (float)hs_elem_get(g->norm.dtype, g->norm.back, at * d + i);
    }
    return rc;
}

static int on_slope(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct gated *g = ctx;
    (void)write;
    if (site->point == HS_RESID_POST) return give_last(g, site, view);
    for (int64_t r = 0; r < site->n_row; r++) {
        float *dz = (float *)view->data + r * view->stride[0];
        const float *apart = apart_at(g, site->layer, site->row0 + r);
        for (int64_t i = 0; i < g->width; i++) {
            const int64_t kv = kv_of(g, site->layer, i);
            g->slope[kv] += (double)apart[i] * (double)dz[i];
            dz[i] = (float)((1 - g->gate[kv]) * (double)dz[i]);
        }
    }
    return HS_OK;
}

// ---- open and close -----------------------------------------------------------------------------

static int open_hooks(struct gated *g) {
    const hs_editing_opts opts = {.model = g->o->model, .prompts = g->o->prompts};
    char spec[80];
    const char *specs = spec;
    snprintf(spec, sizeof spec, "mask:sink_recent,s=%" PRId64 ",w=%" PRId64, g->o->sink,
             g->o->recent);
    int rc = hs_editing_open(&g->editing, &opts, &specs, 1);
    if (!rc) rc = hs_hooks_open(&g->hooks, &g->dims);
    if (!rc) rc = hs_editing_hook(g->editing, g->hooks, 0, 1);
    return rc ? rc
              : hs_hooks_add(g->hooks,
                             &(hs_hook){.points = g->z, .write = true, .rows = on_z, .ctx = g});
}

static int open_gated(struct gated *g, const hs_duo_opts *o) {
    *g = (struct gated){.o = o, .dims = hs_dims_of(o->model)};
    const size_t n_layer = (size_t)g->dims.n_layer;
    g->width = g->dims.n_head * g->dims.d_head;
    int rc = hs_alloc(&g->z, 3 * (n_layer + 1), sizeof *g->z);
    if (rc) return rc;
    g->last = g->z + n_layer + 1;
    g->both = g->last + n_layer + 1;
    for (size_t l = 0; l < n_layer; l++) {
        g->z[l] = HS_BIT(HS_Z);
        g->last[l] = l + 1 == n_layer ? HS_BIT(HS_RESID_POST) : 0;
        g->both[l] = g->z[l] | g->last[l];
    }
    rc = hs_alloc(&g->row, (size_t)g->width, sizeof *g->row);
    if (!rc) rc = hs_alloc(&g->slope, n_layer * (size_t)g->dims.n_kv_head, sizeof *g->slope);
    if (!rc) rc = hs_context_open(&g->context, o->model, &(hs_context_opts){0});
    return rc ? rc : open_hooks(g);
}

static void close_gated(struct gated *g) {
    hs_context_close(g->context);
    hs_hooks_close(g->hooks);
    hs_editing_close(g->editing);
    free(g->z);
    free(g->row);
    free(g->slope);
}

// The loss of a prompt at g->gate, and its slopes.
static int measure(struct gated *g, const hs_duo_full *full, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(g->o->prompts, ord);
    const int64_t z = p->n_token * g->width * (int64_t)sizeof *g->apart;
    const int64_t kept = hs_backward_once(g->o->model, p->n_token) + g->dims.n_layer * z;
    const hs_tap values = {.ctx = g, .read = g->last, .rows = on_last, .own_type = true};
    const hs_tap grads = {.ctx = g, .write = g->both, .rows = on_slope};
    const hs_batch batch = {.seq = &(hs_seq){.tokens = p->tokens, .n = p->n_token}, .n_seq = 1};
    g->ord = ord;
    g->n_token = p->n_token;
    g->full = full;
    g->ended = false;
    g->once = kept <= hs_chunk_memory(g->o->memory);
    memset(g->slope, 0, (size_t)(g->dims.n_layer * g->dims.n_kv_head) * sizeof *g->slope);
    int rc = hs_duo_norm_open(&g->norm, g->o->model, full->labels.n);
    if (!rc) rc = hs_alloc(&g->apart, (size_t)(g->once ? g->dims.n_layer : 1), (size_t)z);
    if (!rc) rc = hs_editing_aim(g->editing, &(hs_editing_seq){ord, 0, 1}, 1);
    const hs_backward job = {
        .values = &values, .grads = &grads, .edits = hs_hooks_tap(g->hooks), .once = g->once};
    if (!rc) rc = hs_context_backward(g->context, &batch, &job);
    hs_duo_norm_close(&g->norm);
    free(g->apart);
    g->apart = NULL;
    return rc;
}

int hs_duo_loss(const hs_duo_opts *o, int64_t ord, const double *gate, double *loss,
                double *slope) {
    struct gated g;
    hs_duo_full full = {0};
    int rc = open_gated(&g, o);
    if (!rc) rc = hs_duo_full_open(&full, o, ord);
    g.gate = gate;
    if (!rc) rc = measure(&g, &full, ord);
    if (!rc) {
        *loss = g.loss;
        memcpy(slope, g.slope, (size_t)(g.dims.n_layer * g.dims.n_kv_head) * sizeof *slope);
    }
    hs_duo_full_close(&full);
    close_gated(&g);
    return rc;
}

// ---- the search ---------------------------------------------------------------------------------

// Unedited runs of the prompts, as many as there is memory for: the rest is run anew.
struct fulls {
    hs_duo_full *at; // [n]
    int64_t n, bytes, most;
};

static int need_full(struct fulls *f, const hs_duo_opts *o, const int64_t *ord, int64_t i) {
    if (f->at[i].held) return HS_OK;
    for (int64_t k = 0; k < f->n && f->bytes > f->most; k++) {
        if (f->at[k].held) f->bytes -= hs_held_bytes(f->at[k].held);
        hs_duo_full_close(&f->at[k]);
    }
    int rc = hs_duo_full_open(&f->at[i], o, ord[i]);
    if (rc)
        hs_duo_full_close(&f->at[i]);
    else
        f->bytes += hs_held_bytes(f->at[i].held);
    return rc;
}

// Up over the first fifth of the steps, down over the last, a tenth at least.
static double rate_at(const hs_duo_search *s, int64_t step) {
    const double fifth = fmax((double)s->steps / 5, 1);
    const double up = (double)(step + 1) / fifth, down = (double)(s->steps - step) / fifth;
    return s->rate * fmin(1, fmin(fmax(up, .1), fmax(down, .1)));
}

static double clamped(double a) {
    return fmin(fmax(a, 0), 1);
}

// A step of Adam (Kingma & Ba 2015) for n gates; m and v are the running means of slopes and squares.
static void adam(double *gate, const double *slope, double *m, double *v, int64_t n, double price,
                 int64_t step, double rate) {
    const double unbias1 = 1 - pow(BETA1, (double)step + 1),
                 unbias2 = 1 - pow(BETA2, (double)step + 1);
    for (int64_t i = 0; i < n; i++) {
        const double by = slope[i] + price / (double)n; // gates are never below 0
        m[i] = BETA1 * m[i] + (1 - BETA1) * by;
        v[i] = BETA2 * v[i] + (1 - BETA2) * by * by;
        gate[i] -= rate * (m[i] / unbias1) / (sqrt(v[i] / unbias2) + EPSILON);
    }
}

static int take_step(struct gated *g, struct fulls *f, const hs_duo_search *s, int64_t step,
                     double *gate, double *moment, hs_duo_step_fn fn, void *ctx) {
    const int64_t n = g->dims.n_layer * g->dims.n_kv_head, i = step % s->n;
    hs_duo_step told = {.step = step, .ord = s->ord[i], .rate = rate_at(s, step)};
    for (int64_t k = 0; k < n; k++) {
        gate[k] = clamped(gate[k]);
        told.mean += gate[k] / (double)n;
        told.kept += gate[k] >= .5;
    }
    int rc = need_full(f, g->o, s->ord, i);
    if (!rc) rc = measure(g, &f->at[i], s->ord[i]);
    if (rc) return rc;
    told.loss = g->loss;
    adam(gate, g->slope, moment, moment + n, n, s->price, step, told.rate);
    return fn ? fn(ctx, &told) : HS_OK;
}

int hs_duo_gates(const hs_duo_opts *o, const hs_duo_search *s, double *gate, hs_duo_step_fn fn,
                 void *ctx) {
    struct gated g;
    struct fulls f = {.n = s->n, .most = hs_chunk_memory(o->memory)};
    double *moment = NULL;
    int rc = open_gated(&g, o);
    const int64_t n = g.dims.n_layer * g.dims.n_kv_head;
    if (!rc) rc = hs_alloc(&moment, 2 * (size_t)n, sizeof *moment);
    if (!rc) rc = hs_alloc(&f.at, (size_t)s->n, sizeof *f.at);
    g.gate = gate;
    for (int64_t k = 0; k < n; k++) gate[k] = 1;
    for (int64_t step = 0; step < s->steps && !rc; step++) {
        rc = hs_progress_step(o->progress, "steps of the gates", step, s->steps);
        if (!rc) rc = take_step(&g, &f, s, step, gate, moment, fn, ctx);
    }
    for (int64_t k = 0; k < n; k++) gate[k] = clamped(gate[k]);
    for (int64_t i = 0; f.at && i < f.n; i++) hs_duo_full_close(&f.at[i]);
    free(f.at);
    free(moment);
    close_gated(&g);
    return rc;
}
