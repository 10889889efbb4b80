// Needle tests under masks; see experiments/retrieve.h.
//
// Masked from the last token on, all masks go on from one unmasked prefill, side by side; masked in
// all rows, each mask is a walk of its own.
#include <stdlib.h>

#include "analyses/retrieve/drive.h"
#include "model/core/mem.h"

typedef struct work {
    hs_drive drive;
    const hs_retrieve_masks *masks;
    hs_editing *editing;
    hs_hooks *plain, *edited;
    int64_t ord; // the test under way
    int first;   // mask of the first sequence
    hs_editing_seq aim[HS_DRIVE_BESIDE];
    int32_t *said; // [beside][max_new]
    hs_retrieve_mask_fn fn;
    void *ctx;
} work;

static int open_work(work *w, const hs_retrieve_opts *o) {
    const hs_editing_opts opts = {.model = o->model, .prompts = o->prompts};
    const hs_retrieve_masks *m = w->masks;
    int rc = hs_drive_open(&w->drive, o, m->n, "tokens of masked needle tests");
    if (!rc) rc = hs_editing_open(&w->editing, &opts, m->spec, m->n);
    if (!rc) rc = hs_hooks_open(&w->plain, &w->drive.dims);
    if (!rc) rc = hs_drive_hook(&w->drive, w->plain);
    if (!rc) rc = hs_hooks_open(&w->edited, &w->drive.dims);
    if (!rc) rc = hs_editing_hook(w->editing, w->edited, 0, m->n);
    if (!rc) rc = hs_drive_hook(&w->drive, w->edited);
    if (!rc) rc = hs_alloc(&w->said, (size_t)o->max_new, HS_DRIVE_BESIDE * sizeof *w->said);
    return rc;
}

static void close_work(work *w) {
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
    for (int i = 0; i < n; i++) w->aim[i] = (hs_editing_seq){w->ord, w->first + seq[i], 1};
    return hs_editing_aim(w->editing, w->aim, n);
}

static bool on_end(void *ctx, int32_t id) {
    const work *w = ctx;
    return hs_drive_ends(&w->drive, id);
}

// Masks [first, first + n) on the test that the timeline holds.
static int decode(work *w, int n, hs_decoding *d) {
    const hs_decode_opts o = {.context = w->drive.context,
                              .most = w->drive.o->max_new,
                              .logits = HS_LOGITS_LAST,
                              .ctx = w,
                              .turn = on_turn,
                              .ends = on_end};
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->edited));
    int rc = hs_decode(&o, d, n);
    for (int i = 0; i < n && !rc; i++) {
        double recall;
        rc = hs_drive_recall(&w->drive, w->ord, &d[i], &recall);
        if (!rc) rc = w->fn(w->ctx, w->ord, w->first + i, recall);
    }
    return rc;
}

static int32_t *said(const work *w, int i) {
    return w->said + i * w->drive.o->max_new;
}

static int decode_beside(work *w, int n) {
    const hs_prompt *p = hs_prompts_at(w->drive.o->prompts, w->ord);
    hs_decoding d[HS_DRIVE_BESIDE];
    for (int i = 0; i < n; i++)
        d[i] = (hs_decoding){.in = {.tokens = p->tokens + p->n_token - 1,
                                    .n = 1,
                                    .slot = 1 + i,
                                    .prefix_slot = 0,
                                    .n_prefix = p->n_token - 1},
                             .out = said(w, i)};
    int rc = decode(w, n, d);
    for (int i = 0; i < n; i++) hs_context_truncate(w->drive.context, 1 + i, 0);
    return rc;
}

static int decode_alone(work *w) {
    const hs_prompt *p = hs_prompts_at(w->drive.o->prompts, w->ord);
    hs_decoding d = {.in = {.tokens = p->tokens + p->n_token - 1, .n = 1}, .out = said(w, 0)};
    int rc = decode(w, 1, &d);
    hs_timeline_rewind(&w->drive.line);
    return rc;
}

// ---- walks ------------------------------------------------------------------------------------

static int walk_beside(work *w) {
    const int n = w->masks->n;
    int64_t n_run;
    int rc = HS_OK;
    for (int64_t i = 0; i < w->drive.n && !rc; i++) {
        w->ord = w->drive.ord[i];
        hs_context_set_tap(w->drive.context, hs_hooks_tap(w->plain));
        rc = hs_drive_seek(&w->drive, w->ord, &n_run);
        for (w->first = 0; w->first < n && !rc; w->first += HS_DRIVE_BESIDE)
            rc = decode_beside(w, n - w->first < HS_DRIVE_BESIDE ? n - w->first : HS_DRIVE_BESIDE);
    }
    return rc;
}

static int walk_whole(work *w) {
    int64_t n_run;
    int rc = HS_OK;
    for (w->first = 0; w->first < w->masks->n && !rc; w->first++) {
        hs_timeline_forget(&w->drive.line);
        for (int64_t i = 0; i < w->drive.n && !rc; i++) {
            w->ord = w->drive.ord[i];
            hs_context_set_tap(w->drive.context, hs_hooks_tap(w->edited));
            rc = on_turn(w, &(int){0}, 1, 0);
            if (!rc) rc = hs_drive_seek(&w->drive, w->ord, &n_run);
            if (!rc) rc = decode_alone(w);
        }
    }
    return rc;
}

int hs_retrieve_masked(const hs_retrieve_opts *o, const hs_retrieve_masks *masks,
                       const int64_t *ord, int64_t n, hs_retrieve_mask_fn fn, void *ctx) {
    work w = {.masks = masks, .fn = fn, .ctx = ctx};
    int rc = open_work(&w, o);
    if (!rc) rc = hs_drive_tests(&w.drive, ord, n);
    for (int64_t i = 0; i < n; i++) w.drive.total += hs_prompts_at(o->prompts, ord[i])->n_token;
    if (masks->whole) w.drive.total *= masks->n;
    if (!rc) rc = masks->whole ? walk_whole(&w) : walk_beside(&w);
    close_work(&w);
    return rc;
}
