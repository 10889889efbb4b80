// headscope sweep in parts: ask.c reads what is asked for, store.c sweeps into the database, race.c
// and prune.c are what their options say, print.c reads a run back and prints it.
#ifndef HS_CLI_SWEEP_H
#define HS_CLI_SWEEP_H

#include "analyses/experiments/sweep.h"
#include "cli/answers.h"
#include "cli/edits.h"
#include "cli/out.h"
#include "cli/reader.h"
#include "cli/study.h"
#include "db/expr.h"

enum { HS_BY_EXACT, HS_BY_GRADIENT, HS_BY_RACE };

typedef struct hs_sweep_options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    hs_opt_list op, metric;
    const char *units, *pos, *shard, *rank, *prune;
    int64_t top, control, seed;
    double delta, budget;
    int by; // HS_BY_*
} hs_sweep_options;

// ---- ask.c ----------------------------------------------------------------------------------

enum { HS_SWEEP_METRICS = 16, HS_SWEEP_OPS = 16, HS_METRIC_NAME = 48, HS_SWEEP_DRAWS = 100000 };

// A metric that was asked for: an effect, or a user's expression over effects.
typedef struct hs_sweep_metric {
    char name[HS_METRIC_NAME];
    char stored[HS_METRIC_NAME + 8]; // of heads in head_metric: "delta_nll"
    enum hs_effect effect;           // HS_N_EFFECT: an expression
    hs_expr *expr;
    char *text;     // of the expression
    uint64_t used;  // names of hs_sweep_values in it
    bool is_change; // it is about the change already (it says base_nll, kl or jsd)
} hs_sweep_metric;

typedef struct hs_sweep_op {
    char *op, *args; // as hs_sweep_opts has them; args NULL: none
    hs_buf edit;     // that of the first unit, as JSON, with all that decides what it does
} hs_sweep_op;

enum { HS_RANK_ASC, HS_RANK_DESC, HS_RANK_RANDOM, HS_N_RANK };
extern const char *const hs_rankings[HS_N_RANK];

// What is asked for, as far as it can be known without a model.
typedef struct hs_sweep_ask {
    const hs_sweep_options *opt;
    hs_sweep_op op[HS_SWEEP_OPS];
    int n_op;
    hs_sweep_metric metric[HS_SWEEP_METRICS];
    int n_metric;
    unsigned effects; // all that metrics need
    hs_shard shard;
    bool rank[HS_N_RANK]; // of --prune
    bool prune;
    int64_t rank_run; // of --rank, 0: the run just made
} hs_sweep_ask;
// Checks options against each other; close in any state, zero included.
int hs_sweep_ask_open(hs_sweep_ask *, const hs_sweep_options *) HS_MUST_USE;
void hs_sweep_ask_close(hs_sweep_ask *);
// The change of metric m that `value` is against `base`, both [HS_N_EFFECT]: *raw and *raw_base as
// they are stored, NaN where undefined.
int hs_sweep_measure(const hs_sweep_metric *m, const double *base, const double *value, double *raw,
                     double *raw_base) HS_MUST_USE;
// The sign of the change that the loss of a unit that matters brings.
int hs_sweep_harm(const hs_sweep_metric *m);

// ---- the work ---------------------------------------------------------------------------------

// A run that was made, or found complete.
typedef struct hs_sweep_made {
    int64_t run;
    const hs_sweep_op *op;
    const char *by; // exact, gradient, race, prune
    bool curve;     // of joint edits
} hs_sweep_made;

typedef struct hs_sweep_work {
    const hs_call *call;
    const hs_sweep_options *opt;
    hs_sweep_ask ask;
    hs_session session;
    hs_do edits; // spans and recorded runs that edits may name
    hs_dims dims;
    hs_units units;
    hs_answers answers; // of n_prompt
    int64_t n_prompt;   // in all
    int64_t n_mine;     // of the shard
    hs_buf path;        // of the database
    hs_db *db;
    hs_sweep_made made[2 * HS_SWEEP_OPS];
    int n_made;
} hs_sweep_work;

// Options of the engine for an op.
hs_sweep_opts hs_sweep_opts_of(const hs_sweep_work *, const hs_sweep_op *op);
// Checks ops, units and answers against the model and all prompts.
int hs_sweep_check(hs_sweep_work *) HS_MUST_USE;

// ---- store.c ----------------------------------------------------------------------------------

// A run under way, and the descriptor with the metrics of one's own.
typedef struct hs_sweep_run {
    hs_sweep_work *work;
    const hs_sweep_op *op;
    const char *by;
    bool curve;
    hs_study study;
    hs_analysis as;
    hs_metric metrics[HS_SWEEP_METRICS + 1];
    char about[HS_SWEEP_METRICS][160];
} hs_sweep_run;
// by: "exact", "gradient", "race" or "prune"; more: further members for the options, begun with a
// comma, or "". Starts the run, or with --resume goes on with it.
int hs_sweep_run_open(hs_sweep_run *, hs_sweep_work *, const hs_sweep_op *op, const char *by,
                      const char *more) HS_MUST_USE;
// Ends it by rc, which is returned (with how to resume for HS_ESTOP); adds its number to the work's.
int hs_sweep_run_close(hs_sweep_run *, int rc) HS_MUST_USE;
// The key columns of a unit and metric.
void hs_sweep_key(hs_value out[4], const hs_unit *unit, const char *metric);

// Sweeps all prompts of the shard that are left, exactly or by gradients.
int hs_sweep_store(hs_sweep_work *, const hs_sweep_op *op) HS_MUST_USE;

// ---- race.c, prune.c --------------------------------------------------------------------------

int hs_sweep_store_race(hs_sweep_work *, const hs_sweep_op *op) HS_MUST_USE;
// The curves of an op, ordered by the importance that run `by` found.
int hs_sweep_store_curve(hs_sweep_work *, const hs_sweep_op *op, int64_t by) HS_MUST_USE;

// ---- print.c ----------------------------------------------------------------------------------

// Prints what the runs of the work found, read from the database.
int hs_sweep_print(const hs_sweep_work *) HS_MUST_USE;

#endif
