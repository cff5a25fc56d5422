/* SPDX-License-Identifier: MIT
 *
 * Squared distances: four rows are widened and compared with every center, four sums in registers.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

enum { TILE_ROWS = 4 };

/* Four widened rows against one center. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m128 distance_tile(const float * row, const int32_t width, const float * center) {
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
            const __m256 difference0 = _mm256_sub_ps(_mm256_loadu_ps(x), c0);
            const __m256 difference1 = _mm256_sub_ps(_mm256_loadu_ps(x + 8), c1);
            /* one addition per step in the chain of the sum, not two multiplications */
            const __m256 squares = _mm256_fmadd_ps(difference1, difference1, _mm256_mul_ps(difference0, difference0));
            sum[i] = _mm256_add_ps(sum[i], squares);
        }
    }
    if (d < width) {
        const __m256 c = _mm256_loadu_ps(center + d);
        for (int32_t i = 0; i < TILE_ROWS; i++) {
            const __m256 difference = _mm256_sub_ps(_mm256_loadu_ps(row + (ptrdiff_t)i * width + d), c);
            sum[i] = _mm256_fmadd_ps(difference, difference, sum[i]);
        }
    }
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(sum[0], sum[1]), _mm256_hadd_ps(sum[2], sum[3]));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void distance(const struct vattn_rows * rows, enum vattn_type type, const float * center,
                                             int32_t n_heads, const int32_t dim, float * dist2, ptrdiff_t ld) {
    float wide_row[TILE_ROWS * VATTN_MAX_DIM], wide_center[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    for (int32_t j = 0; j < rows->n; j += TILE_ROWS) {
        const int32_t n_rows = rows->n - j < TILE_ROWS ? rows->n - j : TILE_ROWS;
        prefetch_rows(rows, j + AVX2_AHEAD, j + AVX2_AHEAD + TILE_ROWS, vattn_row_size(type, dim));
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
            _mm_storeu_ps(four, distance_tile(wide_row, width, c));
            memcpy(dist2 + g * ld + j, four, (size_t)n_rows * sizeof *four);
        }
    }
}

#define DEFINE(name, type) VATTN_DEFINE_DISTANCE(VATTN_AVX2, name, type, avx2)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
