/* SPDX-License-Identifier: MIT
 *
 * The second stage of the sampling, four keys at a time.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include <arm_neon.h>
#include <string.h>

#include "kernels/arm/probability_neon.h"
#include "kernels/generic/probability_generic.h"

/* max_g (score - threshold) + bonus / 8; FMAXNM takes the number where a difference is a NaN. */
VATTN_ALWAYS_INLINE float32x4_t best_margin(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                            const int8_t * bonus) {
    float32x4_t x = vdupq_n_f32(-126);
    for (int32_t g = 0; g < n_heads; g++) {
        x = vmaxnmq_f32(vsubq_f32(vld1q_f32(score + g * ld), vdupq_n_f32(threshold[g])), x);
    }
    int32_t four;
    memcpy(&four, bonus, sizeof four);
    const int8x8_t byte = vreinterpret_s8_s32(vdup_n_s32(four));
    const float32x4_t eighths = vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(byte))));
    return vaddq_f32(x, vmulq_n_f32(eighths, 0.125f)); /* the product is exact */
}

/* New probabilities of four keys; lane i is all ones where key i was drawn by chance, stays, and may not have. */
VATTN_ALWAYS_INLINE uint32x4_t thin_four(float32x4_t x, int32_t shift, int32_t * prob, const int32_t * draw) {
    const int32x4_t drawn = vld1q_s32(draw), old = vld1q_s32(prob);
    const uint32x4_t by_chance = vcgeq_s32(drawn, vdupq_n_s32(0));
    const int32x4_t least = vshlq_s32(old, vdupq_n_s32(-shift));
    const int32x4_t p = vbslq_s32(by_chance, vminq_s32(probability(x, least), old), old);
    vst1q_s32(prob, p);
    return vandq_u32(by_chance, vandq_u32(vcltq_s32(drawn, p), vcltq_s32(p, vdupq_n_s32(VATTN_PROB_ONE))));
}

int32_t vattn_thin_neon(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                        const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                        int32_t * n_tail) {
    int32_t j = 0, count = 0;
    for (; j + 4 <= n; j += 4) {
        const float32x4_t x = best_margin(score + j, ld, threshold, n_heads, bonus + j);
        uint32_t stays[4];
        vst1q_u32(stays, thin_four(x, shift, prob + j, draw + j));
        for (int32_t i = 0; i < 4; i++) { /* keep has room for a few more */
            keep[count] = j + i;
            count += stays[i] != 0;
        }
    }
    for (; j < n; j++) {
        if (vattn_thin_one(score + j, ld, threshold, n_heads, bonus[j], shift, prob + j, draw[j])) {
            keep[count++] = j;
        }
    }
    *n_tail = count;
    for (j = 0; j < n; j++) {
        keep[count] = j;
        count += draw[j] < 0 || prob[j] == VATTN_PROB_ONE;
    }
    return count;
}

#else
typedef int vattn_empty_translation_unit;
#endif
