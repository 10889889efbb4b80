// What runs needle tests; see drive.h.
#include "analyses/retrieve/drive.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

hs_context_opts hs_retrieve_context(const hs_retrieve_opts *o, int n_set) {
    int64_t longest = 0;
    for (int64_t i = 0; i < o->n_test; i++) {
        const int64_t said = o->max_new > o->needles[i].n_answer ? o->max_new
                                                                 : o->needles[i].n_answer;
        const int64_t n = hs_prompts_at(o->prompts, i)->n_token + said - 1; // the last is not run
        if (n > longest) longest = n;
    }
    return (hs_context_opts){.kv_capacity = longest,
                             .n_slot = 1 + (n_set < HS_DRIVE_BESIDE ? n_set : HS_DRIVE_BESIDE),
                             .tail_capacity = n_set ? o->max_new : 0};
}

int hs_drive_open(hs_drive *d, const hs_retrieve_opts *o, int n_set, const char *what) {
    const hs_context_opts opts = hs_retrieve_context(o, n_set);
    *d = (hs_drive){
        .o = o, .dims = hs_dims_of(o->model), .tok = hs_model_tok(o->model), .what = what};
    int rc = hs_context_open(&d->context, o->model, &opts);
    d->line.context = d->context;
    return rc;
}

void hs_drive_close(hs_drive *d) {
    hs_context_close(d->context);
    *d = (hs_drive){0};
}

static int on_layer_done(void *ctx, int layer) {
    const hs_drive *d = ctx;
    const int64_t left = d->rows * (d->dims.n_layer - 1 - layer) / d->dims.n_layer;
    return hs_progress_step(d->o->progress, d->what, d->done - left, d->total);
}

int hs_drive_hook(hs_drive *d, hs_hooks *hooks) {
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)d->dims.n_layer + 1, sizeof *points);
    if (rc) return rc;
    rc = hs_hooks_add(hooks, &(hs_hook){.points = points, .layer_done = on_layer_done, .ctx = d});
    free(points);
    return rc;
}

// ---- the walk ---------------------------------------------------------------------------------

// One pass over a window; the last one gives.
static int run_pass(hs_drive *d, const hs_drive_job *job, int pass, const int64_t *ord, int n) {
    int64_t order[HS_DRIVE_WINDOW];
    bool there[HS_DRIVE_WINDOW] = {false};
    const bool last = pass == job->n_pass - 1;
    int next = 0, rc = HS_OK; // next: to be given
    memcpy(order, ord, (size_t)n * sizeof *order);
    hs_timeline_sort(d->o->prompts, order, n);
    if (job->n_pass > 1) hs_timeline_forget(&d->line);
    for (int i = 0; i < n && !rc; i++) {
        int place = 0;
        while (ord[place] != order[i]) place++;
        rc = job->run(job->ctx, pass, ord[place], place);
        there[place] = true;
        while (last && !rc && next < n && there[next]) rc = job->give(job->ctx, next++);
    }
    return rc;
}

int hs_drive_walk(hs_drive *d, const hs_drive_job *job, const int64_t *ord, int64_t n) {
    int rc = HS_OK;
    d->done = d->total = 0;
    for (int64_t i = 0; i < n; i++)
        d->total += job->n_pass * hs_prompts_at(d->o->prompts, ord[i])->n_token;
    for (int64_t i = 0; i < n && !rc; i += HS_DRIVE_WINDOW) {
        const int64_t left = n - i;
        for (int pass = 0; pass < job->n_pass && !rc; pass++)
            rc = run_pass(d, job, pass, ord + i,
                          (int)(left < HS_DRIVE_WINDOW ? left : HS_DRIVE_WINDOW));
    }
    return rc;
}

// ---- a test -----------------------------------------------------------------------------------

int hs_drive_seek(hs_drive *d, int64_t ord, int64_t *n_run) {
    const hs_prompt *p = hs_prompts_at(d->o->prompts, ord);
    if (d->o->from_scratch) hs_timeline_forget(&d->line);
    d->done += p->n_token;
    int rc = hs_timeline_seek(&d->line, p->tokens, p->n_token - 1, &d->rows);
    *n_run = d->rows;
    d->rows = 0;
    return rc;
}

bool hs_drive_ends(const hs_drive *d, int32_t id) {
    size_t n = 0;
    const char *piece = d->tok ? hs_tok_piece(d->tok, id, &n) : NULL;
    return hs_model_is_eog(d->o->model, id) || (piece && memchr(piece, '\n', n));
}

int hs_drive_mark(const hs_drive *d, int64_t ord, const hs_decoding *said, hs_marks *out) {
    const hs_needle *needle = &d->o->needles[ord];
    return hs_mark(d->tok, needle->answer, needle->n_answer, said->out, said->n_out, out);
}
