// Quizzes: prompts whose answers can be right or wrong, and how right a model is under edits. What
// `eval` tells of answers and what `calibrate` selects by and proves.
//
// A prompt is run once a variant; then each continuation (a choice, the answer) goes on from its
// keys and values. To edits, the rows of continuations are decoded rows: a prompt's n_token is its
// own, so that no edit depends on the answer that is tried.
#ifndef HS_ANALYSES_QUIZ_H
#define HS_ANALYSES_QUIZ_H

#include "analyses/editing.h"

// What a prompt's JSON line asks. "choices": [texts or lists of ids] with "answer": the number of
// the right one, from 0, or its text, spaces around it set aside. Without choices "answer": a text
// or a list of ids, or "answers": all that are right, of which the first stands for them where one
// is scored. Texts are tokenised alone, as they stand: a space before the first word is theirs. An
// answer that is one token's number is what metrics of effects are about: without choices, such a
// line asks nothing here.
enum hs_quiz_kind {
    HS_QUIZ_TEXT,   // no answer: the loss of its own tokens
    HS_QUIZ_CHOICE, // several continuations, one of which is right
    HS_QUIZ_YES_NO, // a choice between "yes" and "no", whatever the case and the space before
    HS_QUIZ_OPEN,   // one continuation
};

// Tokens that may follow a prompt.
typedef struct hs_quiz_choice {
    const int32_t *at; // [n]
    int64_t n;
    int64_t n_byte;   // of its text, leading spaces not counted; of ids alone n
    const char *text; // NULL: given as ids
} hs_quiz_choice;

typedef struct hs_quiz_item {
    enum hs_quiz_kind kind;
    const hs_prompt *prompt;
    int64_t ord;                  // of the prompt
    const hs_quiz_choice *choice; // [n_choice]: choices; all right answers of OPEN; none of TEXT
    int n_choice;
    int right; // number of the right choice; 0 of OPEN, -1 of TEXT
} hs_quiz_item;

// One number an item, NaN where an item has none. Loss of tokens is in nats.
enum hs_measure {
    HS_MEASURE_NLL,        // mean over scored tokens: of the right continuation; TEXT: all
    HS_MEASURE_CHOICE_NLL, // -ln of the right choice's share of p(choice) over the choices
    HS_MEASURE_ACCURACY,   // 1 when the right choice has the largest sum of ln p, ties to the first
    HS_MEASURE_ACCURACY_NORM, // the same by ln p a byte
    HS_MEASURE_YES,           // YES_NO: 1 when "yes" is likelier
    HS_MEASURE_F1,            // YES_NO: of the class yes (POPE); totals are over items together
    HS_MEASURE_EXACT_MATCH,   // OPEN: 1 when what is decoded begins with a right answer
    HS_MEASURE_RECALL,        // OPEN: share of the answer's words in what is decoded (needles)
    HS_MEASURE_REPETITION,    // free text: share of 4-grams of tokens that stood there before
    HS_MEASURE_ENTROPY,       // free text: mean entropy of the next token, nats
    HS_MEASURE_COLLAPSE,      // free text: share of its tokens whose entropy is below 0.1 nats
    HS_N_MEASURE,
};
typedef struct hs_measure_info {
    const char *name; // "nll", "choice_nll", "accuracy", ...
    const char *unit, *about;
    int better;   // 1: larger is better, -1: smaller, 0: neither
    bool decodes; // takes greedy decoding: of answers up to a token that ends a text or holds a
                  // newline, of free text up to one that ends a text
} hs_measure_info;
extern const hs_measure_info hs_measures[HS_N_MEASURE];

// Of `decode`: twice the tokens of the longest answer, as far as every prompt leaves room for them.
enum { HS_QUIZ_USUAL = -1 };

typedef struct hs_quiz_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    hs_spans spans;              // of --span
    const hs_run_source *runs;   // NULL: edits cannot refer to recorded runs
    int64_t decode;              // tokens of an answer at most, or HS_QUIZ_USUAL; 0: none
    int64_t generate;            // tokens of free text after every prompt; 0: none
    int64_t memory;              // bytes for keys and values at once, 0: the default
    const hs_progress *progress; // NULL allowed
} hs_quiz_opts;

typedef struct hs_quiz hs_quiz;
// Reads and checks every item before anything runs. HS_EFORMAT names the prompt: an answer that is
// no choice's number or text, fewer than two choices, two equal ones, an empty one, ids outside the
// vocabulary. HS_ERANGE: a prompt with its longest continuation does not fit into the context.
int hs_quiz_open(hs_quiz **out, const hs_quiz_opts *opts) HS_MUST_USE;
void hs_quiz_close(hs_quiz *);
int64_t hs_quiz_count(const hs_quiz *); // that of the prompts
const hs_quiz_item *hs_quiz_at(const hs_quiz *, int64_t ord);
int64_t hs_quiz_longest(const hs_quiz *); // tokens of a prompt and what follows it that are run
// What specs may name, in the place of what the options said.
void hs_quiz_name(hs_quiz *, hs_spans spans, const hs_run_source *runs);
unsigned hs_quiz_has(const hs_quiz *); // bits of the measures that some item gives

// What acts: --do specs in order; n 0: the model as it is.
typedef struct hs_quiz_variant {
    const char *const *spec;
    int n;
} hs_quiz_variant;

// Values of one item, value[n_variant][HS_N_MEASURE]; borrowed for the call.
typedef int (*hs_quiz_fn)(void *ctx, int64_t ord, const double *value);
// Evaluates every variant on the prompts ord[0 .. n), ascending, several side by side in ragged
// batches; hands over items in that order. Specs are checked against all prompts before
// anything runs. The same bits whatever the batching.
int hs_quiz_run(hs_quiz *, const hs_quiz_variant *variant, int n_variant, const int64_t *ord,
                int64_t n, hs_quiz_fn fn, void *ctx) HS_MUST_USE;

// A measure of several items together: the mean, and F1 of all answers. value[i * ld] and, for F1,
// the item's `HS_MEASURE_F1` number (3: yes and said so, 2: yes, 1: no and yes was said, 0: no).
// Items that have none (NaN) are left out; NaN when all are.
double hs_measure_total(enum hs_measure, const double *value, int64_t ld, int64_t n);

#endif
