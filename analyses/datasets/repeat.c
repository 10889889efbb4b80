// Repeated random tokens, [BOS] r_1..r_K r_1..r_K ...: the standard probe for induction and
// duplicate-token heads (Olsson et al. 2022) and for RazorAttention's scores. Ids are uniform over
// the tokens that are not special and stand for some bytes; without a tokenizer over all ids.
#include <stdlib.h>

#include "analyses/dataset/words.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { MAX_TOKENS = 1 << 24 };

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
    int rc = hs_dataset_bos(&bos, out, tok, args);
    if (!rc) rc = hs_dataset_ids(&ids, &n_id, tok, n_vocab, 1);
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
    HS_DATASET_PARAMS("1"),
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
