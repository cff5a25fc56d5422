/* SPDX-License-Identifier: MIT
 *
 * Rows against centres of their own: a row is loaded once, the differences are stored only where they are wanted.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

/* The last dim - d < 8 differences of a row; lanes behind the row are 0 - 0. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 offset_tail(const char * row, const char * center, enum vattn_type type,
                                                  int32_t d, int32_t dim, float * out) {
    const __m256 x = _mm256_sub_ps(load_tail(row, d, dim, type), load_tail(center, d, dim, type));
    if (out != NULL) {
        float copy[8];
        _mm256_storeu_ps(copy, x);
        memcpy(out + d, copy, (size_t)(dim - d) * sizeof *out);
    }
    return x;
}

/* Squares of the differences of one row, lane by lane; out NULL or the row's place. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 offset_row(const char * row, const char * center, enum vattn_type type,
                                                 const int32_t dim, float * out) {
    __m256 sum0 = _mm256_setzero_ps(), sum1 = _mm256_setzero_ps();
    int32_t d = 0;
    VATTN_UNROLL(4)
    for (; d + 16 <= dim; d += 16) {
        const __m256 x0 = _mm256_sub_ps(load8(row, d, type), load8(center, d, type));
        const __m256 x1 = _mm256_sub_ps(load8(row, d + 8, type), load8(center, d + 8, type));
        if (out != NULL) {
            _mm256_storeu_ps(out + d, x0);
            _mm256_storeu_ps(out + d + 8, x1);
        }
        sum0 = _mm256_fmadd_ps(x0, x0, sum0);
        sum1 = _mm256_fmadd_ps(x1, x1, sum1);
    }
    if (d + 8 <= dim) {
        const __m256 x = _mm256_sub_ps(load8(row, d, type), load8(center, d, type));
        if (out != NULL) {
            _mm256_storeu_ps(out + d, x);
        }
        sum0 = _mm256_fmadd_ps(x, x, sum0);
        d += 8;
    }
    if (d < dim) {
        const __m256 x = offset_tail(row, center, type, d, dim, out);
        sum1 = _mm256_fmadd_ps(x, x, sum1);
    }
    return _mm256_add_ps(sum0, sum1);
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void offset(const struct vattn_rows * rows, const struct vattn_rows * centers,
                                           enum vattn_type type, const int32_t dim, float * dist2, float * out,
                                           ptrdiff_t ld) {
    for (int32_t j = 0; j < rows->n; j++) {
        prefetch_rows(rows, j + AVX2_AHEAD, j + AVX2_AHEAD + 1, vattn_row_size(type, dim));
        const __m256 sum =
            offset_row(row_at(rows, j), row_at(centers, j), type, dim, out != NULL ? out + j * ld : NULL);
        const __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
        const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
        dist2[j] = _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
    }
}

#define DEFINE(name, type) VATTN_DEFINE_OFFSET(VATTN_AVX2, name, type, avx2)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
