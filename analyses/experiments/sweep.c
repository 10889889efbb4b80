// The head-importance sweep as the database and the help know it; its engine is analyses/sweep/.
#include "analyses/experiments/sweep.h"

static const hs_metric metrics[] = {
    {"delta_nll", "nats/token", "change of the loss when the head is edited", HS_DIVERGING},
    {"delta_kl", "nats/token", "KL divergence from the unedited output when the head is edited",
     HS_SEQUENTIAL},
    {"delta_jsd", "nats/token",
     "Jensen-Shannon divergence from the unedited output when the head is edited", HS_SEQUENTIAL},
    {"delta_logit_diff", "", "change of logit[answer] - logit[wrong] when the head is edited",
     HS_DIVERGING},
    {"delta_prob", "", "change of the answers' probability when the head is edited", HS_DIVERGING},
    {"delta_prob_diff", "",
     "change of the answers' probability less the wrong ones' when the head is edited",
     HS_DIVERGING},
    {"delta_accuracy", "", "change of the accuracy when the head is edited", HS_DIVERGING},
    {0},
};

// Of one metric: along heads and layers, KV groups, MLPs.
// clang-format off
#define ALONG(metric, unit, what)                                                                  \
    {"delta_" metric "_at", unit,                                                                  \
     "estimated change of " what " by each position of the head, or the layer", HS_DIVERGING},     \
    {"delta_" metric "_at_group", unit,                                                            \
     "estimated change of " what " by each position of the KV group, which is in the place of "    \
     "heads", HS_DIVERGING},                                                                       \
    {"delta_" metric "_at_mlp", unit,                                                              \
     "estimated change of " what " by each position of the layer's MLP", HS_DIVERGING}
// clang-format on
static const hs_metric series[] = {
    ALONG("nll", "nats/token", "the loss"),
    ALONG("logit_diff", "", "logit[answer] - logit[wrong]"),
    ALONG("prob", "", "the answers' probability"),
    ALONG("prob_diff", "", "the answers' probability less the wrong ones'"),
    {0},
};

// clang-format off
#define UNIT_COLUMNS                                                                               \
    {"kind", "TEXT", "", "head, group, layer, mlp or neuron"},                                     \
    {"layer", "INTEGER", "", "0-based"},                                                           \
    {"idx", "INTEGER", "", "head, group or neuron, 0-based; 0 of layers and MLPs"},                \
    {"metric", "TEXT", "", "nll, kl, jsd, logit_diff, prob, prob_diff, accuracy, or an own "        \
                           "expression"}
// clang-format on
static const hs_column unit_columns[] = {
    UNIT_COLUMNS,
    {"value", "REAL", "", "the metric with the unit edited, or its estimate by gradients"},
    {"base", "REAL", "", "the metric without"},
    {0},
};
static const hs_column curve_columns[] = {
    {"ranking", "TEXT", "", "which units go first: asc, desc (by importance) or random"},
    {"draw", "INTEGER", "", "number of the random order, 0-based"},
    {"removed", "INTEGER", "units", "how many are edited together"},
    {"metric", "TEXT", "", "as in sweep_unit"},
    {"value", "REAL", "", "the metric with them edited"},
    {0},
};
static const hs_column race_columns[] = {
    UNIT_COLUMNS,
    {"mean", "REAL", "", "change of the metric, over the prompts that were measured"},
    {"low", "REAL", "", "lower confidence bound of the mean"},
    {"high", "REAL", "", "upper confidence bound of the mean"},
    {"n", "INTEGER", "prompts", "measured"},
    {"member", "INTEGER", "", "1: among the top K"},
    {"settled", "INTEGER", "", "1: by the bounds; 0: by the mean"},
    {0},
};
static const hs_result_table tables[] = {
    {"unit", unit_columns, 4, "what editing one unit does to a prompt, raw numbers"},
    {"curve", curve_columns, 4, "joint edits of growing sets of units, on a prompt"},
    {"race", race_columns, 4, "the race for the top K, over all prompts; kept with the last one"},
    {0},
};

const hs_experiment hs_experiment_sweep = {
    .name = "sweep",
    .title = "head importance: every unit edited alone, and what that does to the output",
    .about =
        "Ablates, or otherwise edits, one head, KV group, layer or MLP at a time and measures "
        "the change of the output on every prompt, against the unedited run. Numbers of heads "
        "are metrics; those of all kinds of units are in the table sweep_unit, with the raw "
        "values. Joint edits of growing sets are in sweep_curve. The loss is the negative "
        "log-likelihood of the next token; KL is that of the edited distribution from the "
        "unedited one, KL(unedited || edited); Jensen-Shannon's is at most ln 2: means over "
        "the scored positions of a prompt. What is about the answer is measured at END; "
        "accuracy is 1 where an answer has the largest logit, else 0. Series are first-order "
        "estimates, by gradients, of what editing each position alone does; they add up to the "
        "unit's.",
    .reference = "Michel et al. 2019, arXiv:1905.10650",
    .metrics = metrics,
    .series = series,
    .tables = tables,
};
