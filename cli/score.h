// The loss of every token of prompts, under edits and without.
#ifndef HS_CLI_SCORE_H
#define HS_CLI_SCORE_H

#include "cli/edits.h"
#include "cli/session.h"

// Numbers a prompt and scored position: T - 1 of a prompt of T tokens, in nats.
typedef struct hs_scores {
    int64_t n_prompt;
    const hs_prompt **prompt; // [n_prompt]
    double **nll;             // -ln p(next token), under the edits
    double **base_nll;        // without; NULL when there are no edits, as the next
    double **kl;              // KL(unedited || edited) of the next token
} hs_scores;
// Close in any state, zero included.
int hs_scores_open(hs_scores *s, hs_session *session, const hs_do *edits) HS_MUST_USE;
void hs_scores_close(hs_scores *s);

// Mean of one of the above over the scored positions of prompts [from, to), each position weighing
// the same; NaN when there are none.
double hs_scores_mean(const hs_scores *s, double *const *of, int64_t from, int64_t to);
int64_t hs_scores_count(const hs_scores *s, int64_t from, int64_t to); // scored positions

#endif
