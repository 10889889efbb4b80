// Long prompts put together piece by piece, and the lines of needle tests (analyses/needles.h).
// Each piece is tokenised by itself, so that prompts which begin with the same pieces begin with
// the same tokens, and the words that are to be copied are the same tokens wherever they stand.
#ifndef HS_ANALYSES_DATASET_LONG_H
#define HS_ANALYSES_DATASET_LONG_H

#include "analyses/prompt.h"
#include "model/core/prng.h"

typedef struct hs_long {
    int32_t *tokens; // owned
    int64_t n;
    int bos_len;
} hs_long;
// Empties it and puts the BOS token in front, -1: none.
int hs_long_begin(hs_long *, int32_t bos) HS_MUST_USE;
int hs_long_ids(hs_long *, const int32_t *ids, int64_t n) HS_MUST_USE;
int hs_long_add(hs_long *, const hs_long *piece) HS_MUST_USE; // without its BOS
int hs_long_text(hs_long *, const hs_tok *tok, const char *text, size_t n) HS_MUST_USE;
void hs_long_free(hs_long *);
// Makes it at least n tokens of prose (analyses/dataset/prose.h), and nothing else; more of it
// begins with the same tokens.
int hs_long_prose(hs_long *, const hs_tok *tok, hs_prng prng, int64_t n) HS_MUST_USE;
// Position `at` moved back behind a sentence's end, or to the beginning; left where neither is near.
int64_t hs_long_sentence(const hs_long *, const hs_tok *tok, int64_t at);

// What a line says besides its tokens. The answer is the tokens of [from, to).
typedef struct hs_long_line {
    int64_t from, to, length;
    double depth; // percent, NaN: none
    const char *topic, *question;
    const char *spans; // JSON members of "spans", NULL: none
} hs_long_line;
int hs_long_put(hs_prompts *to, const hs_tok *tok, const hs_long *prompt,
                const hs_long_line *line) HS_MUST_USE;

// "256+512" or "256:2000:5", evenly spaced and rounded; both may be mixed. *out is owned by the
// caller. HS_EARG for what is no such list.
enum { HS_LONG_MAX = 1 << 24 }; // tokens of a prompt
int hs_long_lengths(int64_t **out, int *n, const char *list) HS_MUST_USE;
#define HS_LENGTHS_PARAM(fallback)                                                                 \
    {                                                                                              \
        "lengths", HS_PARAM_TEXT, fallback, 0, 0, NULL, "tokens",                                  \
            "lengths of whole prompts, joined by + or FROM:TO:COUNT"                               \
    }

// HS_EARG when there is no tokenizer: texts need one.
int hs_long_needs(const hs_tok *tok) HS_MUST_USE;
// Says that `length` tokens have no room for it, and how many would. what: "the needle 'city'".
int hs_long_too_short(int64_t length, int64_t least, const char *what) HS_MUST_USE;

#endif
