/* SPDX-License-Identifier: MIT */
#include "verify/price.h"

#include <math.h>

double vattn_price(double z, double pi) {
    if (pi >= 1.0) {
        return 0.0;
    }
    double k = (1.0 - pi) / pi, grown = k * expm1(z);
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
