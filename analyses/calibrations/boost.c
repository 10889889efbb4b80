// More attention to a span: PAI's edit with heads chosen one by one.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_boost = {
    .name = "boost",
    .title = "more attention to a span",
    .about = "Scores of the span's keys rise by a share of their size, in rows behind it. PAI "
             "edits all heads of all layers but the first two, at alpha 0.5 or 0.6; here heads are "
             "chosen by what the answers gain.",
    .reference = "Liu et al., Paying More Attention to Image, ECCV 2024; Arif et al., Fixing "
                 "Imbalanced Attention to Mitigate In-Context Hallucination of Large "
                 "Vision-Language Models, 2025",
    .specs = (const char *const[]){"boost:{span},alpha={alpha},rows={rows},heads=@", NULL},
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "doc", 0, 0, NULL, "positions", "what gets more attention"},
            {"alpha", HS_PARAM_TEXT, "0.1+0.3+0.7", 0, 0, NULL, "",
             "what a score gains, as a share of its size"},
            {"rows", HS_PARAM_TEXT, "after", 0, 0, NULL, "",
             "after: rows behind the span; last: the prompt's last and decoded ones, as the "
             "papers; all"},
            {0}},
    .strength = "alpha",
    .span = "span",
    .by = HS_CALIBRATE_HEADS,
    .first_layer = 2,
    .usual = "two_choice",
};
