/* SPDX-License-Identifier: MIT
 *
 * Scores: register tiles of 3 rows x 4 heads or 4 rows x 3 heads, twelve accumulators, so that the loads (seven for
 * twelve multiplications) stay below what the two load ports give.  The sum of a pair is the same tree in every tile:
 * eight lanes over the dimensions, then ((0+1)+(2+3)) + ((4+5)+(6+7)).
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

enum { BLOCK_ROWS = 12 }; /* 4 x 3 and 3 x 4 */

/* The sums of four vectors. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m128 reduce4(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 abcd = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1));
}

/* Eight dimensions from d on; the smaller side of the tile stays in registers. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void score_step(const char * const * row, enum vattn_type type, const float * q,
                                               ptrdiff_t q_ld, int32_t d, const int32_t n_rows, const int32_t n_heads,
                                               __m256 sum[4][4]) {
    if (n_rows <= n_heads) {
        __m256 x[4];
        for (int32_t j = 0; j < n_rows; j++) {
            x[j] = load8(row[j], d, type);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            const __m256 y = _mm256_loadu_ps(q + g * q_ld + d);
            for (int32_t j = 0; j < n_rows; j++) {
                sum[j][g] = _mm256_fmadd_ps(x[j], y, sum[j][g]);
            }
        }
    } else {
        __m256 y[4];
        for (int32_t g = 0; g < n_heads; g++) {
            y[g] = _mm256_loadu_ps(q + g * q_ld + d);
        }
        for (int32_t j = 0; j < n_rows; j++) {
            const __m256 x = load8(row[j], d, type);
            for (int32_t g = 0; g < n_heads; g++) {
                sum[j][g] = _mm256_fmadd_ps(x, y[g], sum[j][g]);
            }
        }
    }
}

/* n_rows x n_heads scores; ahead: rows to prefetch meanwhile, or NULL; width is dim rounded up to a multiple of 8, zeros behind dim. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void score_tile(const char * const * row, const char * const * ahead,
                                               enum vattn_type type, const float * q, ptrdiff_t q_ld,
                                               const int32_t n_rows, const int32_t n_heads, int32_t width, float * out,
                                               ptrdiff_t ld) {
    __m256 sum[4][4];
    for (int32_t j = 0; j < 4; j++) {
        for (int32_t g = 0; g < 4; g++) {
            sum[j][g] = _mm256_setzero_ps();
        }
    }
    int32_t d = 0;
    for (; d + 32 <= width; d += 32) { /* a block of q8_0, a line of f16 */
        for (int32_t j = 0; ahead != NULL && j < n_rows; j++) {
            prefetch_32(ahead[j], type, d);
        }
        for (int32_t i = 0; i < 32; i += 8) {
            score_step(row, type, q, q_ld, d + i, n_rows, n_heads, sum);
        }
    }
    for (; d < width; d += 8) {
        score_step(row, type, q, q_ld, d, n_rows, n_heads, sum);
    }
    if (n_rows == 4) {
        for (int32_t g = 0; g < n_heads; g++) {
            _mm_storeu_ps(out + g * ld, reduce4(sum[0][g], sum[1][g], sum[2][g], sum[3][g]));
        }
    } else {
        for (int32_t j = 0; j < n_rows; j++) {
            float s[4];
            _mm_storeu_ps(s, reduce4(sum[j][0], sum[j][1], sum[j][2], sum[j][3]));
            for (int32_t g = 0; g < n_heads; g++) {
                out[g * ld + j] = s[g];
            }
        }
    }
}

/* All n_rows <= BLOCK_ROWS rows against n_heads <= 4 heads. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void score_heads(const char * const * row, const char * const * ahead,
                                                enum vattn_type type, const float * q, ptrdiff_t q_ld, int32_t n_rows,
                                                int32_t n_heads, int32_t width, float * out, ptrdiff_t ld) {
    int32_t j = 0;
    switch (n_heads) {
    case 4:
        for (; j + 3 <= n_rows; j += 3) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 3, 4, width, out + j, ld);
        }
        for (; j < n_rows; j++) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 1, 4, width, out + j, ld);
        }
        break;
    case 3:
        for (; j + 4 <= n_rows; j += 4) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 4, 3, width, out + j, ld);
        }
        for (; j < n_rows; j++) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 1, 3, width, out + j, ld);
        }
        break;
    case 2:
        for (; j + 4 <= n_rows; j += 4) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 4, 2, width, out + j, ld);
        }
        for (; j < n_rows; j++) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 1, 2, width, out + j, ld);
        }
        break;
    default:
        for (; j + 4 <= n_rows; j += 4) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 4, 1, width, out + j, ld);
        }
        for (; j < n_rows; j++) {
            score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 1, 1, width, out + j, ld);
        }
    }
}

/* dim is a multiple of 8; rows are widened as they are multiplied, once per group of heads: that costs less than a copy
 * (vcvtph2ps from memory is a load, while a store per vector takes as long as two multiplications). */
VATTN_AVX2 VATTN_ALWAYS_INLINE void score(const struct vattn_rows * rows, enum vattn_type type, const float * q,
                                          int32_t n_heads, const int32_t dim, float * out, ptrdiff_t ld) {
    if (rows->index != NULL) { /* nobody has prefetched the first rows */
        prefetch_rows(rows, 0, AVX2_AHEAD, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char *row[BLOCK_ROWS], *ahead[BLOCK_ROWS];
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = row_at(rows, j + i);
            ahead[i] = row_ahead(rows, j + i, AVX2_AHEAD);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            if (g == 0) { /* evenly between the multiplications: a burst of prefetches holds up the loads behind it */
                score_heads(row, ahead, type, q, dim, n_rows, n, dim, out + j, ld);
            } else {
                score_heads(row, NULL, type, q + (ptrdiff_t)g * dim, dim, n_rows, n, dim, out + g * ld + j, ld);
            }
        }
    }
}

/* Any dim: copies of rows and queries with zeros up to a multiple of 8. */
VATTN_AVX2 static void score_ragged(const struct vattn_rows * rows, enum vattn_type type, const float * q,
                                    int32_t n_heads, int32_t dim, float * out, ptrdiff_t ld) {
    float wide_row[BLOCK_ROWS * VATTN_MAX_DIM];
    float wide_q[4 * VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char * row[BLOCK_ROWS];
        widen_rows(rows, j, j + n_rows, dim, type, wide_row, width);
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = (const char *)(wide_row + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            for (int32_t i = 0; i < n; i++) {
                widen((const char *)(q + (ptrdiff_t)(g + i) * dim), dim, VATTN_TYPE_F32, wide_q + (ptrdiff_t)i * width);
            }
            score_heads(row, NULL, VATTN_TYPE_F32, wide_q, width, n_rows, n, width, out + g * ld + j, ld);
        }
    }
}

/* Usual dimensions are known to the compiler, except of f32 rows, which caches seldom have. */
#define DEFINE(name, type)                                                                                             \
    VATTN_AVX2 void vattn_score_##name##_avx2(const struct vattn_rows * rows, const float * q, int32_t n_heads,        \
                                              int32_t dim, float * out, ptrdiff_t ld) {                                \
        if (dim % 8 != 0) {                                                                                            \
            score_ragged(rows, type, q, n_heads, dim, out, ld);                                                        \
        } else if (dim == 128 && (type) != VATTN_TYPE_F32) {                                                           \
            score(rows, type, q, n_heads, 128, out, ld);                                                               \
        } else if (dim == 64 && (type) != VATTN_TYPE_F32) {                                                            \
            score(rows, type, q, n_heads, 64, out, ld);                                                                \
        } else {                                                                                                       \
            score(rows, type, q, n_heads, dim, out, ld);                                                               \
        }                                                                                                              \
    }
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
