// Curves through a few whole numbers, as many units as were edited together: between those that were
// tried they are straight.
#ifndef HS_CLI_FIGURES_STEPS_H
#define HS_CLI_FIGURES_STEPS_H

#include "cli/figures/figure.h"

// Lines 0 and 1 are the faint ends of a range, others have names.
enum { HS_STEPS_LOW, HS_STEPS_HIGH, HS_STEPS_FIRST, HS_STEPS_LINES = 6, HS_STEPS_MOST = 1 << 20 };

typedef struct hs_steps {
    hs_job *job;
    int64_t most;              // the largest number, at most HS_STEPS_MOST
    double *y[HS_STEPS_LINES]; // [most + 1], in the job's arena; NULL: not there
    int64_t at[HS_STEPS_LINES];
} hs_steps;

// The value of a line at x; numbers of a line go up. Those outside [0, most] are left out.
int hs_steps_add(hs_steps *, int line, int64_t x, double value) HS_MUST_USE;
// The lines that are there, in order; name[line - HS_STEPS_FIRST].
int64_t hs_steps_lines(const hs_steps *, const char *const *name, hs_fig_line out[HS_STEPS_LINES]);

#endif
