// ACT: hidden sinks shrink, in heads that answer better for it.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_act = {
    .name = "act",
    .title = "hidden sinks shrink, and the others receive what they had",
    .about = "Positions but the first whose column of a head's map holds much more than its share "
             "are hidden sinks; their weight is multiplied by beta, and the rest of the row "
             "receives what is freed. The paper has each head of the layers 2 to L-2 run alone on "
             "a calibration set and keeps those that beat the model as it is (--screen exact); by "
             "default heads are screened by gradients, and nested sets of them compete.",
    .reference = "Yu et al., Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large "
                 "Language Models without Training through Attention Calibration, ICML 2024, "
                 "arXiv:2406.15765",
    .specs = (const char *const[]){"act:@,rule={rule},alpha={alpha},thr={thr},min_rows={min_rows},"
                                   "beta={beta}",
                                   NULL},
    .params =
        (const hs_param[]){
            {"beta", HS_PARAM_TEXT, "0.2+0.4+0.6", 0, 0, NULL, "",
             "what the weight of hidden sinks is multiplied by; the paper: 0.4"},
            {"rule", HS_PARAM_TEXT, "alphaN", 0, 0, NULL, "",
             "alphaN: a column's mean beyond alpha / N, the paper; abs: beyond thr, its code"},
            {"alpha", HS_PARAM_TEXT, "", 0, 0, NULL, "", "of alphaN (default: the edit's, 5)"},
            {"thr", HS_PARAM_TEXT, "", 0, 0, NULL, "", "of abs (default: the edit's, 0.1)"},
            {"min_rows", HS_PARAM_TEXT, "", 0, 0, NULL, "rows",
             "columns seen by fewer rows are no sinks (default: the edit's, 1)"},
            {0}},
    .strength = "beta",
    .by = HS_CALIBRATE_HEADS,
    .first_layer = 2,
    .but_last = 1,
    .usual = "two_choice",
};
