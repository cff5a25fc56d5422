/* SPDX-License-Identifier: MIT */
#include "paper/budget.h"

#include <math.h>

#include "verify/quantile.h"

double vattn_budget_one(double spread, double eps, double delta) {
    double root = vattn_normal_two_sided(delta) * spread / eps;
    return root * root;
}

/* z(d1) n + z(delta - d1) d: proportional to the square root of the budget that the best e1, e2 leave. */
static double height(struct vattn_spread s, double d1, double delta) {
    double n = s.n > 0.0 ? s.n * vattn_normal_two_sided(d1) : 0.0;
    return n + (s.d > 0.0 ? s.d * vattn_normal_two_sided(delta - d1) : 0.0);
}

/*
 * For given d1, d2 the larger of z1^2 n^2 / e1^2 and z2^2 d^2 / e2^2 is least where they are equal, e1 : e2 = z1 n : z2 d,
 * and is then ((z1 n + z2 d) / (e1 + e2))^2.  z is convex below delta = 1, so the sum has one minimum over d1.
 */
struct vattn_split vattn_budget_split(struct vattn_spread s, double eps, double delta) {
    const double golden = 0.61803398874989485;
    double low = 0.0, high = delta, left = high - golden * delta, right = golden * delta;
    double at_left = height(s, left, delta), at_right = height(s, right, delta);
    for (int i = 0; i < 60; i++) {
        if (at_left <= at_right) {
            high = right, right = left, at_right = at_left;
            left = high - golden * (high - low), at_left = height(s, left, delta);
        } else {
            low = left, left = right, at_left = at_right;
            right = low + golden * (high - low), at_right = height(s, right, delta);
        }
    }
    double d1 = 0.5 * (low + high), d2 = delta - d1, both = height(s, d1, delta);
    double share = both > 0.0 ? s.n * vattn_normal_two_sided(d1) / both : 0.5, e1 = 0.5 * eps * share;
    double root = both / (0.5 * eps);
    return (struct vattn_split){e1, d1, 0.5 * eps - e1, d2, root * root};
}

int64_t vattn_budget_rows(double b, int64_t pilot, int64_t n_s) {
    double rows = ceil(b / (1.0 + b / (double)n_s));
    return !(rows < (double)n_s) ? n_s : rows < (double)pilot ? pilot : (int64_t)rows;
}
