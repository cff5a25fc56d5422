/* SPDX-License-Identifier: MIT
 *
 * How large a uniform sample must be: the formulas of the paper, with what the pilot estimated plugged in.
 *
 *     Lemma 4.1   a sum of n_s vectors of population covariance Sigma is known within tau with probability 1 - delta from
 *                 b >= (z(delta) n_s sqrt(Tr Sigma) / tau)^2 of them, z two-sided
 *     denominator   tau = eps D,      Tr Sigma = Var(e_i)
 *     numerator     tau = eps ||N||,  Tr Sigma = sum_j Var(e_i v_ij)
 *     output        Theorem 4.3: numerator to (e1, d1), denominator to (e2, d2), 2 (e1 + e2) = eps, d1 + d2 = delta,
 *                   b = max(b_N, b_D) as small as the choice of the four can make it
 *
 * Without replacement b becomes b / (1 + b / n_s).
 */
#ifndef VATTN_BUDGET_H
#define VATTN_BUDGET_H

#include <stdint.h>

/* Relative sizes of the errors: n_s sqrt(Tr Sigma) / ||N|| and n_s sd(e) / D. */
struct vattn_spread {
    double n, d;
};

struct vattn_split {
    double e1, d1; /* of the numerator */
    double e2, d2; /* of the denominator */
    double b;      /* max(b_N, b_D), with replacement */
};

/* (z(delta) spread / eps)^2 */
double vattn_budget_one(double spread, double eps, double delta);

struct vattn_split vattn_budget_split(struct vattn_spread spread, double eps, double delta);

/* The budget without replacement, as a number of rows in [pilot, n_s]. */
int64_t vattn_budget_rows(double b, int64_t pilot, int64_t n_s);

#endif
