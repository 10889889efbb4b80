// headscope weights: its options, the tokens that copying scores are of, and what it prints.
#ifndef HS_CLI_WEIGHTS_WEIGHTS_H
#define HS_CLI_WEIGHTS_WEIGHTS_H

#include "analyses/experiments/weights.h"
#include "cli/reader.h"
#include "cli/study.h"

typedef struct hs_weights_options {
    hs_model_options model;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    hs_prompt_options prompt; // none are asked for
    hs_opt_list tokens;
    int64_t sample, length, top, composition, neurons, seed;
    const char *sort;
    int embed; // 0: token, 1: mlp0
} hs_weights_options;

// Ids, in the order given, or drawn and ascending.
typedef struct hs_token_list {
    int32_t *id; // owned
    int64_t n;
} hs_token_list;
// Of --tokens: texts that are one token each, or #ID, joined by commas. HS_EARG names those that are
// not, and those that are; HS_ERANGE an id outside the vocabulary.
int hs_token_list_parse(hs_token_list *out, const hs_opt_list *texts,
                        const hs_model *model) HS_MUST_USE;
// n tokens drawn from the vocabulary: words (a space and three ASCII letters or more), or where there
// are fewer of these than n, any but special tokens. n is cut to what there is.
int hs_token_list_draw(hs_token_list *out, int64_t n, uint64_t seed,
                       const hs_model *model) HS_MUST_USE;

typedef struct hs_weights_found {
    const hs_call *call;
    const hs_weights_options *opt;
    const hs_model *model;
    const hs_token_list *tokens;
    hs_source source; // the run, read back
} hs_weights_found;
int hs_weights_print(const hs_weights_found *) HS_MUST_USE;

#endif
