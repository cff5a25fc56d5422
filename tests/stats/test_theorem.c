/* SPDX-License-Identifier: MIT
 *
 * The theorem of strict mode (docs/statistics.md, section 8), without chance: on small inputs every possible sample is
 * visited, so probabilities are exact and a bound that is too small by a hair shows.  Inputs are random, skewed and aimed at
 * the places where the proof has no room: one line, a needle that carries all the room there is, a center that is too far
 * from the output.  A library that breaks one of the conditions must break the bound.
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

enum { ROWS = 11, DIM = 2 };

static double uniform(uint32_t stream, uint32_t i) {
    const uint32_t counter[4] = {i, stream, 0, vattn_random_stream(VATTN_RANDOM_TEST, 2, 2)}, key[2] = {7, 8};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return vattn_random_uniform(word[0]);
}

static double length(const double * x) {
    return sqrt(x[0] * x[0] + x[1] * x[1]);
}

/* ------------------------------------------------------------------------------------------------------------ prices */

/* c(z, pi) in long double, straight from its definition. */
static long double definition(double z, double pi) {
    long double k = (1.0L - (long double)pi) / (long double)pi;
    return -k * (long double)z - log1pl(-k * expm1l((long double)z));
}

/* A price may be too high by two thousandths, never too low, on either side of every switch. */
static void prices_are_never_too_low(void ** state) {
    (void)state;
    double lowest = INFINITY, highest = 0.0;
    for (uint32_t i = 0; i < 400000; i++) {
        double pi = pow(2.0, -10.0 * uniform(1, i)), z = -log1p(-pi) * pow(10.0, -5.0 * uniform(2, i));
        double pick = uniform(3, i), k = (1.0 - pi) / pi;
        z = pick < 0.2   ? 0.1 * (0.999 + 0.002 * uniform(4, i))
            : pick < 0.4 ? 0.1 / k * (0.999 + 0.002 * uniform(4, i))
                         : z;
        double c = vattn_price(z, pi);
        if (isfinite(c) && c > 1e-14) {
            double ratio = (double)((long double)c / definition(z, pi));
            lowest = fmin(lowest, ratio);
            highest = fmax(highest, ratio);
        }
    }
    print_message("prices: %.9f to %.6f times their definition\n", lowest, highest);
    assert_true(lowest >= 1.0 - 1e-6 && highest <= 1.002); /* 1e-6: what the definition loses where c is tiny */
}

/* ------------------------------------------------------------------------------------------------------------- Lemma 2 */

/* Pr( lambda |sum xi| >= level + prices ), over all 2^ROWS samples; lambda is in g. */
static double tail(double g[ROWS][DIM], const double pi[ROWS], double level) {
    double total = 0.0;
    for (uint32_t set = 0; set < 1U << ROWS; set++) {
        double p = 1.0, x[DIM] = {0}, spent = 0.0;
        for (int i = 0; i < ROWS; i++) {
            bool in = (set >> i & 1U) != 0;
            double f = in ? (1.0 - pi[i]) / pi[i] : -1.0;
            p *= in ? pi[i] : 1.0 - pi[i];
            spent += in ? vattn_price(length(g[i]), pi[i]) : 0.0;
            x[0] += f * g[i][0];
            x[1] += f * g[i][1];
        }
        total += length(x) >= level + spent ? p : 0.0;
    }
    return total;
}

/* Vectors as long as `room` of what the condition allows, on one line or in the plane, with random probabilities. */
static void vectors(uint32_t r, double room, double g[ROWS][DIM], double pi[ROWS]) {
    bool line = r % 2 == 0, even = r % 3 == 0;
    double low = pow(10.0, -2.5 * uniform(10, r));
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t at = r * ROWS + i;
        pi[i] = even ? low : fmin(0.999, low * (1.0 + 4.0 * uniform(11, at)));
        double angle = line ? 0.0 : 6.2831853 * uniform(12, at);
        double z = -room * log1p(-pi[i]) * (even ? 1.0 : uniform(13, at));
        g[i][0] = z * cos(angle) * (line && uniform(14, at) < 0.2 ? -1.0 : 1.0);
        g[i][1] = z * sin(angle);
    }
}

/* Largest exact probability over alpha, of `n` inputs, where the lemma allows 1. */
static double worst_tail(uint32_t n, double alpha, double level_factor) {
    static const double room[] = {0.1, 0.5, 0.8, 0.95, 0.999};
    double worst = 0.0, g[ROWS][DIM], pi[ROWS];
    for (uint32_t r = 0; r < n; r++) {
        vectors(r, room[r % 5], g, pi);
        worst = fmax(worst, tail(g, pi, log(2.0 / alpha) * level_factor) / alpha);
    }
    return worst;
}

static void no_tail_exceeds_alpha(void ** state) {
    (void)state;
    static const double alpha[] = {0.9, 0.5, 0.2, 0.05, 0.01};
    for (int i = 0; i < 5; i++) {
        double honest = worst_tail(600, alpha[i], 1.0);
        print_message("alpha %.2f: largest exact tail %.3f alpha\n", alpha[i], honest);
        assert_true(honest <= 1.0);
    }
    double without_two = worst_tail(600, 0.2, log(1.0 / 0.2) / log(2.0 / 0.2)), half = worst_tail(600, 0.05, 0.4);
    print_message("ln(1/alpha) instead of ln(2/alpha): %.3f alpha; two fifths of the level: %.2f alpha\n", without_two,
                  half);
    assert_true(half > 1.0);
}

/* --------------------------------------------------------------------------------------------------------- the theorem */

struct problem {
    double e[ROWS], v[ROWS][DIM], o[DIM], d;
    double pi[ROWS];
    double center[DIM], within, lambda; /* lambda: of 1/D */
};

static double apart(const double * a, const double * b) {
    double x[DIM] = {a[0] - b[0], a[1] - b[1]};
    return length(x);
}

/* o^ and D^ of one sample; its probability. */
static double estimate(const struct problem * p, uint32_t set, double * o, double * d) {
    double chance = 1.0;
    o[0] = o[1] = *d = 0.0;
    for (int i = 0; i < ROWS; i++) {
        bool in = (set >> i & 1U) != 0;
        chance *= in ? p->pi[i] : 1.0 - p->pi[i];
        double w = in ? p->e[i] / p->pi[i] : 0.0;
        *d += w;
        o[0] += w * p->v[i][0];
        o[1] += w * p->v[i][1];
    }
    o[0] /= *d;
    o[1] /= *d;
    return chance;
}

struct rules { /* what a cheat changes */
    double level_factor, fine_alpha, crude_alpha;
    bool crude; /* false: believe that o is near the center */
};

/* The stated radius, or infinity: section 8, "One look". */
static double radius(const struct problem * p, uint32_t set, const double * o, double d, double x, struct rules rules) {
    double level = log(2.0 / rules.fine_alpha) * rules.level_factor, crude_level = log(2.0 / rules.crude_alpha),
           sum[3] = {0};
    double off = apart(o, p->center), allowed = x * length(o), most = p->within;
    if (!(d > 0.0)) {
        return INFINITY;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < ROWS; i++) {
            double z = p->lambda * p->e[i], r = apart(p->v[i], o);
            if ((set >> i & 1U) == 0) {
                continue;
            }
            if (pass == 0) {
                sum[0] += vattn_price(z * hypot(apart(p->v[i], p->center), p->within), p->pi[i]);
            } else {
                sum[1] += vattn_price(z * (r + allowed), p->pi[i]);
                sum[2] += vattn_price(z * (r + most), p->pi[i]);
            }
        }
        if (pass == 0 && rules.crude) {
            most = vattn_price_radius((crude_level + sum[0]) / (p->lambda * d), off, p->within);
            if (!(off + most <= p->within)) {
                return INFINITY;
            }
        }
    }
    double fine = (level + sum[1]) / (p->lambda * d);
    return fine <= allowed && (!rules.crude || level + sum[2] < p->lambda * d * most) ? fine : INFINITY;
}

/* Exact probability that an answer is certified and farther off than stated; *certified: that it is certified. */
static double wrong(const struct problem * p, double x, struct rules rules, double * certified) {
    double total = 0.0, o[DIM], d;
    *certified = 0.0;
    for (uint32_t set = 0; set < 1U << ROWS; set++) {
        double chance = estimate(p, set, o, &d), y = radius(p, set, o, d, x, rules);
        *certified += isfinite(y) ? chance : 0.0;
        total += isfinite(y) && apart(o, p->o) > y ? chance : 0.0;
    }
    return total;
}

/*
 * Weights and values of all sizes; the center is the output of a perturbed input, lambda what a design would take, and the
 * least probabilities that condition (1) allows (times up to 3, for some rows), which leaves the proof the least room.
 */
static struct problem make(uint32_t r, double x, double level, double theta) {
    struct problem p = {.d = 0.0};
    double spread = pow(10.0, -2.0 + 2.0 * uniform(20, r)), tilt = 2.0 * uniform(21, r);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t at = r * ROWS + i;
        p.e[i] = exp(tilt * (uniform(22, at) - 0.5) * 4.0);
        p.v[i][0] = 1.0 + spread * (uniform(23, at) < 0.1 ? 10.0 : 2.0 * uniform(24, at) - 1.0);
        p.v[i][1] = r % 2 == 0 ? 0.0 : spread * (2.0 * uniform(25, at) - 1.0);
        p.d += p.e[i];
        p.o[0] += p.e[i] * p.v[i][0];
        p.o[1] += p.e[i] * p.v[i][1];
    }
    p.o[0] /= p.d;
    p.o[1] /= p.d;
    double allowed = x * length(p.o);
    p.within = allowed * (2.0 + 6.0 * uniform(26, r));
    p.center[0] = p.o[0] + (r % 4 == 3 ? 1.5 : 0.7) * p.within * (2.0 * uniform(27, r) - 1.0); /* sometimes too far */
    p.center[1] = p.o[1];
    p.lambda = (1.5 + 1.5 * uniform(28, r)) * level / allowed / p.d;
    for (uint32_t i = 0; i < ROWS; i++) {
        double least = p.lambda * p.e[i] * (apart(p.v[i], p.center) + p.within) / theta;
        double more = uniform(29, r * ROWS + i) < 0.5 ? 1.0 : 1.0 + 2.0 * uniform(30, r * ROWS + i);
        p.pi[i] = fmin(1.0, least * more);
    }
    return p;
}

static const double SHARE = 0.05; /* of alpha, for the crude bound */

static struct rules honest(double alpha) {
    return (struct rules){1.0, (1.0 - SHARE) * alpha, SHARE * alpha, true};
}

struct tally {
    double worst, most_certified;
    int certified; /* inputs that are certified in a tenth of the draws or more, with rows left to chance */
};

static struct tally try_all(uint32_t n, double alpha, double theta, struct rules rules) {
    static const double error[] = {0.05, 0.2, 0.5, 0.9};
    struct tally t = {0};
    for (uint32_t r = 0; r < n; r++) {
        double eps = error[r % 4], certified, x = eps / (1.0 + eps), tails = 0.0;
        struct problem p = make(r, x, log(2.0 / rules.fine_alpha), theta);
        for (int i = 0; i < ROWS; i++) {
            tails += p.pi[i] < 1.0;
        }
        t.worst = fmax(t.worst, wrong(&p, x, rules, &certified) / alpha);
        t.most_certified = fmax(t.most_certified, tails > 0.0 ? certified : 0.0);
        t.certified += tails >= 3.0 && certified >= 0.1;
    }
    return t;
}

static void certified_and_wrong_is_rare(void ** state) {
    (void)state;
    static const double alpha[] = {0.9, 0.5, 0.05};
    for (int i = 0; i < 3; i++) {
        struct tally t = try_all(2000, alpha[i], 0.8, honest(alpha[i]));
        print_message("alpha %.2f: certified and wrong at most %.4f alpha; %d inputs certified by samples\n", alpha[i],
                      t.worst, t.certified);
        assert_true(t.worst <= 1.0 && t.certified >= 25);
    }
}

/* Every part of the certificate is needed. */
static void cheats_break_it(void ** state) {
    (void)state;
    struct rules low = honest(0.05), blind = honest(0.05);
    low.level_factor = 0.1;
    blind.crude = false;
    struct tally a = try_all(2000, 0.05, 0.8, low), b = try_all(2000, 0.05, 40.0, blind);
    print_message("a tenth of the level: %.2f alpha; condition (1) broken by a factor of 50: %.2f alpha\n", a.worst,
                  b.worst);
    assert_true(a.worst > 1.0 && b.worst > 1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prices_are_never_too_low), cmocka_unit_test(no_tail_exceeds_alpha),
        cmocka_unit_test(certified_and_wrong_is_rare), cmocka_unit_test(cheats_break_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
