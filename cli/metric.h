// One metric of a run, a number a head, as `heads` and `heatmap --grid` read it.
#ifndef HS_CLI_METRIC_H
#define HS_CLI_METRIC_H

#include "analyses/observer.h"
#include "cli/reader.h"

typedef struct hs_head_value {
    int layer, head;
    double value;    // NaN: undefined
    int64_t prompts; // that it is the mean of
    char reason[96]; // why it is undefined, else ""
} hs_head_value;

typedef struct hs_head_values {
    hs_head_value *at; // owned; in the order of layers and heads
    int64_t n;
} hs_head_values;

// The mean over the prompts of the run where it is defined, or the value of one prompt when the
// reader has one. HS_ENOTFOUND tells which metrics the run has, or which observer gives this one.
int hs_metric_read(hs_head_values *out, const hs_source *r, const char *metric) HS_MUST_USE;
// Only the heads for which an SQL expression over layer, head, name, value, prompts and reason
// holds; HS_ENOTFOUND when there are none.
int hs_metric_where(hs_head_values *out, const hs_source *r, const char *metric,
                    const char *where) HS_MUST_USE;
void hs_metric_free(hs_head_values *);
// Unit, meaning and scale of a metric of this build; NULL when it knows none of that name.
const hs_metric *hs_metric_info(const char *name);

#endif
