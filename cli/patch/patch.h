// headscope patch in parts: ways to patch are one file each, which check what they are asked for
// against model and pairs, store a run, and print what they read back; run.c is what they share.
#ifndef HS_CLI_PATCH_H
#define HS_CLI_PATCH_H

#include "analyses/experiments/patch.h"
#include "cli/answers.h"
#include "cli/edits.h"
#include "cli/out.h"
#include "cli/reader.h"
#include "cli/study.h"

typedef struct hs_patch_options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    const char *pos; // NULL: not said
    const char *point, *heads, *senders, *to;
    int64_t top, verify;
    double threshold;
    int metric;    // enum hs_effect
    int direction; // HS_PATCH_AUTO until a way is chosen
    int by;        // enum hs_patch_by
    bool grad_drop, path, edges, freeze_mlps;
} hs_patch_options;
enum { HS_PATCH_AUTO, HS_PATCH_DENOISE, HS_PATCH_NOISE };

// ---- the work ---------------------------------------------------------------------------------

typedef struct hs_patch_work {
    const hs_call *call;
    const hs_patch_options *opt;
    hs_session session; // its prompts are pairs
    hs_do edits;        // spans that edits may name
    hs_dims dims;
    hs_answers answers; // of 2 n_pair
    int64_t n_pair;
    const char *path; // of the database
    hs_db *db;        // NULL before the first run
} hs_patch_work;

// A way to patch. The first one that is wanted runs; a call has its prompts, answers of --metric and
// spans checked by then. `run` stores and prints.
typedef struct hs_patch_way {
    bool (*wanted)(const hs_patch_options *);
    int (*run)(hs_patch_work *);
    int direction; // unless one is asked for
} hs_patch_way;
extern const hs_patch_way hs_patch_way_path;  // senders along direct paths to receivers
extern const hs_patch_way hs_patch_way_edges; // all edges between them, estimated
extern const hs_patch_way hs_patch_way_cells; // one activation after the other; always wanted

// ---- run.c ------------------------------------------------------------------------------------

// Starts a run of an experiment over the pairs, or with --resume goes on with it; its prompts are
// the clean halves. what: members that decide, as hs_study_opts has it; metric and direction are
// added. Borrows `as`. Close with hs_study_close in any state.
int hs_patch_run_open(hs_study *, hs_patch_work *, const hs_analysis *as,
                      const char *what) HS_MUST_USE;
// The halves that run of the pairs that are left: prompts ord[0 .. *n), owned by the caller. full[i]
// of each of these pairs gets the metric of the half that lends, by the answers of the other.
int hs_patch_run_left(const hs_study *, const hs_patch_work *, int64_t **ord, int64_t *n,
                      double *full) HS_MUST_USE;
// HS_EARG for options that say how cells are patched, given with --path or --edges.
int hs_patch_no_cells(const hs_patch_options *, const char *way) HS_MUST_USE;

// ---- print.c ----------------------------------------------------------------------------------

// A row that is printed, as a query has it: columns unit, layer, head (NULL: none), position (NULL:
// the only place that was asked for), value, effect, recovered, reason, n, clean, corrupt, pairs,
// and, where there are estimates of GradDrop, grad_drop.
typedef struct hs_patch_row {
    char unit[HS_UNIT_NAME], position[64], reason[96];
    bool placed, number;           // it has a position; which is a number
    int64_t layer, head;           // head -1: none
    int64_t n, idx, place;         // pairs; idx and place: of the cell, in its options
    double value, effect;          // mean metric, and its change
    double recovered;              // NaN: for `reason`
    double grad_drop, percent;     // NaN: none
    double exact, exact_recovered; // of --verify, NaN: not measured
} hs_patch_row;
typedef struct hs_patch_rows {
    hs_patch_row *at; // owned
    int64_t n, pairs;
    double clean, corrupt; // means over all pairs
} hs_patch_rows;
int hs_patch_rows_read(hs_patch_rows *, const hs_patch_work *, int64_t run,
                       const char *query) HS_MUST_USE;
void hs_patch_rows_free(hs_patch_rows *);
// Prints the rows: JSON and CSV all of them, for people the --top of largest effect. title says what
// was done; query and figure (options of heatmap, NULL: none) what to look at next.
typedef struct hs_patch_words {
    const char *title, *query, *figure;
    const char *more; // JSON members that the object has besides ("\"to\":\"logits\""), NULL: none
} hs_patch_words;
int hs_patch_put(const hs_patch_work *, hs_patch_rows *rows, int64_t run,
                 const hs_patch_words *words) HS_MUST_USE;

#endif
