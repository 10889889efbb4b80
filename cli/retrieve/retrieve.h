// What the parts of `retrieve` share: check.c reads what is asked for and what the prompts say of
// their needles, prompts.c adds those that are run under masks, store.c runs the tests into the
// database, mask.c the masked ones, echo.c the repeated tokens that come after them; found.c reads
// back what is there and judges it, print.c tells it.
//
// The run's prompts: the tests, the same again under masks, questions under masks, repeated tokens.
#ifndef HS_CLI_RETRIEVE_RETRIEVE_H
#define HS_CLI_RETRIEVE_RETRIEVE_H

#include "analyses/experiments/retrieve.h"
#include "cli/reader.h"
#include "cli/study.h"

typedef struct hs_retrieve_options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    const char *mask_k, *qa; // NULL: of the default those that fit
    int64_t max_new, top, seed;
    bool mask_all, no_share;
} hs_retrieve_options;

enum { HS_RETRIEVE_DRAWS = 5, HS_RETRIEVE_MOST_K = 32 };

typedef struct hs_retrieve_work {
    const hs_call *call;
    const hs_retrieve_options *opt;
    const char *usual;        // data set where no prompts are given
    hs_prompt_options prompt; // with it
    hs_session session;
    hs_dims dims;
    int64_t n_test, n_question;
    int64_t n_needle;   // tests, masked tests and questions: the first of the session's prompts
    hs_needle *needles; // [n_needle]
    int64_t n_head;     // of all layers
    int64_t k[HS_RETRIEVE_MOST_K], n_k; // ascending; none: nothing is masked
    hs_db *db;
    int64_t run;   // once it is there
    double *score; // [n_test][n_head] of decoding, NaN where the test was not passed
} hs_retrieve_work;

// Before the model is opened, and after; each names what does not fit.
int hs_retrieve_check_options(const hs_retrieve_options *) HS_MUST_USE;
int hs_retrieve_check(hs_retrieve_work *) HS_MUST_USE;
hs_retrieve_opts hs_retrieve_opts_of(const hs_retrieve_work *);

// Adds the tests under masks and the questions to the session's prompts, where anything is masked.
int hs_retrieve_add_masked(hs_retrieve_work *) HS_MUST_USE;

// All of the run, or what is left of it.
int hs_retrieve_store(hs_retrieve_work *) HS_MUST_USE;
// What was said unmasked on a test or a question, into its prompt.
typedef struct hs_retrieve_said {
    int64_t ord, n_said;
    const int32_t *said;
    double recall, f1;
} hs_retrieve_said;
int hs_retrieve_emit_said(const hs_retrieve_work *, const hs_emit *emit,
                          const hs_retrieve_said *said) HS_MUST_USE;
// The tests under masks and the questions, or what is left of them, with the tests' scores known.
int hs_retrieve_mask(hs_retrieve_work *, hs_study *study) HS_MUST_USE;

// Adds the prompt of repeated tokens to the session's, where the context has room for one, and runs
// it as the one after the tests.
int hs_retrieve_add_echo(hs_retrieve_work *) HS_MUST_USE;
int hs_retrieve_echo(hs_retrieve_work *, hs_study *study) HS_MUST_USE;

int hs_retrieve_print(const hs_retrieve_work *) HS_MUST_USE;

#endif
