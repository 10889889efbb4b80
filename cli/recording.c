// Records a run; see recording.h.
//
// One prompt at a time and one transaction a prompt: the hook set of a prompt holds its observers,
// the recorder and the progress bar, which is also where Ctrl-C is noticed. Without generation
// nothing outlives its layer, so memory does not grow with the number of layers; with it, the
// prompt's keys and values stay and the decoded tokens are run one by one, the last one too, so
// that every token of the prompt has its rows.
#include "cli/recording.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/decode.h"
#include "cli/memory.h"
#include "cli/study.h"
#include "model/core/mem.h"

typedef struct work {
    hs_recording o;
    hs_rec *rec;
    hs_context *context;
    float *logits;          // [n_vocab] of the last row, when decoding
    int32_t *decoded;       // [generate]
    int64_t n_prompt, done; // prompts in all, held
    int64_t tokens;         // for the bar: of finished prompts, and run since
    int64_t total, rows;    // for the bar: tokens in all, tokens of the evaluation under way
} work;

// ---- one prompt -----------------------------------------------------------------------------

static int on_layer_done(void *ctx, int layer) {
    work *w = ctx;
    int64_t n_layer = hs_model_config(w->o.session->model)->n_layer;
    return hs_progress_step(&w->o.session->bar.progress, "recording tokens",
                            w->tokens + w->rows * (layer + 1) / n_layer, w->total);
}

// Keeps the logits of the last row so far: those that the next token is taken from.
static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    work *w = ctx;
    const float *last = (const float *)view->data + (site->n_row - 1) * view->stride[0];
    memcpy(w->logits, last, (size_t)view->shape[1] * sizeof *last);
    return HS_OK;
}

// The bar's hook, which also reads logits when tokens are decoded.
static int add_own_hook(work *w, hs_hooks *hooks) {
    int n_layer = w->o.plan->dims.n_layer;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)n_layer + 1, sizeof *points);
    if (rc) return rc;
    if (w->o.plan->ask.generate) points[n_layer] = HS_BIT(HS_LOGITS);
    rc = hs_hooks_add(
        hooks,
        &(hs_hook){.points = points, .rows = on_logits, .layer_done = on_layer_done, .ctx = w});
    free(points);
    return rc;
}

// The evaluation that comes: tokens of the one before are run.
static int on_turn(void *ctx, const int *seq, int n, int64_t n_row) {
    work *w = ctx;
    (void)seq;
    (void)n;
    w->tokens += w->rows;
    w->rows = n_row;
    return HS_OK;
}

static int32_t on_pick(void *ctx, int seq, const float *logits) {
    const work *w = ctx;
    (void)seq;
    (void)logits; // none, where all rows' logits are recorded
    return hs_argmax(w->logits, w->o.plan->dims.n_vocab);
}

static enum hs_logits wanted_logits(const work *w) {
    return w->o.plan->all_logits     ? HS_LOGITS_ALL
           : w->o.plan->ask.generate ? HS_LOGITS_LAST
                                     : HS_LOGITS_NONE;
}

// The prompt, and what is decoded after it.
static int evaluate(work *w, const hs_prompt *p) {
    const hs_decode_opts o = {.context = w->context,
                              .most = w->o.plan->ask.generate,
                              .run_last = true,
                              .logits = wanted_logits(w),
                              .ctx = w,
                              .turn = on_turn,
                              .pick = on_pick};
    hs_decoding d = {.in = {.tokens = p->tokens, .n = p->n_token}, .out = w->decoded};
    hs_context_truncate(w->context, 0, 0);
    int rc = hs_decode(&o, &d, 1);
    w->tokens += w->rows;
    w->rows = 0;
    if (rc || !w->o.plan->ask.generate) return rc;
    w->total -= w->o.plan->ask.generate - d.n_out;
    return hs_rec_decoded(w->rec, w->decoded, d.n_out, hs_model_tok(w->o.session->model));
}

static int run_prompt(work *w, const hs_prompt *p, hs_observation *seen) {
    int rc = evaluate(w, p);
    for (int i = 0; !rc && i < w->o.plan->observe.n; i++) {
        hs_emit emit;
        rc = hs_rec_emit(w->rec, &w->o.plan->observe.item[i], &emit);
        if (!rc) rc = hs_observation_finish(seen, i, &emit);
    }
    return rc;
}

static int record_prompt(work *w, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(w->o.session->prompts, ord);
    hs_subject subject = {.dims = w->o.plan->dims,
                          .tokens = p->tokens,
                          .n_token = p->n_token,
                          .n_row = p->n_token + w->o.plan->ask.generate,
                          .bos_len = p->bos_len,
                          .period = p->period,
                          .model = w->o.session->model,
                          .own = p->spans,
                          .given = {w->o.edits->span, w->o.edits->n_span}};
    hs_hooks *hooks = NULL;
    hs_observation *seen = NULL;
    // Unedited runs that edits need come before the prompt's transaction.
    int rc = hs_editing_aim(w->o.edits->editing, &(hs_editing_seq){ord, 0, w->o.edits->n}, 1);
    if (!rc) rc = hs_rec_prompt(w->rec, ord, p);
    if (rc) return rc;
    rc = hs_hooks_open(&hooks, &w->o.plan->dims);
    if (!rc) rc = hs_editing_hook(w->o.edits->editing, hooks, 0, w->o.edits->n);
    if (!rc) rc = hs_observation_open(&seen, &w->o.plan->observe, &subject);
    if (!rc) rc = hs_observation_hook(seen, hooks);
    if (!rc) rc = hs_rec_hook(w->rec, hooks);
    if (!rc) rc = add_own_hook(w, hooks);
    if (!rc) {
        hs_context_set_tap(w->context, hs_hooks_tap(hooks));
        rc = run_prompt(w, p, seen);
        hs_context_set_tap(w->context, NULL);
    }
    if (!rc)
        rc = hs_rec_prompt_end(w->rec);
    else
        hs_rec_prompt_cancel(w->rec);
    hs_observation_close(seen);
    hs_hooks_close(hooks);
    if (!rc) w->done++;
    return rc == HS_ESTOP ? rc : hs_prefix(rc, "prompt '%s'", p->id);
}

// ---- the run --------------------------------------------------------------------------------

static hs_context_opts context_opts(const work *w) {
    const int64_t n = w->o.plan->ask.generate;
    return (hs_context_opts){.kv_capacity = n ? hs_cli_longest(w->o.session->prompts) + n : 0};
}

static int open_context(work *w) {
    const hs_context_opts opts = context_opts(w);
    w->total = w->tokens;
    for (int64_t i = w->done; i < w->n_prompt; i++)
        w->total += hs_prompts_at(w->o.session->prompts, i)->n_token + w->o.plan->ask.generate;
    int rc = hs_context_open(&w->context, w->o.session->model, &opts);
    if (rc || !w->o.plan->ask.generate) return rc;
    rc = hs_alloc(&w->logits, (size_t)w->o.plan->dims.n_vocab, sizeof *w->logits);
    return rc ? rc : hs_alloc(&w->decoded, (size_t)w->o.plan->ask.generate, sizeof *w->decoded);
}

static int open_recorder(work *w, bool *complete) {
    hs_buf argv = {0}, options = {0};
    hs_argv_json(&argv, w->o.call);
    hs_plan_json(&options, w->o.plan, w->o.session->model, w->o.session->prompts, w->o.edits);
    int rc = hs_buf_rc(&argv);
    if (!rc) rc = hs_buf_rc(&options);
    hs_run_info info = hs_run_info_of(w->o.session, w->o.prompt);
    info.label = w->o.label;
    info.argv_json = hs_buf_text(&argv);
    info.options_json = hs_buf_text(&options);
    info.seed = (uint64_t)w->o.plan->ask.seed;
    info.edits = w->o.edits->spec;
    info.n_edit = w->o.edits->n;
    info.baseline = w->o.baseline;
    if (!rc && !*w->o.db) rc = hs_db_open(w->o.db, w->o.path, HS_DB_CREATE);
    if (!rc) rc = hs_rec_check_observers(*w->o.db, &w->o.plan->observe);
    if (!rc) rc = hs_rec_open(&w->rec, *w->o.db, &info, w->o.resume, &w->done, complete);
    for (int64_t i = 0; i < w->done; i++)
        w->tokens += hs_prompts_at(w->o.session->prompts, i)->n_token;
    if (!rc && !*complete)
        rc = hs_rec_keep(w->rec, w->o.plan->n_map ? &w->o.plan->maps : NULL,
                         w->o.plan->ask.acts ? w->o.plan->acts : NULL,
                         (enum hs_store)w->o.plan->ask.store);
    hs_buf_free(&argv);
    hs_buf_free(&options);
    return rc;
}

static int record_all(work *w) {
    int rc = open_context(w);
    while (!rc && w->done < w->n_prompt)
        rc = hs_interrupted() ? hs_fail(HS_ESTOP, "interrupted") : record_prompt(w, w->done);
    hs_bar_clear(&w->o.session->bar);
    return rc;
}

// Closes the run with the status that rc asks for; the first failure's message survives.
static int close_recorder(work *w, int rc) {
    rc = hs_rec_close(w->rec, rc);
    w->rec = NULL;
    if (rc != HS_ESTOP) return rc;
    return hs_fail(rc,
                   "interrupted: %" PRId64 " of %" PRId64 " prompts are in %s; the same "
                   "command with --resume goes on",
                   w->done, w->n_prompt, hs_db_path(*w->o.db));
}

int hs_recording_check(const hs_recording *o) {
    const work w = {.o = *o};
    const hs_context_opts opts = context_opts(&w);
    return hs_cli_room_check(o->session->model, &opts, hs_cli_longest(o->session->prompts),
                             wanted_logits(&w));
}

int hs_recording_run(const hs_recording *o, int64_t *run) {
    work w = {.o = *o, .n_prompt = hs_prompts_count(o->session->prompts)};
    bool complete = false;
    *run = 0;
    int rc = open_recorder(&w, &complete);
    if (w.rec) {
        *run = hs_rec_run(w.rec);
        if (!rc && complete) hs_note(o->call, "run %" PRId64 " is complete already", *run);
        if (!rc && !complete) rc = record_all(&w);
        hs_do_close(o->edits); // no reader is in the way of the recorder's last steps
        rc = close_recorder(&w, rc);
    }
    hs_context_close(w.context);
    free(w.logits);
    free(w.decoded);
    return rc;
}
