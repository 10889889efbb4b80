// VISTA: steering towards what a span adds, and early layers in the logits.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_vista = {
    .name = "vista",
    .title = "steering towards what a span adds, early layers mixed into the logits",
    .about = "What the residual gains by the span at the prompt's last row is a direction for each "
             "layer; all rows behind are turned towards it by lambda, and a share gamma of the "
             "logits is what the lens reads before the last layer. Both go together, one strength "
             "after the other; 0 leaves one out.",
    .reference = "Li et al., The Hidden Life of Tokens: Reducing Hallucination of Large "
                 "Vision-Language Models via Visual Information Steering, ICML 2025",
    .specs = (const char *const[]){"vista:steer,span={span},lambda={lambda},rule={rule}",
                                   "vista:mix,gamma={gamma},w={w}", NULL},
    .params = (const hs_param[]){{"span", HS_PARAM_TEXT, "doc", 0, 0, NULL, "positions",
                                  "what is left out"},
                                 {"lambda", HS_PARAM_TEXT, "0.02+0.05+0.1+0.17", 0, 0, NULL, "",
                                  "how far rows turn; the paper: 0.17"},
                                 {"gamma", HS_PARAM_TEXT, "0+0.1+0.2+0.3", 0, 0, NULL, "",
                                  "share of the early layers, one for each lambda; the paper: 0.3"},
                                 {"rule", HS_PARAM_TEXT, "code", 0, 0, NULL, "",
                                  "code, simple or paper: what turns, how"},
                                 {"w", HS_PARAM_TEXT, "5", 0, 0, NULL, "layers",
                                  "how many before the last are mixed in"},
                                 {0}},
    .strength = "lambda+gamma",
    .span = "span",
    .by = HS_CALIBRATE_ALL,
    .usual = "two_choice",
};
