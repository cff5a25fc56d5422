/* SPDX-License-Identifier: MIT
 *
 * Squared distances: four rows are widened and compared with every center.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/arm/rows_neon.h"

enum { TILE_ROWS = 4 };

/* Four widened rows against one center. */
VATTN_ALWAYS_INLINE float32x4_t distance_tile(const float * row, const int32_t width, const float * center) {
    float32x4x2_t sum[TILE_ROWS] = {zero8(), zero8(), zero8(), zero8()};
    for (int32_t d = 0; d < width; d += 8) {
        const float32x4x2_t c = load8_floats(center + d);
        for (int32_t i = 0; i < TILE_ROWS; i++) {
            const float32x4x2_t x = load8_floats(row + (ptrdiff_t)i * width + d);
            const float32x4x2_t difference = {{vsubq_f32(x.val[0], c.val[0]), vsubq_f32(x.val[1], c.val[1])}};
            sum[i] = fma8(sum[i], difference, difference);
        }
    }
    return reduce4(sum[0], sum[1], sum[2], sum[3]);
}

VATTN_ALWAYS_INLINE void distance(const struct vattn_rows * rows, enum vattn_type type, const float * center,
                                  int32_t n_heads, const int32_t dim, float * dist2, ptrdiff_t ld) {
    float wide_row[TILE_ROWS * VATTN_MAX_DIM], wide_center[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    for (int32_t j = 0; j < rows->n; j += TILE_ROWS) {
        const int32_t n_rows = rows->n - j < TILE_ROWS ? rows->n - j : TILE_ROWS;
        prefetch_rows(rows, j + NEON_AHEAD, j + NEON_AHEAD + TILE_ROWS, vattn_row_size(type, dim));
        for (int32_t i = 0; i < TILE_ROWS; i++) { /* the last row again, where there are fewer */
            widen(row_at(rows, j + (i < n_rows ? i : n_rows - 1)), dim, type, wide_row + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            const float * c = center + (ptrdiff_t)g * dim;
            float four[TILE_ROWS];
            if (width != dim) {
                widen((const char *)c, dim, VATTN_TYPE_F32, wide_center);
                c = wide_center;
            }
            vst1q_f32(four, distance_tile(wide_row, width, c));
            memcpy(dist2 + g * ld + j, four, (size_t)n_rows * sizeof *four);
        }
    }
}

#define DEFINE(name, type) VATTN_DEFINE_DISTANCE(, name, type, neon)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
