// Repeated random tokens, [BOS] r_1..r_K r_1..r_K ...: the standard probe for induction and
// duplicate-token heads (Olsson et al. 2022) and for RazorAttention's scores. Ids are uniform over
// the tokens that are not special and stand for some bytes; without a tokenizer over all ids.
#include <stdlib.h>
#include <string.h>

#include "analyses/prompt.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { MAX_TOKENS = 1 << 24 };

// The ids to draw from.
static int list_ids(const hs_tok *tok, int64_t n_vocab, int32_t **out, int64_t *n) {
    const int64_t n_id = tok && (int64_t)hs_tok_n_vocab(tok) < n_vocab
                             ? (int64_t)hs_tok_n_vocab(tok)
                             : n_vocab;
    int rc = hs_alloc(out, (size_t)n_id, sizeof **out);
    if (rc) return rc;
    *n = 0;
    for (int32_t id = 0; id < n_id; id++) {
        size_t bytes = 1;
        if (tok) hs_tok_piece(tok, id, &bytes);
        if (bytes && !(tok && hs_tok_is_special(tok, id))) (*out)[(*n)++] = id;
    }
    if (*n) return HS_OK;
    free(*out);
    *out = NULL;
    return hs_fail(HS_EARG, "the vocabulary has no ordinary tokens");
}

// The BOS to put in front, -1 for none: the parameter, else the prompts' policy, else the
// tokenizer's own.
static int choose_bos(const hs_prompts *prompts, const hs_tok *tok, const char *wish,
                      int32_t *bos) {
    const enum hs_bos policy = !strcmp(wish, "yes")  ? HS_BOS_YES
                               : !strcmp(wish, "no") ? HS_BOS_NO
                                                     : hs_prompts_bos(prompts);
    const bool add = policy == HS_BOS_YES || (policy == HS_BOS_AUTO && tok && hs_tok_adds_bos(tok));
    *bos = add && tok ? hs_tok_bos(tok) : -1;
    if (add && *bos < 0)
        return hs_fail(HS_EARG, "there is no BOS token to put in front: say bos=no");
    return HS_OK;
}

static int repeat_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                           const hs_args *args) {
    const int64_t k = hs_args_int(args, "k"), copies = hs_args_int(args, "r");
    const int64_t n_prompt = hs_args_int(args, "n");
    hs_prng prng = hs_prng_seed((uint64_t)hs_args_int(args, "seed"));
    int32_t *ids = NULL, *tokens = NULL, bos;
    int64_t n_id;
    if (k > MAX_TOKENS / copies)
        return hs_fail(HS_EARG, "%lld copies of %lld tokens are too long a prompt",
                       (long long)copies, (long long)k);
    int rc = choose_bos(out, tok, hs_args_text(args, "bos"), &bos);
    if (!rc) rc = list_ids(tok, n_vocab, &ids, &n_id);
    if (!rc) rc = hs_alloc(&tokens, (size_t)(k * copies + 1), sizeof *tokens);
    for (int64_t i = 0; i < n_prompt && !rc; i++) {
        const int bos_len = bos >= 0;
        if (bos_len) tokens[0] = bos;
        for (int64_t j = 0; j < k * copies; j++)
            tokens[bos_len + j] = j < k ? ids[hs_prng_below(&prng, (uint64_t)n_id)]
                                        : tokens[bos_len + j - k];
        rc = hs_prompts_add_tokens(out, NULL, tokens, bos_len + k * copies, bos_len, k, NULL);
    }
    free(ids);
    free(tokens);
    return rc;
}

static const hs_param params[] = {
    {"k", HS_PARAM_INT, "50", 1, MAX_TOKENS, NULL, "tokens", "length of one copy"},
    {"r", HS_PARAM_INT, "2", 1, MAX_TOKENS, NULL, "copies", "copies in a prompt"},
    {"n", HS_PARAM_INT, "1", 1, 1e9, NULL, "prompts", "number of prompts"},
    {"seed", HS_PARAM_INT, "0", 0, 9e15, NULL, NULL, "the same seed gives the same prompts"},
    {"bos", HS_PARAM_ENUM, "auto", 0, 0, "auto|yes|no", NULL,
     "put the BOS token in front; auto: as --bos says"},
    {0},
};

const hs_dataset hs_dataset_repeat = {
    .name = "repeat",
    .title = "Repeated random tokens",
    .about = "Random token ids, the same ones again and again: attention to earlier copies cannot "
             "come from meaning. Feeds the stripes and echo scores.",
    .reference = "Olsson et al. 2022, arXiv 2209.11895",
    .params = params,
    .generate = repeat_generate,
};
