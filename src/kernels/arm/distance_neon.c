/* SPDX-License-Identifier: MIT
 *
 * Squared distances: four rows are widened and compared with every center.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/arm/rows_neon.h"

enum { TILE_ROWS = 4 };

/* Four widened rows against one center. */
VATTN_ALWAYS_INLINE void distance_tile(const float * row, const int32_t width, const float * center, float * dist2) {
    float32x4x2_t sum[TILE_ROWS] = {zero8(), zero8(), zero8(), zero8()};
    for (int32_t d = 0; d < width; d += 8) {
        const float32x4x2_t c = load8_floats(center + d);
        for (int32_t i = 0; i < TILE_ROWS; i++) {
            const float32x4x2_t x = load8_floats(row + (ptrdiff_t)i * width + d);
            const float32x4x2_t difference = {{vsubq_f32(x.val[0], c.val[0]), vsubq_f32(x.val[1], c.val[1])}};
            sum[i] = fma8(sum[i], difference, difference);
        }
    }
    vst1q_f32(dist2, reduce4(sum[0], sum[1], sum[2], sum[3]));
}

#define TIER
#define DISTANCE_AHEAD NEON_AHEAD
#include "kernels/distance_tiles.h"

#define DEFINE(name, type) VATTN_DEFINE_DISTANCE(, name, type, neon)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
