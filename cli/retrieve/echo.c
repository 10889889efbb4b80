// RazorAttention's scores beside the needle tests; see retrieve.h.
//
// They are the observer echo's, on one more prompt of the run, which comes last: four
// copies of random tokens, as long as the model's context allows and no longer than COPY.
#include <stdlib.h>

#include "cli/retrieve/retrieve.h"
#include "model/core/mem.h"

enum { COPIES = 4, COPY = 500 };

// The prompt that the data set repeat makes, under a name that no test has.
int hs_retrieve_add_echo(hs_retrieve_work *w) {
    const int64_t fit = (hs_cli_n_ctx(w->session.model) - 1) / COPIES;
    hs_prompts *made = NULL;
    char spec[80];
    if (fit < 2) return HS_OK;
    snprintf(spec, sizeof spec, "repeat:k=%d,r=%d,n=1", (int)(fit < COPY ? fit : COPY), COPIES);
    int rc = hs_prompts_open(&made, hs_model_tok(w->session.model),
                             hs_prompts_bos(w->session.prompts), w->dims.n_vocab);
    if (!rc) rc = hs_prompts_add_dataset(made, spec);
    if (!rc) {
        const hs_prompt *p = hs_prompts_at(made, 0);
        rc = hs_prompts_add_tokens(w->session.prompts, "(repeated tokens)", p->tokens, p->n_token,
                                   p->bos_len, p->period, p->extra);
    }
    hs_prompts_close(made);
    return rc;
}

static int on_layer_done(void *ctx, int layer) {
    const hs_retrieve_work *w = ctx;
    return hs_progress_step(&w->session.bar.progress, "layers on repeated tokens", layer + 1,
                            w->dims.n_layer);
}

static int observe(hs_retrieve_work *w, const hs_prompt *p, hs_observation *seen) {
    const hs_seq seq = {.tokens = p->tokens, .n = p->n_token};
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    uint64_t *points = NULL;
    int rc = hs_alloc(&points, (size_t)w->dims.n_layer + 1, sizeof *points);
    if (!rc) rc = hs_hooks_open(&hooks, &w->dims);
    if (!rc) rc = hs_observation_hook(seen, hooks);
    if (!rc)
        rc = hs_hooks_add(hooks,
                          &(hs_hook){.points = points, .layer_done = on_layer_done, .ctx = w});
    if (!rc) rc = hs_context_open(&context, w->session.model, NULL);
    if (!rc) hs_context_set_tap(context, hs_hooks_tap(hooks));
    if (!rc) rc = hs_context_eval(context, &(hs_batch){.seq = &seq, .n_seq = 1});
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(points);
    return rc;
}

int hs_retrieve_echo(hs_retrieve_work *w, hs_study *study) {
    static const char *const specs[] = {"echo"};
    const hs_prompt *p = hs_prompts_at(w->session.prompts, w->n_needle);
    const hs_subject subject = {.dims = w->dims,
                                .tokens = p->tokens,
                                .n_token = p->n_token,
                                .bos_len = p->bos_len,
                                .period = p->period,
                                .model = w->session.model};
    hs_observe_list list = {0};
    hs_observation *seen = NULL;
    hs_emit emit;
    int rc = hs_observe_parse(&list, specs, 1, false);
    if (!rc) rc = hs_observation_open(&seen, &list, &subject);
    if (!rc) rc = observe(w, p, seen);
    if (!rc) {
        rc = hs_study_begin(study, w->n_needle, &emit);
        if (!rc) rc = hs_rec_emit(study->rec, &list.item[0], &emit);
        if (!rc) rc = hs_observation_finish(seen, 0, &emit);
        rc = hs_study_end(study, rc);
    }
    hs_observation_close(seen);
    hs_observe_free(&list);
    return rc;
}
