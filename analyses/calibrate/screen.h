// What each head's edit does to a loss, to first order and for all heads at once.
#ifndef HS_ANALYSES_CALIBRATE_SCREEN_H
#define HS_ANALYSES_CALIBRATE_SCREEN_H

#include "analyses/quiz.h"

typedef struct hs_screen_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    const hs_quiz_item *const *item; // [prompts] what each asks
    enum hs_measure objective;       // HS_MEASURE_NLL or HS_MEASURE_CHOICE_NLL
    const hs_heads *heads;           // those that are asked about; no other is edited
    hs_spans spans;                  // of --span
    const hs_run_source *runs;       // NULL: edits cannot refer to recorded runs
    int64_t memory;                  // bytes that a chunk of work may take, 0: the default
    const hs_progress *progress;     // NULL allowed
} hs_screen_opts;

// One item: its objective, and for every variant and head about what the objective changes by when
// the variant edits that head alone, [n_variant][n_layer * n_head], 0 for heads that are not asked
// about. NaN, all of them, for an item that has no such objective. Borrowed for the call.
typedef int (*hs_screen_fn)(void *ctx, int64_t ord, double base, const double *estimate);
// Items ord[0 .. n), in order. Variants edit all heads that are asked about. HS_EARG for an edit
// that writes what comes after heads. The same bits whatever the chunks.
int hs_screen(const hs_screen_opts *, const hs_quiz_variant *variant, int n_variant,
              const int64_t *ord, int64_t n, hs_screen_fn fn, void *ctx) HS_MUST_USE;

#endif
