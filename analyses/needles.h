// Needle tests: prompts whose answer stands in their context, to be copied from there (Wu et al.
// 2024, retrieval heads). A prompt says so by two keys of its JSON line:
//   "needle": [start, end)  the positions of the ANSWER's tokens inside the needle's sentence, not
//                           of the whole sentence: what a retrieval head looks at while it copies
//   "answer": [ids]         what is to be said after the prompt's last token; one id may stand alone
// The data sets needle, passkey and kv_json write such lines:
//   {"id", "tokens", "bos_len", "needle", "answer", "length", "depth", "topic", "question", "text"}
// with length the tokens that were asked for, depth in percent of the context (null where there is
// no such thing), topic a word that names the needle, and text the prompt for people to read.
#ifndef HS_ANALYSES_NEEDLES_H
#define HS_ANALYSES_NEEDLES_H

#include "analyses/prompt.h"

typedef struct hs_needle {
    int64_t from, to; // positions [from, to) of the prompt; never empty
    int32_t *answer;  // [n_answer], at least one; owned
    int64_t n_answer;
} hs_needle;

// What a prompt says of its needle. HS_EARG naming the prompt when a key is missing, HS_EFORMAT for
// values of other types, a span outside the prompt, an empty answer and ids outside the vocabulary.
int hs_needle_of(hs_needle *out, const hs_prompt *prompt, int64_t n_vocab) HS_MUST_USE;
void hs_needle_free(hs_needle *); // also after a failure

#endif
