// What the parts of `calibrate` share: sets.c reads the two parts, check.c what is asked for, search.c
// finds what to try and tries it, prove.c compares on the held-out part, store.c puts both into the
// database, keep.c records some prompts before and after, print.c tells what is there.
#ifndef HS_CLI_CALIBRATE_CALIBRATE_H
#define HS_CLI_CALIBRATE_CALIBRATE_H

#include "analyses/experiments/calibrate.h"
#include "cli/edits.h"
#include "cli/reader.h"
#include "cli/study.h"

typedef struct hs_calibrate_options {
    hs_model_options model;
    hs_prompt_options prompt; // bos and span
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    const char *on, *held_out, *heads;
    int screen, objective;
    int64_t decode, keep, seed, screen_tokens;
} hs_calibrate_options;
enum { HS_CALIBRATE_GRADIENT, HS_CALIBRATE_EXACT };
enum { HS_CALIBRATE_AUTO, HS_CALIBRATE_CHOICE_NLL, HS_CALIBRATE_NLL };

// Sizes of the parts of a built-in set where n= is not given: so many items, and fewer, but eight at
// least, where they have more tokens than that together.
enum {
    HS_CALIBRATE_ITEMS = 32,
    HS_CALIBRATE_TOKENS = 4096,
    HS_CALIBRATE_HELD_OUT = 128,
    HS_CALIBRATE_HELD_TOKENS = 16384,
    HS_CALIBRATE_LEAST = 8,
};

typedef struct hs_calibrate_work {
    hs_call call; // without the method: what is left begins with the model
    const hs_call *whole;
    const hs_calibrate_options *opt;
    hs_calibrate method;
    hs_session session; // its prompts are the calibration part, then the held-out part
    int64_t n_on, n;    // items of the first, of both
    bool split;         // the parts are halves of one set
    hs_do spans;        // of --span
    hs_dims dims;
    enum hs_measure objective;
    hs_quiz *quiz, *decoding; // of all items: losses alone, and what is decoded too
    hs_heads heads;           // that may be chosen
    int *group;               // [n_layer * n_head] the spec that a head is for
    hs_db *db;
    int64_t run, kept[2]; // kept: the runs before and after, 0: none
    double seconds;

    // The search.
    double *estimate, *exact; // [n_strength][n_layer * n_head], NULL: not looked at
    hs_candidates candidates;
    double *loss; // [n_on][1 + candidates], NaN: not run
    // What was chosen: number of the candidate, from 1; 0: nothing.
    int64_t chosen;
    hs_buf chosen_text; // its specs, each ended by 0
    const char **chosen_spec;
    int n_chosen_spec;
    double *value; // [held-out items][2][HS_N_MEASURE] before and after
} hs_calibrate_work;

// The two parts into the session, whose model is opened.
int hs_calibrate_open_sets(hs_calibrate_work *) HS_MUST_USE;
// Before the model is opened, and after; each names what does not fit.
int hs_calibrate_check_options(const hs_calibrate_options *) HS_MUST_USE;
int hs_calibrate_check_work(hs_calibrate_work *) HS_MUST_USE;
// A spec as --do takes it, on every item.
int hs_calibrate_check_spec(const hs_calibrate_work *, const char *spec) HS_MUST_USE;

// What the method needs, the screen and the candidates.
int hs_calibrate_find(hs_calibrate_work *) HS_MUST_USE;
// Runs the candidates on items [done, n_on), which go to fn with value[1 + candidates] of the loss
// when they are done.
typedef int (*hs_calibrate_item_fn)(void *ctx, int64_t ord);
int hs_calibrate_race(hs_calibrate_work *, int64_t done, hs_calibrate_item_fn fn,
                      void *ctx) HS_MUST_USE;
// Chooses, once all items ran.
int hs_calibrate_choose(hs_calibrate_work *) HS_MUST_USE;
// The same from "SPEC --do SPEC", as it is stored.
int hs_calibrate_chosen(hs_calibrate_work *, int64_t candidate, const char *specs) HS_MUST_USE;
// Appends specs[n], joined by " --do ".
void hs_calibrate_join(hs_buf *out, const char *const *spec, int n);
// The held-out items [done, n) before and after.
int hs_calibrate_prove(hs_calibrate_work *, int64_t done, hs_calibrate_item_fn fn,
                       void *ctx) HS_MUST_USE;

// All of the run, or what is left of it; then what was chosen is known.
int hs_calibrate_store(hs_calibrate_work *) HS_MUST_USE;
// Records the first held-out prompts as they are and calibrated.
int hs_calibrate_keep(hs_calibrate_work *) HS_MUST_USE;
int hs_calibrate_print(const hs_calibrate_work *) HS_MUST_USE;

#endif
