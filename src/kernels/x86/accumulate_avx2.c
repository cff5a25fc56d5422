/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows: register tiles of 4 heads x 3 vectors (or 3 x 4) hold twelve sums through a block of rows that
 * stays in L1.  Rows are widened as they are multiplied.  While a tile works on a column of the block it prefetches the
 * same column of the next block, so that requests to memory are spread evenly over the arithmetic.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

enum { BLOCK_ROWS = 32 }; /* two blocks of f16 rows of 128: half of L1 */

struct block {
    const char * row[BLOCK_ROWS];
    const char * next[BLOCK_ROWS]; /* what to prefetch */
    int32_t n_rows;
};

/* What begins in these columns of a row: lines, and blocks of q8_0; a little less than a line at a time. */
VATTN_ALWAYS_INLINE void prefetch_columns(const char * row, enum vattn_type type, int32_t d, const int32_t n_vectors) {
    const int32_t step = type == VATTN_TYPE_F32 ? 16 : 32;
    for (int32_t i = d; i < d + 8 * n_vectors; i += step) {
        __builtin_prefetch((const void *)((uintptr_t)row + vattn_row_size(type, i)), 0, 2);
    }
}

/* acc[g][0 .. 8 n_vectors) += sum over the rows of the block, from element d on.  At most twelve sums. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate_tile(const struct block * block, enum vattn_type type, int32_t d,
                                                    bool prefetch, const float * weight, ptrdiff_t ld,
                                                    const int32_t n_heads, const int32_t n_vectors, float * acc,
                                                    ptrdiff_t acc_ld) {
    __m256 sum[4][4];
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            sum[g][v] = _mm256_loadu_ps(acc + g * acc_ld + 8 * v);
        }
    }
    const int32_t n_rows = block->n_rows;
    for (int32_t j = 0; j < n_rows; j++) {
        const char * row = block->row[j];
        if (prefetch) {
            prefetch_columns(block->next[j], type, d, n_vectors);
        }
        if (n_vectors <= n_heads) {
            __m256 x[4];
            for (int32_t v = 0; v < n_vectors; v++) {
                x[v] = load8(row, d + 8 * v, type);
            }
            for (int32_t g = 0; g < n_heads; g++) {
                const __m256 w = _mm256_broadcast_ss(weight + g * ld + j);
                for (int32_t v = 0; v < n_vectors; v++) {
                    sum[g][v] = _mm256_fmadd_ps(w, x[v], sum[g][v]);
                }
            }
        } else {
            __m256 w[4];
            for (int32_t g = 0; g < n_heads; g++) {
                w[g] = _mm256_broadcast_ss(weight + g * ld + j);
            }
            for (int32_t v = 0; v < n_vectors; v++) {
                const __m256 x = load8(row, d + 8 * v, type);
                for (int32_t g = 0; g < n_heads; g++) {
                    sum[g][v] = _mm256_fmadd_ps(w[g], x, sum[g][v]);
                }
            }
        }
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            _mm256_storeu_ps(acc + g * acc_ld + 8 * v, sum[g][v]);
        }
    }
}

/* All columns: 3 vectors at a time for four heads, else 4; a rest of one vector is avoided (16 = 4 * 3 + 2 + 2). */
VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate_heads(const struct block * block, enum vattn_type type, bool prefetch,
                                                     const float * weight, ptrdiff_t ld, const int32_t n_heads,
                                                     int32_t width, float * acc) {
    const int32_t step = n_heads == 4 ? 3 : 4;
    const int32_t n_vectors = width / 8;
    int32_t v = 0;
    for (; v + step <= n_vectors && n_vectors - v != step + 1; v += step) {
        accumulate_tile(block, type, 8 * v, prefetch, weight, ld, n_heads, step, acc + 8 * v, width);
    }
    for (; v + 2 <= n_vectors; v += 2) {
        accumulate_tile(block, type, 8 * v, prefetch, weight, ld, n_heads, 2, acc + 8 * v, width);
    }
    if (v < n_vectors) {
        accumulate_tile(block, type, 8 * v, prefetch, weight, ld, n_heads, 1, acc + 8 * v, width);
    }
}

/* One block against all heads; width is the dim of rows and acc, a multiple of 8.  Only the first group prefetches. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate_block(const struct block * block, enum vattn_type type,
                                                     const float * weight, ptrdiff_t ld, int32_t n_heads, int32_t width,
                                                     float * acc) {
    for (int32_t g = 0, n; g < n_heads; g += n) {
        n = group_size(n_heads - g);
        float * acc_group = acc + (ptrdiff_t)g * width;
        const float * w = weight + g * ld;
        switch (n) {
        case 4:
            accumulate_heads(block, type, g == 0, w, ld, 4, width, acc_group);
            break;
        case 3:
            accumulate_heads(block, type, g == 0, w, ld, 3, width, acc_group);
            break;
        case 2:
            accumulate_heads(block, type, g == 0, w, ld, 2, width, acc_group);
            break;
        default:
            accumulate_heads(block, type, g == 0, w, ld, 1, width, acc_group);
        }
    }
}

/* Rows of the block at j, and of the one behind it: contiguous rows go on in the next call, gathered ones do not. */
VATTN_ALWAYS_INLINE void block_set(struct block * block, const struct vattn_rows * rows, int32_t j) {
    block->n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
    for (int32_t i = 0; i < block->n_rows; i++) {
        block->row[i] = row_at(rows, j + i);
        block->next[i] = row_ahead(rows, j + i, BLOCK_ROWS);
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate(const struct vattn_rows * rows, enum vattn_type type,
                                               const float * weight, ptrdiff_t ld, int32_t n_heads, const int32_t dim,
                                               float * acc) {
    struct block block;
    if (rows->index != NULL) { /* nobody has prefetched the first block */
        prefetch_rows(rows, 0, BLOCK_ROWS, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        block_set(&block, rows, j);
        accumulate_block(&block, type, weight + j, ld, n_heads, dim, acc);
    }
}

/* Any dim: copies with zeros up to a multiple of 8; a few rows at a time and one head after the other. */
VATTN_AVX2 static void accumulate_ragged(const struct vattn_rows * rows, enum vattn_type type, const float * weight,
                                         ptrdiff_t ld, int32_t n_heads, int32_t dim, float * acc) {
    enum { FEW_ROWS = 8 };
    float wide[FEW_ROWS * VATTN_MAX_DIM], wide_acc[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    struct block block;
    for (int32_t j = 0; j < rows->n; j += FEW_ROWS) {
        block.n_rows = rows->n - j < FEW_ROWS ? rows->n - j : FEW_ROWS;
        widen_rows(rows, j, j + block.n_rows, dim, type, wide, width);
        for (int32_t i = 0; i < block.n_rows; i++) {
            block.row[i] = block.next[i] = (const char *)(wide + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            widen((const char *)(acc + (ptrdiff_t)g * dim), dim, VATTN_TYPE_F32, wide_acc);
            accumulate_heads(&block, VATTN_TYPE_F32, false, weight + g * ld + j, ld, 1, width, wide_acc);
            memcpy(acc + (ptrdiff_t)g * dim, wide_acc, (size_t)dim * sizeof *acc);
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    VATTN_AVX2 void vattn_accumulate_##name##_avx2(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld, \
                                                   int32_t n_heads, int32_t dim, float * acc) {                        \
        if (dim % 8 != 0) {                                                                                            \
            accumulate_ragged(rows, type, weight, ld, n_heads, dim, acc);                                              \
        } else {                                                                                                       \
            accumulate(rows, type, weight, ld, n_heads, dim, acc);                                                     \
        }                                                                                                              \
    }
VATTN_EACH_TYPE(DEFINE)

#else
typedef int vattn_empty_translation_unit;
#endif
