/* SPDX-License-Identifier: MIT
 *
 * Rows against centres of their own: a row is loaded once, the differences are stored only where they are wanted.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx512.h"

/* Sixteen differences from d on, stored where they are wanted; lanes outside the mask are 0 - 0. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 offset_step(const char * row, const char * center, bool is_f16, int32_t d,
                                                    __mmask16 mask, float * out) {
    const __m512 x = _mm512_sub_ps(load16(row, d, is_f16, mask), load16(center, d, is_f16, mask));
    if (out != NULL) {
        _mm512_mask_storeu_ps(out + d, mask, x);
    }
    return x;
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void offset(const struct vattn_rows * rows, const struct vattn_rows * centers,
                                             bool is_f16, const int32_t dim, float * dist2, float * out, ptrdiff_t ld) {
    for (int32_t j = 0; j < rows->n; j++) {
        const char *row = row_at(rows, j), *center = row_at(centers, j);
        float * to = out != NULL ? out + j * ld : NULL;
        __m512 sum = _mm512_setzero_ps();
        int32_t d = 0;
        prefetch_rows(rows, j + AVX512_AHEAD, j + AVX512_AHEAD + 1, (size_t)dim * (is_f16 ? 2 : 4));
        for (; d + 16 <= dim; d += 16) {
            const __m512 x = offset_step(row, center, is_f16, d, 0xffff, to);
            sum = _mm512_fmadd_ps(x, x, sum);
        }
        if (d < dim) {
            const __m512 x = offset_step(row, center, is_f16, d, first_lanes(dim - d), to);
            sum = _mm512_fmadd_ps(x, x, sum);
        }
        dist2[j] = _mm512_reduce_add_ps(sum);
    }
}

VATTN_AVX512 void vattn_offset_f16_avx512(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim,
                                          float * dist2, float * out, ptrdiff_t ld) {
    if (out != NULL) {
        offset(rows, centers, true, dim, dist2, out, ld);
    } else if (dim == 128) {
        offset(rows, centers, true, 128, dist2, NULL, ld);
    } else if (dim == 64) {
        offset(rows, centers, true, 64, dist2, NULL, ld);
    } else {
        offset(rows, centers, true, dim, dist2, NULL, ld);
    }
}

VATTN_AVX512 void vattn_offset_f32_avx512(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim,
                                          float * dist2, float * out, ptrdiff_t ld) {
    offset(rows, centers, false, dim, dist2, out, ld);
}

#else
typedef int vattn_empty_translation_unit;
#endif
