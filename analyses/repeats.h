// Repeats in a prompt's tokens: the period of a repeated sequence, and earlier occurrences of each
// token.
#ifndef HS_ANALYSES_REPEATS_H
#define HS_ANALYSES_REPEATS_H

#include "analyses/observer.h"

typedef struct hs_repeats {
    // The prompt is [start tokens] followed by at least two copies of `period` tokens (the last
    // one may be cut short): x[i] = x[i - period] for every i >= start + period. period 0: it is
    // not such a prompt.
    int64_t period, start;
    // [n_token]: an earlier occurrence of each token, -1 when there is none. With a period it is
    // the one a period ago; else the latest one, and following the links gives all of them.
    // Tokens that the BOS policy put in front do not count.
    int64_t *earlier;
    int64_t n_with; // tokens that have one
} hs_repeats;

// The subject's period is believed where the tokens bear it out; without one it is looked for,
// after the BOS or, when no BOS is declared, after the first token.
int hs_repeats_open(hs_repeats *out, const hs_subject *subject) HS_MUST_USE;
void hs_repeats_close(hs_repeats *);

#endif
