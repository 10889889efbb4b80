// Student's t by the regularised incomplete beta function: P(T > t) = I_x(df / 2, 1 / 2) / 2 with
// x = df / (df + t^2). I_x comes from its continued fraction (DLMF 8.17.22), evaluated from the
// front as Lentz does, in the half where it converges; bisection turns it round.
#include "analyses/sweep/student.h"

#include <math.h>

enum { TERMS = 10000, HALVINGS = 200 };

// The coefficient d_m of DLMF 8.17.23.
static double term(double x, double a, double b, int m) {
    const int k = m / 2;
    if (m % 2) return -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1));
    return k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
}

// I_x(a, b) for x below (a + 1) / (a + b + 2).
static double beta_fraction(double x, double a, double b) {
    const double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) /
                         a;
    double f = 1, c = 1, d = 0;
    for (int m = 1; m < TERMS; m++) {
        const double coefficient = term(x, a, b, m);
        d = 1 / (1 + coefficient * d);
        c = 1 + coefficient / c;
        f *= c * d;
        if (fabs(c * d - 1) < 1e-15) break;
    }
    return front / f;
}

static double tail_of(double t, double df) {
    const double x = df / (df + t * t), a = df / 2, b = .5;
    if (t == 0) return .5;
    if (x < (a + 1) / (a + b + 2)) return beta_fraction(x, a, b) / 2;
    return .5 - beta_fraction(t * t / (df + t * t), b, a) / 2;
}

double hs_student_t(double tail, int64_t df) {
    double low = 0, high = 1;
    while (tail_of(high, (double)df) > tail && high < 1e300) high *= 2;
    for (int i = 0; i < HALVINGS && low < high; i++) {
        const double mid = low + (high - low) / 2;
        if (mid == low || mid == high) break;
        if (tail_of(mid, (double)df) > tail)
            low = mid;
        else
            high = mid;
    }
    return low;
}
