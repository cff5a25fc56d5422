/* SPDX-License-Identifier: MIT
 *
 * Squared distances: four rows against one or two centers, four or eight sums in registers; a row is widened once for two centers.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx512.h"

enum { TILE_ROWS = 4, TILE_HEADS = 2 };

/* Lanes outside the mask are 0 - 0. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void distance_step(const char * const * row, enum vattn_type type, int32_t dim,
                                                    const float * center, const int32_t n_heads, int32_t d,
                                                    __mmask16 mask, __m512 (*sum)[TILE_ROWS]) {
    __m512 c[TILE_HEADS];
    for (int32_t g = 0; g < n_heads; g++) {
        c[g] = _mm512_maskz_loadu_ps(mask, center + (ptrdiff_t)g * dim + d);
    }
    for (int32_t i = 0; i < TILE_ROWS; i++) {
        const __m512 x = load16(row[i], d, type, mask);
        for (int32_t g = 0; g < n_heads; g++) {
            const __m512 difference = _mm512_sub_ps(x, c[g]);
            sum[g][i] = _mm512_fmadd_ps(difference, difference, sum[g][i]);
        }
    }
}

/* Four rows against n_heads centers: the first n_rows distances to each, ld apart. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void distance_tile(const char * const * row, enum vattn_type type, const int32_t dim,
                                                    const float * center, const int32_t n_heads, int32_t n_rows,
                                                    float * dist2, ptrdiff_t ld) {
    __m512 sum[TILE_HEADS][TILE_ROWS];
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t i = 0; i < TILE_ROWS; i++) {
            sum[g][i] = _mm512_setzero_ps();
        }
    }
    int32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
        distance_step(row, type, dim, center, n_heads, d, 0xffff, sum);
    }
    if (d < dim) {
        distance_step(row, type, dim, center, n_heads, d, first_lanes(dim - d), sum);
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t i = 0; i < n_rows; i++) {
            dist2[g * ld + i] = _mm512_reduce_add_ps(sum[g][i]);
        }
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void distance(const struct vattn_rows * rows, enum vattn_type type,
                                               const float * center, int32_t n_heads, const int32_t dim, float * dist2,
                                               ptrdiff_t ld) {
    for (int32_t j = 0; j < rows->n; j += TILE_ROWS) {
        const int32_t n_rows = rows->n - j < TILE_ROWS ? rows->n - j : TILE_ROWS;
        const char * row[TILE_ROWS];
        prefetch_rows(rows, j + AVX512_AHEAD, j + AVX512_AHEAD + TILE_ROWS, vattn_row_size(type, dim));
        for (int32_t i = 0; i < TILE_ROWS; i++) { /* the last row again, where there are fewer */
            row[i] = row_at(rows, j + (i < n_rows ? i : n_rows - 1));
        }
        int32_t g = 0;
        for (; g + TILE_HEADS <= n_heads; g += TILE_HEADS) {
            distance_tile(row, type, dim, center + (ptrdiff_t)g * dim, TILE_HEADS, n_rows, dist2 + g * ld + j, ld);
        }
        if (g < n_heads) {
            distance_tile(row, type, dim, center + (ptrdiff_t)g * dim, 1, n_rows, dist2 + g * ld + j, ld);
        }
    }
}

#define DEFINE(name, type) VATTN_DEFINE_DISTANCE(VATTN_AVX512, name, type, avx512)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
