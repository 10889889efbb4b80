// What runs needle tests: a context whose first slot is the timeline of the tests, the rule that
// ends an answer, a walk over tests that hands over what was found in their own order, and a bar
// that counts the tests' tokens.
#ifndef HS_ANALYSES_RETRIEVE_DRIVE_H
#define HS_ANALYSES_RETRIEVE_DRIVE_H

#include "analyses/decode.h"
#include "analyses/experiments/retrieve.h"
#include "analyses/retrieve/recall.h"
#include "analyses/retrieve/timeline.h"

enum {
    HS_DRIVE_BESIDE = 24, // decodings of one test side by side at most
    HS_DRIVE_WINDOW = 32, // tests that are walked before they are handed over at most
};

typedef struct hs_drive {
    const hs_retrieve_opts *o;
    hs_dims dims;
    const hs_tok *tok; // NULL: none
    hs_context *context;
    hs_timeline line;
    const char *what;          // for the bar
    int64_t done, total, rows; // tokens: up to the test under way, of all, that are run now
} hs_drive;

// Options are borrowed. n_set: decodings of a test from one prefill, 0: the timeline goes on itself.
// Close in any state, zero included.
int hs_drive_open(hs_drive *, const hs_retrieve_opts *o, int n_set, const char *what) HS_MUST_USE;
void hs_drive_close(hs_drive *);
// Adds the bar's hook: without one nothing tells it how far an evaluation is.
int hs_drive_hook(hs_drive *, hs_hooks *hooks) HS_MUST_USE;

// What is done with tests. Their places, 0 <= place < HS_DRIVE_WINDOW, are theirs from the run of
// their first pass until they are given.
typedef struct hs_drive_job {
    void *ctx;
    int n_pass; // times that each test is run; more than one share nothing of the timeline
    int (*run)(void *ctx, int pass, int64_t ord, int place);
    int (*give)(void *ctx, int place);
} hs_drive_job;
// The tests ord[0 .. n), ascending: run a window of neighbours at a time, in the order in which they
// share most, and given in their own as soon as those before them are done, so that whoever is
// stopped loses a window at most.
int hs_drive_walk(hs_drive *, const hs_drive_job *job, const int64_t *ord, int64_t n) HS_MUST_USE;

// Has the timeline hold a test's prompt but for its last token; *n_run tokens were run.
int hs_drive_seek(hs_drive *, int64_t ord, int64_t *n_run) HS_MUST_USE;
// Whether an answer ends with this token: one that ends a generation or holds a newline.
bool hs_drive_ends(const hs_drive *, int32_t id);
// How much of a test's answer is in what was said.
int hs_drive_mark(const hs_drive *, int64_t ord, const hs_decoding *said,
                  hs_marks *out) HS_MUST_USE;

#endif
