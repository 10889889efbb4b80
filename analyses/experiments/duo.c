// Streaming heads as the database and the help know them; the engine is analyses/duo/.
#include "analyses/experiments/duo.h"

static const hs_metric metrics[] = {
    {"duo_probe", "",
     "squared change of the final hidden state when only this head's group streams: mean over its "
     "numbers and the label rows",
     HS_SEQUENTIAL},
    {"duo_z_error", "",
     "|z' - z| / |z| when the group streams, at the layer itself: mean over its heads and the rows "
     "that lose keys",
     HS_SEQUENTIAL},
    {"duo_gate", "",
     "gate of the head's group after the search, 0 (streams) to 1; of the whole run, kept with its "
     "last prompt",
     HS_SEQUENTIAL},
    {0},
};

static const hs_column prompt_columns[] = {
    {"n_label", "INTEGER", "rows", "how many rows' final hidden states count"},
    {0},
};
static const hs_column course_columns[] = {
    {"step", "INTEGER", "", "of the search, 0-based"},
    {"test", "INTEGER", "", "number of the prompt in the run"},
    {"loss", "REAL", "", "squared change of the final hidden state, mean, before the step"},
    {"mean_gate", "REAL", "", "mean of the gates"},
    {"n_open", "INTEGER", "KV heads", "gates of at least a half"},
    {"rate", "REAL", "", "of the step"},
    {0},
};
static const hs_column curve_columns[] = {
    {"share", "INTEGER", "%", "share of the KV heads that stream"},
    {"ranking", "TEXT", "",
     "which: lowest or highest by the probe, lowest_gate or highest_gate, or random"},
    {"draw", "INTEGER", "", "number of the random set, 0-based"},
    {"test", "INTEGER", "", "number of the prompt in the run"},
    {"streaming", "INTEGER", "KV heads", "how many these are"},
    {"nll", "REAL", "nats/token", "loss of the prompt"},
    {"recall", "REAL", "", "share of the answer's words that were said"},
    {0},
};
static const hs_result_table tables[] = {
    {"prompt", prompt_columns, 0, "what was looked at in a prompt"},
    {"course", course_columns, 1,
     "the search for gates; of the whole run, kept with its last prompt"},
    {"curve", curve_columns, 4,
     "all prompts while sets of KV heads stream; of the whole run, kept with its last prompt"},
    {0},
};

const hs_experiment hs_experiment_duo = {
    .name = "duo",
    .title = "streaming heads: which KV heads may forget all but the first and the last keys",
    .about = "A KV head streams when its group of query heads sees the first keys (the sink) and "
             "the recent ones only. The probe has each stream alone, and measures what that does "
             "to the final hidden state of the label rows, those that ask for what stands far "
             "back. Gates say the same of all heads together: a search finds how much of each may "
             "stream at a price for what may not. Values are of KV heads: all query heads of a "
             "group have their group's.",
    .reference = "Xiao et al., DuoAttention: Efficient Long-Context LLM Inference with Retrieval "
                 "and Streaming Heads, ICLR 2025, arXiv:2410.10819",
    .metrics = metrics,
    .tables = tables,
};
