/* SPDX-License-Identifier: MIT
 *
 * The design's sums: 256 tokens at a time, first their weights 1/pi - 1 for all heads, then the sums of each head.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include <arm_neon.h>
#include <assert.h>

enum { PART = 256 };

VATTN_ALWAYS_INLINE float32x4_t weight_of(float32x4_t x, float32x4_t floor4) {
    x = vminq_f32(x, vdupq_n_f32(0));
    const float32x4_t bits = vaddq_f32(vmulq_n_f32(x, 0x1p23f), vdupq_n_f32(127 * 0x1p23f)); /* the product is exact */
    const float32x4_t likely = vmaxq_f32(vreinterpretq_f32_s32(vcvtq_s32_f32(bits)), floor4);
    return vsubq_f32(vdivq_f32(vdupq_n_f32(1), likely), vdupq_n_f32(1));
}

/* n is a multiple of 8.  FMAXNM takes the number where a difference is a NaN. */
VATTN_ALWAYS_INLINE void part_weights(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                      int32_t n, float floor, float * w) {
    const float32x4_t floor4 = vdupq_n_f32(floor);
    for (int32_t j = 0; j < n; j += 8) {
        float32x4_t a = vdupq_n_f32(-126), b = a;
        for (int32_t g = 0; g < n_heads; g++) {
            const float32x4_t t = vdupq_n_f32(threshold[g]);
            a = vmaxnmq_f32(vsubq_f32(vld1q_f32(score + g * ld + j), t), a);
            b = vmaxnmq_f32(vsubq_f32(vld1q_f32(score + g * ld + j + 4), t), b);
        }
        vst1q_f32(w + j, weight_of(a, floor4));
        vst1q_f32(w + j + 4, weight_of(b, floor4));
    }
}

void vattn_design_neon(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,
                       int32_t n_heads, int32_t n, float floor, float * v, float * q) {
    assert(n % 8 == 0);
    for (int32_t g = 0; g < n_heads; g++) {
        v[g] = q[g] = 0;
    }
    for (int32_t at = 0; at < n; at += PART) {
        float w[PART];
        const int32_t m = n - at < PART ? n - at : PART;
        part_weights(score + at, ld, threshold, n_heads, m, floor, w);
        for (int32_t g = 0; g < n_heads; g++) {
            const float * z = weight + g * ld + at;
            float32x4_t sum_v[2] = {vdupq_n_f32(0), vdupq_n_f32(0)}, sum_q[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
            for (int32_t j = 0; j < m; j += 8) {
                for (int32_t i = 0; i < 2; i++) {
                    const float32x4_t w4 = vld1q_f32(w + j + 4 * i);
                    const float32x4_t y = vmulq_f32(w4, vld1q_f32(z + j + 4 * i));
                    sum_v[i] = vaddq_f32(sum_v[i], y);
                    sum_q[i] = vfmaq_f32(sum_q[i], vmulq_f32(w4, y), y);
                }
            }
            v[g] += vaddvq_f32(vaddq_f32(sum_v[0], sum_v[1]));
            q[g] += vaddvq_f32(vaddq_f32(sum_q[0], sum_q[1]));
        }
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
