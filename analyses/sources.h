// What edits refer to of single prompts: rows and means of unedited runs, and recorded runs.
//
// A prompt without some of its positions is a source of its own, beside the whole one.
//
// Unedited runs keep all that any of the edits may ask of them, so that a sweep, which aims at the
// same prompts layer after layer, runs each prompt once. Those that an evaluation needs run together;
// those that it does not are dropped when there are many or they take much.
#ifndef HS_ANALYSES_SOURCES_H
#define HS_ANALYSES_SOURCES_H

#include "analyses/editing.h"
#include "analyses/cut.h"
#include "analyses/reference.h"

// What is there of one prompt.
typedef struct hs_source {
    const char *run;  // a recorded run; NULL: an unedited run of the prompt
    int64_t ord, use; // use: the last that it was wanted for
    hs_cut *cut;      // of an unedited run without some positions; NULL: whole
    hs_held *held;    // of an unedited run, NULL: nobody wants rows
    hs_ref left;      // of cut and held, by positions of the whole prompt
    hs_mean *mean;    // over the prompt, NULL: nobody wants it
    hs_ref recorded;
} hs_source;

typedef struct hs_sources {
    const hs_editing_opts *opts;
    hs_dims dims;
    uint64_t *held, *mean; // [n_layer + 1] points wanted of unedited runs: rows, means
    hs_heads maps;         // heads whose maps are
    bool any_held, any_mean;
    bool all_rows;  // else, of tensors, the last row of each prompt alone
    hs_source **at; // [n]
    int64_t n, use;
} hs_sources;
// opts are borrowed. Close in any state, zero included.
int hs_sources_open(hs_sources *s, const hs_editing_opts *opts, const hs_dims *dims) HS_MUST_USE;
void hs_sources_close(hs_sources *s);

// Before the first use: rows, or the mean, of these points and heads may be asked for.
void hs_sources_rows(hs_sources *s, const hs_ref_need *need);
void hs_sources_mean(hs_sources *s, const hs_ref_need *need);

// A use: begin, want each source, fill; then each one wanted has its values until the next begin.
void hs_sources_begin(hs_sources *s);
// gone: [n_token], the positions that are left out of an unedited run; NULL: none.
int hs_sources_want(hs_sources *s, const char *run, int64_t ord, const bool *gone,
                    hs_source **out) HS_MUST_USE;
int hs_sources_fill(hs_sources *s) HS_MUST_USE;

#endif
