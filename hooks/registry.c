// The registry of interventions, from the list of files that make writes.
#include <string.h>

#include "hooks/intervention.h"

#define HS_ENTRY(name) extern const hs_intervention hs_iv_##name;
#include "gen/interventions.inc"
#undef HS_ENTRY

#define HS_ENTRY(name) &hs_iv_##name,
const hs_intervention *const hs_interventions[] = {
#include "gen/interventions.inc"
    NULL,
};
#undef HS_ENTRY

const hs_intervention *hs_intervention_find(const char *name, size_t n) {
    for (int i = 0; hs_interventions[i]; i++)
        if (strlen(hs_interventions[i]->name) == n && !memcmp(hs_interventions[i]->name, name, n))
            return hs_interventions[i];
    return NULL;
}
