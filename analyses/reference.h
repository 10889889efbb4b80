// Unedited runs, and what edits refer to of them: the rows of one prompt, or means over many.
#ifndef HS_ANALYSES_REFERENCE_H
#define HS_ANALYSES_REFERENCE_H

#include "analyses/prompt.h"
#include "hooks/intervention.h"
#include "model/core/progress.h"

// Rows of one prompt: tensors in memory, maps of chosen heads in an unlinked file under $TMPDIR
// (default /var/tmp), so that memory grows with the prompt's length and not with its square.
typedef struct hs_held hs_held;
// points: [n_layer + 1] sets; heads: whose maps, NULL: of all. Both are copied. beside: another one
// with the same points and heads, whose file they share, NULL: none. Tensors keep rows row0 ..
// n_row - 1, maps all before n_row. Row summaries cannot be held (HS_EARG). HS_EIO when the file
// cannot be made.
int hs_held_open(hs_held **out, const hs_dims *dims, const uint64_t *points, const hs_heads *heads,
                 int64_t row0, int64_t n_row, const hs_held *beside) HS_MUST_USE;
void hs_held_close(hs_held *);
int64_t hs_held_bytes(const hs_held *); // of memory and file
hs_ref hs_held_ref(hs_held *);          // valid until it is closed; so below

// Means of tensor points, summed in double in the order of prompts and positions: the same bits
// whatever the batching. Memory does not grow with the number of rows.
typedef struct hs_mean hs_mean;
// n_row 0: one mean over all positions; else one for each of n_row positions, over the prompts that
// reach it. HS_EARG for maps, which have no mean.
int hs_mean_open(hs_mean **out, const hs_dims *dims, const uint64_t *points,
                 int64_t n_row) HS_MUST_USE;
void hs_mean_close(hs_mean *);
hs_ref hs_mean_ref(hs_mean *);

// A prompt to run, and who is shown its rows (NULL: not wanted). A mean may be that of several.
typedef struct hs_unedited {
    const hs_prompt *prompt;
    hs_held *held;
    hs_mean *mean;
} hs_unedited;
// Runs them in order, in ragged batches, up to the highest layer that somebody wants.
int hs_unedited_run(const hs_model *model, const hs_unedited *seq, int64_t n,
                    const hs_progress *progress) HS_MUST_USE;

#endif
