// Calibration (after ACT, Yu et al. 2024, and others): heads and a strength of a method are found on
// one part of a set and proved on the other. What is tried: the heads that a screen ranks first, as
// nested sets, at every strength; what is believed: paired differences on items that nothing was
// chosen by.
#ifndef HS_ANALYSES_EXPERIMENTS_CALIBRATE_H
#define HS_ANALYSES_EXPERIMENTS_CALIBRATE_H

#include "analyses/calibration.h"
#include "analyses/experiment.h"

extern const hs_experiment hs_experiment_calibrate;

// ---- candidates ---------------------------------------------------------------------------------

// Heads at a strength.
typedef struct hs_candidate {
    int strength;
    int64_t n_head;    // 0: the method chooses none
    hs_heads heads;    //
    hs_buf text;       // its specs, each ended by 0
    const char **spec; // [n_spec] in there
    int n_spec;        //
} hs_candidate;

typedef struct hs_candidates {
    hs_candidate *at; // [n]
    int n;
} hs_candidates;

// estimate[n_strength][n_layer * n_head]: what each head alone is said to change the loss by, 0 or
// NaN: nothing. At each strength the heads with the largest gains, as sets of 1, 2, 4, ... 64 and of
// all that gain; none where no head does. NULL for methods that choose no heads: each strength once.
int hs_candidates_open(hs_candidates *out, const hs_calibrate *method, const hs_dims *dims,
                       const int *group, const double *estimate) HS_MUST_USE;
void hs_candidates_close(hs_candidates *);

// The race: after a quarter of the items the better half of the candidates goes on, after a half of
// them the better quarter, two at least. value[n_item][1 + n]: the loss of every item, the
// baseline's first, NaN where an item has none. Sets alive[n] of those that run on item `done`, or,
// once all are done, of those that ran on all; what lies before must be there.
void hs_candidates_alive(int n, const double *value, int64_t n_item, int64_t done, bool *alive);
// The item before which the next cut is made; n_item after the last.
int64_t hs_candidates_cut(int64_t n_item, int64_t done);
// Mean of column c over the items that have a loss.
double hs_candidates_mean(int n, const double *value, int64_t n_item, int c);
// The best of those that ran on all items, of equal ones the first; -1 when none beats the baseline.
int hs_candidates_best(int n, const double *value, int64_t n_item);

// ---- proof --------------------------------------------------------------------------------------

// An interval of fewer items leaves out 0 too often to be believed.
enum { HS_VERDICT_ITEMS = 20 };
enum hs_verdict { HS_VERDICT_NONE, HS_VERDICT_HELPS, HS_VERDICT_HARMS };
extern const char *const hs_verdicts[]; // "none", "helps", "harms"

// A measure of the same items twice.
typedef struct hs_gain {
    enum hs_measure measure;
    int64_t n; // items that have it both times
    double baseline, calibrated;
    double low, high; // of calibrated - baseline, NaN: too few items
    enum hs_verdict verdict;
} hs_gain;
// before, after: [n_item] numbers every ld doubles, NaN: none. The interval is of paired items; a
// difference is there when it leaves out 0.
int hs_gain_of(hs_gain *out, enum hs_measure measure, const double *before, const double *after,
               int64_t ld, int64_t n_item, uint64_t seed) HS_MUST_USE;
// "helps: choice_nll -0.031 [-0.052, -0.011] on 128 held-out items".
void hs_gain_text(hs_buf *out, const hs_gain *gain);

#endif
