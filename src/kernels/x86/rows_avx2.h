/* SPDX-License-Identifier: MIT
 *
 * Rows for the AVX2 kernels: addresses, prefetching, widening to floats.
 */
#ifndef VATTN_ROWS_AVX2_H
#define VATTN_ROWS_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "base/half.h"
#include "kernels/x86/x86.h"

enum {
    AVX2_AHEAD = 32,          /* rows between the one in work and the one being prefetched */
    AVX2_BUFFER_FLOATS = 4096 /* widened rows: half of a 32 KiB L1 */
};

/* Eight elements from d on. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 load8(const char * row, int32_t d, bool is_f16) {
    return is_f16 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * (ptrdiff_t)d)))
                  : _mm256_loadu_ps((const float *)(const void *)(row + 4 * (ptrdiff_t)d));
}

/* The last dim - d < 8 elements, zeros after them; reads nothing behind the row. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 load_tail(const char * row, int32_t d, int32_t dim, bool is_f16) {
    char copy[32] = {0};
    const size_t element = is_f16 ? 2 : 4;
    memcpy(copy, row + (size_t)d * element, (size_t)(dim - d) * element);
    return load8(copy, 0, is_f16);
}

/* A whole row as floats, with zeros up to a multiple of 8. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void widen(const char * row, int32_t dim, bool is_f16, float * out) {
    int32_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        _mm256_storeu_ps(out + d, load8(row, d, is_f16));
    }
    if (d < dim) {
        _mm256_storeu_ps(out + d, load_tail(row, d, dim, is_f16));
    }
}

/* Rows [begin, end), width apart in out. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void widen_rows(const struct vattn_rows * rows, int32_t begin, int32_t end, int32_t dim,
                                               bool is_f16, float * out, int32_t width) {
    for (int32_t j = begin; j < end; j++) {
        prefetch_rows(rows, j + AVX2_AHEAD, j + AVX2_AHEAD + 1, (size_t)dim * (is_f16 ? 2 : 4));
        widen(row_at(rows, j), dim, is_f16, out + (ptrdiff_t)(j - begin) * width);
    }
}

#endif
