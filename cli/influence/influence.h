// headscope influence in parts: heads.c finds which heads are masked, print.c reads a run back and
// prints it; cli/cmd_influence.c has the run.
#ifndef HS_CLI_INFLUENCE_H
#define HS_CLI_INFLUENCE_H

#include "analyses/experiments/influence.h"
#include "cli/out.h"
#include "cli/reader.h"
#include "cli/study.h"

typedef struct hs_influence_options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    const char *heads, *by, *spare;
    int64_t from, top, control, seed;
} hs_influence_options;

// The sets of heads: those asked for, then random ones of as many of all, then of the others.
enum { HS_INFLUENCE_TOP, HS_INFLUENCE_RANDOM, HS_INFLUENCE_OTHERS, HS_N_INFLUENCE };
extern const char *const hs_influence_kinds[HS_N_INFLUENCE];
typedef struct hs_influence_set {
    int kind;
    int64_t draw, n_head;
    hs_buf heads;
} hs_influence_set;

typedef struct hs_influence_work {
    const hs_call *call;
    const hs_influence_options *opt;
    hs_session session;
    hs_influence_set *set; // [n_set]
    const char **name;     // [n_set] their heads
    int n_set;
    hs_db *db;
    int64_t run;
} hs_influence_work;

// Finds the heads and draws the random sets.
int hs_influence_sets(hs_influence_work *) HS_MUST_USE;
int hs_influence_print(const hs_influence_work *) HS_MUST_USE;

#endif
