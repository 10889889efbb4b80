// Sweeps without a model: made-up numbers that depend on prompt and unit only, written as the command
// writes those of the engine.
#ifndef HS_TESTS_SWEEPRUN_H
#define HS_TESTS_SWEEPRUN_H

#include "db/db.h"
#include "tests/lib/dbrun.h"

// Heads of dbrun_dims, metric nll. Each prompt is looked at twice; the second look has one unit only.
typedef struct sweeprun {
    const char *options[3]; // of each run, ended by NULL
    int n_prompt, shard, n_shard;
    int stop_after; // prompts of the last run; 0: all
    bool resume;
} sweeprun;
double sweeprun_base(int ord);
double sweeprun_value(int ord, int layer, int head); // NaN of L*H2 on prompt 3

int sweeprun_one(hs_db *db, const sweeprun *s, const char *options, int stop); // one run
void sweeprun_add(const char *path, const sweeprun *s); // all of its runs into a database

#endif
