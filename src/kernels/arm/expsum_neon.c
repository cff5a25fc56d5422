/* SPDX-License-Identifier: MIT
 *
 * Largest value, and exponentials with their sum: four vectors at a time; the last few values go through a padded copy.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "kernels/exp2_poly.h"

/* x where it is larger, so that NaNs do not count (FMAXNM would let a signalling one through). */
VATTN_ALWAYS_INLINE float32x4_t larger(float32x4_t x, float32x4_t largest) {
    return vbslq_f32(vcgtq_f32(x, largest), x, largest);
}

/* n < 4 values and minus infinities behind them. */
VATTN_ALWAYS_INLINE float32x4_t load_rest(const float * x, int32_t n) {
    float copy[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    memcpy(copy, x, (size_t)n * sizeof *x);
    return vld1q_f32(copy);
}

float vattn_max_neon(const float * x, int32_t n) {
    float32x4_t largest[4];
    for (int32_t i = 0; i < 4; i++) {
        largest[i] = vdupq_n_f32(-INFINITY);
    }
    int32_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (int32_t i = 0; i < 4; i++) {
            largest[i] = larger(vld1q_f32(x + j + 4 * i), largest[i]);
        }
    }
    for (; j + 4 <= n; j += 4) {
        largest[0] = larger(vld1q_f32(x + j), largest[0]);
    }
    if (j < n) {
        largest[1] = larger(load_rest(x + j, n - j), largest[1]);
    }
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(largest[0], largest[1]), vmaxq_f32(largest[2], largest[3])));
}

/* 2^(x - m) = 2^round(y) * 2^f; the integer goes into the exponent bits.  FMIN keeps a NaN. */
VATTN_ALWAYS_INLINE float32x4_t exp2_4(float32x4_t x, float32x4_t m) {
    const float32x4_t y = vminq_f32(vsubq_f32(x, m), vdupq_n_f32(128));
    const float32x4_t nearest = vrndnq_f32(y);
    const float32x4_t f = vsubq_f32(y, nearest);
    float32x4_t p = vdupq_n_f32(VATTN_EXP2_C6);
    p = vfmaq_f32(vdupq_n_f32(VATTN_EXP2_C5), p, f);
    p = vfmaq_f32(vdupq_n_f32(VATTN_EXP2_C4), p, f);
    p = vfmaq_f32(vdupq_n_f32(VATTN_EXP2_C3), p, f);
    p = vfmaq_f32(vdupq_n_f32(VATTN_EXP2_C2), p, f);
    p = vfmaq_f32(vdupq_n_f32(VATTN_EXP2_C1), p, f);
    p = vfmaq_f32(vdupq_n_f32(1), p, f);
    const int32x4_t power = vshlq_n_s32(vcvtq_s32_f32(nearest), 23);
    const int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(p), power);
    const uint32x4_t tiny = vorrq_u32(vcltq_f32(y, vdupq_n_f32(-126)), vceqq_f32(x, vdupq_n_f32(-INFINITY)));
    return vreinterpretq_f32_s32(vbicq_s32(bits, vreinterpretq_s32_u32(tiny)));
}

float vattn_exp2_sum_neon(float * x, int32_t n, float m) {
    const float32x4_t m4 = vdupq_n_f32(m);
    float32x4_t sum[4];
    for (int32_t i = 0; i < 4; i++) {
        sum[i] = vdupq_n_f32(0);
    }
    int32_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (int32_t i = 0; i < 4; i++) {
            const float32x4_t e = exp2_4(vld1q_f32(x + j + 4 * i), m4);
            vst1q_f32(x + j + 4 * i, e);
            sum[i] = vaddq_f32(sum[i], e);
        }
    }
    for (; j + 4 <= n; j += 4) {
        const float32x4_t e = exp2_4(vld1q_f32(x + j), m4);
        vst1q_f32(x + j, e);
        sum[0] = vaddq_f32(sum[0], e);
    }
    if (j < n) {
        const float32x4_t e = exp2_4(load_rest(x + j, n - j), m4); /* the padding gives zeros */
        float copy[4];
        vst1q_f32(copy, e);
        memcpy(x + j, copy, (size_t)(n - j) * sizeof *x);
        sum[1] = vaddq_f32(sum[1], e);
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

#else
typedef int vattn_empty_translation_unit;
#endif
