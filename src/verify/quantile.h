/* SPDX-License-Identifier: MIT
 *
 * c(nu, n2) = the (1 - delta) quantile of Fisher's F with nu and n2 = 2 neff degrees of freedom, times what the skewness
 * of a sample of neff draws may ask for on top: what the squared error of the output, in units of its estimated variance,
 * stays below with probability 1 - delta (docs/statistics.md, section 3).
 * Tabulated once per plan; looked up by bilinear interpolation of log c in (log nu, n2^-1/2), rounded up by 0.3 %.
 */
#ifndef VATTN_QUANTILE_H
#define VATTN_QUANTILE_H

#define VATTN_QUANTILE_NU 25
#define VATTN_QUANTILE_N2 26

struct vattn_quantile {
    double delta;
    double z2, kappa; /* of the factor for skewness: the squared normal quantile, (4 z^4 - 7 z^2 - 3) / 36 or 0 */
    double log_c[VATTN_QUANTILE_NU][VATTN_QUANTILE_N2];
};

void vattn_quantile_init(struct vattn_quantile * table, double delta);

/* nu is clamped to [1, 600]; n2 below 2 gives infinity: no draws to say anything. */
double vattn_quantile_f(const struct vattn_quantile * table, double nu, double n2);

/*
 * 1 + kappa / (neff + z^2): where few draws are skewed, a low estimate of the output and a low one of its variance come together.
 * kappa is derived for draws of equal weight on a line, the most skewed there are for an neff; z^2 beside neff keeps few draws,
 * where the expansion ends, at delta and not far below.
 */
double vattn_quantile_skewness(const struct vattn_quantile * table, double neff);

/* The quantile of F itself, slowly: P(F > result) = delta. */
double vattn_f_quantile(double delta, double d1, double d2);

/* Regularised incomplete beta function I_x(a, b). */
double vattn_incomplete_beta(double a, double b, double x);

/* Two-sided standard normal quantile: P(|Z| > z) = delta. */
double vattn_normal_two_sided(double delta);

#endif
