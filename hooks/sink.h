// Sink tokens as VAR tells them (Kang et al. 2025): by channels of the residual in which one position
// stands far above its own root mean square.
#ifndef HS_HOOKS_SINK_H
#define HS_HOOKS_SINK_H

#include "model/core/param.h"

// Parameters that those who look for sinks share: "dims" (TEXT: channels joined by +, or "auto"),
// "tau" (NUM) and "tau_share" (NUM, tau / sqrt(d_model); counts when it is given).
typedef struct hs_sink_rule {
    int64_t d_model;
    int64_t *channel; // [n_channel], owned; none: "auto"
    int64_t n_channel;
    double tau;
} hs_sink_rule;
// HS_EARG for what are no channels, and for both of tau and tau_share; HS_ERANGE for a channel that
// the model does not have. Free also after a failure.
int hs_sink_rule_read(hs_sink_rule *out, const hs_args *args, int64_t d_model) HS_MUST_USE;
void hs_sink_rule_free(hs_sink_rule *);

// sqrt(mean_c x[c]^2 + 1e-6), what phi divides by: without any norm's weights.
double hs_sink_scale(const float *x, int64_t d_model);
// phi(x) = max over the channels of |x[d]|, over that. At most sqrt(d_model).
double hs_sink_phi(const float *x, int64_t d_model, const int64_t *channel, int64_t n_channel);

#endif
