/* SPDX-License-Identifier: MIT
 *
 * Largest value, and exponentials with their sum: four vectors at a time, a masked vector at the end.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "kernels/exp2_poly.h"

/* Ones in the first n lanes, n = 0..8. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256i first_lanes(int32_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

VATTN_AVX2 float vattn_max_avx2(const float * x, int32_t n) {
    /* max(a, b) is b where a is a NaN, so NaNs do not count */
    __m256 largest[4];
    for (int32_t i = 0; i < 4; i++) {
        largest[i] = _mm256_set1_ps(-INFINITY);
    }
    int32_t j = 0;
    for (; j + 32 <= n; j += 32) {
        for (int32_t i = 0; i < 4; i++) {
            largest[i] = _mm256_max_ps(_mm256_loadu_ps(x + j + 8 * i), largest[i]);
        }
    }
    for (; j + 8 <= n; j += 8) {
        largest[0] = _mm256_max_ps(_mm256_loadu_ps(x + j), largest[0]);
    }
    if (j < n) {
        const __m256i mask = first_lanes(n - j);
        const __m256 rest = _mm256_maskload_ps(x + j, mask);
        largest[0] = _mm256_max_ps(_mm256_blendv_ps(largest[0], rest, _mm256_castsi256_ps(mask)), largest[0]);
    }
    const __m256 all = _mm256_max_ps(_mm256_max_ps(largest[0], largest[1]), _mm256_max_ps(largest[2], largest[3]));
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    half = _mm_max_ss(half, _mm_movehdup_ps(half));
    return _mm_cvtss_f32(half);
}

/* 2^(x - m) = 2^round(y) * 2^f; the integer goes into the exponent bits. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 exp2_8(__m256 x, __m256 m) {
    const __m256 y =
        _mm256_min_ps(_mm256_set1_ps(128), _mm256_sub_ps(x, m)); /* a NaN stays: it is the second operand */
    const __m256 nearest = _mm256_round_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 f = _mm256_sub_ps(y, nearest);
    __m256 p = _mm256_set1_ps(VATTN_EXP2_C6);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(VATTN_EXP2_C5));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(VATTN_EXP2_C4));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(VATTN_EXP2_C3));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(VATTN_EXP2_C2));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(VATTN_EXP2_C1));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1));
    const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(nearest), 23);
    p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), power));
    const __m256 tiny = _mm256_or_ps(_mm256_cmp_ps(y, _mm256_set1_ps(-126), _CMP_LT_OQ),
                                     _mm256_cmp_ps(x, _mm256_set1_ps(-INFINITY), _CMP_EQ_OQ));
    return _mm256_andnot_ps(tiny, p);
}

VATTN_AVX2 float vattn_exp2_sum_avx2(float * x, int32_t n, float m) {
    const __m256 m8 = _mm256_set1_ps(m);
    __m256 sum[4];
    for (int32_t i = 0; i < 4; i++) {
        sum[i] = _mm256_setzero_ps();
    }
    int32_t j = 0;
    for (; j + 32 <= n; j += 32) {
        for (int32_t i = 0; i < 4; i++) {
            const __m256 e = exp2_8(_mm256_loadu_ps(x + j + 8 * i), m8);
            _mm256_storeu_ps(x + j + 8 * i, e);
            sum[i] = _mm256_add_ps(sum[i], e);
        }
    }
    for (; j + 8 <= n; j += 8) {
        const __m256 e = exp2_8(_mm256_loadu_ps(x + j), m8);
        _mm256_storeu_ps(x + j, e);
        sum[0] = _mm256_add_ps(sum[0], e);
    }
    if (j < n) {
        const __m256i mask = first_lanes(n - j);
        const __m256 e = _mm256_and_ps(exp2_8(_mm256_maskload_ps(x + j, mask), m8), _mm256_castsi256_ps(mask));
        _mm256_maskstore_ps(x + j, mask, e);
        sum[1] = _mm256_add_ps(sum[1], e);
    }
    const __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    half = _mm_add_ss(half, _mm_movehdup_ps(half));
    return _mm_cvtss_f32(half);
}

#else
typedef int vattn_empty_translation_unit;
#endif
