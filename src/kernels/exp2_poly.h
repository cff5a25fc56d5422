/* SPDX-License-Identifier: MIT
 *
 * 2^f on [-1/2, 1/2], degree 6: relative error below 1e-8 in exact arithmetic, so that only rounding is left.
 * Interpolation at the Chebyshev nodes, see scripts/exp2_poly.py; the constant term is exactly 1.
 */
#ifndef VATTN_EXP2_POLY_H
#define VATTN_EXP2_POLY_H

#define VATTN_EXP2_C1 0.693147182f
#define VATTN_EXP2_C2 0.240226507f
#define VATTN_EXP2_C3 0.0555035695f
#define VATTN_EXP2_C4 0.00961808302f
#define VATTN_EXP2_C5 0.00133908633f
#define VATTN_EXP2_C6 0.000154531634f

#endif
