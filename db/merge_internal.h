// The parts of a merge: merge.c finds what belongs together, merge_rows.c copies it.
#ifndef HS_DB_MERGE_INTERNAL_H
#define HS_DB_MERGE_INTERNAL_H

#include "db/apply_internal.h"
#include "db/merge.h"
#include "db/record_internal.h"

// A run of one of the files that is a shard.
typedef struct hs_merge_shard {
    hs_db *db; // borrowed
    int64_t run, n_prompt, shard, n_shard;
    char *whole;   // options of the whole run
    char *version; // that wrote it
    bool complete;
} hs_merge_shard;

// The shards of one run.
typedef struct hs_merge_set {
    const hs_merge_shard **at; // [n] by number; NULL: not there yet
    int64_t n;
} hs_merge_set;

// The run of a set, whole: its model, edits and descriptions, then its prompts in order, one
// transaction each. *done counts prompts, for progress.
int hs_merge_run(hs_db *to, const hs_merge_set *set, int64_t *done, int64_t total,
                 const hs_progress *progress) HS_MUST_USE;

#endif
