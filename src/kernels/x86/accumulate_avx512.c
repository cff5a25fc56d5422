/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows: register tiles of 8 heads x 2 vectors or 4 x 4, the last vector masked, through blocks of rows that
 * stay in L1.  While a tile works on a column of the block it prefetches that column of the next block.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx512.h"

enum { BLOCK_ROWS = 32, TILE_HEADS = 8, TILE_VECTORS = 4 };

struct block {
    const char * row[BLOCK_ROWS];
    const char * next[BLOCK_ROWS]; /* what to prefetch */
    int32_t n_rows;
};

/* acc[g][0 .. 16 n_vectors) += sum over the rows of the block, from element d on; mask belongs to the last vector. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void accumulate_tile(const struct block * block, enum vattn_type type, int32_t d,
                                                      bool prefetch, const float * weight, ptrdiff_t ld,
                                                      const int32_t n_heads, const int32_t n_vectors, __mmask16 mask,
                                                      float * acc, ptrdiff_t acc_ld) {
    __m512 sum[TILE_HEADS][TILE_VECTORS];
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            const float * at = acc + g * acc_ld + d + 16 * v;
            sum[g][v] = v + 1 < n_vectors ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(mask, at);
        }
    }
    for (int32_t j = 0; j < block->n_rows; j++) {
        const char * row = block->row[j];
        if (prefetch) {
            for (int32_t v = 0; v < n_vectors; v += 2) {
                prefetch_32(block->next[j], type, d + 16 * v);
            }
        }
        __m512 x[TILE_VECTORS];
        for (int32_t v = 0; v < n_vectors; v++) {
            x[v] = v + 1 < n_vectors ? load16_all(row, d + 16 * v, type) : load16(row, d + 16 * v, type, mask);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            const __m512 w = _mm512_set1_ps(weight[g * ld + j]);
            for (int32_t v = 0; v < n_vectors; v++) {
                sum[g][v] = _mm512_fmadd_ps(w, x[v], sum[g][v]);
            }
        }
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            float * at = acc + g * acc_ld + d + 16 * v;
            if (v + 1 < n_vectors) {
                _mm512_storeu_ps(at, sum[g][v]);
            } else {
                _mm512_mask_storeu_ps(at, mask, sum[g][v]);
            }
        }
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void accumulate_heads(const struct block * block, enum vattn_type type, bool prefetch,
                                                       const float * weight, ptrdiff_t ld, const int32_t n_heads,
                                                       int32_t dim, float * acc) {
    const __mmask16 all = 0xffff;
    int32_t d = 0;
    for (; n_heads <= 4 && d + 16 * TILE_VECTORS <= dim; d += 16 * TILE_VECTORS) {
        accumulate_tile(block, type, d, prefetch, weight, ld, n_heads, TILE_VECTORS, all, acc, dim);
    }
    for (; d + 32 <= dim; d += 32) {
        accumulate_tile(block, type, d, prefetch, weight, ld, n_heads, 2, all, acc, dim);
    }
    for (; d < dim; d += 16) {
        const __mmask16 mask = dim - d < 16 ? first_lanes(dim - d) : all;
        accumulate_tile(block, type, d, prefetch, weight, ld, n_heads, 1, mask, acc, dim);
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void accumulate_group(const struct block * block, enum vattn_type type, bool prefetch,
                                                       const float * weight, ptrdiff_t ld, int32_t n_heads, int32_t dim,
                                                       float * acc) {
    switch (n_heads) {
    case 1:
        accumulate_heads(block, type, prefetch, weight, ld, 1, dim, acc);
        break;
    case 2:
        accumulate_heads(block, type, prefetch, weight, ld, 2, dim, acc);
        break;
    case 3:
        accumulate_heads(block, type, prefetch, weight, ld, 3, dim, acc);
        break;
    case 4:
        accumulate_heads(block, type, prefetch, weight, ld, 4, dim, acc);
        break;
    case 5:
        accumulate_heads(block, type, prefetch, weight, ld, 5, dim, acc);
        break;
    case 6:
        accumulate_heads(block, type, prefetch, weight, ld, 6, dim, acc);
        break;
    case 7:
        accumulate_heads(block, type, prefetch, weight, ld, 7, dim, acc);
        break;
    default:
        accumulate_heads(block, type, prefetch, weight, ld, 8, dim, acc);
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void accumulate(const struct vattn_rows * rows, enum vattn_type type,
                                                 const float * weight, ptrdiff_t ld, int32_t n_heads, int32_t dim,
                                                 float * acc) {
    struct block block;
    if (rows->index != NULL) { /* nobody has prefetched the first block */
        prefetch_rows(rows, 0, BLOCK_ROWS, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        block.n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        for (int32_t i = 0; i < block.n_rows; i++) {
            block.row[i] = row_at(rows, j + i);
            block.next[i] = row_ahead(rows, j + i, BLOCK_ROWS);
        }
        for (int32_t g = 0; g < n_heads; g += TILE_HEADS) {
            const int32_t n = n_heads - g < TILE_HEADS ? n_heads - g : TILE_HEADS;
            accumulate_group(&block, type, g == 0, weight + g * ld + j, ld, n, dim, acc + (ptrdiff_t)g * dim);
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    VATTN_AVX512 void vattn_accumulate_##name##_avx512(const struct vattn_rows * rows, const float * weight,           \
                                                       ptrdiff_t ld, int32_t n_heads, int32_t dim, float * acc) {      \
        accumulate(rows, type, weight, ld, n_heads, dim, acc);                                                         \
    }
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
