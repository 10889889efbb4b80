// An experiment drives many runs and says what it found with the same port as an observer. It is
// one file in analyses/experiments/ with one descriptor and one header for whoever calls it.
#ifndef HS_ANALYSES_EXPERIMENT_H
#define HS_ANALYSES_EXPERIMENT_H

#include "analyses/observer.h"

typedef struct hs_experiment {
    const char *name, *title, *about, *reference;
    const char *command; // that runs it, as "patch --path"; NULL: its name is a command's
    const hs_metric *metrics, *series; // NULL: none
    const hs_result_table *tables;     // NULL: none
} hs_experiment;
extern const hs_experiment *const hs_experiments[]; // the registry that make writes; ended by NULL

// An observer or an experiment, as those see it who keep its results, read, list or explain them.
typedef struct hs_analysis {
    const char *name, *title, *about, *reference;
    const hs_metric *metrics, *series;
    const hs_result_table *tables;
    const hs_observer *observer; // NULL: an experiment
    const char *command;         // that runs it; NULL: it is an observer
} hs_analysis;
hs_analysis hs_analysis_of(const hs_observer *);
hs_analysis hs_analysis_of_experiment(const hs_experiment *);
// Analysis i of all, observers first; false past the last.
bool hs_analysis_at(int i, hs_analysis *out);
// The one that gives a metric; NULL, and *by is left alone, when none does.
const hs_metric *hs_analysis_metric(const char *name, hs_analysis *by);

#endif
