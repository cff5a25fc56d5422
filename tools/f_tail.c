/* SPDX-License-Identifier: MIT */
#include "f_tail.h"

#include <math.h>

/* lgamma() writes a global variable; this one does not. */
static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

/*
 * I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) * sum_n  (a + b)_n / (a + 1)_n x^n        (DLMF 8.17.8)
 * All terms are positive; for x up to a half they fall at least that fast in the end.
 */
static double incomplete_beta(double x, double a, double b) {
    double term = 1, sum = 1;
    for (int n = 0; n < 10000000 && term > 1e-17 * sum; n++) {
        term *= (a + b + n) / (a + 1 + n) * x;
        sum += term;
    }
    return exp(log_gamma(a + b) - log_gamma(a + 1) - log_gamma(b) + a * log(x) + b * log1p(-x) + log(sum));
}

double f_tail(double f, double d1, double d2) {
    if (!(f > 0))
        return 1;
    if (isinf(f))
        return 0;
    d2 = fmin(d2, 1e6);                      /* beyond, F is chi-square to six digits */
    const double y = d1 * f / (d2 + d1 * f); /* P(F <= f) = I_y(d1/2, d2/2) */
    if (y <= 0.5)
        return fmax(0, 1 - incomplete_beta(y, d1 / 2, d2 / 2));
    return fmin(1, incomplete_beta(d2 / (d2 + d1 * f), d2 / 2, d1 / 2));
}
