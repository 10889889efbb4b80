// The race as such, whatever is measured.
#ifndef HS_ANALYSES_SWEEP_RACE_H
#define HS_ANALYSES_SWEEP_RACE_H

#include "analyses/experiments/sweep.h"

// Changes of some units (numbers, ascending) on some prompts (numbers, ascending): change[n][n_unit].
typedef int (*hs_race_measure)(void *ctx, const int64_t *prompt, int64_t n, const int64_t *unit,
                               int64_t n_unit, double *change);

typedef struct hs_race_field {
    int64_t n_unit, n_prompt;
    int harm; // sign of the changes that count
    uint64_t seed;
    hs_race_measure measure;
    void *ctx;
} hs_race_field;

// As hs_sweep_race. Ties go to the unit of lower number.
int hs_race_run(const hs_race_field *field, const hs_race_opts *opts, hs_race_unit *out,
                hs_race_report *report) HS_MUST_USE;

#endif
