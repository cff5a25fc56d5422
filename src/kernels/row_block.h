/* SPDX-License-Identifier: MIT
 *
 * A block of rows that a kernel works on, and the one behind it.
 */
#ifndef VATTN_ROW_BLOCK_H
#define VATTN_ROW_BLOCK_H

#include "kernels/tier.h"

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

/* Rows of the block at j, and of the one behind it: contiguous rows go on in the next call, gathered ones do not. */
VATTN_ALWAYS_INLINE void block_set(struct block * block, const struct vattn_rows * rows, int32_t j) {
    block->n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
    for (int32_t i = 0; i < block->n_rows; i++) {
        block->row[i] = row_at(rows, j + i);
        block->next[i] = row_ahead(rows, j + i, BLOCK_ROWS);
    }
}

#endif
