// A prompt without some of its positions: what a span does to a model shows when it is left out.
#ifndef HS_ANALYSES_CUT_H
#define HS_ANALYSES_CUT_H

#include "analyses/reference.h"

typedef struct hs_cut hs_cut;
// gone: [n_token] of the prompt, which outlives the cut; at least one position is left. What is left
// is packed: positions begin at 0 and have no gaps.
int hs_cut_open(hs_cut **out, const hs_prompt *prompt, const bool *gone) HS_MUST_USE;
void hs_cut_close(hs_cut *);
bool hs_cut_is(const hs_cut *, const bool *gone);
const hs_prompt *hs_cut_prompt(const hs_cut *); // what is left, as tokens; no text
// A run of what is left, by positions of the whole prompt (hs_ref's `other`). Both are borrowed.
hs_ref hs_cut_ref(hs_cut *, hs_held *);

#endif
