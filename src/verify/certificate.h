/* SPDX-License-Identifier: MIT
 *
 * The certificate of one head: is sqrt(c (V + bias^2)) <= eps ||o|| ?   (docs/statistics.md)
 */
#ifndef VATTN_CERTIFICATE_H
#define VATTN_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "verify/quantile.h"

/* What the rows of a sample with pi < 1 say about one head; all sums over them, weights already divided by D. */
struct vattn_evidence {
    double o2;     /* ||o||^2 of the estimate */
    double v;      /* sum y,   y = (1 - pi)/pi^2 (e/D)^2 ||v - o||^2: estimated squared error */
    double v_keys; /* the part of V that drawing keys brings, the rest is of drawing values */
    double yy;     /* sum y^2 */
    double q;      /* sum (1 - pi) y^2 */
    double a0;     /* sum (1 - pi)/pi^2 (e/D)^2: estimated squared relative error of D */
    double trace2; /* estimate of tr(S^2), S the estimated covariance of the error */
    double top;    /* estimate of the largest eigenvalue of S (only for small delta) */
    int64_t draws; /* rows with pi < 1 that were read */
};

/* Smallest delta for which nu = tr(S)^2 / tr(S^2) may be used; below, tr(S) / lambda_max. */
#define VATTN_DELTA_SATTERTHWAITE 0.03

/* Effective degrees of freedom of the estimated covariance, in [1, dim]. */
double vattn_evidence_nu(const struct vattn_evidence * e, double delta, int32_t dim);

/* V^2 / sum (1 - pi) y^2: how many draws carry the variance estimate. */
double vattn_evidence_neff(const struct vattn_evidence * e);

/* What the bound is compared with: eps ||o||, where E ||o^||^2 = ||o||^2 + V. */
double vattn_evidence_allowed(const struct vattn_evidence * e, double eps);

/* sqrt(c (V + bias^2)); NaN if the evidence is.  The bias of the ratio is bounded by sqrt(a0 V).
 * fall: as if the variance were so many times smaller from so many times as many draws; 1 = the evidence itself. */
double vattn_evidence_bound(const struct vattn_evidence * e, const struct vattn_quantile * table, int32_t dim,
                            double fall);

#endif
