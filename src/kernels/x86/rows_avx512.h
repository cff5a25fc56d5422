/* SPDX-License-Identifier: MIT
 *
 * Rows for the AVX-512 kernels: addresses, prefetching, masked loads that widen.
 */
#ifndef VATTN_ROWS_AVX512_H
#define VATTN_ROWS_AVX512_H

#include <immintrin.h>

#include "kernels/x86/x86.h"

enum { AVX512_AHEAD = 32 }; /* rows between the one in work and the one being prefetched */

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

/* Into L2, see rows_avx2.h. */
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

/* Ones in the first n lanes, n <= 16; a masked load touches nothing else. */
VATTN_ALWAYS_INLINE __mmask16 first_lanes(int32_t n) {
    return (__mmask16)((UINT32_C(1) << n) - 1);
}

/* Sixteen elements from d on; lanes outside the mask are zero and not read. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load16(const char * row, int32_t d, bool is_f16, __mmask16 mask) {
    return is_f16 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * (ptrdiff_t)d))
                  : _mm512_maskz_loadu_ps(mask, row + 4 * (ptrdiff_t)d);
}

VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 load16_all(const char * row, int32_t d, bool is_f16) {
    return is_f16 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * (ptrdiff_t)d)))
                  : _mm512_loadu_ps(row + 4 * (ptrdiff_t)d);
}

/* Heads in groups of 4 and 3: 5 = 4 + 1, 6 = 3 + 3, 7 = 4 + 3. */
VATTN_ALWAYS_INLINE int32_t group_size(int32_t n_left) {
    return n_left == 6 || n_left == 3 ? 3 : n_left < 4 ? n_left : 4;
}

#endif
