/* SPDX-License-Identifier: MIT
 *
 * Scores: register tiles of 2 rows x 4 heads, 3 x 3 or 4 x 2, at most eighteen sums of four lanes.  Three rows of four
 * heads would fill all thirty-two registers before the f16 values that are being widened find a place.
 * The sum of a pair is the same tree in every tile: eight lanes over the dimensions, then a fixed reduction.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/arm/rows_neon.h"

enum {
    TILE_ROWS_4 = 2,
    TILE_ROWS_3 = 3,
    TILE_ROWS_FEW = 4,
    BLOCK_ROWS = 12,
    SCORE_AHEAD = NEON_AHEAD
};

/* n_rows x n_heads scores; ahead: rows to prefetch meanwhile, or NULL; width is a multiple of 8, zeros behind dim. */
VATTN_ALWAYS_INLINE void score_tile(const char * const * row, const char * const * ahead, enum vattn_type type,
                                    const float * q, ptrdiff_t q_ld, const int32_t n_rows, const int32_t n_heads,
                                    int32_t width, float * out, ptrdiff_t ld) {
    float32x4x2_t sum[4][4];
    for (int32_t j = 0; j < 4; j++) {
        for (int32_t g = 0; g < 4; g++) {
            sum[j][g] = zero8();
        }
    }
    for (int32_t d = 0; d < width; d += 8) {
        for (int32_t j = 0; ahead != NULL && d % 32 == 0 && j < n_rows; j++) {
            prefetch_32(ahead[j], type, d);
        }
        float32x4x2_t x[4];
        for (int32_t j = 0; j < n_rows; j++) {
            x[j] = load8(row[j], d, type);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            const float32x4x2_t y = load8_floats(q + g * q_ld + d);
            for (int32_t j = 0; j < n_rows; j++) {
                sum[j][g] = fma8(sum[j][g], x[j], y);
            }
        }
    }
    for (int32_t j = 0; j < n_rows; j++) {
        float s[4];
        vst1q_f32(s, reduce4(sum[j][0], sum[j][1], sum[j][2], sum[j][3]));
        for (int32_t g = 0; g < n_heads; g++) {
            out[g * ld + j] = s[g];
        }
    }
}

#define TIER
#include "kernels/score_tiles.h"

#define DEFINE(name, type)                                                                                             \
    void vattn_score_##name##_neon(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,      \
                                   float * out, ptrdiff_t ld) {                                                        \
        if (dim % 8 != 0) {                                                                                            \
            score_ragged(rows, type, q, n_heads, dim, out, ld);                                                        \
        } else {                                                                                                       \
            score(rows, type, q, n_heads, dim, out, ld);                                                               \
        }                                                                                                              \
    }
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
