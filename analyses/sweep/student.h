// Quantiles of Student's t distribution.
#ifndef HS_ANALYSES_SWEEP_STUDENT_H
#define HS_ANALYSES_SWEEP_STUDENT_H

#include <stdint.h>

// The t >= 0 that is exceeded with probability `tail` (0 < tail <= 0.5) under df >= 1 degrees of
// freedom; relative error below 1e-6 for tails down to 1e-12.
double hs_student_t(double tail, int64_t df);

#endif
