/* SPDX-License-Identifier: MIT
 *
 * The second stage of the sampling, eight keys at a time; few stay, so their positions are written one by one.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/generic/probability_generic.h"
#include "kernels/x86/probability_avx2.h"

VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 best_margin(const float * score, ptrdiff_t ld, const float * threshold,
                                                  int32_t n_heads, const int8_t * bonus) {
    __m256 x = _mm256_set1_ps(-126);
    for (int32_t g = 0; g < n_heads; g++) {
        x = _mm256_max_ps(_mm256_sub_ps(_mm256_loadu_ps(score + g * ld), _mm256_broadcast_ss(threshold + g)), x);
    }
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)bonus);
    const __m256 eighths = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    return _mm256_add_ps(x, _mm256_mul_ps(eighths, _mm256_set1_ps(0.125f)));
}

/* New probabilities of eight keys; bit i of the result: key i was drawn by chance, stays, and may not have. */
VATTN_AVX2 VATTN_ALWAYS_INLINE uint32_t thin_eight(__m256 x, int32_t shift, int32_t * prob, const int32_t * draw) {
    const __m256i drawn = _mm256_loadu_si256((const __m256i *)(const void *)draw);
    const __m256i old = _mm256_loadu_si256((const __m256i *)(const void *)prob);
    const __m256i always = _mm256_cmpgt_epi32(_mm256_setzero_si256(), drawn);
    const __m256i least = _mm256_srl_epi32(old, _mm_cvtsi32_si128(shift));
    const __m256i p = _mm256_blendv_epi8(_mm256_min_epi32(probability(x, least), old), old, always);
    _mm256_storeu_si256((__m256i *)(void *)prob, p);
    const __m256i below =
        _mm256_and_si256(_mm256_cmpgt_epi32(p, drawn), _mm256_cmpgt_epi32(_mm256_set1_epi32(VATTN_PROB_ONE), p));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(always, below)));
}

VATTN_AVX2 int32_t vattn_thin_avx2(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                   int32_t n, const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw,
                                   int32_t * keep, int32_t * n_tail) {
    int32_t j = 0, count = 0;
    for (; j + 8 <= n; j += 8) {
        const __m256 x = best_margin(score + j, ld, threshold, n_heads, bonus + j);
        for (uint32_t tail = thin_eight(x, shift, prob + j, draw + j); tail != 0; tail &= tail - 1) {
            keep[count++] = j + __builtin_ctz(tail);
        }
    }
    for (; j < n; j++) {
        if (vattn_thin_one(score + j, ld, threshold, n_heads, bonus[j], shift, prob + j, draw[j])) {
            keep[count++] = j;
        }
    }
    *n_tail = count;
    for (j = 0; j < n; j++) {
        keep[count] = j;
        count += draw[j] < 0 || prob[j] == VATTN_PROB_ONE;
    }
    return count;
}

#else
typedef int vattn_empty_translation_unit;
#endif
