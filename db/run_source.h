// Recorded runs for edits: the activations and maps that they stored, and the interventions that
// they were under.
#ifndef HS_DB_RUN_SOURCE_H
#define HS_DB_RUN_SOURCE_H

#include "analyses/editing.h"
#include "db/db.h"

// A run is named "3", in the database at `path`, or "FILE.db:3". Databases are opened when they are
// first asked for and stay open until the end, for reading.
typedef struct hs_runs hs_runs;
int hs_runs_open(hs_runs **out, const char *path) HS_MUST_USE; // path is borrowed
void hs_runs_close(hs_runs *);

// Values of runs of models with these sizes (HS_EARG for runs of others). Besides what hs_run_source
// says: HS_ENOTFOUND for a run or prompt that is not there and, from the values, for what the run did
// not store; HS_EFORMAT for damage. Stored with --store f16 or u8, values are rounded.
hs_run_source hs_runs_source(hs_runs *, const hs_dims *dims);

// The specs of a run's interventions in order, each ended by NUL, appended to `out`; *n of them.
// HS_ENOTFOUND when it was under none.
int hs_runs_edits(hs_runs *, const char *run, hs_buf *out, int *n) HS_MUST_USE;

#endif
