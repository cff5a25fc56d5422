/* SPDX-License-Identifier: MIT
 *
 * The finite-sample bound of strict mode (docs/statistics.md, "Strict mode").
 *
 * Rows are read independently with probabilities pi_i; g_i are fixed vectors; xi_i = (I_i/pi_i - 1) g_i.  For a fixed
 * lambda with (1 - pi_i) exp(lambda |g_i|) < 1 for every row, read or not,
 *
 *     Pr( lambda |sum_i xi_i| >= ln(2/alpha) + sum_{i read} c(lambda |g_i|, pi_i) )  <=  alpha
 *     c(z, pi) = -k z - ln(1 - k (e^z - 1)),  k = (1 - pi)/pi
 *
 * A row that was not read costs nothing: its price is paid by the rows that were.
 */
#ifndef VATTN_PRICE_H
#define VATTN_PRICE_H

/* c(z, pi) for z >= 0 and 0 < pi <= 1, or up to two thousandths more: at least (1 - pi)/pi^2 z^2/2; infinity where it does
 * not exist; 0 for pi = 1. */
double vattn_price(double z, double pi);

/*
 * The largest y with  y <= beta sqrt(1 + (h + y)^2 / kappa^2): the bound on |o^ - o| where beta bounds the error of
 * (numerator about a, kappa times denominator) in units of D^, and h = |o^ - a|.  Infinity unless beta < kappa.
 */
double vattn_price_radius(double beta, double h, double kappa);

#endif
