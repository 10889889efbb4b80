// Prose made by a grammar, for prompts as long as one likes: plain sentences about everyday things,
// written for this project, in paragraphs of one topic after the other; and facts that no such
// sentence tells, to be hidden among them.
#ifndef HS_ANALYSES_DATASET_PROSE_H
#define HS_ANALYSES_DATASET_PROSE_H

#include "model/core/buf.h"
#include "model/core/prng.h"

// Appends sentences, each with a space before it, until `out` has grown by n bytes or more. The
// same generator state gives the same text on every machine; there are some 10^8 sentences.
void hs_prose_write(hs_prng *prng, size_t n, hs_buf *out);
// Appends one sentence of some topic of at most max_words words, without its full stop.
void hs_prose_line(hs_prng *prng, int max_words, hs_buf *out);

// A fact to be found again: a sentence, a question about it, and the words of the sentence that are
// the answer.
typedef struct hs_fact {
    const char *topic, *needle, *question, *answer;
} hs_fact;
enum { HS_N_FACT = 3 };
extern const hs_fact hs_facts[HS_N_FACT];

#endif
