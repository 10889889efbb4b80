// What runs needle tests: a context whose first slot is the timeline of the tests, the rule that
// ends an answer, and a bar that counts the tests' tokens.
#ifndef HS_ANALYSES_RETRIEVE_DRIVE_H
#define HS_ANALYSES_RETRIEVE_DRIVE_H

#include "analyses/decode.h"
#include "analyses/experiments/retrieve.h"
#include "analyses/retrieve/timeline.h"

enum { HS_DRIVE_BESIDE = 24 }; // masked decodings side by side at most

typedef struct hs_drive {
    const hs_retrieve_opts *o;
    hs_dims dims;
    const hs_tok *tok; // NULL: none
    hs_context *context;
    hs_timeline line;
    int64_t *ord; // [n] the tests in the order of the walk
    int64_t n;
    const char *what;          // for the bar
    int64_t done, total, rows; // tokens: up to the test under way, of all, that are run now
} hs_drive;

// Options are borrowed. Close in any state, zero included.
int hs_drive_open(hs_drive *, const hs_retrieve_opts *o, int n_mask, const char *what) HS_MUST_USE;
void hs_drive_close(hs_drive *);
// The tests that are walked next.
int hs_drive_tests(hs_drive *, const int64_t *ord, int64_t n) HS_MUST_USE;
// Adds the bar's hook: without one nothing tells it how far an evaluation is.
int hs_drive_hook(hs_drive *, hs_hooks *hooks) HS_MUST_USE;
// Has the timeline hold a test's prompt but for its last token; *n_run tokens were run.
int hs_drive_seek(hs_drive *, int64_t ord, int64_t *n_run) HS_MUST_USE;
// Whether an answer ends with this token: one that ends a generation or holds a newline.
bool hs_drive_ends(const hs_drive *, int32_t id);
// The recall of a test's answer in what was said.
int hs_drive_recall(const hs_drive *, int64_t ord, const hs_decoding *said,
                    double *out) HS_MUST_USE;

#endif
