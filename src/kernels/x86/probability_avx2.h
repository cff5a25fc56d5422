/* SPDX-License-Identifier: MIT
 *
 * Probabilities of the sampling.
 */
#ifndef VATTN_PROBABILITY_AVX2_H
#define VATTN_PROBABILITY_AVX2_H

#include <immintrin.h>

#include "kernels/x86/x86.h"

/* 2^24 * L(x) as integers, at least floor, at most 2^24.  max(a, b) is b where a is a NaN. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256i probability(__m256 x, __m256i floor) {
    x = _mm256_max_ps(_mm256_min_ps(x, _mm256_setzero_ps()), _mm256_set1_ps(-126));
    const __m256 bits = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1p23f)), _mm256_set1_ps(127 * 0x1p23f));
    const __m256 likely = _mm256_castsi256_ps(_mm256_cvttps_epi32(bits));
    const __m256i p = _mm256_cvttps_epi32(_mm256_mul_ps(likely, _mm256_set1_ps(0x1p24f)));
    return _mm256_min_epi32(_mm256_max_epi32(p, floor), _mm256_set1_epi32(VATTN_PROB_ONE));
}

#endif
