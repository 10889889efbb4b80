// The loss of every token of prompts, and what becomes of their answers, under edits and without.
#ifndef HS_CLI_SCORE_H
#define HS_CLI_SCORE_H

#include "analyses/effect.h"
#include "cli/edits.h"
#include "cli/session.h"

// Numbers a prompt and scored position: T - 1 of a prompt of T tokens, in nats.
typedef struct hs_scores {
    int64_t n_prompt;
    const hs_prompt **prompt; // [n_prompt]
    double **nll;             // -ln p(next token), under the edits
    double **base_nll;        // without; NULL when there are no edits, as the next
    double **kl;              // KL(unedited || edited) of the next token
    // Effects on answers, by prompt: [2][HS_N_EFFECT] numbers, unedited and under the edits; without
    // edits the first alone. NULL when there are no answers.
    double *at_end;
} hs_scores;
// answers: of the session's prompts; NULL: none are asked for. Close in any state, zero included.
int hs_scores_open(hs_scores *s, hs_session *session, const hs_do *edits,
                   const hs_answer *answers) HS_MUST_USE;
void hs_scores_close(hs_scores *s);

// Mean of one of the above over the scored positions of prompts [from, to), each position weighing
// the same; NaN when there are none.
double hs_scores_mean(const hs_scores *s, double *const *of, int64_t from, int64_t to);
int64_t hs_scores_count(const hs_scores *s, int64_t from, int64_t to); // scored positions
// Mean of an effect over prompts [from, to).
double hs_scores_answers(const hs_scores *s, enum hs_effect effect, bool edited, int64_t from,
                         int64_t to);

#endif
