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

/* The scale of the block of q8_0 that holds element d. */
VATTN_ALWAYS_INLINE float32x4_t block_scale(const char * row, int32_t d) {
    const uint16_t scale = vattn_load_u16(row + vattn_row_size(VATTN_TYPE_Q8_0, d));
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(scale)));
}

/* Eight elements from d on, a multiple of 8 for q8_0.  Loads are of bytes, because rows may lie at any address. */
VATTN_ALWAYS_INLINE float32x4x2_t load8(const char * row, int32_t d, enum vattn_type type) {
    const uint8_t * at = (const uint8_t *)row + vattn_row_size(type, d);
    switch (type) {
    case VATTN_TYPE_F16: {
        const float16x8_t half = vreinterpretq_f16_u8(vld1q_u8(at));
        return (float32x4x2_t){{vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)}};
    }
    case VATTN_TYPE_BF16: {
        const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(at));
        return (float32x4x2_t){{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                                vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))}};
    }
    case VATTN_TYPE_Q8_0: {
        const int8x8_t bytes = vreinterpret_s8_u8(vld1_u8(at + 2 + (uint32_t)d % VATTN_Q8_ELEMENTS));
        const int16x8_t wide = vmovl_s8(bytes);
        const float32x4_t scale = block_scale(row, d);
        return (float32x4x2_t){{vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), scale),
                                vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(wide)), scale)}};
    }
    case VATTN_TYPE_F32:
        break;
    }
    return (float32x4x2_t){{vreinterpretq_f32_u8(vld1q_u8(at)), vreinterpretq_f32_u8(vld1q_u8(at + 16))}};
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
VATTN_ALWAYS_INLINE void widen(const char * row, int32_t dim, enum vattn_type type, float * out) {
    int32_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        store8_floats(out + d, load8(row, d, type));
    }
    if (d < dim && type != VATTN_TYPE_Q8_0) { /* whose rows have no such rest */
        char copy[32] = {0};
        memcpy(copy, row + vattn_row_size(type, d), vattn_row_size(type, dim - d));
        store8_floats(out + d, load8(copy, 0, type));
    }
}

/* Rows [begin, end), width apart in out. */
VATTN_ALWAYS_INLINE void widen_rows(const struct vattn_rows * rows, int32_t begin, int32_t end, int32_t dim,
                                    enum vattn_type type, float * out, int32_t width) {
    for (int32_t j = begin; j < end; j++) {
        prefetch_rows(rows, j + NEON_AHEAD, j + NEON_AHEAD + 1, vattn_row_size(type, dim));
        widen(row_at(rows, j), dim, type, out + (ptrdiff_t)(j - begin) * width);
    }
}

#endif
