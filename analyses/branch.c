// Branches; see branch.h.
//
// All branches have a slot each of one context. When there are more of them than slots, or one
// outgrows its slot, the context is made anew, twice as long as it must be, and what was run is run
// again when it is needed. A row's logits are made as often as they are asked for: the branch is
// cut back to it and goes on from there.
#include "analyses/branch.h"

#include <stdlib.h>
#include <string.h>

#include "analyses/received.h"
#include "hooks/hooks.h"
#include "model/context.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { FOLLOWS = 64 }; // rows that a slot has room for after a prompt, at first

typedef struct branch {
    struct hs_branches *all;
    const hs_edit *edit;
    int64_t ord, n_prompt; // the prompt as it is
    int64_t end;           // rows from here on are there, one after another
    bool wanted, given;    // in this use
    int slot;
    int32_t *token; // [n_token] of this version, n_own of them the prompt's
    int64_t n_token, n_own;
} branch;

struct hs_branches {
    const hs_editing_opts *opts;
    int64_t n_vocab;
    branch **at; // [n]
    int n;
    hs_hooks *hooks;
    hs_context *context;
    int n_slot;
    int64_t capacity; // of a slot
    // Rows of logits on their way.
    float *out;
    int64_t from; // the first of them
};

// ---- versions -----------------------------------------------------------------------------------

// Leaves out positions whose `gone` is set.
static void pack(branch *b, const hs_prompt *p, const bool *gone) {
    for (int64_t i = 0; i < p->n_token; i++)
        if (!gone[i]) b->token[b->n_token++] = p->tokens[i];
}

// Those of the span that get most attention are not gone; of equal ones the first.
static int keep_outliers(const branch *b, const hs_prompt *p, bool *gone) {
    const hs_ref_need *need = hs_edit_need(b->edit);
    double *got;
    int rc = hs_alloc(&got, (size_t)p->n_token, sizeof *got);
    if (!rc) rc = hs_received(b->all->opts->model, p, need->layer, b->end, got);
    for (int64_t k = 0; k < need->k && !rc; k++) {
        int64_t best = -1;
        for (int64_t i = 0; i < p->n_token; i++)
            if (gone[i] && (best < 0 || got[i] > got[best])) best = i;
        if (best >= 0) gone[best] = false;
    }
    free(got);
    return rc;
}

// Tokens of the span in another order (Fisher and Yates); the rest stays.
static int shuffle(branch *b, const hs_prompt *p, const bool *of) {
    hs_prng random = hs_prng_seed(hs_edit_need(b->edit)->seed * UINT64_C(0x9E3779B97F4A7C15) +
                                  (uint64_t)b->ord);
    int64_t *at, n = 0;
    int rc = hs_alloc(&at, (size_t)p->n_token, sizeof *at);
    if (rc) return rc;
    for (int64_t i = 0; i < p->n_token; i++) {
        b->token[b->n_token++] = p->tokens[i];
        if (of[i]) at[n++] = i;
    }
    for (; n > 1; n--) {
        const int64_t j = at[hs_prng_below(&random, (uint64_t)n)], last = at[n - 1];
        const int32_t token = b->token[j];
        b->token[j] = b->token[last];
        b->token[last] = token;
    }
    free(at);
    return HS_OK;
}

static int make_version(branch *b, const hs_edit_prompt *prompt) {
    const hs_prompt *p = hs_prompts_at(b->all->opts->prompts, b->ord);
    const enum hs_version version = hs_edit_need(b->edit)->version;
    bool *place;
    int rc = hs_alloc(&place, (size_t)p->n_token, sizeof *place);
    if (!rc) rc = hs_alloc(&b->token, (size_t)p->n_token, sizeof *b->token);
    if (!rc) rc = hs_edit_gone(b->edit, prompt, place);
    for (int64_t i = 0; i < p->n_token && !rc; i++)
        if (place[i]) b->end = i + 1;
    if (!rc && version == HS_VERSION_OUTLIERS) rc = keep_outliers(b, p, place);
    if (!rc && version == HS_VERSION_SHUFFLED)
        rc = shuffle(b, p, place);
    else if (!rc)
        pack(b, p, place);
    b->n_own = b->n_token;
    free(place);
    return rc;
}

// ---- open and close -----------------------------------------------------------------------------

static int take_logits(void *ctx, const hs_site *site, const hs_view *view) {
    const hs_branches *s = ctx;
    float *to = s->out + (site->row0 - s->from) * s->n_vocab;
    for (int64_t r = 0; r < site->n_row; r++)
        memcpy(to + r * s->n_vocab, (const float *)view->data + r * view->stride[0],
               (size_t)s->n_vocab * sizeof *to);
    return HS_OK;
}

int hs_branches_open(hs_branches **out, const hs_editing_opts *opts) {
    const hs_dims dims = hs_dims_of(opts->model);
    uint64_t *points = NULL;
    hs_branches *s;
    *out = NULL;
    int rc = hs_alloc(&s, 1, sizeof *s);
    if (rc) return rc;
    s->opts = opts;
    s->n_vocab = dims.n_vocab;
    rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    if (!rc) rc = hs_hooks_open(&s->hooks, &dims);
    if (!rc) {
        points[dims.n_layer] = HS_BIT(HS_LOGITS);
        rc = hs_hooks_add(s->hooks, &(hs_hook){.points = points, .rows = take_logits, .ctx = s});
    }
    free(points);
    if (rc)
        hs_branches_close(s);
    else
        *out = s;
    return rc;
}

static void close_branch(branch *b) {
    if (!b) return;
    free(b->token);
    free(b);
}

void hs_branches_close(hs_branches *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) close_branch(s->at[i]);
    hs_context_close(s->context);
    hs_hooks_close(s->hooks);
    free(s->at);
    free(s);
}

// ---- which there are ----------------------------------------------------------------------------

static bool is_of(const branch *b, const hs_edit *edit, int64_t ord) {
    return b->edit == edit && b->ord == ord;
}

void hs_branches_begin(hs_branches *s) {
    for (int i = 0; i < s->n; i++) s->at[i]->wanted = s->at[i]->given = false;
}

int hs_branches_want(hs_branches *s, const hs_edit *edit, const hs_edit_prompt *prompt) {
    branch *b;
    for (int i = 0; i < s->n; i++) {
        if (s->at[i]->wanted || !is_of(s->at[i], edit, prompt->ord)) continue;
        s->at[i]->wanted = true;
        return HS_OK;
    }
    int rc = hs_grow(&s->at, (size_t)s->n + 1, sizeof *s->at);
    if (!rc) rc = hs_alloc(&b, 1, sizeof *b);
    if (rc) return rc;
    *b = (branch){.all = s,
                  .edit = edit,
                  .ord = prompt->ord,
                  .n_prompt = prompt->n_token,
                  .wanted = true,
                  .slot = HS_SLOT_NONE};
    rc = make_version(b, prompt);
    if (rc)
        close_branch(b);
    else
        s->at[s->n++] = b;
    return rc;
}

static int64_t largest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

// A context of n slots, empty, in which `rows` rows fit into each.
static int make_context(hs_branches *s, int n, int64_t rows) {
    const int64_t n_ctx = hs_model_config(s->opts->model)->n_ctx;
    s->capacity = rows < n_ctx ? rows : largest(n_ctx, 1);
    s->n_slot = n;
    hs_context_close(s->context);
    s->context = NULL;
    int rc = hs_context_open(&s->context, s->opts->model,
                             &(hs_context_opts){.kv_capacity = s->capacity, .n_slot = n});
    if (!rc) hs_context_set_tap(s->context, hs_hooks_tap(s->hooks));
    return rc;
}

// The first slot that no branch has.
static int free_slot(const hs_branches *s) {
    for (int slot = 0;; slot++) {
        int i = 0;
        while (i < s->n && s->at[i]->slot != slot) i++;
        if (i == s->n) return slot;
    }
}

int hs_branches_fill(hs_branches *s) {
    int64_t rows = 0;
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->at[i]->wanted)
            s->at[n++] = s->at[i];
        else
            close_branch(s->at[i]);
    }
    s->n = n;
    for (int i = 0; i < n; i++) rows = largest(rows, s->at[i]->n_token);
    if (!n) return HS_OK;
    if (!s->context || n > s->n_slot || rows > s->capacity) {
        for (int i = 0; i < n; i++) s->at[i]->slot = HS_SLOT_NONE;
        int rc = make_context(s, n, rows + FOLLOWS);
        if (rc) return rc;
    }
    for (int i = 0; i < n; i++) {
        branch *b = s->at[i];
        if (b->slot != HS_SLOT_NONE) continue;
        b->slot = free_slot(s);
        hs_context_truncate(s->context, b->slot, 0);
    }
    return HS_OK;
}

// ---- as a reference -----------------------------------------------------------------------------

// Drops what was told from the first token on that is another now.
static int branch_tell(void *ctx, int64_t row0, int64_t n, const int32_t *token) {
    branch *b = ctx;
    for (int64_t j = 0; j < n; j++) {
        const int64_t at = b->n_own + row0 + j - b->n_prompt;
        if (at < b->n_own) continue; // the prompt's own
        if (at > b->n_token)
            return hs_fail(HS_ERANGE, "row %lld follows rows that were not run",
                           (long long)(row0 + j));
        if (at < b->n_token && b->token[at] == token[j]) continue;
        int rc = hs_grow(&b->token, (size_t)at + 1, sizeof *b->token);
        if (rc) return rc;
        b->token[at] = token[j];
        b->n_token = at + 1;
        if (b->all->context && hs_context_len(b->all->context, b->slot) > at)
            hs_context_truncate(b->all->context, b->slot, at);
    }
    return HS_OK;
}

// Rows `first` .. first + n - 1 of the branch's own, after those before them.
static int run_rows(branch *b, int64_t first, int64_t n) {
    hs_branches *s = b->all;
    int64_t *row;
    int rc = HS_OK;
    if (!s->context || first + n > s->capacity) rc = make_context(s, s->n_slot, 2 * (first + n));
    if (!rc) rc = hs_alloc(&row, (size_t)n, sizeof *row);
    if (rc) return rc;
    if (hs_context_len(s->context, b->slot) > first)
        hs_context_truncate(s->context, b->slot, first);
    const int64_t done = hs_context_len(s->context, b->slot);
    for (int64_t i = 0; i < n; i++) row[i] = first + i - done;
    const hs_seq seq = {.tokens = b->token + done, .n = first + n - done, .slot = b->slot};
    const hs_batch batch = {
        .seq = &seq, .n_seq = 1, .logits = HS_LOGITS_ROWS, .logit_row = row, .n_logit_row = n};
    rc = hs_context_eval(s->context, &batch);
    free(row);
    return rc;
}

static int branch_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                       float *out) {
    branch *b = ctx;
    const int64_t first = b->n_own + row0 - b->n_prompt;
    (void)layer;
    if (point != HS_LOGITS || row0 < b->end || n < 0 || first > b->n_token - n)
        return hs_fail(HS_ENOTFOUND, "row %lld of the other branch is not there",
                       (long long)(row0 < b->end ? row0 : row0 + n - 1));
    b->all->out = out;
    b->all->from = first;
    return n ? run_rows(b, first, n) : HS_OK;
}

hs_ref hs_branches_ref(hs_branches *s, const hs_edit *edit, int64_t ord) {
    int i = 0;
    while (s->at[i]->given || !is_of(s->at[i], edit, ord)) i++;
    s->at[i]->given = true;
    return (hs_ref){.ctx = s->at[i], .n_row = INT64_MAX, .rows = branch_rows, .tell = branch_tell};
}
