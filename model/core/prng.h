// xoshiro256** seeded by splitmix64 (Blackman & Vigna, public domain algorithms): the same stream
// on every machine for the same seed.
#ifndef HS_CORE_PRNG_H
#define HS_CORE_PRNG_H

#include <stdint.h>

typedef struct hs_prng {
    uint64_t s[4];
} hs_prng;

hs_prng hs_prng_seed(uint64_t seed);
uint64_t hs_prng_u64(hs_prng *);
// Uniform in [0, n), without modulo bias; n >= 1.
uint64_t hs_prng_below(hs_prng *, uint64_t n);
// Uniform in [0, 1), 53 bits.
double hs_prng_f64(hs_prng *);
// Standard normal (Box-Muller, one of the pair).
double hs_prng_normal(hs_prng *);

#endif
