/* SPDX-License-Identifier: MIT
 *
 * Rows for the NEON kernels: eight elements at a time as two vectors of floats.
 */
#ifndef VATTN_ROWS_NEON_H
#define VATTN_ROWS_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/arm/arm.h"

enum { NEON_AHEAD = 32 }; /* rows between the one in work and the one being prefetched, as with AVX2 */

/* Eight elements from d on.  Loads are of bytes, because rows may lie at any address. */
VATTN_ALWAYS_INLINE float32x4x2_t load8(const char * row, int32_t d, bool is_f16) {
    const uint8_t * at = (const uint8_t *)row + (ptrdiff_t)d * (is_f16 ? 2 : 4);
    float32x4x2_t x;
    if (is_f16) {
        const float16x8_t half = vreinterpretq_f16_u8(vld1q_u8(at));
        x.val[0] = vcvt_f32_f16(vget_low_f16(half));
        x.val[1] = vcvt_high_f32_f16(half);
    } else {
        x.val[0] = vreinterpretq_f32_u8(vld1q_u8(at));
        x.val[1] = vreinterpretq_f32_u8(vld1q_u8(at + 16));
    }
    return x;
}

VATTN_ALWAYS_INLINE float32x4x2_t load8_floats(const float * x) {
    return (float32x4x2_t){{vld1q_f32(x), vld1q_f32(x + 4)}};
}

VATTN_ALWAYS_INLINE void store8_floats(float * to, float32x4x2_t x) {
    vst1q_f32(to, x.val[0]);
    vst1q_f32(to + 4, x.val[1]);
}

/* sum + a * b */
VATTN_ALWAYS_INLINE float32x4x2_t fma8(float32x4x2_t sum, float32x4x2_t a, float32x4x2_t b) {
    return (float32x4x2_t){{vfmaq_f32(sum.val[0], a.val[0], b.val[0]), vfmaq_f32(sum.val[1], a.val[1], b.val[1])}};
}

VATTN_ALWAYS_INLINE float32x4x2_t fma8_by(float32x4x2_t sum, float32x4x2_t a, float b) {
    return (float32x4x2_t){{vfmaq_n_f32(sum.val[0], a.val[0], b), vfmaq_n_f32(sum.val[1], a.val[1], b)}};
}

VATTN_ALWAYS_INLINE float32x4x2_t zero8(void) {
    return (float32x4x2_t){{vdupq_n_f32(0), vdupq_n_f32(0)}};
}

/* The sums of four pairs of vectors, each by the same tree. */
VATTN_ALWAYS_INLINE float32x4_t reduce4(float32x4x2_t a, float32x4x2_t b, float32x4x2_t c, float32x4x2_t d) {
    const float32x4_t ab = vpaddq_f32(vaddq_f32(a.val[0], a.val[1]), vaddq_f32(b.val[0], b.val[1]));
    const float32x4_t cd = vpaddq_f32(vaddq_f32(c.val[0], c.val[1]), vaddq_f32(d.val[0], d.val[1]));
    return vpaddq_f32(ab, cd);
}

/* A whole row as floats, with zeros up to a multiple of 8; reads nothing behind the row. */
VATTN_ALWAYS_INLINE void widen(const char * row, int32_t dim, bool is_f16, float * out) {
    int32_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        store8_floats(out + d, load8(row, d, is_f16));
    }
    if (d < dim) {
        char copy[32] = {0};
        const size_t element = is_f16 ? 2 : 4;
        memcpy(copy, row + (size_t)d * element, (size_t)(dim - d) * element);
        store8_floats(out + d, load8(copy, 0, is_f16));
    }
}

/* Rows [begin, end), width apart in out. */
VATTN_ALWAYS_INLINE void widen_rows(const struct vattn_rows * rows, int32_t begin, int32_t end, int32_t dim,
                                    bool is_f16, float * out, int32_t width) {
    for (int32_t j = begin; j < end; j++) {
        prefetch_rows(rows, j + NEON_AHEAD, j + NEON_AHEAD + 1, (size_t)dim * (is_f16 ? 2 : 4));
        widen(row_at(rows, j), dim, is_f16, out + (ptrdiff_t)(j - begin) * width);
    }
}

#endif
