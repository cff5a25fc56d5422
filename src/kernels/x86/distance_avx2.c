/* SPDX-License-Identifier: MIT
 *
 * Squared distances: four rows are widened and compared with every center, four sums in registers.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

enum { TILE_ROWS = 4 };

/* Four widened rows against one center. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void distance_tile(const float * row, const int32_t width, const float * center, float * dist2) {
    __m256 sum[TILE_ROWS];
    for (int32_t i = 0; i < TILE_ROWS; i++) {
        sum[i] = _mm256_setzero_ps();
    }
    int32_t d = 0;
    VATTN_UNROLL(2)
    for (; d + 16 <= width; d += 16) {
        const __m256 c0 = _mm256_loadu_ps(center + d), c1 = _mm256_loadu_ps(center + d + 8);
        for (int32_t i = 0; i < TILE_ROWS; i++) {
            const float * x = row + (ptrdiff_t)i * width + d;
            const __m256 difference0 = _mm256_sub_ps(c0, _mm256_loadu_ps(x));
            const __m256 difference1 = _mm256_sub_ps(c1, _mm256_loadu_ps(x + 8));
            /* one addition per step in the chain of the sum, not two multiplications */
            const __m256 squares = _mm256_fmadd_ps(difference1, difference1, _mm256_mul_ps(difference0, difference0));
            sum[i] = _mm256_add_ps(sum[i], squares);
        }
    }
    if (d < width) {
        const __m256 c = _mm256_loadu_ps(center + d);
        for (int32_t i = 0; i < TILE_ROWS; i++) {
            const __m256 difference = _mm256_sub_ps(c, _mm256_loadu_ps(row + (ptrdiff_t)i * width + d));
            sum[i] = _mm256_fmadd_ps(difference, difference, sum[i]);
        }
    }
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(sum[0], sum[1]), _mm256_hadd_ps(sum[2], sum[3]));
    _mm_storeu_ps(dist2, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

#define TIER VATTN_AVX2
#define DISTANCE_AHEAD      AVX2_AHEAD
#include "kernels/distance_tiles.h"

#define DEFINE(name, type) VATTN_DEFINE_DISTANCE(VATTN_AVX2, name, type, avx2)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
