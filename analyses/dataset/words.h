// What generators of data sets share: parameters that all of them have, the BOS token, and words
// that are one token each.
#ifndef HS_ANALYSES_DATASET_WORDS_H
#define HS_ANALYSES_DATASET_WORDS_H

#include "analyses/prompt.h"

// The rows of a table of parameters that every generator has: how to draw; and for those that make
// one prompt after the other how many, n, a text.
#define HS_DATASET_DRAW                                                                            \
    {"seed", HS_PARAM_INT, "0", 0, 9e15, NULL, NULL, "the same seed gives the same prompts"}, {    \
        "bos", HS_PARAM_ENUM, "auto", 0, 0, "auto|yes|no", NULL,                                   \
            "put the BOS token in front; auto: as --bos says"                                      \
    }
#define HS_DATASET_PARAMS(n)                                                                       \
    {"n", HS_PARAM_INT, n, 1, 1e9, NULL, "prompts", "number of prompts"}, HS_DATASET_DRAW

// The BOS token to put in front, -1 for none: by the parameter "bos", else by the policy of the
// set, else as the tokenizer does. HS_EARG when there is none to put. tok may be NULL.
int hs_dataset_bos(int32_t *bos, const hs_prompts *to, const hs_tok *tok,
                   const hs_args *args) HS_MUST_USE;

#endif
