// Answers of prompts; see answers.h.
#include "cli/answers.h"

#include "model/core/mem.h"

static int check(const hs_prompt *p, const hs_answer *a, unsigned effects) {
    for (int e = 0; e < HS_N_EFFECT; e++) {
        const bool answer = hs_effects[e].answer && a->answer < 0;
        const bool wrong = hs_effects[e].wrong && a->wrong < 0;
        if (!(effects >> e & 1) || !(answer || wrong)) continue;
        return hs_fail(HS_EARG,
                       "prompt '%s' says no \"%s\", which --metric %s needs: give prompts as JSON "
                       "lines with it, or another metric",
                       p->id, answer ? "answer" : "wrong", hs_effects[e].name);
    }
    return HS_OK;
}

int hs_answers_open(hs_answer **out, const hs_session *s, unsigned effects) {
    const int64_t n = hs_prompts_count(s->prompts), n_vocab = hs_model_config(s->model)->n_vocab;
    unsigned needed = 0;
    int rc = hs_alloc(out, (size_t)n, sizeof **out);
    for (int e = 0; e < HS_N_EFFECT; e++) needed |= (unsigned)hs_effects[e].answer << e & effects;
    for (int64_t i = 0; i < n && !rc; i++) {
        const hs_prompt *p = hs_prompts_at(s->prompts, i);
        (*out)[i] = (hs_answer){-1, -1, p->n_token - 1};
        if (!needed) continue;
        rc = hs_answer_of(&(*out)[i], p, hs_model_tok(s->model), n_vocab);
        if (!rc) rc = check(p, &(*out)[i], effects);
    }
    return rc;
}
