// VAR: attention on sinks goes to the rest of a span, in heads that answer better for it.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "analyses/calibration.h"
#include "analyses/channels.h"

// The paper's threshold is beyond reach, or nearly, in models that are not wide.
static void settle(const hs_dims *dims, const hs_args *args, hs_buf *found) {
    if (*hs_args_text(args, "tau") || *hs_args_text(args, "tau_share")) return;
    hs_buf_str(found, 20 <= .9 * sqrt((double)dims->d_model) ? "tau=20" : "tau_share=0.8");
    hs_buf_chr(found, 0);
}

// The channels once and for all, so that the spec means the same on any prompts.
static int find_channels(const hs_calibration_job *job, hs_buf *found) {
    hs_channels channels = {0};
    if (strcmp(hs_args_text(job->args, "dims"), "auto")) return HS_OK;
    int rc = hs_channels_find(&channels, job->model, job->prompts, job->progress);
    for (int64_t i = 0; i < channels.n && !rc; i++)
        hs_buf_printf(found, "%s%" PRId64, i ? "+" : "dims=", channels.at[i]);
    if (!rc) hs_buf_chr(found, 0);
    hs_channels_free(&channels);
    return rc;
}

static int prepare(const hs_calibration_job *job, int *group, hs_buf *found) {
    (void)group;
    int rc = find_channels(job, found);
    return rc ? rc : hs_buf_rc(found);
}

const hs_calibration hs_calibration_var = {
    .name = "var",
    .title = "attention on sink tokens goes to the rest of a span",
    .about = "Sink tokens are told by massive channels of the residual; heads that look at the "
             "span, and there not at its sinks, give a share p of what rests on sinks to the "
             "span's other tokens. The paper decides by row and head; here heads are chosen too. "
             "Its span is the image. Channels are found on the calibration part, tau is the "
             "paper's 20 where the width allows it, else 0.8 of the largest there can be.",
    .reference = "Kang et al., See What You Are Told: Visual Attention Sink in Large Multimodal "
                 "Models, ICLR 2025, arXiv:2503.03321",
    .specs = (const char *const[]){"var:@,span={span},dims={dims},tau={tau},tau_share={tau_share},"
                                   "rho={rho},prefilter={prefilter},p={p}",
                                   NULL},
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "doc", 0, 0, NULL, "positions", "what attention is given to"},
            {"p", HS_PARAM_TEXT, "0.3+0.6+0.9", 0, 0, NULL, "",
             "share of the sinks' weight that is moved; the paper: 0.6"},
            {"dims", HS_PARAM_TEXT, "auto", 0, 0, NULL, "channels",
             "channels of the residual that tell sinks; auto finds them"},
            {"tau", HS_PARAM_TEXT, "", 0, 0, NULL, "", "sinks have at least this phi"},
            {"tau_share", HS_PARAM_TEXT, "", 0, 0, NULL, "", "tau as a share of sqrt(d_model)"},
            {"rho", HS_PARAM_TEXT, "0.5", 0, 0, NULL, "",
             "share of the span's weight that must not be on sinks"},
            {"prefilter", HS_PARAM_TEXT, "0.2", 0, 0, NULL, "",
             "weight that a row must give to the span"},
            {0}},
    .strength = "p",
    .span = "span",
    .by = HS_CALIBRATE_HEADS,
    .first_layer = 2,
    .but_last = 1,
    .usual = "two_choice",
    .settle = settle,
    .prepare = prepare,
};
