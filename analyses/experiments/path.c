// Path patching as the database and the help know it; its engine is analyses/path/.
#include "analyses/experiments/path.h"

static const hs_metric metrics[] = {
    {"path_effect", "",
     "change of the run's metric when what the head says along a path is patched", HS_DIVERGING},
    {0},
};
static const hs_column sender_columns[] = {
    {"kind", "TEXT", "", "head, group or mlp"},
    {"layer", "INTEGER", "", "0-based"},
    {"idx", "INTEGER", "", "head or group, 0-based; 0 of MLPs"},
    {"value", "REAL", "", "the run's metric with the sender's path patched"},
    {"base", "REAL", "", "the metric of the half that runs, unedited"},
    {"clean", "REAL", "", "the metric of the clean half"},
    {"corrupt", "REAL", "", "the metric of the corrupted half, by the same answers"},
    {0},
};
static const hs_result_table tables[] = {
    {"sender", sender_columns, 3, "what patching a sender's direct path does to a prompt"},
    {0},
};

const hs_experiment hs_experiment_path = {
    .name = "path",
    .title = "path patching: what heads say to the output, or to inputs of later heads, directly",
    .about = "A head's (or MLP's) output is taken from the other half of a pair, all later heads "
             "are held at what they say unedited while MLPs and norms follow, and what the "
             "receivers would be given then is put into a run that is free otherwise. Receivers "
             "are the logits, or queries, keys and values of heads; keys and values belong to the "
             "KV group. A sender that comes after the receivers has effect 0.",
    .reference = "Wang et al., Interpretability in the Wild, ICLR 2023, appendix B; Goldowsky-Dill "
                 "et al., Localizing Model Behavior with Path Patching, 2023",
    .command = "patch --path",
    .metrics = metrics,
    .tables = tables,
};
