/* SPDX-License-Identifier: MIT
 *
 * Scores with heads side by side in the lanes: eight heads with two dimensions each, or four with four, times two or four
 * elements of a row that a load spreads over all lanes.  Sums of different heads are never added up lane by lane, which takes
 * as many operations as the multiplications (score_avx512.c), and a row is widened once for all heads.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <string.h>

#include "kernels/x86/rows_avx512.h"

enum { BLOCK_ROWS = SCORE_GROUP_ROWS };

struct work {
    _Alignas(64) float query[SCORE_GROUP_DIM / 2][16];    /* [pair or four of dimensions][head, dimension] */
    _Alignas(64) float row[BLOCK_ROWS * SCORE_GROUP_DIM]; /* widened, one after another */
};

/* Lane i of out[k]: lane k of a[i]. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void turn_lanes(const __m512 a[4], __m512 out[4]) {
    const __m512 low01 = _mm512_shuffle_f32x4(a[0], a[1], 0x44), high01 = _mm512_shuffle_f32x4(a[0], a[1], 0xee);
    const __m512 low23 = _mm512_shuffle_f32x4(a[2], a[3], 0x44), high23 = _mm512_shuffle_f32x4(a[2], a[3], 0xee);
    out[0] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    out[1] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
    out[2] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    out[3] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
}

/* Sixteen dimensions of a head; zeros for heads that are missing. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load_query(const float * q, int32_t g, int32_t n_heads, int32_t d,
                                                   int32_t dim) {
    return g < n_heads ? _mm512_loadu_ps(q + (ptrdiff_t)g * dim + d) : _mm512_setzero_ps();
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void turn_query_of_four(struct work * work, const float * q, int32_t n_heads,
                                                         int32_t dim) {
    for (int32_t d = 0; d < dim; d += 16) {
        __m512 head[4], turned[4];
        for (int32_t g = 0; g < 4; g++) {
            head[g] = load_query(q, g, n_heads, d, dim);
        }
        turn_lanes(head, turned);
        for (int32_t i = 0; i < 4; i++) {
            _mm512_storeu_ps(work->query[d / 4 + i], turned[i]);
        }
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void turn_query_of_eight(struct work * work, const float * q, int32_t n_heads,
                                                          int32_t dim) {
    for (int32_t d = 0; d < dim; d += 16) {
        __m512 even[4], odd[4], turned[8];
        for (int32_t i = 0; i < 4; i++) {
            const __m512d a = _mm512_castps_pd(load_query(q, 2 * i, n_heads, d, dim));
            const __m512d b = _mm512_castps_pd(load_query(q, 2 * i + 1, n_heads, d, dim));
            even[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            odd[i] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
        turn_lanes(even, turned);
        turn_lanes(odd, turned + 4);
        for (int32_t i = 0; i < 4; i++) {
            _mm512_storeu_ps(work->query[d / 2 + 2 * i], turned[i]);
            _mm512_storeu_ps(work->query[d / 2 + 2 * i + 1], turned[4 + i]);
        }
    }
}

/* Rows [first, first + n_rows); zeros for those that are missing of sixteen. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void widen(struct work * work, const struct vattn_rows * rows, int32_t first,
                                            int32_t n_rows, const int32_t dim) {
    for (int32_t j = 0; j < n_rows; j++) {
        const char * row = row_at(rows, first + j);
        VATTN_UNROLL(8)
        for (int32_t d = 0; d < dim; d += 16) {
            _mm512_storeu_ps(work->row + j * dim + d, load16_all(row, d, VATTN_TYPE_F16));
        }
    }
    for (int32_t i = n_rows * dim; i < BLOCK_ROWS * dim; i += 16) {
        _mm512_storeu_ps(work->row + i, _mm512_setzero_ps());
    }
}

/* Two elements in every pair of lanes, or four in every four. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 spread(const float * at, const int32_t n) {
    if (n == 4) {
        return _mm512_broadcast_f32x4(_mm_loadu_ps(at));
    }
    int64_t bits;
    memcpy(&bits, at, sizeof bits);
    return _mm512_castsi512_ps(_mm512_set1_epi64(bits));
}

/* Line `at` of what lies ahead of a block, line by line and row by row. */
VATTN_ALWAYS_INLINE void prefetch_line(const struct vattn_rows * rows, int32_t first, int32_t n_rows, int32_t at,
                                       const int32_t dim) {
    const int32_t lines = dim / 32, i = at / lines;
    if (i < n_rows) {
        const uintptr_t row = (uintptr_t)row_ahead(rows, first + i, AVX512_AHEAD);
        _mm_prefetch((const char *)(row + 64 * (uintptr_t)(at % lines)), _MM_HINT_T1);
    }
}

/* Sums of products of sixteen widened rows, prefetching between the multiplications: sixteen rows at once would hold up loads. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void multiply(const struct work * work, const struct vattn_rows * rows, int32_t first,
                                               int32_t n_ahead, const int32_t dim, const int32_t n,
                                               __m512 sum[BLOCK_ROWS]) {
    for (int32_t j = 0; j < BLOCK_ROWS; j++) {
        sum[j] = _mm512_setzero_ps();
    }
    for (int32_t d = 0; d < dim; d += n) {
        const __m512 q = _mm512_loadu_ps(work->query[d / n]);
        for (int32_t j = 0; j < BLOCK_ROWS; j++) {
            sum[j] = _mm512_fmadd_ps(spread(work->row + j * dim + d, n), q, sum[j]);
        }
        for (int32_t at = d / 2; at < (d + n) / 2; at++) {
            prefetch_line(rows, first, n_ahead, at, dim);
        }
    }
}

/* Sums of neighbours: in every lane two of a, then two of b. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 fold(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/* Adds up the dimensions and turns sixteen rows: head g is out[g] or, of eight, out[g / 2 + 4 (g % 2)]. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void turn_sums(const __m512 sum[BLOCK_ROWS], const int32_t n, __m512 out[8]) {
    __m512 even[4], odd[4]; /* [four rows][head or pair of heads][row] */
    for (int32_t i = 0; i < 4; i++) {
        const __m512 ab = fold(sum[4 * i], sum[4 * i + 1]), cd = fold(sum[4 * i + 2], sum[4 * i + 3]);
        even[i] = n == 4 ? fold(ab, cd) : _mm512_shuffle_ps(ab, cd, 0x88);
        odd[i] = _mm512_shuffle_ps(ab, cd, 0xdd);
    }
    turn_lanes(even, out);
    if (n == 2) {
        turn_lanes(odd, out + 4);
    }
}

/* n: dimensions side by side, 16 by the heads side by side. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void score_group(const struct vattn_rows * rows, int32_t n_rows, bool prefetch,
                                                  const float * q, int32_t n_heads, const int32_t dim, const int32_t n,
                                                  float * out, ptrdiff_t ld) {
    struct work work;
    if (n == 4) {
        turn_query_of_four(&work, q, n_heads, dim);
    } else {
        turn_query_of_eight(&work, q, n_heads, dim);
    }
    for (int32_t j = 0; j < n_rows; j += BLOCK_ROWS) {
        const int32_t n_block = n_rows - j < BLOCK_ROWS ? n_rows - j : BLOCK_ROWS;
        const __mmask16 mask = n_block < BLOCK_ROWS ? first_lanes(n_block) : (__mmask16)0xffff;
        __m512 sum[BLOCK_ROWS], head[8];
        widen(&work, rows, j, n_block, dim);
        multiply(&work, rows, j, prefetch ? n_block : 0, dim, n, sum);
        turn_sums(sum, n, head);
        for (int32_t g = 0; g < n_heads; g++) {
            _mm512_mask_storeu_ps(out + g * ld + j, mask, head[n == 4 ? g : g / 2 + 4 * (g % 2)]);
        }
    }
}

VATTN_AVX512 void vattn_score_group_f16_avx512(const struct vattn_rows * rows, int32_t n_rows, bool prefetch,
                                               const float * q, int32_t n_heads, float * out, ptrdiff_t ld) {
    if (n_heads <= 4) {
        score_group(rows, n_rows, prefetch, q, n_heads, SCORE_GROUP_DIM, 4, out, ld);
    } else {
        score_group(rows, n_rows, prefetch, q, n_heads, SCORE_GROUP_DIM, 2, out, ld);
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
