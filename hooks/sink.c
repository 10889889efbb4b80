// Sink tokens; see sink.h.
#include "hooks/sink.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

static int add_channel(hs_sink_rule *r, const char *text, char **end) {
    errno = 0;
    const long long d = strtoll(text, end, 10);
    if (*end == text || *text < '0' || *text > '9' || (**end && **end != '+'))
        return hs_fail(HS_EARG, "dims=%s: channels are numbers joined by +, or auto", text);
    if (errno || d >= r->d_model)
        return hs_fail(HS_ERANGE, "dims: there is no channel %.*s, they are 0 to %lld",
                       (int)(*end - text), text, (long long)r->d_model - 1);
    int rc = hs_grow(&r->channel, (size_t)r->n_channel + 1, sizeof *r->channel);
    if (!rc) r->channel[r->n_channel++] = d;
    return rc;
}

int hs_sink_rule_read(hs_sink_rule *r, const hs_args *args, int64_t d_model) {
    const char *text = hs_args_text(args, "dims");
    int rc = HS_OK;
    *r = (hs_sink_rule){.d_model = d_model, .tau = hs_args_num(args, "tau")};
    if (hs_args_given(args, "tau_share")) {
        if (hs_args_given(args, "tau"))
            return hs_fail(HS_EARG, "give tau= or tau_share=, which is tau / sqrt(%lld), not both",
                           (long long)d_model);
        r->tau = hs_args_num(args, "tau_share") * sqrt((double)d_model);
    }
    if (!strcmp(text, "auto")) return HS_OK;
    for (char *end = NULL; !rc && text; text = !rc && *end ? end + 1 : NULL)
        rc = add_channel(r, text, &end);
    return rc;
}

void hs_sink_rule_free(hs_sink_rule *r) {
    free(r->channel);
    *r = (hs_sink_rule){0};
}

double hs_sink_scale(const float *x, int64_t d_model) {
    double squares = 0;
    for (int64_t c = 0; c < d_model; c++) squares += (double)x[c] * (double)x[c];
    return sqrt(squares / (double)d_model + 1e-6);
}

double hs_sink_phi(const float *x, int64_t d_model, const int64_t *channel, int64_t n_channel) {
    double most = 0;
    for (int64_t k = 0; k < n_channel; k++) most = fmax(most, fabs((double)x[channel[k]]));
    return most / hs_sink_scale(x, d_model);
}
