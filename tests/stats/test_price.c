/* SPDX-License-Identifier: MIT
 *
 * The inequality under strict mode, apart from attention: step by step on a grid, and as a whole by simulation on sums of
 * vectors with heavy tails.  Prices that are too low, or a level that is, must turn the same checks red.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "verify/price.h"
#include "verify/quantile.h"

static double uniform(uint32_t stream, uint32_t i) {
    const uint32_t counter[4] = {i, stream, 0, vattn_random_stream(VATTN_RANDOM_TEST, 1, 1)}, key[2] = {5, 6};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return vattn_random_uniform(word[0]);
}

/* E[ cosh|x + xi| e^(-c I) ] / cosh|x| for |x| = p, |g| = z and the angle between them. */
static double step(double p, double z, double angle, double pi, double c) {
    double k = (1.0 - pi) / pi, along = p * z * cos(angle);
    double out = sqrt(fmax(0.0, p * p - 2.0 * along + z * z)),
           in = sqrt(fmax(0.0, p * p + 2.0 * k * along + k * k * z * z));
    return ((1.0 - pi) * cosh(out) + pi * exp(-c) * cosh(in)) / cosh(p);
}

/* The lemma, on every point of a grid; and the price is the least that will do. */
static void price_pays_for_every_step(void ** state) {
    (void)state;
    double worst = 0.0;
    int cheats = 0;
    for (int a = 0; a < 24; a++) {
        double pi = pow(10.0, -4.0 + a / 6.0);
        pi = pi > 0.999 ? 0.999 : pi;
        for (int b = 1; b < 24; b++) {
            double z = -log1p(-pi) * b / 24.0, c = vattn_price(z, pi), k = (1.0 - pi) / pi;
            assert_true(isfinite(c) && c >= 0.5 * k * (1.0 + k) * z * z && c >= vattn_price(0.99 * z, pi));
            for (int e = -8; e < 6; e++) {
                for (int f = 0; f <= 16; f++) {
                    double p = pow(2.0, e), angle = 3.14159265358979 * f / 16.0;
                    worst = fmax(worst, step(p, z, angle, pi, c));
                    cheats += step(p, z, angle, pi, 0.95 * c) > 1.0 + 1e-12;
                }
            }
        }
    }
    print_message("largest ratio 1 %+.1e; %d points break with prices 5 %% lower\n", worst - 1.0, cheats);
    assert_true(worst <= 1.0 + 1e-12);
    assert_true(cheats > 1000);
    assert_true(vattn_price(0.5, 1.0) == 0.0 && vattn_price(0.0, 0.5) == 0.0);
    assert_true(isinf(vattn_price(0.02, 0.01)) && isinf(vattn_price(NAN, 0.01)) && isinf(vattn_price(1.0, 0.5)));
}

static void radius_solves_its_equation(void ** state) {
    (void)state;
    for (int i = 0; i < 2000; i++) {
        double kappa = 0.01 + uniform(1, (uint32_t)i), beta = kappa * uniform(2, (uint32_t)i),
               h = 2.0 * uniform(3, (uint32_t)i);
        double y = vattn_price_radius(beta, h, kappa);
        assert_true(fabs(y - beta * sqrt(1.0 + pow((h + y) / kappa, 2.0))) <= 1e-9 * y);
        for (double more = 1.001; more < 1e4; more *= 3.0) { /* no larger y will do */
            assert_true(more * y > beta * sqrt(1.0 + pow((h + more * y) / kappa, 2.0)));
        }
    }
    assert_true(isinf(vattn_price_radius(1.0, 0.0, 1.0)) && isinf(vattn_price_radius(NAN, 0.0, 1.0)));
}

enum { N = 400, DIM = 3, DRAWS = 4000 };
enum shape { EVEN, CAUCHY, LINE, NEEDLE, N_SHAPES };
static const char * const names[] = {"even", "Cauchy lengths", "one line", "a needle nobody draws"};

/* Vectors g and probabilities: in proportion to their lengths, but for the needle, which is as long as it may be. */
static void make(enum shape shape, double g[N][DIM], double pi[N], double * lambda, double level) {
    double sum = 0.0;
    for (uint32_t i = 0; i < N; i++) {
        double size = shape == CAUCHY ? fmin(300.0, 1.0 / uniform(10, i)) : 1.0;
        for (uint32_t a = 0; a < DIM; a++) {
            g[i][a] = shape == LINE ? (a == 0 ? size : 0.0) : size * (uniform(20 + a, i) - 0.3);
        }
        pi[i] = fmin(1.0, 0.08 * size);
        double length2 = g[i][0] * g[i][0] + g[i][1] * g[i][1] + g[i][2] * g[i][2];
        sum += (1.0 - pi[i]) / pi[i] * length2;
    }
    *lambda = sqrt(2.0 * level / sum); /* what a good design would take */
    if (shape == NEEDLE) {
        pi[7] = 0.04;
        g[7][0] = 0.8 * 0.04 / *lambda;
        g[7][1] = g[7][2] = 0.0;
    }
    for (int i = 0; i < N; i++) {
        double z = *lambda * sqrt(g[i][0] * g[i][0] + g[i][1] * g[i][1] + g[i][2] * g[i][2]);
        pi[i] = fmin(1.0, fmax(pi[i], z / 0.8));
    }
}

/* Draws in which the bound fails, with prices and level multiplied by what a cheat likes. */
static int misses(enum shape shape, double alpha, double price_factor, double level_factor) {
    static double g[N][DIM], pi[N];
    double lambda, level = log(2.0 / alpha) * level_factor;
    int count = 0;
    make(shape, g, pi, &lambda, level);
    for (uint32_t r = 0; r < DRAWS; r++) {
        double sum[DIM] = {0}, spent = 0.0;
        for (uint32_t i = 0; i < N; i++) {
            bool drawn = uniform(100 + r, i) < pi[i];
            double length = sqrt(g[i][0] * g[i][0] + g[i][1] * g[i][1] + g[i][2] * g[i][2]);
            for (int a = 0; a < DIM; a++) {
                sum[a] += ((drawn ? 1.0 / pi[i] : 0.0) - 1.0) * g[i][a];
            }
            spent += drawn ? vattn_price(lambda * length, pi[i]) : 0.0;
        }
        double norm = sqrt(sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2]);
        count += lambda * norm >= level + price_factor * spent;
    }
    return count;
}

/* Smallest k with P(Binomial(DRAWS, p) > k) <= 1e-7. */
static int limit(double p) {
    int k = 0;
    while (vattn_incomplete_beta(k + 1.0, DRAWS - k, p) > 1e-7) {
        k++;
    }
    return k;
}

static void covers_heavy_tails(void ** state) {
    (void)state;
    for (int shape = 0; shape < N_SHAPES; shape++) {
        int honest = misses((enum shape)shape, 0.05, 1.0, 1.0), wide = misses((enum shape)shape, 0.5, 1.0, 1.0);
        print_message("%-22s misses %4d of %d at alpha .05, %4d at .5\n", names[shape], honest, DRAWS, wide);
        assert_true(honest <= limit(0.05) && wide <= limit(0.5));
    }
    int low_level = misses(LINE, 0.05, 1.0, 0.1), no_price = misses(LINE, 0.05, 0.0, 0.6);
    print_message("cheats on one line: level a tenth %d, nothing paid %d\n", low_level, no_price);
    assert_true(low_level > limit(0.05));
    assert_true(no_price > limit(0.05));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(price_pays_for_every_step),
                                       cmocka_unit_test(radius_solves_its_equation),
                                       cmocka_unit_test(covers_heavy_tails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
