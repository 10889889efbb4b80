// Contrastive logits: against the prompt without a span, or with it changed.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_contrast = {
    .name = "contrast",
    .title = "logits against those of the prompt without a span",
    .about = "Rows behind the span get (1 + alpha) l - alpha l', with l' of the prompt without it "
             "(PAI, VCD), with its outlier tokens alone (DAMRO), or, added, with its tokens "
             "shuffled (RITUAL). No token is cut, as losses are measured; beta= cuts.",
    .reference = "Leng et al., Visual Contrastive Decoding, CVPR 2024; Liu et al., Paying More "
                 "Attention to Image (PAI), ECCV 2024; Gong et al., DAMRO, EMNLP 2024; Woo et al., "
                 "RITUAL, 2024",
    .specs = (const char *const[]){"contrast:{version},span={span},alpha={alpha},beta={beta},k={k}",
                                   NULL},
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "doc", 0, 0, NULL, "positions", "what is left out or changed"},
            {"alpha", HS_PARAM_TEXT, "0.1+0.25+0.5+1+2", 0, 0, NULL, "", "how strong it is"},
            {"version", HS_PARAM_TEXT, "without", 0, 0, NULL, "",
             "what l' is of: without, outliers or shuffled"},
            {"beta", HS_PARAM_TEXT, "0", 0, 0, NULL, "",
             "tokens below this share of the largest probability are cut; DAMRO: 0.1"},
            {"k", HS_PARAM_TEXT, "", 0, 0, NULL, "tokens", "outliers: how many are left"},
            {0}},
    .strength = "alpha",
    .span = "span",
    .by = HS_CALIBRATE_ALL,
    .usual = "two_choice",
};
