/* SPDX-License-Identifier: MIT
 *
 * Rows against centres of their own: a row is loaded once, the differences are stored only where they are wanted.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx512.h"

/* Sixteen differences from d on, stored where they are wanted; lanes outside the mask are 0 - 0. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 offset_step(const char * row, const char * center, enum vattn_type type,
                                                    int32_t d, __mmask16 mask, float * out) {
    const __m512 x = _mm512_sub_ps(load16(row, d, type, mask), load16(center, d, type, mask));
    if (out != NULL) {
        _mm512_mask_storeu_ps(out + d, mask, x);
    }
    return x;
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void offset(const struct vattn_rows * rows, const struct vattn_rows * centers,
                                             enum vattn_type type, const int32_t dim, float * dist2, float * out,
                                             ptrdiff_t ld) {
    for (int32_t j = 0; j < rows->n; j++) {
        const char *row = row_at(rows, j), *center = row_at(centers, j);
        float * to = out != NULL ? out + j * ld : NULL;
        __m512 sum = _mm512_setzero_ps();
        int32_t d = 0;
        prefetch_rows(rows, j + AVX512_AHEAD, j + AVX512_AHEAD + 1, vattn_row_size(type, dim));
        for (; d + 16 <= dim; d += 16) {
            const __m512 x = offset_step(row, center, type, d, 0xffff, to);
            sum = _mm512_fmadd_ps(x, x, sum);
        }
        if (d < dim) {
            const __m512 x = offset_step(row, center, type, d, first_lanes(dim - d), to);
            sum = _mm512_fmadd_ps(x, x, sum);
        }
        dist2[j] = _mm512_reduce_add_ps(sum);
    }
}

#define DEFINE(name, type) VATTN_DEFINE_OFFSET(VATTN_AVX512, name, type, avx512)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
