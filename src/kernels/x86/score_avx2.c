/* SPDX-License-Identifier: MIT
 *
 * Scores: register tiles of 3 rows x 4 heads or 4 rows x 3 heads, twelve accumulators, so that the loads (seven for
 * twelve multiplications) stay below what the two load ports give.  The sum of a pair is the same tree in every tile:
 * eight lanes over the dimensions, then ((0+1)+(2+3)) + ((4+5)+(6+7)).
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

enum {
    TILE_ROWS_4 = 3,
    TILE_ROWS_3 = 4,
    TILE_ROWS_FEW = 4,
    BLOCK_ROWS = 12,
    SCORE_AHEAD = AVX2_AHEAD
};

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

#define TIER VATTN_AVX2
#include "kernels/score_tiles.h"

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
