/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows: register tiles of 4 heads x 24 floats (or 3 x 32) hold twenty-four sums of four lanes through a
 * block of rows that stays in L1.  While a tile works on a column of the block it prefetches that column of the next one.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include "kernels/row_block.h"
#include "kernels/arm/rows_neon.h"

/* acc[g][0 .. 8 n_vectors) += sum over the rows of the block, from element d on.  At most twelve sums of eight. */
VATTN_ALWAYS_INLINE void accumulate_tile(const struct block * block, enum vattn_type type, int32_t d, bool prefetch,
                                         const float * weight, ptrdiff_t ld, const int32_t n_heads,
                                         const int32_t n_vectors, float * acc, ptrdiff_t acc_ld) {
    float32x4x2_t sum[4][4];
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            sum[g][v] = load8_floats(acc + g * acc_ld + 8 * v);
        }
    }
    const int32_t n_rows = block->n_rows;
    for (int32_t j = 0; j < n_rows; j++) {
        const char * row = block->row[j];
        if (prefetch) {
            prefetch_columns(block->next[j], type, d, n_vectors);
        }
        float w[4];
        for (int32_t g = 0; g < n_heads; g++) {
            w[g] = weight[g * ld + j];
        }
        for (int32_t v = 0; v < n_vectors; v++) {
            const float32x4x2_t x = load8(row, d + 8 * v, type);
            for (int32_t g = 0; g < n_heads; g++) {
                sum[g][v] = fma8_by(sum[g][v], x, w[g]);
            }
        }
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            store8_floats(acc + g * acc_ld + 8 * v, sum[g][v]);
        }
    }
}

#define TIER
#include "kernels/accumulate_blocks.h"

#define DEFINE(name, type)                                                                                             \
    void vattn_accumulate_##name##_neon(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,            \
                                        int32_t n_heads, int32_t dim, float * acc) {                                   \
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
