/* SPDX-License-Identifier: MIT
 *
 * The variance sketch.  Rows j, j + 32, j + 64 ... share a bucket, so they are done together, four at a time: a bucket is loaded
 * and stored once for four rows.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/arm/rows_neon.h"

enum { TILE_ROWS = 4 };

/* n_rows widened rows of one bucket against one head. */
VATTN_ALWAYS_INLINE void sketch_tile(const float * row, int32_t width, const float * center, const float * root,
                                     const int32_t n_rows, float * bucket) {
    for (int32_t d = 0; d < width; d += 8) {
        const float32x4x2_t c = load8_floats(center + d);
        float32x4x2_t b = load8_floats(bucket + d);
        for (int32_t i = 0; i < n_rows; i++) {
            const float32x4x2_t x = load8_floats(row + (ptrdiff_t)i * width + d);
            const float32x4x2_t difference = {{vsubq_f32(x.val[0], c.val[0]), vsubq_f32(x.val[1], c.val[1])}};
            b = fma8_by(b, difference, root[i]);
        }
        store8_floats(bucket + d, b);
    }
}

VATTN_ALWAYS_INLINE void sketch_rows(const float * row, int32_t width, const float * center, const float * root,
                                     int32_t n_rows, float * bucket) {
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

/* Rows start, start + 32, ... up to four of them, widened and with the next row of each under way; their number. */
VATTN_ALWAYS_INLINE int32_t tile_load(const struct vattn_rows * rows, enum vattn_type type, int32_t dim, int32_t start,
                                      float * wide_row, int32_t width) {
    const int32_t n_left = (rows->n - start + VATTN_BUCKETS - 1) / VATTN_BUCKETS;
    const int32_t n_rows = n_left < TILE_ROWS ? n_left : TILE_ROWS;
    for (int32_t i = 0; i < n_rows; i++) {
        const int32_t j = start + VATTN_BUCKETS * i;
        if (j + 1 < rows->n) {
            prefetch_row(rows, j + 1, vattn_row_size(type, dim));
        }
        widen(row_at(rows, j), dim, type, wide_row + (ptrdiff_t)i * width);
    }
    return n_rows;
}

VATTN_ALWAYS_INLINE void sketch(const struct vattn_rows * rows, enum vattn_type type, const float * center,
                                const float * root, ptrdiff_t ld, int32_t n_heads, const int32_t dim, int32_t first,
                                float * bucket) {
    float wide_row[TILE_ROWS * VATTN_MAX_DIM];
    float wide_center[VATTN_MAX_DIM], wide_bucket[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    const bool ragged = width != dim;
    for (int32_t start = 0; start < VATTN_BUCKETS && start < rows->n; start++) {
        const int32_t b = (first + start) & (VATTN_BUCKETS - 1);
        for (int32_t j = start; j < rows->n; j += TILE_ROWS * VATTN_BUCKETS) {
            const int32_t n_rows = tile_load(rows, type, dim, j, wide_row, width);
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

#define DEFINE(name, type) VATTN_DEFINE_SKETCH(, name, type, neon)
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
