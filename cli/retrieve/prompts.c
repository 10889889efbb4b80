// The prompts that `retrieve` adds to the tests it is given, so that what is found under masks is
// kept as it comes, in a transaction a prompt: each test once more, and the questions; see
// retrieve.h.
#include <inttypes.h>
#include <stdlib.h>

#include "cli/retrieve/retrieve.h"

#define QUESTIONS "40" // where --qa says nothing

static int add_as(hs_retrieve_work *w, const hs_prompt *p, const char *kind) {
    hs_buf id = {0};
    hs_buf_printf(&id, "%s~%s", p->id, kind);
    int rc = hs_buf_rc(&id);
    if (!rc)
        rc = hs_prompts_add_tokens(w->session.prompts, id.data, p->tokens, p->n_token, p->bos_len,
                                   p->period, p->extra);
    hs_buf_free(&id);
    return rc;
}

// Those of the data set qa, or of a file.
static int open_questions(const hs_retrieve_work *w, hs_prompts **out) {
    const char *qa = w->opt->qa ? w->opt->qa : QUESTIONS;
    char *end, spec[48];
    int64_t n = 0;
    strtoll(qa, &end, 10);
    const bool number = end != qa && !*end;
    int rc = hs_prompts_open(out, hs_model_tok(w->session.model),
                             hs_prompts_bos(w->session.prompts), w->dims.n_vocab);
    if (!rc && number) rc = hs_parse_int("--qa", qa, 0, INT32_MAX, &n);
    snprintf(spec, sizeof spec, "qa:n=%" PRId64, n);
    if (!rc && number && n) rc = hs_prompts_add_dataset(*out, spec);
    if (!rc && !number) rc = hs_prompts_add_file(*out, qa);
    return hs_prefix(rc, "--qa %s", qa);
}

// Those that are asked without being asked for must fit.
static bool left_out(const hs_retrieve_work *w, const hs_prompts *made) {
    if (w->opt->qa || hs_cli_longest(made) + w->opt->max_new <= hs_cli_n_ctx(w->session.model))
        return false;
    hs_note(w->call, "the model's context is too short for questions about passages: none is asked "
                     "under masks");
    return true;
}

static int add_questions(hs_retrieve_work *w) {
    hs_prompts *made = NULL;
    if (!w->opt->qa && !hs_model_tok(w->session.model)) return HS_OK;
    int rc = open_questions(w, &made);
    if (!rc && !left_out(w, made)) w->n_question = hs_prompts_count(made);
    for (int64_t i = 0; i < w->n_question && !rc; i++)
        rc = add_as(w, hs_prompts_at(made, i), "question");
    hs_prompts_close(made);
    return rc;
}

int hs_retrieve_add_masked(hs_retrieve_work *w) {
    int rc = HS_OK;
    w->n_needle = w->n_test;
    if (!w->n_k) return HS_OK;
    for (int64_t i = 0; i < w->n_test && !rc; i++)
        rc = add_as(w, hs_prompts_at(w->session.prompts, i), "masked");
    if (!rc) rc = add_questions(w);
    w->n_needle += w->n_test + w->n_question;
    return rc;
}
