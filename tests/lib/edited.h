// Runs of random models under --do specs, captured. Any failure ends the test.
#ifndef HS_TESTS_LIB_EDITED_H
#define HS_TESTS_LIB_EDITED_H

#include "hooks/intervention.h"
#include "tests/lib/laws.h"

enum { EDITED_SPECS = 8 };

typedef struct edited {
    const char *spec[EDITED_SPECS]; // ended by NULL
    const hs_span *span;
    int n_span;
    const hs_ref *ref; // what every edit that asks for a reference gets
    hs_context_opts opts;
    int64_t tile_rows;
    uint64_t points; // that are captured; 0: all
    int around;      // unedited sequences before the edited one, and as many after it
    int64_t step;    // rows an evaluation, over kept keys; 0: all at once
    int64_t prompt; // the first tokens, which are the edits' prompt, and the first evaluation where
                    // there are steps; 0: all, and a step as others
} edited;

// law_run under the edits: the first n tokens of a seed, all logits. It is sequence e->around; the
// others are of the seeds that follow.
void edited_run(cap *c, const hs_model *m, const edited *e, uint64_t seed, int64_t n);
// The code of opening the spec, and of checking it against a prompt of n tokens; 0 when it is fine.
int edited_try(const hs_model *m, const char *spec, int64_t n);
// A reference that is one capture: rows and maps of its sequence 0.
hs_ref edited_ref(cap *c, int64_t n_row);

#endif
