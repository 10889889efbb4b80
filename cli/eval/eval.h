// What headscope eval finds of prompts, and how it says it.
#ifndef HS_CLI_EVAL_EVAL_H
#define HS_CLI_EVAL_EVAL_H

#include "analyses/quiz.h"
#include "cli/out.h"
#include "cli/score.h"

// The change of a measure under edits, with its paired bootstrap interval over prompts.
typedef struct hs_change {
    double value, low, high; // NaN ends of fewer than two prompts
    int64_t n;               // prompts that have the measure
} hs_change;

// What prompts that ask something were answered. Nothing is asked: told is 0.
typedef struct hs_asked {
    hs_quiz *quiz;
    unsigned told; // bits of measures
    bool edited;
    int64_t n;      // prompts
    double *value;  // [n][1 + edited][HS_N_MEASURE]: unedited, edited
    double *column; // [n] scratch
    hs_change change[HS_N_MEASURE];
} hs_asked;
// Reads what the prompts ask, decode and generate as in hs_quiz_opts; nothing is run. HS_EARG when
// effects (bits of --metric) mean other answers than these. Close in any state, zero included.
int hs_asked_open(hs_asked *, hs_session *session, unsigned effects, int64_t decode,
                  int64_t generate) HS_MUST_USE;
int hs_asked_run(hs_asked *, hs_session *session, const hs_do *edits) HS_MUST_USE;
void hs_asked_close(hs_asked *);
// A measure of prompts [from, to) together.
double hs_asked_total(const hs_asked *, enum hs_measure m, bool edited, int64_t from, int64_t to);
// Whether one prompt has a value of its own.
static inline bool hs_asked_by_prompt(const hs_asked *a, enum hs_measure m) {
    return a->told >> m & 1 && m != HS_MEASURE_F1;
}

// Names in JSON and CSV.
typedef struct hs_eval_key {
    const char *name, *baseline;
    const char *title; // of a column
} hs_eval_key;
extern const hs_eval_key hs_asked_keys[HS_N_MEASURE];

// All of it, with what to say.
typedef struct hs_eval {
    hs_scores scores;
    hs_asked asked;
    unsigned effects; // bits of --metric
    bool per_token;
} hs_eval;
int hs_eval_json(const hs_eval *) HS_MUST_USE;
int hs_eval_table(const hs_eval *, const hs_call *call, const hs_out_options *out) HS_MUST_USE;

#endif
