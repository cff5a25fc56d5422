/* SPDX-License-Identifier: MIT */
#include "verify/quantile.h"

#include <math.h>

static const double nodes_nu[VATTN_QUANTILE_NU] = {1,  1.25, 1.5, 2,  2.5, 3,  4,  5,   6,   8,   10,  13, 16,
                                                   20, 26,   32,  42, 54,  70, 90, 120, 160, 220, 300, 600};
static const double nodes_n2[VATTN_QUANTILE_N2] = {2,  3,  4,  5,   6,   8,   10,  12,  16,  20,  26,   32,   40,
                                                   50, 64, 80, 100, 130, 160, 200, 300, 400, 600, 1000, 2000, 20000};

/* Continued fraction of the incomplete beta function, evaluated by the modified Lentz method. */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0);
    d = 1.0 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= 2000; m++) {
        double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 + even * d;
        c = 1.0 + even / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        d = 1.0 + odd * d;
        c = 1.0 + odd / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        if (fabs(d * c - 1.0) < 1e-13) {
            break;
        }
    }
    return f;
}

/* lgamma() writes a global variable; this one does not. */
static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

double vattn_incomplete_beta(double a, double b, double x) {
    if (x <= 0.0) {
        return 0.0;
    }
    if (x >= 1.0) {
        return 1.0;
    }
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0)) {
        return front * beta_fraction(a, b, x) / a;
    }
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

/* P(F > f) = I_{d2 / (d2 + d1 f)}(d2 / 2, d1 / 2) */
static double upper_tail(double f, double d1, double d2) {
    return vattn_incomplete_beta(d2 / 2.0, d1 / 2.0, d2 / (d2 + d1 * f));
}

/* log P(F > e^y) - log delta, falling in y and nearly straight far out */
static double excess(double y, double delta, double d1, double d2) {
    return log(fmax(upper_tail(exp(y), d1, d2), 1e-300) / delta);
}

/* An end of the search for a root of `excess`. */
struct end {
    double y, g;
};

/* The other end from y = 0 outwards, in steps that double. */
static void bracket(double delta, double d1, double d2, struct end * low, struct end * high) {
    const double start = excess(0.0, delta, d1, d2), way = start > 0.0 ? 1.0 : -1.0;
    struct end at = {0.0, start}, before = at;
    for (double step = 0.5; at.g * way > 0.0 && step < 512.0; step *= 2.0) {
        before = at;
        at.y += way * step;
        at.g = excess(at.y, delta, d1, d2);
    }
    *low = way > 0.0 ? before : at;
    *high = way > 0.0 ? at : before;
}

double vattn_f_quantile(double delta, double d1, double d2) {
    struct end low, high;
    bracket(delta, d1, d2, &low, &high);
    for (int i = 0, last = 0; i < 100 && high.y - low.y > 1e-10; i++) { /* false position, Illinois variant */
        double y = i % 8 == 7 ? 0.5 * (low.y + high.y) : (low.y * high.g - high.y * low.g) / (high.g - low.g);
        struct end at = {y, excess(y, delta, d1, d2)};
        if (fabs(at.g) < 1e-12) {
            return exp(y + 1e-12);
        }
        int side = at.g > 0.0 ? -1 : 1;
        *(side < 0 ? &low : &high) = at;
        if (side == last) { /* the end that stays put counts half */
            *(side < 0 ? &high.g : &low.g) *= 0.5;
        }
        last = side;
    }
    return exp(high.y);
}

void vattn_quantile_init(struct vattn_quantile * table, double delta) {
    double z2 = pow(vattn_normal_two_sided(delta), 2.0);
    table->delta = delta;
    table->z2 = z2;
    table->kappa = fmax(0.0, ((4.0 * z2 - 7.0) * z2 - 3.0) / 36.0);
    for (int i = 0; i < VATTN_QUANTILE_NU; i++) {
        for (int j = 0; j < VATTN_QUANTILE_N2; j++) {
            table->log_c[i][j] = log(vattn_f_quantile(delta, nodes_nu[i], nodes_n2[j]));
        }
    }
}

double vattn_quantile_skewness(const struct vattn_quantile * table, double neff) {
    return 1.0 + table->kappa / (neff + table->z2);
}

/* Index of the cell of rising nodes that holds x, the last one for what lies beyond. */
static int cell(const double * nodes, int n, double x) {
    int i = 0;
    while (i < n - 2 && x > nodes[i + 1]) {
        i++;
    }
    return i;
}

static double clamp01(double w) {
    return w < 0.0 ? 0.0 : w > 1.0 ? 1.0 : w;
}

double vattn_quantile_f(const struct vattn_quantile * table, double nu, double n2) {
    if (!(n2 >= nodes_n2[0])) {
        return INFINITY;
    }
    nu = nu < 1.0 ? 1.0 : nu;
    int i = cell(nodes_nu, VATTN_QUANTILE_NU, nu), j = cell(nodes_n2, VATTN_QUANTILE_N2, n2);
    double u = clamp01(log(nu / nodes_nu[i]) / log(nodes_nu[i + 1] / nodes_nu[i]));
    double a = 1.0 / sqrt(nodes_n2[j]), b = 1.0 / sqrt(nodes_n2[j + 1]), v = clamp01((a - 1.0 / sqrt(n2)) / (a - b));
    double lower = (1.0 - v) * table->log_c[i][j] + v * table->log_c[i][j + 1];
    double upper = (1.0 - v) * table->log_c[i + 1][j] + v * table->log_c[i + 1][j + 1];
    return 1.003 * exp((1.0 - u) * lower + u * upper) * vattn_quantile_skewness(table, n2 / 2.0);
}

double vattn_normal_two_sided(double delta) {
    double low = 0.0, high = 40.0;
    for (int i = 0; i < 200; i++) {
        double mid = 0.5 * (low + high);
        if (erfc(mid * 0.70710678118654752) > delta) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return high;
}
