// What the files of a quiz share; see analyses/quiz.h.
#ifndef HS_ANALYSES_QUIZ_INTERNAL_H
#define HS_ANALYSES_QUIZ_INTERNAL_H

#include "analyses/quiz.h"
#include "model/core/mem.h"

struct hs_quiz {
    hs_quiz_opts o;
    int64_t memory;
    hs_arena *arena;    // of the items
    hs_quiz_item *item; // [n]
    int64_t n;
    unsigned has;
};

// What a prompt asks; made in the arena. HS_EFORMAT and HS_EARG name the prompt.
int hs_quiz_read(hs_quiz_item *out, const hs_prompt *prompt, int64_t ord, const hs_tok *tok,
                 int64_t n_vocab, hs_arena *arena) HS_MUST_USE;
// Continuations of an item that are scored: of OPEN the first stands for all.
static inline int hs_quiz_scored(const hs_quiz_item *item) {
    return item->kind == HS_QUIZ_OPEN ? 1 : item->n_choice;
}
// Tokens that are decoded after an item's prompt at most; one number for all that decode.
static inline int64_t hs_quiz_decodes(const hs_quiz *q, const hs_quiz_item *item) {
    if (item->kind != HS_QUIZ_OPEN && !q->o.generate) return 0;
    return q->o.decode > q->o.generate ? q->o.decode : q->o.generate;
}
// Tokens that may follow an item's prompt and are run: the last of a continuation is not.
int64_t hs_quiz_after(const hs_quiz *, const hs_quiz_item *item);

// ---- numbers ------------------------------------------------------------------------------------

// What one item under one variant gave.
typedef struct hs_quiz_found {
    const double *loss;    // [n_token - 1] of the prompt's own tokens; TEXT only
    const double *ln_p;    // [hs_quiz_scored] of the continuations
    const int32_t *said;   // [n_said] decoded
    const double *entropy; // [n_said] of what each was picked from
    int64_t n_said;
} hs_quiz_found;
int hs_quiz_measure(const hs_quiz *, const hs_quiz_item *item, const hs_quiz_found *found,
                    double value[HS_N_MEASURE]) HS_MUST_USE;
// Whether an answer ends with this token: one that ends a text, or holds a newline.
bool hs_quiz_answer_ends(const hs_quiz *, int32_t id);

// ---- chunks -------------------------------------------------------------------------------------

typedef struct hs_quiz_range {
    int first, n; // of specs
} hs_quiz_range;
typedef struct hs_quiz_chunk {
    hs_quiz *quiz;
    hs_editing *editing;
    const int64_t *ord; // [n]
    int64_t n;
    const hs_quiz_range *variant; // [n_variant]
    int n_variant;
    int64_t done, total; // evaluations of a prompt, for the bar
} hs_quiz_chunk;
// How many of its items may be evaluated at once under all its variants, within the rows and the
// memory that a quiz takes; 0: not even one.
int64_t hs_quiz_fit(const hs_quiz_chunk *);
// Values of variant v of item i go to value + (i * ld + v) * HS_N_MEASURE.
int hs_quiz_chunk_run(const hs_quiz_chunk *, double *value, int64_t ld) HS_MUST_USE;

#endif
