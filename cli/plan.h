// What a recording keeps: selections checked against the model, the text that makes two runs the
// same one, and the room that it takes.
#ifndef HS_CLI_PLAN_H
#define HS_CLI_PLAN_H

#include "analyses/observer.h"
#include "cli/edits.h"
#include "cli/session.h"
#include "db/record.h"

typedef struct hs_plan_request {
    hs_opt_list observe, span;
    const char *maps, *acts; // NULL: none
    int store, bos;
    int64_t generate, seed;
} hs_plan_request;

typedef struct hs_plan {
    hs_plan_request ask;
    hs_dims dims;
    hs_observe_list observe;
    hs_heads maps;      // of --maps, and of patterns among --acts
    int64_t n_map;      // heads in it
    char first_map[24]; // "L5H1", the first of them
    uint64_t *acts;     // [n_layer + 1] sets of points
    bool all_logits;    // somebody wants the logits of every row
} hs_plan;

int hs_plan_open(hs_plan *plan, const hs_plan_request *ask, const hs_model *model) HS_MUST_USE;
void hs_plan_close(hs_plan *plan); // in any state, zero included

// What decides the results, as JSON: equal text means the same run, for --resume.
void hs_plan_json(hs_buf *out, const hs_plan *plan, const hs_model *model,
                  const hs_prompts *prompts, const hs_do *edits);
// The members of it that any run has: model, prompts, and how they are computed; the --span options.
void hs_subject_json(hs_jw *w, const hs_model *model, const hs_prompts *prompts);
void hs_span_json(hs_jw *w, const hs_opt_list *span);
// "kind":"head","n_unit":270,"units":a checksum of which ones.
void hs_units_json(hs_jw *w, const hs_units *units);
// The command line as a JSON array.
void hs_argv_json(hs_buf *out, const hs_call *call);
// Tells when maps and activations take much disk; HS_EIO when they cannot fit.
int hs_plan_room(const hs_plan *plan, const hs_call *call, const hs_prompts *prompts,
                 const char *db_path) HS_MUST_USE;

#endif
