// "Found in the Middle": documents are looked at for what they say, in heads that answer better so.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_middle = {
    .name = "middle",
    .title = "the bias of their places is taken from documents",
    .about = "Rows behind the documents share what they give to them by how much each is looked at "
             "beyond what its place has alone, measured on each prompt with dummies in the "
             "documents. The paper edits all heads of the last 16 layers at one temperature; here "
             "heads are chosen by what the answers gain, and the temperature counts in the row's "
             "mean weight on documents.",
    .reference =
        "Hsieh et al., Found in the Middle: Calibrating Positional Attention Bias Improves "
        "Long Context Utilization, ACL Findings 2024, arXiv:2406.16008",
    .specs = (const char *const[]){"middle:@,docs={docs},bias={bias},dummy={dummy},rule={rule},"
                                   "t={t},by={by}",
                                   NULL},
    .params =
        (const hs_param[]){
            {"docs", HS_PARAM_TEXT,
             "doc1+doc2+doc3?+doc4?+doc5?+doc6?+doc7?+doc8?+doc9?+doc10?+doc11?+doc12?+doc13?+"
             "doc14?+doc15?+doc16?+doc17?+doc18?+doc19?+doc20?",
             0, 0, NULL, "positions", "the documents; NAME? where prompts may lack one"},
            {"t", HS_PARAM_TEXT, "0.3+1+3", 0, 0, NULL, "",
             "the temperature, in the row's mean weight on documents"},
            {"bias", HS_PARAM_TEXT, "", 0, 0, NULL, "",
             "of each document's place (default: measured on each prompt)"},
            {"dummy", HS_PARAM_TEXT, "", 0, 0, NULL, "token",
             "what stands in documents that say nothing (default: their tokens, scattered)"},
            {"rule", HS_PARAM_TEXT, "", 0, 0, NULL, "", "softmax or shift (default: softmax)"},
            {"by", HS_PARAM_TEXT, "", 0, 0, NULL, "", "how far (default: all the way)"},
            {0}},
    .strength = "t",
    .span = "docs",
    .by = HS_CALIBRATE_HEADS,
    .first_layer = 2,
    .usual = "lost_middle",
};
