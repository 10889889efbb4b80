// Calibration as the database and the help know it; the engine is analyses/calibrate/.
#include "analyses/experiments/calibrate.h"

static const hs_column head_columns[] = {
    {"strength", "INTEGER", "", "number of the strength, 0-based"},
    {"layer", "INTEGER", "", ""},
    {"head", "INTEGER", "", ""},
    {"setting", "TEXT", "", "the strength, as the parameters that say it"},
    {"estimate", "REAL", "nats",
     "about what the loss changes by when this head alone is edited, mean over the calibration "
     "part; NULL where heads were not screened by gradients"},
    {"exact", "REAL", "nats", "what it changes by; NULL where that was not run"},
    {0},
};
static const hs_column candidate_columns[] = {
    {"candidate", "INTEGER", "", "its number, from 1"},
    {"setting", "TEXT", "", "its strength, as the parameters that say it"},
    {"n_head", "INTEGER", "heads", "how many it edits; 0 where the method chooses none"},
    {"heads", "TEXT", "", "which"},
    {"spec", "TEXT", "", "what it is as --do takes it; several are joined by ' --do '"},
    {"items", "INTEGER", "", "of the calibration part that it ran on; the worse ones stop early"},
    {"baseline", "REAL", "nats", "mean loss of the unedited model on these items"},
    {"value", "REAL", "nats", "its own"},
    {"low", "REAL", "nats", "lower end of the 95 % bootstrap interval of the difference"},
    {"high", "REAL", "nats", "upper end"},
    {"chosen", "INTEGER", "", "1 for the one that was chosen"},
    {0},
};
static const hs_column item_columns[] = {
    {"candidate", "INTEGER", "", "number of the candidate, 0 for the unedited model"},
    {"measure", "TEXT", "", "what was measured"},
    {"part", "TEXT", "", "calibration or held_out"},
    {"value", "REAL", "", "the item's number"},
    {0},
};
static const hs_column verdict_columns[] = {
    {"measure", "TEXT", "", "what was measured on the held-out part"},
    {"objective", "INTEGER", "", "1 for the loss that the calibration was chosen by"},
    {"items", "INTEGER", "", "held-out items that have it"},
    {"baseline", "REAL", "", "of the unedited model"},
    {"calibrated", "REAL", "", "of the calibrated one; NULL when nothing was chosen"},
    {"low", "REAL", "", "lower end of the 95 % bootstrap interval of the difference"},
    {"high", "REAL", "", "upper end"},
    {"verdict", "TEXT", "", "helps, harms, or none: no difference that these items can show"},
    {0},
};
static const hs_result_table tables[] = {
    {"head", head_columns, 3,
     "what editing each head alone is worth on the calibration part; of the whole run, kept with "
     "the part's last item"},
    {"candidate", candidate_columns, 1,
     "what was tried on the calibration part; of the whole run, kept with the part's last item"},
    {"item", item_columns, 2, "what an item gave"},
    {"verdict", verdict_columns, 1,
     "the proof; of the whole run, kept with the last held-out item"},
    {0},
};

const hs_experiment hs_experiment_calibrate = {
    .name = "calibrate",
    .title = "calibrations: heads and strength found on one part of a set, proved on the other",
    .about = "A method edits heads; which ones, and how strongly, is found on the calibration "
             "part: heads are ranked by what their edit does to the loss, to first order, and "
             "nested sets of the best ones run at every strength. The best is compared with the "
             "unedited model on held-out items, with intervals of paired differences. Much is "
             "tried on the calibration part, so what is found there is claimed of the held-out "
             "part alone.",
    .reference = "Yu et al., Unveiling and Harnessing Hidden Attention Sinks, ICML 2024, "
                 "arXiv:2406.15765 (heads chosen on a calibration set)",
    .tables = tables,
};
