/* SPDX-License-Identifier: MIT
 *
 * Quantiles against published values; the table is never below the quantile with its factor for skewness and at most 1.5 % above it
 * (20 % below eight degrees of freedom, where one draw decides anyway); with that factor draws of equal weight on a line miss with
 * probability delta at most, and without it they do not.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verify/quantile.h"

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * fabs(expected))) {
        fail_msg("got %.9g, expected %.9g", got, expected);
    }
}

static void known_values(void ** state) {
    (void)state;
    near(vattn_f_quantile(0.05, 5, 20), 2.71089, 1e-5);
    near(vattn_f_quantile(0.05, 7.4, 20), 2.48542, 1e-5);
    near(vattn_f_quantile(0.05, 1, 2), 18.5128, 1e-5);
    near(vattn_f_quantile(0.01, 20, 10), 4.40539, 1e-5);
    near(vattn_f_quantile(1.5e-4, 7, 20), 7.68326, 1e-5);
    near(vattn_f_quantile(0.25, 64, 100), 1.16027, 1e-5);
    near(vattn_f_quantile(1e-6, 3, 6), 257.374, 1e-5);
    near(vattn_f_quantile(0.05, 7, 1e7), 2.00959 * 7.4 / 7.0, 0.06); /* chi-square over its mean, near nu 7.4 */
    near(vattn_normal_two_sided(0.05), 1.959964, 1e-6);
    near(vattn_incomplete_beta(2, 3, 0.4), 0.5248, 1e-9);
}

static void table(void ** state) {
    (void)state;
    static const double deltas[] = {0.25, 0.1, 0.05, 0.01, 1e-4, 1e-6};
    for (size_t i = 0; i < sizeof deltas / sizeof deltas[0]; i++) {
        struct vattn_quantile t;
        vattn_quantile_init(&t, deltas[i]);
        for (double nu = 1.0; nu < 600.0; nu *= 1.21) {
            for (double n2 = 2.0; n2 < 10000.0; n2 *= 1.31) {
                double exact = vattn_f_quantile(deltas[i], nu, n2) * vattn_quantile_skewness(&t, n2 / 2.0);
                double ratio = vattn_quantile_f(&t, nu, n2) / exact;
                if (!(ratio >= 1.0 && ratio < (n2 < 8.0 ? 1.2 : 1.015))) {
                    fail_msg("delta %g nu %g n2 %g: table over quantile %.6f", deltas[i], nu, n2, ratio);
                }
            }
        }
        assert_true(isinf(vattn_quantile_f(&t, 7.0, 1.9)));
    }
}

/* N ~ Poisson(lambda) draws of weight 1: the estimate of lambda is N and so is that of its variance.
 * Probability that (N - lambda)^2 > c(N) N. */
static double poisson_miss(const double * c, int n_max, double lambda) {
    double miss = 0.0, p = exp(-lambda);
    for (int n = 0; n < n_max; n++, p *= lambda / n) {
        miss += n == 0 || (n - lambda) * (n - lambda) > c[n] * n ? p : 0.0;
    }
    return miss;
}

/* The largest ratio of misses to delta for lambda from 12 on; each a mean over a quarter of an octave, since N is whole. */
static double worst_poisson(double delta, int skewed) {
    enum { N_MAX = 1000, POINTS = 200 };
    double c[N_MAX] = {0.0}, worst = 0.0;
    struct vattn_quantile t;
    vattn_quantile_init(&t, delta);
    for (int n = 1; n < N_MAX; n++) {
        c[n] = vattn_f_quantile(delta, 1.0, 2.0 * n) * (skewed ? vattn_quantile_skewness(&t, n) : 1.0);
    }
    for (double low = 12.0; low < 300.0; low *= 1.19) {
        double mean = 0.0;
        for (int i = 0; i < POINTS; i++) {
            mean += poisson_miss(c, N_MAX, low * (1.0 + 0.19 * i / POINTS)) / POINTS;
        }
        worst = fmax(worst, mean / delta);
    }
    return worst;
}

static void skewness(void ** state) {
    (void)state;
    static const double deltas[] = {0.25, 0.1, 0.05, 0.01, 1e-3, 1.5e-4};
    for (size_t i = 0; i < sizeof deltas / sizeof deltas[0]; i++) {
        double with = worst_poisson(deltas[i], 1), without = worst_poisson(deltas[i], 0);
        print_message("delta %g: misses over delta at worst %.3f, without the factor %.3f\n", deltas[i], with, without);
        assert_true(with < 1.01);
        assert_true(deltas[i] > 0.05 || without > 1.05);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(table),
                                       cmocka_unit_test(skewness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
