// What prompts.c offers to the file reader beside prompt.h.
#ifndef HS_ANALYSES_PROMPTS_INTERNAL_H
#define HS_ANALYSES_PROMPTS_INTERNAL_H

#include "analyses/prompt.h"
#include "model/core/json.h"
#include "model/core/mem.h"

// As hs_prompts_add_text, with what a JSON line may add.
int hs_prompts_put_text(hs_prompts *, const char *id, const char *text, size_t n, int64_t period,
                        const char *extra) HS_MUST_USE;

// A JSON list of token ids as an array, which the caller frees. HS_EFORMAT for what is none.
int hs_prompt_ids(const hs_json *list, int32_t **out, int64_t *n) HS_MUST_USE;

#endif
