// From values to colours and ticks: a range on a colour map, round tick values, short numbers.
#ifndef HS_VIZ_SCALE_H
#define HS_VIZ_SCALE_H

#include <math.h>

#include "viz/fig.h"

typedef struct hs_scale {
    const hs_cmap *cmap;
    double lo, hi; // lo < hi
    bool centred;  // 0 has the middle colour, both sides the same steps
} hs_scale;

uint32_t hs_scale_at(const hs_scale *, double v);

// What some values span. Start with HS_REACH_EMPTY.
typedef struct hs_reach {
    double lo, hi;         // of the finite values; lo > hi: there are none
    double lo_any, hi_any; // of all but NaN
    bool missing, whole;   // some are NaN; all finite ones are integers
} hs_reach;
#define HS_REACH_EMPTY ((hs_reach){INFINITY, -INFINITY, INFINITY, -INFINITY, false, true})
void hs_reach_add(hs_reach *, double v);

// Multiples of 1, 2 or 5 times a power of ten inside [lo, hi], at most `most` of them (2..16);
// out needs room for `most`. Returns the count, *step gets their distance.
int hs_ticks(double lo, double hi, int most, double *out, double *step);

// The smallest number of the series 1, 2, 5, 10, 20, ... that is >= least.
int64_t hs_round_up(int64_t least);

enum { HS_NUMBER = 48 }; // bytes that any number below needs

// Decimals to write numbers that are `step` apart; -1 where only an exponent helps.
int hs_decimals(double step);
// v with that many decimals and a true minus sign, never "-0".
const char *hs_number(char out[HS_NUMBER], double v, int decimals);

#endif
