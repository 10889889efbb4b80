// Ranges, ticks and numbers; see scale.h.
#include "viz/scale.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint32_t hs_scale_at(const hs_scale *s, double v) {
    if (!s->centred) return hs_cmap_at(s->cmap, (v - s->lo) / (s->hi - s->lo));
    double reach = fmax(fabs(s->lo), fabs(s->hi));
    return hs_cmap_at(s->cmap, 0.5 + 0.5 * (v / reach));
}

void hs_reach_add(hs_reach *s, double v) {
    s->missing |= isnan(v);
    if (isnan(v)) return;
    s->lo_any = fmin(s->lo_any, v);
    s->hi_any = fmax(s->hi_any, v);
    if (isinf(v)) return;
    s->whole &= v == floor(v);
    s->lo = fmin(s->lo, v);
    s->hi = fmax(s->hi, v);
}

// The smallest of 1, 2, 5 times a power of ten that is >= x.
static double round_step(double x) {
    double power = pow(10, floor(log10(x)));
    static const double digit[] = {1, 2, 5, 10};
    for (int i = 0; i < 3; i++)
        if (digit[i] * power >= x * (1 - 1e-9)) return digit[i] * power;
    return 10 * power;
}

int hs_ticks(double lo, double hi, int most, double *out, double *step) {
    // A range of n steps holds up to n + 1 multiples, so the first step may be one too fine.
    *step = round_step((hi - lo) / most);
    for (;;) {
        double slack = 1e-9 * (hi - lo);
        double first = ceil((lo - slack) / *step), last = floor((hi + slack) / *step);
        if (last - first < most) {
            int n = 0;
            for (double k = first; k <= last && n < most; k++) out[n++] = k * *step;
            return n;
        }
        *step = round_step(*step * 1.5);
    }
}

int64_t hs_round_up(int64_t least) {
    for (int64_t power = 1;; power *= 10) {
        if (power >= least) return power;
        if (2 * power >= least) return 2 * power;
        if (5 * power >= least) return 5 * power;
    }
}

int hs_decimals(double step) {
    int d = (int)-floor(log10(step) + 1e-9);
    return d > 4 || d < -6 ? -1 : d > 0 ? d : 0;
}

const char *hs_number(char out[HS_NUMBER], double v, int decimals) {
    if (isnan(v)) return strcpy(out, "NaN");
    if (isinf(v)) return strcpy(out, v > 0 ? "∞" : "−∞");
    char digits[HS_NUMBER - 4];
    bool plain = decimals >= 0 && fabs(v) < 1e15;
    snprintf(digits, sizeof digits, plain ? "%.*f" : "%.*e", plain ? decimals : 1, fabs(v));
    bool zero = strspn(digits, "0.") == strlen(digits);
    snprintf(out, HS_NUMBER, "%s%s", v < 0 && !zero ? "−" : "", digits);
    return out;
}
