/* SPDX-License-Identifier: MIT
 *
 * Probabilities of the sampling, four at a time.
 */
#ifndef VATTN_PROBABILITY_NEON_H
#define VATTN_PROBABILITY_NEON_H

#include <arm_neon.h>

#include "kernels/tier.h"

/* 2^24 * L(x) as integers, at least floor, at most 2^24; products and the scaling are exact. */
VATTN_ALWAYS_INLINE int32x4_t probability(float32x4_t x, int32x4_t floor) {
    x = vmaxq_f32(vminq_f32(x, vdupq_n_f32(0)), vdupq_n_f32(-126));
    const float32x4_t bits = vaddq_f32(vmulq_n_f32(x, 0x1p23f), vdupq_n_f32(127 * 0x1p23f));
    const float32x4_t likely = vreinterpretq_f32_s32(vcvtq_s32_f32(bits));
    const int32x4_t p = vcvtq_s32_f32(vmulq_n_f32(likely, 0x1p24f));
    return vminq_s32(vmaxq_s32(p, floor), vdupq_n_s32(VATTN_PROB_ONE));
}

#endif
