// Needle tests under masks; see experiments/retrieve.h.
//
// Set 0 masks nothing, set 1 + i is mask i. Masked from the last token on, all sets go on from one
// unmasked prefill, side by side; masked in all rows, each set is a pass of its own.
#include <stdlib.h>
#include <string.h>

#include "analyses/retrieve/drive.h"
#include "model/core/mem.h"

// What one test found, kept until the others before it are done.
typedef struct found {
    int64_t ord, n_said;
    double *mark;  // [2][n_set]: recall, F1
    int32_t *said; // [max_new], unmasked
} found;

typedef struct work {
    hs_drive drive;
    const hs_retrieve_masks *masks;
    int n_set;
    hs_editing *editing;
    hs_hooks *plain, *edited;
    int64_t ord; // the test under way
    int first;   // set of the first sequence
    hs_editing_seq aim[HS_DRIVE_BESIDE];
    int32_t *said; // [beside][max_new]
    found found[HS_DRIVE_WINDOW];
    hs_retrieve_masked_fn fn;
    void *ctx;
} work;

static int open_work(work *w, const hs_retrieve_opts *o, int64_t n) {
    const hs_editing_opts opts = {.model = o->model, .prompts = o->prompts};
    const hs_retrieve_masks *m = w->masks;
    int rc = hs_drive_open(&w->drive, o, w->n_set, "tokens of tests under masks");
    if (!rc) rc = hs_editing_open(&w->editing, &opts, m->spec, m->n);
    if (!rc) rc = hs_hooks_open(&w->plain, &w->drive.dims);
    if (!rc) rc = hs_drive_hook(&w->drive, w->plain);
    if (!rc) rc = hs_hooks_open(&w->edited, &w->drive.dims);
    if (!rc) rc = hs_editing_hook(w->editing, w->edited, 0, m->n);
    if (!rc) rc = hs_drive_hook(&w->drive, w->edited);
    if (!rc) rc = hs_alloc(&w->said, (size_t)o->max_new, HS_DRIVE_BESIDE * sizeof *w->said);
    for (int i = 0; i < HS_DRIVE_WINDOW && i < n && !rc; i++) {
        rc = hs_alloc(&w->found[i].mark, (size_t)w->n_set, 2 * sizeof(double));
        if (!rc) rc = hs_alloc(&w->found[i].said, (size_t)o->max_new, sizeof(int32_t));
    }
    return rc;
}

static void close_work(work *w) {
    for (int i = 0; i < HS_DRIVE_WINDOW; i++) {
        free(w->found[i].mark);
        free(w->found[i].said);
    }
    hs_editing_close(w->editing);
    hs_hooks_close(w->plain);
    hs_hooks_close(w->edited);
    hs_drive_close(&w->drive);
    free(w->said);
}

// ---- decoding ---------------------------------------------------------------------------------

static int on_turn(void *ctx, const int *seq, int n, int64_t n_row) {
    work *w = ctx;
    (void)n_row;
    for (int i = 0; i < n; i++) {
        const int set = w->first + seq[i];
        w->aim[i] = set ? (hs_editing_seq){w->ord, set - 1, 1} : (hs_editing_seq){w->ord, 0, 0};
    }
    return hs_editing_aim(w->editing, w->aim, n);
}

static bool on_end(void *ctx, int32_t id) {
    const work *w = ctx;
    return hs_drive_ends(&w->drive, id);
}

static int keep(const work *w, found *f, int set, const hs_decoding *d) {
    hs_marks marks;
    int rc = hs_drive_mark(&w->drive, w->ord, d, &marks);
    f->mark[set] = marks.recall;
    f->mark[w->n_set + set] = marks.f1;
    if (set) return rc;
    f->n_said = d->n_out;
    memcpy(f->said, d->out, (size_t)d->n_out * sizeof *f->said);
    return rc;
}

// Sets [first, first + n) on the test that the timeline holds.
static int decode(work *w, found *f, int n, hs_decoding *d) {
    const hs_decode_opts o = {.context = w->drive.context,
                              .most = w->drive.o->max_new,
                              .logits = HS_LOGITS_LAST,
                              .ctx = w,
                              .turn = on_turn,
                              .ends = on_end};
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->edited));
    int rc = hs_decode(&o, d, n);
    for (int i = 0; i < n && !rc; i++) rc = keep(w, f, w->first + i, &d[i]);
    return rc;
}

static int32_t *said(const work *w, int i) {
    return w->said + i * w->drive.o->max_new;
}

static int decode_beside(work *w, found *f, int n) {
    const hs_prompt *p = hs_prompts_at(w->drive.o->prompts, w->ord);
    hs_decoding d[HS_DRIVE_BESIDE];
    for (int i = 0; i < n; i++)
        d[i] = (hs_decoding){.in = {.tokens = p->tokens + p->n_token - 1,
                                    .n = 1,
                                    .slot = 1 + i,
                                    .prefix_slot = 0,
                                    .n_prefix = p->n_token - 1},
                             .out = said(w, i)};
    int rc = decode(w, f, n, d);
    for (int i = 0; i < n; i++) hs_context_truncate(w->drive.context, 1 + i, 0);
    return rc;
}

static int decode_alone(work *w, found *f) {
    const hs_prompt *p = hs_prompts_at(w->drive.o->prompts, w->ord);
    hs_decoding d = {.in = {.tokens = p->tokens + p->n_token - 1, .n = 1}, .out = said(w, 0)};
    int rc = decode(w, f, 1, &d);
    hs_timeline_rewind(&w->drive.line);
    return rc;
}

// ---- walks ------------------------------------------------------------------------------------

static int run_beside(void *ctx, int pass, int64_t ord, int place) {
    work *w = ctx;
    int64_t n_run;
    (void)pass;
    w->ord = w->found[place].ord = ord;
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->plain));
    int rc = hs_drive_seek(&w->drive, ord, &n_run);
    for (w->first = 0; w->first < w->n_set && !rc; w->first += HS_DRIVE_BESIDE) {
        const int left = w->n_set - w->first;
        rc = decode_beside(w, &w->found[place], left < HS_DRIVE_BESIDE ? left : HS_DRIVE_BESIDE);
    }
    return rc;
}

static int run_whole(void *ctx, int set, int64_t ord, int place) {
    work *w = ctx;
    int64_t n_run;
    w->ord = w->found[place].ord = ord;
    w->first = set;
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->edited));
    int rc = on_turn(w, &(int){0}, 1, 0);
    if (!rc) rc = hs_drive_seek(&w->drive, ord, &n_run);
    return rc ? rc : decode_alone(w, &w->found[place]);
}

static int give(void *ctx, int place) {
    const work *w = ctx;
    const found *f = &w->found[place];
    return w->fn(w->ctx, &(hs_retrieve_masked_result){.ord = f->ord,
                                                      .recall = f->mark,
                                                      .f1 = f->mark + w->n_set,
                                                      .said = f->said,
                                                      .n_said = f->n_said});
}

int hs_retrieve_masked(const hs_retrieve_opts *o, const hs_retrieve_masks *masks,
                       const int64_t *ord, int64_t n, hs_retrieve_masked_fn fn, void *ctx) {
    work w = {.masks = masks, .n_set = 1 + masks->n, .fn = fn, .ctx = ctx};
    const hs_drive_job job = {.ctx = &w,
                              .n_pass = masks->whole ? w.n_set : 1,
                              .run = masks->whole ? run_whole : run_beside,
                              .give = give};
    int rc = open_work(&w, o, n);
    if (!rc) rc = hs_drive_walk(&w.drive, &job, ord, n);
    close_work(&w);
    return rc;
}
