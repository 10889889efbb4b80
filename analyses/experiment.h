// An experiment drives many runs and says what it found with the same port as an observer. It is
// one file in analyses/experiments/ with one descriptor and one header for whoever calls it.
#ifndef HS_ANALYSES_EXPERIMENT_H
#define HS_ANALYSES_EXPERIMENT_H

#include "analyses/observer.h"

typedef struct hs_experiment {
    const char *name, *title, *about, *reference;
    const hs_metric *metrics, *series; // NULL: none
    const hs_result_table *tables;     // NULL: none
} hs_experiment;
extern const hs_experiment *const hs_experiments[]; // the registry that make writes; ended by NULL

#endif
