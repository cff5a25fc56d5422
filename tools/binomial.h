/* SPDX-License-Identifier: MIT
 * Exact binomial tails and the limits of the coverage test.
 *
 * A good case misses with probability p <= delta per draw.  It is judged in two stages (docs/statistics.md):
 *
 *   stage 1   n1 draws; at most limit1 misses: the case passes.   limit1 = least L with Pr(Bin(n1, delta) > L) <= .05
 *   stage 2   otherwise n2 fresh draws; above limit2: it fails.    limit2 = least L with Pr(Bin(n2, delta) > L) <= alpha / cases
 *
 * A good case fails with probability at most alpha / cases whatever stage 1 did, so all of them together give a false
 * alarm with probability at most alpha (Bonferroni).  A single stage uses limit2's rule on n1 draws. */
#ifndef VATTN_TOOLS_BINOMIAL_H
#define VATTN_TOOLS_BINOMIAL_H

#include <stdint.h>

/* Pr(X > limit) for X ~ Binomial(n, p). */
double binomial_tail(int64_t n, double p, int64_t limit);

/* The least L with binomial_tail(n, p, L) <= alpha. */
int64_t binomial_limit(int64_t n, double p, double alpha);

#endif
