// Branches: other versions of prompts that go on beside them, with the same tokens (HS_REF_BRANCH).
//
// A branch is a timeline of a context that all branches of an edited run share. It runs only when its
// logits are asked for, up to the rows asked for, and keeps its keys and values from one evaluation
// to the next; what is told to follow the prompt replaces what was told before.
#ifndef HS_ANALYSES_BRANCH_H
#define HS_ANALYSES_BRANCH_H

#include "analyses/editing.h"

typedef struct hs_branches hs_branches;
int hs_branches_open(hs_branches **out, const hs_editing_opts *opts) HS_MUST_USE; // borrowed
void hs_branches_close(hs_branches *);

// A use: begin, want each branch, fill; then hs_branches_ref of each is good until the next begin.
// Those that are not wanted are forgotten.
void hs_branches_begin(hs_branches *);
// The branch that an edit (which outlives it) has of a prompt; one more for each time that it is
// wanted in this use. Looks for outliers at once.
int hs_branches_want(hs_branches *, const hs_edit *, const hs_edit_prompt *prompt) HS_MUST_USE;
int hs_branches_fill(hs_branches *) HS_MUST_USE;
// Of those of an edit and a prompt, the next: as often as it was wanted.
hs_ref hs_branches_ref(hs_branches *, const hs_edit *, int64_t ord);

#endif
