// Sweeps over the models of laws: four prompts of different lengths, all with answers, some with
// several, and what the sweep found about each. Failures are cmocka's.
#ifndef HS_TESTS_LIB_LAWSWEEP_H
#define HS_TESTS_LIB_LAWSWEEP_H

#include "analyses/experiments/sweep.h"
#include "tests/lib/laws.h"

enum { N_PROMPT = 4 };
extern const int64_t all_prompts[N_PROMPT], prompt_tokens[N_PROMPT]; // how many

struct work {
    hs_model *model;
    hs_prompts *prompts;
    hs_answer answer[N_PROMPT];
    hs_units units;
    hs_sweep_opts opts; // op "zero"
};
// Takes the model over. effects: bits of enum hs_effect.
void open_work(struct work *w, hs_model *model, const char *units, unsigned effects);
void close_work(struct work *w);

// Begun with n_value alone.
struct results {
    int64_t n_value; // a prompt
    int n;
    int64_t ord[N_PROMPT];
    double base[N_PROMPT][HS_N_EFFECT], *value[N_PROMPT]; // by number of prompt
    double *at[N_PROMPT][HS_N_EFFECT];                    // [n_value][prompt_tokens[i]], NULL: none
};
int take_result(void *ctx, const hs_sweep_result *r); // an hs_sweep_fn of results
void free_results(struct results *r);

#endif
