/* SPDX-License-Identifier: MIT
 *
 * Probabilities of the sampling, portable; faster tiers use them for the last few keys.
 */
#ifndef VATTN_PROBABILITY_GENERIC_H
#define VATTN_PROBABILITY_GENERIC_H

#include "base/half.h"
#include "kernels/kernels.h"

/* L(x), the piecewise linear 2^x, for any x but NaN. */
static inline float vattn_likelihood(float x) {
    x = x > 0 ? 0 : x < -126 ? -126 : x;
    const float bits = x * 0x1p23f + 127 * 0x1p23f;
    return vattn_float_from_bits((uint32_t)(int32_t)bits);
}

/* 2^24 * L(x) for any x but NaN, at least floor; exact float arithmetic but for the one rounding of the sum, so every
 * tier gets the same integer. */
static inline int32_t vattn_probability(float x, int32_t floor) {
    int32_t p = (int32_t)(vattn_likelihood(x) * 0x1p24f);
    p = p < floor ? floor : p;
    return p > VATTN_PROB_ONE ? VATTN_PROB_ONE : p;
}

/* The second stage for one key, the pointers being those of the key: its new probability; does it stay by chance? */
static inline bool vattn_thin_one(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                  int8_t bonus, int32_t shift, int32_t * prob, int32_t draw) {
    if (draw < 0) {
        return false;
    }
    float x = -126;
    for (int32_t g = 0; g < n_heads; g++) { /* a NaN is not larger */
        const float above = score[g * ld] - threshold[g];
        x = above > x ? above : x;
    }
    const int32_t p = vattn_probability(x + 0.125f * (float)bonus, *prob >> shift);
    *prob = p < *prob ? p : *prob;
    return draw < *prob && *prob < VATTN_PROB_ONE;
}

#endif
