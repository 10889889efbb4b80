// --do: the interventions of a run, and --embeds, the one that comes before all others, for the
// commands that take them.
#ifndef HS_CLI_EDITS_H
#define HS_CLI_EDITS_H

#include "analyses/editing.h"
#include "cli/session.h"
#include "db/run_source.h"
#include "model/core/json.h"

typedef struct hs_do_options {
    hs_opt_list spec, embeds;
} hs_do_options;
extern const hs_opt hs_opts_do[];

// Specs put to work on the prompts of a session; close in any state, zero included. Without --do
// there are none, and `editing` adds no hook.
typedef struct hs_do {
    hs_runs *runs;
    hs_run_source source;
    hs_span *span; // names in `text`
    int n_span;
    const char **spec; // [n], those of "@RUN" in its place
    int n;
    int n_input; // of which the first are part of the prompt: what is compared with has them, too
    char **text; // [n_text] copies that the others point into
    int n_text;
    hs_editing *editing;
} hs_do;
// span: of --span; db_path: where the runs are that specs name. Checks everything before the model
// runs; then runs it on the sets of prompts that means are taken over.
int hs_do_open(hs_do *d, const hs_do_options *options, const hs_opt_list *span,
               const hs_session *session, const char *db_path) HS_MUST_USE;
void hs_do_close(hs_do *d);

// Adds the key "do", all parameters of all specs in order with hashes of the files that they name;
// nothing when there are none.
void hs_do_json(hs_jw *w, const hs_do *d);

#endif
