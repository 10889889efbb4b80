// The registries of observers and data sets, from the lists of files that make writes.
#include "analyses/observer.h"
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

#define HS_ENTRY(name) extern const hs_dataset hs_dataset_##name;
#include "gen/datasets.inc"
#undef HS_ENTRY

#define HS_ENTRY(name) &hs_dataset_##name,
const hs_dataset *const hs_datasets[] = {
#include "gen/datasets.inc"
    NULL,
};
