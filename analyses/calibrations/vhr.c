// VHR: heads that a span moves most are made louder; the edit chooses them prompt by prompt.
#include "analyses/calibration.h"

// The paper's layers, as shares of the depth: the second and the last 14 of 32.
static void settle(const hs_dims *dims, const hs_args *args, hs_buf *found) {
    const int last = dims->n_layer - (14 * dims->n_layer + 16) / 32;
    if (*hs_args_text(args, "heads")) return;
    if (dims->n_layer < 3)
        hs_buf_str(found, "heads=L*H*");
    else
        hs_buf_printf(found, "heads=%sL%d-%dH*", last > 1 ? "L1H*+" : "", last, dims->n_layer - 1);
    hs_buf_chr(found, 0);
}

const hs_calibration hs_calibration_vhr = {
    .name = "vhr",
    .title = "heads that a span moves most, made louder",
    .about = "In each layer the heads whose output differs most with and without the span, at the "
             "prompt's last row, are multiplied by alpha. Heads are chosen by the edit, prompt by "
             "prompt; alpha is found on the calibration part. Layers are the paper's, the second "
             "and the last 14 of 32, as shares of the depth.",
    .reference = "He et al., Cracking the Code of Hallucination in LVLMs with Vision-aware Head "
                 "Divergence, ACL 2025, arXiv:2412.13949",
    .specs = (const char *const[]){"vhr:{heads},span={span},alpha={alpha},keep={keep},rows={rows}",
                                   NULL},
    .params = (const hs_param[]){{"span", HS_PARAM_TEXT, "doc", 0, 0, NULL, "positions",
                                  "what is left out"},
                                 {"alpha", HS_PARAM_TEXT, "1.1+1.3+1.6+2", 0, 0, NULL, "",
                                  "what heads are multiplied by; the paper: 2"},
                                 {"heads", HS_PARAM_TEXT, "", 0, 0, NULL, "heads",
                                  "that may be chosen (default: the paper's layers)"},
                                 {"keep", HS_PARAM_TEXT, "half", 0, 0, NULL, "heads",
                                  "half of a layer's heads, or how many"},
                                 {"rows", HS_PARAM_TEXT, "all", 0, 0, NULL, "",
                                  "all, or last: the prompt's last row and decoded ones"},
                                 {0}},
    .strength = "alpha",
    .span = "span",
    .by = HS_CALIBRATE_ALL,
    .usual = "two_choice",
    .settle = settle,
};
