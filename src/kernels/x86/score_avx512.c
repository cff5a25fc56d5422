/* SPDX-License-Identifier: MIT
 *
 * Scores: register tiles of 4 rows x 4 heads, sixteen sums that one transposing reduction turns into one vector.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx512.h"

enum { TILE_ROWS = 4, BLOCK_ROWS = 8 };

/* Lane 4g + j is the sum of a[4g + j]. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 reduce16(const __m512 a[16]) {
    __m512 pair[8], four[4];
    for (int32_t i = 0; i < 8; i++) { /* in every 128-bit lane: a0+a2 of two vectors, a1+a3 of two vectors */
        pair[i] = _mm512_add_ps(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
    }
    for (int32_t i = 0; i < 4; i++) { /* in every 128-bit lane: that lane's sums of four vectors */
        const __m512d x = _mm512_castps_pd(pair[2 * i]), y = _mm512_castps_pd(pair[2 * i + 1]);
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
    }
    const __m512 low =
        _mm512_add_ps(_mm512_shuffle_f32x4(four[0], four[1], 0x88), _mm512_shuffle_f32x4(four[0], four[1], 0xdd));
    const __m512 high =
        _mm512_add_ps(_mm512_shuffle_f32x4(four[2], four[3], 0x88), _mm512_shuffle_f32x4(four[2], four[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void score_step(const char * const * row, enum vattn_type type, const float * q,
                                                 int32_t dim, int32_t d, __mmask16 mask, bool masked,
                                                 const int32_t n_rows, const int32_t n_heads, __m512 sum[16]) {
    __m512 x[TILE_ROWS];
    for (int32_t j = 0; j < n_rows; j++) {
        x[j] = masked ? load16(row[j], d, type, mask) : load16_all(row[j], d, type);
    }
    for (int32_t g = 0; g < n_heads; g++) {
        const char * q_row = (const char *)(q + (ptrdiff_t)g * dim);
        const __m512 y = masked ? load16(q_row, d, VATTN_TYPE_F32, mask) : load16_all(q_row, d, VATTN_TYPE_F32);
        for (int32_t j = 0; j < n_rows; j++) {
            sum[4 * g + j] = _mm512_fmadd_ps(x[j], y, sum[4 * g + j]);
        }
    }
}

/* Four scores or one.  Not a masked store: gcc 12 folds it into a masked vextractf32x4, which faults on masked lanes too. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void store_rows(float * out, __m128 score, const int32_t n_rows) {
    if (n_rows == TILE_ROWS) {
        _mm_storeu_ps(out, score);
    } else {
        _mm_store_ss(out, score);
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void score_tile(const char * const * row, const char * const * ahead,
                                                 enum vattn_type type, const float * q, const int32_t dim,
                                                 const int32_t n_rows, const int32_t n_heads, float * out,
                                                 ptrdiff_t ld) {
    __m512 sum[16];
    for (int32_t i = 0; i < 16; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    int32_t d = 0;
    VATTN_UNROLL(2)
    for (; d + 32 <= dim; d += 32) {                            /* a block of q8_0, a line of halves */
        for (int32_t j = 0; ahead != NULL && j < n_rows; j++) { /* evenly between the multiplications */
            prefetch_32(ahead[j], type, d);
        }
        score_step(row, type, q, dim, d, 0, false, n_rows, n_heads, sum);
        score_step(row, type, q, dim, d + 16, 0, false, n_rows, n_heads, sum);
    }
    if (d + 16 <= dim) {
        score_step(row, type, q, dim, d, 0, false, n_rows, n_heads, sum);
        d += 16;
    }
    if (d < dim) {
        score_step(row, type, q, dim, d, first_lanes(dim - d), true, n_rows, n_heads, sum);
    }
    const __m512 all = reduce16(sum);
    store_rows(out, _mm512_castps512_ps128(all), n_rows);
    if (n_heads > 1) {
        store_rows(out + ld, _mm512_extractf32x4_ps(all, 1), n_rows);
    }
    if (n_heads > 2) {
        store_rows(out + 2 * ld, _mm512_extractf32x4_ps(all, 2), n_rows);
    }
    if (n_heads > 3) {
        store_rows(out + 3 * ld, _mm512_extractf32x4_ps(all, 3), n_rows);
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void score_heads(const char * const * row, const char * const * ahead,
                                                  enum vattn_type type, const float * q, const int32_t dim,
                                                  int32_t n_rows, const int32_t n_heads, float * out, ptrdiff_t ld) {
    int32_t j = 0;
    for (; j + TILE_ROWS <= n_rows; j += TILE_ROWS) {
        score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, dim, TILE_ROWS, n_heads, out + j, ld);
    }
    for (; j < n_rows; j++) {
        score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, dim, 1, n_heads, out + j, ld);
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void score(const struct vattn_rows * rows, enum vattn_type type, const float * q,
                                            int32_t n_heads, const int32_t dim, float * out, ptrdiff_t ld) {
    if (rows->index != NULL) { /* nobody has prefetched the first rows */
        prefetch_rows(rows, 0, AVX512_AHEAD, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char *row[BLOCK_ROWS], *next[BLOCK_ROWS];
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = row_at(rows, j + i);
            next[i] = row_ahead(rows, j + i, AVX512_AHEAD);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            const float * q_group = q + (ptrdiff_t)g * dim;
            float * out_group = out + g * ld + j;
            const char * const * ahead = g == 0 ? next : NULL;
            switch (n) {
            case 4:
                score_heads(row, ahead, type, q_group, dim, n_rows, 4, out_group, ld);
                break;
            case 3:
                score_heads(row, ahead, type, q_group, dim, n_rows, 3, out_group, ld);
                break;
            case 2:
                score_heads(row, ahead, type, q_group, dim, n_rows, 2, out_group, ld);
                break;
            default:
                score_heads(row, ahead, type, q_group, dim, n_rows, 1, out_group, ld);
            }
        }
    }
}

/* Usual dimensions are known to the compiler, except of f32 rows, which caches seldom have. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void score_usual(const struct vattn_rows * rows, enum vattn_type type, const float * q,
                                                  int32_t n_heads, int32_t dim, float * out, ptrdiff_t ld) {
    if (dim == 128 && type != VATTN_TYPE_F32) {
        score(rows, type, q, n_heads, 128, out, ld);
    } else if (dim == 64 && type != VATTN_TYPE_F32) {
        score(rows, type, q, n_heads, 64, out, ld);
    } else {
        score(rows, type, q, n_heads, dim, out, ld);
    }
}

/* Rows from first on; what lies ahead of them moves along. */
VATTN_ALWAYS_INLINE struct vattn_rows rows_from(const struct vattn_rows * rows, int32_t first) {
    struct vattn_rows rest = *rows;
    rest.n -= first;
    if (rows->index != NULL) {
        rest.index += first;
    } else {
        rest.base = (const char *)rows->base + (size_t)first * rows->stride;
    }
    if (rows->ahead != NULL) {
        rest.ahead = (const char *)((uintptr_t)rows->ahead + (uintptr_t)first * rows->ahead_stride);
    }
    return rest;
}

/* Groups of many heads; the last rows, if a block of them would be more than a third empty, and what is left of the heads go the
 * usual way. */
VATTN_AVX512 static void score_by_groups(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,
                                         float * out, ptrdiff_t ld) {
    const int32_t rest = rows->n % SCORE_GROUP_ROWS;
    const int32_t n_rows = rest * 3 > SCORE_GROUP_ROWS * 2 ? rows->n : rows->n - rest;
    int32_t g = 0;
    if (n_rows > 0 && rows->index != NULL) { /* not yet prefetched */
        prefetch_rows(rows, 0, AVX512_AHEAD, 2 * SCORE_GROUP_DIM);
    }
    for (int32_t n = 0; n_rows > 0 && (n = score_group_heads(n_heads - g, dim)) > 0; g += n) {
        vattn_score_group_f16_avx512(rows, n_rows, g == 0, q + (ptrdiff_t)g * dim, n, out + g * ld, ld);
    }
    if (g > 0 && n_rows < rows->n) {
        const struct vattn_rows last = rows_from(rows, n_rows);
        score_usual(&last, VATTN_TYPE_F16, q, g, dim, out + n_rows, ld);
    }
    if (g < n_heads) {
        score_usual(rows, VATTN_TYPE_F16, q + (ptrdiff_t)g * dim, n_heads - g, dim, out + g * ld, ld);
    }
}

#define DEFINE(name, type)                                                                                             \
    VATTN_AVX512 void vattn_score_##name##_avx512(const struct vattn_rows * rows, const float * q, int32_t n_heads,    \
                                                  int32_t dim, float * out, ptrdiff_t ld) {                            \
        if ((type) == VATTN_TYPE_F16 && score_group_heads(n_heads, dim) > 0) {                                         \
            score_by_groups(rows, q, n_heads, dim, out, ld);                                                           \
        } else {                                                                                                       \
            score_usual(rows, type, q, n_heads, dim, out, ld);                                                         \
        }                                                                                                              \
    }
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
