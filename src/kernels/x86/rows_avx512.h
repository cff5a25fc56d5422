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

/* The scale of the block of q8_0 that holds element d. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 block_scale(const char * row, int32_t d) {
    const uint16_t scale = vattn_load_u16(row + vattn_row_size(VATTN_TYPE_Q8_0, d));
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)scale));
}

/* Sixteen elements from d on, a multiple of 16 for q8_0.  Where the compiler knows that d and d + 16 are of one block it loads
 * their scale once. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load16_all(const char * row, int32_t d, enum vattn_type type) {
    const char * at = row + vattn_row_size(type, d);
    switch (type) {
    case VATTN_TYPE_F16:
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)at));
    case VATTN_TYPE_BF16: {
        const __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)at);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    case VATTN_TYPE_Q8_0: {
        const __m128i bytes =
            _mm_loadu_si128((const __m128i *)(const void *)(at + 2 + (uint32_t)d % VATTN_Q8_ELEMENTS));
        return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), block_scale(row, d));
    }
    case VATTN_TYPE_F32:
        break;
    }
    return _mm512_loadu_ps(at);
}

/* The same; lanes outside the mask are zero and not read.  Rows of q8_0 have no such lanes. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load16(const char * row, int32_t d, enum vattn_type type, __mmask16 mask) {
    const char * at = row + vattn_row_size(type, d);
    switch (type) {
    case VATTN_TYPE_F16:
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at));
    case VATTN_TYPE_BF16:
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at)), 16));
    case VATTN_TYPE_Q8_0:
        return load16_all(row, d, type);
    case VATTN_TYPE_F32:
        break;
    }
    return _mm512_maskz_loadu_ps(mask, at);
}

#endif
