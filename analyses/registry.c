// The registries of observers, experiments and data sets, from the lists of files that make writes.
#include <string.h>

#include "analyses/experiment.h"
#include "analyses/prompt.h"

#define HS_ENTRY(name) extern const hs_observer hs_observer_##name;
#include "gen/observers.inc"
#undef HS_ENTRY

#define HS_ENTRY(name) &hs_observer_##name,
const hs_observer *const hs_observers[] = {
#include "gen/observers.inc"
    NULL,
};
#undef HS_ENTRY

#define HS_ENTRY(name) extern const hs_experiment hs_experiment_##name;
#include "gen/experiments.inc"
#undef HS_ENTRY

#define HS_ENTRY(name) &hs_experiment_##name,
const hs_experiment *const hs_experiments[] = {
#include "gen/experiments.inc"
    NULL,
};
#undef HS_ENTRY

#define HS_ENTRY(name) extern const hs_dataset hs_dataset_##name;
#include "gen/datasets.inc"
#undef HS_ENTRY

#define HS_ENTRY(name) &hs_dataset_##name,
const hs_dataset *const hs_datasets[] = {
#include "gen/datasets.inc"
    NULL,
};
#undef HS_ENTRY

int hs_dataset_find(const char *spec) {
    const size_t n = hs_spec_name(spec);
    for (int i = 0; hs_datasets[i]; i++) {
        const char *name = hs_datasets[i]->name;
        size_t at = 0;
        while (at < n && name[at] && name[at] == (spec[at] == '-' ? '_' : spec[at])) at++;
        if (at == n && !name[at]) return i;
    }
    return -1;
}

// ---- observers and experiments alike -----------------------------------------------------------

hs_analysis hs_analysis_of(const hs_observer *o) {
    return (hs_analysis){o->name,   o->title,  o->about, o->reference, o->metrics,
                         o->series, o->tables, o,        NULL};
}

hs_analysis hs_analysis_of_experiment(const hs_experiment *e) {
    return (hs_analysis){e->name,      e->title,   e->about,
                         e->reference, e->metrics, e->series,
                         e->tables,    NULL,       e->command ? e->command : e->name};
}

bool hs_analysis_at(int i, hs_analysis *out) {
    for (int k = 0; hs_observers[k]; k++)
        if (i-- == 0) {
            *out = hs_analysis_of(hs_observers[k]);
            return true;
        }
    for (int k = 0; hs_experiments[k]; k++)
        if (i-- == 0) {
            *out = hs_analysis_of_experiment(hs_experiments[k]);
            return true;
        }
    return false;
}

const hs_metric *hs_analysis_metric(const char *name, hs_analysis *by) {
    hs_analysis a;
    for (int i = 0; hs_analysis_at(i, &a); i++)
        for (const hs_metric *m = a.metrics; m && m->name; m++)
            if (strcmp(m->name, name) == 0) {
                *by = a;
                return m;
            }
    return NULL;
}
