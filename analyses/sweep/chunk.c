// One chunk of a walk: some prompts, all jobs.
//
// The prompts run once, unedited: the meter reads their baseline, a hook keeps the residual that
// enters each layer, and, where no edit is about a prompt's first rows, those rows' keys and values
// stay in its slot. Then, layer by layer, the kept rows are copied for each job that begins there,
// and the copies go as ragged batches (slabs) through the layers they edit, with the edits' hook
// aimed at them one by one, and through the rest of the model with the meter's hook alone.
//
// A slab is a batch: its size changes no bit of a result. Kept residuals are f32; a model that runs
// in another type starts its copies from their tokens instead, to keep all digits.
//
// Memory: rows x d_model for each layer that is kept (all of them, when a quarter of what the chunk
// may take is enough, else as many as that holds, and the unedited rows are walked on from there);
// a slab's rows; the meter's.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/sweep/walk_internal.h"
#include "model/core/mem.h"

// Rows that an evaluation is good for: several row blocks of the engine, so that few are part full.
enum { SLAB_ROWS = 2048 };

struct prompt {
    int64_t ord;
    const hs_prompt *prompt;
    int64_t first, rows; // edited rows are [first, rows); none when first >= rows
    int64_t kept;        // where they begin among the kept ones
};

struct copy {
    int prompt, job;
};

struct chunk {
    hs_walk *w;
    const hs_config *cfg;
    int n;
    struct prompt *prompt;
    bool prefixes; // some prompt lends its first rows
    bool keeps;    // residuals are kept
    hs_meter *meter;
    hs_context *x;
    hs_hooks *base, *edit, *measure, *both;
    double *base_value; // [n][HS_N_EFFECT]
    double *value;      // [n][n_job][HS_N_EFFECT]
    // Residuals that enter layers from .. from + n_keep of the edited rows of all prompts.
    float *kept;
    int64_t n_kept, from, n_keep;
    int *prompt_of; // [n] of the sequences of an unedited evaluation
    // The slab.
    int64_t most_rows, n_row;
    struct copy *copy;
    int n_copy, cap_copy;
    hs_seq *seq;
    hs_editing_seq *aim;
    hs_meter_seq *measured;
    float *resid;
    int64_t cap_resid;
};

// ---- prompts ------------------------------------------------------------------------------------

// The most jobs that begin at one layer.
static int64_t widest(const hs_walk *w) {
    const int n_layer = (int)hs_model_config(w->model)->n_layer;
    int64_t most = 1, n = 0;
    for (int i = 0; i < w->n_job; i++) {
        const int low = w->at[w->by_layer[i]].low;
        n = i && low == w->at[w->by_layer[i - 1]].low ? n + 1 : 1;
        if (low < n_layer && n > most) most = n;
    }
    return most;
}

// Bytes that a prompt takes of a chunk.
static int64_t bytes_of(const hs_walk *w, int64_t n_token, bool prefix) {
    const hs_config *c = hs_model_config(w->model);
    const int64_t row = (2 * c->d_model + c->rope_dim) * (int64_t)sizeof(float);
    int64_t bytes = hs_meter_bytes(w->model, w->opts->effects, n_token) + n_token * row;
    if (prefix)
        bytes += c->n_layer * hs_model_backend(w->model)->kv_bytes(
                                  hs_model_dev(w->model), c->n_kv_head, c->d_head, n_token);
    return bytes;
}

int hs_walk_fit(const hs_walk *w, const int64_t *ord, int64_t n) {
    const int64_t copies = widest(w);
    int64_t rows = 0, base = 0, bytes = 0;
    int i = 0;
    for (; i < n; i++) {
        const int64_t n_token = hs_prompts_at(w->opts->prompts, ord[i])->n_token;
        const int64_t first = w->first[ord[i]];
        rows += (n_token - first) * copies;
        base += n_token;
        bytes += bytes_of(w, n_token, first > 0);
        if (i && (rows > SLAB_ROWS || base > HS_CHUNK_ROWS || bytes > w->memory / 2)) break;
    }
    return i;
}

// Rows of a prompt that matter. Rotations of dynamic RoPE depend on the length of the whole, and so
// may edits.
static int64_t rows_of(const struct chunk *c, int i) {
    bool whole = c->cfg->pos == HS_POS_ROPE && c->cfg->rope_scaling == HS_ROPE_DYNAMIC;
    for (int k = 0; k < hs_editing_count(c->w->editing); k++)
        whole |= hs_edit_kind(hs_editing_at(c->w->editing, k))->whole;
    return whole ? c->prompt[i].prompt->n_token : hs_meter_rows(c->meter, i);
}

static int open_meter(struct chunk *c, const int64_t *ord) {
    const hs_sweep_opts *o = c->w->opts;
    hs_meter_prompt *in;
    int rc = hs_alloc(&in, (size_t)c->n, sizeof *in);
    for (int i = 0; i < c->n && !rc; i++)
        in[i] = (hs_meter_prompt){hs_prompts_at(o->prompts, ord[i]), o->answers[ord[i]]};
    if (!rc) rc = hs_meter_open(&c->meter, o->model, o->effects, in, c->n);
    free(in);
    return rc;
}

static int open_prompts(struct chunk *c, const int64_t *ord) {
    int rc = hs_alloc(&c->prompt, (size_t)c->n, sizeof *c->prompt);
    if (!rc) rc = hs_alloc(&c->prompt_of, (size_t)c->n, sizeof *c->prompt_of);
    if (!rc) rc = open_meter(c, ord);
    for (int i = 0; i < c->n && !rc; i++) {
        struct prompt *p = &c->prompt[i];
        p->ord = ord[i];
        p->prompt = hs_prompts_at(c->w->opts->prompts, ord[i]);
        p->first = c->w->first[ord[i]];
        p->rows = rows_of(c, i);
        p->kept = c->n_kept;
        if (p->first < p->rows) c->n_kept += p->rows - p->first;
        c->prefixes |= p->first > 0 && p->first < p->rows;
    }
    return rc;
}

// ---- open and close -----------------------------------------------------------------------------

static int keep_rows(void *ctx, const hs_site *site, const hs_view *view) {
    struct chunk *c = ctx;
    const struct prompt *p = &c->prompt[c->prompt_of[site->seq]];
    const int64_t d = c->cfg->d_model, end = site->row0 + site->n_row;
    const int64_t lo = site->row0 > p->first ? site->row0 : p->first;
    const int64_t hi = end < p->rows ? end : p->rows, slot = site->layer - c->from;
    if (lo >= hi || slot < 0 || slot > c->n_keep) return HS_OK;
    memcpy(c->kept + (slot * c->n_kept + p->kept + lo - p->first) * d,
           (const float *)view->data + (lo - site->row0) * d,
           (size_t)((hi - lo) * d) * sizeof(float));
    return HS_OK;
}

// Room for the residuals of as many layers as may be kept.
static int open_kept(struct chunk *c, hs_hooks *hooks) {
    const int64_t layer = c->n_kept * c->cfg->d_model, most = c->w->memory / 4;
    c->keeps = hs_model_backend(c->w->model)->dtype == HS_F32 && layer > 0;
    if (!c->keeps) return HS_OK;
    c->n_keep = most / (layer * (int64_t)sizeof(float)) - 1;
    if (c->n_keep > c->cfg->n_layer) c->n_keep = c->cfg->n_layer;
    if (c->n_keep < 1) c->n_keep = 1;
    uint64_t *points = NULL;
    int rc = hs_alloc(&c->kept, (size_t)c->n_keep + 1, (size_t)layer * sizeof *c->kept);
    if (!rc) rc = hs_alloc(&points, (size_t)c->cfg->n_layer + 1, sizeof *points);
    for (int64_t l = 0; !rc && l < c->cfg->n_layer; l++) points[l] = HS_BIT(HS_RESID_PRE);
    if (!rc) rc = hs_hooks_add(hooks, &(hs_hook){.points = points, .rows = keep_rows, .ctx = c});
    free(points);
    return rc;
}

static int show_rows(void *ctx, const hs_site *site, const hs_view *view) {
    const struct chunk *c = ctx;
    const struct copy *copy = &c->copy[site->seq];
    const hs_walk_watch *watch = c->w->watch;
    return watch->rows(watch->ctx, c->prompt[copy->prompt].ord, copy->job, site, view);
}

static int show(struct chunk *c, hs_hooks *hooks) {
    const hs_walk_watch *watch = c->w->watch;
    if (!watch) return HS_OK;
    return hs_hooks_add(hooks, &(hs_hook){.points = watch->points, .rows = show_rows, .ctx = c});
}

static int open_hooks(struct chunk *c) {
    const hs_dims dims = hs_dims_of(c->w->model);
    hs_editing *editing = c->w->editing;
    const int n_edit = hs_editing_count(editing);
    int rc = hs_hooks_open(&c->base, &dims);
    if (!rc) rc = hs_hooks_open(&c->edit, &dims);
    if (!rc) rc = hs_hooks_open(&c->measure, &dims);
    if (!rc) rc = hs_hooks_open(&c->both, &dims);
    if (!rc) rc = hs_meter_hook(c->meter, c->base);
    if (!rc) rc = open_kept(c, c->base);
    if (!rc) rc = hs_editing_hook(editing, c->edit, 0, n_edit);
    if (!rc) rc = show(c, c->edit);
    if (!rc) rc = show(c, c->measure);
    if (!rc) rc = hs_meter_hook(c->meter, c->measure);
    if (!rc) rc = hs_editing_hook(editing, c->both, 0, n_edit);
    if (!rc) rc = hs_meter_hook(c->meter, c->both);
    return rc;
}

static int open_chunk(struct chunk *c, const int64_t *ord) {
    const hs_walk *w = c->w;
    const int64_t row = (3 * c->cfg->d_model + c->cfg->rope_dim) * (int64_t)sizeof(float);
    hs_context_opts opts = {.n_slot = c->n};
    int rc = open_prompts(c, ord);
    if (!rc) rc = open_hooks(c);
    if (!rc) rc = hs_alloc(&c->base_value, (size_t)c->n, HS_N_EFFECT * sizeof *c->base_value);
    if (!rc)
        rc = hs_alloc(&c->value, (size_t)c->n * (size_t)w->n_job, HS_N_EFFECT * sizeof *c->value);
    for (int i = 0; i < c->n && !rc && c->prefixes; i++)
        if (c->prompt[i].prompt->n_token > opts.kv_capacity)
            opts.kv_capacity = c->prompt[i].prompt->n_token;
    if (!rc) rc = hs_context_open(&c->x, w->model, &opts);
    c->most_rows = w->memory / 4 / row < SLAB_ROWS ? w->memory / 4 / row : SLAB_ROWS;
    return rc;
}

static void close_chunk(struct chunk *c) {
    hs_context_close(c->x);
    hs_hooks_close(c->base);
    hs_hooks_close(c->edit);
    hs_hooks_close(c->measure);
    hs_hooks_close(c->both);
    hs_meter_close(c->meter);
    void *const blocks[] = {c->prompt, c->prompt_of, c->base_value, c->value,    c->kept,
                            c->copy,   c->seq,       c->aim,        c->measured, c->resid};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

// ---- unedited -----------------------------------------------------------------------------------

static void take_value(const struct chunk *c, double *out, int seq) {
    for (int e = 0; e < HS_N_EFFECT; e++)
        out[e] = c->w->opts->effects >> e & 1 ? hs_meter_value(c->meter, seq, (enum hs_effect)e)
                                              : (double)NAN;
}

// The whole of every prompt. Jobs that do not touch a prompt leave it at its baseline.
static int run_base(struct chunk *c) {
    hs_seq *seq;
    hs_meter_seq *measured = NULL;
    hs_batch batch = {.n_seq = c->n, .logits = HS_LOGITS_ROWS};
    int rc = hs_alloc(&seq, (size_t)c->n, sizeof *seq);
    if (!rc) rc = hs_alloc(&measured, (size_t)c->n, sizeof *measured);
    for (int i = 0; i < c->n && !rc; i++) {
        const hs_prompt *p = c->prompt[i].prompt;
        seq[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token, .slot = i};
        measured[i] = (hs_meter_seq){.prompt = i};
        c->prompt_of[i] = i;
    }
    batch.seq = seq;
    if (!rc)
        rc = hs_meter_begin(c->meter, measured, c->n, true, &batch.logit_row, &batch.n_logit_row);
    hs_context_set_tap(c->x, hs_hooks_tap(c->base));
    if (!rc) rc = hs_context_eval(c->x, &batch);
    for (int i = 0; i < c->n && !rc; i++) {
        take_value(c, c->base_value + i * HS_N_EFFECT, i);
        for (int j = 0; j < c->w->n_job; j++)
            memcpy(c->value + ((int64_t)i * c->w->n_job + j) * HS_N_EFFECT,
                   c->base_value + i * HS_N_EFFECT, HS_N_EFFECT * sizeof *c->value);
    }
    free(seq);
    free(measured);
    return rc;
}

static hs_seq edited_seq(const struct chunk *c, int i) {
    const struct prompt *p = &c->prompt[i];
    return (hs_seq){.tokens = p->prompt->tokens + p->first,
                    .n = p->rows - p->first,
                    .slot = HS_SLOT_NONE,
                    .prefix_slot = i,
                    .n_prefix = p->first};
}

// Keeps the residuals of the next layers, walking on from the last that was kept.
static int walk_on(struct chunk *c) {
    float *last = c->kept + c->n_keep * c->n_kept * c->cfg->d_model;
    hs_seq *seq;
    int n = 0, rc = hs_alloc(&seq, (size_t)c->n, sizeof *seq);
    if (rc) return rc;
    for (int i = 0; i < c->n; i++) {
        if (c->prompt[i].first >= c->prompt[i].rows) continue;
        c->prompt_of[n] = i;
        seq[n++] = edited_seq(c, i);
    }
    c->from += c->n_keep;
    const int64_t left = c->cfg->n_layer - c->from, go = left < c->n_keep ? left : c->n_keep;
    const hs_batch batch = {.seq = seq,
                            .n_seq = n,
                            .layer_from = (int)c->from,
                            .layer_to = (int)(c->from + go),
                            .resid = last};
    hs_context_set_tap(c->x, hs_hooks_tap(c->base));
    rc = hs_context_eval(c->x, &batch);
    if (!rc)
        memcpy(last, hs_context_resid(c->x), (size_t)(c->n_kept * c->cfg->d_model) * sizeof *last);
    free(seq);
    return rc;
}

// ---- slabs --------------------------------------------------------------------------------------

static int add_copy(struct chunk *c, int prompt, int job) {
    if (c->n_copy == c->cap_copy) {
        const size_t cap = c->cap_copy ? 2 * (size_t)c->cap_copy : 64;
        int rc = hs_grow(&c->copy, cap, sizeof *c->copy);
        if (!rc) rc = hs_grow(&c->seq, cap, sizeof *c->seq);
        if (!rc) rc = hs_grow(&c->aim, cap, sizeof *c->aim);
        if (!rc) rc = hs_grow(&c->measured, cap, sizeof *c->measured);
        if (rc) return rc;
        c->cap_copy = (int)cap;
    }
    const struct prompt *p = &c->prompt[prompt];
    const hs_walk_job *j = &c->w->job[job];
    c->copy[c->n_copy] = (struct copy){prompt, job};
    c->seq[c->n_copy] = edited_seq(c, prompt);
    c->aim[c->n_copy] = (hs_editing_seq){p->ord, j->first, j->n};
    c->measured[c->n_copy] = (hs_meter_seq){prompt, p->first, p->rows};
    c->n_row += p->rows - p->first;
    c->n_copy++;
    return HS_OK;
}

// The residual that enters the layer, once a copy.
static int copy_residuals(struct chunk *c, int layer) {
    const int64_t d = c->cfg->d_model;
    const float *kept = c->kept + (layer - c->from) * c->n_kept * d;
    float *to;
    if (c->n_row > c->cap_resid) {
        c->cap_resid = 0;
        free(c->resid);
        int rc = hs_alloc(&c->resid, (size_t)c->n_row, (size_t)d * sizeof *c->resid);
        if (rc) return rc;
        c->cap_resid = c->n_row;
    }
    to = c->resid;
    for (int i = 0; i < c->n_copy; i++) {
        const int64_t n = c->seq[i].n * d;
        memcpy(to, kept + c->prompt[c->copy[i].prompt].kept * d, (size_t)n * sizeof *to);
        to += n;
    }
    return HS_OK;
}

static int eval(struct chunk *c, hs_hooks *hooks, const hs_batch *batch) {
    hs_context_set_tap(c->x, hs_hooks_tap(hooks));
    return hs_context_eval(c->x, batch);
}

// Layers `low` on: edited up to `high`, and then on with what is there.
static int eval_slab(struct chunk *c, int low, int high) {
    const hs_walk_watch *watch = c->w->watch;
    const int end = watch ? c->w->top + 1 : (int)c->cfg->n_layer;
    hs_batch batch = {.seq = c->seq, .n_seq = c->n_copy, .layer_to = end};
    int rc = HS_OK;
    if (c->keeps) {
        rc = copy_residuals(c, low);
        batch.layer_from = low;
        batch.resid = c->resid;
    }
    if (!rc && high + 1 < end) {
        batch.layer_to = high + 1;
        rc = eval(c, c->edit, &batch);
        batch.layer_from = high + 1;
        batch.layer_to = end;
        batch.resid = hs_context_resid(c->x);
    }
    if (watch) return rc ? rc : eval(c, high + 1 < end ? c->measure : c->edit, &batch);
    if (!rc)
        rc = hs_meter_begin(c->meter, c->measured, c->n_copy, false, &batch.logit_row,
                            &batch.n_logit_row);
    batch.logits = HS_LOGITS_ROWS;
    if (!rc) rc = eval(c, high + 1 < end ? c->measure : c->both, &batch);
    return rc;
}

// Evaluates the copies at hand, and forgets them.
static int run_slab(struct chunk *c, int low) {
    hs_walk *w = c->w;
    int high = low;
    if (!c->n_copy) return HS_OK;
    for (int i = 0; i < c->n_copy; i++)
        if (w->at[c->copy[i].job].high > high) high = w->at[c->copy[i].job].high;
    int rc = hs_editing_aim(w->editing, c->aim, c->n_copy);
    if (!rc) rc = eval_slab(c, low, high);
    for (int i = 0; i < c->n_copy && !rc && !w->watch; i++)
        take_value(
            c, c->value + ((int64_t)c->copy[i].prompt * w->n_job + c->copy[i].job) * HS_N_EFFECT,
            i);
    c->n_copy = 0;
    c->n_row = 0;
    return rc ? rc : hs_progress_step(w->opts->progress, "sweep", w->done, w->total);
}

// Jobs by_layer[from .. to), which all begin at layer `low`.
static int run_layer(struct chunk *c, int low, int from, int to) {
    hs_walk *w = c->w;
    int rc = HS_OK;
    for (int i = 0; i < c->n && !rc; i++) {
        const struct prompt *p = &c->prompt[i];
        const hs_edit_prompt seen = hs_walk_prompt(w, p->ord);
        for (int k = from; k < to && !rc; k++, w->done++) {
            const int job = w->by_layer[k];
            if (hs_walk_first(w, &w->job[job], &seen) >= p->rows) continue;
            if (c->n_copy && c->n_row + p->rows - p->first > c->most_rows) rc = run_slab(c, low);
            if (!rc) rc = add_copy(c, i, job);
        }
    }
    return rc ? rc : run_slab(c, low);
}

int hs_walk_chunk(hs_walk *w, const int64_t *ord, int n, hs_sweep_fn fn, void *ctx) {
    struct chunk c = {.w = w, .cfg = hs_model_config(w->model), .n = n};
    int rc = open_chunk(&c, ord);
    if (!rc) rc = run_base(&c);
    for (int from = 0, to; from < w->n_job && !rc; from = to) {
        const int low = w->at[w->by_layer[from]].low;
        for (to = from; to < w->n_job && w->at[w->by_layer[to]].low == low;) to++;
        if (low == c.cfg->n_layer || (w->watch && low > w->top)) { // nothing is edited, or seen
            w->done += (int64_t)n * (to - from);
            continue;
        }
        while (c.keeps && low > c.from + c.n_keep && !rc) rc = walk_on(&c);
        if (!rc) rc = run_layer(&c, low, from, to);
    }
    for (int i = 0; i < n && !rc && fn; i++) {
        const hs_sweep_result result = {.ord = ord[i],
                                        .base = c.base_value + i * HS_N_EFFECT,
                                        .value = c.value + (int64_t)i * w->n_job * HS_N_EFFECT};
        rc = fn(ctx, &result);
    }
    close_chunk(&c);
    return rc;
}
