// What a run of `retrieve` holds, read back from the database, and the sentence about its masks.
#ifndef HS_CLI_RETRIEVE_FOUND_H
#define HS_CLI_RETRIEVE_FOUND_H

#include "cli/retrieve/retrieve.h"

typedef struct hs_found_head {
    char name[24];
    int64_t layer, head;
    double decoded, forced, soft, active, echo, induction;
} hs_found_head;

// Of one number of masked heads: means over tests, of the top heads, and over the random draws.
typedef struct hs_found_marks {
    int64_t n; // tests; 0: none
    double top, mean, sd, low, high, top_passed, passed;
} hs_found_marks;

typedef struct hs_found_mask {
    int64_t k, draws;
    hs_found_marks needle, question; // recall; F1
} hs_found_mask;

typedef struct hs_found {
    const hs_retrieve_work *w;
    hs_found_head *head; // [n_head], best first
    int64_t n_head, tests, passed;
    int64_t questions, answered; // without masks
    double f1;                   // their mean, NaN: there are none
    hs_found_mask *mask;         // [n_mask], of more and more heads
    int64_t n_mask;
} hs_found;

// Free in any case.
int hs_found_read(hs_found *, const hs_retrieve_work *) HS_MUST_USE;
void hs_found_free(hs_found *);
// Appends what masking did, if anything was masked.
void hs_found_verdict(const hs_found *, hs_buf *out);

#endif
