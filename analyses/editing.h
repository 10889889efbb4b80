// Edited runs: --do specs put to work on a set of prompts. Checks every edit against every prompt
// before the model runs, makes the reference runs that edits need, and adds the write hook.
#ifndef HS_ANALYSES_EDITING_H
#define HS_ANALYSES_EDITING_H

#include "analyses/prompt.h"
#include "hooks/intervention.h"
#include "model/core/progress.h"

// Recorded runs, for those who can read databases: the values of one prompt of a run. The caller
// closes what it opened.
typedef struct hs_run_source {
    void *ctx;
    // `run` as in hs_ref_need's name. The prompt is the one of the same id, else number, and must
    // have the same length (HS_ERANGE otherwise).
    int (*open)(void *ctx, const char *run, const hs_prompt *prompt, int64_t ord, hs_ref *out);
    void (*close)(void *ctx, hs_ref *);
} hs_run_source;

typedef struct hs_editing_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    hs_spans spans;              // of --span
    const hs_run_source *runs;   // NULL: patch from a recorded run is HS_EARG
    const hs_progress *progress; // NULL allowed
} hs_editing_opts;

typedef struct hs_editing hs_editing;
// specs are copied; options are borrowed. Runs the reference prompts of means over sets.
int hs_editing_open(hs_editing **out, const hs_editing_opts *opts, const char *const *specs,
                    int n) HS_MUST_USE;
void hs_editing_close(hs_editing *);
int hs_editing_count(const hs_editing *);
const hs_edit *hs_editing_at(const hs_editing *, int i);

// Adds the write hook of specs first .. first + n - 1. Once a hook set.
int hs_editing_hook(hs_editing *, hs_hooks *hooks, int first, int n) HS_MUST_USE;
// What the next evaluation's sequences are: prompt number, and the specs that act on it. Makes the
// reference runs that are needed and not held yet (of at most the prompts of one batch).
typedef struct hs_editing_seq {
    int64_t ord;
    int first, n;
} hs_editing_seq;
int hs_editing_aim(hs_editing *, const hs_editing_seq *seq, int n_seq) HS_MUST_USE;

// A prompt as edits see it.
hs_edit_prompt hs_edit_prompt_of(const hs_prompts *prompts, int64_t ord, hs_spans given);

#endif
