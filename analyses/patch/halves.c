// The two halves of pairs; see halves.h.
#include "analyses/patch/halves.h"

#include <stdlib.h>

#include "model/core/mem.h"

struct lend {
    hs_meter *meter;
    hs_seq *running, *lending; // [n]
    hs_meter_seq *measured;
};

static int open_lend(struct lend *l, const hs_patch_opts *o, hs_hooks *hooks, const int64_t *pair,
                     int n) {
    hs_meter_prompt *in = NULL;
    int rc = hs_alloc(&in, (size_t)n, sizeof *in);
    if (!rc) rc = hs_alloc(&l->running, (size_t)n, sizeof *l->running);
    if (!rc) rc = hs_alloc(&l->lending, (size_t)n, sizeof *l->lending);
    if (!rc) rc = hs_alloc(&l->measured, (size_t)n, sizeof *l->measured);
    for (int i = 0; i < n && !rc; i++) {
        const int64_t run = hs_patch_running(o, pair[i]), lend = hs_patch_lending(o, pair[i]);
        const hs_prompt *p = hs_prompts_at(o->prompts, run), *from;
        from = hs_prompts_at(o->prompts, lend);
        in[i] = (hs_meter_prompt){p, o->answers[run]};
        l->running[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
        l->lending[i] = (hs_seq){.tokens = from->tokens, .n = from->n_token};
        l->measured[i] = (hs_meter_seq){.prompt = i};
    }
    if (!rc) rc = hs_meter_open(&l->meter, o->model, 1u << o->effect, in, n);
    if (!rc) rc = hs_meter_hook(l->meter, hooks);
    free(in);
    return rc;
}

static int evaluate(const struct lend *l, hs_context *x, const hs_seq *seq, int n, bool baseline) {
    hs_batch batch = {.seq = seq, .n_seq = n, .logits = HS_LOGITS_ROWS};
    int rc = hs_meter_begin(l->meter, l->measured, n, baseline, &batch.logit_row,
                            &batch.n_logit_row);
    return rc ? rc : hs_context_eval(x, &batch);
}

int hs_patch_lend(const hs_patch_opts *o, hs_context *x, hs_hooks *hooks, const int64_t *pair,
                  int n, double *full) {
    const bool against = hs_effects[o->effect].against;
    struct lend l = {0};
    int rc = open_lend(&l, o, hooks, pair, n);
    if (!rc) hs_context_set_tap(x, hs_hooks_tap(hooks));
    // A divergence is from the running half.
    if (!rc && against) rc = evaluate(&l, x, l.running, n, true);
    if (!rc) rc = evaluate(&l, x, l.lending, n, !against);
    for (int i = 0; i < n && !rc; i++) full[i] = hs_meter_value(l.meter, i, o->effect);
    hs_context_set_tap(x, NULL);
    hs_meter_close(l.meter);
    free(l.running);
    free(l.lending);
    free(l.measured);
    return rc;
}

int hs_patch_resolve(const hs_patch_opts *o, int64_t pair, int64_t place, hs_places *out) {
    const hs_prompt *p = hs_prompts_at(o->prompts, hs_patch_running(o, pair));
    hs_buf text = {0};
    int rc = hs_patch_place(&text, o, place);
    if (!rc && !o->n_place) hs_buf_chr(&text, '?');
    if (!rc) rc = hs_buf_rc(&text);
    if (!rc) rc = hs_places_resolve(out, hs_buf_text(&text), p->n_token, p->spans, o->spans);
    hs_buf_free(&text);
    return hs_prefix(rc, "prompt '%s'", p->id);
}
