/* SPDX-License-Identifier: MIT
 *
 * Rows for the AVX-512 kernels: addresses, prefetching, masked loads that widen.
 */
#ifndef VATTN_ROWS_AVX512_H
#define VATTN_ROWS_AVX512_H

#include <immintrin.h>

#include "kernels/x86/x86.h"

enum { AVX512_AHEAD = 32 }; /* rows between the one in work and the one being prefetched */

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
