// Retrieval heads as the database and the help know them; their engine is analyses/retrieve/.
#include "analyses/experiments/retrieve.h"

static const hs_metric metrics[] = {
    {"retrieval", "",
     "hits while the answer was decoded over the needle's length: rows whose largest weight lies "
     "on "
     "the needle's token that is copied next; undefined on a test that was not passed",
     HS_SEQUENTIAL},
    {"retrieval_tf", "", "the same with the true answer given, on every test", HS_SEQUENTIAL},
    {"retrieval_soft", "",
     "weight on the needle's places of the token that is copied next, with the true answer given: "
     "mean over its tokens, on every test",
     HS_SEQUENTIAL},
    {"activation_frequency", "",
     "1 where retrieval is above 0, else 0: its mean is the share of passed tests", HS_SEQUENTIAL},
    {0},
};

static const hs_column test_columns[] = {
    {"kind", "TEXT", "", "needle or question"},
    {"passed", "INTEGER", "", "1: recall of a needle's answer, F1 of a question's, is above 0.5"},
    {"recall", "REAL", "", "share of the answer's words that were said (ROUGE-1, no stemmer)"},
    {"f1", "REAL", "", "harmonic mean of that and of the share of what was said (as in SQuAD)"},
    {"needle_from", "INTEGER", "position", "the answer in the prompt: its first token"},
    {"needle_to", "INTEGER", "position", "and the one after its last"},
    {"n_said", "INTEGER", "tokens", "decoded"},
    {"said", "TEXT", "", "what was decoded; ids where there is no tokenizer"},
    {"answer", "TEXT", "", "what was to be said"},
    {0},
};
static const hs_column masked_columns[] = {
    {"k", "INTEGER", "heads", "how many heads were masked"},
    {"ranking", "TEXT", "", "which: top (by retrieval) or random (none of the top ones)"},
    {"draw", "INTEGER", "", "number of the random set, 0-based"},
    {"kind", "TEXT", "", "needle or question"},
    {"test", "INTEGER", "", "number of the needle test, or of the question, in the run"},
    {"recall", "REAL", "", "share of the answer's words that were said"},
    {"f1", "REAL", "", "harmonic mean of that and of the share of what was said"},
    {0},
};
static const hs_result_table tables[] = {
    {"test", test_columns, 0, "a needle test or a question without masks"},
    {"masked", masked_columns, 3, "the same with heads masked"},
    {0},
};

const hs_experiment hs_experiment_retrieve = {
    .name = "retrieve",
    .title = "retrieval heads: whose strongest attention is on the token that is being copied",
    .about =
        "Needle tests: an answer stands in the prompt and is asked for at its end. While the model "
        "decodes greedily, a step is a hit of a head when its largest weight lies on a position of "
        "the answer in the prompt and that token is the one which is produced; the score is hits "
        "over the answer's length there, a mean over the tests that were passed, those where more "
        "than half of the answer's words were said. Teacher-forced scores are of all tests. Under "
        "masks, heads look at all they see alike from the prompt's last token on, the top ones by "
        "score against as many drawn from the others, on the tests and on questions about short "
        "passages; each has a prompt of its own.",
    .reference = "Wu et al., Retrieval Head Mechanistically Explains Long-Context Factuality, ICLR "
                 "2025, arXiv:2404.15574",
    .metrics = metrics,
    .tables = tables,
};
