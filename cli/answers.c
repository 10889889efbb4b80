// Answers of prompts; see answers.h.
#include "cli/answers.h"

#include <stdlib.h>

int hs_answers_open(hs_answers *out, const hs_session *s, unsigned effects) {
    const int64_t n = hs_prompts_count(s->prompts), n_vocab = hs_model_config(s->model)->n_vocab;
    bool needed = false, sets = false;
    *out = (hs_answers){0};
    for (int e = 0; e < HS_N_EFFECT; e++) {
        needed |= (effects >> e & 1) && hs_effects[e].answer;
        sets |= (effects >> e & 1) && hs_effects[e].sets;
    }
    int rc = hs_alloc(&out->at, (size_t)n, sizeof *out->at);
    if (!rc && sets) rc = hs_arena_open(&out->lists);
    for (int64_t i = 0; i < n && !rc; i++) {
        const hs_prompt *p = hs_prompts_at(s->prompts, i);
        out->at[i] = (hs_answer){.answer = -1, .wrong = -1, .end = p->n_token - 1};
        if (!needed) continue;
        rc = hs_answer_of(&out->at[i], p, hs_model_tok(s->model), n_vocab, out->lists);
        if (!rc) rc = hs_answer_check(&out->at[i], p, effects, "--metric ");
    }
    return rc;
}

void hs_answers_close(hs_answers *a) {
    free(a->at);
    hs_arena_close(a->lists);
    *a = (hs_answers){0};
}
