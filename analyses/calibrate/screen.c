// Screening by gradients; see screen.h. For each item the prompt with every continuation is run once
// and differentiated: that gives the gradient g of each continuation's ln p by z, what every head
// says. Then every variant runs once with all heads edited, and a hook behind the edits adds up
//
//     sum over rows and numbers of (z_edited - z) g
//
// for each head, and puts z back: what follows is as it was, so that each head is edited on unedited
// inputs, as if it were the only one. The objective's gradient by the continuations' ln p, which is
// known when all have been run, weighs the sums. Cost: about three forward passes of an item and one
// more for each variant, however many heads there are; the exact way takes one for each head.
//
// Rows of continuations are decoded rows, as they are in a quiz: edits are told the prompt's length.
#include "analyses/calibrate/screen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "model/backward.h"
#include "model/core/mem.h"

enum { MOST_ROWS = 1024 }; // of a chunk: progress is told after each

// A prompt with one continuation.
struct piece {
    int64_t ord;
    int32_t *tokens; // [n], owned
    int64_t n;
    int64_t first;  // row that says the first scored token
    int64_t row;    // its first row in the chunk
    int64_t choice; // number of it
    double sum;     // ln p of the scored tokens
    double weight;  // gradient of the objective by that
};

struct screen {
    const hs_screen_opts *o;
    const hs_quiz_variant *variant;
    int n_variant;
    hs_dims dims;
    int64_t memory, width; // width: of a row of z
    int layer_to;          // one more than the last layer with a head that is asked about
    uint64_t *points;      // [n_layer + 1] HS_Z of layers that have one
    hs_context *x;
    hs_editing *editing;
    hs_hooks *hooks;
    int *first; // [n_variant] specs of a variant
    // The chunk in work.
    struct piece *piece; // [n_piece]
    int64_t n_piece, n_row;
    int in_work;       // variant
    float *z, *g;      // [layer_to][n_row][width]
    double *lse;       // [n_row]
    double *sum;       // [n_variant][n_piece][n_layer * n_head]
    hs_seq *seq;       // [n_piece]
    int64_t *seen_row; // [n_row] rows that meet the LM head
};

static int64_t n_unit(const struct screen *s) {
    return (int64_t)s->dims.n_layer * s->dims.n_head;
}

static float *rows_at(const struct screen *s, float *block, const hs_site *site) {
    const int64_t row = s->piece[site->seq].row + site->row0;
    return block + (site->layer * s->n_row + row) * s->width;
}

// ---- gradients ----------------------------------------------------------------------------------

static int keep(const struct screen *s, float *block, const hs_site *site, const hs_view *view) {
    float *to = rows_at(s, block, site);
    for (int64_t r = 0; r < site->n_row; r++)
        memcpy(to + r * s->width, (const float *)view->data + r * view->stride[0],
               (size_t)s->width * sizeof *to);
    return HS_OK;
}

static int keep_values(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    const struct screen *s = ctx;
    (void)write;
    return keep(s, s->z, site, view);
}

static int keep_slopes(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    const struct screen *s = ctx;
    (void)write;
    return keep(s, s->g, site, view);
}

// ln p of the scored tokens, and its gradient: onehot - softmax.
static int seed(void *ctx, const hs_site *site, const hs_view *logits) {
    const struct screen *s = ctx;
    const hs_backend *be = hs_model_backend(s->o->model);
    hs_dev *dev = hs_model_dev(s->o->model);
    struct piece *p = &s->piece[site->seq];
    const int64_t n = logits->shape[0], n_vocab = logits->shape[1], ld = logits->stride[0];
    float *x = logits->data;
    int rc = be->log_sum_exp(dev, s->lse, x, ld, n, n_vocab);
    for (int64_t r = 0; r < n && !rc; r++)
        p->sum += (double)x[r * ld + p->tokens[site->row0 + r + 1]] - s->lse[r];
    if (!rc) rc = be->softmax(dev, x, ld, s->lse, n, n_vocab, -1);
    for (int64_t r = 0; r < n && !rc; r++) x[r * ld + p->tokens[site->row0 + r + 1]] += 1;
    return rc;
}

static int run_back(struct screen *s) {
    const hs_tap values = {.ctx = s, .read = s->points, .rows = keep_values};
    const hs_tap grads = {.ctx = s, .read = s->points, .rows = keep_slopes};
    const hs_backward job = {
        .seed = seed, .ctx = s, .values = &values, .grads = &grads, .once = true};
    hs_batch batch = {.seq = s->seq, .n_seq = (int)s->n_piece, .logit_row = s->seen_row};
    for (int64_t i = 0; i < s->n_piece; i++)
        for (int64_t r = s->piece[i].first; r + 1 < s->piece[i].n; r++)
            s->seen_row[batch.n_logit_row++] = s->piece[i].row + r;
    return hs_context_backward(s->x, &batch, &job);
}

// ---- edits --------------------------------------------------------------------------------------

static int compare(void *ctx, const hs_site *site, const hs_view *view) {
    const struct screen *s = ctx;
    const int n_head = s->dims.n_head;
    const int64_t d = s->dims.d_head, unit = site->layer * n_head;
    double *sum = s->sum + (s->in_work * s->n_piece + site->seq) * n_unit(s) + unit;
    const float *z = rows_at(s, s->z, site), *g = rows_at(s, s->g, site);
    for (int64_t r = 0; r < site->n_row; r++, z += s->width, g += s->width) {
        float *edited = (float *)view->data + r * view->stride[0];
        for (int h = 0; h < n_head; h++) {
            if (!hs_heads_has(s->o->heads, site->layer, h)) continue;
            for (int64_t k = h * d; k < (h + 1) * d; k++)
                sum[h] += ((double)edited[k] - (double)z[k]) * (double)g[k];
        }
        memcpy(edited, z, (size_t)s->width * sizeof *edited);
    }
    return HS_OK;
}

static int run_variant(struct screen *s, int v) {
    hs_editing_seq *aim;
    int rc = hs_alloc(&aim, (size_t)s->n_piece, sizeof *aim);
    for (int64_t i = 0; i < s->n_piece && !rc; i++)
        aim[i] = (hs_editing_seq){s->piece[i].ord, s->first[v], s->variant[v].n};
    if (!rc) rc = hs_editing_aim(s->editing, aim, (int)s->n_piece);
    s->in_work = v;
    if (!rc)
        rc = hs_context_eval(
            s->x, &(hs_batch){.seq = s->seq, .n_seq = (int)s->n_piece, .layer_to = s->layer_to});
    free(aim);
    return rc;
}

// ---- a chunk ------------------------------------------------------------------------------------

static const hs_quiz_item *item_of(const struct screen *s, int64_t ord) {
    return s->o->item[ord];
}

// Continuations that the objective looks at: all choices, the right one, or the text itself.
static int n_piece_of(const struct screen *s, const hs_quiz_item *item) {
    const bool choices = item->kind == HS_QUIZ_CHOICE || item->kind == HS_QUIZ_YES_NO;
    if (s->o->objective == HS_MEASURE_CHOICE_NLL) return choices ? item->n_choice : 0;
    return item->kind == HS_QUIZ_TEXT && item->prompt->n_token < 2 ? 0 : 1;
}

static int add_piece(struct screen *s, const hs_quiz_item *item, int choice) {
    const hs_prompt *p = item->prompt;
    const hs_quiz_choice *c = item->kind == HS_QUIZ_TEXT ? NULL : &item->choice[choice];
    int rc = hs_grow(&s->piece, (size_t)s->n_piece + 1, sizeof *s->piece);
    if (rc) return rc;
    struct piece *to = &s->piece[s->n_piece];
    *to = (struct piece){.ord = item->ord,
                         .n = p->n_token + (c ? c->n : 0),
                         .first = c ? p->n_token - 1 : 0,
                         .row = s->n_row,
                         .choice = choice};
    rc = hs_alloc(&to->tokens, (size_t)to->n, sizeof *to->tokens);
    if (rc) return rc;
    memcpy(to->tokens, p->tokens, (size_t)p->n_token * sizeof *to->tokens);
    if (c) memcpy(to->tokens + p->n_token, c->at, (size_t)c->n * sizeof *to->tokens);
    s->n_row += to->n;
    s->n_piece++;
    return HS_OK;
}

static int add_item(struct screen *s, const hs_quiz_item *item) {
    const int n = n_piece_of(s, item);
    int rc = HS_OK;
    for (int i = 0; i < n && !rc; i++) rc = add_piece(s, item, n == 1 ? item->right : i);
    return rc;
}

static void close_chunk(struct screen *s) {
    for (int64_t i = 0; i < s->n_piece; i++) free(s->piece[i].tokens);
    void *const blocks[] = {s->z, s->g, s->lse, s->sum, s->seq, s->seen_row};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    s->z = s->g = NULL;
    s->lse = s->sum = NULL;
    s->seq = NULL;
    s->seen_row = NULL;
    s->n_piece = s->n_row = 0;
}

static int open_chunk(struct screen *s) {
    const size_t n_row = (size_t)s->n_row, n_z = (size_t)s->layer_to * (size_t)s->width;
    int rc = hs_alloc(&s->z, n_row, n_z * sizeof *s->z);
    if (!rc) rc = hs_alloc(&s->g, n_row, n_z * sizeof *s->g);
    if (!rc) rc = hs_alloc(&s->lse, n_row, sizeof *s->lse);
    if (!rc) rc = hs_alloc(&s->seen_row, n_row, sizeof *s->seen_row);
    if (!rc) rc = hs_alloc(&s->seq, (size_t)s->n_piece, sizeof *s->seq);
    if (!rc)
        rc = hs_alloc(&s->sum, (size_t)(s->n_variant * s->n_piece),
                      (size_t)n_unit(s) * sizeof *s->sum);
    for (int64_t i = 0; i < s->n_piece && !rc; i++)
        s->seq[i] = (hs_seq){.tokens = s->piece[i].tokens, .n = s->piece[i].n};
    return rc;
}

// The objective of an item's pieces [from, to), and its gradient by each one's ln p.
static double weigh(struct screen *s, int64_t from, int64_t to) {
    const hs_quiz_item *item = item_of(s, s->piece[from].ord);
    double most = -INFINITY, all = 0, base = 0;
    if (s->o->objective == HS_MEASURE_NLL) {
        const double n = (double)(s->piece[from].n - 1 - s->piece[from].first);
        s->piece[from].weight = -1 / n;
        return -s->piece[from].sum / n;
    }
    for (int64_t i = from; i < to; i++) most = fmax(most, s->piece[i].sum);
    for (int64_t i = from; i < to; i++) all += exp(s->piece[i].sum - most);
    for (int64_t i = from; i < to; i++) {
        const bool right = s->piece[i].choice == item->right;
        s->piece[i].weight = exp(s->piece[i].sum - most) / all - right;
        if (right) base = log(all) - (s->piece[i].sum - most);
    }
    return base;
}

// Hands over an item whose pieces are [from, to).
static int tell(struct screen *s, int64_t ord, int64_t from, int64_t to, double *estimate,
                hs_screen_fn fn, void *ctx) {
    const int64_t n = n_unit(s);
    const double none = from == to ? (double)NAN : 0;
    const double base = from == to ? none : weigh(s, from, to);
    for (int64_t i = 0; i < s->n_variant * n; i++) estimate[i] = none;
    for (int v = 0; v < s->n_variant; v++)
        for (int64_t i = from; i < to; i++)
            for (int64_t u = 0; u < n; u++)
                estimate[v * n + u] += s->piece[i].weight * s->sum[(v * s->n_piece + i) * n + u];
    return fn(ctx, ord, base, estimate);
}

static int run_chunk(struct screen *s, const int64_t *ord, int64_t n, hs_screen_fn fn, void *ctx) {
    double *estimate;
    int64_t at = 0;
    int rc = hs_alloc(&estimate, (size_t)s->n_variant, (size_t)n_unit(s) * sizeof *estimate);
    for (int64_t i = 0; i < n && !rc; i++) rc = add_item(s, item_of(s, ord[i]));
    if (!rc) rc = open_chunk(s);
    if (!rc && s->n_piece) {
        hs_context_set_tap(s->x, NULL);
        rc = run_back(s);
        hs_context_set_tap(s->x, hs_hooks_tap(s->hooks));
        for (int v = 0; v < s->n_variant && !rc; v++) rc = run_variant(s, v);
    }
    for (int64_t i = 0; i < n && !rc; i++) {
        const int64_t to = at + n_piece_of(s, item_of(s, ord[i]));
        rc = tell(s, ord[i], at, to, estimate, fn, ctx);
        at = to;
    }
    close_chunk(s);
    free(estimate);
    return rc;
}

// Items from ord[0] on that go together, at least one.
static int64_t fit(const struct screen *s, const int64_t *ord, int64_t n) {
    int64_t rows = 0, i = 0;
    for (; i < n; i++) {
        const hs_quiz_item *item = item_of(s, ord[i]);
        const int pieces = n_piece_of(s, item);
        rows += pieces * item->prompt->n_token;
        for (int k = 0; k < pieces && item->n_choice; k++) rows += item->choice[k].n;
        const hs_memory need = hs_backward_memory(s->o->model, rows);
        const int64_t bytes = hs_memory_sum(&need) + hs_backward_once(s->o->model, rows) +
                              2 * rows * s->layer_to * s->width * (int64_t)sizeof(float);
        if (i && (rows > MOST_ROWS || bytes > s->memory)) break;
    }
    return i;
}

// ---- the run ------------------------------------------------------------------------------------

// What comes behind z cannot be told by z; sums over heads would miss it.
static int check_edits(const struct screen *s) {
    for (int i = 0; i < hs_editing_count(s->editing); i++) {
        const hs_edit *edit = hs_editing_at(s->editing, i);
        uint64_t points = 0;
        for (int l = 0; l <= s->dims.n_layer; l++) points |= hs_edit_points(edit)[l];
        points &= ~hs_edit_kind(edit)->looks;
        if (points & ~(HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN) | HS_BIT(HS_Z) | HS_BIT(HS_Q) |
                       HS_BIT(HS_ROT_Q)))
            return hs_fail(HS_EARG,
                           "%s changes more than what its heads say: it is screened exactly",
                           hs_edit_spec(edit));
    }
    return HS_OK;
}

static int open_editing(struct screen *s) {
    const hs_screen_opts *o = s->o;
    const hs_editing_opts opts = {o->model, o->prompts, o->spans, o->runs, o->progress};
    const char **spec = NULL;
    int n = 0;
    int rc = hs_alloc(&s->first, (size_t)s->n_variant, sizeof *s->first);
    for (int v = 0; v < s->n_variant && !rc; v++) {
        s->first[v] = n;
        rc = hs_grow(&spec, (size_t)(n + s->variant[v].n), sizeof *spec);
        for (int i = 0; i < s->variant[v].n && !rc; i++) spec[n++] = s->variant[v].spec[i];
    }
    if (!rc) rc = hs_editing_open(&s->editing, &opts, spec, n);
    if (!rc) rc = check_edits(s);
    if (!rc) rc = hs_hooks_open(&s->hooks, &s->dims);
    if (!rc) rc = hs_editing_hook(s->editing, s->hooks, 0, n);
    free(spec);
    return rc;
}

static int open_screen(struct screen *s) {
    int rc = hs_alloc(&s->points, (size_t)s->dims.n_layer + 1, sizeof *s->points);
    for (int l = 0; l < s->dims.n_layer && !rc; l++)
        for (int h = 0; h < s->dims.n_head; h++)
            if (hs_heads_has(s->o->heads, l, h)) {
                s->points[l] = HS_BIT(HS_Z);
                s->layer_to = l + 1;
            }
    if (!rc && !s->layer_to) rc = hs_fail(HS_EARG, "no head is left to choose from");
    if (!rc) rc = open_editing(s);
    const hs_hook behind = {.points = s->points, .write = true, .rows = compare, .ctx = s};
    if (!rc) rc = hs_hooks_add(s->hooks, &behind);
    return rc ? rc : hs_context_open(&s->x, s->o->model, NULL);
}

int hs_screen(const hs_screen_opts *o, const hs_quiz_variant *variant, int n_variant,
              const int64_t *ord, int64_t n, hs_screen_fn fn, void *ctx) {
    struct screen s = {.o = o,
                       .variant = variant,
                       .n_variant = n_variant,
                       .dims = hs_dims_of(o->model),
                       .memory = hs_chunk_memory(o->memory)};
    s.width = s.dims.n_head * s.dims.d_head;
    int rc = open_screen(&s);
    for (int64_t i = 0; i < n && !rc;) {
        const int64_t go = fit(&s, ord + i, n - i);
        rc = run_chunk(&s, ord + i, go, fn, ctx);
        i += go;
        if (!rc) rc = hs_progress_step(o->progress, "screening heads", i, n);
    }
    hs_context_close(s.x);
    hs_hooks_close(s.hooks);
    hs_editing_close(s.editing);
    free(s.piece);
    free(s.points);
    free(s.first);
    return rc;
}
