// What the parts of `duo` share: check.c reads what is asked for, store.c runs it into the database,
// gates.c the search for gates, curve.c sets of heads; print.c and told.c tell what is
// there.
#ifndef HS_CLI_DUO_DUO_H
#define HS_CLI_DUO_DUO_H

#include "analyses/experiments/duo.h"
#include "cli/edits.h"
#include "cli/reader.h"
#include "cli/study.h"

typedef struct hs_duo_options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    const char *labels, *sparsity;
    int64_t sink, recent, steps, top, seed;
    double rate, price;
} hs_duo_options;

enum { HS_DUO_DRAWS = 5, HS_DUO_MOST_SHARES = 20 };
// Which KV heads stream, in the order of the table.
enum hs_duo_ranking {
    HS_DUO_LOWEST,
    HS_DUO_HIGHEST,
    HS_DUO_LOWEST_GATE,
    HS_DUO_HIGHEST_GATE,
    HS_DUO_RANDOM,
    HS_N_DUO_RANKING
};
extern const char *const hs_duo_rankings[HS_N_DUO_RANKING];

typedef struct hs_duo_work {
    const hs_call *call;
    const hs_duo_options *opt;
    const char *usual;        // data set where no prompts are given
    hs_prompt_options prompt; // with it
    hs_session session;
    hs_do spans; // of --span
    hs_dims dims;
    int n_kv; // KV heads of all layers
    hs_db *db;
    int64_t run;                            // once it is there
    double *probe;                          // [prompts][n_kv]
    double *gate;                           // [n_kv] once they are found; NULL: none
    int share[HS_DUO_MOST_SHARES], n_share; // percent, ascending; none: no sets
} hs_duo_work;

// Before the model is opened, and after; each names what does not fit.
int hs_duo_check_options(const hs_duo_options *) HS_MUST_USE;
int hs_duo_check_work(hs_duo_work *) HS_MUST_USE;
hs_duo_opts hs_duo_opts_of(const hs_duo_work *);

// All of the run, or what is left of it.
int hs_duo_store(hs_duo_work *) HS_MUST_USE;
// A value a KV head as a metric of its query heads; reason: where it is NaN.
int hs_duo_emit(const hs_duo_work *, const hs_emit *emit, const char *name, const double *value,
                const char *reason) HS_MUST_USE;
// The search for gates; the last prompt's emitter takes what it finds. Nothing without --steps.
int hs_duo_search_gates(hs_duo_work *, const hs_emit *emit) HS_MUST_USE;
// The sets, with all of the probe known; likewise.
int hs_duo_find_curve(hs_duo_work *, const hs_emit *emit) HS_MUST_USE;

int hs_duo_print(const hs_duo_work *) HS_MUST_USE;
// Of the sets: members of an object; a table and a sentence.
int hs_duo_json_curve(const hs_duo_work *, hs_jw *j) HS_MUST_USE;
int hs_duo_tell_curve(const hs_duo_work *) HS_MUST_USE;

#endif
