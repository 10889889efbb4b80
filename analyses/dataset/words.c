// What generators of data sets share; see words.h.
#include "analyses/dataset/words.h"

#include <string.h>

int hs_dataset_bos(int32_t *bos, const hs_prompts *to, const hs_tok *tok, const hs_args *args) {
    const char *wish = hs_args_text(args, "bos");
    const enum hs_bos policy = !strcmp(wish, "yes")  ? HS_BOS_YES
                               : !strcmp(wish, "no") ? HS_BOS_NO
                                                     : hs_prompts_bos(to);
    const bool add = policy == HS_BOS_YES || (policy == HS_BOS_AUTO && tok && hs_tok_adds_bos(tok));
    *bos = add && tok ? hs_tok_bos(tok) : -1;
    if (add && *bos < 0)
        return hs_fail(HS_EARG, "there is no BOS token to put in front: say bos=no");
    return HS_OK;
}
