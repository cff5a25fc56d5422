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

VATTN_ALWAYS_INLINE const char * row_at(const struct vattn_rows * rows, int32_t j) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    return (const char *)rows->base + row * rows->stride;
}

/* Row j + ahead: contiguous rows go on in the next call, gathered ones end. */
VATTN_ALWAYS_INLINE const char * row_ahead(const struct vattn_rows * rows, int32_t j, int32_t ahead) {
    if (rows->index == NULL) {
        return (const char *)((uintptr_t)rows->base + (uintptr_t)(j + ahead) * rows->stride);
    }
    return row_at(rows, j + ahead < rows->n ? j + ahead : rows->n - 1);
}

/* Into L2: rows of one of 8 heads of 128 lie 2 KiB apart, and of those L1 holds only sixteen (two sets of lines). */
VATTN_ALWAYS_INLINE void prefetch_row(const struct vattn_rows * rows, int32_t j, size_t row_bytes) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    const uintptr_t at = (uintptr_t)rows->base + row * rows->stride;
    for (uintptr_t line = at; line < at + row_bytes; line += 64) {
        _mm_prefetch((const char *)line, _MM_HINT_T1);
    }
}

/* Prefetch rows [begin, end).  Contiguous rows are prefetched past the last one, for the next call. */
VATTN_ALWAYS_INLINE void prefetch_rows(const struct vattn_rows * rows, int32_t begin, int32_t end, size_t row_bytes) {
    for (int32_t j = begin; j < end; j++) {
        if (rows->index != NULL && j >= rows->n) {
            return;
        }
        prefetch_row(rows, j, row_bytes);
    }
}

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
