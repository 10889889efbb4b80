// A run of an experiment, as the commands that drive one record it: begun or gone on with, prompt by
// prompt in one transaction each, and ended by what became of the work.
#ifndef HS_CLI_STUDY_H
#define HS_CLI_STUDY_H

#include "cli/plan.h"
#include "cli/shard.h"
#include "db/query.h"

// Options of the commands that record such a run.
typedef struct hs_study_options {
    const char *label; // NULL: none
    bool resume;       // go on with the newest run that does the same
} hs_study_options;
extern const hs_opt hs_opts_study[];

typedef struct hs_study_opts {
    const hs_call *call;
    hs_session *session; // its bar is wiped before anything is said
    const hs_prompt_options *prompt;
    hs_db **db;       // NULL in it: opened at `path`, for writing; the caller closes it
    const char *path; // of the database
    const hs_study_options *how;
    int64_t seed;          // stored with the run
    const hs_analysis *as; // what is emitted; borrowed
    // JSON members ("\"k\":1,\"of\":\"z\"") that say what is done. They decide, with model and
    // prompts, whether two runs are the same one, and stay with every prompt as its parameters.
    // Freed by the opening, whatever comes of it, and so is `more`.
    hs_buf *what;
    hs_buf *more;          // members that decide too, and stay with the run only; NULL: none
    const hs_shard *shard; // NULL: all prompts
    int64_t n_prompt;      // the first of the session's prompts alone, 0: all
} hs_study_opts;

typedef struct hs_study {
    hs_study_opts o;
    hs_rec *rec;
    hs_buf params;
    int64_t id;    // of the run
    int64_t done;  // prompts that it holds, of n
    int64_t n;     // prompts that are this process's
    bool complete; // nothing is left to do
} hs_study;

// Options are borrowed. Close in any state, zero included.
int hs_study_open(hs_study *, const hs_study_opts *) HS_MUST_USE;
// Ends the run as the work ended, by its result, which is returned; HS_ESTOP says how to go on.
int hs_study_close(hs_study *, int result) HS_MUST_USE;
// The number of the next prompt to do, -1 when none is left.
int64_t hs_study_next(const hs_study *);
// All prompts that are left: ord[0 .. *n), ascending, owned by the caller.
int hs_study_left(const hs_study *, int64_t **ord, int64_t *n) HS_MUST_USE;
// What the database holds already of a run that goes on: calls fn for the rows of a named query, of
// each prompt that is done. Nothing for a run that is new, or complete.
typedef int (*hs_held_fn)(void *ctx, int64_t ord, const hs_query *row);
int hs_study_held(const hs_study *, const char *query, hs_held_fn fn, void *ctx) HS_MUST_USE;
// Begins prompt ord and gives its emitter; after what there is to emit, the end by its result, which
// is returned: nothing stays of a prompt that failed.
int hs_study_begin(hs_study *, int64_t ord, hs_emit *emit) HS_MUST_USE;
int hs_study_end(hs_study *, int result) HS_MUST_USE;

// What a run tells of itself whatever it does: model, prompts, precision. Borrows from the session.
hs_run_info hs_run_info_of(const hs_session *session, const hs_prompt_options *prompt);

#endif
