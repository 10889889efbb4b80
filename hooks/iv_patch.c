// patch: points take the values of another prompt or of a recorded run.
//
// Activation patching: denoising runs the corrupted prompt with values of the clean one, noising the
// other way round. Row i comes from row i, so the prompts should be of equal length and aligned.
// Patching a run with itself changes nothing.
#include <stdlib.h>
#include <string.h>

#include "hooks/copying.h"

static int open_patch(void **state, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    static const char prompt[] = "prompt:";
    const size_t n = sizeof prompt - 1;
    const char *from = hs_args_text(setup->args, "from");
    const bool is_pair = !strcmp(from, "pair"), is_prompt = !strncmp(from, prompt, n);
    need->from = is_prompt || is_pair ? HS_REF_PROMPT : HS_REF_RUN;
    need->name = is_prompt ? from + n : from;
    need->all_rows = true;
    if (is_prompt && !strcmp(need->name, "random"))
        return hs_fail(HS_EARG, "patch takes values of one prompt: give its id or number");
    if (!*need->name)
        return hs_fail(HS_EARG, "say where values come from: from=RUN, from=FILE.db:RUN or "
                                "from=prompt:ID");
    return hs_copying_open(state, setup, points, need);
}

const hs_intervention hs_iv_patch = {
    .name = "patch",
    .title = "puts values of another prompt or of a recorded run in place",
    .about =
        "Row i of each point takes the values of row i there: of another prompt of this run, "
        "which runs unedited, or of the prompt of the same id, else number, of a recorded run, "
        "which must hold the points (record --acts, --maps) of a prompt of the same length. "
        "heads= narrows points that have heads; keys and values go by groups. Rows that the "
        "other prompt does not have are left alone.",
    .reference = "Vig et al., Causal Mediation Analysis for Interpreting Neural NLP, 2020; Zhang "
                 "and Nanda, Towards Best Practices of Activation Patching, ICLR 2024",
    .example = "patch:z:5,heads=L5H1,from=prompt:1",
    .target = HS_TARGET_POINTS,
    .params = (const hs_param[]){{"from", HS_PARAM_TEXT, "", 0, 0, NULL, "",
                                  "RUN of this database, FILE.db:RUN, prompt:ID, a prompt of this "
                                  "run by id or number, or pair, the other half of a pair"},
                                 {0}},
    .open = open_patch,
    .close = free,
    .rows = hs_copying_rows,
    .tile = hs_copying_tile,
};
