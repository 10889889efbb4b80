// Merging: the databases of shards (record.h) as one. The runs of the new file are those that one
// process would have recorded, equal in every table, row ids included, but for columns that tell
// times and command lines.
#ifndef HS_DB_MERGE_H
#define HS_DB_MERGE_H

#include <stdint.h>

#include "model/core/err.h"
#include "model/core/progress.h"

typedef struct hs_merge_report {
    int64_t runs, prompts; // of the new file
    int64_t left_out;      // runs of the files that are whole ones: they are not shards
} hs_merge_report;

// Writes `out` beside its place and renames it; a file that is there is never replaced (HS_EIO).
// The shards of a run may be in any order; every file holds shards of the same runs. HS_E says what
// differs between the files (model, prompts, version, options) or which shard comes twice,
// HS_ENOTFOUND which one is missing or unfinished. progress may be NULL.
int hs_merge(const char *out, const char *const *in, int n_in, hs_merge_report *report,
             const hs_progress *progress) HS_MUST_USE;

#endif
