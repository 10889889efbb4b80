// Answers of a session's prompts, for the metrics that are about them.
#ifndef HS_CLI_ANSWERS_H
#define HS_CLI_ANSWERS_H

#include "analyses/effect.h"
#include "cli/session.h"

// What each prompt says of its answer, when one of the effects (bits) needs it; the caller frees
// *out. HS_EARG names a prompt that says too little.
int hs_answers_open(hs_answer **out, const hs_session *session, unsigned effects) HS_MUST_USE;

#endif
