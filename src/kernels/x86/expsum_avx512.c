/* SPDX-License-Identifier: MIT
 *
 * Largest value, and exponentials with their sum: four vectors at a time, a masked vector at the end.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <math.h>

#include "kernels/exp2_poly.h"
#include "kernels/x86/rows_avx512.h"

VATTN_AVX512 float vattn_max_avx512(const float * x, int32_t n) {
    /* max(a, b) is b where a is a NaN, so NaNs do not count */
    __m512 largest[4];
    for (int32_t i = 0; i < 4; i++) {
        largest[i] = _mm512_set1_ps(-INFINITY);
    }
    int32_t j = 0;
    for (; j + 64 <= n; j += 64) {
        for (int32_t i = 0; i < 4; i++) {
            largest[i] = _mm512_max_ps(_mm512_loadu_ps(x + j + 16 * i), largest[i]);
        }
    }
    for (; j < n; j += 16) {
        const __mmask16 mask = n - j < 16 ? first_lanes(n - j) : (__mmask16)0xffff;
        largest[0] = _mm512_mask_max_ps(largest[0], mask, _mm512_maskz_loadu_ps(mask, x + j), largest[0]);
    }
    return _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(largest[0], largest[1]), _mm512_max_ps(largest[2], largest[3])));
}

/* 2^(x - m) = 2^round(y) * 2^f */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 exp2_16(__m512 x, __m512 m) {
    const __m512 y =
        _mm512_min_ps(_mm512_set1_ps(128), _mm512_sub_ps(x, m)); /* a NaN stays: it is the second operand */
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);              /* adding it rounds to an integer */
    const __m512 nearest = _mm512_sub_ps(_mm512_add_ps(y, magic), magic);
    const __m512 f = _mm512_sub_ps(y, nearest);
    __m512 p = _mm512_set1_ps(VATTN_EXP2_C6);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(VATTN_EXP2_C5));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(VATTN_EXP2_C4));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(VATTN_EXP2_C3));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(VATTN_EXP2_C2));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(VATTN_EXP2_C1));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
    const __mmask16 tiny = _mm512_cmp_ps_mask(y, _mm512_set1_ps(-126), _CMP_LT_OQ) |
                           _mm512_cmp_ps_mask(x, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ);
    return _mm512_maskz_scalef_ps((__mmask16)~tiny, p, nearest);
}

VATTN_AVX512 float vattn_exp2_sum_avx512(float * x, int32_t n, float m) {
    const __m512 m16 = _mm512_set1_ps(m);
    __m512 sum[4];
    for (int32_t i = 0; i < 4; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    int32_t j = 0;
    for (; j + 64 <= n; j += 64) {
        for (int32_t i = 0; i < 4; i++) {
            const __m512 e = exp2_16(_mm512_loadu_ps(x + j + 16 * i), m16);
            _mm512_storeu_ps(x + j + 16 * i, e);
            sum[i] = _mm512_add_ps(sum[i], e);
        }
    }
    for (; j < n; j += 16) {
        const __mmask16 mask = n - j < 16 ? first_lanes(n - j) : (__mmask16)0xffff;
        const __m512 e = exp2_16(_mm512_maskz_loadu_ps(mask, x + j), m16);
        _mm512_mask_storeu_ps(x + j, mask, e);
        sum[0] = _mm512_mask_add_ps(sum[0], mask, sum[0], e);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

#else
typedef int vattn_empty_translation_unit;
#endif
