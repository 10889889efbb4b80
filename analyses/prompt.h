// Prompts: what a run is made of, from the command line, files or generators.
#ifndef HS_ANALYSES_PROMPT_H
#define HS_ANALYSES_PROMPT_H

#include "hooks/places.h"
#include "model/core/buf.h"
#include "model/core/param.h"
#include "model/tok.h"

typedef struct hs_prompt {
    const char *id;   // never NULL: the file's id, or its 0-based number
    const char *text; // NULL when only tokens were given
    int64_t text_len;
    const int32_t *tokens;
    const int64_t *start, *end; // byte range of each token in text; NULL without text
    int64_t n_token;
    int bos_len;
    int64_t period;    // of repeated tokens, 0 = not said
    const char *extra; // other keys of the JSONL line as a JSON object, NULL when none
    hs_spans spans; // its own names of positions, from the keys "positions" and "spans": numbers,
                    // or the tokens of a text within its own
} hs_prompt;

// Names of positions among the other keys of a line: {"positions": {"S2": 10, "END": -1}} and
// {"spans": {"doc": [3, 20]}}; of a prompt given as a text also {"spans": {"doc": "the text"}}, the
// tokens that cover the only place where it says this (HS_EFORMAT where there is none, or several).
// Positions that the prompt does not have name nothing, and so does what has no such form: it is left
// to whom it concerns. Made in the arena.
int hs_prompt_spans(hs_spans *out, hs_arena *arena, const hs_prompt *prompt) HS_MUST_USE;

typedef struct hs_prompts hs_prompts; // owns its prompts

// Adds as they come; ids must be unique (HS_EARG). tok may be NULL: text is then HS_EARG with the
// advice to give tokens. Token ids are checked against n_vocab (HS_ERANGE).
int hs_prompts_open(hs_prompts **out, const hs_tok *tok, enum hs_bos bos,
                    int64_t n_vocab) HS_MUST_USE;
void hs_prompts_close(hs_prompts *);
int hs_prompts_add_text(hs_prompts *, const char *id, const char *text, size_t n) HS_MUST_USE;
// tokens are taken as they are. extra: JSON object text or NULL.
int hs_prompts_add_tokens(hs_prompts *, const char *id, const int32_t *tokens, int64_t n,
                          int bos_len, int64_t period, const char *extra) HS_MUST_USE;
// A copy of a prompt of another set; id NULL: its own.
int hs_prompts_add_copy(hs_prompts *, const char *id, const hs_prompt *of) HS_MUST_USE;
// JSON lines: an object each with "tokens", taken as they are, or "text" or "prompt", tokenised;
// "id" and "period" honoured, "bos_len" with tokens; all other keys are kept. FILE.txt: the whole
// file is one prompt. "-" reads JSON lines from stdin. Errors name file and line: HS_EFORMAT for
// what is no such line, HS_ERANGE for ids outside the vocabulary, HS_EARG for repeated ids, text
// without a tokenizer and a file without prompts; the lines before it stay added.
int hs_prompts_add_file(hs_prompts *, const char *path) HS_MUST_USE;
int64_t hs_prompts_count(const hs_prompts *);
enum hs_bos hs_prompts_bos(const hs_prompts *);                // the policy it was opened with
const hs_prompt *hs_prompts_at(const hs_prompts *, int64_t i); // valid until the set is closed
// Prompts of an experiment that come in twos, a clean and a corrupted one, are two prompts of one
// set that know each other. hs_prompts_pair: the number of prompt i's other half, -1 without one.
int64_t hs_prompts_pair(const hs_prompts *, int64_t i);
// Adds the corrupted half of every prompt, from its key "corrupt_tokens": prompt i of n gets number
// n + i, the id "ID~corrupt" and the same other keys. HS_EARG names a prompt without the key;
// HS_EFORMAT one whose halves differ in length or not at all.
int hs_prompts_add_pairs(hs_prompts *) HS_MUST_USE;
// One JSONL line for a prompt (what `dataset` writes), newline included.
void hs_prompt_jsonl(const hs_prompt *, hs_buf *out);

// A data set generator: datasets/NAME.c defines `const hs_dataset hs_dataset_NAME`. Deterministic
// by the "seed" parameter, which every generator has. tok may be NULL.
typedef struct hs_dataset {
    const char *name, *title, *about, *reference;
    const hs_param *params;
    int (*generate)(hs_prompts *out, const hs_tok *tok, int64_t n_vocab, const hs_args *args);
} hs_dataset;
extern const hs_dataset *const hs_datasets[]; // written by make; ended by NULL
// The number of the data set that "NAME" or "NAME:k=v,..." means, -1 for none; '-' means '_'.
int hs_dataset_find(const char *spec);
// "repeat:k=50,n=4". HS_ENOTFOUND lists the known names.
int hs_prompts_add_dataset(hs_prompts *, const char *spec) HS_MUST_USE;

#endif
