/* SPDX-License-Identifier: MIT
 *
 * Scores: register tiles of 2 rows x 4 heads, 3 x 3 or 4 x 2, at most eighteen sums of four lanes.  Three rows of four
 * heads would fill all thirty-two registers before the f16 values that are being widened find a place.
 * The sum of a pair is the same tree in every tile: eight lanes over the dimensions, then a fixed reduction.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/arm/rows_neon.h"

enum { BLOCK_ROWS = 12 }; /* 6 x 2, 4 x 3, 3 x 4 */

/* n_rows x n_heads scores; ahead: rows to prefetch meanwhile, or NULL; width is a multiple of 8, zeros behind dim. */
VATTN_ALWAYS_INLINE void score_tile(const char * const * row, const char * const * ahead, enum vattn_type type,
                                    const float * q, ptrdiff_t q_ld, const int32_t n_rows, const int32_t n_heads,
                                    int32_t width, float * out, ptrdiff_t ld) {
    float32x4x2_t sum[4][4];
    for (int32_t j = 0; j < 4; j++) {
        for (int32_t g = 0; g < 4; g++) {
            sum[j][g] = zero8();
        }
    }
    for (int32_t d = 0; d < width; d += 8) {
        for (int32_t j = 0; ahead != NULL && d % 32 == 0 && j < n_rows; j++) {
            prefetch_32(ahead[j], type, d);
        }
        float32x4x2_t x[4];
        for (int32_t j = 0; j < n_rows; j++) {
            x[j] = load8(row[j], d, type);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            const float32x4x2_t y = load8_floats(q + g * q_ld + d);
            for (int32_t j = 0; j < n_rows; j++) {
                sum[j][g] = fma8(sum[j][g], x[j], y);
            }
        }
    }
    for (int32_t j = 0; j < n_rows; j++) {
        float s[4];
        vst1q_f32(s, reduce4(sum[j][0], sum[j][1], sum[j][2], sum[j][3]));
        for (int32_t g = 0; g < n_heads; g++) {
            out[g * ld + j] = s[g];
        }
    }
}

/* All n_rows <= BLOCK_ROWS rows against n_heads heads, tile_rows at a time. */
VATTN_ALWAYS_INLINE void score_tiles(const char * const * row, const char * const * ahead, enum vattn_type type,
                                     const float * q, ptrdiff_t q_ld, int32_t n_rows, const int32_t tile_rows,
                                     const int32_t n_heads, int32_t width, float * out, ptrdiff_t ld) {
    int32_t j = 0;
    for (; j + tile_rows <= n_rows; j += tile_rows) {
        score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, tile_rows, n_heads, width, out + j, ld);
    }
    for (; j < n_rows; j++) {
        score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 1, n_heads, width, out + j, ld);
    }
}

VATTN_ALWAYS_INLINE void score_heads(const char * const * row, const char * const * ahead, enum vattn_type type,
                                     const float * q, ptrdiff_t q_ld, int32_t n_rows, int32_t n_heads, int32_t width,
                                     float * out, ptrdiff_t ld) {
    switch (n_heads) {
    case 4:
        score_tiles(row, ahead, type, q, q_ld, n_rows, 2, 4, width, out, ld);
        break;
    case 3:
        score_tiles(row, ahead, type, q, q_ld, n_rows, 3, 3, width, out, ld);
        break;
    case 2:
        score_tiles(row, ahead, type, q, q_ld, n_rows, 4, 2, width, out, ld);
        break;
    default:
        score_tiles(row, ahead, type, q, q_ld, n_rows, 4, 1, width, out, ld);
    }
}

/* dim is a multiple of 8; rows are widened as they are multiplied, once per group of heads. */
VATTN_ALWAYS_INLINE void score(const struct vattn_rows * rows, enum vattn_type type, const float * q, int32_t n_heads,
                               const int32_t dim, float * out, ptrdiff_t ld) {
    if (rows->index != NULL) { /* nobody has prefetched the first rows */
        prefetch_rows(rows, 0, NEON_AHEAD, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char *row[BLOCK_ROWS], *ahead[BLOCK_ROWS];
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = row_at(rows, j + i);
            ahead[i] = row_ahead(rows, j + i, NEON_AHEAD);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            score_heads(row, g == 0 ? ahead : NULL, type, q + (ptrdiff_t)g * dim, dim, n_rows, n, dim, out + g * ld + j,
                        ld);
        }
    }
}

/* Any dim: copies of rows and queries with zeros up to a multiple of 8. */
static void score_ragged(const struct vattn_rows * rows, enum vattn_type type, const float * q, int32_t n_heads,
                         int32_t dim, float * out, ptrdiff_t ld) {
    float wide_row[BLOCK_ROWS * VATTN_MAX_DIM];
    float wide_q[4 * VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char * row[BLOCK_ROWS];
        widen_rows(rows, j, j + n_rows, dim, type, wide_row, width);
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = (const char *)(wide_row + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            for (int32_t i = 0; i < n; i++) {
                widen((const char *)(q + (ptrdiff_t)(g + i) * dim), dim, VATTN_TYPE_F32, wide_q + (ptrdiff_t)i * width);
            }
            score_heads(row, NULL, VATTN_TYPE_F32, wide_q, width, n_rows, n, width, out + g * ld + j, ld);
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    void vattn_score_##name##_neon(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,      \
                                   float * out, ptrdiff_t ld) {                                                        \
        if (dim % 8 != 0) {                                                                                            \
            score_ragged(rows, type, q, n_heads, dim, out, ld);                                                        \
        } else {                                                                                                       \
            score(rows, type, q, n_heads, dim, out, ld);                                                               \
        }                                                                                                              \
    }
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
