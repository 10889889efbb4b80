// ROUGE-1 recall (Lin 2004): the share of a text's words that another one has, each as often as it
// is there at most.
#ifndef HS_ANALYSES_RETRIEVE_RECALL_H
#define HS_ANALYSES_RETRIEVE_RECALL_H

#include "model/tok.h"

// Words are runs of ASCII letters and digits and of bytes outside ASCII, in lower case as far as
// ASCII goes; there is no stemmer. NaN for a text without words.
int hs_recall_text(const char *of, size_t n_of, const char *in, size_t n_in,
                   double *out) HS_MUST_USE;
// The same of tokens: of their texts, special tokens left out; without a tokenizer, or when the
// first has no words, each token is a word.
int hs_recall(const hs_tok *tok, const int32_t *of, int64_t n_of, const int32_t *in, int64_t n_in,
              double *out) HS_MUST_USE;

#endif
