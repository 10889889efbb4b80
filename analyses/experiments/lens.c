// The lens as the database and the help know it; its engine is analyses/lens/.
#include "analyses/experiments/lens.h"

static const hs_metric metrics[] = {
    {"dla", "",
     "what the head adds to the logit of the token in question (less that of another one), mean "
     "over "
     "the positions asked for",
     HS_DIVERGING},
    {0},
};

static const hs_metric series[] = {
    {"dla_source", "",
     "what the head adds to the logit, by the position that it looks at; adds up to dla",
     HS_DIVERGING},
    {0},
};

// clang-format off
#define PLACE                                                                                      \
    {"position", "INTEGER", "tokens", "0-based, of the prompt"},                                   \
    {"layer", "INTEGER", "", "the residual after it; -1: what enters layer 0"}
#define SEEN                                                                                       \
    {"logit", "REAL", "", "its logit through the lens"},                                           \
    {"prob", "REAL", "", "its probability"}
// clang-format on
static const hs_column row_columns[] = {
    PLACE,
    {"point", "TEXT", "", "the hook point: blocks.L.hook_resid_post"},
    {"top", "INTEGER", "", "id of the token with the largest logit"},
    {"text", "TEXT", "", "its text"},
    SEEN,
    {"kl", "REAL", "nats", "KL(final || lens)"},
    {"rank", "INTEGER", "", "of the final token among the lens's logits, 0-based"},
    {"final_top", "INTEGER", "", "id of the token that the model says in the end"},
    {"final_text", "TEXT", "", "its text"},
    {0},
};
static const hs_column track_columns[] = {
    PLACE,
    {"token", "INTEGER", "", "id of the token that is followed"},
    {"text", "TEXT", "", "its text"},
    {"rank", "INTEGER", "", "among the lens's logits, 0-based"},
    SEEN,
    {0},
};
static const hs_column target_columns[] = {
    {"position", "INTEGER", "tokens", "0-based, of the prompt"},
    {"token", "INTEGER", "", "id of the token whose logit is attributed"},
    {"text", "TEXT", "", "its text"},
    {"minus", "INTEGER", "", "id of the one whose logit is taken off; NULL: none"},
    {"minus_text", "TEXT", "", "its text"},
    {"logit", "REAL", "", "what is attributed"},
    {0},
};
static const hs_column dla_columns[] = {
    {"position", "INTEGER", "tokens", "0-based, of the prompt"},
    {"part", "TEXT", "",
     "embed, head, mlp and bias (which add up to the logit), rest (what rounding leaves), neuron "
     "(a "
     "part of an mlp)"},
    {"layer", "INTEGER", "", "0-based; -1 of embed, bias and rest"},
    {"idx", "INTEGER", "", "head or neuron, 0-based; 0 of others"},
    {"value", "REAL", "", "what it adds to the logit"},
    {0},
};
static const hs_result_table tables[] = {
    {"row", row_columns, 2, "the logit lens, a row a position and layer"},
    {"track", track_columns, 3, "tokens through the layers"},
    {"target", target_columns, 1, "the logits that are attributed"},
    {"dla", dla_columns, 4, "what each part of the model adds to them"},
    {0},
};

const hs_experiment hs_experiment_lens = {
    .name = "lens",
    .title = "logit lens, token ranks through the layers, direct logit attribution",
    .about =
        "The residual of chosen positions, before the first layer and after each, through the "
        "model's own final norm and unembedding: what it would say if it stopped there, how far "
        "that is from what it says in the end, and the ranks of tokens on the way. Direct logit "
        "attribution splits a final logit, or the difference of two, into what the embeddings, "
        "each head and each MLP added to the residual, with the scale of the final norm as it "
        "was; neurons are parts of their MLP, and dla_source splits a head by the positions that "
        "it looks at.",
    .reference = "nostalgebraist 2020, 'interpreting GPT: the logit lens'; Elhage et al. 2021, 'A "
                 "Mathematical Framework for Transformer Circuits'; Li et al. 2025, VISTA (token "
                 "ranks)",
    .metrics = metrics,
    .series = series,
    .tables = tables,
};
