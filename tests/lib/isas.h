// The sets of kernels that tests of the CPU backend run on.
#ifndef HS_TESTS_ISAS_H
#define HS_TESTS_ISAS_H

#include <stdint.h>

extern const char *const isa_names[]; // every set there is, ended by NULL
// Runs a check on every set that this CPU has, one at least.
void on_each_isa(void (*check)(const char *isa));
// n normal numbers; freed by the caller.
float *normal_floats(uint64_t seed, int64_t n);

#endif
