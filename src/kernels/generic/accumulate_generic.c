/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

static void accumulate(const struct vattn_rows * rows, bool is_f16, const float * weight, ptrdiff_t ld, int32_t n_heads,
                       int32_t dim, float * acc) {
    float row[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        vattn_row_widen(rows, j, is_f16, dim, row);
        for (int32_t g = 0; g < n_heads; g++) {
            const float w = weight[g * ld + j];
            float * sum = acc + (ptrdiff_t)g * dim;
            for (int32_t d = 0; d < dim; d++) {
                sum[d] += w * row[d];
            }
        }
    }
}

void vattn_accumulate_f16_generic(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld, int32_t n_heads,
                                  int32_t dim, float * acc) {
    accumulate(rows, true, weight, ld, n_heads, dim, acc);
}

void vattn_accumulate_f32_generic(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld, int32_t n_heads,
                                  int32_t dim, float * acc) {
    accumulate(rows, false, weight, ld, n_heads, dim, acc);
}
