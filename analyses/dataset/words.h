// What generators of data sets share: parameters that all of them have, the BOS token, and words
// that are one token each in the model's tokenizer.
#ifndef HS_ANALYSES_DATASET_WORDS_H
#define HS_ANALYSES_DATASET_WORDS_H

#include "analyses/prompt.h"
#include "model/core/prng.h"

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
// The ids below n_vocab that are not special and stand for some bytes, in order; all of them
// without a tokenizer. *out is owned by the caller. HS_EARG when there are fewer than `least`.
int hs_dataset_ids(int32_t **out, int64_t *n, const hs_tok *tok, int64_t n_vocab,
                   int64_t least) HS_MUST_USE;

// ---- words that are one token -------------------------------------------------------------------

// Whether text[from, to) is exactly one token of the text's tokens, which may begin with the spaces
// before it: its number, else -1. An empty word is none.
int64_t hs_word_token(const hs_tok *tok, const hs_tokens *tokens, const char *text, size_t from,
                      size_t to);

// A list to choose from: rows of `n_form` words that belong together (singular and plural), ended
// by NULL.
typedef struct hs_word_list {
    const char *what;   // "names": for messages
    const char *before; // what stands before such a word, " " or ""
    int n_form;
    const char *const *words;
} hs_word_list;

// The rows of a list whose words are all one token each.
typedef struct hs_words {
    int n, n_form;
    const char **at; // [n * n_form]; what they point to is the list's, or a user's text
    int32_t *id;     // [n * n_form] the token of each, as it stands after `before`
    hs_buf text;     // of a user's list
} hs_words;

// HS_EARG without a tokenizer, and with fewer than `least` rows left; the message then says which
// words are one token and which are not. Free in any case.
int hs_words_open(hs_words *out, const hs_tok *tok, const hs_word_list *list,
                  int least) HS_MUST_USE;
// The same for a user's list, "Mary+John+Tom", in rows of one: each must be one token and there
// once, else HS_EARG names those that are not and offers such as are, from the list `known`.
int hs_words_given(hs_words *out, const hs_tok *tok, const char *text, const hs_word_list *known,
                   int least) HS_MUST_USE;
void hs_words_free(hs_words *);

// k different rows; there must be as many.
void hs_words_pick(const hs_words *, hs_prng *prng, int k, int *row);
static inline const char *hs_word(const hs_words *w, int row, int form) {
    return w->at[row * w->n_form + form];
}
static inline int32_t hs_word_id(const hs_words *w, int row, int form) {
    return w->id[row * w->n_form + form];
}

// First names in turn, a woman's and a man's.
extern const char *const hs_first_names[];

#endif
