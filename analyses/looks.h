// How heads look at documents that say nothing: what attention gives to each for its place alone
// ("Found in the Middle", Hsieh et al. 2024).
#ifndef HS_ANALYSES_LOOKS_H
#define HS_ANALYSES_LOOKS_H

#include "analyses/prompt.h"
#include "hooks/places.h"
#include "model/model.h"

// Writes dummies where the documents are, both arrays being whole prompts. token -1: the documents'
// own tokens, scattered over all of them, so that each holds the same mixture; else that token.
void hs_looks_dummy(int32_t *to, const int32_t *from, const hs_places *docs, int64_t token);

typedef struct hs_look hs_look;
typedef struct hs_looks {
    hs_look **at; // owned
    int64_t n;
} hs_looks;
// Runs the prompt with dummies, once for each prompt, documents and token. *out, borrowed until all
// are freed: [n_layer][n_head][docs->n], of rows from the end of the last document on, the mean weight
// of a position of the document. The prompt goes on after the documents.
int hs_looks_get(hs_looks *, const hs_model *model, const hs_prompt *prompt, int64_t ord,
                 const hs_places *docs, int64_t token, const double **out) HS_MUST_USE;
void hs_looks_free(hs_looks *);

#endif
