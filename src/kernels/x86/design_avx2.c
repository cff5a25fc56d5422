/* SPDX-License-Identifier: MIT
 *
 * The design's sums: 256 tokens at a time, first their weights 1/pi - 1 for all heads, then the sums of each head.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <assert.h>
#include <immintrin.h>

enum { PART = 256 };

VATTN_AVX2 VATTN_ALWAYS_INLINE float sum_lanes(__m256 x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 weight_of(__m256 x, __m256 floor8) {
    x = _mm256_min_ps(x, _mm256_setzero_ps());
    const __m256 bits = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1p23f)), _mm256_set1_ps(127 * 0x1p23f));
    const __m256 likely = _mm256_max_ps(_mm256_castsi256_ps(_mm256_cvttps_epi32(bits)), floor8);
    return _mm256_sub_ps(_mm256_div_ps(_mm256_set1_ps(1), likely), _mm256_set1_ps(1));
}

VATTN_AVX2 static void part_weights(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                    int32_t n, float floor, float * w) {
    const __m256 floor8 = _mm256_set1_ps(floor);
    for (int32_t j = 0; j < n; j += 16) {
        const int32_t second = j + 8 < n ? 8 : 0;
        __m256 a = _mm256_set1_ps(-126), b = a;
        for (int32_t g = 0; g < n_heads; g++) {
            const __m256 t = _mm256_broadcast_ss(threshold + g);
            a = _mm256_max_ps(_mm256_sub_ps(_mm256_loadu_ps(score + g * ld + j), t), a);
            b = _mm256_max_ps(_mm256_sub_ps(_mm256_loadu_ps(score + g * ld + j + second), t), b);
        }
        _mm256_storeu_ps(w + j, weight_of(a, floor8));
        _mm256_storeu_ps(w + j + second, weight_of(b, floor8));
    }
}

VATTN_AVX2 void vattn_design_avx2(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,
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
            __m256 sum_v = _mm256_setzero_ps(), sum_q = sum_v, next_v = sum_v, next_q = sum_v;
            for (int32_t j = 0; j < m; j += 16) {
                const __m256 w0 = _mm256_loadu_ps(w + j), y0 = _mm256_mul_ps(w0, _mm256_loadu_ps(z + j));
                sum_v = _mm256_add_ps(sum_v, y0);
                sum_q = _mm256_fmadd_ps(_mm256_mul_ps(w0, y0), y0, sum_q);
                if (j + 8 < m) {
                    const __m256 w1 = _mm256_loadu_ps(w + j + 8), y1 = _mm256_mul_ps(w1, _mm256_loadu_ps(z + j + 8));
                    next_v = _mm256_add_ps(next_v, y1);
                    next_q = _mm256_fmadd_ps(_mm256_mul_ps(w1, y1), y1, next_q);
                }
            }
            v[g] += sum_lanes(_mm256_add_ps(sum_v, next_v));
            q[g] += sum_lanes(_mm256_add_ps(sum_q, next_q));
        }
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
