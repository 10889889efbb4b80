// Unedited runs that somebody looks at, one point of them.
#ifndef HS_ANALYSES_WATCHED_H
#define HS_ANALYSES_WATCHED_H

#include "hooks/hooks.h"
#include "model/context.h"

enum { HS_WATCH_ALL = -1 };

// Runs the sequences seq[0 .. n) one after the other, each alone, and shows the hook a point of one
// layer, the last that is run then, or of HS_WATCH_ALL. The hook's points are filled in here.
int hs_watched_run(const hs_model *model, enum hs_point point, int layer, hs_hook hook,
                   const hs_seq *seq, int64_t n) HS_MUST_USE;

#endif
