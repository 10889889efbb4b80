// What `headscope verify` finds: laws that hold for every model, its rounding, and agreement with
// other tools.
#ifndef HS_CLI_VERIFY_H
#define HS_CLI_VERIFY_H

#include "cli/session.h"

typedef struct hs_check {
    char name[96];
    double difference; // largest absolute one; NaN fails
    double magnitude;  // largest |number| that it is measured against; 0: not measured
    double limit;      // of the difference; 0: equal to the bit, NaN: told, not judged
    bool passed;
} hs_check;

typedef struct hs_checks {
    hs_check *at; // owned; free with free()
    int n, failed;
} hs_checks;

// Adds a check that passes when difference <= limit, or when there is no limit.
int hs_checks_add(hs_checks *, const char *name, double difference, double magnitude,
                  double limit) HS_MUST_USE;
// max(seen, |a - b|), NaN once a difference is no number.
double hs_worse(double seen, double a, double b);

// Runs a short sequence through the model and checks the laws. `again`: how to open it a second
// time, for the law that the number of threads changes nothing.
int hs_verify_laws(hs_checks *out, const hs_model *model, const char *path,
                   const hs_model_options *again, const hs_progress *progress) HS_MUST_USE;
// Runs a passage of text in double precision too, and adds for every hook point how far it is off
// in its worst layer: judged when the model runs in exact precision. `asked`: how to open it again.
int hs_verify_rounding(hs_checks *out, const hs_model *model, const char *path,
                       const hs_model_options *asked, const hs_progress *progress) HS_MUST_USE;
// Compares with the activations in a safetensors file: `tokens` [T], and hooks by name. atol 0:
// 5e-5 of each tensor's largest magnitude, 1e-5 for patterns.
int hs_verify_golden(hs_checks *out, const hs_model *model, const char *path,
                     double atol) HS_MUST_USE;

#endif
