/* SPDX-License-Identifier: MIT
 *
 * Probabilities of the sampling, portable.
 */
#ifndef VATTN_PROBABILITY_GENERIC_H
#define VATTN_PROBABILITY_GENERIC_H

#include "base/half.h"
#include "kernels/kernels.h"

/* 2^24 * L(x) for any x but NaN, at least floor; exact float arithmetic but for the one rounding of the sum, so every
 * tier gets the same integer. */
static inline int32_t vattn_probability(float x, int32_t floor) {
    x = x > 0 ? 0 : x < -126 ? -126 : x;
    const float bits = x * 0x1p23f + 127 * 0x1p23f;
    const float likely = vattn_float_from_bits((uint32_t)(int32_t)bits);
    int32_t p = (int32_t)(likely * 0x1p24f);
    p = p < floor ? floor : p;
    return p > VATTN_PROB_ONE ? VATTN_PROB_ONE : p;
}

#endif
