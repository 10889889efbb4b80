// Activation patching as the database and the help know it; its engine is analyses/patch/.
#include "analyses/experiments/patch.h"

static const hs_metric metrics[] = {
    {"patch_effect", "",
     "change of the run's metric when the head takes its value of the pair's other half",
     HS_DIVERGING},
    {0},
};

static const hs_metric series[] = {
    {"patch_effect_at", "",
     "change of the run's metric when one position of the head, or layer, takes its value of the "
     "pair's other half",
     HS_DIVERGING},
    {"patch_effect_at_group", "", "the same of the KV group, which is in the place of heads",
     HS_DIVERGING},
    {0},
};

static const hs_column cell_columns[] = {
    {"kind", "TEXT", "", "head, group or layer"},
    {"layer", "INTEGER", "", "0-based"},
    {"head", "INTEGER", "", "head or group, 0-based; 0 of layers"},
    {"place", "INTEGER", "", "number of the place as asked for; a position of each"},
    {"pos", "TEXT", "", "the place: END, S2, 12, all"},
    {"value", "REAL", "", "the metric with the cell patched, or its estimate by gradients"},
    {"base", "REAL", "", "the metric of the half that runs, unpatched"},
    {"clean", "REAL", "", "the metric of the clean half"},
    {"corrupt", "REAL", "", "the metric of the corrupted half"},
    {"grad_drop", "REAL", "", "size of the change as GradDrop estimates it; NULL: not asked for"},
    {0},
};
static const hs_result_table tables[] = {
    {"cell", cell_columns, 4, "what patching one cell does to a pair, raw numbers"},
    {0},
};

const hs_experiment hs_experiment_patch = {
    .name = "patch",
    .title = "activation patching: what tells a clean prompt from a corrupted one",
    .about =
        "Runs one half of a pair with one activation taken from the other half, and measures what "
        "of the other half's result comes with it: denoising puts clean values into the corrupted "
        "run, noising the other way round. What was patched is in the table patch_cell, with the "
        "metric of both halves; recovered is (patched - corrupt) / (clean - corrupt), a ratio of "
        "means over pairs. What is about the answer is measured at END. Of nll, kl and jsd, which "
        "are about all positions, the running half's tokens and its unedited run count. Estimates "
        "by gradients are first order; with atp, queries and keys go through the softmax as it "
        "really becomes.",
    .reference = "Zhang and Nanda 2024, arXiv:2309.16042; Kramar et al. 2024 (AtP*), "
                 "arXiv:2403.00745",
    .metrics = metrics,
    .series = series,
    .tables = tables,
};
