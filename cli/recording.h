// A recorded run: a model over the prompts of a session, with what a plan keeps, under edits. What
// `record` does, and `calibrate` with the prompts that it keeps.
#ifndef HS_CLI_RECORDING_H
#define HS_CLI_RECORDING_H

#include "cli/plan.h"

typedef struct hs_recording {
    const hs_call *call;
    hs_session *session; // its bar is wiped before anything is said
    const hs_prompt_options *prompt;
    const hs_plan *plan; // opened for the session's model; with seed and tokens to decode
    hs_do *edits;        // closed once the last prompt is done
    hs_db **db;          // NULL in it: opened at `path`, for writing; the caller closes it
    const char *path;    // of the database
    const char *label;   // NULL: none
    int64_t baseline;    // run that this one is compared with, 0: none
    bool resume;         // go on with the newest run that does the same
} hs_recording;

// Whether the work fits in memory.
int hs_recording_check(const hs_recording *) HS_MUST_USE;
// Records all prompts, or those that are left; *run: its number, 0 when it was not begun. HS_ESTOP
// says how to go on.
int hs_recording_run(const hs_recording *, int64_t *run) HS_MUST_USE;

#endif
