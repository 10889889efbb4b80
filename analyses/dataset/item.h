// Prompts that ask something, with the answers to choose from, in two parts that share no item: a
// set to calibrate on and a set to prove it by. A line:
//   {"id": "c0", "tokens", "bos_len", "part": "calibration", "choices": [" Oslo", " Lima"],
//    "answer": 1,                          the number of the right choice
//    "answer_text": " Lima", "spans": {"doc": [12, 80]},
//    ...,                                  what the data set adds: "question", "gold"
//    "text"}                               the text that the tokens are
// Spans are the tokens that stand for some bytes of their text. A token may hold the end of a span
// together with the line break behind it: it belongs to the span.
//
// Parts. Word lists are cut in two: the calibration part takes the words of even number, the
// held-out part those of odd number, whatever the seed. So both parts are drawn alike, and no name,
// answer or text of one comes up in the other. Frames of sentences and solved examples in front of
// the question are the same in both. Items are drawn one by one from the seed, the part and their
// number: more of them begin with the same ones, and `all` is both parts, item by item in turns.
#ifndef HS_ANALYSES_DATASET_ITEM_H
#define HS_ANALYSES_DATASET_ITEM_H

#include "analyses/dataset/words.h"
#include "model/core/json.h"

// Rows of a table of parameters: of every set of items.
#define HS_ITEM_PARAMS(n)                                                                          \
    {"part", HS_PARAM_ENUM,                                                                        \
     "all",  0,                                                                                    \
     0,      "all|calibration|held_out",                                                           \
     NULL,   "which part; they share no name, no answer and no text; all: both in turns"},         \
        HS_DATASET_PARAMS(n)

#define HS_ASK_PARAM                                                                               \
    {                                                                                              \
        "ask", HS_PARAM_ENUM, "choices", 0, 0, "choices|open", NULL,                               \
            "choices to answer from, or the right answer alone, as text"                           \
    }

enum { HS_ITEM_SPANS = 32, HS_ITEM_CHOICES = 8 };

// An item while it is put together.
typedef struct hs_item {
    int part;       // 0: calibration, 1: held out
    int64_t number; // in its part
    uint64_t seed;
    hs_prng prng; // its own
    hs_buf text;
    struct hs_item_span {
        char name[16];
        size_t from, to; // bytes of the text
    } span[HS_ITEM_SPANS];
    int n_span;
    hs_buf choice[HS_ITEM_CHOICES];
    int n_choice, right;
    bool open; // the right answer alone, as text
    hs_buf keys;
    hs_jw more; // further keys of the line
} hs_item;

// Word i of a list that is cut in two: n words of each part lie in turns.
static inline const char *hs_item_word(const hs_item *it, const char *const *list, int i) {
    return list[2 * i + it->part];
}
int hs_item_below(hs_item *, int n);                // by chance, 0 to n - 1
void hs_item_shuffle(hs_item *, int *order, int n); // 0 to n - 1 in any order
// Which of n ways: each comes once in every n items, in an order by chance. Two numbers that are
// to be independent have different salts.
int hs_item_turn(const hs_item *, int n, int salt);

// Text from hs_item_from to hs_item_to is the span, the spaces it begins with left out.
int hs_item_from(hs_item *, const char *name); // the span's number
void hs_item_to(hs_item *, int span);
// A choice: a space and the word, in quotes or not.
void hs_item_choice(hs_item *, const char *word, bool quoted);

// Puts the next item, which is empty, together.
typedef void (*hs_item_draw)(void *ctx, hs_item *);

// Adds items by the parameters n, part, seed and bos. HS_EARG without a tokenizer.
int hs_items_generate(hs_prompts *to, const hs_tok *tok, const hs_args *args, hs_item_draw draw,
                      void *ctx) HS_MUST_USE;

#endif
