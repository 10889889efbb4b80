// Streaming heads as a calibration: those that answer better without the middle of the context.
#include "analyses/calibration.h"

const hs_calibration hs_calibration_stream = {
    .name = "stream",
    .title = "sink and recent keys only, in the heads that gain by it",
    .about = "A head sees the first s keys and the last w. StreamingLLM has all heads do so to "
             "bound the cache; here heads are chosen by what the answers gain.",
    .reference = "Xiao et al., Efficient Streaming Language Models with Attention Sinks, ICLR 2024",
    .specs = (const char *const[]){"mask:sink_recent,s={s},w={w},heads=@", NULL},
    .params = (const hs_param[]){{"s", HS_PARAM_TEXT, "4", 0, 0, NULL, "keys",
                                  "the first that are kept"},
                                 {"w", HS_PARAM_TEXT, "16+64", 0, 0, NULL, "keys",
                                  "the last that are kept, the row's own among them"},
                                 {0}},
    .strength = "w",
    .by = HS_CALIBRATE_HEADS,
    .usual = "lost_middle",
};
