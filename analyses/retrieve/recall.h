// How much of an answer was said: ROUGE-1 recall (Lin 2004), the share of its words that are there,
// each as often as it is there at most; and the token F1 of extractive questions (SQuAD, Rajpurkar et
// al. 2016), the harmonic mean of that and of the share of what was said that is of the answer.
#ifndef HS_ANALYSES_RETRIEVE_RECALL_H
#define HS_ANALYSES_RETRIEVE_RECALL_H

#include "model/tok.h"

typedef struct hs_marks {
    double recall, f1;
} hs_marks;

// Words of the recall are runs of ASCII letters and digits and of bytes outside ASCII, in lower case
// as far as ASCII goes; there is no stemmer. Those of F1 are what spaces separate, in lower case,
// without ASCII punctuation and without a, an and the. Both NaN for an answer without words of the
// first kind; F1 of an answer without those of the second is 1 where nothing is said, else 0.
int hs_mark_text(const char *answer, size_t n_answer, const char *said, size_t n_said,
                 hs_marks *out) HS_MUST_USE;
// A text as the words of F1, each followed by a space; appended.
int hs_mark_words(const char *text, size_t n, hs_buf *out) HS_MUST_USE;
// The same of tokens: of their texts, special tokens left out; without a tokenizer, or when the
// answer has no words, each token is a word.
int hs_mark(const hs_tok *tok, const int32_t *answer, int64_t n_answer, const int32_t *said,
            int64_t n_said, hs_marks *out) HS_MUST_USE;

#endif
