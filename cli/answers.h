// Answers of a session's prompts, for the metrics that are about them.
#ifndef HS_CLI_ANSWERS_H
#define HS_CLI_ANSWERS_H

#include "analyses/effect.h"
#include "cli/session.h"

typedef struct hs_answers {
    hs_answer *at;   // of each prompt
    hs_arena *lists; // of all of them
} hs_answers;
// What each prompt says of its answer, when one of the effects (bits) needs it; lists of answers for
// effects that they count in. Close in any state, zero included. HS_EARG names a prompt that says
// too little.
int hs_answers_open(hs_answers *out, const hs_session *session, unsigned effects) HS_MUST_USE;
void hs_answers_close(hs_answers *);

#endif
