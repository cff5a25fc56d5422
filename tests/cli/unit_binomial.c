/* SPDX-License-Identifier: MIT */
#include "binomial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void tails_match_sums_done_by_hand(void ** state) {
    (void)state;
    assert_true(fabs(binomial_tail(10, 0.5, 5) - 386.0 / 1024) < 1e-14); /* C(10,6)+…+C(10,10) = 386 */
    assert_true(fabs(binomial_tail(3, 0.25, 0) - 37.0 / 64) < 1e-14);
    assert_true(fabs(binomial_tail(4, 0.1, 3) - 1e-4) < 1e-17);
    assert_true(fabs(binomial_tail(5, 0.3, -1) - 1) < 1e-14);
    assert_true(binomial_tail(5, 0.3, 5) == 0);
}

/* STATISTICS 8: 1,776 cases, overall false alarm 1e-6, made by another program. */
static void limits_are_those_of_the_protocol(void ** state) {
    const double share = 1e-6 / 1776;
    (void)state;
    assert_int_equal(binomial_limit(2000, 0.05, 0.05), 116);
    assert_int_equal(binomial_limit(20000, 0.05, share), 1193);
    assert_int_equal(binomial_limit(8000, 0.01, 0.05), 95);
    assert_int_equal(binomial_limit(60000, 0.01, share), 754);
    assert_int_equal(binomial_limit(2000, 0.05, share), 164);
}

/* "4.8 % of the good ones" go on; power .98 at 1.4 delta and .89 at 1.3. */
static void stages_have_the_power_of_the_protocol(void ** state) {
    double power = binomial_tail(2000, 0.07, 116) * binomial_tail(20000, 0.07, 1193);
    (void)state;
    assert_true(fabs(binomial_tail(2000, 0.05, 116) - 0.048) < 0.0005);
    assert_true(power > 0.975 && power < 0.99);
    power = binomial_tail(2000, 0.065, 116) * binomial_tail(20000, 0.065, 1193);
    assert_true(power > 0.87 && power < 0.91);
}

static void limit_is_the_least_that_keeps_alpha(void ** state) {
    const double ps[] = {0.5, 0.05, 0.001, 1e-6}, alphas[] = {0.05, 1e-6, 1e-12};
    (void)state;
    for (int64_t n = 1; n < 3000; n = n * 3 + 1)
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 3; j++) {
                const int64_t limit = binomial_limit(n, ps[i], alphas[j]);
                assert_in_range(limit, 0, n);
                assert_true(binomial_tail(n, ps[i], limit) <= alphas[j]);
                if (limit > 0)
                    assert_true(binomial_tail(n, ps[i], limit - 1) > alphas[j]);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tails_match_sums_done_by_hand),
        cmocka_unit_test(limits_are_those_of_the_protocol),
        cmocka_unit_test(stages_have_the_power_of_the_protocol),
        cmocka_unit_test(limit_is_the_least_that_keeps_alpha),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
