// Streaming heads (after DuoAttention, Xiao et al. 2024): which KV heads may forget all but the first
// keys and the last ones. A head that streams attends to keys j < sink and i - j < recent; all query
// heads of a group stream together, as they share their keys.
//
// The probe trains nothing: each group streams alone, and what that does to the final hidden state
// (after the final norm) of the label rows is measured. The gates are the paper's: all groups stream
// in part, and a search finds how much of each may, for one price a gate. KV heads are numbered
// layer * n_kv_head + group.
#ifndef HS_ANALYSES_EXPERIMENTS_DUO_H
#define HS_ANALYSES_EXPERIMENTS_DUO_H

#include "analyses/experiment.h"
#include "analyses/prompt.h"
#include "model/core/progress.h"

extern const hs_experiment hs_experiment_duo;

typedef struct hs_duo_opts {
    const hs_model *model;
    const hs_prompts *prompts;
    // Rows whose final hidden state counts, as pos= takes them; NULL: the span "qa" of prompts that
    // have one, else the last position.
    const char *labels;
    hs_spans spans;              // of --span
    int64_t sink, recent;        // recent >= 1: a row sees itself
    int64_t memory;              // bytes that work may take, 0: the default; results do not depend
    const hs_progress *progress; // NULL allowed
} hs_duo_opts;

// Whether streaming changes anything that is looked at: HS_ERANGE naming the first prompt whose
// label rows keep all their keys; as hs_places_resolve for labels that a prompt does not have.
int hs_duo_check(const hs_duo_opts *) HS_MUST_USE;

// What a prompt says of each KV head, [n_layer][n_kv_head], borrowed for the call.
typedef struct hs_duo_result {
    int64_t ord, n_label;
    // Squared change of the final hidden state when the group streams alone: mean over d and the
    // label rows.
    const double *probe;
    // |z' - z| / |z| in the streaming layer itself, which is the closed form z' = sum of A v over
    // kept keys / kept mass: mean over the group's heads and the rows that lose keys, up to the last
    // label row. NaN where z is 0 in all of them.
    const double *z_error;
} hs_duo_result;
typedef int (*hs_duo_fn)(void *ctx, const hs_duo_result *result);
// The prompts ord[0 .. n), ascending, each handed over when it is done. From its layer and its first
// changed row on, each group is an evaluation.
int hs_duo_probe(const hs_duo_opts *, const int64_t *ord, int64_t n, hs_duo_fn fn,
                 void *ctx) HS_MUST_USE;

// ---- gates --------------------------------------------------------------------------------------

// A second way, with training, as in the paper. Every KV head has a gate a in [0, 1]; all heads
// stream in a run whose heads say (1 - a) of what they see there and a of what they said in the
// unedited run. The gates minimise the mean squared change of the final hidden state of the label
// rows plus a price times their mean.

// That change on prompt ord, and its slope by each gate; gate, slope: [n_layer][n_kv_head].
int hs_duo_loss(const hs_duo_opts *, int64_t ord, const double *gate, double *loss,
                double *slope) HS_MUST_USE;

typedef struct hs_duo_search {
    const int64_t *ord; // [n] prompts, which take turns
    int64_t n, steps;
    double rate; // of Adam; rises to it over the first fifth of the steps, falls over the last
    double price;
} hs_duo_search;
typedef struct hs_duo_step {
    int64_t step, ord;
    double loss, mean, rate; // before the step: the change, the mean of the gates; its rate
    int64_t kept;            // gates of at least 1/2
} hs_duo_step;
typedef int (*hs_duo_step_fn)(void *ctx, const hs_duo_step *step);
// gate[n_layer][n_kv_head] after all steps, from 1 on. fn NULL: nobody is told of the steps.
int hs_duo_gates(const hs_duo_opts *, const hs_duo_search *, double *gate, hs_duo_step_fn fn,
                 void *ctx) HS_MUST_USE;

// ---- sets ---------------------------------------------------------------------------------------

typedef struct hs_duo_set {
    const int64_t *kv; // [n] KV heads that stream together
    int64_t n;
} hs_duo_set;
// Appends the mask of a set that is not empty, as --do takes it, about the rows from `from` on; 0:
// all, decoded ones too.
void hs_duo_mask(hs_buf *out, const hs_duo_opts *, const hs_duo_set *set, int64_t from);
// Loss of the prompts ord[0 .. n), nats a token, while each set streams: nll[n_set], of one prompt
// after the other. The empty set's is that of the unedited run.
typedef int (*hs_duo_curve_fn)(void *ctx, int64_t ord, const double *nll);
int hs_duo_curve(const hs_duo_opts *, const hs_duo_set *set, int n_set, const int64_t *ord,
                 int64_t n, hs_duo_curve_fn fn, void *ctx) HS_MUST_USE;

#endif
