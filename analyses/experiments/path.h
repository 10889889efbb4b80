// Path patching: what a head or an MLP says to the output, or to chosen inputs of later heads, along
// direct paths only (Wang et al. 2023, appendix B; Goldowsky-Dill et al. 2023).
//
// Of a prompt x and the other half x' of its pair, for one sender at the positions P:
//     A  x' runs, and the sender's output is kept
//     B  x runs, and all is kept
//     C  x runs with the sender's output at P taken from A and every later head's output held at
//        what B has; MLPs and norms follow, unless MLPs are held too. What the receivers would be
//        given now is kept. With the logits as the receiver, this is the result
//     D  x runs, free, with the receivers at P given what C kept
// What a sender cannot reach, because it comes later, has effect 0 exactly.
//
// Cost: with heads held, an edit at P stays at P, so C runs the rows of P alone, each from the
// sender's layer to the highest receiver; D goes on from the lowest receiver, rows from P on.
#ifndef HS_ANALYSES_EXPERIMENTS_PATH_H
#define HS_ANALYSES_EXPERIMENTS_PATH_H

#include "analyses/experiments/sweep.h"

extern const hs_experiment hs_experiment_path;

// An input of a head: its query, or the key or value of a KV group.
typedef struct hs_receiver {
    int layer;
    enum hs_point point; // HS_Q, HS_K, HS_V
    int index;           // head of q, group of k and v
} hs_receiver;
typedef struct hs_receivers {
    hs_receiver *at; // owned; in order of layer, point, index, each once. n 0: the logits
    int n;
} hs_receivers;
// "logits", or inputs joined by '+' or ',': "L9H6.q", "L7H3.v+L7-8H*.k", "L7G1.v". Heads that share
// keys and values have one input between them: L7H3.k means its group's. HS_EARG for syntax,
// HS_ERANGE for what the model does not have.
int hs_receivers_parse(hs_receivers *out, const hs_dims *dims, const char *text) HS_MUST_USE;
void hs_receivers_free(hs_receivers *);
enum { HS_RECEIVER_NAME = 48 };
const char *hs_receiver_name(char out[HS_RECEIVER_NAME], const hs_receiver *r); // "L7G1.v"

typedef struct hs_path_opts {
    // Prompts with pairs, their answers, the senders (heads and MLPs) as units, effects, memory,
    // spans, progress; what it says of ops is not looked at.
    hs_sweep_opts sweep;
    const hs_receivers *to;
    const char *pos;  // P as pos= has it ("END"); NULL: all positions
    bool freeze_mlps; // pass C holds MLPs too
} hs_path_opts;
// Runs the prompts ord[0 .. n), ascending, each with its other half's senders; value[n_sender] of
// each goes to fn in that order, base is the unedited prompt's. HS_EARG for prompts without pairs,
// units of other kinds, and, of the logits as receiver and effects that are read at END, positions
// without END.
int hs_path(const hs_path_opts *, const int64_t *ord, int64_t n, hs_sweep_fn fn,
            void *ctx) HS_MUST_USE;

#endif
