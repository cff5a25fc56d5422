/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

static void accumulate(const struct vattn_rows * rows, enum vattn_type type, const float * weight, ptrdiff_t ld,
                       int32_t n_heads, int32_t dim, float * acc) {
    float row[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        vattn_row_widen(rows, j, type, dim, row);
        for (int32_t g = 0; g < n_heads; g++) {
            const float w = weight[g * ld + j];
            float * sum = acc + (ptrdiff_t)g * dim;
            for (int32_t d = 0; d < dim; d++) {
                sum[d] += w * row[d];
            }
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    void vattn_accumulate_##name##_generic(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,         \
                                           int32_t n_heads, int32_t dim, float * acc) {                                \
        accumulate(rows, type, weight, ld, n_heads, dim, acc);                                                         \
    }
VATTN_EACH_TYPE(DEFINE)
