// One chunk of a quiz: some items under some variants, side by side.
//
// Rows before the first that a variant's edits are about are as without them. They are run once an
// item, up to the farthest that some variant lets them go, and each variant begins on as many of
// them as it leaves alone. Then all pairs of an item and a variant run the rest of their prompt as
// one batch; then, choice by choice, the continuations of those that have one of several tokens,
// each forgotten before the next; then what is decoded. Only rows that are scored or picked from
// meet the LM head.
//
// Edits may keep numbers of a sequence from one evaluation to the next, as long as each aim has it:
// pairs that sit out are aimed at after those of the batch.
//
// Memory: keys and values of a chunk, by hs_quiz_fit; the rows of a batch.
#include <math.h>
#include <stdlib.h>

#include "analyses/chunk.h"
#include "analyses/decode.h"
#include "analyses/quiz/quiz_internal.h"

enum { LSE_ROWS = 64 };

// An item under a variant, or its shared rows (variant -1).
typedef struct pair {
    const hs_quiz_item *item;
    hs_quiz_range specs;
    int slot, base; // base: slot of the shared rows, -1: none
    int64_t first;  // row that it begins with
    double *loss;   // [n_token] of TEXT
    double *ln_p;   // [hs_quiz_scored]
    int64_t most;   // tokens to decode
    int32_t *said;
    double *entropy; // [most]
    int64_t n_said;
} pair;

enum phase { SHARED, PROMPT, CHOICE, DECODE };

typedef struct work {
    const hs_quiz_chunk *c;
    const hs_quiz *q;
    const hs_config *cfg;
    hs_context *context;
    hs_hooks *plain, *edited;
    hs_arena *arena;
    pair *base; // [n] one an item, some with no rows
    pair *at;   // [n_pair] item by item
    int n_pair;
    enum phase phase;
    int choice; // of CHOICE
    // The batch.
    hs_seq *seq;
    pair **of;
    hs_editing_seq *aim;
    int64_t *row;
    int n_seq;
    int64_t n_row, n_all; // rows that meet the LM head, of all
} work;

// ---- what there is to run -----------------------------------------------------------------------

int64_t hs_quiz_after(const hs_quiz *q, const hs_quiz_item *item) {
    int64_t most = hs_quiz_decodes(q, item);
    for (int i = 0; i < hs_quiz_scored(item); i++)
        if (item->choice[i].n > most) most = item->choice[i].n;
    return most ? most - 1 : 0;
}

// The row that variant v of an item begins with: its last row is always its own. Where nobody
// shares, and where rotations depend on the length of the whole, all are.
static int64_t first_of(const hs_quiz_chunk *c, const hs_quiz_item *item, int v) {
    const hs_config *cfg = hs_model_config(c->quiz->o.model);
    const bool dynamic = cfg->pos == HS_POS_ROPE && cfg->rope_scaling == HS_ROPE_DYNAMIC;
    const hs_edit_prompt p = hs_edit_prompt_of(c->quiz->o.prompts, item->ord, c->quiz->o.spans);
    int64_t first = p.n_token - 1;
    if (c->n_variant == 1 || dynamic) return 0;
    for (int i = 0; i < c->variant[v].n; i++) {
        const int64_t row = hs_edit_first(hs_editing_at(c->editing, c->variant[v].first + i), &p);
        if (row < first) first = row;
    }
    return first;
}

static void at_least(int64_t *x, int64_t least) {
    if (*x < least) *x = least;
}

// Slots that hold an item after `n_slot` others; returns the rows that it runs.
static int64_t add_slots(const hs_quiz_chunk *c, const hs_quiz_item *item, hs_context_opts *opts) {
    const int64_t n = item->prompt->n_token, after = hs_quiz_after(c->quiz, item);
    int64_t shared = 0, rows = 0;
    for (int v = 0; v < c->n_variant; v++) at_least(&shared, first_of(c, item, v));
    if (shared) {
        at_least(opts->n_slot ? &opts->tail_capacity : &opts->kv_capacity, shared);
        opts->n_slot++;
    }
    for (int v = 0; v < c->n_variant; v++) {
        const int64_t own = n - first_of(c, item, v) + after;
        at_least(opts->n_slot ? &opts->tail_capacity : &opts->kv_capacity, own);
        opts->n_slot++;
        rows += own;
    }
    at_least(&opts->tail_capacity, 1);
    at_least(&opts->kv_capacity, opts->tail_capacity);
    return rows + shared;
}

int64_t hs_quiz_fit(const hs_quiz_chunk *c) {
    const hs_quiz *q = c->quiz;
    hs_context_opts opts = {0};
    int64_t rows = 0, i = 0;
    for (; i < c->n; i++) {
        rows += add_slots(c, &q->item[c->ord[i]], &opts);
        const hs_memory m = hs_context_memory(q->o.model, &opts, 1, HS_LOGITS_NONE);
        if (rows > HS_CHUNK_ROWS || m.keys > q->memory) break;
    }
    return i;
}

// ---- rows of logits -----------------------------------------------------------------------------

// Entropy of the softmax of a row, nats.
static double entropy_of(const float *x, int64_t n) {
    const int32_t best = hs_argmax(x, n);
    double others = 0, dot = 0; // against the likeliest
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)x[best], e = i == best ? 0 : exp(d);
        others += e;
        if (e > 0) dot += e * d;
    }
    return log1p(others) - dot / (1 + others);
}

static int32_t pick(const work *w, pair *p, const float *logits) {
    if (w->q->o.generate) p->entropy[p->n_said] = entropy_of(logits, w->cfg->n_vocab);
    p->n_said++;
    return hs_argmax(logits, w->cfg->n_vocab);
}

static void take_row(const work *w, pair *p, int64_t pos, const float *logits, double lse) {
    const hs_prompt *prompt = p->item->prompt;
    const int64_t after = pos - prompt->n_token;
    if (w->phase == CHOICE) {
        p->ln_p[w->choice] += (double)logits[p->item->choice[w->choice].at[after + 1]] - lse;
        return;
    }
    if (p->loss && after < -1) p->loss[pos] = lse - (double)logits[prompt->tokens[pos + 1]];
    if (after < -1) return;
    for (int i = 0; i < hs_quiz_scored(p->item); i++)
        p->ln_p[i] = (double)logits[p->item->choice[i].at[0]] - lse;
    if (p->most) p->said[0] = pick(w, p, logits);
}

static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    const work *w = ctx;
    const hs_model *m = w->q->o.model;
    const float *logits = view->data;
    const int64_t ld = view->stride[0];
    double lse[LSE_ROWS];
    int rc = HS_OK;
    if (w->phase == DECODE) return HS_OK; // picked from as they are
    for (int64_t r = 0, n; r < site->n_row && !rc; r += n) {
        n = site->n_row - r < LSE_ROWS ? site->n_row - r : LSE_ROWS;
        rc = hs_model_backend(m)->log_sum_exp(hs_model_dev(m), lse, logits + r * ld, ld, n,
                                              w->cfg->n_vocab);
        for (int64_t i = 0; i < n && !rc; i++)
            take_row(w, w->of[site->seq], site->row0 + r + i, logits + (r + i) * ld, lse[i]);
    }
    return rc;
}

static int on_layer_done(void *ctx, int layer) {
    const work *w = ctx;
    (void)layer;
    return hs_progress_step(w->q->o.progress, "answers", w->c->done, w->c->total);
}

// ---- batches ------------------------------------------------------------------------------------

static hs_seq seq_of(const pair *p, const int32_t *tokens, int64_t n) {
    return (hs_seq){.tokens = tokens,
                    .n = n,
                    .slot = p->slot,
                    .prefix_slot = p->base,
                    .n_prefix = p->base < 0 ? 0 : p->first};
}

// Adds a sequence of which rows from `scored` on meet the LM head.
static int add(work *w, pair *p, const int32_t *tokens, int64_t n, int64_t scored) {
    int rc = hs_grow(&w->row, (size_t)(w->n_row + n), sizeof *w->row);
    if (rc) return rc;
    w->of[w->n_seq] = p;
    w->seq[w->n_seq++] = seq_of(p, tokens, n);
    for (int64_t i = scored; i < n; i++) w->row[w->n_row++] = w->n_all + i;
    w->n_all += n;
    return HS_OK;
}

static hs_editing_seq aim_of(const pair *p) {
    return (hs_editing_seq){p->item->ord, p->specs.first, p->specs.n};
}

// Aims at the sequences of a batch, then at all other pairs.
static int aim(work *w) {
    int n = w->n_seq;
    for (int i = 0; i < n; i++) w->aim[i] = aim_of(w->of[i]);
    for (int p = 0, i = 0; p < w->n_pair; p++) {
        if (i < w->n_seq && w->of[i] == &w->at[p])
            i++;
        else
            w->aim[n++] = aim_of(&w->at[p]);
    }
    return hs_editing_aim(w->c->editing, w->aim, n);
}

static int eval(work *w, enum phase phase) {
    const hs_batch batch = {.seq = w->seq,
                            .n_seq = w->n_seq,
                            .logits = HS_LOGITS_ROWS,
                            .logit_row = w->row,
                            .n_logit_row = w->n_row};
    int rc = HS_OK;
    w->phase = phase;
    hs_context_set_tap(w->context, hs_hooks_tap(phase == SHARED ? w->plain : w->edited));
    if (w->n_seq && phase != SHARED) rc = aim(w);
    if (!rc && w->n_seq) rc = hs_context_eval(w->context, &batch);
    w->n_seq = 0;
    w->n_row = w->n_all = 0;
    return rc;
}

static int run_shared(work *w) {
    int rc = HS_OK;
    for (int64_t i = 0; i < w->c->n && !rc; i++) {
        pair *p = &w->base[i];
        if (p->slot >= 0) rc = add(w, p, p->item->prompt->tokens, p->first, p->loss ? 0 : p->first);
    }
    return rc ? rc : eval(w, SHARED);
}

static int run_prompts(work *w) {
    int rc = HS_OK;
    for (int i = 0; i < w->n_pair && !rc; i++) {
        pair *p = &w->at[i];
        const int64_t n = p->item->prompt->n_token - p->first;
        rc = add(w, p, p->item->prompt->tokens + p->first, n, p->loss ? 0 : n - 1);
    }
    return rc ? rc : eval(w, PROMPT);
}

// Choice k of all that have one of several tokens.
static int run_choice(work *w, int k) {
    int rc = HS_OK;
    for (int i = 0; i < w->n_pair && !rc; i++) {
        pair *p = &w->at[i];
        const hs_quiz_choice *c = k < hs_quiz_scored(p->item) ? &p->item->choice[k] : NULL;
        if (c && c->n > 1) rc = add(w, p, c->at, c->n - 1, 0);
    }
    w->choice = k;
    if (!rc) rc = eval(w, CHOICE);
    for (int i = 0; i < w->n_pair && !rc; i++)
        hs_context_truncate(w->context, w->at[i].slot, w->at[i].item->prompt->n_token);
    return rc;
}

static int run_choices(work *w) {
    int most = 0, rc = HS_OK;
    for (int64_t i = 0; i < w->c->n; i++)
        if (hs_quiz_scored(w->base[i].item) > most) most = hs_quiz_scored(w->base[i].item);
    for (int k = 0; k < most && !rc; k++) rc = run_choice(w, k);
    return rc;
}

// ---- decoding -----------------------------------------------------------------------------------

static int on_turn(void *ctx, const int *seq, int n, int64_t n_row) {
    work *w = ctx;
    (void)n_row;
    for (int i = 0; i < n; i++) w->aim[i] = aim_of(w->of[seq[i]]);
    return hs_editing_aim(w->c->editing, w->aim, n);
}

static int32_t on_pick(void *ctx, int seq, const float *logits) {
    const work *w = ctx;
    return pick(w, w->of[seq], logits);
}

// Free text may have several lines.
static bool on_end(void *ctx, int32_t id) {
    const work *w = ctx;
    return w->q->o.generate ? hs_model_is_eog(w->q->o.model, id) : hs_quiz_answer_ends(w->q, id);
}

// The first token is known from the prompt's last row.
static int run_decoding(work *w) {
    hs_decode_opts o = {.context = w->context,
                        .logits = HS_LOGITS_LAST,
                        .ctx = w,
                        .turn = on_turn,
                        .pick = on_pick,
                        .ends = on_end};
    hs_decoding *d;
    int n = 0, rc = hs_alloc(&d, (size_t)w->n_pair, sizeof *d);
    for (int i = 0; i < w->n_pair && !rc; i++) {
        pair *p = &w->at[i];
        if (p->most < 2 || on_end(w, p->said[0])) continue;
        d[n] = (hs_decoding){.in = seq_of(p, p->said, 1), .out = p->said + 1};
        w->of[n++] = p;
        at_least(&o.most, p->most - 1);
    }
    w->phase = DECODE;
    if (!rc && n) rc = hs_decode(&o, d, n);
    free(d);
    return rc;
}

// ---- open and close -----------------------------------------------------------------------------

static int open_hooks(work *w, hs_hooks **out, bool edited) {
    const hs_dims dims = hs_dims_of(w->q->o.model);
    hs_editing *e = w->c->editing;
    uint64_t *points;
    int rc = hs_arena_get(w->arena, &points, (size_t)dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[dims.n_layer] = HS_BIT(HS_LOGITS);
    rc = hs_hooks_open(out, &dims);
    if (!rc && edited) rc = hs_editing_hook(e, *out, 0, hs_editing_count(e));
    if (!rc)
        rc = hs_hooks_add(
            *out,
            &(hs_hook){.points = points, .rows = on_logits, .layer_done = on_layer_done, .ctx = w});
    return rc;
}

static int open_pair(work *w, pair *p, const hs_quiz_item *item) {
    const size_t n_token = (size_t)item->prompt->n_token;
    const size_t most = (size_t)hs_quiz_decodes(w->q, item);
    int rc = HS_OK;
    *p = (pair){.item = item, .slot = -1, .base = -1, .most = (int64_t)most};
    if (item->kind == HS_QUIZ_TEXT) rc = hs_arena_get(w->arena, &p->loss, n_token, sizeof *p->loss);
    if (!rc) rc = hs_arena_get(w->arena, &p->ln_p, (size_t)hs_quiz_scored(item), sizeof *p->ln_p);
    if (!rc) rc = hs_arena_get(w->arena, &p->said, most, sizeof *p->said);
    if (!rc) rc = hs_arena_get(w->arena, &p->entropy, most, sizeof *p->entropy);
    return rc;
}

// Slots in the order in which add_slots counts them.
static int open_pairs(work *w, hs_context_opts *opts) {
    const hs_quiz_chunk *c = w->c;
    int slot = 0;
    int rc = hs_arena_get(w->arena, &w->base, (size_t)c->n, sizeof *w->base);
    if (!rc)
        rc = hs_arena_get(w->arena, &w->at, (size_t)c->n * (size_t)c->n_variant, sizeof *w->at);
    for (int64_t i = 0; i < c->n && !rc; i++) {
        const hs_quiz_item *item = &w->q->item[c->ord[i]];
        pair *base = &w->base[i];
        rc = open_pair(w, base, item);
        for (int v = 0; v < c->n_variant; v++) at_least(&base->first, first_of(c, item, v));
        if (base->first) base->slot = slot++;
        for (int v = 0; v < c->n_variant && !rc; v++) {
            pair *p = &w->at[w->n_pair++];
            rc = open_pair(w, p, item);
            p->specs = c->variant[v];
            p->first = first_of(c, item, v);
            p->base = p->first ? base->slot : -1;
            p->slot = slot++;
        }
        add_slots(c, item, opts);
    }
    return rc;
}

static int open_work(work *w) {
    hs_context_opts opts = {0};
    int rc = hs_arena_open(&w->arena);
    if (!rc) rc = open_pairs(w, &opts);
    const size_t n = (size_t)w->n_pair + (size_t)w->c->n;
    if (!rc) rc = hs_arena_get(w->arena, &w->seq, n, sizeof *w->seq);
    if (!rc) rc = hs_arena_get(w->arena, &w->of, n, sizeof *w->of);
    if (!rc) rc = hs_arena_get(w->arena, &w->aim, n, sizeof *w->aim);
    if (!rc) rc = open_hooks(w, &w->plain, false);
    if (!rc) rc = open_hooks(w, &w->edited, true);
    return rc ? rc : hs_context_open(&w->context, w->q->o.model, &opts);
}

static void close_work(work *w) {
    hs_context_close(w->context);
    hs_hooks_close(w->plain);
    hs_hooks_close(w->edited);
    hs_arena_close(w->arena);
    free(w->row);
}

// ---- a chunk ------------------------------------------------------------------------------------

// The shared rows' losses are every variant's that begins after them.
static int measure(const work *w, double *value, int64_t ld) {
    int rc = HS_OK;
    for (int i = 0; i < w->n_pair && !rc; i++) {
        const pair *p = &w->at[i];
        const int64_t item = i / w->c->n_variant, v = i % w->c->n_variant;
        for (int64_t t = 0; p->loss && t < p->first; t++) p->loss[t] = w->base[item].loss[t];
        const hs_quiz_found found = {p->loss, p->ln_p, p->said, p->entropy, p->n_said};
        rc = hs_quiz_measure(w->q, p->item, &found, value + (item * ld + v) * HS_N_MEASURE);
    }
    return rc;
}

int hs_quiz_chunk_run(const hs_quiz_chunk *c, double *value, int64_t ld) {
    work w = {.c = c, .q = c->quiz, .cfg = hs_model_config(c->quiz->o.model)};
    int rc = open_work(&w);
    if (!rc) rc = run_shared(&w);
    if (!rc) rc = run_prompts(&w);
    if (!rc) rc = run_choices(&w);
    if (!rc) rc = run_decoding(&w);
    if (!rc) rc = measure(&w, value, ld);
    close_work(&w);
    return rc;
}
