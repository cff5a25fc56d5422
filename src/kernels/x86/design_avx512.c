/* SPDX-License-Identifier: MIT
 *
 * The design's sums (see design_avx2.c): weights 1/pi - 1 of 256 tokens for all heads, then the sums of each head.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <assert.h>

#include "kernels/x86/rows_avx512.h"

enum { PART = 256 };

VATTN_AVX512 VATTN_ALWAYS_INLINE __mmask16 mask_at(int32_t j, int32_t n) {
    return n - j < 16 ? first_lanes(n - j) : (__mmask16)0xffff;
}

/* Lanes outside n get the weight 0. */
VATTN_AVX512 static void part_weights(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                      int32_t n, float floor, float * w) {
    const __m512 one = _mm512_set1_ps(1);
    for (int32_t j = 0; j < n; j += 16) {
        const __mmask16 mask = mask_at(j, n);
        __m512 x = _mm512_set1_ps(-126);
        for (int32_t g = 0; g < n_heads; g++) { /* max(a, b) is b where a is a NaN */
            const __m512 s = _mm512_maskz_loadu_ps(mask, score + g * ld + j);
            x = _mm512_max_ps(_mm512_sub_ps(s, _mm512_set1_ps(threshold[g])), x);
        }
        x = _mm512_min_ps(x, _mm512_setzero_ps());
        const __m512 bits = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1p23f)), _mm512_set1_ps(127 * 0x1p23f));
        const __m512 likely = _mm512_max_ps(_mm512_castsi512_ps(_mm512_cvttps_epi32(bits)), _mm512_set1_ps(floor));
        _mm512_storeu_ps(w + j, _mm512_maskz_sub_ps(mask, _mm512_div_ps(one, likely), one));
    }
}

VATTN_AVX512 void vattn_design_avx512(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,
                                      int32_t n_heads, int32_t n, float floor, float * v, float * q) {
    assert(n % 8 == 0);
    for (int32_t g = 0; g < n_heads; g++) {
        v[g] = q[g] = 0;
    }
    for (int32_t at = 0; at < n; at += PART) {
        float w[PART];
        const int32_t m = n - at < PART ? n - at : PART;
        part_weights(score + at, ld, threshold, n_heads, m, floor, w);
        for (int32_t g = 0; g < n_heads; g++) {
            const float * z = weight + g * ld + at;
            __m512 sum_v = _mm512_setzero_ps(), sum_q = _mm512_setzero_ps();
            for (int32_t j = 0; j < m; j += 16) {
                const __m512 w16 = _mm512_loadu_ps(w + j);
                const __m512 y = _mm512_mul_ps(w16, _mm512_maskz_loadu_ps(mask_at(j, m), z + j));
                sum_v = _mm512_add_ps(sum_v, y);
                sum_q = _mm512_fmadd_ps(_mm512_mul_ps(w16, y), y, sum_q);
            }
            v[g] += _mm512_reduce_add_ps(sum_v);
            q[g] += _mm512_reduce_add_ps(sum_q);
        }
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
