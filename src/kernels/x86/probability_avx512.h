/* SPDX-License-Identifier: MIT
 *
 * Probabilities of the sampling.
 */
#ifndef VATTN_PROBABILITY_AVX512_H
#define VATTN_PROBABILITY_AVX512_H

#include <immintrin.h>

#include "kernels/x86/x86.h"

/* 2^24 * L(x) as integers, at least floor, at most 2^24.  max(a, b) is b where a is a NaN. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512i probability(__m512 x, __m512i floor) {
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_setzero_ps()), _mm512_set1_ps(-126));
    const __m512 bits = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1p23f)), _mm512_set1_ps(127 * 0x1p23f));
    const __m512 likely = _mm512_castsi512_ps(_mm512_cvttps_epi32(bits));
    const __m512i p = _mm512_cvttps_epi32(_mm512_mul_ps(likely, _mm512_set1_ps(0x1p24f)));
    return _mm512_min_epi32(_mm512_max_epi32(p, floor), _mm512_set1_epi32(VATTN_PROB_ONE));
}

#endif
