/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows: register tiles of 4 heads x 3 vectors (or 3 x 4) hold twelve sums through a block of rows that
 * stays in L1.  Rows are widened as they are multiplied.  While a tile works on a column of the block it prefetches the
 * same column of the next block, so that requests to memory are spread evenly over the arithmetic.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/row_block.h"
#include "kernels/x86/rows_avx2.h"

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

#define TIER VATTN_AVX2
#include "kernels/accumulate_blocks.h"

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
