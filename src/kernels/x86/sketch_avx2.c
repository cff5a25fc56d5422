/* SPDX-License-Identifier: MIT
 *
 * The variance sketch.  Rows j, j + 32, j + 64 ... share a bucket, so they are done together: a tile of 4 rows x 2 vectors keeps
 * its two bucket vectors and two centre vectors in registers, and buckets are loaded and stored once for four rows.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

enum { TILE_ROWS = 4 };

/* n_rows widened rows of one bucket against one head. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void sketch_tile(const float * row, const int32_t width, const float * center,
                                                const float * root, const int32_t n_rows, float * bucket) {
    __m256 scale[TILE_ROWS];
    for (int32_t i = 0; i < n_rows; i++) {
        scale[i] = _mm256_broadcast_ss(root + i);
    }
    int32_t d = 0;
    VATTN_UNROLL(2)
    for (; d + 16 <= width; d += 16) {
        const __m256 c0 = _mm256_loadu_ps(center + d), c1 = _mm256_loadu_ps(center + d + 8);
        __m256 b0 = _mm256_loadu_ps(bucket + d), b1 = _mm256_loadu_ps(bucket + d + 8);
        for (int32_t i = 0; i < n_rows; i++) {
            const float * x = row + (ptrdiff_t)i * width + d;
            b0 = _mm256_fmadd_ps(scale[i], _mm256_sub_ps(_mm256_loadu_ps(x), c0), b0);
            b1 = _mm256_fmadd_ps(scale[i], _mm256_sub_ps(_mm256_loadu_ps(x + 8), c1), b1);
        }
        _mm256_storeu_ps(bucket + d, b0);
        _mm256_storeu_ps(bucket + d + 8, b1);
    }
    if (d < width) {
        const __m256 c = _mm256_loadu_ps(center + d);
        __m256 b = _mm256_loadu_ps(bucket + d);
        for (int32_t i = 0; i < n_rows; i++) {
            b = _mm256_fmadd_ps(scale[i], _mm256_sub_ps(_mm256_loadu_ps(row + (ptrdiff_t)i * width + d), c), b);
        }
        _mm256_storeu_ps(bucket + d, b);
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void sketch_rows(const float * row, const int32_t width, const float * center,
                                                const float * root, int32_t n_rows, float * bucket) {
    switch (n_rows) {
    case 4:
        sketch_tile(row, width, center, root, 4, bucket);
        break;
    case 3:
        sketch_tile(row, width, center, root, 3, bucket);
        break;
    case 2:
        sketch_tile(row, width, center, root, 2, bucket);
        break;
    default:
        sketch_tile(row, width, center, root, 1, bucket);
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void sketch(const struct vattn_rows * rows, enum vattn_type type, const float * center,
                                           const float * root, ptrdiff_t ld, int32_t n_heads, const int32_t dim,
                                           int32_t first, float * bucket) {
    float wide_row[TILE_ROWS * VATTN_MAX_DIM];
    float wide_center[VATTN_MAX_DIM], wide_bucket[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    const bool ragged = width != dim;
    for (int32_t start = 0; start < VATTN_BUCKETS && start < rows->n; start++) {
        const int32_t b = (first + start) & (VATTN_BUCKETS - 1);
        for (int32_t j = start; j < rows->n; j += TILE_ROWS * VATTN_BUCKETS) {
            const int32_t n_left = (rows->n - j + VATTN_BUCKETS - 1) / VATTN_BUCKETS;
            const int32_t n_rows = n_left < TILE_ROWS ? n_left : TILE_ROWS;
            for (int32_t i = 0; i < n_rows; i++) {
                const int32_t next = j + VATTN_BUCKETS * i + 1;
                if (next < rows->n) {
                    prefetch_row(rows, next, vattn_row_size(type, dim));
                }
                widen(row_at(rows, j + VATTN_BUCKETS * i), dim, type, wide_row + (ptrdiff_t)i * width);
            }
            for (int32_t g = 0; g < n_heads; g++) {
                const float * c = center + (ptrdiff_t)g * dim;
                float * bucket_at = bucket + ((ptrdiff_t)g * VATTN_BUCKETS + b) * dim;
                float tile_root[TILE_ROWS];
                for (int32_t i = 0; i < n_rows; i++) {
                    tile_root[i] = root[g * ld + j + VATTN_BUCKETS * i];
                }
                if (ragged) {
                    widen((const char *)c, dim, VATTN_TYPE_F32, wide_center);
                    widen((const char *)bucket_at, dim, VATTN_TYPE_F32, wide_bucket);
                    sketch_rows(wide_row, width, wide_center, tile_root, n_rows, wide_bucket);
                    memcpy(bucket_at, wide_bucket, (size_t)dim * sizeof *bucket);
                } else {
                    sketch_rows(wide_row, width, c, tile_root, n_rows, bucket_at);
                }
            }
        }
    }
}

#define DEFINE(name, type) VATTN_DEFINE_SKETCH(VATTN_AVX2, name, type, avx2)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
