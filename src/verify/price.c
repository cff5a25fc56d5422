/* SPDX-License-Identifier: MIT */
#include "verify/price.h"

#include <math.h>

/*
 * Most rows are small change, where two logarithms are not worth their time.  With E = e^z - 1 and w = k E,
 *
 *     c = k (E - z) - ln(1 - w) - w  <=  k (E - z) + w^2/2 + w^3 / (3 (1 - w)),      E - z <= z^2/2 + z^3 / (6 (1 - z/4))
 *
 * term by term; the result exceeds c by less than two thousandths, which the bound pays for.
 */
static double small_price(double z, double k) {
    double excess = z * z * (0.5 + z / (6.0 - 1.5 * z)), w = k * (z + excess);
    return k * excess + w * w * (0.5 + w / (3.0 - 3.0 * w));
}

double vattn_price(double z, double pi) {
    if (pi >= 1.0) {
        return 0.0;
    }
    double k = (1.0 - pi) / pi;
    if (z < 0.1 && k * z < 0.1) {
        return small_price(z, k);
    }
    double grown = k * expm1(z);
    if (!(grown < 1.0)) { /* also for NaN */
        return INFINITY;
    }
    double c = -k * z - log1p(-grown), least = 0.5 * k * (1.0 + k) * z * z; /* below it only by rounding */
    return c > least ? c : least;
}

/* (1 - b) y^2 - 2 b h y - beta^2 - b h^2 = 0 with b = (beta/kappa)^2 */
double vattn_price_radius(double beta, double h, double kappa) {
    double b = beta / kappa * (beta / kappa);
    if (!(b < 1.0)) {
        return INFINITY;
    }
    double p = b * h, q = beta * beta + b * h * h;
    return (p + sqrt(p * p + (1.0 - b) * q)) / (1.0 - b);
}
