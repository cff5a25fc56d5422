/* SPDX-License-Identifier: MIT
 *
 * Rows against centres of their own: a row is loaded once, the differences are stored only where they are wanted.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/arm/rows_neon.h"

VATTN_ALWAYS_INLINE float32x4x2_t subtract8(float32x4x2_t a, float32x4x2_t b) {
    return (float32x4x2_t){{vsubq_f32(a.val[0], b.val[0]), vsubq_f32(a.val[1], b.val[1])}};
}

/* The last dim - d < 8 differences of a row; lanes behind the row are 0 - 0. */
VATTN_ALWAYS_INLINE float32x4x2_t offset_tail(const char * row, const char * center, enum vattn_type type, int32_t d,
                                              int32_t dim, float * out) {
    const size_t at = vattn_row_size(type, d);
    float x[8], c[8];
    widen(row + at, dim - d, type, x);
    widen(center + at, dim - d, type, c);
    const float32x4x2_t difference = subtract8(load8_floats(x), load8_floats(c));
    if (out != NULL) {
        store8_floats(x, difference);
        memcpy(out + d, x, (size_t)(dim - d) * sizeof *out);
    }
    return difference;
}

VATTN_ALWAYS_INLINE void offset(const struct vattn_rows * rows, const struct vattn_rows * centers, enum vattn_type type,
                                const int32_t dim, float * dist2, float * out, ptrdiff_t ld) {
    for (int32_t j = 0; j < rows->n; j++) {
        const char *row = row_at(rows, j), *center = row_at(centers, j);
        float * to = out != NULL ? out + j * ld : NULL;
        float32x4x2_t sum = zero8();
        int32_t d = 0;
        prefetch_rows(rows, j + NEON_AHEAD, j + NEON_AHEAD + 1, vattn_row_size(type, dim));
        for (; d + 8 <= dim; d += 8) {
            const float32x4x2_t x = subtract8(load8(row, d, type), load8(center, d, type));
            if (to != NULL) {
                store8_floats(to + d, x);
            }
            sum = fma8(sum, x, x);
        }
        if (d < dim) {
            const float32x4x2_t x = offset_tail(row, center, type, d, dim, to);
            sum = fma8(sum, x, x);
        }
        dist2[j] = vaddvq_f32(vaddq_f32(sum.val[0], sum.val[1]));
    }
}

#define DEFINE(name, type) VATTN_DEFINE_OFFSET(, name, type, neon)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
