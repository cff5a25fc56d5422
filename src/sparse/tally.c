/* SPDX-License-Identifier: MIT
 *
 * Sums by kind, four heads side by side: four cost what one would.
 */
#include "sparse/sparse.h"

#include "base/sums.h"

void vattn_sparse_tally(const float * weight, ptrdiff_t ld, const int32_t * kind, int32_t n_heads, int32_t n, int32_t columns,
                        float * sum) {
    const float * w[VATTN_SPARSE_TOGETHER];
    for (int32_t i = 0; i < VATTN_SPARSE_TOGETHER; i++) {
        w[i] = weight + (i < n_heads ? i : 0) * ld;
    }
    for (int32_t j = 0; j < n; j++) {
        float * cell = sum + (ptrdiff_t)kind[j] * columns;
        const vattn_four x = {w[0][j], w[1][j], w[2][j], w[3][j]};
        vattn_store4(cell, vattn_load4(cell) + x);
    }
}
