/* SPDX-License-Identifier: MIT */
#include "binomial.h"

#include <math.h>

static double log_pmf(int64_t n, double p, int64_t k) {
    const double dn = (double)n, dk = (double)k;
    return lgamma(dn + 1) - lgamma(dk + 1) - lgamma(dn - dk + 1) + dk * log(p) + (dn - dk) * log1p(-p);
}

double binomial_tail(int64_t n, double p, int64_t limit) {
    double sum = 0;
    for (int64_t k = n; k > limit && k >= 0; k--) /* from the far end: small terms first */
        sum += exp(log_pmf(n, p, k));
    return fmin(sum, 1.0);
}

int64_t binomial_limit(int64_t n, double p, double alpha) {
    double sum = 0;
    for (int64_t k = n; k > 0; k--) {
        sum += exp(log_pmf(n, p, k));
        if (sum > alpha)
            return k;
    }
    return 0;
}
