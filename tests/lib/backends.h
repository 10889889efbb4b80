// What tests that hold one backend's operations against another's do all the time. Failures are
// cmocka's.
#ifndef HS_TESTS_BACKENDS_H
#define HS_TESTS_BACKENDS_H

#include "model/backend.h"

// The reference backend's device on two threads.
hs_dev *open_ref(void);
// Runs a check on every set of kernels that this machine has, on two threads, one set at least;
// `truth` is the reference's device.
void on_each_dev(enum hs_precision precision, void (*check)(hs_dev *dev, hs_dev *truth));

// n zeroed elements, one at least; freed by the caller.
void *zeroed(int64_t n, size_t size);
// n x k random numbers of a format, in its blocks; scales of blocks lie in [0.5, 1). Freed by the
// caller.
void *stored(hs_dtype dtype, int64_t n, int64_t k, uint64_t seed);

// Equal, both NaN, or no more than `room` apart.
void near(double got, double want, double room, const char *what);
void all_near(const float *got, const double *want, int64_t n, double room, const char *what);

#endif
