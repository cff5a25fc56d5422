/* SPDX-License-Identifier: MIT
 *
 * Rows for the AVX2 kernels: addresses, prefetching, widening to floats.
 */
#ifndef VATTN_ROWS_AVX2_H
#define VATTN_ROWS_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/x86/x86.h"

enum {
    AVX2_AHEAD = 32,          /* rows between the one in work and the one being prefetched */
    AVX2_BUFFER_FLOATS = 4096 /* widened rows: half of a 32 KiB L1 */
};

/* The scale of the block of q8_0 that holds element d. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 block_scale(const char * row, int32_t d) {
    const uint16_t scale = vattn_load_u16(row + vattn_row_size(VATTN_TYPE_Q8_0, d));
    return _mm256_cvtph_ps(_mm_set1_epi16((short)scale));
}

/* Eight elements from d on, a multiple of 8 for q8_0.  Where the compiler knows that neighbours are of one block it loads
 * their scale once. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 load8(const char * row, int32_t d, enum vattn_type type) {
    const char * at = row + vattn_row_size(type, d);
    switch (type) {
    case VATTN_TYPE_F16:
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
    case VATTN_TYPE_BF16: {
        const __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)at);
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    case VATTN_TYPE_Q8_0: {
        const __m128i bytes =
            _mm_loadl_epi64((const __m128i *)(const void *)(at + 2 + (uint32_t)d % VATTN_Q8_ELEMENTS));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), block_scale(row, d));
    }
    case VATTN_TYPE_F32:
        break;
    }
    return _mm256_loadu_ps((const float *)(const void *)at);
}

/* The last dim - d < 8 elements, zeros after them; reads nothing behind the row.  Rows of q8_0 have no such rest. */
VATTN_AVX2 VATTN_ALWAYS_INLINE __m256 load_tail(const char * row, int32_t d, int32_t dim, enum vattn_type type) {
    char copy[32] = {0};
    if (type != VATTN_TYPE_Q8_0) {
        memcpy(copy, row + vattn_row_size(type, d), vattn_row_size(type, dim - d));
    }
    return load8(copy, 0, type);
}

/* A whole row as floats, with zeros up to a multiple of 8. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void widen(const char * row, int32_t dim, enum vattn_type type, float * out) {
    int32_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        _mm256_storeu_ps(out + d, load8(row, d, type));
    }
    if (d < dim) {
        _mm256_storeu_ps(out + d, load_tail(row, d, dim, type));
    }
}

/* Rows [begin, end), width apart in out. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void widen_rows(const struct vattn_rows * rows, int32_t begin, int32_t end, int32_t dim,
                                               enum vattn_type type, float * out, int32_t width) {
    for (int32_t j = begin; j < end; j++) {
        prefetch_rows(rows, j + AVX2_AHEAD, j + AVX2_AHEAD + 1, vattn_row_size(type, dim));
        widen(row_at(rows, j), dim, type, out + (ptrdiff_t)(j - begin) * width);
    }
}

#endif
