/* SPDX-License-Identifier: MIT */
#include "f_tail.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void close_to(double a, double b, double relative) {
    if (!(fabs(a - b) <= relative * fabs(b)))
        print_message("%.12g is not %.12g\n", a, b);
    assert_true(fabs(a - b) <= relative * fabs(b));
}

/* Two and two degrees: P(F > f) = 1 / (1 + f).  d1 = 2: (1 + 2 f / d2)^(-d2 / 2). */
static void closed_forms(void ** state) {
    (void)state;
    const double at[] = {0.01, 0.5, 1, 3, 40, 1e4};
    for (int i = 0; i < 6; i++) {
        close_to(f_tail(at[i], 2, 2), 1 / (1 + at[i]), 1e-11);
        close_to(f_tail(at[i], 2, 17), pow(1 + 2 * at[i] / 17, -8.5), 1e-11);
        close_to(f_tail(at[i], 1, 1), 1 - 2 / 3.141592653589793 * atan(sqrt(at[i])), 1e-10);
    }
    close_to(f_tail(3.841458820694124, 1, INFINITY), 0.05, 1e-5); /* the square of a normal variable */
    assert_true(f_tail(0, 3, 4) == 1 && f_tail(-1, 3, 4) == 1 && f_tail(INFINITY, 3, 4) == 0);
}

/* Tables of the 5 % and 1 % points (Fisher and Yates). */
static void published_points(void ** state) {
    (void)state;
    close_to(f_tail(161.4476, 1, 1), 0.05, 1e-6);
    close_to(f_tail(3.325835, 5, 10), 0.05, 1e-6);
    close_to(f_tail(2.347878, 10, 20), 0.05, 1e-6);
    close_to(f_tail(5.636326, 5, 10), 0.01, 1e-6);
    close_to(f_tail(1.2214, 120, 1e9), 0.05, 2e-3); /* 146.567 / 120 */
    close_to(f_tail(1.534314, 60, 60), 0.05, 1e-6);
}

/* Simpson's rule over the density in y = d1 f / (d2 + d1 f), for degrees that are no integers. */
static void an_integral(void ** state) {
    const double d1 = 7.4, d2 = 33.8, f = 1.9, y = d1 * f / (d2 + d1 * f);
    const int n = 20000;
    double sum = 0;
    (void)state;
    for (int i = 0; i <= n; i++) {
        const double t = y + (1 - y) * i / n;
        sum += (i == 0 || i == n ? 1 : i % 2 ? 4 : 2) * pow(t, d1 / 2 - 1) * pow(1 - t, d2 / 2 - 1);
    }
    sum *= (1 - y) / (3.0 * n) * exp(lgamma(d1 / 2 + d2 / 2) - lgamma(d1 / 2) - lgamma(d2 / 2));
    close_to(f_tail(f, d1, d2), sum, 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(closed_forms), cmocka_unit_test(published_points),
                                       cmocka_unit_test(an_integral)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
