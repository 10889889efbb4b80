// What prompts.c offers to the file reader beside prompt.h.
#ifndef HS_ANALYSES_PROMPTS_INTERNAL_H
#define HS_ANALYSES_PROMPTS_INTERNAL_H

#include "analyses/prompt.h"

// As hs_prompts_add_text, with what a JSON line may add.
int hs_prompts_put_text(hs_prompts *, const char *id, const char *text, size_t n, int64_t period,
                        const char *extra) HS_MUST_USE;

#endif
