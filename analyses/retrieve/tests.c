// Needle tests; see experiments/retrieve.h.
#include <stdlib.h>
#include <string.h>

#include "analyses/retrieve/drive.h"
#include "analyses/retrieve/watch.h"
#include "model/core/mem.h"

// What one test found, kept until the others before it are done.
typedef struct found {
    hs_retrieve_result result;
    double *score; // [3][cells]: decoded, forced, soft
    int32_t *said; // [max_new]
} found;

typedef struct work {
    hs_drive drive;
    hs_watch watch;
    hs_hooks *plain, *forced, *decoding;
    int64_t cells;
    int32_t *answer; // [longest] the prompt's last token and the answer but for its last
    found found[HS_DRIVE_WINDOW];
    hs_retrieve_fn fn;
    void *ctx;
} work;

static int open_hooks(work *w, hs_hooks **out, bool watched, bool soft) {
    int rc = hs_hooks_open(out, &w->drive.dims);
    if (!rc && watched) rc = hs_watch_hook(&w->watch, *out, soft);
    if (!rc) rc = hs_drive_hook(&w->drive, *out);
    return rc;
}

static int open_work(work *w, const hs_retrieve_opts *o, int64_t n) {
    int64_t longest = 1;
    for (int64_t i = 0; i < o->n_test; i++)
        if (o->needles[i].n_answer > longest) longest = o->needles[i].n_answer;
    int rc = hs_drive_open(&w->drive, o, 0, "tokens of needle tests");
    if (!rc) rc = hs_watch_open(&w->watch, &w->drive.dims);
    if (!rc) rc = open_hooks(w, &w->plain, false, false);
    if (!rc) rc = open_hooks(w, &w->forced, true, true);
    if (!rc) rc = open_hooks(w, &w->decoding, true, false);
    if (!rc) rc = hs_alloc(&w->answer, (size_t)longest, sizeof *w->answer);
    w->cells = (int64_t)w->drive.dims.n_layer * w->drive.dims.n_head;
    for (int64_t i = 0; i < HS_DRIVE_WINDOW && i < n && !rc; i++) {
        rc = hs_alloc(&w->found[i].score, (size_t)w->cells, 3 * sizeof(double));
        if (!rc) rc = hs_alloc(&w->found[i].said, (size_t)o->max_new, sizeof(int32_t));
    }
    return rc;
}

static void close_work(work *w) {
    for (int i = 0; i < HS_DRIVE_WINDOW; i++) {
        free(w->found[i].score);
        free(w->found[i].said);
    }
    free(w->answer);
    hs_hooks_close(w->plain);
    hs_hooks_close(w->forced);
    hs_hooks_close(w->decoding);
    hs_watch_close(&w->watch);
    hs_drive_close(&w->drive);
}

// ---- one test ---------------------------------------------------------------------------------

static void put_scores(const work *w, double *to, const double *sum, int64_t n) {
    for (int64_t c = 0; c < w->cells; c++) to[c] = sum[c] / (double)n;
}

// The true answer, all rows at once.
static int force(work *w, const hs_prompt *p, const hs_needle *needle, found *f) {
    const int64_t n = needle->n_answer, at = p->n_token - 1;
    const hs_seq seq = {.tokens = w->answer, .n = n};
    w->answer[0] = p->tokens[at];
    memcpy(w->answer + 1, needle->answer, (size_t)(n - 1) * sizeof *w->answer);
    hs_watch_aim(&w->watch, p->tokens, needle, at);
    w->watch.target = needle->answer;
    w->watch.n_target = n;
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->forced));
    int rc = hs_context_eval(w->drive.context, &(hs_batch){.seq = &seq, .n_seq = 1});
    hs_timeline_rewind(&w->drive.line);
    put_scores(w, f->score + w->cells, w->watch.hits, needle->to - needle->from);
    put_scores(w, f->score + 2 * w->cells, w->watch.soft, n);
    return rc;
}

static int32_t on_pick(void *ctx, int seq, const float *logits) {
    work *w = ctx;
    const int32_t id = hs_argmax(logits, w->drive.dims.n_vocab);
    (void)seq;
    hs_watch_next(&w->watch, id);
    return id;
}

static bool on_end(void *ctx, int32_t id) {
    const work *w = ctx;
    return hs_drive_ends(&w->drive, id);
}

static int decode(work *w, const hs_prompt *p, const hs_needle *needle, found *f) {
    const hs_decode_opts o = {.context = w->drive.context,
                              .most = w->drive.o->max_new,
                              .logits = HS_LOGITS_LAST,
                              .ctx = w,
                              .pick = on_pick,
                              .ends = on_end};
    hs_decoding d = {.in = {.tokens = p->tokens + p->n_token - 1, .n = 1}, .out = f->said};
    hs_marks marks = {0};
    hs_watch_aim(&w->watch, p->tokens, needle, p->n_token - 1);
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->decoding));
    int rc = hs_decode(&o, &d, 1);
    hs_timeline_rewind(&w->drive.line);
    put_scores(w, f->score, w->watch.hits, needle->to - needle->from);
    f->result.said = f->said;
    f->result.n_said = d.n_out;
    if (!rc) rc = hs_drive_mark(&w->drive, f->result.ord, &d, &marks);
    f->result.recall = marks.recall;
    f->result.f1 = marks.f1;
    f->result.passed = marks.recall > HS_RETRIEVE_PASS;
    return rc;
}

static int run_test(void *ctx, int pass, int64_t ord, int place) {
    work *w = ctx;
    found *f = &w->found[place];
    const hs_prompt *p = hs_prompts_at(w->drive.o->prompts, ord);
    const hs_needle *needle = &w->drive.o->needles[ord];
    (void)pass;
    f->result = (hs_retrieve_result){.ord = ord,
                                     .decoded = f->score,
                                     .forced = f->score + w->cells,
                                     .soft = f->score + 2 * w->cells};
    hs_context_set_tap(w->drive.context, hs_hooks_tap(w->plain));
    int rc = hs_drive_seek(&w->drive, ord, &f->result.n_run);
    if (!rc) rc = force(w, p, needle, f);
    if (!rc) rc = decode(w, p, needle, f);
    return rc == HS_ESTOP ? rc : hs_prefix(rc, "prompt '%s'", p->id);
}

static int give(void *ctx, int place) {
    const work *w = ctx;
    return w->fn(w->ctx, &w->found[place].result);
}

int hs_retrieve(const hs_retrieve_opts *o, const int64_t *ord, int64_t n, hs_retrieve_fn fn,
                void *ctx) {
    work w = {.fn = fn, .ctx = ctx};
    const hs_drive_job job = {.ctx = &w, .n_pass = 1, .run = run_test, .give = give};
    int rc = open_work(&w, o, n);
    if (!rc) rc = hs_drive_walk(&w.drive, &job, ord, n);
    close_work(&w);
    return rc;
}
