// Writing a run. One writer thread owns the connection while a run is recorded; what hooks and
// observers deliver goes through a queue bounded in bytes, in a fixed order, so that two
// recordings of the same thing are equal in every table. One transaction a prompt: killed at any
// moment, the file holds every prompt that was ended, and nothing of the others.
#ifndef HS_DB_RECORD_H
#define HS_DB_RECORD_H

#include "analyses/experiment.h"
#include "analyses/prompt.h"
#include "db/db.h"
#include "hooks/hooks.h"

enum hs_store { HS_STORE_F32, HS_STORE_F16, HS_STORE_U8 }; // of maps and activations

// Everything a run stores about itself. Strings are copied.
typedef struct hs_run_info {
    const hs_model *model;
    const char *model_path;
    const char *label;        // NULL allowed
    const char *argv_json;    // full command line as a JSON array
    const char *options_json; // what decides the results (model fingerprint, prompts' hash,
                              // selections, observers, precision): equal text = the same run, for
                              // resume
    const char *bos;          // "auto", "yes", "no"
    int64_t n_ctx;
    uint64_t seed;
    const char *precision;    // "exact"
    const char *const *edits; // the specs of --do in order, NULL when there are none
    int n_edit;
    int64_t baseline; // run that this one is compared with, 0 = none
    // One of several processes: it holds the prompts whose ord is `shard` modulo n_shard, and its
    // options are those of the whole run with that at their end. n_shard 0: the whole run.
    int64_t shard, n_shard;
} hs_run_info;

typedef struct hs_rec hs_rec;

// Starts a run, or with `resume` goes on with the newest run whose options_json is equal (its
// status becomes running again); *done tells how many prompts it already holds (0 for a new run)
// and *complete whether nothing is left to do.
int hs_rec_open(hs_rec **out, hs_db *db, const hs_run_info *info, bool resume, int64_t *done,
                bool *complete) HS_MUST_USE;
int64_t hs_rec_run(const hs_rec *);
// Whether an analysis can be recorded there: HS_EFORMAT when the database has its tables with other
// columns, from another version.
int hs_rec_check(hs_db *db, const hs_analysis *analysis) HS_MUST_USE;
// The same of the observers of a list.
int hs_rec_check_observers(hs_db *db, const hs_observe_list *list) HS_MUST_USE;

// What to keep of the prompts that follow: maps of these heads (NULL = none), rows of these points
// ([n_layer + 1] masks, NULL = none; HS_LOGITS included; HS_PATTERN and HS_SCORES keep the layer's
// maps of all heads, scores as f16 where store is u8). Row summaries are always kept.
int hs_rec_keep(hs_rec *, const hs_heads *maps, const uint64_t *acts,
                enum hs_store store) HS_MUST_USE;

// One prompt: begin, run the model with the recorder's hook in the set, observers' finish into the
// emitters, end. The commit goes on while the next prompt runs; should it fail, a call that follows
// tells, hs_rec_close at the latest. ord: 0-based number in the run.
int hs_rec_prompt(hs_rec *, int64_t ord, const hs_prompt *prompt) HS_MUST_USE;
int hs_rec_hook(hs_rec *, hs_hooks *hooks) HS_MUST_USE; // adds the read hooks for the above
// Tokens decoded after the prompt (recorded with generate), appended to the prompt's tokens.
int hs_rec_decoded(hs_rec *, const int32_t *tokens, int64_t n, const hs_tok *tok) HS_MUST_USE;
// An analysis run (observer, its parameters, online) and where its results go.
int hs_rec_emit(hs_rec *, const hs_observe_item *item, hs_emit *emit) HS_MUST_USE;
// The same of an experiment, whose description may name more metrics than its file does (own
// expressions); borrowed until the prompt's end.
int hs_rec_emit_as(hs_rec *, const hs_analysis *analysis, const char *params_json,
                   hs_emit *emit) HS_MUST_USE;
int hs_rec_prompt_end(hs_rec *) HS_MUST_USE;
// Abandons the prompt in work: nothing of it stays.
void hs_rec_prompt_cancel(hs_rec *);

// Ends the run as its work ended: complete for HS_OK, interrupted for HS_ESTOP, failed for any other
// result. Joins the writer; the writer's first failure is returned here or by any call above.
// Returns the result of a failed work with its message, else what went wrong in closing, else the
// result.
int hs_rec_close(hs_rec *, int result) HS_MUST_USE;

// Observers on a recorded run: results of item over prompt rows (source "offline"), in one
// transaction a prompt. Replaces earlier offline results of the same observer and parameters.
int hs_db_observe(hs_db *, int64_t run, const hs_observe_list *list, const hs_model *model,
                  const hs_progress *progress) HS_MUST_USE;

#endif
