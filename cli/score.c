// Losses of tokens; see score.h. Prompts go through the engine in ragged batches, and rows of logits
// are reduced as soon as they are there.
//
// Under edits a batch holds each prompt twice, unedited and edited, side by side. Both go through
// the layers together; then the LM head is asked for the same few rows of both at a time, so that no
// more logits are held than those of CHUNK_ROWS rows, twice. Where answers are asked for, the rows of
// END go through the LM head last, those of a batch together.
#include "cli/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/memory.h"
#include "model/core/mem.h"

enum { BATCH_ROWS = 2048, CHUNK_ROWS = 64 };

typedef struct work {
    hs_scores *s;
    hs_session *session;
    const hs_do *edits;
    const hs_answer *answers;
    bool ends;  // the rows that come are those of END
    int copies; // of a prompt in a batch: 1, or 2 under edits
    int64_t n_vocab;
    int64_t first;             // prompt of the batch under way
    int64_t rows, done, total; // of the batch; for the bar
    // Under edits: the rows of one prompt that the LM head is asked for.
    int64_t prompt, pos, n;
    float *logits; // [2][CHUNK_ROWS][n_vocab]: unedited, edited
} work;

// ---- numbers of rows ------------------------------------------------------------------------

// Losses of n rows, whose log-sum-exp goes to lse unless that is NULL.
static int losses(const work *w, double *nll, double *lse, const float *logits, int64_t ld,
                  const int32_t *next, int64_t n) {
    const hs_model *m = w->session->model;
    double *sum = lse ? lse : nll;
    int rc = hs_model_backend(m)->log_sum_exp(hs_model_dev(m), sum, logits, ld, n, w->n_vocab);
    for (int64_t r = 0; r < n && !rc; r++) nll[r] = sum[r] - (double)logits[r * ld + next[r]];
    return rc;
}

// The rows of both copies.
static int reduce_pairs(const work *w) {
    const hs_model *m = w->session->model;
    const hs_scores *s = w->s;
    const float *base = w->logits, *edited = base + CHUNK_ROWS * w->n_vocab;
    const int32_t *next = s->prompt[w->prompt]->tokens + w->pos + 1;
    const int64_t i = w->prompt, v = w->n_vocab;
    double lse[2][CHUNK_ROWS];
    int rc = losses(w, s->base_nll[i] + w->pos, lse[0], base, v, next, w->n);
    if (!rc) rc = losses(w, s->nll[i] + w->pos, lse[1], edited, v, next, w->n);
    if (rc) return rc;
    return hs_model_backend(m)->divergence(hs_model_dev(m), s->kl[i] + w->pos, NULL, base, v,
                                           lse[0], edited, v, lse[1], w->n, v);
}

// ---- hooks ----------------------------------------------------------------------------------

static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    work *w = ctx;
    const int64_t i = w->first + site->seq / w->copies, ld = view->stride[0], v = w->n_vocab;
    if (w->ends)
        return hs_answer_measure(w->s->at_end + (2 * i + site->seq % w->copies) * HS_N_EFFECT,
                                 w->session->model, &w->answers[i], view->data);
    const int64_t left = w->s->prompt[i]->n_token - 1 - site->row0;
    const int64_t n = left < site->n_row ? left : site->n_row;
    const float *logits = view->data;
    if (w->copies == 1)
        return losses(w, w->s->nll[i] + site->row0, NULL, logits, ld,
                      w->s->prompt[i]->tokens + site->row0 + 1, n);
    float *to = w->logits + (site->seq % 2 * CHUNK_ROWS + site->row0 - w->pos) * v;
    for (int64_t r = 0; r < n; r++) memcpy(to + r * v, logits + r * ld, (size_t)v * sizeof *to);
    return HS_OK;
}

static int on_layer_done(void *ctx, int layer) {
    work *w = ctx;
    int64_t n_layer = hs_model_config(w->session->model)->n_layer;
    return hs_progress_step(&w->session->bar.progress, "scoring tokens",
                            w->done + w->rows * (layer + 1) / n_layer, w->total);
}

// ---- batches --------------------------------------------------------------------------------

// The LM head for every scored row of both copies of each prompt. The residual is in the context.
static int run_heads(work *w, hs_context *context, const hs_batch *layers) {
    int64_t row[2 * CHUNK_ROWS], row0 = 0; // row0: of the prompt's unedited copy
    hs_batch batch = *layers;
    int rc = HS_OK;
    batch.layer_from = batch.layer_to = hs_model_config(w->session->model)->n_layer;
    batch.logits = HS_LOGITS_ROWS;
    batch.logit_row = row;
    for (int i = 0; i < batch.n_seq && !rc; row0 += 2 * batch.seq[i].n, i += 2) {
        const int64_t n_token = batch.seq[i].n;
        w->prompt = w->first + i / 2;
        for (w->pos = 0; w->pos < n_token - 1 && !rc; w->pos += w->n) {
            const int64_t left = n_token - 1 - w->pos;
            w->n = left < CHUNK_ROWS ? left : CHUNK_ROWS;
            for (int64_t r = 0; r < w->n; r++) {
                row[r] = row0 + w->pos + r;
                row[w->n + r] = row[r] + n_token;
            }
            batch.n_logit_row = 2 * w->n;
            batch.resid = hs_context_resid(context);
            rc = hs_context_eval(context, &batch);
            if (!rc) rc = reduce_pairs(w);
            if (!rc)
                rc = hs_progress_step(&w->session->bar.progress, "scoring tokens",
                                      w->done + w->rows, w->total);
        }
    }
    return rc;
}

// The LM head for END of every sequence.
static int run_ends(work *w, hs_context *context, const hs_batch *layers) {
    int64_t *row, row0 = 0;
    hs_batch batch = *layers;
    int rc = hs_alloc(&row, (size_t)batch.n_seq, sizeof *row);
    for (int i = 0; i < batch.n_seq && !rc; row0 += batch.seq[i++].n)
        row[i] = row0 + w->answers[w->first + i / w->copies].end;
    batch.layer_from = batch.layer_to = hs_model_config(w->session->model)->n_layer;
    batch.resid = hs_context_resid(context);
    batch.logits = HS_LOGITS_ROWS;
    batch.logit_row = row;
    batch.n_logit_row = batch.n_seq;
    w->ends = true;
    if (!rc) rc = hs_context_eval(context, &batch);
    w->ends = false;
    free(row);
    return rc;
}

// Evaluates n prompts from w->first on as one batch.
static int run_batch(work *w, hs_context *context, hs_seq *seq, hs_editing_seq *aim, int n) {
    w->rows = 0;
    for (int i = 0; i < n * w->copies; i++) {
        const int64_t ord = w->first + i / w->copies;
        const hs_prompt *p = w->s->prompt[ord];
        seq[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
        aim[i] = (hs_editing_seq){.ord = ord, .n = i % w->copies ? w->edits->n : w->edits->n_input};
        w->rows += p->n_token;
    }
    hs_batch batch = {.seq = seq,
                      .n_seq = n * w->copies,
                      .logits = w->copies == 1 ? HS_LOGITS_ALL : HS_LOGITS_NONE};
    int rc = !w->edits->n ? HS_OK : hs_editing_aim(w->edits->editing, aim, batch.n_seq);
    if (!rc) rc = hs_context_eval(context, &batch);
    if (!rc && w->copies == 2) rc = run_heads(w, context, &batch);
    if (!rc && w->answers) rc = run_ends(w, context, &batch);
    w->first += n;
    w->done += w->rows;
    return rc;
}

static int run_all(work *w, hs_context *context) {
    const int64_t n = w->s->n_prompt;
    hs_seq *seq = NULL;
    hs_editing_seq *aim = NULL;
    int rc = hs_alloc(&seq, (size_t)(n * w->copies), sizeof *seq);
    if (!rc) rc = hs_alloc(&aim, (size_t)(n * w->copies), sizeof *aim);
    while (!rc && w->first < n) {
        int64_t rows = w->s->prompt[w->first]->n_token * w->copies;
        int k = 1;
        for (; w->first + k < n; k++) {
            rows += w->s->prompt[w->first + k]->n_token * w->copies;
            if (rows > BATCH_ROWS) break;
        }
        rc = run_batch(w, context, seq, aim, k);
    }
    free(seq);
    free(aim);
    return rc;
}

static int run(work *w) {
    const hs_model *model = w->session->model;
    const hs_dims dims = hs_dims_of(model);
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[dims.n_layer] = HS_BIT(HS_LOGITS);
    rc = hs_hooks_open(&hooks, &dims);
    if (!rc) rc = hs_editing_hook(w->edits->editing, hooks, 0, w->edits->n);
    if (!rc)
        rc = hs_hooks_add(
            hooks,
            &(hs_hook){.points = points, .rows = on_logits, .layer_done = on_layer_done, .ctx = w});
    if (!rc)
        rc = hs_cli_room_check(model, NULL, hs_cli_longest(w->session->prompts) * w->copies,
                               HS_LOGITS_ALL);
    if (!rc) rc = hs_context_open(&context, model, NULL);
    if (!rc && w->copies == 2)
        rc = hs_alloc(&w->logits, (size_t)(2 * CHUNK_ROWS * w->n_vocab), sizeof *w->logits);
    if (!rc) {
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = run_all(w, context);
    }
    hs_bar_clear(&w->session->bar);
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(points);
    free(w->logits);
    return rc;
}

// ---- open and close -------------------------------------------------------------------------

static int open_numbers(const hs_scores *s, double ***out) {
    int rc = hs_alloc(out, (size_t)s->n_prompt, sizeof **out);
    for (int64_t i = 0; i < s->n_prompt && !rc; i++)
        rc = hs_alloc(&(*out)[i], (size_t)s->prompt[i]->n_token, sizeof ***out);
    return rc;
}

static void close_numbers(const hs_scores *s, double **numbers) {
    for (int64_t i = 0; numbers && i < s->n_prompt; i++) free(numbers[i]);
    free(numbers);
}

int hs_scores_open(hs_scores *s, hs_session *session, const hs_do *edits,
                   const hs_answer *answers) {
    *s = (hs_scores){.n_prompt = hs_prompts_count(session->prompts)};
    work w = {.s = s,
              .session = session,
              .edits = edits,
              .answers = answers,
              .copies = edits->n > edits->n_input ? 2 : 1,
              .n_vocab = hs_model_config(session->model)->n_vocab};
    int rc = hs_alloc(&s->prompt, (size_t)s->n_prompt, sizeof *s->prompt);
    for (int64_t i = 0; i < s->n_prompt && !rc; i++) {
        s->prompt[i] = hs_prompts_at(session->prompts, i);
        w.total += s->prompt[i]->n_token * w.copies;
    }
    if (!rc) rc = open_numbers(s, &s->nll);
    if (!rc && w.copies == 2) rc = open_numbers(s, &s->base_nll);
    if (!rc && w.copies == 2) rc = open_numbers(s, &s->kl);
    if (!rc && answers)
        rc = hs_alloc(&s->at_end, (size_t)s->n_prompt, 2 * HS_N_EFFECT * sizeof *s->at_end);
    return rc ? rc : run(&w);
}

void hs_scores_close(hs_scores *s) {
    close_numbers(s, s->nll);
    close_numbers(s, s->base_nll);
    close_numbers(s, s->kl);
    free(s->at_end);
    free(s->prompt);
    *s = (hs_scores){0};
}

double hs_scores_mean(const hs_scores *s, double *const *of, int64_t from, int64_t to) {
    const int64_t n = hs_scores_count(s, from, to);
    double sum = 0;
    for (int64_t i = from; i < to; i++)
        for (int64_t t = 0; t + 1 < s->prompt[i]->n_token; t++) sum += of[i][t];
    return n ? sum / (double)n : NAN;
}

int64_t hs_scores_count(const hs_scores *s, int64_t from, int64_t to) {
    int64_t n = 0;
    for (int64_t i = from; i < to; i++) n += s->prompt[i]->n_token - 1;
    return n;
}

double hs_scores_answers(const hs_scores *s, enum hs_effect effect, bool edited, int64_t from,
                         int64_t to) {
    double sum = 0;
    for (int64_t i = from; i < to; i++) sum += s->at_end[(2 * i + edited) * HS_N_EFFECT + effect];
    return to > from ? sum / (double)(to - from) : (double)NAN;
}
