/* SPDX-License-Identifier: MIT
 *
 * Rows for the AVX-512 kernels: addresses, prefetching, masked loads that widen.
 */
#ifndef VATTN_ROWS_AVX512_H
#define VATTN_ROWS_AVX512_H

#include <immintrin.h>

#include "kernels/x86/x86.h"

enum { AVX512_AHEAD = 32 }; /* rows between the one in work and the one being prefetched */
enum { SCORE_GROUP_DIM = 64, SCORE_GROUP_ROWS = 16 };

/* Of n_heads heads left, how many score_group_avx512.c does at a time; 0: none.  What won in whole calls with a cold cache:
 * four to eight heads of 64 dimensions.  With 128 it wins in the caches and loses 3 % beside memory. */
VATTN_ALWAYS_INLINE int32_t score_group_heads(int32_t n_heads, int32_t dim) {
    return dim != SCORE_GROUP_DIM || n_heads < 4 ? 0 : n_heads < 8 ? n_heads : 8;
}

/* Scores of the first n_rows rows of f16 for up to eight heads of SCORE_GROUP_DIM dimensions. */
void vattn_score_group_f16_avx512(const struct vattn_rows * rows, int32_t n_rows, bool prefetch, const float * q,
                                  int32_t n_heads, float * out, ptrdiff_t ld);

/* Ones in the first n lanes, n <= 16; a masked load touches nothing else. */
VATTN_ALWAYS_INLINE __mmask16 first_lanes(int32_t n) {
    return (__mmask16)((UINT32_C(1) << n) - 1);
}

/* Sixteen elements from d on; lanes outside the mask are zero and not read. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load16(const char * row, int32_t d, bool is_f16, __mmask16 mask) {
    return is_f16 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * (ptrdiff_t)d))
                  : _mm512_maskz_loadu_ps(mask, row + 4 * (ptrdiff_t)d);
}

VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load16_all(const char * row, int32_t d, bool is_f16) {
    return is_f16 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * (ptrdiff_t)d)))
                  : _mm512_loadu_ps(row + 4 * (ptrdiff_t)d);
}

#endif
