// Selective self-attention without its training: scores that grow with the length of the context.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_ssa = {
    .name = "ssa",
    .title = "position-aware temperature: rows sharpen as the context grows",
    .about = "Row i of a head's scores is multiplied by 1 + c ln(i + 1). The paper learns one c a "
             "layer, exp(-exp(1.5)) = 0.0113 where training begins; here a few are tried on heads "
             "chosen one by one.",
    .reference = "Zhang et al., Selective Attention: Enhancing Transformer through Principled "
                 "Context Control, NeurIPS 2024",
    .specs = (const char *const[]){"temper:@,log={c}", NULL},
    .params = (const hs_param[]){{"c", HS_PARAM_TEXT, "0.0113+0.03+0.1", 0, 0, NULL, "",
                                  "growth of the inverse temperature with ln(row + 1)"},
                                 {0}},
    .strength = "c",
    .by = HS_CALIBRATE_HEADS,
    .usual = "lost_middle",
};
