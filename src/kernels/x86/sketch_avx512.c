/* SPDX-License-Identifier: MIT
 *
 * The variance sketch, rows of one bucket together (see sketch_avx2.c), four rows at a time.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx512.h"

enum { TILE_ROWS = 4 };

VATTN_AVX512 VATTN_ALWAYS_INLINE void sketch_step(const char * const * row, enum vattn_type type,
                                                     const float * center, int32_t d, __mmask16 mask,
                                                     const __m512 * scale, const int32_t n_rows, float * bucket) {
    const __m512 c = _mm512_maskz_loadu_ps(mask, center + d);
    __m512 b = _mm512_maskz_loadu_ps(mask, bucket + d);
    for (int32_t i = 0; i < n_rows; i++) { /* lanes outside the mask are 0 - 0 */
        b = _mm512_fmadd_ps(scale[i], _mm512_sub_ps(load16(row[i], d, type, mask), c), b);
    }
    _mm512_mask_storeu_ps(bucket + d, mask, b);
}

/* n_rows rows of one bucket against one head. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void sketch_tile(const char * const * row, enum vattn_type type, int32_t dim,
                                                     const float * center, const float * root, const int32_t n_rows,
                                                     float * bucket) {
    __m512 scale[TILE_ROWS];
    for (int32_t i = 0; i < n_rows; i++) {
        scale[i] = _mm512_set1_ps(root[i]);
    }
    int32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
        sketch_step(row, type, center, d, 0xffff, scale, n_rows, bucket);
    }
    if (d < dim) {
        sketch_step(row, type, center, d, first_lanes(dim - d), scale, n_rows, bucket);
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void sketch(const struct vattn_rows * rows, enum vattn_type type, const float * center,
                                             const float * root, ptrdiff_t ld, int32_t n_heads, const int32_t dim,
                                             int32_t first, float * bucket) {
    for (int32_t start = 0; start < VATTN_BUCKETS && start < rows->n; start++) {
        const int32_t b = (first + start) & (VATTN_BUCKETS - 1);
        for (int32_t j = start; j < rows->n; j += TILE_ROWS * VATTN_BUCKETS) {
            const int32_t n_left = (rows->n - j + VATTN_BUCKETS - 1) / VATTN_BUCKETS;
            const int32_t n_rows = n_left < TILE_ROWS ? n_left : TILE_ROWS;
            const char * row[TILE_ROWS];
            for (int32_t i = 0; i < n_rows; i++) {
                row[i] = row_at(rows, j + VATTN_BUCKETS * i);
                const int32_t next = j + VATTN_BUCKETS * i + 1;
                if (next < rows->n) {
                    prefetch_row(rows, next, vattn_row_size(type, dim));
                }
            }
            for (int32_t g = 0; g < n_heads; g++) {
                const float * c = center + (ptrdiff_t)g * dim;
                float * bucket_at = bucket + ((ptrdiff_t)g * VATTN_BUCKETS + b) * dim;
                float tile_root[TILE_ROWS];
                for (int32_t i = 0; i < n_rows; i++) {
                    tile_root[i] = root[g * ld + j + VATTN_BUCKETS * i];
                }
                switch (n_rows) {
                case 4:
                    sketch_tile(row, type, dim, c, tile_root, 4, bucket_at);
                    break;
                case 3:
                    sketch_tile(row, type, dim, c, tile_root, 3, bucket_at);
                    break;
                case 2:
                    sketch_tile(row, type, dim, c, tile_root, 2, bucket_at);
                    break;
                default:
                    sketch_tile(row, type, dim, c, tile_root, 1, bucket_at);
                }
            }
        }
    }
}

#define DEFINE(name, type) VATTN_DEFINE_SKETCH(VATTN_AVX512, name, type, avx512)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
