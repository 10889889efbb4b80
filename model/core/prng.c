// Random numbers; see prng.h.
#include "model/core/prng.h"

#include <math.h>

static uint64_t rotl(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

// splitmix64 turns any seed, 0 included, into four well mixed words.
hs_prng hs_prng_seed(uint64_t seed) {
    hs_prng r;
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        r.s[i] = z ^ z >> 31;
    }
    return r;
}

uint64_t hs_prng_u64(hs_prng *r) {
    uint64_t *s = r->s;
    const uint64_t out = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

uint64_t hs_prng_below(hs_prng *r, uint64_t n) {
    // 2^64 mod n values at the bottom would make the low results too likely: draw again.
    const uint64_t skip = (0 - n) % n;
    uint64_t x;
    do x = hs_prng_u64(r);
    while (x < skip);
    return x % n;
}

double hs_prng_f64(hs_prng *r) {
    return (double)(hs_prng_u64(r) >> 11) * 0x1p-53;
}

double hs_prng_normal(hs_prng *r) {
    const double tau = 6.283185307179586;
    double radius = sqrt(-2 * log(1 - hs_prng_f64(r))); // 1 - u is never 0
    return radius * cos(tau * hs_prng_f64(r));
}
