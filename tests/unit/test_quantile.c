/* SPDX-License-Identifier: MIT
 *
 * Quantiles against published values; the table is never below the quantile and at most 1.5 % above it (20 % below eight degrees
 * of freedom, where one draw decides anyway).
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
                double ratio = vattn_quantile_f(&t, nu, n2) / vattn_f_quantile(deltas[i], nu, n2);
                if (!(ratio >= 1.0 && ratio < (n2 < 8.0 ? 1.2 : 1.015))) {
                    fail_msg("delta %g nu %g n2 %g: table over quantile %.6f", deltas[i], nu, n2, ratio);
                }
            }
        }
        assert_true(isinf(vattn_quantile_f(&t, 7.0, 1.9)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
