// Edge attribution as the database and the help know it; its engine is analyses/path/.
#include "analyses/experiments/edges.h"

static const hs_metric series[] = {
    {"edge_q", "", "scores of the edges into the head's query, by number of the sender",
     HS_DIVERGING},
    {"edge_k", "", "the same into a KV group's keys; the group is in the place of heads",
     HS_DIVERGING},
    {"edge_v", "", "the same into its values", HS_DIVERGING},
    {"edge_mlp", "", "the same into the layer's MLP", HS_DIVERGING},
    {"edge_logits", "", "the same into the logits, kept with the last layer", HS_DIVERGING},
    {0},
};
static const hs_column pair_columns[] = {
    {"metric", "TEXT", "", "logit_diff, prob, prob_diff or nll"},
    {"heads", "INTEGER", "", "query heads of a layer: its senders are these and the MLP"},
    {"groups", "INTEGER", "", "KV groups of a layer"},
    {"base", "REAL", "", "the metric of the half that runs, unedited"},
    {"clean", "REAL", "", "the metric of the clean half"},
    {"corrupt", "REAL", "", "the metric of the corrupted half, by the same answers"},
    {0},
};
static const hs_result_table tables[] = {
    {"pair", pair_columns, 1, "what the scores of a pair's edges are about"},
    {0},
};

const hs_experiment hs_experiment_edges = {
    .name = "edges",
    .title = "edge attribution: which connections carry what tells the halves of a pair apart",
    .about = "The score of an edge estimates, by gradients, what the metric would change if the "
             "receiver alone were given the sender's output of the other half, at all positions. "
             "Senders are the embedding, heads and MLPs, in this order through the layers; "
             "receivers queries of heads, keys and values of KV groups, MLPs and the logits. Read "
             "them with query circuit.",
    .reference = "Syed et al., Attribution Patching Outperforms Automated Circuit Discovery, 2023, "
                 "arXiv:2310.10348",
    .command = "patch --edges",
    .series = series,
    .tables = tables,
};
