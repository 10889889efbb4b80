// Edge attribution patching (Syed et al. 2023): how much each edge of the model's graph carries of
// what tells the halves of a pair apart, all edges from two forward passes and one backward pass.
//
// The graph: who adds to the residual stream sends (the embedding, every head, every MLP), and who
// reads it later receives (queries of heads, keys and values of KV groups, MLPs, the logits). The
// score of an edge is what the metric would change, to first order, if the receiver alone were given
// the sender's output of the other half:
//     sum over positions of <sender(x') - sender(x), dM / d(what the receiver reads)>
// with the gradient of the receiver's own copy of the residual, through its norm. A sender's scores
// add up to its attribution as a node.
//
// Memory: d_model numbers a sender, layer's receiver and row of the prompts that go together; the
// scores of a prompt.
#ifndef HS_ANALYSES_EXPERIMENTS_EDGES_H
#define HS_ANALYSES_EXPERIMENTS_EDGES_H

#include "analyses/experiment.h"
#include "analyses/slope.h"
#include "hooks/units.h"

extern const hs_experiment hs_experiment_edges;

// Senders are numbered 0, the embedding (with learned positions), then layer by layer the heads and
// the MLP; receivers layer by layer queries, keys, values, the MLP, and last the logits. A model
// without MLPs has their numbers and no edges of theirs.
enum hs_node_kind {
    HS_NODE_EMBED,
    HS_NODE_HEAD,
    HS_NODE_MLP,
    HS_NODE_Q,
    HS_NODE_K,
    HS_NODE_V,
    HS_NODE_LOGITS
};
typedef struct hs_node {
    enum hs_node_kind kind;
    int layer, index; // -1 where there is none; index: head, of keys and values group
} hs_node;
int64_t hs_edge_senders(const hs_dims *);
int64_t hs_edge_receivers(const hs_dims *);
hs_node hs_edge_sender(const hs_dims *, int64_t i);
hs_node hs_edge_receiver(const hs_dims *, int64_t i);
// Senders that come before a receiver: numbers 0 .. n - 1.
int64_t hs_edge_before(const hs_dims *, const hs_node *receiver);

// Of one prompt, borrowed for the call.
typedef struct hs_edges_result {
    int64_t ord;
    double base;         // the effect, unedited
    const double *score; // [n_receiver][n_sender], NaN where there is no edge
} hs_edges_result;
typedef int (*hs_edges_fn)(void *ctx, const hs_edges_result *result);

// Scores the edges of the prompts ord[0 .. n), each against its other half, and hands them over in
// that order. slope: of the prompts, which must have pairs (HS_EARG). memory: bytes that go to a
// part of the work, 0: the default; results do not depend.
int hs_edges(const hs_slope *slope, int64_t memory, const hs_progress *progress, const int64_t *ord,
             int64_t n, hs_edges_fn fn, void *ctx) HS_MUST_USE;

#endif
