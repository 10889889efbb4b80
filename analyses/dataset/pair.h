// Pairs of prompts made from templates: a clean and a corrupted text that differ in single tokens
// only, with the positions of their words by name and an answer that follows the clean one. A line:
//   {"id", "tokens", "bos_len", "corrupt_tokens", "answer": ID, "wrong": ID,
//    "positions": {"IO": 2, "S1": 4, "S1_next": 5, ..., "END": 14},
//    "answers": [IDS], "wrongs": [IDS],    all right and all wrong tokens, where there are several
//    ...,                                  what the data set adds: "template", "order"
//    "words": {"IO": "Mary", ...}, "corrupt_words", "text", "corrupt_text", "answer_text",
//    "wrong_text"}                         the same for people to read
// Positions come from the tokenizer's own token boundaries, never from counting words; what does
// not stand as one token is drawn again.
#ifndef HS_ANALYSES_DATASET_PAIR_H
#define HS_ANALYSES_DATASET_PAIR_H

#include "analyses/dataset/words.h"
#include "model/core/json.h"

enum { HS_PAIR_WORDS = 24 };

// A pair while it is put together.
typedef struct hs_pair {
    hs_buf text[2]; // clean, corrupted
    struct hs_pair_word {
        const char *name, *after;
        size_t from[2], to[2]; // bytes of each text
    } word[HS_PAIR_WORDS];
    int n_word;
    hs_buf answer[2]; // right, wrong
    // All right and all wrong tokens; borrowed, none when NULL.
    const int32_t *answers, *wrongs;
    int n_answer, n_wrong;
    hs_buf keys; // what `more` wrote
    hs_jw more;  // keys that a data set adds to the line
} hs_pair;

// The same text in both halves.
void hs_pair_text(hs_pair *, const char *text);
// A word that is one token at the same position of both halves. name: of that position in
// "positions"; after: of the one behind it, or NULL.
void hs_pair_word(hs_pair *, const char *name, const char *after, const char *clean,
                  const char *corrupt);

// What may follow the clean text, each `before` (" " or "") and a word that is one token; required.
void hs_pair_answer(hs_pair *, const char *before, const char *right, const char *wrong);

// Text with marks, "Then [X] and [Y] left": each mark is replaced by the slot of that name.
typedef struct hs_slot {
    const char *mark;            // "X"
    const char *name, *after;    // as hs_pair_word has them; name NULL: text like the rest
    const char *clean, *corrupt; // corrupt NULL: the same
} hs_slot;
void hs_pair_fill(hs_pair *, const char *text, const hs_slot *slots, int n);

// Puts the next pair of a data set together in `pair`, which is empty. What it points to must stay
// until the next call.
typedef void (*hs_pair_draw)(void *ctx, hs_prng *prng, hs_pair *pair);

// Adds pairs by the parameters n, seed and bos. A pair whose halves do not lie token by token
// beside each other is drawn again; HS_EARG when that goes on, and the message says why.
int hs_pairs_generate(hs_prompts *to, const hs_tok *tok, const hs_args *args, hs_pair_draw draw,
                      void *ctx) HS_MUST_USE;

#endif
