// Two runs side by side, of one database or of two: what both measured, head by head, over the
// prompts that have the same id in both.
#ifndef HS_DB_DIFF_H
#define HS_DB_DIFF_H

#include "db/db.h"
#include "hooks/names.h"
#include "model/core/progress.h"

enum { HS_A, HS_B, HS_AB }; // the two runs

typedef struct hs_diff_prompt {
    char *label;                          // owned
    int64_t ord, id[HS_AB];               // ord: in run a; id: row ids
    int64_t n_token[HS_AB], n_row[HS_AB]; // tokens, decoded ones too; rows that have summaries
    bool same_tokens;
    double nll[HS_AB]; // see hs_diff_nll; NaN before
} hs_diff_prompt;

typedef struct hs_diff {
    hs_db *db[HS_AB]; // borrowed; may be the same
    int64_t run[HS_AB];
    hs_dims dims; // of run a; layers and heads are b's too
    hs_diff_prompt *prompt;
    int64_t n_prompt;
    int64_t n_alone[HS_AB]; // prompts whose id the other lacks
    bool same_model;        // equal fingerprints
} hs_diff;

// prompt: an id or number in run a; NULL = all that both have. HS_ENOTFOUND when nothing can be
// compared: models of other layers or heads, no prompt of the same id.
int hs_diff_open(hs_diff *out, hs_db *const db[HS_AB], const int64_t run[HS_AB],
                 const char *prompt) HS_MUST_USE;
void hs_diff_close(hs_diff *); // zeroed ones allowed

// What can be compared: the metrics that both have, by name; the row summaries as "rows.NAME"; and
// "maps" when both stored some. Owned: hs_diff_names_free.
typedef struct hs_diff_names {
    char **at;
    int n;
} hs_diff_names;
int hs_diff_names_read(hs_diff_names *out, const hs_diff *d) HS_MUST_USE;
void hs_diff_names_free(hs_diff_names *);

typedef struct hs_diff_head {
    double a, b;         // means over the prompts (rows.NAME: over all their rows; maps: NaN)
    double value;        // b - a; of maps the mean |difference|
    double mean_abs;     // mean |difference| of one prompt's metric, one row, one weight
    double largest;      // the difference of the largest magnitude, with its sign
    int64_t prompt, row; // where that is: index into hs_diff.prompt, query row (-1 of metrics)
    int64_t n, prompts;  // numbers and prompts compared; 0: none, and NaN above
} hs_diff_head;

typedef struct hs_diff_values {
    hs_diff_head *head; // [n_layer][n_head]
    double *prompt;     // [n_prompt] mean |difference| over the heads; NaN where there is none
} hs_diff_values;

// One of the names. Rows and maps are compared where the prompt has the same tokens in both.
// HS_ENOTFOUND when no number of that name is in both.
int hs_diff_read(hs_diff_values *out, const hs_diff *d, const char *name,
                 const hs_progress *progress) HS_MUST_USE;
void hs_diff_values_free(hs_diff_values *);

// Fills prompt[].nll where both stored logits: the mean of -ln p(next token) over the prompt.
int hs_diff_nll(hs_diff *d, const hs_progress *progress) HS_MUST_USE;

#endif
