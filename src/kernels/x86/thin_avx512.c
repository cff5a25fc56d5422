/* SPDX-License-Identifier: MIT
 *
 * The second stage of the sampling, sixteen keys at a time.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/x86/probability_avx512.h"
#include "kernels/x86/rows_avx512.h"

VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 best_margin(const float * score, ptrdiff_t ld, const float * threshold,
                                                    int32_t n_heads, const int8_t * bonus, __mmask16 lanes) {
    __m512 x = _mm512_set1_ps(-126);
    for (int32_t g = 0; g < n_heads; g++) {
        const __m512 s = _mm512_maskz_loadu_ps(lanes, score + g * ld);
        x = _mm512_max_ps(_mm512_sub_ps(s, _mm512_set1_ps(threshold[g])), x);
    }
    const __m512 eighths = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, bonus)));
    return _mm512_add_ps(x, _mm512_mul_ps(eighths, _mm512_set1_ps(0.125f)));
}

VATTN_AVX512 int32_t vattn_thin_avx512(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                       int32_t n, const int8_t * bonus, int32_t shift, int32_t * prob,
                                       const int32_t * draw, int32_t * keep, int32_t * n_tail) {
    const __m512i one = _mm512_set1_epi32(VATTN_PROB_ONE), shifts = _mm512_set1_epi32(shift);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int32_t count = 0;
    for (int32_t j = 0; j < n; j += 16) {
        const __mmask16 lanes = n - j < 16 ? first_lanes(n - j) : 0xffff;
        const __m512 x = best_margin(score + j, ld, threshold, n_heads, bonus + j, lanes);
        const __m512i drawn = _mm512_maskz_loadu_epi32(lanes, draw + j),
                      old = _mm512_maskz_loadu_epi32(lanes, prob + j);
        const __mmask16 by_chance = lanes & (__mmask16)~_mm512_cmplt_epi32_mask(drawn, _mm512_setzero_si512());
        const __m512i least = _mm512_srlv_epi32(old, shifts);
        const __m512i p = _mm512_mask_mov_epi32(old, by_chance, _mm512_min_epi32(probability(x, least), old));
        _mm512_mask_storeu_epi32(prob + j, lanes, p);
        const __mmask16 tail =
            (__mmask16)(by_chance & _mm512_cmplt_epi32_mask(drawn, p) & _mm512_cmplt_epi32_mask(p, one));
        _mm512_storeu_si512(keep + count,
                            _mm512_maskz_compress_epi32(tail, _mm512_add_epi32(lane, _mm512_set1_epi32(j))));
        count += __builtin_popcount(tail);
    }
    *n_tail = count;
    for (int32_t j = 0; j < n; j += 16) {
        const __mmask16 lanes = n - j < 16 ? first_lanes(n - j) : 0xffff;
        const __m512i drawn = _mm512_maskz_loadu_epi32(lanes, draw + j), p = _mm512_maskz_loadu_epi32(lanes, prob + j);
        const __mmask16 below = _mm512_cmplt_epi32_mask(p, one);
        const __mmask16 sure =
            (__mmask16)(lanes & (_mm512_cmplt_epi32_mask(drawn, _mm512_setzero_si512()) | (__mmask16)~below));
        _mm512_storeu_si512(keep + count,
                            _mm512_maskz_compress_epi32(sure, _mm512_add_epi32(lane, _mm512_set1_epi32(j))));
        count += __builtin_popcount(sure);
    }
    return count;
}

#else
typedef int vattn_empty_translation_unit;
#endif
